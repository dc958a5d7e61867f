//! Files as text with positions.
//!
//! A file becomes a [`SourceText`]; [`parse`] turns it into one spanned tree of [`Node`]s a document, YAML and JSON
//! alike; whoever judges the tree says so with [`Diagnostic`]s that carry a [`Code`], a place and a way out. Nothing here
//! knows what an image stream is. Pure; may name no other room.
//! Tests: beside the code, and `tests/it/definitions.rs` over the sample files and the corpus.

mod code;
mod diagnostic;
mod node;
mod parse;
mod scalar;
mod shown;
mod source;

pub use code::{Code, Severity, UnknownCode};
pub use diagnostic::{Diagnostic, Fix, Place, Related};
pub use node::{Entry, Node, Scalar, Value};
pub use parse::{Limits, Parsed, parse};
pub use scalar::ScalarKind;
pub use shown::{chain, hex, short_hash};
pub use source::{SourceText, Span, inert};
