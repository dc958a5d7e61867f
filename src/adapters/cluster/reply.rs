//! Replies of the image API. Pure.

use http::StatusCode;
use serde_json::Value;

use crate::model::{Cause, Ignorance, Observed, PlatformImage, Resolution};
use crate::openshift::{Digest, ImageManifest, ImageStreamImport, Status};
use crate::source::inert;

use super::owned::Object;

/// A page of a list.
pub(super) struct Page {
    /// The objects, each as it came.
    pub(super) items: Vec<Value>,
    /// Where the next page begins.
    pub(super) next: Option<String>,
    /// The version of the list.
    pub(super) version: String,
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
    let version = value.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(Page { items, next, version })
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

/// Reads what came of looking one image up.
pub(super) fn looked_up(asked: &str, body: &[u8]) -> Result<Observed<Resolution>, String> {
    let answer: ImageStreamImport = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let found = answer.status.images.into_iter().next().ok_or("an answer without an image")?;
    let Some(image) = found.image.filter(|_| found.status.status == "Success") else {
        return Ok(failure(asked, &found.status));
    };
    let digest = |text: &str| Digest::parse(text).ok_or_else(|| format!("`{}` is no digest", inert(text, 80)));
    let platform = |image: &ImageManifest| {
        let ImageManifest { digest: text, architecture, os, variant, .. } = image;
        let (os, architecture, variant) = (os.clone(), architecture.clone(), variant.clone());
        Ok(PlatformImage { digest: digest(text)?, os, architecture, variant })
    };
    let platforms: Result<Vec<_>, String> = image.docker_image_manifests.iter().map(platform).collect();
    let (media_type, platforms) = (image.docker_image_manifest_media_type, platforms?);
    Ok(Observed::Known(Resolution { platforms, ..Resolution::image(digest(&image.metadata.name)?, media_type) }))
}

/// Reads which tags a repository has.
pub(super) fn listed_tags(asked: &str, body: &[u8]) -> Result<Observed<Vec<String>>, String> {
    let answer: ImageStreamImport = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let found = answer.status.repository.ok_or("an answer without a repository")?;
    let tags: Vec<String> = found.images.into_iter().map(|image| image.tag).chain(found.additional_tags).collect();
    // That some of its images cannot be had is said of each where it is wanted.
    if tags.is_empty() && found.status.status != "Success" {
        return Ok(failure(asked, &found.status));
    }
    Ok(Observed::Known(tags))
}

/// A look-up that failed (the item failure table of semantics 3.10).
fn failure<T>(asked: &str, status: &Status) -> Observed<T> {
    let cause = match status.reason.as_str() {
        "NotFound" => return Observed::Absent,
        "Unauthorized" => Cause::Unauthorized,
        "Forbidden" => Cause::Refused,
        "Invalid" => Cause::Malformed,
        _ => Cause::ServerError,
    };
    Observed::Unknown(Ignorance::new(asked, cause, format!("the cluster says: {}", inert(&status.message, 300))))
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
    let result = |image: crate::openshift::ImageImportStatus| match (image.status.status.as_str(), image.image) {
        ("Success", Some(found)) => Ok(found.metadata.name),
        _ => Err(inert(&image.status.message, 300)),
    };
    let images = answer.status.images.into_iter().map(result).collect();
    Ok(Imported { stream: stream.map(|raw| Object { raw }), images })
}
