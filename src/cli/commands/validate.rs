//! `validate`: definitions only, no store; with `--registries` also whether their images can be imported.

use crate::cli::args::{Args, FindingsFormat, Validate};
use crate::cli::console::Console;
use crate::cli::failure::{Exit, Failure};
use crate::cli::image_findings;
use crate::cli::lines::Files;
use crate::cli::opener::Flags;
use crate::cli::output::{self, pretty};
use crate::cli::process::{TOOL, runtime};
use crate::cli::target::cache_of_store;
use crate::findings::Severity;
use crate::render;

pub(in crate::cli) fn run(args: &Args, command: &Validate, console: &Console) -> Result<Exit, Failure> {
    let flags = Flags { paths: command.paths.clone(), ..Flags::new(args, console) };
    let session = flags.session(console);
    let opened = session.open()?;
    let named = command.paths.iter().filter(|path| path.is_file()).map(|path| path.display().to_string());
    let listed = opened.list(named, (session.clock)())?;
    let mut read = listed.read(&cache_of_store(args, &opened.settings), console)?;
    if command.registries {
        let found = runtime()?.block_on(image_findings::find(args, &opened, &read, console))?;
        read.assembled.findings.extend(found);
    }
    let findings = &read.assembled.findings;
    let (streams, tags) = read.assembled.found;
    let summary = render::summary(findings, streams, tags, read.assembled.waived);
    let reported = || render::reported_findings(findings);
    match command.format {
        FindingsFormat::Text => {
            let limit = opened.settings.limits().file_bytes;
            let mut lines = Files::new(&*opened.source, &read.entries, limit);
            console.out(&render::findings_text(findings, &mut lines, console.out_paint()));
        }
        FindingsFormat::Json => console.out(&pretty(&render::findings_json(findings))?),
        FindingsFormat::Github => console.out(&render::findings_github(findings)),
        FindingsFormat::Gitlab => console.out(&pretty(&render::reported_gitlab(&reported()))?),
        FindingsFormat::Sarif => console.out(&pretty(&render::reported_sarif(&reported(), TOOL))?),
        FindingsFormat::Junit => {
            let least = if command.strict { Severity::Warning } else { Severity::Error };
            console.out(&render::findings_junit(&reported(), &summary, least));
        }
    }
    console.say(&summary);
    Ok(if output::stops(&read, command.strict, console) { Exit::Refused } else { Exit::Done })
}
