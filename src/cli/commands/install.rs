//! `install`: what a cluster that is not OpenShift needs.

use crate::adapters::cluster::Connection;
use crate::cli::args::{Args, Install, Installed};
use crate::cli::console::Console;
use crate::cli::failure::{Exit, Failure};
use crate::cli::process::runtime;
use crate::cli::target::access;

pub(in crate::cli) fn run(args: &Args, command: &Install, console: &Console) -> Result<Exit, Failure> {
    let Installed::Crd = command.what;
    let runtime = runtime()?;
    let connection = runtime.block_on(Connection::open(&access(args)))?;
    runtime.block_on(connection.install())?;
    console.say("the cluster has the custom resource `imagestreams.image.streamkeeper.io`");
    Ok(Exit::Done)
}
