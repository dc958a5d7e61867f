//! x
pub mod adapters;
pub mod api;
pub mod definitions;
pub mod executor;
pub mod model;
pub mod observe;
pub mod planner;
pub mod ports;
pub mod reconcile;
pub mod rules;
pub mod text;
