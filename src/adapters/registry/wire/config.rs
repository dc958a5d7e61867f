//! What a manifest and a config say of an image (OCI image specification, "Image Configuration").

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::model::{ImageConfig, LayerFacts};
use crate::openshift::Digest;

use super::manifest::digest_of;

/// Entries of a map or list that are kept: real images have some dozens.
const ENTRIES: usize = 500;
/// Bytes of one value that are kept.
const BYTES: usize = 4096;

/// Annotations of a manifest or list.
pub(in super::super) fn annotations(bytes: &[u8]) -> BTreeMap<String, String> {
    #[derive(Deserialize)]
    struct Annotated {
        #[serde(default)]
        annotations: Option<Map<String, Value>>,
    }
    let annotated: Option<Annotated> = serde_json::from_slice(bytes).ok();
    annotated.and_then(|it| it.annotations).map(|map| texts(&map)).unwrap_or_default()
}

/// What an image is, by its manifest and its config, whose bytes were checked. What is not as the specification has it, is left
/// out: nothing is refused for it.
pub(in super::super) fn image(digest: &str, manifest: &[u8], config: &[u8]) -> ImageConfig {
    let manifest: Value = serde_json::from_slice(manifest).unwrap_or_default();
    let root: Value = serde_json::from_slice(config).unwrap_or_default();
    let text = |value: &Value| value.as_str().map(clip).unwrap_or_default();
    let list = |value: &Value| -> Vec<String> {
        let items = value.as_array().map_or(&[][..], Vec::as_slice);
        items.iter().take(ENTRIES).map(text).collect()
    };
    let keys = |value: &Value| -> BTreeSet<String> {
        let keys = value.as_object().into_iter().flat_map(Map::keys);
        keys.take(ENTRIES).map(|key| clip(key)).collect()
    };
    let config = &root["config"];
    let env = list(&config["Env"]);
    let env = env.iter().map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let empty = Vec::new();
    // What made each layer: steps that made none are passed over.
    let history = root["history"].as_array().unwrap_or(&empty);
    let made = |step: &&Value| step["empty_layer"].as_bool() != Some(true);
    let mut commands = history.iter().filter(made).map(|step| text(&step["created_by"]));
    let layers = manifest["layers"].as_array().unwrap_or(&empty).iter().take(ENTRIES);
    let layers = layers.map(|layer| LayerFacts {
        digest: text(&layer["digest"]),
        size: layer["size"].as_u64().unwrap_or_default(),
        command: commands.next().unwrap_or_default(),
    });
    ImageConfig {
        digest: digest.to_owned(),
        os: text(&root["os"]),
        architecture: text(&root["architecture"]),
        created: root["created"].as_str().and_then(|text| text.parse::<Timestamp>().ok()),
        user: text(&config["User"]),
        entrypoint: list(&config["Entrypoint"]),
        command: list(&config["Cmd"]),
        working_dir: text(&config["WorkingDir"]),
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        ports: keys(&config["ExposedPorts"]),
        volumes: keys(&config["Volumes"]),
        stop_signal: text(&config["StopSignal"]),
        health_check: list(&config["Healthcheck"]["Test"]).join(" "),
        labels: config["Labels"].as_object().map(texts).unwrap_or_default(),
        layers: layers.collect(),
    }
}

/// What stands for the lowest layer, the two lowest, and so on up to all of them (OCI image specification, "Layer ChainID"): two
/// images with the same have the same layers, however they are packed. Empty where the config names no layers.
pub(in super::super) fn chains(config: &[u8]) -> Vec<Digest> {
    let root: Value = serde_json::from_slice(config).unwrap_or_default();
    let layers = root["rootfs"]["diff_ids"].as_array().map_or(&[][..], Vec::as_slice);
    let mut chains: Vec<Digest> = Vec::new();
    for layer in layers.iter().take(ENTRIES) {
        let Some(layer) = layer.as_str().and_then(Digest::parse) else { return Vec::new() };
        chains.push(match chains.last() {
            Some(below) => digest_of(format!("{below} {layer}").as_bytes()),
            None => layer,
        });
    }
    chains
}

fn texts(map: &Map<String, Value>) -> BTreeMap<String, String> {
    let pairs = map.iter().take(ENTRIES);
    pairs.filter_map(|(key, value)| Some((clip(key), clip(value.as_str()?)))).collect()
}

fn clip(text: &str) -> String {
    let mut end = text.len().min(BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_read_and_what_is_no_image_is_an_empty_one() {
        let manifest = r#"{"annotations":{"a":"b","c":1},"layers":[{"digest":"sha256:1","size":5},{"digest":"sha256:2","size":7}]}"#;
        let config = r#"{"os":"linux","architecture":"amd64","created":"2026-01-02T03:04:05.6Z","config":{"User":"1001","Env":["PATH=/bin","X"],"Entrypoint":["/x"],"Cmd":null,"ExposedPorts":{"80/tcp":{}},"Labels":{"l":"m"},"Healthcheck":{"Test":["CMD","true"]}},
            "history":[{"created_by":"ADD base"},{"created_by":"ENV X","empty_layer":true},{"created_by":"RUN make"}]}"#;
        let image_ = image("sha256:0", manifest.as_bytes(), config.as_bytes());
        assert_eq!((image_.user.as_str(), image_.size(), image_.is_root()), ("1001", 12, false));
        assert_eq!(image_.layers[1].command, "RUN make");
        assert_eq!(image_.env["PATH"], "/bin");
        assert_eq!(image_.health_check, "CMD true");
        assert_eq!(annotations(manifest.as_bytes()).len(), 1);
        for odd in ["", "[]", r#"{"config":[],"history":{},"created":7}"#] {
            let image = image("", odd.as_bytes(), odd.as_bytes());
            assert!(image.is_root() && image.layers.is_empty() && image.created.is_none(), "{odd}");
        }
    }
}
