//! Whether what a step relies on is so: for the targets, which check it together with the write, and for `apply`, which looks
//! before anything is done.

use crate::model::{Ignorance, LiveWorkload, Observed, Precondition, Update};
use crate::openshift::{ImageStream, StreamId, TagId};

/// What became of a precondition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// It holds.
    Holds,
    /// It does not.
    Stale {
        /// What is so instead.
        actual: String,
    },
    /// It is not known.
    Unknown(Ignorance),
}

/// Checks a precondition. `seen` is the stream that it is about ([`Precondition::stream`]). A version or identity that an object
/// does not have is the empty one.
pub fn check(precondition: &Precondition, seen: Observed<&ImageStream>) -> Check {
    let seen = match seen {
        Observed::Known(stream) => Some(stream),
        Observed::Absent => None,
        Observed::Unknown(ignorance) => return Check::Unknown(ignorance),
    };
    let actual = match precondition {
        Precondition::StreamAbsent { .. } => seen.map(|stream| format!("the stream is at version {}", version(stream))),
        Precondition::ResourceVersion { version: expected, uid: identity, .. } => match seen {
            None => Some("the stream is gone".to_owned()),
            Some(stream) if uid(stream) != identity => Some("it is another stream of that name".to_owned()),
            Some(stream) if version(stream) != expected => Some(format!("it is at version {}", version(stream))),
            Some(_) => None,
        },
        Precondition::TagAt { tag, reference } => {
            let head = seen.and_then(|stream| stream.head(&tag.tag)).map(|head| &head.docker_image_reference);
            (head != reference.as_ref())
                .then(|| head.map_or_else(|| "it has no image".to_owned(), |head| format!("it is at {head}")))
        }
        // Checked by `check_workload`, with the workload.
        Precondition::WorkloadAt { workload, .. } => Some(format!("{workload} is no stream")),
    };
    actual.map_or(Check::Holds, |actual| Check::Stale { actual })
}

/// What of a workload is no longer as an update relies on, if anything; none: it may be written. `uid` is the identity that the
/// workload has now; `seen` is none where it has no triggers any more.
pub fn check_workload(update: &Update, uid: &str, seen: Option<&LiveWorkload>) -> Option<String> {
    if uid != update.uid {
        return Some("it is another one of that name".to_owned());
    }
    let Some(seen) = seen else { return Some("it follows nothing any more".to_owned()) };
    update.images.iter().find_map(|image| match seen.images.iter().find(|is| is.name == image.container) {
        None => Some(format!("it has no container `{}`", image.container)),
        Some(is) => (image.before.as_deref() != Some(&is.image)).then(|| format!("`{}` is at {}", is.name, is.image)),
    })
}

/// The stream as it is, as a precondition of the next step on it.
pub fn as_is(id: &StreamId, stream: Option<&ImageStream>) -> Precondition {
    match stream {
        None => Precondition::StreamAbsent { stream: id.clone() },
        Some(stream) => Precondition::ResourceVersion {
            stream: id.clone(),
            version: version(stream).to_owned(),
            uid: uid(stream).to_owned(),
        },
    }
}

/// The current image of a tag, as a precondition of what copies it.
pub fn at_head(tag: TagId, stream: Option<&ImageStream>) -> Precondition {
    let head = stream.and_then(|stream| stream.head(&tag.tag));
    let reference = head.map(|head| head.docker_image_reference.clone());
    Precondition::TagAt { tag, reference }
}

fn version(stream: &ImageStream) -> &str {
    stream.metadata.resource_version.as_deref().unwrap_or_default()
}

fn uid(stream: &ImageStream) -> &str {
    stream.metadata.uid.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Cause;

    #[test]
    fn preconditions_hold_for_what_they_were_made_from_alone() {
        let id = StreamId::new("n", "s");
        let mut stream = ImageStream::default();
        let stale = |check: Check| matches!(check, Check::Stale { .. });
        // Without version and identity, as a stream that no server has written.
        assert_eq!(check(&as_is(&id, Some(&stream)), Observed::Known(&stream)), Check::Holds);
        let before = as_is(&id, Some(&stream));
        stream.metadata.resource_version = Some("2".to_owned());
        assert!(stale(check(&before, Observed::Known(&stream))), "another version");
        let before = as_is(&id, Some(&stream));
        stream.metadata.uid = Some("u".to_owned());
        assert!(stale(check(&before, Observed::Known(&stream))), "another stream");
        assert!(stale(check(&before, Observed::Absent)), "gone");
        assert_eq!(check(&as_is(&id, None), Observed::Absent), Check::Holds);
        assert!(stale(check(&as_is(&id, None), Observed::Known(&stream))), "it is there");
        let no_image = at_head(id.tag("1"), Some(&stream));
        assert_eq!(check(&no_image, Observed::Absent), Check::Holds);
        let unknown = Ignorance::new("n/s", Cause::Unreadable, "");
        assert_eq!(check(&no_image, Observed::Unknown(unknown.clone())), Check::Unknown(unknown));
    }
}
