//! Rules of the config, in CEL (common-expression-language specification), over the plan as JSON.

use cel::{Context, Program, Value};

use crate::cli::failure::{Exit, Failure};
use crate::config::Config;
use crate::model::{Plan, Review};
use crate::text::{Code, Diagnostic, Place, inert};

/// What of them a plan breaks. A rule that cannot be evaluated is broken: it says why.
pub(super) fn own(config: &Config, plan: &Plan, review: &Review) -> Result<Vec<Diagnostic>, Failure> {
    let rules = &config.review.rules;
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let failed = |error: String| Failure::new(Exit::Failed, format!("failed to show the plan to rules: {error}"));
    let mut context = Context::default();
    let plan = Plan { review: None, ..plan.clone() };
    context.add_variable("plan", plan).map_err(|error| failed(error.to_string()))?;
    context.add_variable("review", review.clone()).map_err(|error| failed(error.to_string()))?;
    let mut broken = Vec::new();
    for rule in rules {
        let program = Program::compile(&rule.when.value)
            .map_err(|error| failed(format!("the rule `{}`: {error}", inert(&rule.name, 80))))?;
        let message = match program.execute(&context) {
            Ok(Value::Bool(false)) => continue,
            Ok(Value::Bool(true)) => inert(&rule.message, 400),
            Ok(other) => format!("the rule is neither true nor false, but a {}", other.type_of()),
            Err(error) => format!("the rule cannot be evaluated: {}", inert(&error.to_string(), 300)),
        };
        let finding = Diagnostic::new(Code::OwnRule, Place::default(), message);
        let severity = rule.severity.map_or(Some(finding.severity), crate::config::FindingSeverity::as_severity);
        let Some(severity) = severity else { continue };
        let about = format!("rule {}", inert(&rule.name, 80));
        broken.push(Diagnostic { severity, ..finding }.related(Place::default(), about));
    }
    Ok(broken)
}
