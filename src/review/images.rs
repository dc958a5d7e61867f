//! Two images, compared.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    Difference, Ignorance, ImageChange, ImageConfig, ImageFacts, ImageSummary, Layer, LayerFacts, Move, Observed,
    PackageChanges, Packages, Step, StepId,
};
use crate::openshift::{Digest, ImageReference, TagId, short_digest};
use crate::source::inert;

use super::Input;
use super::secrets::{masked, without};
use super::wanted::{pinned, too_many_new};

type Pair = (Option<String>, Option<String>);

/// The changes of a plan, each pair of images once.
pub(super) fn changes(input: &Input<'_>) -> Vec<ImageChange> {
    let too_many = too_many_new(input.plan);
    let mut pairs: BTreeMap<Pair, (BTreeSet<TagId>, BTreeSet<StepId>)> = BTreeMap::new();
    for Step { id, action, moves, .. } in &input.plan.steps {
        let shown = |change: &&Move| change.before != change.after && (change.before.is_some() || !too_many);
        for change in moves.iter().filter(shown) {
            let (tags, steps) = pairs.entry((change.before.clone(), change.after.clone())).or_default();
            tags.insert(action.stream().tag(&change.tag));
            steps.insert(*id);
        }
    }
    let change = |((before, after), (tags, steps)): (Pair, (BTreeSet<TagId>, BTreeSet<StepId>))| {
        let mut change = compare(input, before.as_deref(), after.as_deref());
        (change.tags, change.steps) = (tags.into_iter().collect(), steps.into_iter().collect());
        change
    };
    let mut changes: Vec<ImageChange> = pairs.into_iter().map(change).collect();
    changes.sort_by(|one, other| one.tags.cmp(&other.tags));
    changes
}

/// One of two images.
struct Side<'a> {
    summary: ImageSummary,
    known: Option<&'a ImageFacts>,
    /// Why something is not known of it.
    unseen: Vec<&'a Ignorance>,
}

/// What is known of an image that a pull spec names.
fn side<'a>(input: &Input<'a>, spec: Option<&str>) -> Option<Side<'a>> {
    let spec = spec?;
    let (digest, reference) = pinned(spec)?;
    let seen = input.facts.get(&digest);
    let known = seen.and_then(Observed::known);
    let image = known.and_then(|facts| facts.image.as_ref());
    let attached = input.attached.get(&reference);
    let mut platforms: Vec<String> = known
        .into_iter()
        .flat_map(|facts| &facts.images)
        .filter(|image| !is_attestation(image) && !image.architecture.is_empty())
        .map(|image| platform(&image.os, &image.architecture, &image.variant))
        .collect();
    if let (true, Some(image)) = (platforms.is_empty(), image.filter(|image| !image.architecture.is_empty())) {
        platforms.push(platform(&image.os, &image.architecture, ""));
    }
    let summary = ImageSummary {
        pull_spec: spec.to_owned(),
        digest,
        created: image.and_then(|image| image.created),
        size: image.map(ImageConfig::size),
        platforms,
        signed: attached.and_then(|attached| attached.signed.known().copied()),
        attested: attached.and_then(|attached| attached.attested.known().copied()),
        base: known.and_then(base),
        attestations: known.map_or(0, |facts| facts.images.iter().filter(|image| is_attestation(image)).count()),
    };
    let attached = attached.into_iter().flat_map(|attached| [&attached.signed, &attached.attested]);
    let unseen = seen.and_then(Observed::unknown).into_iter().chain(attached.filter_map(Observed::unknown));
    Some(Side { summary, known, unseen: unseen.collect() })
}

/// Another base. A name that a label gives and one that was found by layers are not to be compared, nor is either with none.
fn bases(old: &ImageConfig, new: &ImageConfig, change: &mut ImageChange) {
    let (Some(before), Some(after)) = (&change.before, &change.after) else { return };
    let (Some(was), Some(is)) = (&before.base, &after.base) else { return };
    if was != is && are_comparable(old, new) {
        let what = BASE_IMAGE.to_owned();
        change.differences.push(Difference { what, before: Some(was.clone()), after: Some(is.clone()) });
    }
}

/// Whether the bases of two images are known in the same way.
pub(super) fn are_comparable(old: &ImageConfig, new: &ImageConfig) -> bool {
    let is_labelled = |image: &ImageConfig| image.labels.get(BASE).is_some_and(|name| !name.is_empty());
    is_labelled(old) == is_labelled(new)
}

/// What a difference of bases is called.
pub(super) const BASE_IMAGE: &str = "base image";

/// The label that says what an image is made from (OCI image specification, annotations).
const BASE: &str = "org.opencontainers.image.base.name";

/// What an image is made from: by its labels, or by the layers that it shares with an image that is known. That one is named as it
/// was pulled: which tags it has here is not known of streams with which nothing was left to do.
fn base(facts: &ImageFacts) -> Option<String> {
    let label = facts.image.as_ref().and_then(|image| image.labels.get(BASE));
    if let Some(name) = label.filter(|name| !name.is_empty()) {
        return Some(masked(BASE, name));
    }
    let known: ImageReference = facts.base.as_ref()?.parse().ok()?;
    let named = known.repository();
    match &known.digest {
        Some(digest) if known.tag.is_empty() => Some(format!("{named}@{}", digest.short())),
        _ => Some(format!("{named}:{}", known.tag)),
    }
}

fn is_attestation(image: &crate::model::PlatformImage) -> bool {
    image.os == "unknown" && image.architecture == "unknown"
}

fn platform(os: &str, architecture: &str, variant: &str) -> String {
    let variant = if variant.is_empty() { String::new() } else { format!("/{}", inert(variant, 40)) };
    format!("{}/{}{variant}", inert(os, 40), inert(architecture, 40))
}

fn compare<'a>(input: &Input<'a>, before: Option<&str>, after: Option<&str>) -> ImageChange {
    let (was, is) = (side(input, before), side(input, after));
    let sides = [&was, &is].into_iter().flatten();
    let mut unseen: Vec<Ignorance> =
        sides.flat_map(|side| &side.unseen).map(|ignorance| (*ignorance).clone()).collect();
    unseen.dedup();
    let known = |side: &Option<Side<'a>>| side.as_ref().and_then(|side| side.known);
    let (old, new) = (known(&was), known(&is));
    let mut change = ImageChange {
        tags: Vec::new(),
        steps: Vec::new(),
        before: was.map(|side| side.summary),
        after: is.map(|side| side.summary),
        line: String::new(),
        runs_the_same: false,
        differences: Vec::new(),
        layers_dropped: Vec::new(),
        layers_new: Vec::new(),
        layers_shared: 0,
        packages: None,
        commits: None,
        unseen,
    };
    if let (Some(old), Some(new)) = (old, new) {
        let images = (old.image.as_ref(), new.image.as_ref());
        change.runs_the_same = matches!(images, (Some(old), Some(new)) if old.digest == new.digest);
        change.differences.extend(platforms(&change));
        if let (Some(old), Some(new)) = images {
            bases(old, new, &mut change);
            configs(old, new, &mut change);
            packages(input, old, new, &mut change);
        }
        maps("annotation", &old.annotations, &new.annotations, &mut change.differences);
    }
    change.line = line(&change, input.platform, old, new);
    change
}

/// Platforms that are lost or gained.
fn platforms(change: &ImageChange) -> Vec<Difference> {
    let (Some(before), Some(after)) = (&change.before, &change.after) else { return Vec::new() };
    let all = |image: &ImageSummary| -> BTreeSet<String> { image.platforms.iter().cloned().collect() };
    let (was, is) = (all(before), all(after));
    let mut all = sets("platform", &was, &is);
    if before.attestations != after.attestations {
        all.push(Difference {
            what: "attestations".to_owned(),
            before: Some(before.attestations.to_string()),
            after: Some(after.attestations.to_string()),
        });
    }
    let word = |known: Option<bool>| known.map(|known| if known { "yes" } else { "no" }.to_owned());
    for (what, was, is) in [("signed", before.signed, after.signed), ("attested", before.attested, after.attested)] {
        // What nobody could look at has not changed.
        if was.zip(is).is_some_and(|(was, is)| was != is) {
            all.push(Difference { what: what.to_owned(), before: word(was), after: word(is) });
        }
    }
    all
}

/// What one of two sets has and the other has not: first what is lost.
fn sets(what: &str, was: &BTreeSet<String>, is: &BTreeSet<String>) -> Vec<Difference> {
    let difference = |before: Option<&String>, after: Option<&String>| Difference {
        what: what.to_owned(),
        before: before.cloned(),
        after: after.cloned(),
    };
    let lost = was.difference(is).map(|it| difference(Some(it), None));
    lost.chain(is.difference(was).map(|it| difference(None, Some(it)))).collect()
}

fn configs(old: &ImageConfig, new: &ImageConfig, change: &mut ImageChange) {
    let differences = &mut change.differences;
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let words = |words: &[String]| without(&words.join(" "));
    let user = |image: &ImageConfig| if image.user.is_empty() { "root".to_owned() } else { image.user.clone() };
    let mut differ = |what: &str, before: &str, after: &str| {
        if before != after {
            differences.push(Difference { what: what.to_owned(), before: some(before), after: some(after) });
        }
    };
    differ("user", &user(old), &user(new));
    differ("entrypoint", &words(&old.entrypoint), &words(&new.entrypoint));
    differ("command", &words(&old.command), &words(&new.command));
    differ("working directory", &old.working_dir, &new.working_dir);
    differ("stop signal", &old.stop_signal, &new.stop_signal);
    differ("health check", &without(&old.health_check), &without(&new.health_check));
    differences.extend(sets("port", &old.ports, &new.ports));
    differences.extend(sets("volume", &old.volumes, &new.volumes));
    maps("env", &old.env, &new.env, differences);
    maps("label", &old.labels, &new.labels, differences);
    let digests =
        |image: &ImageConfig| -> BTreeSet<String> { image.layers.iter().map(|layer| layer.digest.clone()).collect() };
    let (was, is) = (digests(old), digests(new));
    let layer = |layer: &LayerFacts| Layer {
        digest: short_digest(&layer.digest).to_owned(),
        size: layer.size,
        command: command(&layer.command),
    };
    change.layers_dropped = old.layers.iter().filter(|layer| !is.contains(&layer.digest)).map(layer).collect();
    change.layers_new = new.layers.iter().filter(|layer| !was.contains(&layer.digest)).map(layer).collect();
    change.layers_shared = new.layers.iter().filter(|layer| was.contains(&layer.digest)).count();
    change.commits = commits(&old.labels, &new.labels);
}

/// A command of a layer, without what every one of them begins with.
fn command(text: &str) -> String {
    let text = text.strip_prefix("/bin/sh -c ").unwrap_or(text);
    let text = text.strip_prefix("#(nop) ").unwrap_or(text).trim();
    without(text).chars().take(300).collect()
}

fn maps(kind: &str, was: &BTreeMap<String, String>, is: &BTreeMap<String, String>, out: &mut Vec<Difference>) {
    let keys: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    for key in keys.into_iter().filter(|key| was.get(*key) != is.get(*key)) {
        let shown = |map: &BTreeMap<String, String>| map.get(key).map(|value| masked(key, value));
        out.push(Difference { what: format!("{kind}.{key}"), before: shown(was), after: shown(is) });
    }
}

/// What differs in what is installed.
fn packages(input: &Input<'_>, old: &ImageConfig, new: &ImageConfig, change: &mut ImageChange) {
    let seen = |image: &ImageConfig| Digest::parse(&image.digest).and_then(|digest| input.packages.get(&digest));
    let mut known = |image: &ImageConfig| match seen(image)? {
        Observed::Known(packages) => Some(packages),
        Observed::Unknown(ignorance) => {
            change.unseen.push(ignorance.clone());
            None
        }
        Observed::Absent => None,
    };
    let (Some(was), Some(is)) = (known(old), known(new)) else { return };
    let lists = |packages: &Packages| packages.databases.iter().cloned().collect();
    let mut found = PackageChanges { before: lists(was), after: lists(is), ..PackageChanges::default() };
    // Without a list nobody knows what is installed: that is not nothing.
    if !found.before.is_empty() && !found.after.is_empty() {
        let names: BTreeSet<&String> = was.installed.keys().chain(is.installed.keys()).collect();
        let versions = |packages: &Packages, name: &String| {
            let versions: Vec<&str> = packages.installed.get(name)?.iter().map(String::as_str).collect();
            Some(versions.join(", "))
        };
        let changes = names.into_iter().filter_map(|name| {
            let (before, after) = (versions(was, name), versions(is, name));
            (before != after).then(|| Difference { what: name.clone(), before, after })
        });
        found.installed = is.installed.len();
        found.changes = changes.collect();
        for change in &found.changes {
            match (&change.before, &change.after) {
                (None, _) => found.new += 1,
                (_, None) => found.gone += 1,
                _ => found.changed += 1,
            }
        }
        found.changes.truncate(PACKAGES);
    }
    change.packages = Some(found);
}

/// Packages that are told: of more, a person reads none.
const PACKAGES: usize = 2000;

/// Labels that name the repository of an image's source, and its commit.
const SOURCES: [&str; 4] =
    ["org.opencontainers.image.source", "io.openshift.build.source-location", "vcs-url", "org.label-schema.vcs-url"];
const COMMITS: [&str; 4] =
    ["org.opencontainers.image.revision", "io.openshift.build.commit.id", "vcs-ref", "org.label-schema.vcs-ref"];

/// The repository that an image was made from, if its labels say so.
pub(super) fn source(labels: &BTreeMap<String, String>) -> Option<&String> {
    SOURCES.iter().find_map(|label| labels.get(*label)).filter(|source| !source.is_empty())
}

/// Where the commits between two images can be read. Only what has the form of a repository and of a commit becomes a part of it.
fn commits(was: &BTreeMap<String, String>, is: &BTreeMap<String, String>) -> Option<String> {
    let commit = |labels: &BTreeMap<String, String>| {
        let commit = COMMITS.iter().find_map(|label| labels.get(*label)).cloned();
        commit.filter(|it| (7..=64).contains(&it.len()) && it.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    let (source, other) = (source(is)?, source(was)?);
    let (from, to) = (commit(was)?, commit(is)?);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/');
    let path = source.strip_prefix("https://")?.trim_end_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let is_repository = path.bytes().all(plain) && path.split('/').count() >= 3 && !path.contains("..");
    if source != other || !is_repository || from == to {
        return None;
    }
    // GitLab's own way has a dash; GitHub and Gitea have none.
    let way = if path.starts_with("gitlab.") { "/-/compare/" } else { "/compare/" };
    Some(format!("https://{path}{way}{from}...{to}"))
}

/// How many packages changed, in words.
fn counts(packages: &PackageChanges) -> String {
    let counted = [(packages.changed, "changed"), (packages.new, "new"), (packages.gone, "gone")];
    let words: Vec<String> =
        counted.iter().filter(|(number, _)| *number > 0).map(|(number, word)| format!("{number} {word}")).collect();
    format!("packages: {}", words.join(", "))
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    const MIB: u64 = 1024 * 1024;
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..MIB => format!("{} KiB", bytes / 1024),
        _ => format!("{}.{} MiB", bytes / MIB, bytes % MIB * 10 / MIB),
    }
}

/// A change in a line that a person can judge.
fn line(change: &ImageChange, platform: (&str, &str), old: Option<&ImageFacts>, new: Option<&ImageFacts>) -> String {
    match (&change.before, &change.after) {
        (None, Some(after)) => {
            let made =
                after.created.map_or(String::new(), |created| format!(", made {}", created.strftime("%Y-%m-%d")));
            let size = after.size.map_or(String::new(), |bytes| format!(", {}", size(bytes)));
            return format!("a new image{size}{made}");
        }
        (_, None) => return "no image any more".to_owned(),
        (Some(_), Some(_)) => {}
    }
    let (Some(_), Some(_)) = (old, new) else { return "what differs could not be looked at".to_owned() };
    let (os, architecture) = platform;
    if change.runs_the_same {
        return format!(
            "only attestations, annotations or other platforms changed: nothing changes at run time on {os}/{architecture}"
        );
    }
    let mut parts = Vec::new();
    let find = |what: &str| change.differences.iter().find(|difference| difference.what == what);
    let shown = |text: &Option<String>| inert(text.as_deref().unwrap_or("none"), 60);
    for what in ["user", "entrypoint", "command"] {
        if let Some(difference) = find(what) {
            parts.push(format!("{what} {} becomes {}", shown(&difference.before), shown(&difference.after)));
        }
    }
    for label in ["label.version", "label.org.opencontainers.image.version"] {
        if let Some(difference) = find(label) {
            parts.insert(0, format!("{} becomes {}", shown(&difference.before), shown(&difference.after)));
            break;
        }
    }
    let lost: Vec<String> = change
        .differences
        .iter()
        .filter(|it| it.what == "platform" && it.after.is_none())
        .filter_map(|it| it.before.clone())
        .collect();
    if !lost.is_empty() {
        parts.push(format!("no longer for {}", lost.join(", ")));
    }
    if let Some(difference) = find(BASE_IMAGE) {
        let (before, after) = (shown(&difference.before), shown(&difference.after));
        // Another tag of one repository is told by the tag.
        let tag = |name: &str| name.rsplit_once(':').map(|(repository, tag)| (repository.to_owned(), tag.to_owned()));
        let after = match (tag(&before), tag(&after)) {
            (Some((was, _)), Some((is, tag))) if was == is && !tag.contains('/') => tag,
            _ => after,
        };
        parts.push(format!("base {before} becomes {after}"));
    }
    if let Some(packages) = change.packages.as_ref().filter(|packages| !packages.changes.is_empty()) {
        parts.push(counts(packages));
    }
    let total = change.layers_new.len() + change.layers_shared;
    if total > 0 {
        parts.push(format!("{} of {total} layers new", change.layers_new.len()));
    }
    if let (Some(was), Some(is)) =
        (change.before.as_ref().and_then(|it| it.size), change.after.as_ref().and_then(|it| it.size))
    {
        match is.cmp(&was) {
            std::cmp::Ordering::Greater => parts.push(format!("{} larger", size(is - was))),
            std::cmp::Ordering::Less => parts.push(format!("{} smaller", size(was - is))),
            std::cmp::Ordering::Equal => {}
        }
    }
    if let Some(created) = change.after.as_ref().and_then(|it| it.created) {
        parts.push(format!("made {}", created.strftime("%Y-%m-%d")));
    }
    if new.is_some_and(|facts| facts.image.is_none()) {
        parts.push(format!("no image for {os}/{architecture}"));
    }
    if parts.is_empty() { "other bytes, and nothing that its config would say".to_owned() } else { parts.join("; ") }
}
