//! Times as people write them: `15m`, `1h 30m`, `PT15M`.

use std::borrow::Cow;

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A length of time above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Interval(SignedDuration);

impl Interval {
    /// The length of time.
    pub fn duration(self) -> SignedDuration {
        self.0
    }
}

impl TryFrom<String> for Interval {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        crate::model::interval(&text).map(Self)
    }
}

impl std::str::FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.to_owned())
    }
}

impl From<Interval> for String {
    fn from(interval: Interval) -> Self {
        format!("{:#}", interval.0)
    }
}

impl JsonSchema for Interval {
    fn schema_name() -> Cow<'static, str> {
        "Interval".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A length of time above zero, such as `15m` or `1h 30m`.",
            "examples": ["15m", "1h"],
        })
    }
}
