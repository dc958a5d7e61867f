//! References to images, and digests.
#![no_main]

use libfuzzer_sys::fuzz_target;
use streamkeeper::openshift::{Digest, ImageReference};

fuzz_target!(|text: &str| {
    if let Ok(reference) = text.parse::<ImageReference>() {
        let shown = reference.to_string();
        let again: ImageReference = shown.parse().expect("what is shown can be read");
        assert_eq!(again.to_string(), shown);
        let _ = reference.with_defaults().repository();
    }
    let _ = Digest::parse(text);
});
