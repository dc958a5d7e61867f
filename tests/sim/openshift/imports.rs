//! ImageStreamImport, and the import controller.

use serde_json::{Value, json};
use streamkeeper::model::{ImportFailure, ImportItem, ImportResult};
use streamkeeper::openshift::{
    Digest, ImageReference, ImageStreamImport, ImportMode, StreamId, TagImportPolicy, TagReference, is_imported,
};
use streamkeeper::rules;

use super::{Reply, Request, Stored, World, found, refused, stale};

impl World {
    pub(super) fn import(&mut self, namespace: &str, request: &Request) -> Reply {
        let mut body: Value = serde_json::from_str(&request.body).unwrap();
        let id = StreamId::new(namespace, body["metadata"]["name"].as_str().unwrap());
        if let Some(version) = body["metadata"]["resourceVersion"].as_str() {
            match self.streams.get(&id) {
                None => return super::not_found("image.openshift.io", "imagestreams", &id.name),
                Some(stored) if stored.stream.metadata.resource_version.as_deref() != Some(version) => {
                    return stale(&id.name);
                }
                Some(_) => {}
            }
        }
        let typed: ImageStreamImport = serde_json::from_value(body.clone()).unwrap();
        if let Err(refusal) = rules::check_import(&id.name, &typed.spec) {
            return refused(&refusal);
        }
        // So that a client that asks for more at once than the real server answers quickly is noticed.
        assert!(!self.strict || typed.spec.images.len() <= 3, "an import of {} images", typed.spec.images.len());
        let mut items = Vec::new();
        let mut results = Vec::new();
        for image in &typed.spec.images {
            let from = &image.from.name;
            let tag = image.to.as_ref().map(|to| to.name.clone());
            let by_name = || Some(from.parse::<ImageReference>().ok()?.tag).filter(|tag| !tag.is_empty());
            let Some(tag) = tag.or_else(by_name) else {
                results.push(self.result(from, image.import_policy));
                continue;
            };
            results.push(self.result(from, image.import_policy));
            let result = self.look_up(from, image.import_policy);
            let (import_policy, reference_policy) = (image.import_policy, image.reference_policy);
            items.push(ImportItem { tag, from: from.clone(), import_policy, reference_policy, result });
        }
        let mut repository = Value::Null;
        if let Some(asked) = &typed.spec.repository {
            let tags = self.repositories.get(&asked.from.name).cloned().unwrap_or_default();
            let mut images = Vec::new();
            for tag in tags {
                let from = format!("{}:{tag}", asked.from.name);
                let mut result = self.result(&from, asked.import_policy);
                result["tag"] = tag.clone().into();
                images.push(result);
                let result = self.look_up(&from, asked.import_policy);
                let (import_policy, reference_policy) = (asked.import_policy, asked.reference_policy);
                items.push(ImportItem { tag, from, import_policy, reference_policy, result });
            }
            repository = json!({"status": {"metadata": {}, "status": "Success"}, "images": images});
        }
        body["spec"] = serde_json::to_value(&typed.spec).unwrap();
        for image in body["spec"]["images"].as_array_mut().into_iter().flatten() {
            let by_name = image["from"]["name"].as_str().unwrap().parse::<ImageReference>().unwrap().tag;
            if image["to"].is_null() && !by_name.is_empty() {
                image["to"] = json!({"name": by_name});
            }
        }
        body["status"] = json!({});
        if !results.is_empty() {
            body["status"]["images"] = results.into();
        }
        if !repository.is_null() {
            body["status"]["repository"] = repository;
        }
        if typed.spec.import {
            match self.perform(&id, &rules::Request::Import(&items)) {
                Ok(stream) => {
                    let mut stored = self.streams.get(&id).cloned().unwrap_or_default();
                    stored.stream = stream.unwrap();
                    stored.stream.metadata.name.clone_from(&id.name);
                    stored.stream.metadata.namespace.clone_from(&id.namespace);
                    let mut object = self.store(&id, stored);
                    for key in ["kind", "apiVersion"] {
                        object.as_object_mut().unwrap().remove(key);
                    }
                    body["status"]["import"] = object;
                }
                Err(reply) => return reply,
            }
            self.run_triggers();
        }
        found("201 Created", &body)
    }

    /// What an import says of one image.
    fn result(&self, from: &str, policy: TagImportPolicy) -> Value {
        let mut result = match self.look_up(from, policy) {
            ImportResult::Image { digest } => {
                let reference: ImageReference = from.parse().unwrap();
                let repository = ImageReference { tag: String::new(), digest: Some(digest.clone()), ..reference };
                let mut image = json!({"metadata": {"name": digest}, "dockerImageReference": repository.to_string()});
                if let Some(list) = self.lists.get(digest.as_str()) {
                    let one = |(digest, os, architecture): &(String, String, String)| json!({"digest": digest, "os": os, "architecture": architecture, "mediaType": "application/vnd.oci.image.manifest.v1+json", "manifestSize": 500});
                    image["dockerImageManifests"] = list.iter().map(one).collect();
                }
                json!({"status": {"metadata": {}, "status": "Success"}, "image": image})
            }
            ImportResult::Failure(failure) => json!({"status": self.failures.get(from).cloned().unwrap_or_else(|| {
                let details = json!({"name": from, "group": "image.openshift.io", "kind": "dockerimage"});
                json!({"metadata": {}, "status": "Failure", "reason": failure.reason, "message": failure.message, "details": details, "code": 404})
            })}),
        };
        // The tag that was asked for, not the one it goes to.
        if let Some(tag) = from.parse::<ImageReference>().ok().map(|from| from.tag).filter(|tag| !tag.is_empty()) {
            result["tag"] = tag.into();
        }
        result
    }

    /// What a pull spec is, as the cluster sees it.
    pub(super) fn look_up(&self, from: &str, policy: TagImportPolicy) -> ImportResult {
        let failure =
            |reason: &str, message: String| ImportResult::Failure(ImportFailure { reason: reason.to_owned(), message });
        if let Some(status) = self.failures.get(from) {
            return failure(status["reason"].as_str().unwrap(), status["message"].as_str().unwrap().to_owned());
        }
        let reference: ImageReference = from.parse().unwrap();
        match self.images.get(&reference.with_defaults().to_string()) {
            Some((whole, amd64)) => {
                let digest = if policy.import_mode == ImportMode::PreserveOriginal { whole } else { amd64 };
                ImportResult::Image { digest: Digest::parse(digest).unwrap() }
            }
            None => failure("NotFound", format!("dockerimage.image.openshift.io \"{from}\" not found")),
        }
    }

    /// OpenShift's import controller: imports what is newer in spec than in status, all of a stream at once; `all` as when
    /// everything is due.
    pub fn import_controller(&mut self, id: &StreamId, all: bool) {
        let Some(stored) = self.streams.get(id) else { return };
        let due = |tag: &&TagReference| is_imported(tag) && (all || stored.stream.is_import_pending(tag));
        let item = |tag: &TagReference| {
            let from = tag.from.as_ref().unwrap().name.clone();
            let result = self.look_up(&from, tag.import_policy);
            let (import_policy, reference_policy) = (tag.import_policy, tag.reference_policy);
            ImportItem { tag: tag.name.clone(), from, import_policy, reference_policy, result }
        };
        let mut items: Vec<ImportItem> = stored.stream.spec.tags.iter().filter(due).map(item).collect();
        let repository = &stored.stream.spec.docker_image_repository;
        if let Some(tags) = self.repositories.get(repository).filter(|_| !repository.is_empty()) {
            for tag in tags.iter().filter(|tag| stored.stream.spec_tag(tag).is_none()) {
                let from = format!("{repository}:{tag}");
                let insecure = stored.stream.metadata.annotations.get("openshift.io/image.insecureRepository");
                let import_policy = TagImportPolicy {
                    insecure: insecure.is_some_and(|text| text == "true"),
                    ..TagImportPolicy::default()
                };
                let result = self.look_up(&from, import_policy);
                items.push(ImportItem {
                    tag: tag.clone(),
                    from,
                    import_policy,
                    reference_policy: streamkeeper::openshift::TagReferencePolicy::default(),
                    result,
                });
            }
        }
        if items.is_empty() {
            return;
        }
        if let Ok(stream) = self.perform(id, &rules::Request::Import(&items)) {
            let stored = Stored { stream: stream.unwrap(), ..self.streams[id].clone() };
            self.store(id, stored);
            self.run_triggers();
        }
    }
}
