//! What the config says of findings: other severities, and findings that are accepted.

use std::collections::BTreeSet;

use jiff::civil::Date;
use serde::{Serialize, Serializer};

use crate::source::{Place, inert};

use super::code::{Code, Severity};
use super::diagnostic::Diagnostic;

/// What the config says of findings: severities and waivers.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FindingPolicy {
    /// Severities by code.
    pub severities: Vec<SeverityRule>,
    /// Accepted findings.
    pub waivers: Vec<Waiver>,
    /// The day on which waivers end.
    pub today: Date,
}

/// Another severity for a code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeverityRule {
    /// The code.
    pub code: Code,
    /// Its severity; none switches it off.
    pub severity: Option<Severity>,
}

/// An accepted finding, with an optional end.
#[derive(Clone, Debug, Serialize)]
pub struct Waiver {
    /// The code.
    pub code: Code,
    /// Where it is waived.
    #[serde(serialize_with = "pattern")]
    pub paths: globset::GlobMatcher,
    /// Up to and with this day.
    pub until: Option<Date>,
    /// Where in the config it stands.
    pub place: Place,
}

fn pattern<S: Serializer>(paths: &globset::GlobMatcher, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(paths.glob().glob())
}

/// What the policy makes of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has this severity.
    Severity(Severity),
    /// It is switched off.
    Off,
    /// It is accepted.
    Waived,
}

/// Applies severities and waivers, and remembers which waivers were of use.
pub struct Judge<'a> {
    policy: &'a FindingPolicy,
    used: BTreeSet<usize>,
}

impl<'a> Judge<'a> {
    /// No waiver has been of use yet.
    pub fn new(policy: &'a FindingPolicy) -> Self {
        Self { policy, used: BTreeSet::new() }
    }

    /// The finding with the severity that the config gives it; none where it is switched off, or waived, which counts in `waived`.
    pub fn judge(&mut self, mut finding: Diagnostic, waived: &mut usize) -> Option<Diagnostic> {
        match self.verdict(finding.code, &finding.place.path, finding.severity) {
            Verdict::Severity(severity) => {
                finding.severity = severity;
                Some(finding)
            }
            Verdict::Off => None,
            Verdict::Waived => {
                *waived += 1;
                None
            }
        }
    }

    /// What becomes of a finding or risk of that code in that file, which has `severity` by itself.
    pub fn verdict(&mut self, code: Code, path: &str, severity: Severity) -> Verdict {
        let rule = self.policy.severities.iter().rev().find(|rule| rule.code == code);
        let Some(severity) = rule.map_or(Some(severity), |rule| rule.severity) else { return Verdict::Off };
        for (at, waiver) in self.policy.waivers.iter().enumerate() {
            if waiver.code == code && waiver.paths.is_match(path) {
                self.used.insert(at);
                if waiver.until.is_none_or(|until| self.policy.today <= until) {
                    return Verdict::Waived;
                }
            }
        }
        Verdict::Severity(severity)
    }

    /// Adds a finding for each waiver that has ended or that nothing has matched.
    pub fn leftover_waivers(&mut self, findings: &mut Vec<Diagnostic>) {
        for (at, waiver) in self.policy.waivers.iter().enumerate() {
            let code = waiver.code.id();
            if let Some(until) = waiver.until.filter(|until| self.policy.today > *until) {
                let message = format!("the waiver of {code} ended on {until}");
                findings.push(Diagnostic::new(Code::WaiverExpired, waiver.place.clone(), message));
            } else if !self.used.contains(&at) && !waiver.code.is_of_plans() {
                let message =
                    format!("the waiver of {code} for `{}` matches nothing", inert(waiver.paths.glob().glob(), 80));
                findings.push(Diagnostic::new(Code::WaiverUnused, waiver.place.clone(), message));
            }
        }
    }
}
