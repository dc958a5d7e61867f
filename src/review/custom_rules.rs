//! Rules of the config, in CEL (common-expression-language specification), over the plan as JSON.

use cel::{Context, Program, Value};

use crate::findings::{Code, Severity};
use crate::model::{Plan, Review, Risk, Subject};
use crate::source::inert;

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
    let mut context = Context::default();
    let plan = Plan { review: None, ..plan.clone() };
    context.add_variable("plan", plan).map_err(|error| failed(error.to_string()))?;
    // Rules judge what was found, not what other rules make of it.
    let review = Review { risks: Vec::new(), ..review.clone() };
    context.add_variable("review", review).map_err(|error| failed(error.to_string()))?;
    let mut broken = Vec::new();
    for rule in rules {
        let program = Program::compile(rule.when)
            .map_err(|error| failed(format!("the rule `{}`: {error}", inert(rule.name, 80))))?;
        let message = match program.execute(&context) {
            Ok(Value::Bool(false)) => continue,
            Ok(Value::Bool(true)) => inert(rule.message, 400),
            Ok(other) => format!("the rule is neither true nor false, but a {}", other.type_of()),
            Err(error) => format!("the rule cannot be evaluated: {}", inert(&error.to_string(), 300)),
        };
        let (severity, about) = (rule.severity, Subject::Rule(inert(rule.name, 80)));
        broken.push(Risk { rule: Code::OwnRule, severity, about, message, origin: None, step: None });
    }
    Ok(broken)
}
