//! What the API server refuses, in its words.

use crate::openshift::{IMAGE_API_VERSION, Status, StatusCause, StatusDetails};

/// A refused request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Which kind of refusal.
    pub reason: RefusalReason,
    /// The server's sentence.
    pub message: String,
    /// Kind or resource it is about, as the server spells it.
    pub kind: String,
    /// Name it is about.
    pub name: String,
    /// The wrong fields.
    pub causes: Vec<Cause>,
}

/// Kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// 422: the object is wrong.
    Invalid,
    /// 404: there is no such object.
    NotFound,
    /// 409: there is one already.
    AlreadyExists,
}

/// A wrong field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Path of the field.
    pub field: String,
    /// `FieldValueInvalid`, `FieldValueRequired`, `InternalError`.
    pub reason: &'static str,
    /// What is wrong with it.
    pub message: String,
}

impl Cause {
    /// The value is wrong.
    pub(super) fn invalid(field: impl Into<String>, value: &str, detail: &str) -> Self {
        let message = format!("Invalid value: \"{value}\": {detail}");
        Self { field: field.into(), reason: "FieldValueInvalid", message }
    }

    /// A value is missing.
    pub(super) fn required(field: impl Into<String>, detail: &str) -> Self {
        let message = if detail.is_empty() { "Required value".to_owned() } else { format!("Required value: {detail}") };
        Self { field: field.into(), reason: "FieldValueRequired", message }
    }

    /// An error about a stream inside the writing of a stream: the server wraps it (semantics 1.8).
    pub(super) fn inside(stream: &str, inner: &[Self]) -> Self {
        let message = format!("Internal error: imagestreams \"{stream}\" is invalid: {}", join(inner));
        Self { field: "[]".to_owned(), reason: "InternalError", message }
    }
}

impl Refusal {
    /// 422 with its causes; `kind` is the kind of the object.
    pub(super) fn invalid(kind: &str, name: &str, causes: Vec<Cause>) -> Self {
        let message = format!("{kind}.image.openshift.io \"{name}\" is invalid: {}", join(&causes));
        Self { reason: RefusalReason::Invalid, message, kind: kind.to_owned(), name: name.to_owned(), causes }
    }

    /// 404.
    pub(super) fn not_found(resource: &str, name: &str) -> Self {
        let message = format!("{resource}.image.openshift.io \"{name}\" not found");
        Self {
            reason: RefusalReason::NotFound,
            message,
            kind: resource.to_owned(),
            name: name.to_owned(),
            causes: Vec::new(),
        }
    }

    /// 409.
    pub(super) fn already_exists(resource: &str, name: &str) -> Self {
        let message = format!("{resource}.image.openshift.io \"{name}\" already exists");
        let (kind, name) = (resource.to_owned(), name.to_owned());
        Self { reason: RefusalReason::AlreadyExists, message, kind, name, causes: Vec::new() }
    }

    /// The refusal as the server sends it.
    pub fn status(&self) -> Status {
        let (reason, code) = match self.reason {
            RefusalReason::Invalid => ("Invalid", 422),
            RefusalReason::NotFound => ("NotFound", 404),
            RefusalReason::AlreadyExists => ("AlreadyExists", 409),
        };
        let cause = |cause: &Cause| StatusCause {
            reason: cause.reason.to_owned(),
            message: cause.message.clone(),
            field: cause.field.clone(),
        };
        Status {
            status: "Failure".to_owned(),
            message: self.message.clone(),
            reason: reason.to_owned(),
            details: Some(StatusDetails {
                name: self.name.clone(),
                group: IMAGE_API_VERSION.split('/').next().unwrap_or_default().to_owned(),
                kind: self.kind.clone(),
                causes: self.causes.iter().map(cause).collect(),
            }),
            code,
        }
    }
}

/// One cause as it is, several in brackets.
fn join(causes: &[Cause]) -> String {
    let texts: Vec<_> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
    if let [text] = &texts[..] { text.clone() } else { format!("[{}]", texts.join(", ")) }
}
