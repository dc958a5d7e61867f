//! One catalogue of codes, for definitions and for risks of plans: each with a page, a severity and waivers; and the finding.
//!
//! Pure; may name `openshift` and `source`.
//! Tests: `tests/it/tidy.rs` (each code has a page and a sample), `tests/it/definitions.rs`.

mod code;
mod diagnostic;
mod policy;

pub use code::{Code, Severity, UnknownCode};
pub use diagnostic::{Diagnostic, Fix, Related};
pub use policy::{FindingPolicy, Judge, SeverityRule, Verdict, Waiver};
