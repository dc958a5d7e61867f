//! `ImageStream` of `image.streamkeeper.io/v1`: the same shape as a custom resource, for clusters that are not OpenShift.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::names::MAX_TAG_NAME;
use super::{ImageStreamSpec, ImageStreamStatus};

/// Group of the custom resource.
pub const CUSTOM_GROUP: &str = "image.streamkeeper.io";

/// Group and version of the custom resource.
pub const CUSTOM_API_VERSION: &str = "image.streamkeeper.io/v1";

/// The CustomResourceDefinition, as `streamkeeper install crd` applies it.
///
/// Spec and status have OpenShift's shape; both lists are maps, so a tag cannot be there twice. What OpenShift's validation
/// refuses (semantics 1.10) is refused by CEL rules. Conditions are for kstatus: `Ready`, `Reconciling`, `Stalled`.
pub fn custom_resource_definition() -> Value {
    let mut spec = structural::<ImageStreamSpec>();
    let mut status = structural::<ImageStreamStatus>();
    spec["properties"]["tags"]["x-kubernetes-list-type"] = "map".into();
    spec["properties"]["tags"]["x-kubernetes-list-map-keys"] = json!(["name"]);
    spec["properties"]["tags"]["maxItems"] = 2000.into();
    spec["properties"]["dockerImageRepository"]["maxLength"] = 1024.into();
    let tag = &mut spec["properties"]["tags"]["items"];
    tag["required"] = json!(["name"]);
    for (pointer, length) in [
        ("/name", MAX_TAG_NAME),
        ("/from/properties/name", 1024),
        ("/from/properties/namespace", 63),
        ("/from/properties/kind", 32),
    ] {
        let field = tag.pointer_mut(&format!("/properties{pointer}")).expect("a field of tags");
        field["maxLength"] = length.into();
    }
    tag["properties"]["from"]["x-kubernetes-map-type"] = "atomic".into();
    tag["properties"]["annotations"]["maxProperties"] = 64.into();
    let tag_rules = [
        (
            r"self.name.matches('^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$')",
            "a tag's name is letters, digits, `_`, `.` and `-`, at most 128",
        ),
        (
            "!has(self.from) || self.from.kind in ['DockerImage', 'ImageStreamTag', 'ImageStreamImage']",
            "from.kind is DockerImage, ImageStreamTag or ImageStreamImage",
        ),
        ("!has(self.from) || size(self.from.name) > 0", "from.name is required"),
        (
            "!has(self.importPolicy) || !has(self.importPolicy.scheduled) || !self.importPolicy.scheduled || (has(self.from) && self.from.kind == 'DockerImage')",
            "only tags that are imported may be scheduled",
        ),
        (
            "!has(self.from) || self.from.kind != 'DockerImage' || !self.from.name.matches('/[^:@]*[A-Z]')",
            "a repository's name is lower case",
        ),
    ];
    tag["x-kubernetes-validations"] = rules(&tag_rules);
    let repository = "!has(self.dockerImageRepository) || self.dockerImageRepository == '' || !self.dockerImageRepository.matches('(@|:[^/]*$)')";
    spec["x-kubernetes-validations"] =
        rules(&[(repository, "dockerImageRepository may not contain a tag or a digest")]);

    status["properties"]["tags"]["x-kubernetes-list-type"] = "map".into();
    status["properties"]["tags"]["x-kubernetes-list-map-keys"] = json!(["tag"]);
    status["properties"]["tags"]["items"]["required"] = json!(["tag"]);
    status["properties"]["observedGeneration"] = json!({"type": "integer", "format": "int64", "description": "Generation of the stream that the conditions are about."});
    status["properties"]["conditions"] = conditions();
    let column = |name: &str, kind: &str, path: &str| json!({"name": name, "type": kind, "jsonPath": path});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("imagestreams.{CUSTOM_GROUP}")},
        "spec": {
            "group": CUSTOM_GROUP,
            "scope": "Namespaced",
            "names": {"kind": "ImageStream", "listKind": "ImageStreamList", "plural": "imagestreams", "singular": "imagestream", "shortNames": ["is"]},
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "description": "A named set of tags, each with the history of the images it stood for.",
                    "properties": {
                        "apiVersion": {"type": "string"},
                        "kind": {"type": "string"},
                        "metadata": {"type": "object"},
                        "spec": spec,
                        "status": status,
                    },
                }},
                "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    column("Image Repository", "string", ".status.dockerImageRepository"),
                    column("Tags", "string", ".spec.tags[*].name"),
                    column("Ready", "string", ".status.conditions[?(@.type==\"Ready\")].status"),
                    column("Age", "date", ".metadata.creationTimestamp"),
                ],
            }],
        },
    })
}

fn rules(rules: &[(&str, &str)]) -> Value {
    rules.iter().map(|(rule, message)| json!({"rule": rule, "message": message})).collect()
}

fn conditions() -> Value {
    let text = |length: u32| json!({"type": "string", "maxLength": length});
    json!({
        "type": "array",
        "description": "`Ready`, `Reconciling` and `Stalled`, as kstatus reads them.",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": text(316),
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
                "lastTransitionTime": {"type": "string", "format": "date-time"},
                "reason": text(1024),
                "message": text(32768),
            },
        },
    })
}

/// A type's schema in the form that Kubernetes takes: no references, one type each, nothing but values is judged.
fn structural<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    clean(&mut schema);
    schema
}

fn clean(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    for gone in ["title", "$schema", "definitions", "components", "default", "examples"] {
        map.remove(gone);
    }
    // What is not there is left out, in this API.
    map.remove("required");
    // Words that each have a description are one of these words.
    if let Some(Value::Array(options)) = map.get("oneOf").cloned() {
        let words: Option<Vec<Value>> =
            options.iter().map(|option| option.get("const").or_else(|| option.pointer("/enum/0")).cloned()).collect();
        if let Some(words) = words {
            map.remove("oneOf");
            map.insert("type".to_owned(), "string".into());
            map.insert("enum".to_owned(), words.into());
        }
    }
    // Something or null.
    for combine in ["anyOf", "allOf"] {
        if let Some(Value::Array(options)) = map.get(combine).cloned() {
            let real: Vec<&Value> =
                options.iter().filter(|option| option.get("type") != Some(&"null".into())).collect();
            if let [Value::Object(one)] = real.as_slice() {
                map.remove(combine);
                for (key, value) in one {
                    map.entry(key).or_insert(value.clone());
                }
            }
        }
    }
    if let Some(Value::Array(types)) = map.get("type").cloned() {
        let real: Vec<Value> = types.iter().filter(|kind| **kind != "null").cloned().collect();
        if real.len() < types.len() {
            map.insert("nullable".to_owned(), true.into());
        }
        map.insert("type".to_owned(), real.first().cloned().unwrap_or_default());
    }
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(clean);
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(inner) {
            clean(inner);
        }
    }
}
