//! What the config allows a plan to do.

use std::borrow::Cow;
use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::openshift::{StreamId, TagEventCondition, TagReference};
use crate::source::inert;

use super::identities::Identities;
use super::pass_state::PassState;

/// Annotation on a stream, in Git or on the target: `disabled` leaves it as it is.
pub const RECONCILE_ANNOTATION: &str = "streamkeeper.io/reconcile";

/// Annotation on a tag: how often it is asked for upstream, such as `5m`.
pub const INTERVAL_ANNOTATION: &str = "streamkeeper.io/import-interval";

/// FNV-1a: the same on every machine and in every version.
fn hash(text: &str) -> i64 {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    i64::from_ne_bytes((hash >> 1).to_ne_bytes())
}

/// A short hash of a tag's definition: equal definitions, equal hashes.
pub fn fingerprint(tag: &TagReference) -> String {
    let plain = TagReference { generation: None, ..tag.clone() };
    let text = serde_json::to_string(&plain).unwrap_or_default();
    format!("{:016x}", hash(&text))[8..].to_owned()
}

/// Reads a length of time above zero, as people write it: `15m`, `1h 30m`, `PT15M`.
///
/// # Errors
///
/// What is wrong with it.
pub fn interval(text: &str) -> Result<SignedDuration, String> {
    match text.parse::<SignedDuration>() {
        Ok(duration) if duration > SignedDuration::ZERO => Ok(duration),
        Ok(_) => Err(format!("`{}` is not longer than zero", inert(text, 60))),
        Err(_) => Err(format!("`{}` is not a length of time such as `15m` or `1h`", inert(text, 60))),
    }
}

/// Decisions of people that the planner keeps to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Policy {
    /// How often a scheduled tag is due (OpenShift: 15 minutes, semantics 4.2).
    pub schedule_interval: SignedDuration,
    /// The shortest and the longest interval of scheduled tags, where it depends on how long ago each has moved; without
    /// bounds it does not.
    pub adapts: Option<(SignedDuration, SignedDuration)>,
    /// How old the knowledge of an upstream tag that nobody follows may be.
    pub check_interval: SignedDuration,
    /// How many removals one run may make.
    pub removals: RemovalLimit,
    /// An empty source may remove everything.
    pub allow_empty: bool,
    /// Removals go on although another part of the source was read than last time.
    pub change_scope: bool,
    /// How many tags of a repository are imported with `dockerImageRepository` (semantics 3.4).
    pub repository_tags: usize,
    /// Images in one import request; the store takes any number.
    pub images_per_import: usize,
    /// Tags that another manager applies are taken over.
    pub force_conflicts: bool,
    /// Who imports scheduled tags when they move.
    pub schedule: Schedule,
    /// Workloads get their images from us, and from nobody else.
    pub workloads: Option<WorkloadPolicy>,
    /// What becomes of a tag whose followers fail with the image that it has.
    pub on_failure: OnFailure,
    /// Namespaces in which nothing is changed; `*` is all.
    pub suspended: BTreeSet<String>,
    /// What becomes of a tag of ours that somebody else has changed.
    pub drift: Drift,
    /// The source, with its earlier names.
    pub identities: Identities,
    /// Field managers that the source had before.
    pub previous_managers: Vec<String>,
}

/// How workloads get their images, where that is ours to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WorkloadPolicy {
    /// Field manager that images are applied as.
    pub manager: String,
    /// Namespaces whose tags the workloads of other namespaces may follow; `*` is all.
    pub shared: BTreeSet<String>,
    /// What becomes of an image that somebody else has set.
    pub drift: Drift,
}

/// What becomes of what another field manager has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Drift {
    /// It is put back.
    #[default]
    Heal,
    /// Plans report it.
    Report,
}

/// What becomes of a tag whose dependents do not roll out with the image that it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// It goes on following upstream: the next image may be the mended one.
    #[default]
    Continue,
    /// It does not follow upstream until they have rolled out, its definition changes, or `--refresh` names it.
    Hold,
}

impl WorkloadPolicy {
    /// Whether a workload of one namespace may follow the tags of another.
    pub fn allows(&self, workload: &str, stream: &str) -> bool {
        workload == stream || self.shared.contains("*") || self.shared.contains(stream)
    }
}

/// How many removals one run may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum RemovalLimit {
    /// A fifth of what is owned, but at least five.
    Fifth,
    /// Exactly so many.
    Count(usize),
    /// So many percent of what is owned, rounded up.
    Share(u8),
}

/// Who imports scheduled tags when they move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Schedule {
    /// We do, and nobody else would.
    Ours,
    /// We do, where the server would as well: `scheduled` is taken out of what is written to it.
    TakenOver,
    /// The server does, every 15 minutes; what is newer upstream is only told.
    Server,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            schedule_interval: SignedDuration::from_mins(15),
            adapts: None,
            check_interval: SignedDuration::from_hours(1),
            removals: RemovalLimit::Fifth,
            allow_empty: false,
            change_scope: false,
            repository_tags: 50,
            images_per_import: usize::MAX,
            force_conflicts: false,
            schedule: Schedule::Ours,
            workloads: None,
            on_failure: OnFailure::Continue,
            suspended: BTreeSet::new(),
            drift: Drift::Heal,
            identities: Identities::default(),
            previous_managers: Vec::new(),
        }
    }
}

impl Policy {
    /// A tag as it is written to the target.
    pub fn written<'t>(&self, tag: &'t TagReference) -> Cow<'t, TagReference> {
        if self.schedule != Schedule::TakenOver || !tag.import_policy.scheduled {
            return Cow::Borrowed(tag);
        }
        let mut tag = tag.clone();
        tag.import_policy.scheduled = false;
        Cow::Owned(tag)
    }

    /// From when on an answer of that time on a tag is too old. `moved`: since when it has the image that it has.
    pub fn until(
        &self,
        state: &PassState,
        stream: &StreamId,
        tag: &TagReference,
        checked: Timestamp,
        moved: Option<Timestamp>,
    ) -> Option<Timestamp> {
        let interval = self.interval(tag, moved.map(|moved| checked.duration_since(moved)));
        let latest = checked.checked_add(interval).ok()?;
        let millis = i64::try_from(interval.as_millis()).ok().filter(|millis| state.spread && *millis > 0);
        let Some(millis) = millis else { return Some(latest) };
        // The next moment that is this tag's own: a hash of its name says where in the interval.
        let own = hash(&format!("{stream}:{}", tag.name)).rem_euclid(millis);
        let since = (checked.as_millisecond() - own).rem_euclid(millis);
        checked.checked_add(SignedDuration::from_millis(millis - since)).ok()
    }

    /// How old the answer of a registry on a tag may grow: what the tag says itself, if it says so; within bounds, a tenth of
    /// how long ago it has moved (the heuristic of HTTP caches, RFC 9111 section 4.2.2), in steps of two, so that its moments
    /// stay.
    pub fn interval(&self, tag: &TagReference, still: Option<SignedDuration>) -> SignedDuration {
        let own = tag.annotations.get(INTERVAL_ANNOTATION).and_then(|text| interval(text).ok());
        own.unwrap_or_else(|| match (tag.import_policy.scheduled, self.adapts, still) {
            (false, _, _) => self.check_interval,
            (true, Some((least, most)), Some(still)) => {
                let mut interval = least.max(SignedDuration::from_secs(1));
                while interval.saturating_mul(2) <= (still / 10).min(most) {
                    interval = interval.saturating_mul(2);
                }
                interval
            }
            (true, _, _) => self.schedule_interval,
        })
    }

    /// When an import that has failed is to be tried again, `checked` being when it last was: the longer it has failed, the
    /// later, and later still where nothing but a person helps. (OpenShift tries none again that is not scheduled.)
    pub fn retry(condition: &TagEventCondition, checked: Timestamp) -> Option<Timestamp> {
        let failed = condition.last_transition_time.map_or(SignedDuration::ZERO, |since| checked.duration_since(since));
        let most = match condition.reason.as_str() {
            "Unauthorized" | "Forbidden" | "Invalid" => SignedDuration::from_hours(6),
            _ => SignedDuration::from_hours(1),
        };
        checked.checked_add(failed.clamp(SignedDuration::from_mins(1), most)).ok()
    }
}

impl RemovalLimit {
    /// The number, given how many tags and streams are owned.
    pub fn of(self, owned: usize) -> usize {
        match self {
            Self::Fifth => (owned / 5).max(5),
            Self::Count(count) => count,
            Self::Share(percent) => (owned * usize::from(percent)).div_ceil(100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_says_itself_how_often_it_is_asked_for() {
        let policy = Policy::default();
        let mut tag = TagReference::default();
        assert_eq!(policy.interval(&tag, None), policy.check_interval);
        tag.import_policy.scheduled = true;
        assert_eq!(policy.interval(&tag, None), policy.schedule_interval);
        tag.annotations.insert(INTERVAL_ANNOTATION.to_owned(), "90s".to_owned());
        assert_eq!(policy.interval(&tag, None), SignedDuration::from_secs(90));
        // Spread over the interval, each at its own moment, and never later than it.
        let spread = PassState { spread: true, ..PassState::default() };
        let checked = Timestamp::from_second(1_800_000_000).expect("a time");
        let mut tag = TagReference { name: "1".to_owned(), ..TagReference::default() };
        tag.import_policy.scheduled = true;
        let mut minutes = BTreeSet::new();
        for name in 0..200 {
            let id = StreamId::new("n", format!("s{name}"));
            let until = policy.until(&spread, &id, &tag, checked, None).expect("a time");
            assert!(until > checked && until <= checked + policy.schedule_interval);
            assert_eq!(
                policy.until(&spread, &id, &tag, until, None),
                Some(until + policy.schedule_interval),
                "then once an interval"
            );
            minutes.insert(until.duration_since(checked).as_mins());
        }
        assert_eq!(minutes.len(), 15, "in every minute some");
        let mut tag = TagReference::default();
        tag.import_policy.scheduled = true;
        for wrong in ["often", "0s", "-5m", ""] {
            tag.annotations.insert(INTERVAL_ANNOTATION.to_owned(), wrong.to_owned());
            assert_eq!(policy.interval(&tag, None), policy.schedule_interval, "{wrong}");
        }
    }

    #[test]
    fn a_tag_that_moves_is_asked_for_more_often() {
        let bounds = (SignedDuration::from_mins(5), SignedDuration::from_hours(2));
        let policy = Policy { adapts: Some(bounds), ..Policy::default() };
        let mut tag = TagReference::default();
        tag.import_policy.scheduled = true;
        let minutes = |still| policy.interval(&tag, Some(SignedDuration::from_mins(still))).as_mins();
        assert_eq!([0, 10, 99, 100, 250, 1000, 100_000].map(minutes), [5, 5, 5, 10, 20, 80, 80]);
        assert_eq!(policy.interval(&tag, None), policy.schedule_interval, "it has never moved");
    }
}
