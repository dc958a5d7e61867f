//! x
pub mod api;
pub mod model;
pub mod rules;
pub mod text;
