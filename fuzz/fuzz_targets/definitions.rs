//! YAML and JSON trees, and what definitions make of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use streamkeeper::definitions::{FileDefinitions, ReadOptions, read};
use streamkeeper::source::{Limits, SourceText, parse};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = String::from_utf8(bytes.to_vec()) else { return };
    let source = SourceText::new(text);
    parse(&source, Limits::default());
    let options = ReadOptions { namespace: "default".to_owned(), parameters: Default::default() };
    let read = read(&source, &options);
    // What is remembered is what was read, and a fix stands in the file.
    let kept = serde_json::to_vec(&read).expect("it can be kept");
    let again: FileDefinitions = serde_json::from_slice(&kept).expect("it can be read again");
    assert_eq!(serde_json::to_vec(&again).expect("it can be kept"), kept);
    for fix in read.findings.iter().flat_map(|finding| finding.fix.iter()) {
        assert!(source.text().get(fix.span.range()).is_some());
    }
});
