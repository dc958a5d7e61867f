//! Which files are looked at, and which of them are read.

/// What a path says about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// A name that definitions have.
    Named,
    /// A name that tells kustomize what to build.
    Kustomization,
    /// No extension: definitions only if the content says so.
    Bare,
    /// Some other kind of file.
    No,
}

/// Judges a path by its name. The config's globs come on top.
pub fn candidate(path: &str) -> Candidate {
    let name = path.rsplit('/').next().unwrap_or(path);
    if matches!(name, "kustomization.yaml" | "kustomization.yml" | "Kustomization") {
        return Candidate::Kustomization;
    }
    match name.rsplit_once('.') {
        Some(("", _)) => Candidate::No,
        Some((_, "yaml" | "yml" | "json")) => Candidate::Named,
        Some(_) => Candidate::No,
        None => Candidate::Bare,
    }
}

/// Whether a file could define or follow image streams at all: the words it cannot do without are in it. Others are
/// passed over unread, so that a broken chart elsewhere in the repository is nobody's trouble here.
pub fn mentions_streams(candidate: Candidate, bytes: &[u8]) -> bool {
    let has = |needle: &[u8]| find(bytes, needle);
    let ours = has(b"imagestream") || has(b"imagechange") || has(b"image.openshift.io/");
    match candidate {
        Candidate::Named | Candidate::Kustomization => ours,
        Candidate::Bare => ours && has(b"apiversion"),
        Candidate::No => false,
    }
}

/// Search for lower-case words in any case, looking for the first byte first; files are small and needles rare.
fn find(haystack: &[u8], needle: &[u8]) -> bool {
    let (first, rest) = (needle[0], &needle[1..]);
    let mut at = 0;
    while let Some(found) = haystack[at..].iter().position(|byte| byte.eq_ignore_ascii_case(&first)) {
        at += found + 1;
        if haystack.get(at..at + rest.len()).is_some_and(|here| here.eq_ignore_ascii_case(rest)) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_chosen_by_name_and_content() {
        for (path, expected) in [
            ("a/b.yaml", Candidate::Named),
            ("b.yml", Candidate::Named),
            ("x.json", Candidate::Named),
            ("image-references", Candidate::Bare),
            ("overlays/test/kustomization.yaml", Candidate::Kustomization),
            ("Kustomization", Candidate::Kustomization),
            ("README.md", Candidate::No),
            (".gitignore", Candidate::No),
            ("a.yaml.tmpl", Candidate::No),
        ] {
            assert_eq!(candidate(path), expected, "{path}");
        }
        assert!(mentions_streams(Candidate::Named, b"kind: ImageStream"));
        assert!(mentions_streams(Candidate::Named, b"IImageImageStream"));
        assert!(!mentions_streams(Candidate::Named, b"kind: Image Stream"));
        assert!(!mentions_streams(Candidate::Bare, b"cat <<EOF ImageStream"));
    }
}
