//! What whoever judges a plan should look at, each by a rule with a code.

use std::collections::{BTreeMap, BTreeSet};

use crate::findings::{Code, FindingPolicy, Judge, Verdict};
use crate::model::{
    Action, Desired, ImageChange, ImageConfig, ImageSummary, Observed, Origin, Risk, RollEffect, Step, StepId, Subject,
};
use crate::openshift::{TagId, alias_target};
use crate::source::inert;

use crate::rules::preferred_platform;

use super::Input;
use super::images::{BASE_IMAGE, are_comparable, source};
use super::wanted::{pinned, too_many_new};

/// An image that is larger by so much, and by half, is worth a word.
const JUMP: u64 = 100 * 1024 * 1024;
/// An image that says it was made before this, in seconds, does not say when it was made: builds that can be repeated write 1970,
/// or 1980.
const NO_TIME: i64 = 10 * 366 * 86_400;

/// Collects risks, each at the definition behind it.
struct Risks<'a> {
    origins: BTreeMap<StepId, &'a Origin>,
    found: Vec<Risk>,
}

impl Risks<'_> {
    fn add(&mut self, rule: Code, about: &Subject, step: Option<StepId>, message: String) {
        let origin = step.and_then(|step| self.origins.get(&step)).map(|origin| (*origin).clone());
        self.found.push(Risk { rule, severity: rule.severity(), about: about.clone(), message, origin, step });
    }
}

/// Applies the config's severities and waivers. Gives what is left, the worst first, and how many were waived.
pub fn judge(policy: &FindingPolicy, risks: Vec<Risk>) -> (Vec<Risk>, usize) {
    let mut judge = Judge::new(policy);
    let mut waived = 0;
    let mut left: Vec<Risk> = risks
        .into_iter()
        .filter_map(|risk| {
            let path = risk.origin.as_ref().map_or("", |origin| &origin.path);
            match judge.verdict(risk.rule, path, risk.severity) {
                Verdict::Severity(severity) => Some(Risk { severity, ..risk }),
                Verdict::Off => None,
                Verdict::Waived => {
                    waived += 1;
                    None
                }
            }
        })
        .collect();
    left.sort_by(|one, other| {
        (other.severity, one.rule, &one.message).cmp(&(one.severity, other.rule, &other.message))
    });
    (left, waived)
}

/// A risk for each key of the reviewed config that differs from the trusted one and does not count.
pub fn config_keys(keys: &[&str]) -> Vec<Risk> {
    let risk = |key: &&str| Risk {
        rule: Code::ConfigKey,
        severity: Code::ConfigKey.severity(),
        about: Subject::Key((*key).to_owned()),
        message: format!("the change sets `{key}` to another value; the plan was made with the trusted one"),
        origin: None,
        step: None,
    };
    keys.iter().map(risk).collect()
}

/// All risks of a plan, before the config has its say.
pub(super) fn risks(input: &Input<'_>, images: &[ImageChange], pending: &[StepId]) -> Vec<Risk> {
    let origins = input.plan.steps.iter().filter_map(|step| Some((step.id, step.origin.as_ref()?))).collect();
    let mut risks = Risks { origins, found: Vec::new() };
    let is_pending = |steps: &[StepId]| !steps.is_empty() && steps.iter().all(|step| pending.contains(step));
    for change in images.iter().filter(|change| !is_pending(&change.steps)) {
        image(input, change, &mut risks);
    }
    not_looked_at(input, pending, &mut risks);
    for step in input.plan.steps.iter().filter(|step| !pending.contains(&step.id)) {
        definition(step, &mut risks);
        removal(input, step, &mut risks);
    }
    let rolls = input.plan.rolls.iter().filter(|roll| matches!(roll.effect, RollEffect::RollsOut | RollEffect::Builds));
    let number = rolls.filter(|roll| !is_pending(&roll.after)).count();
    if number > input.most_workloads {
        let message = format!(
            "{number} workloads roll out or build at once; more than {} are worth a word",
            input.most_workloads
        );
        risks.add(Code::ManyWorkloads, &Subject::Plan, None, message);
    }
    risks.found
}

fn image(input: &Input<'_>, change: &ImageChange, risks: &mut Risks<'_>) {
    let (about, step) = (Subject::Tags(change.tags.clone()), change.steps.first().copied());
    for ignorance in &change.unseen {
        let message = format!("an image could not be inspected: {}", inert(&ignorance.to_string(), 300));
        risks.add(Code::NotInspected, &about, step, message);
    }
    let facts = |digest| input.facts.get(digest).and_then(Observed::known);
    missing_platform(input, change, (&about, step), risks);
    let (Some(before), Some(after)) = (&change.before, &change.after) else {
        if let Some(after) = change.after.as_ref().and_then(|after| facts(&after.digest)?.image.as_ref())
            && after.is_root()
        {
            let message = "the new image runs as root".to_owned();
            risks.add(Code::NewRoot, &about, step, message);
        }
        return;
    };
    let lost: Vec<&String> = before.platforms.iter().filter(|platform| !after.platforms.contains(platform)).collect();
    // Of single images the platform is what its config says: another one is told by other means.
    if !lost.is_empty() && !after.platforms.is_empty() {
        let lost: Vec<&str> = lost.iter().map(|it| it.as_str()).collect();
        let message = format!("the image is no longer there for {}", lost.join(", "));
        risks.add(Code::PlatformLost, &about, step, message);
    }
    // Where nobody could look, nothing is lost.
    let is_seen = facts(&after.digest).is_some();
    let has_lost = before.attestations > 0 || (before.attested == Some(true) && after.attested == Some(false));
    if has_lost && is_seen && after.attestations == 0 && after.attested != Some(true) {
        let message = "the old image had attestations, the new one has none".to_owned();
        risks.add(Code::AttestationLost, &about, step, message);
    }
    if before.signed == Some(true) && after.signed == Some(false) {
        let message = "the old image was signed, the new one is not".to_owned();
        risks.add(Code::SignatureLost, &about, step, message);
    }
    if change.runs_the_same {
        return;
    }
    let both = facts(&before.digest).zip(facts(&after.digest));
    let Some((old, new)) = both.and_then(|(old, new)| Some((old.image.as_ref()?, new.image.as_ref()?))) else { return };
    configs(change, old, new, &about, step, risks);
}

/// The image is for other platforms than the one that the tag wants (semantics 3.6): its containers end with "exec format error".
fn missing_platform(
    input: &Input<'_>,
    change: &ImageChange,
    (about, step): (&Subject, Option<StepId>),
    risks: &mut Risks<'_>,
) {
    let Some(after) = change.after.as_ref().filter(|after| !after.platforms.is_empty()) else { return };
    let wanted: BTreeSet<(&str, &str)> = change.tags.iter().map(|tag| wanted_platform(input, tag)).collect();
    for (os, architecture) in wanted {
        let wanted = format!("{}/{}", inert(os, 40), inert(architecture, 40));
        let is_it = |platform: &String| {
            *platform == wanted || platform.strip_prefix(&wanted).is_some_and(|variant| variant.starts_with('/'))
        };
        // One that was there before and is lost is told as such.
        let is_lost = change.before.as_ref().is_some_and(|before| before.platforms.iter().any(is_it));
        if is_lost || after.platforms.iter().any(is_it) {
            continue;
        }
        let message = format!("the image is not there for {wanted}, but for {}", after.platforms.join(", "));
        risks.add(Code::PlatformLost, about, step, message);
    }
}

/// Operating system and architecture that a tag wants.
fn wanted_platform<'a>(input: &Input<'a>, tag: &TagId) -> (&'a str, &'a str) {
    let defined = input.desired.streams.get(&tag.stream).and_then(|stream| stream.tags.get(&tag.tag));
    defined.map_or(input.platform, |defined| preferred_platform(&defined.reference, input.platform))
}

fn configs(
    change: &ImageChange,
    old: &ImageConfig,
    new: &ImageConfig,
    about: &Subject,
    step: Option<StepId>,
    risks: &mut Risks<'_>,
) {
    let mut add = |code, message| risks.add(code, about, step, message);
    let shown = |text: &str| inert(text, 120);
    if new.is_root() && !old.is_root() {
        add(Code::BecameRoot, format!("the image ran as `{}` and runs as root now", shown(&old.user)));
    }
    if old.entrypoint != new.entrypoint {
        let words = |words: &[String]| shown(&super::secrets::without(&words.join(" ")));
        let message =
            format!("the entrypoint was `{}` and is `{}` now", words(&old.entrypoint), words(&new.entrypoint));
        add(Code::EntrypointReplaced, message);
    }
    match (old.created, new.created) {
        (_, Some(new)) if new.as_second() < NO_TIME => {
            add(Code::NoTime, format!("the image says that it was made on {}", new.strftime("%Y-%m-%d")));
        }
        (Some(old), Some(new)) if new < old && old.as_second() >= NO_TIME => {
            let message = format!(
                "the image was made on {}, and the one that it takes the place of on {}",
                new.strftime("%Y-%m-%d"),
                old.strftime("%Y-%m-%d")
            );
            add(Code::OlderImage, message);
        }
        _ => {}
    }
    let (was, is) = (old.size(), new.size());
    if is > was.saturating_add(JUMP) && is > was.saturating_add(was / 2) {
        let mib = |bytes: u64| bytes / (1024 * 1024);
        add(Code::SizeJump, format!("the image had {} MiB and has {} MiB now", mib(was), mib(is)));
    }
    let base = |image: &Option<ImageSummary>| {
        let name = image.as_ref()?.base.as_ref()?;
        // Another tag of the same repository is the same family.
        let repository = name.split('@').next().unwrap_or(name);
        Some(
            repository
                .rsplit_once(':')
                .filter(|(_, tag)| !tag.contains('/'))
                .map_or(repository, |(it, _)| it)
                .to_owned(),
        )
    };
    match (base(&change.before), base(&change.after)) {
        (Some(was), Some(is)) if was != is && change.differences.iter().any(|it| it.what == BASE_IMAGE) => {
            add(
                Code::BaseChanged,
                format!("the image was made from `{}` and is made from `{}` now", shown(&was), shown(&is)),
            );
        }
        (Some(_), Some(_)) if are_comparable(old, new) => {}
        _ if change.layers_shared == 0 && !old.layers.is_empty() && old.layers.len() > 1 && new.layers.len() > 1 => {
            add(Code::BaseChanged, "the two images share no layer: they were not made from the same base".to_owned());
        }
        _ => {}
    }
    match (source(&old.labels), source(&new.labels)) {
        (Some(was), Some(is)) if was != is => {
            let message =
                format!("the image was made from the source `{}` and is made from `{}` now", shown(was), shown(is));
            add(Code::OtherSource, message);
        }
        (Some(was), None) => {
            add(
                Code::OtherSource,
                format!("the image was made from the source `{}` and does not say from which now", shown(was)),
            );
        }
        _ => {}
    }
}

/// Images that were not looked at: those that no digest names, and new ones of which there are too many.
fn not_looked_at(input: &Input<'_>, pending: &[StepId], risks: &mut Risks<'_>) {
    let too_many = too_many_new(input.plan);
    let mut new = BTreeSet::new();
    for step in input.plan.steps.iter().filter(|step| !pending.contains(&step.id)) {
        for change in step.moves.iter().filter(|change| change.before != change.after) {
            let Some(after) = &change.after else { continue };
            if pinned(after).is_none() {
                let about = Subject::Tags(vec![step.action.stream().tag(&change.tag)]);
                let message = format!("an image could not be inspected: `{}` names no digest", inert(after, 200));
                risks.add(Code::NotInspected, &about, Some(step.id), message);
            } else if too_many && change.before.is_none() {
                new.insert(after);
            }
        }
    }
    if !new.is_empty() {
        let message = format!("{} new images were not inspected: there are too many of them for one review", new.len());
        risks.add(Code::NotInspected, &Subject::Plan, None, message);
    }
}

/// What a change of a definition gives up.
fn definition(step: &Step, risks: &mut Risks<'_>) {
    let Action::SetTag { stream, before: Some(before), after } = &step.action else { return };
    let about = Subject::Tags(vec![stream.tag(&after.name)]);
    let digest = |tag: &crate::openshift::TagReference| tag.from.as_ref().is_some_and(|from| from.name.contains('@'));
    if digest(before) && !digest(after) && !after.import_policy.scheduled {
        let message = "the tag was pinned to a digest, and names a tag that may move now".to_owned();
        risks.add(Code::Unpinned, &about, Some(step.id), message);
    }
    if after.import_policy.insecure && !before.import_policy.insecure {
        let message = "the tag is imported without verifying TLS from now on".to_owned();
        risks.add(Code::BecameInsecure, &about, Some(step.id), message);
    }
}

/// What is removed, and still used.
fn removal(input: &Input<'_>, step: &Step, risks: &mut Risks<'_>) {
    let stream = step.action.stream();
    let goes = |tag: &TagId| step.action.removes(tag);
    if !step.action.is_removal() {
        return;
    }
    let mut users: BTreeSet<String> = BTreeSet::new();
    for roll in input.plan.rolls.iter().filter(|roll| roll.follows.iter().any(goes)) {
        users.insert(roll.workload.to_string());
    }
    users.extend(defined_users(input.desired, goes));
    if users.is_empty() {
        return;
    }
    let shown: Vec<String> = users.iter().take(5).map(|user| inert(user, 200)).collect();
    let more = if users.len() > 5 { format!(" and {} more", users.len() - 5) } else { String::new() };
    let about = match &step.action {
        Action::DeleteTag { tag, .. } => Subject::Tags(vec![stream.tag(tag)]),
        _ => Subject::Stream(stream.clone()),
    };
    let message = format!("it is removed, and {}{more} still use it", shown.join(", "));
    risks.add(Code::RemovedInUse, &about, Some(step.id), message);
}

/// What follows a tag by the definitions: workloads, and tags of other streams.
fn defined_users(desired: &Desired, goes: impl Fn(&TagId) -> bool) -> Vec<String> {
    let follow = desired.workloads.iter().filter(|workload| workload.triggers.iter().any(|trigger| goes(&trigger.tag)));
    let mut users: Vec<String> = follow.map(|workload| workload.id.to_string()).collect();
    users.extend(desired.uses.iter().filter(|(_, tag)| goes(tag)).map(|(build, _)| build.to_string()));
    for (id, stream) in &desired.streams {
        for tag in stream.tags.values() {
            if alias_target(id, &tag.reference).is_some_and(|target| goes(&target)) {
                users.push(format!("the tag {}", id.tag(&tag.reference.name)));
            }
        }
    }
    users
}
