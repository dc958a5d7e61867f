//! Replies of the image API. Pure.

use http::StatusCode;
use serde_json::Value;

use crate::api::{ImageStreamImport, Status};
use crate::text::inert;

use super::owned::Object;

/// A page of a list.
pub(super) struct Page {
    /// The objects, each as it came.
    pub(super) items: Vec<Value>,
    /// Where the next page begins.
    pub(super) next: Option<String>,
}

/// What a server says instead of what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct Refused {
    pub(super) code: u16,
    /// `Conflict`, `Forbidden`, …
    pub(super) reason: String,
    /// The server's sentence, made inert.
    pub(super) message: String,
    /// Other managers that own what was applied, each with the field.
    pub(super) managers: Vec<(String, String)>,
}

impl Refused {
    /// Another write came in between.
    pub(super) fn is_stale(&self) -> bool {
        self.code == 409 && self.managers.is_empty()
    }
}

/// Reads an answer that is an error.
pub(super) fn refused(code: StatusCode, body: &[u8]) -> Refused {
    let status: Status = serde_json::from_slice(body).unwrap_or_default();
    let causes = status.details.map(|details| details.causes).unwrap_or_default();
    let manager = |message: &str| Some(message.strip_prefix("conflict with \"")?.split_once('"')?.0.to_owned());
    let managers = causes
        .iter()
        .filter(|cause| cause.reason == "FieldManagerConflict")
        .filter_map(|cause| Some((manager(&cause.message)?, inert(&cause.field, 120))))
        .collect();
    let message = if status.message.is_empty() {
        format!("the server answers {}", code.as_u16())
    } else {
        inert(&status.message, 400)
    };
    Refused { code: code.as_u16(), reason: status.reason, message, managers }
}

/// Reads a page of a list. What its objects are is for others: one that is malformed does not lose the rest.
pub(super) fn page(body: &[u8]) -> Result<Page, String> {
    let mut value: Value = serde_json::from_slice(body).map_err(|error| format!("not JSON: {error}"))?;
    let next = value.pointer("/metadata/continue").and_then(Value::as_str);
    let next = next.filter(|token| !token.is_empty()).map(str::to_owned);
    let items = match value.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items,
        // A list without items is how Go writes an empty one.
        Some(Value::Null) => Vec::new(),
        _ => return Err("not a list".to_owned()),
    };
    Ok(Page { items, next })
}

/// Reads one stream.
pub(super) fn object(body: &[u8]) -> Result<Object, String> {
    let raw: Value = serde_json::from_slice(body).map_err(|error| format!("not JSON: {error}"))?;
    if raw.get("kind").is_some_and(|kind| kind == "ImageStream") {
        Ok(Object { raw })
    } else {
        Err("not an image stream".to_owned())
    }
}

/// What came of an import.
pub(super) struct Imported {
    /// The stream afterwards.
    pub(super) stream: Option<Object>,
    /// For each image its digest, or why it was not imported.
    pub(super) images: Vec<Result<String, String>>,
}

/// Reads what came of an import.
pub(super) fn imported(body: &[u8]) -> Result<Imported, String> {
    let mut value: Value = serde_json::from_slice(body).map_err(|error| format!("not JSON: {error}"))?;
    let stream = value.pointer_mut("/status/import").map(Value::take).filter(Value::is_object);
    let answer: ImageStreamImport = serde_json::from_value(value).map_err(|error| error.to_string())?;
    let result = |image: crate::api::ImageImportStatus| match (image.status.status.as_str(), image.image) {
        ("Success", Some(found)) => Ok(found.metadata.name),
        _ => Err(inert(&image.status.message, 300)),
    };
    let images = answer.status.images.into_iter().map(result).collect();
    Ok(Imported { stream: stream.map(|raw| Object { raw }), images })
}
