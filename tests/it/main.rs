//! The integration tests: one binary, one module a subject.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on should panic, and says what it skips"
)]

#[path = "../sim/mod.rs"]
mod sim;

mod api_client;
mod budgets;
mod ci_recipes;
mod cli;
mod corpus;
mod crash;
mod daemon;
mod daemon_cluster;
mod daemon_tells;
mod daemon_world;
mod daemon_world_cluster;
mod definitions;
mod deploy;
mod example;
mod fuzz;
mod held_back;
mod hostile_registry;
mod https;
mod incomplete;
mod kubernetes;
mod kubernetes_workloads;
mod live_kubernetes;
mod live_openshift;
mod logins;
mod manners;
mod mirrors;
mod odd_registries;
mod openshift;
mod openshift_faults;
mod openshift_guards;
mod openshift_roles;
mod openshift_upstream;
mod outcomes;
mod ownership;
mod packages;
mod properties;
mod readme;
mod real_registry;
mod recorded;
mod recorded_server;
mod registry;
mod review;
mod review_outputs;
mod saved_plans;
mod schemas;
mod server;
mod site;
mod sources;
mod store_workloads;
mod support;
mod tidy;
mod tools;
mod trust;
mod workloads;
