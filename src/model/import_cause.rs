//! Why an image is not imported, as a finding.

use crate::findings::Code;
use crate::openshift::short_image;
use crate::source::inert;

use super::live::Cause;
use super::plan::{ImportFailure, Wait};

impl Wait {
    /// The cause of an import that is blocked, if it is one of the registry or of policy; and what there is to say of it.
    pub fn import_cause(&self) -> Option<(Code, String)> {
        match self {
            Self::NotFound { reference } => Some((Code::ImageNotFound, not_found(reference))),
            Self::Unknown(ignorance) => {
                let (code, what) = match ignorance.cause {
                    Cause::Unauthorized | Cause::Forbidden => (Code::AccessDenied, "access denied"),
                    Cause::RateLimited => (Code::RateLimited, "rate limited"),
                    Cause::Malformed | Cause::Incomplete => (Code::MalformedResponse, "malformed response"),
                    Cause::Refused => (Code::ImportBlocked, "blocked by policy"),
                    Cause::Unreachable | Cause::TimedOut | Cause::ServerError | Cause::Unreadable => {
                        (Code::RegistryUnreachable, "registry unreachable")
                    }
                };
                let until = ignorance.again.map_or(String::new(), |again| format!(" until {again}"));
                Some((code, format!("{what}{until}: {}", inert(&ignorance.detail, 400))))
            }
            Self::Held { .. }
            | Self::OverLimit { .. }
            | Self::NotOwned { .. }
            | Self::Behind { .. }
            | Self::Scheduled { .. }
            | Self::Refused { .. } => None,
        }
    }

    /// By what something is blocked, in a sentence. What comes from outside is made inert.
    pub fn by(&self) -> String {
        match self {
            Self::Unknown(ignorance) => inert(&ignorance.to_string(), 500),
            Self::Held { by } => format!("blocked by {}", inert(by, 300)),
            Self::OverLimit { removals, limit } => format!(
                "{removals} {} in one run, the limit is {limit}; raise it with --max-removals {removals}",
                if *removals == 1 { "removal" } else { "removals" }
            ),
            Self::NotOwned { by } => inert(by, 300),
            Self::Behind { upstream, current } => {
                format!("behind its upstream: has {}, upstream {}", inert(short_image(current), 120), upstream.short())
            }
            Self::Scheduled { upstream, current } => {
                let current = inert(short_image(current), 120);
                format!("has {current}, upstream {}: OpenShift imports it on its schedule", upstream.short())
            }
            Self::NotFound { reference } => not_found(reference),
            Self::Refused { rule } => inert(rule, 400),
        }
    }
}

impl ImportFailure {
    /// The cause of an import that fails, by the reason that OpenShift's importer writes down (semantics 3.10).
    pub fn cause(&self, from: &str) -> (Code, String) {
        match self.reason.as_str() {
            "NotFound" => (Code::ImageNotFound, not_found(from)),
            "Unauthorized" | "Forbidden" => {
                (Code::AccessDenied, format!("access denied: {}", inert(&self.message, 400)))
            }
            "TooManyRequests" => (Code::RateLimited, format!("rate limited: {}", inert(&self.message, 400))),
            "ServiceUnavailable" | "Timeout" | "ServerTimeout" => {
                (Code::RegistryUnreachable, format!("registry unreachable: {}", inert(&self.message, 400)))
            }
            _ => (Code::MalformedResponse, format!("malformed response: {}", inert(&self.message, 400))),
        }
    }
}

fn not_found(reference: &str) -> String {
    format!("image not found: `{}`", inert(reference, 300))
}
