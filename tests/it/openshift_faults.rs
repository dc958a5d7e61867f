//! OpenShift as a target when things go wrong: connections that break, pages that grow old, strangers at the same moment,
//! finalizers, namespaces that vanish. (A server that vanishes after any request: `tests/it/openshift.rs`.)

use serde_json::json;
use streamkeeper::openshift::StreamId;

use crate::registry::stream;
use crate::sim::openshift::{Fault, Stored};
use crate::site::Site;

#[test]
fn connections_that_break_and_servers_that_fall_silent_are_mended_by_the_next_run() {
    for fault in [Fault::Cut, Fault::CutAfter, Fault::SilentAfter] {
        let site = Site::new();
        site.define("app", &["1", "2"]);
        // The second write is an import.
        site.cluster.world.lock().unwrap().faults = vec![fault];
        let (code, out, err) = site.run(&["apply", "--yes", "--request-timeout", "1s"]);
        assert_eq!(code, 1, "{fault:?}: {out}{err}");
        assert!(out.contains("failed") && out.contains("run again"), "{fault:?}: {out}");
        site.apply();
        assert_eq!(site.images("app").len(), 2, "{fault:?}");
        // A stream that was made although nobody said so is ours all the same.
        std::fs::remove_file(site.root().join("source/app.yaml")).unwrap();
        site.define("other", &["3"]);
        site.apply();
        assert!(site.images("app").is_empty(), "{fault:?}");
    }
}

#[test]
fn lists_whose_pages_grow_old_are_read_anew() {
    let site = Site::new();
    let mut text = String::new();
    for at in 0..600 {
        text += &stream(&format!("s{at}"), &[], "");
    }
    std::fs::write(site.root().join("source/all.yaml"), text).unwrap();
    let (code, out, err) = site.run(&["apply", "--yes", "--quiet"]);
    assert_eq!(code, 0, "{out}{err}");
    site.cluster.world.lock().unwrap().expired = 2;
    let (code, out, err) = site.run(&["plan", "--exit-code"]);
    assert_eq!(code, 0, "{out}{err}");
    // One that never comes to an end is no list: nothing is made or removed for what it lacks.
    site.cluster.world.lock().unwrap().expired = 1000;
    let (code, out, err) = site.run(&["plan", "--exit-code"]);
    assert!(code == 2 && !out.contains("nothing to do") && out.contains("blocked"), "{code} {out}{err}");
}

#[test]
fn a_stream_that_somebody_makes_at_the_same_moment_is_theirs() {
    let site = Site::new();
    let theirs = |tag: &str, from: &str| {
        json!({"apiVersion": "image.openshift.io/v1", "kind": "ImageStream", "metadata": {"name": "app", "namespace": "default"},
            "spec": {"tags": [{"name": tag, "from": {"kind": "DockerImage", "name": site.from(from)}}]}})
    };
    // With another tag: we join, and what is removed later is ours alone.
    site.define("app", &["1"]);
    site.cluster.world.lock().unwrap().intruder = Some(theirs("dev", "3"));
    site.apply();
    std::fs::remove_file(site.root().join("source/app.yaml")).unwrap();
    site.define("keep", &["1"]);
    site.apply();
    assert!(site.cluster.world.lock().unwrap().streams.contains_key(&StreamId::new("default", "app")));
    // With our tag, of another source: nothing of theirs is changed.
    let site = Site::new();
    site.define("app", &["1"]);
    let theirs = json!({"apiVersion": "image.openshift.io/v1", "kind": "ImageStream", "metadata": {"name": "app", "namespace": "default"},
        "spec": {"tags": [{"name": "1", "from": {"kind": "DockerImage", "name": site.from("2")}}]}});
    site.cluster.world.lock().unwrap().intruder = Some(theirs);
    let (code, out, err) = site.run(&["apply", "--yes"]);
    assert!(matches!(code, 1 | 5) && out.contains("`intruder`"), "{code} {out}{err}");
    let world = site.cluster.world.lock().unwrap();
    let tag = world.streams[&StreamId::new("default", "app")].stream.spec_tag("1").unwrap();
    assert!(tag.from.as_ref().unwrap().name.ends_with("app:2"));
}

#[test]
fn a_stream_with_finalizers_goes_when_they_are_done() {
    let site = Site::new();
    site.define("app", &["1"]);
    site.define("keep", &["1"]);
    site.apply();
    let id = StreamId::new("default", "app");
    site.cluster.world.lock().unwrap().streams.get_mut(&id).unwrap().finalizers = vec!["example.com/backup".to_owned()];
    std::fs::remove_file(site.root().join("source/app.yaml")).unwrap();
    let (code, out, err) = site.run(&["apply", "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    site.cluster.server.forget();
    for _ in 0..2 {
        let (code, out, err) = site.run(&["apply", "--yes"]);
        assert!(code == 5 && err.contains("its finalizers (`example.com/backup`)"), "{code} {out}{err}");
    }
    assert_eq!(site.cluster.server.count("DELETE"), 0, "asked once");
    // Defined again while it goes: nothing is written to what will be gone.
    site.define("app", &["2"]);
    let (code, out, err) = site.run(&["apply", "--yes"]);
    assert!(code == 5 && err.contains("its deletion"), "{code} {out}{err}");
    site.cluster.world.lock().unwrap().streams.remove(&id);
    site.apply();
    assert_eq!(site.images("app").keys().collect::<Vec<_>>(), ["2"]);
}

#[test]
fn a_namespace_that_vanishes_in_the_middle_stops_what_is_in_it_and_nothing_else() {
    let site = Site::new();
    for namespace in ["one", "two"] {
        for name in ["a", "b"] {
            let text = stream(name, &[("1", &site.from("1"))], "")
                .replace("metadata: {", &format!("metadata: {{namespace: {namespace}, "));
            std::fs::write(site.root().join(format!("source/{namespace}-{name}.yaml")), text).unwrap();
        }
    }
    site.cluster.world.lock().unwrap().loses = Some((3, "two".to_owned()));
    let (code, out, err) = site.run(&["apply", "--yes"]);
    assert!(code == 5 && out.contains("namespaces \"two\" not found"), "{code} {out}{err}");
    assert!(out.contains("make it first"), "{out}");
    let world = site.cluster.world.lock().unwrap();
    let whole = |stored: &Stored| stored.stream.head("1").is_some();
    assert!(
        world.streams.iter().all(|(id, stored)| id.namespace == "one" && whole(stored)),
        "{:?}",
        world.streams.keys()
    );
    assert_eq!(world.streams.len(), 2);
}
