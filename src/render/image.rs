//! The image of a tag in full, as `oc describe istag` shows it (semantics 7.4), from its manifest and config.

use std::fmt::Write;

use jiff::Timestamp;
use serde_json::Value;

use crate::openshift::{StreamId, TagEvent};
use crate::source::inert;

/// What is known of a tag's image. `content` gives the bytes of a manifest or config by digest, where they are kept.
pub fn describe_image(
    id: &StreamId,
    tag: &str,
    head: &TagEvent,
    first_seen: Option<Timestamp>,
    content: impl Fn(&str) -> Option<Vec<u8>>,
) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(
            out,
            "{:<18}{}",
            if name.is_empty() { String::new() } else { format!("{name}:") },
            inert(value, 1000)
        );
    };
    line("Name", &format!("{}:{tag}", id.name));
    line("Namespace", &id.namespace);
    line("Docker Image", &head.docker_image_reference);
    if !head.image.is_empty() {
        line("Image Name", &head.image);
    }
    if let Some(created) = head.created {
        line("Tagged", &created.to_string());
    }
    if let Some(seen) = first_seen {
        line("First Seen", &seen.to_string());
    }
    let read = |digest: &str| content(digest).and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let Some(manifest) = read(&head.image) else {
        line("Manifest", "not kept here; `--refresh` fetches it with the next import");
        return out;
    };
    if let Some(images) = manifest["manifests"].as_array() {
        for (at, image) in images.iter().enumerate() {
            let platform = &image["platform"];
            let part = |name: &str| platform[name].as_str().unwrap_or("unknown").to_owned();
            let digest = image["digest"].as_str().unwrap_or_default();
            line(if at == 0 { "Manifests" } else { "" }, &format!("{}/{} {digest}", part("os"), part("architecture")));
        }
        return out;
    }
    let layers = manifest["layers"].as_array().map_or(&[][..], Vec::as_slice);
    let size: u64 = layers.iter().filter_map(|layer| layer["size"].as_u64()).sum();
    line(
        "Image Size",
        &format!("{size} bytes in {} {}", layers.len(), if layers.len() == 1 { "layer" } else { "layers" }),
    );
    for (at, layer) in layers.iter().enumerate() {
        let digest = layer["digest"].as_str().unwrap_or_default();
        line(if at == 0 { "Layers" } else { "" }, &format!("{} {digest}", layer["size"].as_u64().unwrap_or_default()));
    }
    let Some(config) = manifest["config"]["digest"].as_str().and_then(read) else { return out };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    for (name, value) in [
        ("Image Created", text(&config["created"])),
        ("Author", text(&config["author"])),
        ("Arch", text(&config["architecture"])),
        ("User", text(&config["config"]["User"])),
        ("Working Dir", text(&config["config"]["WorkingDir"])),
        ("Entrypoint", words(&config["config"]["Entrypoint"])),
        ("Command", words(&config["config"]["Cmd"])),
        ("Exposes Ports", keys(&config["config"]["ExposedPorts"])),
        ("Volumes", keys(&config["config"]["Volumes"])),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            line(name, &value);
        }
    }
    let labels = config["config"]["Labels"].as_object();
    for (at, (key, value)) in labels.into_iter().flatten().enumerate() {
        line(if at == 0 { "Docker Labels" } else { "" }, &format!("{key}={}", value.as_str().unwrap_or_default()));
    }
    // Environments carry passwords: the names are enough here.
    let names = config["config"]["Env"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let names: Vec<&str> = names.map(|variable| variable.split('=').next().unwrap_or_default()).collect();
    if !names.is_empty() {
        line("Environment", &names.join(" "));
    }
    out
}

fn words(value: &Value) -> Option<String> {
    Some(value.as_array()?.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "))
}

fn keys(value: &Value) -> Option<String> {
    Some(value.as_object()?.keys().cloned().collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_image_says_of_itself_is_shown_inert_and_its_secrets_are_not() {
        let config = br#"{"architecture":"amd64","config":{"User":"1001","Env":["PASSWORD=hunter2"],"Labels":{"a":"\u001b[31mred"}}}"#;
        let manifest = br#"{"config":{"digest":"c"},"layers":[{"size":5,"digest":"l"}]}"#;
        let content = |digest: &str| match digest {
            "m" => Some(manifest.to_vec()),
            "c" => Some(config.to_vec()),
            _ => None,
        };
        let head =
            TagEvent { docker_image_reference: "r/a@m".to_owned(), image: "m".to_owned(), ..TagEvent::default() };
        let out = describe_image(&StreamId::new("n", "s"), "t", &head, None, content);
        assert!(
            out.contains("User:             1001\n") && out.contains("Image Size:       5 bytes in 1 layer\n"),
            "{out}"
        );
        assert!(out.contains("PASSWORD") && !out.contains("hunter2") && !out.contains('\u{1b}'), "{out}");
    }
}
