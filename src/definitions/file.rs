//! One file: its documents, lists and templates down to streams and workloads.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::findings::{Code, Diagnostic, Severity};
use crate::openshift::IMAGE_API_VERSION;
use crate::source::{Entry, Limits, NODE_BYTES, Node, Parsed, SourceText, inert, parse};

use super::lowering::{Context, FileDefinitions, Lowering, ReadOptions};
use super::reader::Reader;
use super::{fields, template};

/// Reads a file.
pub fn read(source: &SourceText, options: &ReadOptions) -> FileDefinitions {
    let Parsed { documents, problems, complete } = parse(source, Limits::default());
    // What is wrong inside an object is told with the object, and only of objects that are read.
    let (inside, findings) = problems
        .into_iter()
        .map(Diagnostic::from)
        .partition(|finding| matches!(finding.code, Code::DuplicateKey | Code::MergeKey | Code::KeyCharacter));
    let mut lowering = Lowering {
        reader: Reader::new(source, findings),
        options,
        inside,
        passed: Vec::new(),
        out: FileDefinitions { complete, ..FileDefinitions::default() },
    };
    lowering.out.counts.documents = documents.len();
    for document in &documents {
        lowering.object(document, &Context::default());
    }
    let Lowering { mut reader, mut out, inside, passed, .. } = lowering;
    // What is ambiguous outside of objects that nobody here reads may have had streams in it.
    let in_passed = |finding: &Diagnostic| {
        passed.iter().any(|span| span.start <= finding.place.span.start && finding.place.span.end <= span.end)
    };
    for finding in inside.into_iter().filter(|finding| !in_passed(finding)) {
        out.complete &= !matches!(finding.code, Code::DuplicateKey | Code::KeyCharacter);
        reader.findings.push(finding);
    }
    // An error that is no stream's may hide one.
    let told: BTreeSet<usize> =
        out.streams.iter().flat_map(|stream| stream.findings.clone()).chain(out.elsewhere.clone()).collect();
    let hides = |(at, finding): (usize, &Diagnostic)| {
        !told.contains(&at) && (finding.severity == Severity::Error || finding.code == Code::NoKind)
    };
    out.complete &= !reader.is_full() && !reader.findings.iter().enumerate().any(hides);
    out.findings = reader.findings;
    out
}

impl Lowering<'_> {
    fn object(&mut self, node: &Node, context: &Context) {
        if self.reader.is_full() {
            return;
        }
        let kind = node.get("kind").and_then(Node::text).or(context.kind).unwrap_or_default();
        match kind {
            "ImageStream" => self.image_stream(node, context),
            "ImageStreamList" => {
                let context = Context { kind: Some("ImageStream"), ..context.clone() };
                self.items(node, "items", &context);
            }
            "List" => self.items(node, "items", context),
            "Template" => {
                if let Some((objects, context)) = template::template(self, node, context) {
                    self.items(&objects, "objects", &context);
                }
            }
            _ if super::workload::is_workload(kind) => {
                let first = self.reader.findings.len();
                super::workload::read(self, kind, node, context);
                self.out.elsewhere.extend(first..self.reader.findings.len());
                self.passed.push(node.span);
            }
            "" => {
                self.no_kind(node);
                self.pass_over(node);
            }
            _ if is_ours(kind, node) => {
                let at = node.get("kind").unwrap_or(node);
                let message = format!("there is no kind `{}`; streams are of kind `ImageStream`", inert(kind, 60));
                self.reader.report(self.reader.finding(Code::UnknownKind, at, message));
            }
            _ => self.pass_over(node),
        }
    }

    fn pass_over(&mut self, node: &Node) {
        super::workload::ignored_annotations(&mut self.reader, node);
        self.out.counts.passed_over += 1;
        self.passed.push(node.span);
    }

    /// The objects in a list.
    fn items(&mut self, node: &Node, key: &str, context: &Context) {
        let Some(items) = node.get(key) else { return };
        for item in self.reader.list(items, key) {
            self.object(item, context);
        }
    }

    /// Something that is no object itself but has image streams in it: nobody will ever apply them.
    fn no_kind(&mut self, node: &Node) {
        let is_kind = |entry: &&Entry| {
            let kinds = ["ImageStream", "ImageStreamList", "List", "Template"];
            let kind = entry.value.text().unwrap_or_default();
            fields::is_miswritten(entry.key.text(), "kind")
                && kinds.iter().any(|known| known.eq_ignore_ascii_case(kind))
        };
        let wrong_case = node.entries().iter().find(is_kind);
        if wrong_case.is_none() && !holds_stream(node) {
            return;
        }
        let at = wrong_case.map_or(node, |entry| &entry.key);
        let finding = self.reader.finding(
            Code::NoKind,
            at,
            "image streams inside something that has no `kind`: they are not read",
        );
        self.reader.report(if wrong_case.is_some() {
            finding.help("keys are case-sensitive: write `kind`")
        } else {
            finding.help("put the objects at the top of the file, or in a List or Template")
        });
    }

    fn image_stream(&mut self, node: &Node, context: &Context) {
        let first = self.reader.findings.len();
        self.report_inside(node);
        let version = node.get("apiVersion");
        let written = version.and_then(Node::text).unwrap_or_default();
        let inherited = written.is_empty() && context.kind.is_some();
        if !inherited && written != "v1" && written != IMAGE_API_VERSION {
            let message = match written {
                "" => "an ImageStream without `apiVersion`".to_owned(),
                other => format!("there is no ImageStream of `{}`", inert(other, 60)),
            };
            let at = version.or_else(|| node.get("kind")).unwrap_or(node);
            let finding =
                self.reader.finding(Code::UnknownVersion, at, message).help(format!("write `{IMAGE_API_VERSION}`"));
            self.reader.report(match version {
                Some(version) => finding.fix(version.span, IMAGE_API_VERSION),
                None => finding,
            });
        }
        template::report_missing(&mut self.reader, node, &context.missing);
        self.reader.missing = Arc::clone(&context.missing);
        let inherited: usize = context.labels.iter().map(|(key, value)| key.len() + value.len() + NODE_BYTES).sum();
        if !self.reader.spend(inherited) {
            self.reader.report(template::too_large(&self.reader, node));
        }
        let mut stream = super::stream::read(self, node);
        for (key, value) in context.labels.iter().filter(|_| inherited <= self.reader.bytes) {
            stream.header.labels.entry(key.clone()).or_insert_with(|| value.clone());
        }
        // The template's labels are part of it.
        stream.header.content = super::stream::content(&stream.header, &stream.tags);
        stream.findings = first..self.reader.findings.len();
        self.out.streams.push(stream);
    }
}

/// Whether a stream is defined somewhere in a tree. Depth is bounded by the parser.
fn holds_stream(node: &Node) -> bool {
    let here = node.get("kind").and_then(Node::text) == Some("ImageStream") && node.get("metadata").is_some();
    here || node.items().iter().any(holds_stream) || node.entries().iter().any(|entry| holds_stream(&entry.value))
}

/// Whether an object of an unknown kind was most likely meant to be a stream.
fn is_ours(kind: &str, node: &Node) -> bool {
    let version = node.get("apiVersion").and_then(Node::text).unwrap_or_default();
    // The other kinds of the group are virtual, or the server's own: they are not defined in Git.
    const KNOWN: &[&str] = &[
        "Image",
        "ImageSignature",
        "ImageStreamTag",
        "ImageTag",
        "ImageStreamImport",
        "ImageStreamMapping",
        "ImageStreamImage",
    ];
    kind.eq_ignore_ascii_case("ImageStream")
        || kind.eq_ignore_ascii_case("ImageStreams")
        || kind.eq_ignore_ascii_case("ImageStreamList")
        || (version.starts_with("image.openshift.io/") && !KNOWN.contains(&kind))
}
