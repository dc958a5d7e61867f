//! `validate`: definitions only, no network, no store.

use crate::cli::args::{Args, FindingsFormat, Validate};
use crate::cli::console::Console;
use crate::cli::failure::{Exit, Failure};
use crate::cli::lines::Files;
use crate::cli::opener::Flags;
use crate::cli::output::pretty;
use crate::cli::process::TOOL;
use crate::cli::target::cache_of_store;
use crate::render;

pub(in crate::cli) fn run(args: &Args, command: &Validate, console: &Console) -> Result<Exit, Failure> {
    let flags = Flags { paths: command.paths.clone(), ..Flags::new(args, console) };
    let session = flags.session(console);
    let opened = session.open()?;
    let named = command.paths.iter().filter(|path| path.is_file()).map(|path| path.display().to_string());
    let listed = opened.list(named, (session.clock)())?;
    let read = listed.read(&cache_of_store(args, &opened.settings), console)?;
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
        FindingsFormat::Junit => console.out(&render::findings_junit(&reported(), &summary)),
    }
    console.say(&summary);
    Ok(if read.stops(command.strict) { Exit::Refused } else { Exit::Done })
}
