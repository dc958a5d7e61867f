//! Rules of the config, in CEL (common-expression-language specification), over the plan as JSON.

use cel::{Context, Program, Value};
use serde_json::Value as Json;

use crate::findings::{Code, Severity};
use crate::model::{Plan, Review, Risk, Subject};
use crate::source::inert;

use super::rule_cost;

/// Bytes of a plan with its review, as JSON, that rules are given.
const PLAN: usize = 16 * 1024 * 1024;

/// A rule of the config.
#[derive(Clone, Copy, Debug)]
pub struct CustomRule<'a> {
    /// Its name.
    pub name: &'a str,
    /// An expression over `plan` and `review`: true breaks the rule.
    pub when: &'a str,
    /// What is reported then.
    pub message: &'a str,
    /// How bad that is.
    pub severity: Severity,
}

/// Rules that cannot be evaluated at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to show the plan to rules: {0}")]
pub struct RuleError(String);

/// The rules that a plan breaks, as risks. A rule that cannot be evaluated is broken: the risk says why.
///
/// # Errors
///
/// When a rule is no expression, or the plan cannot be given to rules.
pub fn broken_rules(rules: &[CustomRule<'_>], plan: &Plan, review: &Review) -> Result<Vec<Risk>, RuleError> {
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let failed = |error: String| RuleError(error);
    let json = |value: serde_json::Result<Json>| value.map_err(|error| failed(error.to_string()));
    let plan = json(serde_json::to_value(Plan { review: None, ..plan.clone() }))?;
    // Rules judge what was found, not what other rules make of it.
    let review = json(serde_json::to_value(Review { risks: Vec::new(), ..review.clone() }))?;
    let is_small = plan.to_string().len() + review.to_string().len() <= PLAN;
    let mut context = Context::default();
    if is_small {
        context.add_variable("plan", &plan).map_err(|error| failed(error.to_string()))?;
        context.add_variable("review", &review).map_err(|error| failed(error.to_string()))?;
    }
    let mut broken = Vec::new();
    for rule in rules {
        let named = |why: String| failed(format!("the rule `{}`: {why}", inert(rule.name, 80)));
        let program = Program::compile(rule.when).map_err(|error| named(error.to_string()))?;
        let within = match is_small {
            true => rule_cost::check(program.expression(), &[("plan", &plan), ("review", &review)]),
            false => Err(format!("the plan has more than {PLAN} bytes")),
        };
        let message = match within.map(|()| program.execute(&context)) {
            Ok(Ok(Value::Bool(false))) => continue,
            Ok(Ok(Value::Bool(true))) => inert(rule.message, 400),
            Ok(Ok(other)) => format!("the rule is neither true nor false, but a {}", other.type_of()),
            Ok(Err(error)) => format!("the rule cannot be evaluated: {}", inert(&error.to_string(), 300)),
            Err(why) => format!("the rule is not evaluated: {why}"),
        };
        let (severity, about) = (rule.severity, Subject::Rule(inert(rule.name, 80)));
        broken.push(Risk { rule: Code::OwnRule, severity, about, message, origin: None, step: None });
    }
    Ok(broken)
}
