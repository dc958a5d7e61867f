//! Images that cannot be imported, and what else is blocked, each with the cause.

use crate::findings::{Code, Severity};
use crate::model::{Deferred, DeferredAction, DefinitionChange, Origin, Risk, Step, StepId, Subject, Wait};
use crate::openshift::{StreamId, TagId};

use super::Input;

/// A risk for each image that cannot be imported. `changes`: what a reviewed change is about; none: there is nothing to compare with, and
/// every image counts.
pub(super) fn risks(input: &Input<'_>, pending: &[StepId], changes: Option<&[DefinitionChange]>) -> Vec<Risk> {
    let mut risks = Vec::new();
    for Step { id, action, origin, .. } in input.plan.steps.iter().filter(|step| !pending.contains(&step.id)) {
        for (item, failure) in action.failed_imports() {
            let tag = action.stream().tag(&item.tag);
            let (code, message) = failure.cause(&item.from);
            risks.push(risk(
                code,
                message,
                (Subject::Tags(vec![tag.clone()]), place(input, &tag).or_else(|| origin.clone())),
                Some(*id),
            ));
        }
    }
    let is_touched = |stream: &StreamId, tag: Option<&String>| {
        changes.is_none_or(|changes| {
            changes
                .iter()
                .any(|change| change.stream == *stream && (change.tag.is_none() || change.tag.as_ref() == tag))
        })
    };
    for Deferred { stream, tag, action, origin, wait } in &input.plan.deferred {
        if wait.is_note() || !is_touched(stream, tag.as_ref()) {
            continue;
        }
        let cause = wait.import_cause().filter(|_| *action == DeferredAction::Import);
        let (code, message) = cause.unwrap_or_else(|| (Code::ChangeBlocked, wait.by()));
        let about = tag.as_ref().map_or(Subject::Stream(stream.clone()), |tag| Subject::Tags(vec![stream.tag(tag)]));
        let risk = risk(code, message, (about, origin.clone()), None);
        // What was asked for is no surprise.
        let is_asked = code == Code::ChangeBlocked && matches!(wait, Wait::Held { .. });
        risks.push(if is_asked { Risk { severity: Severity::Info, ..risk } } else { risk });
    }
    risks
}

fn place(input: &Input<'_>, tag: &TagId) -> Option<Origin> {
    Some(input.desired.streams.get(&tag.stream)?.tags.get(&tag.tag)?.origin.clone())
}

fn risk(rule: Code, message: String, (about, origin): (Subject, Option<Origin>), step: Option<StepId>) -> Risk {
    Risk { rule, severity: rule.severity(), about, message, origin, step }
}
