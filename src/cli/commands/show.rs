//! `show`: a saved plan, in any format, offline.

use crate::cli::args::Show;
use crate::cli::console::Console;
use crate::cli::failure::{Exit, Failure};
use crate::cli::{output, plan_file};

pub(in crate::cli) fn run(command: &Show, console: &Console) -> Result<Exit, Failure> {
    let plan = plan_file::load(&command.plan)?;
    if let Some(key) = &command.key_file {
        plan_file::check(&plan, &command.plan, key)?;
    }
    console.out(&output::plan(&plan, &[], (command.format, command.fail_on), console)?);
    Ok(output::fail_on(&plan, command.fail_on, console))
}
