//! Names in a tree that attack whoever writes them to a disk. Nothing is written here, and they are refused all the same:
//! they have no other use.

/// Whether one component of a path is safe. Git refuses the same names (`core.protectNTFS`, `core.protectHFS`).
pub(super) fn is_safe(component: &str) -> bool {
    // HFS+ ignores these characters, so `.g\u{200c}it` is `.git` there.
    let folded: String = component.chars().filter(|char| !is_ignorable(*char)).flat_map(char::to_lowercase).collect();
    // NTFS ignores trailing dots and spaces, knows streams (`.git::$INDEX_ALLOCATION`) and short names.
    let folded = folded.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    let is_git = matches!(folded, ".git" | "git~1");
    !component.is_empty() && !matches!(component, "." | "..") && !component.contains(['\\', '\0', '/']) && !is_git
}

fn is_ignorable(char: char) -> bool {
    matches!(char, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::is_safe;

    #[test]
    fn git_lookalikes_and_ways_out_are_unsafe() {
        for bad in [
            "..",
            ".",
            "",
            ".git",
            ".GIT",
            ".git.",
            ".git ",
            "git~1",
            "GIT~1",
            ".g\u{200c}it",
            ".git::$INDEX_ALLOCATION",
            "a\\b",
            "a/b",
        ] {
            assert!(!is_safe(bad), "{bad:?}");
        }
        for good in ["a.yaml", ".github", ".gitignore", "git", "...", "ü"] {
            assert!(is_safe(good), "{good:?}");
        }
    }
}
