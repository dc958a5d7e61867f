//! Tags and images of a stream, as resources of their own (semantics 6).

use serde_json::{Value, json};
use streamkeeper::openshift::{ImageStream, StreamId, TagReference};
use streamkeeper::rules;

use super::machinery::merge_patch;
use super::{Reply, Request, Stored, World, found, not_found, status};

impl World {
    pub(super) fn view(&mut self, resource: &str, namespace: &str, name: &str, request: &Request) -> Reply {
        let group = "image.openshift.io";
        match (&*request.method, resource) {
            ("GET", "imagestreamtags") if name.is_empty() => {
                let of = self.streams.iter().filter(|(id, _)| id.namespace == namespace);
                let tags = of.flat_map(|(id, stored)| {
                    let names = stored.stream.status.tags.iter().map(|list| list.tag.clone());
                    names.filter_map(|tag| tag_view(id, &stored.stream, &tag, false)).collect::<Vec<_>>()
                });
                let tags: Vec<Value> = tags.collect();
                let body = json!({"kind": "ImageStreamTagList", "apiVersion": "image.openshift.io/v1", "metadata": {}, "items": tags});
                found("200 OK", &body)
            }
            ("GET", "imagestreamimages") => {
                let Some((stream, digest)) = name.split_once('@') else {
                    let message = "ImageStreamImages must be retrieved with <name>@<id>";
                    return status(400, "BadRequest", message, &json!({}));
                };
                let id = StreamId::new(namespace, stream);
                let Some(stored) = self.streams.get(&id) else { return not_found(group, "imagestreams", stream) };
                let events = stored.stream.status.tags.iter().flat_map(|list| &list.items);
                let full = |image: &str| {
                    image == digest
                        || image.trim_start_matches("sha256:").starts_with(digest.trim_start_matches("sha256:"))
                };
                let Some(event) = events.clone().find(|event| full(&event.image)) else {
                    return not_found(group, "imagestreamimage", name);
                };
                let metadata =
                    json!({"name": name, "namespace": namespace, "annotations": stored.stream.metadata.annotations});
                let image =
                    json!({"metadata": {"name": event.image}, "dockerImageReference": event.docker_image_reference});
                found(
                    "200 OK",
                    &json!({"kind": "ImageStreamImage", "apiVersion": "image.openshift.io/v1", "metadata": metadata, "image": image}),
                )
            }
            (method, _) => {
                let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
                let full = if method == "POST" { body["metadata"]["name"].as_str().unwrap_or_default() } else { name };
                let Some((stream, tag)) = full.split_once(':') else {
                    let message = "ImageStreamTags must be retrieved with <name>:<tag>";
                    return status(400, "BadRequest", message, &json!({}));
                };
                let id = StreamId::new(namespace, stream);
                let stored = self.streams.get(&id).cloned();
                let spec = stored.as_ref().and_then(|stored| stored.stream.spec_tag(tag)).cloned();
                match method {
                    "GET" if resource == "imagetags" => {
                        let Some(Stored { stream, .. }) = stored else {
                            return not_found(group, "imagestreams", stream);
                        };
                        let metadata = json!({"name": full, "namespace": namespace, "annotations": stream.metadata.annotations, "generation": stream.metadata.generation});
                        let status = serde_json::to_value(stream.status_tag(tag)).unwrap();
                        let image = stream.head(tag).map(|head| json!({"metadata": {"name": head.image}, "dockerImageReference": head.docker_image_reference}));
                        found(
                            "200 OK",
                            &json!({"kind": "ImageTag", "apiVersion": "image.openshift.io/v1", "metadata": metadata, "spec": spec, "status": status, "image": image}),
                        )
                    }
                    "GET" => match stored.and_then(|stored| tag_view(&id, &stored.stream, tag, true)) {
                        Some(view) => found("200 OK", &view),
                        None => not_found(group, "imagestreamtags", full),
                    },
                    "POST" if spec.is_some() => {
                        let details = json!({"name": full, "group": group, "kind": "imagestreamtag"});
                        let message = format!("imagestreamtag.{group} \"{full}\" already exists");
                        status(409, "AlreadyExists", &message, &details)
                    }
                    _ => {
                        let mut wanted = serde_json::to_value(spec.unwrap_or_default()).unwrap();
                        merge_patch(&mut wanted, &body["tag"]);
                        let mut wanted: TagReference = serde_json::from_value(wanted).unwrap();
                        tag.clone_into(&mut wanted.name);
                        let written = match self.perform(&id, &rules::Request::PutTag(&wanted)) {
                            Ok(written) => written.unwrap(),
                            Err(reply) => return reply,
                        };
                        let mut stored = Stored { stream: written, ..stored.unwrap_or_default() };
                        stored.stream.metadata.name.clone_from(&id.name);
                        stored.stream.metadata.namespace.clone_from(&id.namespace);
                        let stream = stored.stream.clone();
                        self.store(&id, stored);
                        let view = tag_view(&id, &stream, tag, true).unwrap_or_else(|| {
                            json!({"kind": "ImageStreamTag", "apiVersion": "image.openshift.io/v1", "metadata": {"name": full, "namespace": namespace}, "tag": stream.spec_tag(tag), "generation": 0, "lookupPolicy": stream.spec.lookup_policy, "image": {"metadata": {}}})
                        });
                        found(if method == "POST" { "201 Created" } else { "200 OK" }, &view)
                    }
                }
            }
        }
    }
}

/// An ImageStreamTag, of a tag that has an image. What the image holds is left out.
fn tag_view(id: &StreamId, stream: &ImageStream, tag: &str, whole: bool) -> Option<Value> {
    let head = stream.head(tag)?;
    let mut view = json!({
        "metadata": {"name": format!("{}:{tag}", id.name), "namespace": id.namespace},
        "tag": stream.spec_tag(tag),
        "generation": head.generation,
        "lookupPolicy": stream.spec.lookup_policy,
        "image": {"metadata": {"name": head.image}, "dockerImageReference": head.docker_image_reference},
    });
    if whole {
        view["kind"] = "ImageStreamTag".into();
        view["apiVersion"] = "image.openshift.io/v1".into();
    }
    Some(view)
}
