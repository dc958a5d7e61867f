//! What a plan means: the images it changes looked at, compared with another revision, judged by the config.

use std::collections::{BTreeMap, BTreeSet};

use crate::adapters::git;
use crate::adapters::store::Cache;
use crate::cli::args::{Args, FailOn};
use crate::cli::console::Console;
use crate::cli::context::{Context, location};
use crate::cli::failure::{Exit, Failure};
use crate::definitions;
use crate::model::{Desired, Plan};
use crate::observe;
use crate::ports::{Entry, Registry};
use crate::reconcile;
use crate::review::{self, Base};
use crate::text::Severity;

/// What a plan is reviewed with.
pub(super) struct Reviewing<'a> {
    /// What Git said before.
    pub(super) base: Option<&'a Base>,
    /// What is attached to images is looked for.
    pub(super) signatures: bool,
    /// Layers are downloaded, to see what is installed.
    pub(super) packages: bool,
}

/// Puts what a plan means into it: the images that it changes are looked at, and the config judges.
pub(super) async fn review(
    context: &Context,
    plan: &mut Plan,
    desired: &Desired,
    reviewing: &Reviewing<'_>,
    registry: &impl Registry,
    console: &Console,
) -> Result<(), Failure> {
    let Reviewing { base, signatures, packages } = *reviewing;
    let platform = context.config.platform().unwrap_or_else(|| ("linux".to_owned(), "amd64".to_owned()));
    let platform = (platform.0.as_str(), platform.1.as_str());
    let facts = observe::images(review::wanted(plan), platform, registry, console).await;
    let attached = match signatures {
        true => observe::attached(review::wanted_attached(plan), registry, console).await,
        false => BTreeMap::new(),
    };
    let packages = match packages {
        true => observe::packages(review::wanted_packages(plan, &facts), registry, console).await,
        false => BTreeMap::new(),
    };
    let most_workloads = context.config.review.max_workloads.unwrap_or(review::WORKLOADS);
    let input = review::Input {
        plan,
        desired,
        base,
        facts: &facts,
        attached: &attached,
        packages: &packages,
        most_workloads,
        platform,
    };
    let (mut review, mut findings) = review::review(&input);
    findings.extend(super::rules::own(&context.config, plan, &review)?);
    // What the config says of risks: their severities, and which of them somebody answers for.
    let parts = context.reading(BTreeSet::new())?;
    let (findings, waived) = definitions::judge(&parts.ruling, findings);
    (review.risks, review.waived) = (findings.iter().map(review::risk_of).collect(), waived);
    plan.review = Some(Box::new(review));
    Ok(())
}

/// What the definitions were where a change began: at the last commit that base and head have in common. Only files that are
/// other ones now are read: it costs what the change touches.
pub(super) fn base(
    args: &Args,
    context: &Context,
    revision: &str,
    head: &[Entry],
    cache: &Cache,
    console: &Console,
) -> Result<Base, Failure> {
    let begun = git::merge_base(&location(args), revision, args.revision.as_deref());
    if begun.is_none() && !args.source.contains("://") {
        console.say(&format!(
            "no commit is known that `{}` and the head have in common: they are compared as they are; a clone with more history knows it",
            crate::text::inert(revision, 120)
        ));
    }
    let from = begun.unwrap_or_else(|| revision.to_owned());
    let source = git::open(&git::Location { revision: Some(from), ..location(args) })?;
    let parts = context.reading(BTreeSet::new())?;
    let mut list = reconcile::list(&*source, &parts.selection, context.limits())?;
    let revision = list.listing.revision.clone();
    // Files are told apart by their content: one of the same content elsewhere was renamed.
    let ids =
        |entries: &[Entry]| -> Option<BTreeSet<String>> { entries.iter().map(|entry| entry.id.clone()).collect() };
    let touched = match (ids(&list.listing.entries), ids(head)) {
        (Some(before), Some(now)) => {
            list.listing.entries.retain(|entry| entry.id.as_ref().is_none_or(|id| !now.contains(id)));
            let is_new = |entry: &&Entry| entry.id.as_ref().is_none_or(|id| !before.contains(id));
            Some(head.iter().filter(is_new).map(|entry| entry.path.to_string()).collect())
        }
        _ => None,
    };
    let read = context.read(&*source, &parts, list, cache, console)?;
    Ok(Base { revision, desired: read.assembled.desired, touched })
}

/// Whether a plan has a risk that is at least so bad.
pub(super) fn fail_on(plan: &Plan, least: FailOn) -> Exit {
    let least = match least {
        FailOn::Error => Severity::Error,
        FailOn::Warning => Severity::Warning,
        FailOn::Info => Severity::Info,
    };
    let risks = plan.review.iter().flat_map(|review| &review.risks);
    if risks.map(|risk| Severity::named(&risk.severity)).max() >= Some(least) { Exit::Refused } else { Exit::Done }
}
