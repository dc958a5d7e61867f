//! Expressions of rules (CEL): whether they are such, and small enough for a parser and an interpreter that call themselves.

/// Bytes of a rule: whoever has more to say says it in several.
const RULE: usize = 8 * 1024;
/// Brackets in brackets: for each the parser calls itself through all levels of precedence.
const DEPTH: usize = 24;
/// Operators, selections and calls: in one chain, the interpreter calls itself for each.
const OPERATORS: usize = 800;

/// Reads an expression, of whoever has written it.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn check(text: &str) -> Result<(), String> {
    if text.len() > RULE {
        return Err(format!("it has more than {RULE} bytes"));
    }
    let (mut depth, mut deepest, mut operators) = (0_usize, 0, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
        operators += usize::from(b"([{.+-*/%!<>=&|?".contains(&byte));
    }
    if deepest > DEPTH {
        return Err(format!("it has more than {DEPTH} brackets in each other"));
    }
    if operators > OPERATORS {
        return Err(format!("it has more than {OPERATORS} operators, selections and calls"));
    }
    cel::Program::compile(text).map(|_| ()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As much stack as a thread of the runtime has.
    fn on_a_small_stack(text: &str) -> Result<(), String> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
            thread.spawn_scoped(scope, || check(text)).expect("a thread").join().expect("no overflow")
        })
    }

    #[test]
    fn what_is_within_the_limits_is_no_danger_to_the_stack() {
        for text in [
            format!("{}1{}", "(".repeat(DEPTH), ")".repeat(DEPTH)),
            format!("{}1{}", "[".repeat(DEPTH), "]".repeat(DEPTH)),
            vec!["1"; OPERATORS].join("+"),
            format!("a{}", ".b".repeat(OPERATORS)),
            format!("a{}", ".f()".repeat(OPERATORS / 2)),
            format!("{}true", "!".repeat(OPERATORS)),
            format!("{}1", "true?1:".repeat(OPERATORS)),
            format!("true{}", "&&true".repeat(OPERATORS / 2)),
        ] {
            // A parser may have a limit of its own.
            let _ = on_a_small_stack(&text);
        }
        assert_eq!(on_a_small_stack("plan.steps.exists(s, s.id > 1 && (s.id < 3 || s.id in [5, 6]))"), Ok(()));
        for (text, expected) in [
            ("(".repeat(DEPTH + 1), "brackets"),
            (vec!["1"; OPERATORS + 2].join("+"), "operators"),
            (format!("'{}'", "x".repeat(RULE)), "bytes"),
        ] {
            assert!(on_a_small_stack(&text).is_err_and(|why| why.contains(expected)), "{expected}");
        }
    }
}
