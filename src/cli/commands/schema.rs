//! `schema`: JSON Schemas, made from the types.

use schemars::{Schema, schema_for};
use serde_json::Value;

use crate::cli::args::{self, SchemaName};
use crate::cli::console::Console;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::pretty;
use crate::config::{Config, keys_markdown};
use crate::controller::Status;
use crate::model::{Plan, Report};
use crate::openshift::{ImageStream, custom_resource_definition};
use crate::render::FindingsJson;

pub(in crate::cli) fn run(command: &args::Schema, console: &Console) -> Result<Exit, Failure> {
    match command.name {
        SchemaName::Docs => console.out(&keys_markdown()),
        name => console.out(&pretty(&schema(name))?),
    }
    Ok(Exit::Done)
}

fn schema(name: SchemaName) -> Value {
    let schema: Schema = match name {
        SchemaName::Crd => return custom_resource_definition(),
        SchemaName::Docs => return Value::Null,
        SchemaName::Config => schema_for!(Config),
        SchemaName::Definitions => schema_for!(ImageStream),
        SchemaName::Findings => schema_for!(FindingsJson),
        SchemaName::Plan => schema_for!(Plan),
        SchemaName::Report => schema_for!(Report),
        SchemaName::Status => schema_for!(Status),
    };
    schema.to_value()
}
