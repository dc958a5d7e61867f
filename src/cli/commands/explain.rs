//! `explain`: a finding's code, or why a tag is where it is.

use crate::cli::args::{Args, Explain};
use crate::cli::console::Console;
use crate::cli::failure::{Exit, Failure};
use crate::cli::{settings, why_tag};
use crate::findings::Code;
use crate::reconcile::PlanOptions;
use crate::render;
use crate::source::inert;

pub(in crate::cli) fn run(args: &Args, command: &Explain, console: &Console) -> Result<Exit, Failure> {
    let Some(what) = &command.what else {
        let mut table = render::Table::new(&["CODE", "SEVERITY", "NAME", "WHAT"]);
        for code in Code::ALL {
            table.row(vec![code.id().into(), code.severity().to_string(), code.name().into(), code.summary().into()]);
        }
        console.out(&table.render());
        return Ok(Exit::Done);
    };
    if let Ok(code) = what.parse::<Code>() {
        console.out(code.page());
        return Ok(Exit::Done);
    }
    if !what.contains([':', '/']) {
        let message = format!("`{}` is neither a code nor a tag", inert(what, 80));
        return Err(Failure::usage(message)
            .hint("a code is like `SK114` (`explain` alone lists them), a tag like `shop/ruby:3.3`"));
    }
    let settings = settings::load(args, &PlanOptions::default())?;
    console.out(&why_tag::text(&settings, args, what)?);
    Ok(Exit::Done)
}
