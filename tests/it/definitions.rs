//! Sample files: each rule has one that breaks it, with the output people see; and files that are right.

use std::path::{Path, PathBuf};

use streamkeeper::definitions::{self, ReadOptions};
use streamkeeper::findings::{Code, Severity};
use streamkeeper::source::SourceText;

use crate::support::{check_file, manifest_folder, run};

fn samples(kind: &str) -> Vec<PathBuf> {
    let folder = manifest_folder().join("tests/definitions").join(kind);
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|it| it != "out")).collect();
    paths.sort();
    paths
}

/// Code, stdout and stderr of `validate` on one sample.
fn validate(path: &Path) -> (i32, String, String) {
    let name = path.file_name().unwrap().to_str().unwrap();
    run(path.parent().unwrap(), &["validate", name])
}

#[test]
fn each_rule_is_broken_by_its_sample() {
    for path in samples("invalid") {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let code: Code = stem.split('-').next().unwrap().parse().unwrap();
        let (exit, out, err) = validate(&path);
        assert!(out.contains(&format!("[{code}]")), "{stem} does not break {code}:\n{out}");
        let is_error = out.contains("error[");
        assert_eq!(exit, if is_error { 3 } else { 0 }, "{stem}");
        if code.severity() == Severity::Error {
            assert!(out.contains(&format!("error[{code}]")), "{stem}");
        }
        check_file(&path.with_extension("out"), &format!("{out}{err}"));
    }
}

#[test]
fn right_files_have_no_findings() {
    for path in samples("valid") {
        let (exit, out, err) = validate(&path);
        assert_eq!((exit, out.as_str()), (0, ""), "{}: {err}", path.display());
        check_file(&path.with_extension("out"), &err);
    }
}

#[test]
fn fixes_put_it_right() {
    for path in samples("invalid") {
        let text = std::fs::read_to_string(&path).unwrap();
        let options = ReadOptions { namespace: "default".to_owned(), parameters: Default::default() };
        let read = definitions::read(&SourceText::new(text.clone()), &options);
        for finding in read.findings.iter().filter(|finding| finding.fix.is_some()) {
            let fix = finding.fix.as_ref().unwrap();
            let mut fixed = text.clone();
            fixed.replace_range(fix.span.range(), &fix.replacement);
            let again = definitions::read(&SourceText::new(fixed), &options);
            let same = |other: &&streamkeeper::findings::Diagnostic| {
                other.code == finding.code && other.place.line == finding.place.line
            };
            let (before, after) =
                (read.findings.iter().filter(same).count(), again.findings.iter().filter(same).count());
            assert!(after < before, "{}: the fix of `{}` does not help", path.display(), finding.message);
        }
    }
}

#[test]
fn severities_and_waivers_are_the_configs() {
    let folder = tempfile::tempdir().unwrap();
    let sample =
        |name: &str| std::fs::read_to_string(manifest_folder().join("tests/definitions/invalid").join(name)).unwrap();
    std::fs::write(folder.path().join("a.yaml"), sample("SK225-latest.yaml")).unwrap();
    std::fs::write(folder.path().join("b.yaml"), sample("SK301-missing.yaml").replace("name: app", "name: b")).unwrap();
    let check = |config: &str, expected: &[(Code, bool)]| {
        std::fs::write(folder.path().join("streamkeeper.yaml"), config).unwrap();
        let (_, out, err) = run(folder.path(), &["validate"]);
        for (code, shown) in expected {
            assert_eq!(out.contains(&format!("[{code}]")), *shown, "{code} with {config}:\n{out}{err}");
        }
        out
    };
    check("", &[(Code::MovingTag, true), (Code::AliasMissing, true)]);
    check("findings: {severities: {SK225: off}}", &[(Code::MovingTag, false), (Code::AliasMissing, true)]);
    let out = check("findings: {severities: {moving-tag: error}}", &[(Code::MovingTag, true)]);
    assert!(out.contains("error[SK225]"), "{out}");
    let waive = |until: &str| {
        format!(
            "findings: {{waive: [{{code: SK301, path: 'b.yaml', reason: pushed by hand{until}}}, {{code: SK302, path: '*', reason: x}}]}}"
        )
    };
    check(&waive(""), &[(Code::AliasMissing, false), (Code::WaiverUnused, true), (Code::WaiverExpired, false)]);
    check(&waive(", until: 2020-01-01"), &[(Code::AliasMissing, true), (Code::WaiverExpired, true)]);
    check("findings: {waive: [{code: SK301, path: 'other/*', reason: x}]}", &[(Code::AliasMissing, true)]);
}

#[test]
fn what_strangers_write_is_inert_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let evil = "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {name: \"\\e[31mred\\u202e\\n::error::x\"}\nspec:\n  tags:\n    - name: \"\\e]0;title\\a\"\n";
    std::fs::write(folder.path().join("a.yaml"), evil).unwrap();
    for format in ["text", "github"] {
        let (_, out, _) = run(folder.path(), &["validate", "--format", format]);
        assert!(!out.contains('\u{1b}') && !out.contains('\u{202e}') && !out.contains('\u{7}'), "{format}: {out:?}");
        assert!(!out.lines().any(|line| line.starts_with("::error::x")), "{out}");
    }
}
