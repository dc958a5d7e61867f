//! Making the custom resource known to a cluster.

use std::time::Duration;

use serde_json::Value;

use crate::openshift::custom_resource_definition;
use crate::ports::PortError;

use super::access::Connection;
use super::request::{self, Api};

/// How often it is looked whether the server serves it.
const LOOKS: u32 = 50;

/// The CustomResourceDefinition; where OpenShift's own image streams are served, their short name `is` stays theirs alone: kubectl would
/// warn at each use that it stands for both.
fn definition(has_openshift: bool) -> Value {
    let mut definition = custom_resource_definition();
    if has_openshift && let Some(names) = definition.pointer_mut("/spec/names").and_then(Value::as_object_mut) {
        names.remove("shortNames");
    }
    definition
}

impl Connection {
    /// Applies the CustomResourceDefinition, and waits until the server serves it.
    ///
    /// # Errors
    ///
    /// What the server says, or that it does not come to an end.
    pub async fn install(&self) -> Result<(), PortError> {
        let definition = definition(self.image_streams().await? == Some(Api::OpenShift));
        let failed = |trouble: super::access::Trouble| trouble.failed("install the custom resource");
        self.send(request::install(&definition)).await.map_err(failed)?;
        for _ in 0..LOOKS {
            let body = self.send(request::installed(&definition)).await.map_err(failed)?;
            let seen: Value = serde_json::from_slice(&body).unwrap_or_default();
            let conditions = seen["status"]["conditions"].as_array().into_iter().flatten();
            let is = |kind: &'static str| {
                let mut conditions = conditions.clone();
                conditions.any(move |condition| condition["type"] == kind && condition["status"] == "True")
            };
            if is("Established") {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let error = std::io::Error::other("the server has it and does not serve it; look at its conditions");
        Err(PortError::failed("install the custom resource", error))
    }
}

#[cfg(test)]
mod tests {
    use super::definition;

    #[test]
    fn short_name_is_left_to_openshift() {
        assert_eq!(definition(false)["spec"]["names"]["shortNames"][0], "is");
        let names = &definition(true)["spec"]["names"];
        assert!(names.get("shortNames").is_none() && names["plural"] == "imagestreams");
    }
}
