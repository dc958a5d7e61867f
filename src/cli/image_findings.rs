//! `validate --registries`: whether the images that definitions name can be imported.

use crate::cli::args::Args;
use crate::cli::console::Console;
use crate::cli::failure::Failure;
use crate::cli::opener::Flags;
use crate::config::TargetConfig;
use crate::findings::{Code, Diagnostic};
use crate::model::Risk;
use crate::reconcile::{Opened, ReadSource, ReviewOptions};
use crate::source::Place;

use super::output;

/// A finding for each image that cannot be imported, or is for another platform: what a plan for an empty store would say.
pub(super) async fn find(
    args: &Args,
    opened: &Opened,
    read: &ReadSource,
    console: &Console,
) -> Result<Vec<Diagnostic>, Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("failed to make a temporary directory: {error}"));
    let folder = tempfile::Builder::new().prefix("streamkeeper-").tempdir().map_err(failed)?;
    let store = Some(folder.path().join("store"));
    let args = Args { store, target: Some(TargetConfig::Store), ..args.clone() };
    let flags = Flags::new(&args, console);
    let session = flags.session(console);
    let mut settings = opened.settings.clone();
    settings.store.clone_from(&args.store);
    let live = session.target(&settings).await?;
    let memory = session.memory(&settings, &live);
    let connected = session.connected(&settings, &live, &memory);
    let planned = connected.plan(read, &connected.request()?, None).await?;
    let planned = connected.review(planned, read, ReviewOptions::default()).await?.planned;
    output::tally(&planned.tally(), console);
    let is_of_images = |risk: &Risk| risk.rule.is_of_imports() || risk.rule == Code::PlatformLost;
    let risks = planned.plan.review.map(|review| review.risks).unwrap_or_default().into_iter();
    Ok(risks.filter(is_of_images).map(finding).collect())
}

fn finding(risk: Risk) -> Diagnostic {
    let place = risk.origin.map_or_else(Place::default, |origin| Place {
        path: origin.path.to_string(),
        line: origin.line,
        column: origin.column,
        ..Place::default()
    });
    let message = format!("{}: {}", risk.about, risk.message);
    Diagnostic { severity: risk.severity, ..Diagnostic::new(risk.rule, place, message) }
}
