//! What a change of a tag does to the workloads that follow it: OpenShift's trigger controller (semantics 5).

use crate::model::{ConfigTrigger, ContainerImage, LiveWorkload, Manner, RollImage, Triggers};
use crate::openshift::{AnnotationTrigger, ImageReference, PathFault, Quotes, StreamId, TagFault, TagId, pod_path};

use super::{Streams, resolve};

/// What a trigger controller does to a workload, given the streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fires {
    /// It writes these image fields, in one request; none if they are as they should be.
    Writes(Vec<RollImage>),
    /// It starts one build, for these tags; none if the last one was for them.
    Builds(Vec<RollImage>),
    /// Nothing, ever, and nobody says so.
    Never {
        /// Why, and what to do.
        why: String,
        /// Tags that the triggers name.
        tags: Vec<TagId>,
    },
}

/// The images that a workload is meant to have, whether it has them or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follows {
    /// Each image field, or for a build each trigger, that follows a tag with an image.
    pub images: Vec<RollImage>,
    /// Why some trigger gives no image, or all of them.
    pub why: Option<String>,
    /// Tags that the triggers name.
    pub tags: Vec<TagId>,
}

/// What the controllers would do to a workload, were they to look at it now.
pub fn fires(workload: &LiveWorkload, streams: &dyn Streams, manner: Manner) -> Fires {
    let Follows { mut images, why, tags } = follows(workload, streams, manner);
    images.retain(|image| image.before.as_ref() != Some(&image.after));
    match why {
        Some(why) if images.is_empty() => Fires::Never { why, tags },
        _ if matches!(workload.triggers, Triggers::BuildConfig(_)) => Fires::Builds(images),
        _ => Fires::Writes(images),
    }
}

/// What a workload follows, and the images that come of it.
pub fn follows(workload: &LiveWorkload, streams: &dyn Streams, manner: Manner) -> Follows {
    let spec = |tag: &TagId| image(tag, streams);
    let never = |why: String| Follows { images: Vec::new(), why: Some(why), tags: workload.tags() };
    let meant = |images: Vec<RollImage>| Follows { images, why: None, tags: workload.tags() };
    match &workload.triggers {
        Triggers::Void { why, .. } => never(why.clone()),
        Triggers::Annotation(triggers) => annotation(workload, triggers, streams, manner),
        Triggers::DeploymentConfig(triggers) => {
            let active = || triggers.iter().filter(|trigger| trigger.active);
            // The first roll-out waits for all images.
            if let Some(missing) = active().find(|trigger| trigger.fired.is_empty() && spec(&trigger.tag).is_none()) {
                return never(format!("it waits for `{}`, which has no image", missing.tag));
            }
            let mut images = Vec::new();
            for trigger in active() {
                let after = spec(&trigger.tag).unwrap_or_else(|| trigger.fired.clone());
                for name in &trigger.containers {
                    for image in workload.images.iter().filter(|image| image.name == *name) {
                        let (container, before) = (image.name.clone(), Some(image.image.clone()));
                        images.push(RollImage { container, tag: trigger.tag.clone(), before, after: after.clone() });
                    }
                }
            }
            meant(images)
        }
        Triggers::BuildConfig(triggers) => {
            let image = |trigger: &ConfigTrigger| {
                let after = spec(&trigger.tag)?;
                let before = Some(trigger.fired.clone()).filter(|fired| !fired.is_empty());
                Some(RollImage { container: String::new(), tag: trigger.tag.clone(), before, after })
            };
            meant(triggers.iter().filter(|trigger| trigger.active).filter_map(image).collect())
        }
    }
}

/// The pull spec that a tag resolves to.
pub fn image(tag: &TagId, streams: &dyn Streams) -> Option<String> {
    resolve(streams.stream(&tag.stream)?, &tag.tag)
}

/// Tags whose current image a workload has.
pub fn runs(workload: &LiveWorkload, streams: &dyn Streams) -> Vec<TagId> {
    let mut tags = workload.tags();
    tags.retain(|tag| image(tag, streams).is_some_and(|image| workload.images.iter().any(|is| is.image == image)));
    tags
}

/// Per trigger: paused, of another base or without an image, it is passed over; a path that leads nowhere stops all of them
/// (semantics 5.2).
fn annotation(
    workload: &LiveWorkload,
    triggers: &[AnnotationTrigger],
    streams: &dyn Streams,
    manner: Manner,
) -> Follows {
    let base = pod_path(&workload.id.kind).join(".");
    let no_image = |tag: &TagId| format!("`{tag}` has no image");
    let mut tags = workload.tags();
    let mut images: Vec<String> = workload.images.iter().map(|image| image.image.clone()).collect();
    let mut by: Vec<Option<TagId>> = vec![None; images.len()];
    let mut passed_over = None;
    for trigger in triggers {
        let AnnotationTrigger { field_path, paused, .. } = trigger;
        if paused == &Some(true) {
            continue;
        }
        let path = trigger.path(&base);
        if path == Err(PathFault::OtherBase) {
            passed_over = Some(format!("its field path `{field_path}` does not begin with `{base}.`"));
            continue;
        }
        let tag = match trigger.tag(&workload.id.namespace) {
            Ok(tag) => tag,
            Err(TagFault::Kind(_) | TagFault::ApiVersion) => {
                passed_over = Some("its trigger names no ImageStreamTag, or has an `apiVersion`".to_owned());
                continue;
            }
            Err(TagFault::NotStreamTag(name)) => {
                passed_over = Some(format!("its trigger names `{name}` instead of `stream:tag`"));
                continue;
            }
        };
        let Some(image) = image(&tag, streams) else {
            passed_over = Some(no_image(&tag));
            continue;
        };
        let path = path.ok().filter(|(_, quotes)| *quotes == Quotes::Strict || manner == Manner::Ours);
        let place = path.and_then(|(path, _)| workload.container(&path));
        let Some(place) = place else {
            let why = format!(
                "its field path `{field_path}` leads to no container (names stand in double quotes), so none of its triggers counts"
            );
            return Follows { images: Vec::new(), why: Some(why), tags };
        };
        images[place] = image;
        by[place] = Some(tag);
    }
    // Names are looked up once: what they stand for is written in their place.
    for (place, image) in images.iter_mut().enumerate().filter(|_| workload.looks_up) {
        let Some(tag) = local_name(image, &workload.id.namespace).filter(|_| by[place].is_none()) else { continue };
        match self::image(&tag, streams) {
            Some(found) => {
                *image = found;
                by[place] = Some(tag);
            }
            // A name of no stream is one of a registry.
            None if streams.stream(&tag.stream).is_some() => {
                passed_over = Some(no_image(&tag));
                tags.push(tag);
            }
            None => {}
        }
    }
    let all = workload.images.iter().zip(images).zip(by);
    let image = |((is, after), tag): ((&ContainerImage, String), Option<TagId>)| {
        Some(RollImage { container: is.name.clone(), tag: tag?, before: Some(is.image.clone()), after })
    };
    Follows { images: all.filter_map(image).collect(), why: passed_over, tags }
}

/// The tag that an image without registry and namespace names (semantics 1.11).
fn local_name(image: &str, namespace: &str) -> Option<TagId> {
    let reference: ImageReference = image.parse().ok()?;
    let is_local = !image.contains(['/', '@']);
    let tag = if reference.tag.is_empty() { "latest" } else { &reference.tag };
    is_local.then(|| StreamId::new(namespace, &reference.name).tag(tag))
}
