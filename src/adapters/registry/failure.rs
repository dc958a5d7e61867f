//! Why a question has no answer.

use std::error::Error;

use jiff::Timestamp;

use crate::model::{Cause, Ignorance, Observed};
use crate::source::inert;

use super::address::RefusedAddress;

/// Why a question has no answer; all but what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) cause: Cause,
    pub(super) detail: String,
    pub(super) again: Option<Timestamp>,
}

impl Failure {
    pub(super) fn new(cause: Cause, detail: impl Into<String>) -> Self {
        Self { cause, detail: detail.into(), again: None }
    }

    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(Cause::Malformed, detail)
    }

    /// A host is where it may not be asked.
    pub(super) fn address(host: &str, refused: &RefusedAddress) -> Self {
        Self::new(Cause::Refused, format!("`{}` {refused}", inert(host, 120)))
    }

    /// What became of a request to a host that got no answer.
    pub(super) fn transport(host: &str, error: &reqwest::Error) -> Self {
        // The innermost cause is the one that helps; the outer ones repeat the URL.
        let mut innermost: &dyn Error = error;
        loop {
            if let Some(refused) = innermost.downcast_ref::<RefusedAddress>() {
                return Self::address(host, refused);
            }
            match innermost.source() {
                Some(source) => innermost = source,
                None => break,
            }
        }
        let cause = if error.is_timeout() { Cause::TimedOut } else { Cause::Unreachable };
        let mut detail = inert(&innermost.to_string(), 200);
        // What a server without TLS answers to a TLS greeting is no TLS message; or it hangs up.
        if ["InvalidContentType", "handshake eof"].iter().any(|sign| detail.contains(sign)) {
            let host = inert(host, 120);
            detail = format!(
                "`{host}` does not answer with TLS ({detail}); if it speaks plain HTTP, the config has to say so: `registries: [{{host: {host}, insecure: true}}]`"
            );
        }
        Self::new(cause, detail)
    }

    /// As the answer to a question.
    pub(super) fn of<T>(self, asked: &str) -> Observed<T> {
        let Self { cause, detail, again } = self;
        Observed::Unknown(Ignorance { asked: inert(asked, 300), cause, detail, again })
    }
}
