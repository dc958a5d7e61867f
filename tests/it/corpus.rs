//! Over three thousand real definition files. They are data beside the project: without them these tests say so and pass.
//!
//! Set `STREAMKEEPER_CORPUS` to their folder; the default is `../shared/corpus`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use streamkeeper::definitions::{self, FileDefinitions, ReadOptions};
use streamkeeper::text::SourceText;

/// A line of the corpus' index.
struct Row {
    path: String,
    streams: String,
    tags: String,
    tag_from: String,
    features: String,
    notes: String,
    triggers: String,
}

fn corpus() -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpus");
    let folder = PathBuf::from(std::env::var("STREAMKEEPER_CORPUS").unwrap_or_else(|_| default.to_owned()));
    if folder.join("INDEX.tsv").is_file() {
        return Some(folder);
    }
    eprintln!("skipped: no corpus at {} (set STREAMKEEPER_CORPUS)", folder.display());
    None
}

fn rows(folder: &std::path::Path) -> Vec<Row> {
    let index = std::fs::read_to_string(folder.join("INDEX.tsv")).unwrap();
    let mut lines = index.lines();
    let head: Vec<&str> = lines.next().unwrap().split('\t').collect();
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            let cell = |name: &str| cells[head.iter().position(|column| *column == name).unwrap()].to_owned();
            Row {
                path: cell("path"),
                streams: cell("streams"),
                tags: cell("tags"),
                tag_from: cell("tag_from"),
                features: cell("features"),
                notes: cell("notes"),
                triggers: cell("triggers"),
            }
        })
        .collect()
}

fn read(folder: &std::path::Path, path: &str) -> FileDefinitions {
    let text = String::from_utf8(std::fs::read(folder.join(path)).unwrap()).unwrap();
    let options = ReadOptions { namespace: "default".to_owned(), parameters: BTreeMap::new() };
    definitions::read(&SourceText::new(text), &options)
}

#[test]
fn explore() {
    let Some(folder) = corpus() else { return };
    let (mut s, mut t, mut f, mut tr) = (0, 0, 0, 0);
    let mut codes: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows(&folder) {
        let read = read(&folder, &row.path);
        for finding in &read.findings {
            *codes.entry(finding.code.id()).or_default() += 1;
        }
        let tags: usize = read.streams.iter().map(|stream| stream.tags.len()).sum();
        if row.streams != "?" && row.streams != read.streams.len().to_string() {
            s += 1;
            eprintln!("STREAMS {} index {} ours {} notes {}", row.path, row.streams, read.streams.len(), row.notes);
        } else if row.tags != "?" && row.tags != tags.to_string() {
            t += 1;
            eprintln!("TAGS {} index {} ours {} notes {}", row.path, row.tags, tags, row.notes);
        }
        if row.streams == "?" && read.complete {
            f += 1;
            eprintln!("PARSES {} {} notes {}", row.path, read.streams.len(), row.notes);
        }
        if row.streams != "?" && !read.complete {
            f += 1;
            eprintln!(
                "BROKEN {} {} notes {}",
                row.path,
                read.findings.iter().map(|f| f.message.clone()).collect::<Vec<_>>().join(";"),
                row.notes
            );
        }
        let t = read.counts.triggers;
        let mut want = [0usize; 3];
        for part in row.triggers.split(',').filter(|p| *p != "-" && !p.contains('?')) {
            let n: usize = part.rsplit(':').next().unwrap().parse().unwrap();
            let at = if part.starts_with("annotation") {
                0
            } else if part.starts_with("Deploy") {
                1
            } else {
                2
            };
            want[at] += n;
        }
        if want != [t.annotations, t.deployment_configs, t.build_configs] && !row.triggers.contains('?') {
            tr += 1;
            eprintln!(
                "TRIG {} index {} ours {:?} | {} | {}",
                row.path,
                row.triggers,
                t,
                row.notes,
                read.findings.iter().filter(|f| f.code.id() > "SK5").map(|f| f.code.id()).collect::<Vec<_>>().join(",")
            );
        }
        let _ = (&row.tag_from, &row.features);
    }
    eprintln!("{s} {t} {f} {tr} {codes:?}");
}
