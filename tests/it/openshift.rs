//! OpenShift as a target, against a simulated API server whose ownership is held to recordings of a real one.

use serde_json::json;
use streamkeeper::openshift::StreamId;

use crate::registry::stream;
use crate::sim::openshift::{Fault, World};
use crate::site::Site;
use crate::support::{outcome, program};

#[test]
fn the_main_job_on_a_cluster() {
    let site = Site::new();
    site.define("app", &["1", "2", "3", "4"]);
    let (code, out, err) = site.run(&["plan", "--out", "plan.json"]);
    assert!(code == 0 && out.contains("1 stream to create"), "{out}{err}");
    site.cluster.server.forget();
    let (code, out, err) = site.run(&["apply", "plan.json"]);
    assert_eq!(code, 0, "{out}{err}");
    let server = &site.cluster.server;
    assert_eq!((server.count("PATCH "), server.count("POST ")), (1, 2), "an apply, imports of three");
    // The plan is made again, so that everything is looked at once: streams, and each kind of workload.
    assert!(server.count("GET ") <= 12, "{:?}", server.seen());
    assert_eq!(site.images("app").len(), 4);
    let (code, out, err) = site.run(&["plan", "--exit-code"]);
    assert_eq!(code, 0, "{out}{err}");
    let (_, out, _) = site.run(&["get", "istag", "-o", "name"]);
    assert_eq!(out.lines().count(), 4, "{out}");
    let image = site.images("app")["1"].clone();
    for (arguments, expected) in [
        (&["describe", "app"][..], "Name:"),
        (&["describe", "app:1"], image.as_str()),
        (&["history", "app:1"], &image[..19]),
        (&["explain", "default/app:1"], "defined in app.yaml"),
        (&["get"], "app"),
    ] {
        let (code, out, err) = site.run(arguments);
        assert!(code == 0 && out.contains(expected), "{arguments:?}: {out}{err}");
    }
    // A tag of another source, a new one, and one that goes.
    site.define("app", &["1", "2", "5"]);
    site.apply();
    let images = site.images("app");
    assert_eq!(images.keys().map(String::as_str).collect::<Vec<_>>(), ["1", "2", "5"]);
    // A stream that is no longer defined goes whole: we made it, and nothing of others is in it.
    site.define("other", &["1"]);
    std::fs::remove_file(site.root().join("source/app.yaml")).unwrap();
    site.apply();
    assert!(site.images("app").is_empty() && site.images("other").len() == 1);
}

#[test]
fn what_was_reviewed_is_refused_when_the_world_has_moved() {
    let site = Site::new();
    site.define("app", &["1"]);
    site.apply();
    site.define("app", &["1", "2"]);
    assert_eq!(site.run(&["plan", "--out", "plan.json"]).0, 0);
    site.stranger("builds", "app", &[("dev", "3")]);
    let (code, out, err) = site.run(&["apply", "plan.json"]);
    assert_eq!(code, 4, "{out}{err}");
    assert!(out.contains("stale"), "{out}{err}");
    // A plan for another cluster is no plan for this one.
    let other = Site::new();
    std::fs::copy(site.root().join("plan.json"), other.root().join("plan.json")).unwrap();
    let (code, _, err) = other.run(&["apply", "plan.json"]);
    assert!(code == 3 && err.contains("the plan is for"), "{err}");
    // An image that moved between the plan and the import: told, and kept.
    assert_eq!(site.run(&["plan", "--out", "plan.json"]).0, 0);
    let moved = {
        let mut held = site.registry.content.lock().unwrap();
        held.image("lab/app", "amd64", "moved")
    };
    site.cluster.world.lock().unwrap().images.insert(site.from("2"), (moved.clone(), moved.clone()));
    let (code, out, err) = site.run(&["apply", "plan.json"]);
    assert_eq!(code, 5, "{out}{err}");
    assert!(out.contains("diverged") && out.contains(&moved), "{out}{err}");
}

#[test]
fn two_managers_share_a_stream_and_neither_undoes_the_other() {
    let site = Site::new();
    site.stranger("builds", "app", &[("dev", "3")]);
    site.define("app", &["1"]);
    site.apply();
    let owners = || {
        let world = site.cluster.world.lock().unwrap();
        let stored = &world.streams[&StreamId::new("default", "app")];
        World::object(stored)["spec"]["tags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tag| tag["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(owners(), ["1", "dev"]);
    // Theirs changes; ours does not care.
    site.stranger("builds", "app", &[("dev", "4")]);
    assert_eq!(site.run(&["plan", "--exit-code"]).0, 0);
    // Ours goes; theirs stays, and so does the stream, which we did not make.
    std::fs::remove_file(site.root().join("source/app.yaml")).unwrap();
    site.define("keep", &["1"]);
    site.apply();
    assert_eq!(owners(), ["dev"]);
    // A tag that another manager applies with another value: told by name, not taken.
    site.push("dev", "ours");
    site.define("app", &["dev"]);
    let (code, out, err) = site.run(&["apply", "--yes"]);
    assert_eq!(code, 5, "{out}{err}");
    assert!(err.contains("`builds` applies this tag") && err.contains("--force-conflicts"), "{out}{err}");
    let (code, out, err) = site.run(&["apply", "--yes", "--force-conflicts"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(site.run(&["plan", "--exit-code"]).0, 0);
}

#[test]
fn what_nobody_keeps_is_adopted_as_it_is() {
    let site = Site::new();
    site.define("app", &["1", "2"]);
    site.apply();
    // As `oc` leaves a stream: with the same tags, applied by nobody.
    site.cluster.world.lock().unwrap().streams.get_mut(&StreamId::new("default", "app")).unwrap().managers.clear();
    let before = site.images("app");
    let (code, out, err) = site.run(&["plan", "--exit-code"]);
    assert!(code == 2 && out.contains("adopted as it is"), "{out}{err}");
    site.apply();
    assert_eq!(site.images("app"), before, "nothing moved");
    // From now on it is ours to remove.
    site.define("app", &["1"]);
    site.apply();
    assert_eq!(site.images("app").len(), 1);
}

#[test]
fn removals_follow_only_from_the_part_of_the_source_that_was_read() {
    let site = Site::new();
    site.define("one", &["1"]);
    site.define("two", &["2"]);
    site.apply();
    std::fs::remove_file(site.root().join("source/two.yaml")).unwrap();
    let (code, out, err) = site.run(&["apply", "--yes", "--include", "one.yaml"]);
    assert_eq!(code, 5, "{out}{err}");
    assert!(err.contains("--change-scope"), "{err}");
    assert_eq!(site.images("two").len(), 1);
    site.apply();
    assert_eq!(site.images("two").len(), 0, "gone from the part that it was written from");
}

#[test]
fn what_may_not_be_seen_is_unknown_and_the_rest_goes_on() {
    let site = Site::new();
    site.define("app", &["1"]);
    for at in 0..4 {
        let text = stream("app", &[("1", &site.from("1"))], "")
            .replace("{name: app}", &format!("{{name: app, namespace: n{at}}}"));
        std::fs::write(site.root().join(format!("source/n{at}.yaml")), text).unwrap();
    }
    site.cluster.world.lock().unwrap().forbidden.insert("n2".to_owned());
    let (code, out, err) = site.run(&["apply", "--yes"]);
    assert_eq!(code, 5, "{out}{err}");
    assert!(err.contains("namespace n2: forbidden") && err.contains("grant `list` on `imagestreams`"), "{err}");
    assert_eq!(site.cluster.world.lock().unwrap().streams.len(), 4);
}

#[test]
fn servers_that_are_busy_are_waited_for_and_broken_ones_told() {
    let site = Site::new();
    site.define("app", &["1"]);
    site.cluster.world.lock().unwrap().faults =
        vec![Fault::Answer(429, Some("0")), Fault::Answer(429, Some("0")), Fault::Answer(503, Some("0"))];
    site.apply();
    site.define("app", &["1", "2"]);
    // A 500 to a write may have been done: it is not sent again, and the next run looks.
    site.cluster.world.lock().unwrap().faults = vec![Fault::Answer(500, None)];
    let (code, out, err) = site.run(&["apply", "--yes"]);
    assert!(matches!(code, 1 | 5), "{code} {out}{err}");
    site.apply();
    assert_eq!(site.images("app").len(), 2);
}

#[test]
fn a_kubeconfig_that_starts_programs_is_refused() {
    let site = Site::new();
    let text = site
        .cluster
        .kubeconfig()
        .replace("{token: hunter2canary}", "{exec: {apiVersion: client.authentication.k8s.io/v1, command: ./evil}}");
    std::fs::write(site.root().join("kubeconfig"), text).unwrap();
    let (code, _, err) = site.run(&["plan"]);
    assert!(code == 1 && err.contains("--allow-exec"), "{err}");
}

#[test]
fn a_cluster_of_many_streams_is_listed_in_pages_and_nothing_else() {
    let site = Site::new();
    let mut text = String::new();
    for at in 0..1000 {
        text += &stream(&format!("s{at}"), &[("1", &site.from("1"))], "")
            .replace("metadata: {", &format!("metadata: {{namespace: n{}, ", at % 20));
    }
    std::fs::write(site.root().join("source/all.yaml"), text).unwrap();
    let (code, out, err) = site.run(&["apply", "--yes", "--quiet"]);
    assert_eq!(code, 0, "{out}{err}");
    site.cluster.server.forget();
    assert_eq!(site.run(&["plan", "--exit-code"]).0, 0);
    assert_eq!(site.cluster.server.count("GET "), 2, "a thousand streams, five hundred a page");
    assert_eq!(site.cluster.server.seen().len(), 2);
}

/// Everything of a stream that should be the same however it came about.
fn end(site: &Site) -> Vec<String> {
    let world = site.cluster.world.lock().unwrap();
    let mut all = Vec::new();
    for (id, stored) in &world.streams {
        for tag in &stored.stream.spec.tags {
            let host = &site.registry.server.host;
            let from = tag.from.as_ref().map(|from| from.name.replace(host.as_str(), "HOST"));
            all.push(format!("{id} spec {} {from:?} {:?}", tag.name, tag.import_policy));
        }
        for list in &stored.stream.status.tags {
            let images: Vec<&str> = list.items.iter().map(|item| item.image.as_str()).collect();
            all.push(format!("{id} status {} {images:?} {}", list.tag, list.conditions.len()));
        }
        for (manager, paths) in &stored.managers {
            all.push(format!("{id} {manager} {}", paths.len()));
        }
    }
    all
}

/// From nothing to two streams, then changes and removals.
fn story(site: &Site, at: usize) {
    if at == 0 {
        site.define("app", &["1", "2", "3", "4"]);
        site.define("old", &["1"]);
    } else {
        site.define("app", &["2", "3", "5"]);
        std::fs::remove_file(site.root().join("source/old.yaml")).unwrap();
        site.push("2", "moved");
    }
}

#[test]
fn a_server_that_vanishes_after_any_request_leaves_nothing_that_the_next_run_does_not_mend() {
    let quiet = Site::new();
    for chapter in 0..2 {
        story(&quiet, chapter);
        let (code, out, err) = quiet.run(&["apply", "--yes", "--refresh"]);
        assert_eq!(code, 0, "{out}{err}");
    }
    let expected = end(&quiet);
    // Beside one another: most of the time they wait for a server that does not come back.
    let cases =
        (0..2).flat_map(|chapter| (0..8).flat_map(move |after| [(chapter, after, false), (chapter, after, true)]));
    let interrupted: usize = std::thread::scope(|scope| {
        let expected = &expected;
        let started: Vec<_> = cases.map(|case| scope.spawn(move || usize::from(interrupt(case, expected)))).collect();
        started.into_iter().map(|case| case.join().unwrap()).sum()
    });
    assert!(interrupted >= 16, "{interrupted}");
}

/// The server vanishes in a chapter after so many requests, the last of them done or not. Whether that was noticed.
fn interrupt((chapter, after, is_done): (usize, usize, bool), expected: &[String]) -> bool {
    let site = Site::new();
    for before in 0..chapter {
        story(&site, before);
        assert_eq!(site.run(&["apply", "--yes", "--refresh", "-q"]).0, 0);
    }
    story(&site, chapter);
    site.cluster.world.lock().unwrap().vanishes = Some((after, is_done));
    let (interrupted, _, _) = site.run(&["apply", "--yes", "--refresh", "-q"]);
    site.cluster.world.lock().unwrap().vanishes = None;
    let (code, out, err) = site.run(&["apply", "--yes", "--refresh"]);
    assert_eq!(code, 0, "{chapter} {after} {is_done}: {out}{err}");
    for later in chapter + 1..2 {
        story(&site, later);
        let (code, out, err) = site.run(&["apply", "--yes", "--refresh"]);
        assert_eq!(code, 0, "{out}{err}");
    }
    assert_eq!(end(&site), expected, "{chapter} {after} {is_done}");
    assert_eq!(site.run(&["plan", "--exit-code", "-q"]).0, 0);
    interrupted != 0
}

#[test]
fn conflicts_that_do_not_end_are_stale_and_the_next_run_goes_on() {
    let site = Site::new();
    site.define("app", &["1"]);
    site.cluster.world.lock().unwrap().faults = vec![Fault::Answer(409, None); 3];
    let (code, out, err) = site.run(&["apply", "--yes"]);
    assert_eq!(code, 4, "{out}{err}");
    site.cluster.world.lock().unwrap().faults.clear();
    site.apply();
    // A stream that vanishes between the plan and the step.
    site.define("app", &["1", "2"]);
    assert_eq!(site.run(&["plan", "--out", "plan.json", "-q"]).0, 0);
    site.cluster.world.lock().unwrap().streams.clear();
    let (code, out, err) = site.run(&["apply", "plan.json"]);
    assert!(code == 4 && out.contains("the stream is gone"), "{code} {out}{err}");
    site.apply();
}

#[test]
fn a_context_alone_asks_the_cluster_what_it_is() {
    let site = Site::new();
    site.define("app", &["1"]);
    let run = |more: &[&str]| {
        let mut command = program(site.root());
        command.args(["plan", "-s", "source", "--kubeconfig", "kubeconfig"]).args(more);
        outcome(command.output().unwrap())
    };
    let (code, out, err) = run(&["--context", "sim"]);
    assert!(code == 0 && out.contains("1 stream to create"), "{out}{err}");
    assert_eq!(site.cluster.server.count("GET /apis/image.openshift.io/v1"), 2, "what it is, and its streams");
    let (code, _, err) = run(&["--context", "other"]);
    assert!(code == 1 && err.contains("other"), "{err}");
    // A config on disk may name the target; one that a revision proposes may not.
    let config = site.root().join("source/streamkeeper.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}target: openshift\n")).unwrap();
    site.cluster.server.forget();
    let (code, _, err) = run(&[]);
    assert_eq!((code, site.cluster.server.count("GET /apis/image")), (0, 1), "{err}");
}

#[test]
fn openshifts_own_controllers_are_no_drift_and_make_nothing_stale() {
    let site = Site::new();
    site.cluster.world.lock().unwrap().controller = true;
    site.define("app", &["1", "2", "3", "4"]);
    site.apply();
    site.define("app", &["1", "2", "5"]);
    site.apply();
    assert_eq!(site.images("app").len(), 3);
    // It imports again, and again: our next plan is empty, and so it is when an image was found to be gone.
    let id = StreamId::new("default", "app");
    for _ in 0..2 {
        site.cluster.world.lock().unwrap().import_controller(&id, true);
        let (code, out, err) = site.run(&["plan", "--exit-code"]);
        assert_eq!(code, 0, "{out}{err}");
    }
}

#[test]
fn what_somebody_edits_of_ours_is_put_back_and_what_they_add_is_left() {
    let site = Site::new();
    site.define("app", &["1", "2"]);
    site.apply();
    let (id, three) = (StreamId::new("default", "app"), site.from("3"));
    site.cluster.world.lock().unwrap().edit(&id, |stream| {
        stream.metadata.labels.insert("theirs".to_owned(), "yes".to_owned());
        let tag = stream.spec.tags.iter_mut().find(|tag| tag.name == "1").unwrap();
        tag.from.as_mut().unwrap().name.clone_from(&three);
        tag.import_policy.scheduled = true;
        tag.annotations.insert("theirs".to_owned(), "yes".to_owned());
    });
    let (code, out, err) = site.run(&["plan", "--exit-code"]);
    assert!(code == 2 && out.contains("from.name, importPolicy.scheduled"), "{out}{err}");
    site.apply();
    let world = site.cluster.world.lock().unwrap();
    let stream = &world.streams[&id].stream;
    let tag = stream.spec_tag("1").unwrap();
    assert!(tag.from.as_ref().unwrap().name.ends_with("app:1") && !tag.import_policy.scheduled, "{tag:?}");
    assert!(tag.annotations.contains_key("theirs") && stream.metadata.labels.contains_key("theirs"));
}

#[test]
fn without_a_name_of_its_own_a_source_removes_nothing_from_a_cluster() {
    let site = Site::new();
    let config = site.root().join("source/streamkeeper.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("fieldManager: streamkeeper-tests\n", "")).unwrap();
    site.define("one", &["1"]);
    site.define("two", &["2"]);
    site.apply();
    std::fs::remove_file(site.root().join("source/two.yaml")).unwrap();
    let (code, out, err) = site.run(&["apply", "--yes"]);
    assert_eq!(code, 5, "{out}{err}");
    assert!(err.contains("sets `identity` or `fieldManager`"), "{err}");
    assert_eq!(site.images("two").len(), 1);
}

#[test]
fn a_tag_that_somebody_made_anew_is_theirs() {
    let site = Site::new();
    site.define("app", &["1", "2"]);
    site.apply();
    site.define("app", &["1"]);
    site.apply();
    // Our claim to it went with it.
    let id = StreamId::new("default", "app");
    let text = {
        let world = site.cluster.world.lock().unwrap();
        World::object(&world.streams[&id])["metadata"]["managedFields"].to_string()
    };
    assert!(!text.contains("\\\"2\\\""), "{text}");
    let two = site.from("2");
    site.cluster.world.lock().unwrap().edit(&id, |stream| {
        let mut tag = stream.spec.tags[0].clone();
        "2".clone_into(&mut tag.name);
        tag.from.as_mut().unwrap().name = two;
        stream.spec.tags.push(tag);
    });
    assert_eq!(site.run(&["plan", "--exit-code"]).0, 0, "it is not ours to remove");
}

#[test]
fn what_the_server_warns_of_is_shown_once() {
    let site = Site::new();
    site.cluster.world.lock().unwrap().warning = Some("spec.x is deprecated \u{202e}x".to_owned());
    site.define("one", &["1"]);
    site.define("two", &["2"]);
    let (code, _, err) = site.run(&["apply", "--yes"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(err.matches("the server warns: spec.x is deprecated").count(), 1, "{err}");
    assert!(!err.contains('\u{202e}'), "{err}");
}

#[test]
fn aliases_that_the_server_leaves_behind_are_brought_along() {
    let site = Site::new();
    let chain = |from: &str| {
        let text = format!(
            "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {{name: chain}}\nspec:\n  tags:\n  - {{name: r, reference: true, from: {{kind: DockerImage, name: '{}'}}}}\n  - {{name: b, from: {{kind: ImageStreamTag, name: r}}}}\n  - {{name: a, from: {{kind: ImageStreamTag, name: b}}}}\n",
            site.from(from)
        );
        std::fs::write(site.root().join("source/chain.yaml"), text).unwrap();
    };
    let id = StreamId::new("default", "chain");
    let heads = || -> Vec<String> {
        let world = site.cluster.world.lock().unwrap();
        let lists = world.streams[&id].stream.status.tags.iter();
        lists.map(|list| list.items[0].docker_image_reference.clone()).collect()
    };
    chain("1");
    site.apply();
    chain("2");
    site.apply();
    assert_eq!(heads(), vec![site.from("2"); 3]);
    // One that somebody else has left behind is seen, too.
    let alias = site.from("4");
    site.cluster.world.lock().unwrap().streams.get_mut(&id).unwrap().stream.status.tags[0].items[0]
        .docker_image_reference = alias;
    let (code, out, err) = site.run(&["plan", "--exit-code"]);
    assert!(code == 2 && out.contains("move a with default/chain:b"), "{code} {out}{err}");
    site.apply();
    assert_eq!(heads(), vec![site.from("2"); 3]);
}

#[test]
fn labels_that_another_manager_applies_are_left_and_told() {
    let site = Site::new();
    let wanted = |value: &str| json!({"apiVersion": "image.openshift.io/v1", "kind": "ImageStream", "metadata": {"name": "app", "namespace": "default", "labels": {"team": value}}, "spec": {}});
    site.cluster.world.lock().unwrap().put("builds", &wanted("theirs"));
    let text = stream("app", &[("1", &site.from("1"))], "")
        .replace("{name: app}", "{name: app, labels: {team: ours, part: shop}}");
    std::fs::write(site.root().join("source/app.yaml"), text).unwrap();
    let (code, out, err) = site.run(&["apply", "--yes"]);
    assert!(
        code == 5 && err.contains("`builds` applies `labels.team`") && err.contains("--force-conflicts"),
        "{code} {out}{err}"
    );
    let labels =
        || site.cluster.world.lock().unwrap().streams[&StreamId::new("default", "app")].stream.metadata.labels.clone();
    assert_eq!((labels()["team"].as_str(), labels()["part"].as_str()), ("theirs", "shop"), "{out}");
    // They may change it without us in their way.
    site.cluster.world.lock().unwrap().put("builds", &wanted("other"));
    let (code, out, err) = site.run(&["plan", "--exit-code"]);
    assert_eq!(code, 2, "{out}{err}");
    let (code, out, err) = site.run(&["apply", "--yes", "--force-conflicts"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(labels()["team"], "ours");
}

#[test]
fn what_is_ours_in_a_namespace_that_nobody_names_any_more_goes() {
    let site = Site::new();
    let text = stream("app", &[("1", &site.from("1"))], "").replace("metadata: {", "metadata: {namespace: old, ");
    std::fs::write(site.root().join("source/app.yaml"), text).unwrap();
    site.define("keep", &["1"]);
    site.apply();
    std::fs::remove_file(site.root().join("source/app.yaml")).unwrap();
    site.apply();
    assert!(!site.cluster.world.lock().unwrap().streams.contains_key(&StreamId::new("old", "app")));
}

#[test]
fn new_streams_take_no_more_requests_than_they_must() {
    const STREAMS: usize = 60;
    let site = Site::new();
    for at in 0..STREAMS {
        site.define(&format!("s{at}"), &["1", "2", "3", "4"]);
    }
    let (code, out, err) = site.run(&["plan"]);
    assert_eq!(code, 0, "{out}{err}");
    site.cluster.server.forget();
    site.apply();
    let all = site.cluster.server.seen().len();
    assert!(all <= STREAMS * 3 + STREAMS * 4 / 3, "{all} requests");
}
