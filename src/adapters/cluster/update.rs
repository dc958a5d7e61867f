//! Giving workloads their images, by server-side apply of exactly these fields.

use serde_json::{Map, Value, json};

use crate::model::{Precondition, Update};
use crate::ports::{Performed, PortError};

use super::access::Trouble;
use super::owned::Object;
use super::request::{KINDS, Kind};
use super::{Cluster, request};

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
        let raw = match self.connection.send(request::workload(kind, &update.workload)).await {
            Ok(body) => serde_json::from_slice(&body).map_err(|error| Trouble::Lost(error.to_string()))?,
            Err(Trouble::Refused(refused)) if refused.code == 404 => {
                return Ok(stale(update, "it is gone".to_owned()));
            }
            Err(trouble) => return Err(trouble),
        };
        let object = Object { raw };
        if object.uid() != update.uid || object.version() != update.version {
            return Ok(stale(update, format!("it is at version {}", object.version())));
        }
        let wanted = wanted(&object, kind, update, &self.manager);
        self.connection.send(request::update(kind, &update.workload, &wanted, &self.manager)).await?;
        Ok(Performed::Applied { now: None })
    }
}

fn stale(update: &Update, actual: String) -> Performed {
    let (workload, version) = (update.workload.clone(), update.version.clone());
    Performed::Stale { precondition: Precondition::WorkloadAt { workload, version }, actual }
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
    let way: &[&str] = match kind.name {
        "CronJob" => &["spec", "jobTemplate", "spec", "template", "spec"],
        _ => &["spec", "template", "spec"],
    };
    let live = way.iter().fold(&object.raw, |place, key| &place[*key]);
    for image in &update.images {
        let is_in = |list: &str| {
            live[list].as_array().is_some_and(|items| items.iter().any(|item| item["name"] == *image.container))
        };
        // Init containers first, as they are searched.
        let list = if is_in("initContainers") { "initContainers" } else { "containers" };
        let mut place = &mut wanted;
        for key in way {
            place = place
                .as_object_mut()
                .map(|map| map.entry(*key).or_insert_with(|| Value::Object(Map::new())))
                .expect("a map");
        }
        let items = place.as_object_mut().expect("a map").entry(list).or_insert_with(|| json!([]));
        if let Some(items) = items.as_array_mut() {
            items.retain(|item| item["name"] != *image.container);
            items.push(json!({"name": image.container, "image": image.after}));
        }
    }
    wanted
}
