//! Saved plans, and what is shown of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use streamkeeper::model::Plan;
use streamkeeper::render::{Paint, plan_markdown, plan_text};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(plan) = serde_json::from_slice::<Plan>(bytes) {
        let _ = plan_text(&plan, Paint { color: false, width: Some(80) });
        let _ = plan_markdown(&plan, &[]);
        let kept = serde_json::to_vec(&plan).expect("it can be kept");
        let again: Plan = serde_json::from_slice(&kept).expect("it can be read again");
        assert_eq!(again, plan);
    }
});
