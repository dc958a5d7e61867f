//! `completion` and `man`, from the grammar of the command line.

use std::path::Path;

use crate::cli::args::{self, Completion, Man};
use crate::cli::console::Console;
use crate::cli::failure::{Exit, Failure};

pub(in crate::cli) fn completion(command: &Completion, console: &Console) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut args::command(), "streamkeeper", &mut script);
    console.out(&String::from_utf8_lossy(&script));
    Ok(Exit::Done)
}

pub(in crate::cli) fn man(command: &Man, console: &Console) -> Result<Exit, Failure> {
    let Some(folder) = &command.dir else {
        console.out(&page(args::command())?);
        return Ok(Exit::Done);
    };
    let mut grammar = args::command();
    grammar.build();
    write(folder, "streamkeeper", &page(grammar.clone())?)?;
    for sub in grammar.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let name = format!("streamkeeper-{}", sub.get_name());
        write(folder, &name, &page(sub.clone().name(name.clone()))?)?;
    }
    Ok(Exit::Done)
}

fn page(grammar: clap::Command) -> Result<String, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(grammar).render(&mut page).map_err(Failure::failed)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

fn write(folder: &Path, name: &str, page: &str) -> Result<(), Failure> {
    let path = folder.join(format!("{name}.1"));
    let failed = |error| Failure::failed(format!("failed to write `{}`: {error}", path.display()));
    std::fs::create_dir_all(folder).map_err(failed)?;
    std::fs::write(&path, page).map_err(failed)
}
