//! Giving workloads their images, by server-side apply of exactly these fields.

use serde_json::{Value, json};

use crate::model::{Manner, Precondition, Update};
use crate::openshift::pod_path;
use crate::ports::{Performed, PortError};
use crate::rules;

use super::access::Trouble;
use super::owned::Object;
use super::request::{KINDS, Kind};
use super::wanted::at;
use super::{Cluster, request};

/// How often a write is tried that a controller came before.
const TRIES: u32 = 5;

impl Cluster {
    pub(super) async fn update_workload(&self, update: &Update) -> Result<Performed, PortError> {
        let result = self.try_update(update).await;
        match result {
            Ok(performed) => Ok(performed),
            Err(Trouble::Refused(refused)) if refused.is_stale() => Ok(stale(update, refused.message)),
            Err(Trouble::Refused(refused)) if matches!(refused.code, 400 | 403 | 404 | 409 | 422) => {
                Ok(Performed::Refused { message: refused.message })
            }
            Err(trouble) => Err(trouble.failed(format!("write {}", update.workload))),
        }
    }

    async fn try_update(&self, update: &Update) -> Result<Performed, Trouble> {
        let Some(kind) = KINDS.iter().copied().find(|kind| kind.name == update.workload.kind) else {
            return Ok(Performed::Refused { message: format!("a {} cannot be written", update.workload.kind) });
        };
        for tries in 1.. {
            let raw = match self.connection.send(request::workload(kind, &update.workload)).await {
                Ok(body) => serde_json::from_slice(&body).map_err(|error| Trouble::Lost(error.to_string()))?,
                Err(Trouble::Refused(refused)) if refused.code == 404 => {
                    return Ok(stale(update, "it is gone".to_owned()));
                }
                Err(trouble) => return Err(trouble),
            };
            let object = Object { raw };
            // Its status is written all the time; what the update is about are its images.
            if let Some(actual) = differs(&object, kind, update) {
                return Ok(stale(update, actual));
            }
            let wanted = wanted(&object, kind, update, &self.owner.manager);
            let request = request::update(kind, &update.workload, &wanted, &self.owner.manager);
            match self.connection.send(request).await {
                Err(Trouble::Refused(refused)) if refused.is_stale() && tries < TRIES => {}
                answer => {
                    answer?;
                    break;
                }
            }
        }
        Ok(Performed::Applied { now: None })
    }
}

/// What is no longer as the plan saw it, if anything.
fn differs(object: &Object, kind: Kind, update: &Update) -> Option<String> {
    let seen = rules::read_workload(kind.name, &object.raw, Manner::Ours);
    rules::check_workload(update, object.uid(), seen.as_ref())
}

fn stale(update: &Update, actual: String) -> Performed {
    let before = update.images.iter().find_map(|image| image.before.clone()).unwrap_or_default();
    Performed::Stale {
        precondition: Precondition::WorkloadAt { workload: update.workload.clone(), image: before },
        actual,
    }
}

/// The images that we have given so far, with the new ones: what is not named is given up.
fn wanted(object: &Object, kind: Kind, update: &Update, manager: &str) -> Value {
    let mut wanted = object.applied(manager);
    wanted["apiVersion"] = kind.version().into();
    wanted["kind"] = kind.name.into();
    wanted["metadata"] = json!({
        "name": update.workload.name,
        "namespace": update.workload.namespace,
        "resourceVersion": object.version(),
    });
    let way = pod_path(kind.name);
    let live = way.iter().fold(&object.raw, |place, key| &place[*key]);
    for image in &update.images {
        let is_in = |list: &str| {
            live[list].as_array().is_some_and(|items| items.iter().any(|item| item["name"] == *image.container))
        };
        // Init containers first, as they are searched.
        let list = if is_in("initContainers") { "initContainers" } else { "containers" };
        let items = at(&mut wanted, way).entry(list).or_insert_with(|| json!([]));
        let Some(items) = items.as_array_mut() else { continue };
        match items.iter_mut().find(|item| item["name"] == *image.container) {
            Some(item) => item["image"] = image.after.as_str().into(),
            None => items.push(json!({"name": image.container, "image": image.after})),
        }
    }
    // What several have applied takes the order that it is applied in: it must be the one there is.
    let pod = at(&mut wanted, way);
    for list in ["initContainers", "containers"] {
        let order =
            |item: &Value| live[list].as_array().and_then(|all| all.iter().position(|is| is["name"] == item["name"]));
        if let Some(items) = pod.get_mut(list).and_then(Value::as_array_mut) {
            items.sort_by_key(order);
        }
    }
    wanted
}
