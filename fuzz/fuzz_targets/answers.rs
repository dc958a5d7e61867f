//! What registries answer: challenges, links to next pages, quotas, errors, lists of tags, manifests.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| streamkeeper::adapters::registry::read_anything(bytes));
