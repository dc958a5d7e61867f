//! Killed at any moment, run again, same end.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::example::LayoutFiles;
use crate::support::{outcome, program};

/// How often the program is killed.
const KILLS: usize = 200;
/// Streams in the source: enough for a run of some dozen commits.
const STREAMS: usize = 120;

fn source(folder: &Path, version: usize) {
    std::fs::create_dir_all(folder.join("source")).unwrap();
    for stream in 0..STREAMS {
        let mut text = format!(
            "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata:\n  name: s{stream}\nspec:\n  tags:\n"
        );
        for tag in 0..3 {
            let image = (stream + tag + version) % 20;
            text += &format!(
                "    - name: t{tag}\n      from: {{kind: DockerImage, name: 'registry.example.com/app:{image}'}}\n"
            );
        }
        text += "    - name: latest\n      from: {kind: ImageStreamTag, name: t0}\n";
        if stream > 0 {
            text += &format!("    - name: copy\n      from: {{kind: ImageStreamTag, name: 's{}:t1'}}\n", stream - 1);
        }
        std::fs::write(folder.join(format!("source/s{stream}.yaml")), text).unwrap();
    }
}

fn images(folder: &Path) {
    let mut layout = LayoutFiles::default();
    for image in 0..20 {
        let descriptor = layout.image(&format!("app:{image}"), "amd64");
        layout.tag(descriptor, &format!("app:{image}"));
    }
    for (path, bytes) in layout.finish() {
        let path = folder.join("images").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    std::fs::write(folder.join("config.yaml"), "registries: [{host: registry.example.com, layout: images}]\n").unwrap();
}

fn arguments(store: &str) -> Vec<&str> {
    vec!["apply", "--yes", "--quiet", "--source", "source", "--config", "config.yaml", "--store", store]
}

/// Streams and the changes of each tag, without times and versions.
fn state(folder: &Path, store: &str) -> (Vec<String>, Vec<String>) {
    let connection = rusqlite::Connection::open(folder.join(store).join("store.db")).unwrap();
    let query = |sql: &str| -> Vec<String> {
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let streams = query("SELECT json_remove(object, '$.metadata') FROM streams ORDER BY namespace, name");
    let strip = |text: String| {
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        for list in value["status"]["tags"].as_array_mut().unwrap() {
            for event in list["items"].as_array_mut().unwrap() {
                event["created"] = serde_json::Value::Null;
            }
        }
        value.to_string()
    };
    let changes = query(
        "SELECT namespace || '/' || name || ':' || tag || ' ' || action || ' ' || reason || ' ' || ifnull(before, '-') || ' ' || ifnull(after, '-')
         FROM changes ORDER BY namespace, name, tag, id",
    );
    (streams.into_iter().map(strip).collect(), changes)
}

#[test]
fn killed_two_hundred_times_the_end_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    images(folder.path());
    let (mut killed, mut runs, mut round) = (0, 0, 0);
    // Moments spread over the run by a sequence that repeats from test to test.
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    while killed < KILLS {
        let (calm, disturbed) = (format!("calm-{round}"), format!("disturbed-{round}"));
        for version in 0..2 {
            source(folder.path(), version);
            let started = std::time::Instant::now();
            let (code, _, err) = outcome(program(folder.path()).args(arguments(&calm)).output().unwrap());
            assert_eq!(code, 0, "{err}");
            let whole = started.elapsed();
            loop {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let share = f64::from((random >> 40) as u32) / f64::from(1_u32 << 24);
                let mut child = program(folder.path())
                    .args(arguments(&disturbed))
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap();
                std::thread::sleep(whole.mul_f64(share).max(Duration::from_millis(1)));
                let done = child.try_wait().unwrap();
                child.kill().unwrap();
                child.wait().unwrap();
                runs += 1;
                match done {
                    Some(status) => {
                        assert!(status.success(), "a run after a kill fails: {status}");
                        break;
                    }
                    None => killed += 1,
                }
                // Not for ever on one version: the last run of each is let through.
                if killed.is_multiple_of(20) {
                    let (code, _, err) = outcome(program(folder.path()).args(arguments(&disturbed)).output().unwrap());
                    assert_eq!(code, 0, "{err}");
                    break;
                }
            }
            let ((streams, changes), (ours, our_changes)) =
                (state(folder.path(), &calm), state(folder.path(), &disturbed));
            assert_eq!(streams, ours, "streams after {killed} kills");
            assert_eq!(changes, our_changes, "history after {killed} kills");
            let connection = rusqlite::Connection::open(folder.path().join(&disturbed).join("store.db")).unwrap();
            let verdict: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
            assert_eq!(verdict, "ok");
        }
        round += 1;
    }
    eprintln!("killed {killed} times in {runs} runs over {round} stores");
}
