//! The files of a revision together: what shows only across files, and the config's say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::findings::{Code, Diagnostic, FindingPolicy, Judge, Severity};
use crate::model::{Cause, Desired, DesiredStream, Held, Ignorance, Origin, Revision, Workload};
use crate::openshift::{ReferencePolicyType, StreamId, TagId};
use crate::source::{Place, inert};

use super::kustomize::{Taken, build};
use super::lowering::{Counts, FileDefinitions, FoundStream};
use super::template::has_placeholder;

/// A file that was read.
#[derive(Clone, Debug)]
pub struct FileEntry {
    /// Path in the source, with `/`.
    pub path: Arc<str>,
    /// What it says.
    pub definitions: Arc<FileDefinitions>,
}

/// What a revision says.
#[derive(Debug, Default)]
#[must_use]
pub struct Assembled {
    /// The streams and workloads.
    pub desired: Desired,
    /// Everything wrong, by path and place.
    pub findings: Vec<Diagnostic>,
    /// Findings that were waived.
    pub waived: usize,
    /// How much was read.
    pub counts: Counts,
    /// Streams and tags that were found, wrong ones included.
    pub found: (usize, usize),
}

/// The files of a revision, read one by one.
#[derive(Debug, Default)]
pub struct Files {
    /// Which revision.
    pub revision: Revision,
    /// The files.
    pub files: Vec<FileEntry>,
    /// What reading the source itself brought up.
    pub findings: Vec<Diagnostic>,
    /// What could not be read.
    pub incomplete: Vec<Ignorance>,
}

/// Puts files together. `no_local_registry`: the target has no registry of its own, and the config names none.
pub fn assemble(read: Files, policy: &FindingPolicy, no_local_registry: bool) -> Assembled {
    let Files { revision, files, findings, incomplete } = read;
    let mut out = Assembled { findings, ..Assembled::default() };
    out.desired = Desired { revision, incomplete, ..Desired::default() };
    let mut judge = Judge::new(policy);
    out.findings = std::mem::take(&mut out.findings)
        .into_iter()
        .filter_map(|finding| judge.judge(finding, &mut out.waived))
        .collect();

    let kustomizations = files.iter().filter_map(|file| Some((&file.path, file.definitions.kustomization.as_ref()?)));
    let taken = Taken::by(kustomizations);
    out.findings
        .extend(not_built(&files, &taken).into_iter().filter_map(|finding| judge.judge(finding, &mut out.waived)));
    let twice = duplicates(&files);
    let mut unlisted = Unlisted::default();
    let built: BTreeSet<TagId> = files.iter().flat_map(|file| file.definitions.built.clone()).collect();
    for file in files {
        let FileEntry { path, definitions } = file;
        let definitions = own_or_short(definitions, &twice);
        out.counts.documents += definitions.counts.documents;
        out.counts.passed_over += definitions.counts.passed_over;
        let judged: Vec<Option<Diagnostic>> = definitions
            .findings
            .iter()
            .map(|finding| judge.judge(finding.clone().in_file(&path), &mut out.waived))
            .collect();
        if !definitions.complete {
            let error = judged.iter().flatten().find(|finding| finding.severity == Severity::Error);
            let detail = error.map_or_else(String::new, |finding| finding.message.clone());
            out.desired.incomplete.push(Ignorance::new(inert(&path, 200), Cause::Unreadable, detail));
        }
        for found in definitions.streams {
            out.found.0 += 1;
            out.found.1 += found.tags.len();
            let errors = judged[found.findings.clone()].iter().flatten();
            let error = errors
                .filter(|finding| finding.severity == Severity::Error)
                .min_by_key(|finding| finding.place.clone());
            place_stream(&mut out, &path, found, error, (&twice, &taken), &mut judge);
        }
        out.desired.uses.extend(definitions.uses);
        for mut workload in definitions.workloads {
            workload.origin.path = Arc::clone(&path);
            out.desired.workloads.push(workload);
        }
        out.findings.extend(judged.into_iter().flatten());
        // Sorted only at the end: of very many, the first that are met are listed.
        if out.findings.len() > 2 * FINDINGS {
            unlisted.cut(&mut out.findings);
        }
    }
    trigger_targets(&mut out, &built, &mut judge);
    if no_local_registry {
        local_references(&mut out, &mut judge);
    }
    judge.leftover_waivers(&mut out.findings);
    unlisted.cut(&mut out.findings);
    unlisted.report(&mut out.findings);
    out.findings.sort_by(|a, b| (&a.place, a.code, &a.message).cmp(&(&b.place, b.code, &b.message)));
    out
}

/// Findings of a source that are listed; more of them help nobody.
const FINDINGS: usize = 20_000;

/// What a file defines, to be taken apart. Of a file that others equal, each stream is defined more than once and none of them is
/// applied: what it says is left out, so that many names of one large file take no more memory than one.
fn own_or_short(definitions: Arc<FileDefinitions>, twice: &BTreeMap<StreamId, Vec<Origin>>) -> FileDefinitions {
    Arc::try_unwrap(definitions).unwrap_or_else(|shared| {
        let short = |found: &FoundStream| match found.id.as_ref().is_some_and(|id| twice.contains_key(id)) {
            true => FoundStream {
                id: found.id.clone(),
                header: DesiredStream { origin: found.header.origin.clone(), ..DesiredStream::default() },
                tags: Vec::new(),
                findings: found.findings.clone(),
            },
            false => found.clone(),
        };
        let FileDefinitions {
            streams,
            workloads,
            built,
            uses,
            findings,
            counts,
            parameters,
            elsewhere,
            kustomization,
            complete,
        } = &*shared;
        FileDefinitions {
            streams: streams.iter().map(short).collect(),
            workloads: workloads.clone(),
            built: built.clone(),
            uses: uses.clone(),
            findings: findings.clone(),
            counts: *counts,
            parameters: parameters.clone(),
            elsewhere: elsewhere.clone(),
            kustomization: kustomization.clone(),
            complete: *complete,
        }
    })
}

/// Findings that are not listed.
#[derive(Default)]
struct Unlisted {
    count: usize,
    worst: Option<Severity>,
}

impl Unlisted {
    /// Cuts a list of findings that is too long.
    fn cut(&mut self, findings: &mut Vec<Diagnostic>) {
        let left = findings.get(FINDINGS..).unwrap_or_default();
        self.count += left.len();
        self.worst = left.iter().map(|finding| finding.severity).max().max(self.worst);
        findings.truncate(FINDINGS);
    }

    /// Says so, as severely as the worst that is left out.
    fn report(&self, findings: &mut Vec<Diagnostic>) {
        if let Some(severity) = self.worst {
            let message = format!("{} more findings are not listed", self.count);
            findings.push(Diagnostic { severity, ..Diagnostic::new(Code::TooComplex, Place::default(), message) });
        }
    }
}

/// Where each stream that is defined more than once is defined.
fn duplicates(files: &[FileEntry]) -> BTreeMap<StreamId, Vec<Origin>> {
    let mut places: BTreeMap<&StreamId, Vec<Origin>> = BTreeMap::new();
    for file in files {
        for found in &file.definitions.streams {
            // A placeholder's two uses may become two streams.
            if let Some(id) =
                found.id.as_ref().filter(|id| !has_placeholder(&id.name) && !has_placeholder(&id.namespace))
            {
                places.entry(id).or_default().push(at(&found.header.origin, &file.path));
            }
        }
    }
    places.into_iter().filter(|(_, places)| places.len() > 1).map(|(id, places)| (id.clone(), places)).collect()
}

fn at(origin: &Origin, path: &Arc<str>) -> Origin {
    Origin { path: Arc::clone(path), ..origin.clone() }
}

fn held_by(finding: &Diagnostic, origin: &Origin) -> Held {
    Held { rule: finding.code.id().to_owned(), detail: finding.message.clone(), origin: origin.clone() }
}

/// Kustomizations that change streams which are read here as they are.
fn not_built(files: &[FileEntry], taken: &Taken) -> Vec<Diagnostic> {
    let with_streams = files.iter().filter(|file| !file.definitions.streams.is_empty());
    let of_streams: BTreeSet<&str> = with_streams.filter_map(|file| taken.any(&file.path)).collect();
    let changing = files.iter().filter(|file| of_streams.contains(&*file.path));
    changing
        .filter_map(|file| {
            let field = file.definitions.kustomization.as_ref()?.changes.first()?;
            let message = format!("`{field}` changes the streams of its resources, and is not applied here");
            Some(Diagnostic::new(Code::NotBuilt, Place::file(&file.path), message).help(build(&file.path)))
        })
        .collect()
}

fn place_of(origin: &Origin) -> Place {
    Place { path: origin.path.to_string(), line: origin.line, column: origin.column, ..Place::default() }
}

fn place_stream(
    out: &mut Assembled,
    path: &Arc<str>,
    found: FoundStream,
    error: Option<&Diagnostic>,
    (twice, taken): (&BTreeMap<StreamId, Vec<Origin>>, &Taken),
    judge: &mut Judge<'_>,
) {
    let FoundStream { id, header, tags, findings: _ } = found;
    let Some(id) = id else {
        // Nobody knows which stream was meant: it may be one that is there.
        let detail = "a stream without a name".to_owned();
        out.desired.incomplete.push(Ignorance::new(inert(path, 200), Cause::Unreadable, detail));
        return;
    };
    let origin = at(&header.origin, path);
    let mut held = error.map(|error| held_by(error, &origin));
    if let Some(by) = taken.patch(path) {
        let message = format!("the stream `{id}` is a patch that `{}` applies, and not a whole stream", inert(by, 200));
        let finding = Diagnostic::new(Code::KustomizePatch, place_of(&origin), message).help(build(by));
        held = held.or_else(|| Some(held_by(&finding, &origin)));
        out.findings.extend(judge.judge(finding, &mut out.waived));
    }
    if let Some(places) = twice.get(&id) {
        let by = places.iter().find_map(|place| taken.any(&place.path));
        let help = by
            .map_or("remove one, or give it another name or namespace; none of them is applied".to_owned(), |by| {
                format!("`{}` puts them together: {}", inert(by, 200), build(by))
            });
        let mut finding = Diagnostic::new(
            Code::DuplicateStream,
            place_of(&origin),
            format!("the stream `{id}` is defined {} times", places.len()),
        )
        .help(help);
        // A few are enough to find them; a bomb of equal files must not become one of findings.
        for other in places.iter().filter(|other| **other != origin).take(3) {
            finding = finding.related(place_of(other), "also here");
        }
        held = held.or_else(|| Some(held_by(&finding, &origin)));
        out.findings.extend(judge.judge(finding, &mut out.waived));
    }
    if has_placeholder(&id.name) || has_placeholder(&id.namespace) {
        let detail = format!("the name of the stream `{}` is not known", inert(&id.name, 80));
        out.desired.incomplete.push(Ignorance::new(inert(path, 200), Cause::Unreadable, detail));
        return;
    }
    if let Some(held) = held {
        out.desired.held.insert(id, held);
        return;
    }
    let tags = tags.into_iter().map(|mut tag| {
        tag.origin.path = Arc::clone(path);
        (tag.reference.name.clone(), Box::new(tag))
    });
    let stream = DesiredStream { tags: tags.collect(), origin, ..header };
    out.desired.streams.insert(id, stream);
}

/// Triggers on tags of streams that are defined here without that tag.
fn trigger_targets(out: &mut Assembled, built: &BTreeSet<TagId>, judge: &mut Judge<'_>) {
    let mut findings = Vec::new();
    for workload in &out.desired.workloads {
        for trigger in &workload.triggers {
            let Some(stream) = out.desired.streams.get(&trigger.tag.stream) else {
                findings.extend(
                    elsewhere(&out.desired, workload, &trigger.tag)
                        .and_then(|finding| judge.judge(finding, &mut out.waived)),
                );
                continue;
            };
            // A stream without tags is filled by pushes; so is one of a whole repository.
            let pushed = stream.tags.is_empty() || !stream.docker_image_repository.is_empty();
            if pushed || stream.tags.contains_key(&trigger.tag.tag) || built.contains(&trigger.tag) {
                continue;
            }
            let message = format!(
                "{} follows `{}`, which no definition fills",
                inert(&workload.id.to_string(), 120),
                inert(&trigger.tag.to_string(), 120)
            );
            let finding = Diagnostic::new(Code::TriggerTarget, place_of(&workload.origin), message)
                .related(place_of(&stream.origin), "the stream");
            findings.extend(judge.judge(finding, &mut out.waived));
        }
    }
    out.findings.extend(findings);
}

/// A trigger on a stream of its own namespace that is defined in another one alone.
fn elsewhere(desired: &Desired, workload: &Workload, tag: &TagId) -> Option<Diagnostic> {
    let own = &tag.stream;
    if own.namespace != workload.id.namespace || desired.held.contains_key(own) {
        return None;
    }
    let (other, stream) = desired.streams.iter().find(|(id, _)| id.name == own.name)?;
    let message = format!(
        "{} follows `{}`, which is not defined; `{}` is",
        inert(&workload.id.to_string(), 120),
        inert(&tag.to_string(), 120),
        inert(&other.tag(&tag.tag).to_string(), 120)
    );
    let finding = Diagnostic::new(Code::TriggerNamespace, place_of(&workload.origin), message);
    let help = format!("add `\"namespace\":\"{}\"` to the `from` of the trigger", inert(&other.namespace, 80));
    Some(finding.help(help).related(place_of(&stream.origin), "the stream"))
}

/// Tags that are to be pulled from a registry that there is none of.
fn local_references(out: &mut Assembled, judge: &mut Judge<'_>) {
    let tags = out.desired.streams.iter().flat_map(|(id, stream)| stream.tags.values().map(move |tag| (id, tag)));
    let local = tags.filter(|(_, tag)| tag.reference.reference_policy.kind == ReferencePolicyType::Local);
    let findings: Vec<Diagnostic> = local
        .map(|(id, tag)| {
            let tag_id = inert(&id.tag(&tag.reference.name).to_string(), 120);
            let message = format!("`{tag_id}` is to be pulled from the cluster's own registry, and there is none");
            Diagnostic::new(Code::NoLocalRegistry, place_of(&tag.origin), message)
                .help("name one with `internalRegistry` in the config; until then it is pulled from upstream")
        })
        .collect();
    out.findings.extend(findings.into_iter().filter_map(|finding| judge.judge(finding, &mut out.waived)));
}
