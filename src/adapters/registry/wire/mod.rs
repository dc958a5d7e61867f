//! What is asked of a registry and how its answers are read. Pure: bytes and header values in, values out.

mod answer;
mod challenge;
mod manifest;
mod quota;

pub(super) use answer::{TAGS, error_of, next_page, retry_after, tags};
pub(super) use challenge::{Challenge, TokenAnswer, challenge};
pub(super) use manifest::{
    ACCEPT, Kind, MANIFEST_LIMIT, Manifest, config_of, digest_of, guess_media_type, has_digest, kind, resolution,
    unsupported,
};
pub(super) use quota::{Quota, quota};
