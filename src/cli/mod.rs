//! The command line: who asked, how to show it. The only room that knows which adapter is which.
//!
//! `args` is the grammar; `commands` has a file for each command; `opener` and `host` give the adapters to sessions and
//! reconcilers. Exit codes are in
//! [`Exit`]; stdout carries what was asked for, stderr what is said about it.

mod answered;
mod args;
mod commands;
mod console;
mod execute;
mod failure;
mod host;
mod image_findings;
mod lines;
mod live_streams;
mod log;
mod opener;
mod output;
mod places;
mod plan_file;
mod process;
mod reconcilers;
mod registries;
mod saved_plan;
mod selector;
mod settings;
mod signals;
mod snapshot;
mod status_text;
mod stream_list;
mod target;
#[cfg(feature = "otlp")]
mod traces;
mod trust;
mod why_tag;
mod workload_files;
mod workload_list;

use clap::Parser;

pub use args::{Args, command};
pub use failure::Exit;

use args::Command;
use console::Console;
use failure::Failure;

/// Runs the program with these arguments and gives its exit code.
pub fn run(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Exit {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            // Help and version are asked for; everything else is a mistake.
            return if error.use_stderr() { Exit::Usage } else { Exit::Done };
        }
    };
    let console = Console::new(args.color, args.quiet);
    let args = places::with_source(args, &console);
    let result = match args.command {
        Command::Validate(ref command) => commands::validate::run(&args, command, &console),
        Command::Plan(ref command) => commands::plan::run(&args, command, &console),
        Command::Apply(ref command) => commands::apply::run(&args, command, &console),
        Command::Show(ref command) => commands::show::run(command, &console),
        Command::Run(ref command) => commands::run::run(&args, command, &console),
        Command::Status(ref command) => commands::status::run(command, &console),
        Command::Get(ref command) => commands::get::run(&args, command, &console),
        Command::Describe(ref command) => commands::describe::run(&args, command, &console),
        Command::History(ref command) => commands::history::run(&args, command, &console),
        Command::Explain(ref command) => commands::explain::run(&args, command, &console),
        Command::Install(ref command) => commands::install::run(&args, command, &console),
        Command::Schema(ref command) => commands::schema::run(command, &console),
        Command::Completion(ref command) => commands::generate::completion(command, &console),
        Command::Man(ref command) => commands::generate::man(command, &console),
    };
    match result {
        Ok(_) if console.has_lost() => Exit::Failed,
        Ok(exit) => {
            console.ended(exit);
            exit
        }
        Err(Failure { kind, error, hint }) => {
            console.error(&*error, hint.as_deref());
            kind.into()
        }
    }
}
