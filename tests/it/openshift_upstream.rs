//! Upstream images on OpenShift: whose schedule they come on, who looks them up; and why what differs is equal.

use serde_json::json;
use streamkeeper::openshift::StreamId;

use crate::registry::stream;
use crate::site::Site;
use crate::support::{outcome, program};

#[test]
fn scheduled_tags_are_left_to_openshift_or_taken_over() {
    let site = Site::new();
    let id = StreamId::new("default", "app");
    let scheduled = |site: &Site| {
        let world = site.cluster.world.lock().unwrap();
        world.streams[&id].stream.spec_tag("1").unwrap().import_policy.scheduled
    };
    // What registries said grows old in a second.
    let age = || std::thread::sleep(std::time::Duration::from_millis(1100));
    let config = site.root().join("source/streamkeeper.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}policy: {{scheduleInterval: 1s}}\n")).unwrap();
    let text = stream("app", &[("1", &site.from("1"))], ", scheduled: true");
    std::fs::write(site.root().join("source/app.yaml"), text).unwrap();
    site.apply();
    assert!(scheduled(&site));
    site.push("1", "moved");
    age();
    // Nothing for us to do, and nothing missing; but it is told.
    let (code, out, err) = site.run(&["plan", "--exit-code"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("until OpenShift imports them on its schedule") && out.contains("`import: ours`"), "{out}");
    let (code, ..) = site.run(&["apply", "--yes"]);
    assert_eq!(code, 0);
    site.cluster.world.lock().unwrap().import_controller(&id, true);
    let (code, out, _) = site.run(&["plan", "--exit-code"]);
    assert!(code == 0 && !out.contains("schedule"), "{out}");
    // Taken over: OpenShift is told no longer to import it, and what moves is a step of ours.
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}import: ours\n")).unwrap();
    site.apply();
    assert!(!scheduled(&site));
    let before = site.images("app")["1"].clone();
    site.push("1", "moved again");
    age();
    let (code, out, err) = site.run(&["apply", "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_ne!(site.images("app")["1"], before);
}

#[test]
fn images_that_only_the_cluster_can_reach_are_looked_up_by_it() {
    let site = Site::new();
    // From here the registry may not even be asked.
    std::fs::write(site.root().join("source/streamkeeper.yaml"), "fieldManager: streamkeeper-tests\n").unwrap();
    let (whole, amd64, arm64) = {
        let mut held = site.registry.content.lock().unwrap();
        let images = ["amd64", "arm64"].map(|platform| held.image("lab/app", platform, "multi"));
        (held.list("lab/app", &[("amd64", &images[0]), ("arm64", &images[1])]), images[0].clone(), images[1].clone())
    };
    {
        let mut world = site.cluster.world.lock().unwrap();
        let list = [(&amd64, "amd64"), (&arm64, "arm64")];
        let list = list.map(|(digest, platform)| (digest.clone(), "linux".to_owned(), platform.to_owned()));
        world.lists.insert(whole.clone(), list.to_vec());
        world.images.insert(site.from("multi"), (whole, amd64.clone()));
        let denied = json!({"metadata": {}, "status": "Failure", "reason": "Unauthorized", "code": 401, "message": "you may not have access to the container image \"x\""});
        world.failures.insert(site.from("secret"), denied);
    }
    site.define("app", &["1", "multi", "secret", "gone"]);
    let (code, _, err) = site.run(&["plan"]);
    assert!(code == 0 && err.contains("asked"), "{err}");
    site.cluster.server.forget();
    let (code, out, err) = site.run(&["plan", "--resolve", "cluster", "--out", "plan.json"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        out.contains("secret") && out.replace("\n      ", " ").contains("the cluster says: you may not have access"),
        "{out}"
    );
    assert!(out.contains("gone") && out.contains("image not found [SK720]"), "{out}");
    assert!(site.cluster.world.lock().unwrap().streams.is_empty(), "nothing was written");
    let (code, out, err) = site.run(&["apply", "plan.json", "--resolve", "cluster"]);
    assert_eq!(code, 5, "{out}{err}");
    assert_eq!(site.images("app")["multi"], amd64);
    // Without a cluster there is nobody to ask.
    let mut command = program(site.root());
    let (code, _, err) = outcome(command.args(["plan", "-s", "source", "--resolve", "cluster"]).output().unwrap());
    assert!(code == 64 && err.contains("without a cluster"), "{code} {err}");
}

#[test]
fn why_two_values_are_equal_is_named() {
    let site = Site::new();
    let config = site.root().join("source/streamkeeper.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}import: ours\n")).unwrap();
    let text = format!(
        "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {{name: app}}\nspec:\n  tags:\n  - {{name: '1', from: {{kind: DockerImage, name: '{}'}}, importPolicy: {{insecure: true, scheduled: true}}}}\n  - {{name: latest, from: {{kind: ImageStreamTag, namespace: default, name: 'app:1'}}}}\n",
        site.from("1")
    );
    std::fs::write(site.root().join("source/app.yaml"), text).unwrap();
    site.apply();
    let (id, three) = (StreamId::new("default", "app"), site.from("3"));
    site.cluster.world.lock().unwrap().edit(&id, |stream| {
        stream.metadata.labels.insert("theirs".to_owned(), "yes\u{1b}[31m".to_owned());
        let mut oc = stream.spec.tags[0].clone();
        "oc".clone_into(&mut oc.name);
        oc.from.as_mut().unwrap().name.clone_from(&three);
        stream.spec.tags.push(oc);
        let latest = stream.spec.tags.iter_mut().find(|tag| tag.name == "latest").unwrap();
        let from = latest.from.as_mut().unwrap();
        from.namespace.clear();
        "1".clone_into(&mut from.name);
        latest.annotations.insert("seen".to_owned(), "by".to_owned());
    });
    site.stranger("builds", "app", &[("dev", "3")]);
    let (code, _, err) = site.run(&["plan", "--exit-code", "--why"]);
    assert_eq!(code, 0, "{err}");
    for (rule, place) in [
        ("The namespace of the stream itself", "default/app:latest from.namespace: Git `default`, target nothing"),
        ("A tag of the same stream is", "default/app:latest from.name: Git `app:1`, target `1`"),
        ("The server counts generations", "default/app:1 generation: Git nothing"),
        ("OpenShift's importer writes it", "annotations.openshift.io/image.dockerRepositoryCheck"),
        ("Somebody else put it there", "default/app:oc tag: Git nothing"),
        ("Somebody else put it there", "default/app labels.theirs: Git nothing"),
        ("Somebody else put it there", "default/app:latest annotations.seen"),
        ("Another manager applies it", "default/app:dev tag"),
        ("`import: ours` keeps", "default/app:1 importPolicy.scheduled: Git `true`, target `false`"),
    ] {
        let section = err.split(rule).nth(1).unwrap_or_else(|| panic!("{rule}: {err}"));
        let section: String =
            section.lines().skip(1).take_while(|line| line.starts_with("      ")).collect::<Vec<_>>().join("\n");
        assert!(section.contains(place), "{rule}: {place}: {err}");
    }
    assert!(!err.contains('\u{1b}'), "{err}");
}
