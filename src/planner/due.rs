//! When there may be something to do although nothing changes.

use jiff::{SignedDuration, Timestamp};

use crate::model::{Desired, DesiredStream, Live, PassState, Policy};
use crate::openshift::StreamId;

/// From when on a stream that has nothing to do now may have something to do although nothing changed: when the answers on
/// its upstream tags have grown old. None: never.
pub fn due(
    id: &StreamId,
    stream: &DesiredStream,
    live: &Live,
    policy: &Policy,
    state: &PassState,
) -> Option<Timestamp> {
    let moments = stream.tags.values().filter_map(|tag| {
        let question = tag.question(&id.namespace).filter(|question| question.reference.digest.is_none())?;
        // Who keeps at it looks at what nobody follows when everything is looked at.
        if state.spread && !tag.reference.import_policy.scheduled {
            return None;
        }
        let checked = live.upstream.get(&question).map_or(live.observed_at, |upstream| upstream.checked_at);
        let moved = live.streams.get(id).and_then(|live| live.stream.head(&tag.reference.name)?.created);
        policy.until(state, id, &tag.reference, checked, moved)
    });
    moments.min()
}

/// When the first of the imports that have failed is to be tried again.
pub fn retry(desired: &Desired, live: &Live, now: Timestamp) -> Option<Timestamp> {
    let mut first: Option<Timestamp> = None;
    for (id, stream) in &desired.streams {
        let Some(current) = live.streams.get(id) else { continue };
        for list in &current.stream.status.tags {
            let Some(condition) = list.conditions.first() else { continue };
            let question = stream.tags.get(&list.tag).and_then(|tag| tag.question(&id.namespace));
            let asked = question.and_then(|question| live.upstream.get(&question)).map(|upstream| upstream.checked_at);
            let retry = Policy::retry(condition, asked.filter(|asked| *asked <= now).unwrap_or(now));
            // What is due is tried by the pass that has just been, or cannot be: not at once again.
            let retry = retry.map(|retry| if retry <= now { now + SignedDuration::from_mins(1) } else { retry });
            first = [first, retry].into_iter().flatten().min();
        }
    }
    first
}
