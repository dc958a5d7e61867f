//! Programs that some tests use besides Rust, a C compiler and git.

use std::io::Write;
use std::path::PathBuf;

/// A program that some tests use besides Rust, a C compiler and git; none where this machine lacks it, and then says in one
/// line what is not tested. With `STREAMKEEPER_TEST_TOOLS=required`, as in CI, it is an error.
pub fn tool(name: &str, package: &str, what: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        let line = format!("skipped: {what} ({name} of the Debian package {package} is not installed)");
        let is_required = std::env::var_os("STREAMKEEPER_TEST_TOOLS").is_some_and(|value| value == "required");
        assert!(!is_required, "{line}");
        // Not through the test harness, which keeps what a passing test prints to itself.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
    found
}
