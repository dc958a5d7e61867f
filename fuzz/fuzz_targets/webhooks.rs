//! Webhooks: what they name, and whether they are believed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use streamkeeper::controller::repositories;
use streamkeeper::model::Sender;

fuzz_target!(|bytes: &[u8]| {
    for name in repositories(bytes) {
        assert!(name.len() <= 255 && name.is_ascii());
    }
    let now = jiff::Timestamp::from_second(1_800_000_000).expect("a time");
    let text = String::from_utf8_lossy(bytes).into_owned();
    for sender in Sender::ALL {
        let header = |_: &str| Some(text.clone());
        // Nobody guesses it.
        let secret = b"nf7Q1mZt0c9LwX4sVb2KdYh8";
        assert!(
            text.as_bytes() == secret
                || text == format!("Bearer {}", String::from_utf8_lossy(secret))
                || !sender.proves(secret, header, "", b"", now)
        );
    }
});
