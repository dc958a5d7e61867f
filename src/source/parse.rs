//! YAML and JSON into spanned trees, one a document, everything wrong on the way reported.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, StrInput};

use super::node::{Entry, Node, Scalar, Value};
use super::place::Place;
use super::problem::{ProblemKind, SyntaxProblem};
use super::source_map::{SourceText, Span, inert};

/// Bounds that keep a hostile file from exhausting the reader.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Levels of lists and maps. Real files have at most 16.
    pub depth: usize,
    /// Nodes of a file after aliases are expanded. Real files have at most some ten thousand.
    pub nodes: usize,
    /// Bytes of all values of a file after aliases are expanded, with what each node takes itself.
    pub bytes: usize,
    /// Documents of a file.
    pub documents: usize,
    /// Problems that are reported of a file; what follows the last of them is not read.
    pub problems: usize,
}

/// What a node takes beside its text.
pub const NODE_BYTES: usize = 64;

/// What takes no room on a screen, joiners aside, which are a part of words in some languages.
fn is_invisible(char: char) -> bool {
    matches!(
        char,
        '\u{ad}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
    )
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 128, nodes: 500_000, bytes: 48 * 1024 * 1024, documents: 10_000, problems: 1000 }
    }
}

/// What a file holds.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The documents that could be read, empty ones left out.
    pub documents: Vec<Node>,
    /// What is wrong with the others, and in them.
    pub problems: Vec<SyntaxProblem>,
    /// Whether every document was read: without it, what the file does not say is unknown.
    pub complete: bool,
}

/// Reads a file. Never fails: what cannot be read is a finding, and the next document is tried.
pub fn parse(source: &SourceText, limits: Limits) -> Parsed {
    let text = source.text();
    let mut options = Options::default();
    options.emit_comments = false;
    options.simple_key_max_lookahead = 64 * 1024;
    options.flow_nesting_limit = limits.depth;
    options.block_nesting_limit = limits.depth;
    let mut parts = json_values(text).into_iter().map(|value| (value.start, &text[value]));
    let (offset, first) = parts.next().unwrap_or((0, text));
    let mut builder = Builder {
        source,
        limits,
        parser: Parser::new_from_str_with_options(first, options.clone()),
        offset,
        anchors: BTreeMap::new(),
        nodes: 0,
        bytes: 0,
        problems: Vec::new(),
        markup: OnceCell::new(),
    };
    let mut documents = Vec::new();
    let mut complete = true;
    loop {
        match builder.document() {
            Ok(Some(document)) => documents.extend((!document.is_null()).then_some(document)),
            Ok(None) => {
                let Some((offset, next)) = parts.next() else { break };
                builder.offset = offset;
                builder.parser = Parser::new_from_str_with_options(next, options.clone());
            }
            Err(stop) => {
                complete = false;
                // The rest of a template is as little YAML as its beginning: once is enough.
                let is_template = stop.0.kind == ProblemKind::Markup;
                builder.problems.push(*stop.0);
                if is_template {
                    break;
                }
                // A file over its limits gets no second chance: the budget is the file's.
                let budget_left = builder.nodes < limits.nodes && builder.bytes < limits.bytes;
                if !budget_left || !builder.parser.proceed_next_document().unwrap_or(false) {
                    break;
                }
            }
        }
        let over = if documents.len() > limits.documents {
            Some(format!("the file has more than {} documents", limits.documents))
        } else {
            let most = limits.problems;
            (builder.problems.len() >= most).then(|| format!("more than {most} things are wrong; the rest is not read"))
        };
        if let Some(message) = over {
            complete = false;
            let place = Place::of(source, Span::new(0, 0));
            builder.problems.push(SyntaxProblem::new(ProblemKind::TooComplex, place, message));
            break;
        }
    }
    Parsed { documents, problems: builder.problems, complete }
}

/// Where the values of a file lie that is several JSON values one after the other, which kubectl and oc read (`kubectl get -o json` twice);
/// none for any other file: one JSON value is YAML, too.
fn json_values(text: &str) -> Vec<std::ops::Range<usize>> {
    if !text.trim_start().starts_with(['{', '[']) {
        return Vec::new();
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>();
    let (mut found, mut start) = (Vec::new(), 0);
    while let Some(value) = values.next() {
        if value.is_err() {
            return Vec::new();
        }
        let end = values.byte_offset();
        found.push(start..end);
        start = end;
    }
    if found.len() > 1 { found } else { Vec::new() }
}

/// Ends a document; boxed because it is rare and large.
struct Stop(Box<SyntaxProblem>);

struct Builder<'a> {
    source: &'a SourceText,
    limits: Limits,
    parser: Parser<'a, StrInput<'a>>,
    /// Byte of the file at which the text of the parser begins.
    offset: usize,
    /// Anchored nodes by the parser's number, with what each stands for.
    anchors: BTreeMap<usize, (Node, Size)>,
    nodes: usize,
    bytes: usize,
    problems: Vec<SyntaxProblem>,
    /// Whose template language the file is written in: looked for once.
    markup: OnceCell<Option<&'static str>>,
}

/// How much a tree is.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    nodes: usize,
    bytes: usize,
}

impl Builder<'_> {
    fn next(&mut self) -> Result<Option<(Event<'_>, Span)>, Stop> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok((event, span))) => {
                let offset = self.offset;
                let at = |range: std::ops::Range<usize>| Span::new(offset + range.start, offset + range.end);
                Ok(Some((event, span.byte_range().map_or_else(Span::default, at))))
            }
            Some(Err(error)) => Err(Stop(Box::new(self.syntax(&error)))),
        }
    }

    /// The next document, or nothing at the end of the file.
    fn document(&mut self) -> Result<Option<Node>, Stop> {
        self.anchors.clear();
        loop {
            match self.next()? {
                None | Some((Event::StreamEnd, _)) => return Ok(None),
                Some((Event::DocumentStart(..), _)) => {
                    let node = self.node(0)?;
                    return Ok(Some(node));
                }
                Some(_) => {}
            }
        }
    }

    fn node(&mut self, depth: usize) -> Result<Node, Stop> {
        loop {
            if let Some(node) = self.try_node(depth)? {
                return Ok(node);
            }
        }
    }

    /// A node, or nothing where the event was none (comments, anchors).
    fn try_node(&mut self, depth: usize) -> Result<Option<Node>, Stop> {
        self.count(Size { nodes: 1, bytes: NODE_BYTES }, depth)?;
        let Some((event, span)) = self.next()? else {
            return Ok(Some(null(Span::default())));
        };
        let (value, anchor, end) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                let text = text.into_owned();
                self.count(Size { nodes: 0, bytes: text.len() }, depth)?;
                (Value::Scalar(Scalar { text, plain }), anchor, span)
            }
            Event::SequenceStart(_, anchor, _) => {
                let mut items = Vec::new();
                let end = loop {
                    match self.item(depth + 1)? {
                        Item::Node(node) => items.push(node),
                        Item::End(end) => break end,
                    }
                };
                (Value::Sequence(items), anchor, end)
            }
            Event::MappingStart(_, anchor, _) => {
                let mut entries = Vec::new();
                let end = loop {
                    match self.item(depth + 1)? {
                        Item::Node(key) => {
                            self.key_characters(&key);
                            let value = self.node(depth + 1)?;
                            entries.push(Entry { key, value });
                        }
                        Item::End(end) => break end,
                    }
                };
                let entries = self.merge(entries)?;
                self.duplicates(&entries);
                (Value::Mapping(entries), anchor, end)
            }
            Event::Alias(id) => return self.alias(id, span, depth).map(Some),
            Event::DocumentEnd | Event::StreamEnd => return Ok(Some(null(span))),
            _ => return Ok(None),
        };
        let node = Node { value, span: Span { start: span.start, end: end.end.max(span.end) } };
        if anchor > 0 {
            let size = size(&node);
            self.count(size, depth)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok(Some(node))
    }

    /// The next item of a list or map, or its end.
    fn item(&mut self, depth: usize) -> Result<Item, Stop> {
        loop {
            let end = match self.parser.peek() {
                Some(Ok((Event::SequenceEnd | Event::MappingEnd, span))) => Some(*span),
                _ => None,
            };
            if let Some(span) = end {
                self.parser.next_event();
                let end = span.byte_range().map_or(0, |range| self.offset + range.end);
                return Ok(Item::End(Span::new(end, end)));
            }
            if let Some(node) = self.try_node(depth)? {
                return Ok(Item::Node(node));
            }
        }
    }

    fn alias(&mut self, id: usize, span: Span, depth: usize) -> Result<Node, Stop> {
        let Some((node, size)) = self.anchors.get(&id).map(|(node, size)| (node, *size)) else {
            let place = Place::of(self.source, span);
            let problem = SyntaxProblem::new(ProblemKind::Syntax, place, "an alias inside the value it stands for");
            return Err(Stop(Box::new(problem)));
        };
        // Counted before it is copied, so that a bomb costs nothing.
        if self.nodes + size.nodes > self.limits.nodes || self.bytes + size.bytes > self.limits.bytes {
            return Err(self.too_complex(span));
        }
        let node = Node { value: node.value.clone(), span };
        self.count(size, depth)?;
        Ok(node)
    }

    fn count(&mut self, size: Size, depth: usize) -> Result<(), Stop> {
        self.nodes += size.nodes;
        self.bytes += size.bytes;
        let Limits { nodes, bytes, .. } = self.limits;
        if self.nodes > nodes || self.bytes > bytes || depth > self.limits.depth {
            return Err(self.too_complex(Span::default()));
        }
        Ok(())
    }

    fn syntax(&self, error: &ScanError) -> SyntaxProblem {
        let at = error.marker().byte_offset().map(|at| self.offset + at);
        let at = at.unwrap_or_else(|| self.source.byte_of_character(error.marker().index()));
        let info = error.info();
        let place = Place::of(self.source, Span::new(at, at));
        if info.contains("nesting") || info.contains("recursion") || info.contains("depth") {
            let message = format!("nested too deeply: {}", inert(&info, 200));
            return SyntaxProblem::new(ProblemKind::TooComplex, place, message);
        }
        let message = format!("not valid YAML or JSON: {}", inert(&info, 200));
        match self.markup.get_or_init(|| template_markup(self.source.text())) {
            Some(markup) => SyntaxProblem::new(ProblemKind::Markup, place, message).help(markup),
            None => SyntaxProblem::new(ProblemKind::Syntax, place, message),
        }
    }

    fn too_complex(&self, span: Span) -> Stop {
        let Limits { depth, nodes, bytes, .. } = self.limits;
        let message = format!(
            "the file is nested deeper than {depth} levels, or has more than {nodes} nodes or {bytes} bytes with its aliases"
        );
        Stop(Box::new(
            SyntaxProblem::new(ProblemKind::TooComplex, Place::of(self.source, span), message)
                .help("write the values out"),
        ))
    }

    /// Applies `<<`: what the map says itself wins.
    fn merge(&mut self, entries: Vec<Entry>) -> Result<Vec<Entry>, Stop> {
        let is_merge =
            |entry: &Entry| matches!(&entry.key.value, Value::Scalar(scalar) if scalar.plain && scalar.text == "<<");
        if !entries.iter().any(is_merge) {
            return Ok(entries);
        }
        let (merges, mut own): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_merge);
        let mut keys: BTreeSet<Option<String>> = own.iter().map(|mine| mine.key.text().map(str::to_owned)).collect();
        for merge in merges {
            let place = Place::of(self.source, merge.key.span);
            self.problems.push(
                SyntaxProblem::new(ProblemKind::MergeKey, place, "a merge key is applied").help("write the fields out"),
            );
            let bases = match merge.value.value {
                Value::Sequence(items) => items,
                Value::Mapping(_) | Value::Scalar(_) => vec![merge.value],
            };
            for entry in bases.into_iter().flat_map(|base| base.entries().to_vec()) {
                self.count(Size { nodes: 1, bytes: NODE_BYTES }, 0)?;
                if keys.insert(entry.key.text().map(str::to_owned)) {
                    own.push(entry);
                }
            }
        }
        Ok(own)
    }

    /// Reports a key that hides what stands under it.
    fn key_characters(&mut self, key: &Node) {
        let is_odd = |char: char| char.is_control() || (char.is_whitespace() && !char.is_ascii()) || is_invisible(char);
        let Some(text) = key.text().filter(|text| text.contains(is_odd)) else { return };
        if self.problems.len() >= self.limits.problems {
            return;
        }
        let mut shown = String::new();
        for char in text.chars().take(80) {
            match is_odd(char) {
                true => shown.push_str(&format!("U+{:04X}", u32::from(char))),
                false => shown.push(char),
            }
        }
        let message =
            format!("the key `{}` has characters in it that look like spaces, or like nothing", inert(&shown, 200));
        let problem = SyntaxProblem::new(ProblemKind::KeyCharacter, Place::of(self.source, key.span), message);
        self.problems.push(problem.help("replace them by spaces, with the indentation that is meant"));
    }

    fn duplicates(&mut self, entries: &[Entry]) {
        // Few keys: comparing each with those before it beats a set.
        const FEW: usize = 32;
        let mut seen = BTreeMap::new();
        for (at, entry) in entries.iter().enumerate() {
            if self.problems.len() >= self.limits.problems {
                return;
            }
            let Some(key) = entry.key.text() else { continue };
            let first = if entries.len() <= FEW {
                entries[..at].iter().find(|other| other.key.text() == Some(key)).map(|other| other.key.span)
            } else {
                seen.insert(key, entry.key.span)
            };
            if let Some(first) = first {
                let message = format!("the key `{}` appears twice in one map", inert(key, 80));
                let place = Place::of(self.source, entry.key.span);
                let problem = SyntaxProblem::new(ProblemKind::DuplicateKey, place, message)
                    .help("remove one: readers disagree about which one counts");
                self.problems.push(SyntaxProblem { first: Some(Place::of(self.source, first)), ..problem });
            }
        }
    }
}

enum Item {
    Node(Node),
    End(Span),
}

fn null(span: Span) -> Node {
    Node { value: Value::Scalar(Scalar { text: String::new(), plain: true }), span }
}

impl std::iter::Sum for Size {
    fn sum<I: Iterator<Item = Self>>(sizes: I) -> Self {
        sizes.fold(Self::default(), |sum, size| Self { nodes: sum.nodes + size.nodes, bytes: sum.bytes + size.bytes })
    }
}

/// How much a tree is. Depth is bounded by the parser, so recursion is.
fn size(node: &Node) -> Size {
    let text = node.text().map_or(0, str::len);
    let own = Size { nodes: 1, bytes: NODE_BYTES + text };
    let entries = node.entries().iter().flat_map(|entry| [&entry.key, &entry.value]);
    [own].into_iter().chain(node.items().iter().chain(entries).map(size)).sum()
}

/// Says whose template language a file is written in, if it looks like one.
fn template_markup(text: &str) -> Option<&'static str> {
    // Parameters of OpenShift's templates have braces as well, and are plain text to YAML.
    let text = text.replace("${{", "");
    let has = |needle: &str| text.contains(needle);
    if has("{{") && (has(".Values") || has(".Release") || has(".Chart") || has("{{- ") || has("include \"")) {
        Some(
            "this looks like a Helm chart's template: render it (`helm template`) and commit the result, or exclude it",
        )
    } else if has("{%") || has("{{") {
        Some("this looks like a Jinja or Go template: render it and commit the result, or exclude it")
    } else if has("$patch:") || has("kustomize") {
        Some("this looks like a kustomize patch: build it (`kustomize build`) and commit the result, or exclude it")
    } else if has("<<<<<<<") {
        Some("there are merge conflict markers in the file")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Parsed {
        parse(&SourceText::new(text.to_owned()), Limits::default())
    }

    #[test]
    fn json_values_one_after_the_other_are_documents() {
        for text in ["{\"a\": 1}\n{\"a\": 2}\n", "{\"a\":1}{\"a\":2}", "  {\"a\": [{}]}\n\n[{\"b\": \"}{\"}]  "] {
            let parsed = read(text);
            assert!(parsed.complete && parsed.problems.is_empty() && parsed.documents.len() == 2, "{text}: {parsed:?}");
            let second = &parsed.documents[1];
            let (start, end) = (second.span.start as usize, second.span.end as usize);
            assert!(start > text.find("1}").unwrap_or(4) && end <= text.len(), "{text}: {:?}", second.span);
            assert!(text[start..].starts_with(['{', '[']), "{text}: {:?}", second.span);
        }
        let broken = read("{\"a\": 1}\n{\"a\": \n");
        assert!(!broken.complete && !broken.problems.is_empty());
    }

    fn kinds(parsed: &Parsed) -> Vec<ProblemKind> {
        parsed.problems.iter().map(|problem| problem.kind).collect()
    }

    #[test]
    fn yaml_and_json_become_the_same_tree() {
        let yaml = read("a: 1\nb: [x, 'y']\n");
        let json = read("{\n\t\"a\": 1,\n\t\"b\": [\"x\", \"y\"]\n}\n");
        for parsed in [&yaml, &json] {
            assert_eq!(kinds(parsed), [], "{parsed:?}");
            assert_eq!(parsed.documents[0].get("b").map(|list| list.items().len()), Some(2));
        }
        assert_eq!(yaml.documents[0].get("a").and_then(Node::text), Some("1"));
    }

    #[test]
    fn spans_cover_what_is_written() {
        let text = "spec:\n  tags:\n    - name: 3.10\n";
        let parsed = read(text);
        let name = parsed.documents[0].at(&["spec", "tags"]).and_then(|tags| tags.items()[0].get("name")).cloned();
        assert_eq!(name.map(|name| &text[name.span.range()]), Some("3.10"));
    }

    #[test]
    fn json_escapes_are_resolved() {
        let parsed = read(r#"{"a": "\ud83d\ude00\/\u0041\n"}"#);
        assert_eq!(parsed.documents[0].get("a").and_then(Node::text), Some("😀/A\n"), "{:?}", parsed.problems);
    }

    #[test]
    fn a_broken_document_does_not_stop_the_next() {
        let parsed = read("a: 1\n---\na: [\n---\nb: 2\n");
        assert_eq!(kinds(&parsed), [ProblemKind::Syntax]);
        assert_eq!(parsed.documents.len(), 2);
        assert!(!parsed.complete);
    }

    #[test]
    fn duplicate_keys_are_found_in_small_and_large_maps() {
        assert_eq!(kinds(&read("a: 1\nb: 2\na: 3\n")), [ProblemKind::DuplicateKey]);
        let large: String = (0..100).map(|n| format!("k{n}: 1\n")).chain(["k7: 2\n".to_owned()]).collect();
        assert_eq!(kinds(&read(&large)), [ProblemKind::DuplicateKey]);
    }

    #[test]
    fn bombs_and_depth_are_bounded() {
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for n in 1..12 {
            let refs = vec![format!("*a{}", n - 1); 10].join(",");
            bomb += &format!("a{n}: &a{n} [{refs}]\n");
        }
        assert_eq!(kinds(&read(&bomb)), [ProblemKind::TooComplex]);
        for text in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000), "a:\n".repeat(3)] {
            let parsed = read(&text);
            assert!(text.len() < 100 || kinds(&parsed) == [ProblemKind::TooComplex], "{:?}", parsed.problems);
        }
    }

    #[test]
    fn aliases_and_merge_keys_are_applied() {
        let parsed = read("base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\n");
        let used = parsed.documents[0].get("use").expect("the key is there");
        assert_eq!((used.get("x").and_then(Node::text), used.get("y").and_then(Node::text)), (Some("1"), Some("3")));
        assert_eq!(kinds(&parsed), [ProblemKind::MergeKey]);
    }

    #[test]
    fn helm_markup_is_recognised() {
        let parsed = read("a: {{ .Values.x }}\nb: {{- if x }}\nkind: [\n");
        assert!(parsed.problems[0].help.is_some_and(|help| help.contains("helm template")));
    }
}
