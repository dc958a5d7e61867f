//! x
pub mod api;
pub mod definitions;
pub mod model;
pub mod rules;
pub mod text;
