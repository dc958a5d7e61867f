//! Templates: parameters and what they put into objects (as `oc process` does it).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::findings::{Code, Diagnostic};
use crate::source::{Entry, NODE_BYTES, Node, Scalar, Value, inert};

use super::lowering::{Context, Lowering};
use super::reader::Reader;

/// The objects of a template with its parameters filled in, as a map with the key `objects`; and what they inherit. None for one
/// without objects.
pub(super) fn template(lowering: &mut Lowering<'_>, node: &Node, context: &Context) -> Option<(Node, Context)> {
    let parameters = parameters(lowering, node);
    let mut labels = BTreeMap::clone(&context.labels);
    for key in ["labels", "objectLabels"] {
        if let Some(node) = node.get(key) {
            // What fills a label is text, in either form of the placeholder.
            let Some(mut expanded) = expand(node, &parameters, &mut lowering.reader.bytes) else {
                lowering.reader.report(too_large(&lowering.reader, node));
                return None;
            };
            quote_filled(&mut expanded, node);
            labels.extend(lowering.reader.text_map(&expanded, key));
        }
    }
    let missing = parameters
        .iter()
        .filter_map(|(name, parameter)| parameter.problem.map(|problem| (name.clone(), problem.to_owned())))
        .collect();
    let context = Context { kind: None, labels: Arc::new(labels), missing: Arc::new(missing) };
    if let Some(items) = node.entry("items") {
        let message = "`items` does not belong in a Template: nothing in it is ever made";
        let finding =
            lowering.reader.finding(Code::WrongDepth, &items.key, message).help("its objects are in `objects`");
        lowering.reader.report(finding.fix(items.key.span, "objects"));
    }
    let objects = node.get("objects")?;
    let text = Scalar { text: "objects".to_owned(), plain: true };
    let key = Node { value: Value::Scalar(text), span: objects.span };
    let Some(value) = expand(objects, &parameters, &mut lowering.reader.bytes) else {
        lowering.reader.report(too_large(&lowering.reader, objects));
        return None;
    };
    let entry = Entry { key, value };
    Some((Node { value: Value::Mapping(vec![entry]), span: node.span }, context))
}

struct Parameter {
    /// The value; none leaves the placeholder where it is.
    value: Option<String>,
    /// Why there is none.
    problem: Option<&'static str>,
}

fn parameters(lowering: &mut Lowering<'_>, node: &Node) -> BTreeMap<String, Parameter> {
    let mut parameters = BTreeMap::new();
    let Some(list) = node.get("parameters") else { return parameters };
    for node in lowering.reader.list(list, "parameters") {
        let Some(name) = node.get("name").and_then(Node::text) else { continue };
        lowering.out.parameters.push(name.to_owned());
        let given = lowering.options.parameters.get(name).cloned();
        // Numbers and booleans are taken as they are written: `value: 3.10` is the text 3.10.
        let default = node.get("value").filter(|value| !value.is_null()).and_then(Node::text).map(str::to_owned);
        let generated = node.get("generate").is_some_and(|generate| !generate.is_null());
        let required = node.get("required").and_then(Node::text) == Some("true");
        let value = given.or_else(|| default.filter(|value| !value.is_empty()));
        let parameter = match value {
            Some(value) => Parameter { value: Some(value), problem: None },
            None if generated => {
                Parameter { value: None, problem: Some("is generated, which would differ on every run") }
            }
            None if required => Parameter { value: None, problem: Some("is required and has no value") },
            None => Parameter { value: Some(String::new()), problem: None },
        };
        parameters.insert(name.to_owned(), parameter);
    }
    parameters
}

/// A template that would grow beyond every use.
pub(super) fn too_large(reader: &Reader<'_>, node: &Node) -> Diagnostic {
    let message = "what the templates of this file come to is too large; what they define is not read";
    reader.finding(Code::TooComplex, node, message).help("give parameters shorter values, or use them less often")
}

/// Fills parameters into every text of a tree, keys included; none when that takes more bytes than are `left`.
fn expand(node: &Node, parameters: &BTreeMap<String, Parameter>, left: &mut usize) -> Option<Node> {
    *left = left.checked_sub(NODE_BYTES)?;
    let value = match &node.value {
        Value::Scalar(scalar) => Value::Scalar(expand_scalar(scalar, parameters, left)?),
        Value::Sequence(items) => {
            let items = items.iter().map(|item| expand(item, parameters, left));
            Value::Sequence(items.collect::<Option<_>>()?)
        }
        Value::Mapping(entries) => {
            let mut fill = |node: &Node| expand(node, parameters, left);
            let entries =
                entries.iter().map(|entry| Some(Entry { key: fill(&entry.key)?, value: fill(&entry.value)? }));
            Value::Mapping(entries.collect::<Option<_>>()?)
        }
    };
    Some(Node { value, span: node.span })
}

/// Takes what parameters have filled in for text.
fn quote_filled(expanded: &mut Node, written: &Node) {
    match (&mut expanded.value, &written.value) {
        (Value::Scalar(scalar), Value::Scalar(before)) => scalar.plain &= scalar.text == before.text,
        (Value::Mapping(entries), Value::Mapping(before)) => {
            for (entry, before) in entries.iter_mut().zip(before) {
                quote_filled(&mut entry.value, &before.value);
            }
        }
        _ => {}
    }
}

fn expand_scalar(scalar: &Scalar, parameters: &BTreeMap<String, Parameter>, left: &mut usize) -> Option<Scalar> {
    *left = left.checked_sub(scalar.text.len())?;
    if !scalar.text.contains("${") {
        return Some(scalar.clone());
    }
    let value_of = |name: &str| parameters.get(name).and_then(|parameter| parameter.value.as_deref());
    if let Some(value) = json_parameter(&scalar.text).and_then(value_of) {
        *left = left.checked_sub(value.len())?;
        return Some(match serde_json::from_str::<serde_json::Value>(value) {
            Ok(serde_json::Value::String(text)) => Scalar { text, plain: false },
            // A number, a boolean or null: read as if it stood there without quotes.
            Ok(_) => Scalar { text: value.to_owned(), plain: true },
            Err(_) => scalar.clone(),
        });
    }
    let mut text = String::with_capacity(scalar.text.len());
    let mut rest = scalar.text.as_str();
    while let Some(start) = rest.find("${") {
        text.push_str(&rest[..start]);
        rest = &rest[start..];
        let filled = name_at(rest).and_then(|name| Some((name.len() + 3, value_of(name)?)));
        let (length, value) = filled.unwrap_or((2, "${"));
        *left = left.checked_sub(value.len())?;
        text.push_str(value);
        rest = &rest[length..];
    }
    text.push_str(rest);
    // What a parameter fills in is text, as `oc process` has it.
    let plain = scalar.plain && text == scalar.text;
    Some(Scalar { text, plain })
}

/// `X` of a text that begins with `${X}`.
fn name_at(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("${")?;
    let end = rest.find(|char: char| !char.is_ascii_alphanumeric() && char != '_')?;
    (end > 0 && rest[end..].starts_with('}')).then(|| &rest[..end])
}

/// The names of all parameters that a text has placeholders of.
pub(super) fn names(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("${").filter_map(|(at, _)| name_at(&text[at..]))
}

/// `X` of a text that is `${{X}}` and nothing else.
fn json_parameter(text: &str) -> Option<&str> {
    let name = text.strip_prefix("${{")?.strip_suffix("}}")?;
    is_name(name).then_some(name)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Reports parameters without a value that an object uses, once each, where it uses them first.
pub(super) fn report_missing(reader: &mut Reader<'_>, node: &Node, missing: &BTreeMap<String, String>) {
    let mut uses = BTreeMap::new();
    placeholders(node, &mut uses);
    for (name, (scalar, json)) in uses {
        if let Some(problem) = missing.get(&name) {
            let finding = reader
                .finding(Code::ParameterValue, scalar, format!("the parameter `{}` {problem}", inert(&name, 60)))
                .help(format!("give it with `--param {name}=VALUE` or under `params:` in the config"));
            reader.report(finding);
        } else if json {
            let message = format!("the value of `${{{{{}}}}}` is not JSON", inert(&name, 60));
            let help = "`${{NAME}}` takes a number, a boolean or quoted text; for text use `${NAME}`";
            reader.report(reader.finding(Code::ParameterType, scalar, message).help(help));
        }
    }
}

/// Placeholders that are left, each with its first place and whether it is of the JSON form.
fn placeholders<'n>(node: &'n Node, uses: &mut BTreeMap<String, (&'n Node, bool)>) {
    match &node.value {
        Value::Scalar(scalar) => {
            if let Some(name) = json_parameter(&scalar.text) {
                uses.entry(name.to_owned()).or_insert((node, true));
            }
            for (at, _) in scalar.text.match_indices("${") {
                if let Some(name) = name_at(&scalar.text[at..]) {
                    uses.entry(name.to_owned()).or_insert((node, false));
                }
            }
        }
        Value::Sequence(items) => items.iter().for_each(|item| placeholders(item, uses)),
        Value::Mapping(entries) => entries.iter().for_each(|entry| {
            placeholders(&entry.key, uses);
            placeholders(&entry.value, uses);
        }),
    }
}

/// Whether a text still has somebody's placeholder in it, so that it must not leave the house.
pub(super) fn has_placeholder(text: &str) -> bool {
    let angle = text.starts_with('<') && text.ends_with('>') && text.len() > 2;
    ["${", "$(", "{{", "}}", "#{", "***", "PLACEHOLDER", "_placeholder_"].iter().any(|mark| text.contains(mark))
        || angle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_filled_in() {
        let value = |text: &str| Parameter { value: Some(text.to_owned()), problem: None };
        let parameters = BTreeMap::from([
            ("A".to_owned(), value("x")),
            ("N".to_owned(), value("3")),
            ("EMPTY".to_owned(), value("")),
            ("GONE".to_owned(), Parameter { value: None, problem: Some("has no value") }),
        ]);
        let table = [
            ("${A}", "x", false),
            ("a-${A}-${N}", "a-x-3", false),
            ("${{N}}", "3", true),
            ("${EMPTY}", "", false),
            ("${GONE}/${A}", "${GONE}/x", false),
            ("${UNDECLARED}", "${UNDECLARED}", true),
            ("$${A}", "$x", false),
            ("${A", "${A", true),
            ("${{A}}", "${{A}}", true),
        ];
        for (text, expected, plain) in table {
            let scalar = Scalar { text: text.to_owned(), plain: true };
            let scalar = expand_scalar(&scalar, &parameters, &mut 1000).expect("it is short");
            assert_eq!((scalar.text.as_str(), scalar.plain), (expected, plain), "{text}");
        }
        assert_eq!(
            Some(Scalar { text: "3".to_owned(), plain: true }),
            expand_scalar(&Scalar { text: "${{N}}".to_owned(), plain: false }, &parameters, &mut 1000)
        );
    }
}
