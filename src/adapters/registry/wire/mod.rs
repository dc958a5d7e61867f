//! What is asked of a registry and how its answers are read. Pure: bytes and header values in, values out.

mod answer;
mod challenge;
mod config;
mod manifest;
mod quota;
mod referrers;

pub(super) use answer::{TAGS, error_of, next_page, plain_words, retry_after, tags};
pub(super) use challenge::{Challenge, TokenAnswer, challenge};
pub(super) use config::{annotations, chains, image};
pub(super) use manifest::{
    ACCEPT, Hash, Kind, MANIFEST_LIMIT, Manifest, config_of, digest_of, guess_media_type, has_digest, kind, layers,
    resolution, unsupported,
};
pub(super) use quota::{Quota, quota};
pub(super) use referrers::{Referrer, referrers};

/// Reads bytes as everything that a registry may answer with; panics where what was read breaks a promise. For fuzzing.
pub(super) fn read_anything(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(Challenge::Bearer { realm, .. }) = challenge(&text) {
        assert!(realm.len() <= text.len(), "nothing is made up");
    }
    if let Some(target) = next_page(&text) {
        assert!(text.contains(target) && !target.contains('>'), "a target stands in the header");
    }
    if let Some(wait) = retry_after(&text, jiff::Timestamp::UNIX_EPOCH) {
        assert!(wait <= std::time::Duration::from_secs(366 * 86_400), "nobody is waited for for ever");
    }
    let quota = quota(|_| Some(text.as_ref()), 0);
    assert!(quota.reset.is_none_or(|reset| reset <= std::time::Duration::from_secs(366 * 86_400)), "{quota:?}");
    if let Some((tags, _)) = tags(bytes) {
        assert!(tags.len() <= TAGS && tags.iter().all(|tag| tag.len() <= 128), "only tags, and not too many");
    }
    // Whoever shows these words makes them inert.
    let _ = error_of(bytes);
    let _ = plain_words("text/plain", bytes);
    let digest = digest_of(bytes);
    assert!(has_digest(bytes, &digest), "bytes have their digest");
    let media_type = guess_media_type(bytes).unwrap_or_default();
    if let Ok(resolution) = resolution(digest.clone(), &media_type, bytes) {
        assert_eq!(resolution.digest, digest);
    }
    let _ = config_of(bytes);
    let image = image("", bytes, bytes);
    assert!(image.layers.len() <= 500 && image.env.len() <= 500, "not too much is kept");
    let _ = annotations(bytes);
    assert!(chains(bytes).len() <= 500, "not too much is kept");
    let _ = layers(bytes);
    let _ = referrers(bytes);
    let _ = serde_json::from_slice::<TokenAnswer>(bytes).map(TokenAnswer::into_token);
}
