//! x
pub mod adapters;
pub mod api;
pub mod definitions;
pub mod model;
pub mod ports;
pub mod rules;
pub mod text;
