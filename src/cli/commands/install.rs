//! `install`: what a cluster that is not OpenShift needs.

use crate::adapters::cluster::Connection;
use crate::cli::{
    args::{Args, Install, Installed},
    console::Console,
    failure::{Exit, Failure},
    target::access,
};

use crate::cli::process::runtime;

pub(in crate::cli) fn run(args: &Args, command: &Install, console: &Console) -> Result<Exit, Failure> {
    let Installed::Crd = command.what;
    let runtime = runtime()?;
    let connection = runtime.block_on(Connection::open(&access(args)))?;
    runtime.block_on(connection.install())?;
    console.say("the cluster has the custom resource `imagestreams.image.streamkeeper.io`");
    Ok(Exit::Done)
}
