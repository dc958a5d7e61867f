//! `show`: a saved plan, in any format. Asks nobody.

use crate::cli::args::Show;
use crate::cli::console::Console;
use crate::cli::failure::{Exit, Failure};

use super::apply::load;
use super::plan::show;
use super::review::fail_on;

pub(in crate::cli) fn run(command: &Show, console: &Console) -> Result<Exit, Failure> {
    let plan = load(&command.plan)?;
    console.out(&show(&plan, command.format, console)?);
    Ok(command.fail_on.map_or(Exit::Done, |least| fail_on(&plan, least)))
}
