//! Findings, plans, reports and streams as text, Markdown and JSON.
//!
//! Pure: gets values, gives strings, and everything that comes from outside is made inert on the way. Colour only repeats
//! what words and signs say. May name `findings`, `model`, `openshift` and `source`.
//! Tests: beside the code, `tests/it/cli.rs`, the outputs kept under `tests/`.

mod describe;
mod findings;
mod history;
mod image;
mod markdown;
mod names;
mod outcomes;
mod paint;
mod plan;
mod report;
mod reported;
mod review;
mod rolls;
mod streams;
mod table;
mod time;
mod why;
mod workloads;

pub use describe::describe;
pub use findings::{FindingsJson, SourceLines, findings_github, findings_json, findings_text, strict_refusal, summary};
pub use history::{HistoryRow, history};
pub use image::describe_image;
pub use markdown::plan_markdown;
pub use names::{reason, tally, wait};
pub use outcomes::{stream_line, summary_line};
pub use paint::Paint;
pub use plan::{blocked_line, plan_line, plan_text};
pub use report::{planned_for, report_line, report_text};
pub use reported::{
    Reported, findings_junit, plan_junit, reported, reported_findings, reported_github, reported_gitlab, reported_sarif,
};
pub use review::rolls_mermaid;
pub use rolls::image_line;
pub use streams::{StreamRow, streams_table, tags_table};
pub use table::Table;
pub use time::ago;
pub use why::equalities_text;
pub use workloads::{WorkloadRow, workloads_table};
