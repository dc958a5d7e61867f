//! What a plan means: the images it changes looked at, compared with another revision, judged by the config.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::config::{Config, FindingSeverity, WORKLOADS};
use crate::findings::{Code, Severity};
use crate::model::{Desired, Plan, Review, Risk};
use crate::observe;
use crate::ports::{Progress, Registry};
use crate::review::{self, Base, CustomRule};

use super::failure::Failure;
use super::open::Opened;
use super::opener::Opener;
use super::plan::Planned;
use super::read::ReadSource;
use super::session::{Connected, Session};

/// What a plan is reviewed with.
#[derive(Clone, Copy, Default)]
pub struct ReviewOptions<'a> {
    /// What Git said before.
    pub base: Option<&'a Base>,
    /// What is attached to images is looked for.
    pub signatures: bool,
    /// Layers are downloaded, to see what is installed.
    pub packages: bool,
}

/// A plan that was reviewed: what it means is in it.
pub struct Reviewed<R> {
    /// The plan, with its review.
    pub planned: Planned<R>,
}

impl<O: Opener, P: Progress> Connected<'_, '_, O, P> {
    /// Looks at the images that a plan changes, judges it by the config, and puts what comes of it into the plan.
    ///
    /// # Errors
    ///
    /// When a rule of the config is no expression.
    pub async fn review<R: Registry>(
        &self,
        mut planned: Planned<R>,
        read: &ReadSource,
        options: ReviewOptions<'_>,
    ) -> Result<Reviewed<R>, Failure> {
        let (config, progress) = (&self.settings.config, self.session.progress);
        let (plan, registry) = (&planned.plan, &planned.registry);
        let platform = self.settings.platform();
        let platform = (platform.0.as_str(), platform.1.as_str());
        let facts = observe::images(review::wanted(plan), platform, registry, progress).await;
        let attached = match options.signatures {
            true => observe::attached(review::wanted_attached(plan), registry, progress).await,
            false => BTreeMap::new(),
        };
        let packages = match options.packages {
            true => observe::packages(review::wanted_packages(plan, &facts), registry, progress).await,
            false => BTreeMap::new(),
        };
        let input = review::Input {
            plan,
            desired: &read.assembled.desired,
            base: options.base,
            facts: &facts,
            attached: &attached,
            packages: &packages,
            most_workloads: config.review.max_workloads.unwrap_or(WORKLOADS),
            platform,
        };
        let mut found = make(&input);
        found.risks.extend(broken_rules(config, plan, &found)?);
        found.risks.extend(review::config_keys(&self.settings.ignored_keys));
        let policy = self.settings.finding_policy((self.session.clock)())?;
        (found.risks, found.waived) = review::judge(&policy, found.risks);
        planned.plan.review = Some(Box::new(found));
        Ok(Reviewed { planned })
    }
}

impl<O: Opener, P: Progress> Session<'_, O, P> {
    /// Compares definitions with definitions: neither a target nor a registry is asked. Gives a plan without steps.
    pub fn compare(&self, opened: &Opened, read: &ReadSource, base: &Base, target: &str) -> Plan {
        let desired = &read.assembled.desired;
        let plan = Plan::of(&Desired::default(), self.tool, target, Timestamp::default());
        let plan = Plan {
            revision: desired.revision.clone(),
            streams: read.assembled.found.0,
            scope: desired.scope.clone(),
            ..plan
        };
        let (facts, attached, packages) = Default::default();
        let platform = opened.settings.platform();
        let found = make(&review::Input {
            plan: &plan,
            desired,
            base: Some(base),
            facts: &facts,
            attached: &attached,
            packages: &packages,
            most_workloads: usize::MAX,
            platform: (&platform.0, &platform.1),
        });
        // Other risks are of steps, and there are none.
        let risks = review::config_keys(&opened.settings.ignored_keys);
        Plan { review: Some(Box::new(Review { risks, ..found })), ..plan }
    }
}

/// The one place that reviews.
fn make(input: &review::Input<'_>) -> Review {
    review::review(input)
}

/// Bytes of stack for rules: parser and interpreter call themselves for each operator of an expression.
const STACK: usize = 64 * 1024 * 1024;

/// The rules of the config that a plan breaks.
fn broken_rules(config: &Config, plan: &Plan, review: &Review) -> Result<Vec<Risk>, Failure> {
    let rules = custom_rules(config);
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let broken = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK);
        let thread = thread.spawn_scoped(scope, || review::broken_rules(&rules, plan, review));
        thread.map(std::thread::ScopedJoinHandle::join)
    });
    let broken = broken.map_err(Failure::failed)?;
    broken.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map_err(Failure::failed)
}

/// The rules of the config that are not switched off.
fn custom_rules(config: &Config) -> Vec<CustomRule<'_>> {
    let usual = Code::OwnRule.severity();
    let rules = config.review.rules.iter().filter_map(|rule| {
        let severity: Severity = rule.severity.map_or(Some(usual), FindingSeverity::as_severity)?;
        Some(CustomRule { name: &rule.name, when: &rule.when.value, message: &rule.message, severity })
    });
    rules.collect()
}
