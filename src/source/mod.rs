//! Files as text with positions: source map, spans, one spanned tree for YAML and JSON alike.
//!
//! [`parse`] turns a [`SourceText`] into one tree of [`Node`]s a document and reports what is wrong with its syntax as
//! [`SyntaxProblem`]s. It knows neither image streams nor the codes of findings. Pure; may name no other room.
//! Tests: beside the code, and `tests/it/definitions.rs` over the sample files and the corpus.

mod node;
mod parse;
mod place;
mod problem;
mod scalar;
mod shown;
mod source_map;

pub use node::{Entry, Node, Scalar, Value};
pub use parse::{Limits, NODE_BYTES, Parsed, parse};
pub use place::Place;
pub use problem::{ProblemKind, SyntaxProblem};
pub use scalar::ScalarKind;
pub use shown::{Hasher, chain, hash_of, is_scp, is_url, short_hash, yaml_mistake};
pub use source_map::{SourceText, Span, inert};
