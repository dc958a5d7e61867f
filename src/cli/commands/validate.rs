//! `validate`: definitions only, no network, no store.

use std::collections::BTreeSet;

use crate::adapters::git;
use crate::adapters::store::Cache;
use crate::cli::args::{Args, FindingsFormat, Validate};
use crate::cli::console::Console;
use crate::cli::context::{Context, TOOL};
use crate::cli::failure::{Exit, Failure};
use crate::cli::lines::Files;
use crate::ports::Source;
use crate::reconcile;
use crate::render;

use super::{pretty, stops};

pub(in crate::cli) fn run(args: &Args, command: &Validate, console: &Console) -> Result<Exit, Failure> {
    let (context, source): (Context, Box<dyn Source>) = if command.paths.is_empty() {
        Context::open(args)?
    } else {
        (Context::load(args)?, git::named(command.paths.clone()))
    };
    let named: BTreeSet<String> =
        command.paths.iter().filter(|path| path.is_file()).map(|path| path.display().to_string()).collect();
    // Read afresh when files are named: nothing is kept for a look at a file.
    let cache = Cache::new(&context.store);
    let parts = context.reading(named)?;
    let list = reconcile::list(&*source, &parts.selection, context.limits())?;
    let read = context.read(&*source, &parts, list, &cache, console)?;
    let findings = &read.assembled.findings;
    let reported = || render::reported_findings(findings);
    match command.format {
        FindingsFormat::Text => {
            let mut lines = Files::new(&*source, &read.entries, context.limits().file_bytes);
            console.out(&render::findings_text(findings, &mut lines, console.out_paint()));
        }
        FindingsFormat::Json => console.out(&pretty(&render::findings_json(findings))?),
        FindingsFormat::Github => console.out(&render::findings_github(findings)),
        FindingsFormat::Gitlab => console.out(&pretty(&render::reported_gitlab(&reported()))?),
        FindingsFormat::Sarif => console.out(&pretty(&render::reported_sarif(&reported(), TOOL))?),
        FindingsFormat::Junit => {
            let (streams, tags) = read.assembled.found;
            let summary = render::summary(findings, streams, tags, read.assembled.waived);
            console.out(&render::findings_junit(&reported(), &summary));
        }
    }
    let (streams, tags) = read.assembled.found;
    console.say(&render::summary(findings, streams, tags, read.assembled.waived));
    Ok(if stops(findings, command.strict) { Exit::Refused } else { Exit::Done })
}
