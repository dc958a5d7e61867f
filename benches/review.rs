//! How long it takes to say what a change means: a hundred images that moved, and a branch of a very large repository.
//!
//! `cargo bench --bench review` prints the table; `-- images branch` names the parts, `STREAMS` another size than 10,000.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench that cannot go on should panic; it prints"
)]

mod common;
#[expect(dead_code, reason = "the tests use the rest of it")]
#[path = "../tests/it/real_registry.rs"]
mod real_registry;
#[path = "../tests/it/tools.rs"]
mod tools;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use common::{Row, definition, fast_import, layout, measure, median, repository, run, streamkeeper, streams};
use real_registry::RealRegistry;

/// A hundred tags of a hundred repositories, each with another image than the store has.
fn images(rows: &mut Vec<Row>, folder: &Path) {
    const MOVED: usize = 100;
    let Some(registry) = RealRegistry::start(folder, "") else { return };
    let define = |tag: &str| {
        let mut text = String::new();
        for at in 0..MOVED {
            let name = format!("lab/app{at}");
            let (digest, _) = registry.image(&name, "amd64", &format!("{at} {tag}"));
            registry.tag(&name, tag, &digest);
            let _ = writeln!(
                text,
                "---\napiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {{name: s{at}}}\nspec:\n  tags:\n    - {{name: live, from: {{kind: DockerImage, name: '{}/{name}:{tag}'}}, importPolicy: {{insecure: true}}}}",
                registry.host
            );
        }
        std::fs::create_dir_all(folder.join("source")).unwrap();
        std::fs::write(folder.join("source/all.yaml"), text).unwrap();
    };
    let config = format!("registries: [{{host: '{}', private: true, insecure: true}}]\n", registry.host);
    define("one");
    std::fs::write(folder.join("source/streamkeeper.yaml"), config).unwrap();
    let (_, _, code) =
        measure(&mut streamkeeper(folder, &["apply", "--yes", "--quiet", "-s", "source", "--store", "before"]));
    assert_eq!(code, Some(0));
    define("two");
    let plan = |store: &str| {
        let arguments = ["plan", "--exit-code", "-s", "source", "--store", store];
        let (time, memory, code) = measure(&mut streamkeeper(folder, &arguments));
        assert_eq!(code, Some(2));
        (time, memory)
    };
    // Each run finds a store that has never seen the new images.
    let copy = |round: usize| {
        let store = format!("store-{round}");
        assert!(Command::new("cp").current_dir(folder).args(["-r", "before", &store]).status().unwrap().success());
        store
    };
    let (time, memory) = median(7, |round| plan(&copy(round)));
    let (known, _) = median(7, |_| plan("store-0"));
    rows.push(Row {
        what: format!("(e) plan with review, {MOVED} digests that are new, loopback registry"),
        time,
        memory,
        beside: format!("limit 2.0 s; once more, with the images known: {:.3} s", known.as_secs_f64()),
    });
}

/// A branch that changes some files.
fn branch(folder: &Path, name: &str, files: usize) {
    let mut child = fast_import(folder);
    let mut input = child.stdin.take().unwrap();
    write!(
        input,
        "commit refs/heads/{name}\ncommitter Bench <bench@example.com> 1790000002 +0000\ndata 3\none\nfrom refs/heads/master^0\n"
    )
    .unwrap();
    for stream in 0..files {
        let text = definition(stream, "    - name: \"2.0\"\n");
        write!(input, "M 100644 inline team-{}/app-{stream}.yaml\ndata {}\n{text}\n", stream % 100, text.len())
            .unwrap();
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

/// Branches of a very large repository: what they cost is what they touch.
fn branches(rows: &mut Vec<Row>, folder: &Path) {
    let count = streams();
    eprintln!("writing {count} definitions …");
    repository(folder, count);
    layout(folder);
    branch(folder, "small", 1);
    branch(folder, "large", 100.min(count));
    let source = ["--source", "repo.git", "--config", "config.yaml", "--store", "store"];
    let (_, _, code) = measure(&mut streamkeeper(folder, &[&["apply", "--yes", "--quiet"], &source[..]].concat()));
    assert_eq!(code, Some(0));
    let (everything, _) = median(3, |_| {
        let (time, memory, code) = measure(&mut streamkeeper(folder, &[&["validate"], &source[..]].concat()));
        assert_eq!(code, Some(0));
        (time, memory)
    });
    for (name, files) in [("small", 1), ("large", 100.min(count))] {
        let range = format!("master...{name}");
        let (diff, _) = median(5, |_| {
            let mut command = Command::new("git");
            let (time, memory, _) =
                measure(command.current_dir(folder.join("repo.git")).args(["diff", "--stat", &range]));
            (time, memory)
        });
        for (what, more) in [("definitions alone", &["--definitions-only"][..]), ("with the store", &[])] {
            let (time, memory) = median(5, |_| {
                let plan = ["plan", "--base", "master", "--head", name];
                let (time, memory, code) = measure(&mut streamkeeper(folder, &[&plan, more, &source[..]].concat()));
                assert_eq!(code, Some(0));
                (time, memory)
            });
            rows.push(Row {
                what: format!("(f) plan --base, a branch of {count} files that touches {files}, {what}"),
                time,
                memory,
                beside: format!(
                    "git diff --stat: {:.3} s; to read all files once, cached: {:.3} s",
                    diff.as_secs_f64(),
                    everything.as_secs_f64()
                ),
            });
        }
    }
}

fn main() {
    run(&[("images", &images), ("branch", &branches)]);
}
