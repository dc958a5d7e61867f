//! OpenShift as a target: what must not be touched, or not be believed.

use serde_json::json;
use streamkeeper::openshift::StreamId;

use crate::registry::stream;
use crate::site::Site;
use crate::support::{outcome, program};
use crate::workloads::workload;

fn in_namespace(site: &Site, namespace: &str, name: &str) {
    let text = stream(name, &[("1", &site.from("1"))], "")
        .replace("metadata: {", &format!("metadata: {{namespace: {namespace}, "));
    std::fs::write(site.root().join(format!("source/{namespace}-{name}.yaml")), text).unwrap();
}

fn configure(site: &Site, more: &str) {
    let path = site.root().join("source/streamkeeper.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text + more).unwrap();
}

#[test]
fn namespaces_of_the_config_bound_what_is_removed() {
    let site = Site::new();
    for namespace in ["a", "b", "c", "d", "elsewhere"] {
        in_namespace(&site, namespace, "app");
    }
    site.apply();
    // Another config, for a part of the same cluster, as the same manager.
    configure(&site, "namespaces: [a, b, c, d]\n");
    std::fs::remove_file(site.root().join("source/elsewhere-app.yaml")).unwrap();
    std::fs::remove_file(site.root().join("source/d-app.yaml")).unwrap();
    site.apply();
    let world = site.cluster.world.lock().unwrap();
    let has = |namespace: &str| world.streams.contains_key(&StreamId::new(namespace, "app"));
    assert!(has("elsewhere") && !has("d"));
}

#[test]
fn a_copy_of_a_stream_of_ours_is_not_ours() {
    let site = Site::new();
    site.define("app", &["1"]);
    site.apply();
    {
        // As `oc get -o yaml | oc create` makes it: annotations and all, applied by nobody.
        let mut world = site.cluster.world.lock().unwrap();
        let mut copy = world.streams[&StreamId::new("default", "app")].clone();
        assert!(copy.stream.metadata.annotations.keys().any(|key| key.starts_with("streamkeeper.io/created")));
        copy.managers.clear();
        copy.stream.spec.tags.clear();
        copy.stream.status.tags.clear();
        "copy".clone_into(&mut copy.stream.metadata.name);
        world.streams.insert(StreamId::new("default", "copy"), copy);
    }
    let (code, out, err) = site.run(&["plan", "--exit-code"]);
    assert_eq!(code, 0, "{out}{err}");
}

#[test]
fn an_import_of_a_repository_that_went_otherwise_goes_on() {
    let site = Site::new();
    let text = format!(
        "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {{name: whole}}\nspec: {{dockerImageRepository: '{}/lab/app'}}\n",
        site.registry.server.host
    );
    std::fs::write(site.root().join("source/whole.yaml"), text).unwrap();
    let path = site.root().join("source/streamkeeper.yaml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replace("private: true", "private: true, insecure: true")).unwrap();
    let (code, out, err) = site.run(&["plan", "--out", "plan.json"]);
    assert_eq!(code, 0, "{out}{err}");
    let gone = site.cluster.world.lock().unwrap().images.remove(&site.from("5"));
    let (code, out, err) = site.run(&["apply", "plan.json"]);
    assert!(code == 5 && out.contains("diverged"), "{code} {out}{err}");
    site.cluster.world.lock().unwrap().images.insert(site.from("5"), gone.unwrap());
    site.apply();
    assert_eq!(site.images("whole").len(), 5);
    // And all of it goes when it is no longer defined: its tags came with it.
    std::fs::remove_file(site.root().join("source/whole.yaml")).unwrap();
    site.define("keep", &["1"]);
    site.apply();
    assert!(site.images("whole").is_empty());
}

#[test]
fn with_an_integrated_registry_plans_are_empty_and_roll_outs_as_predicted() {
    let site = Site::new();
    let host = "image-registry.openshift-image-registry.svc:5000";
    {
        let mut world = site.cluster.world.lock().unwrap();
        world.rules.internal_registry = Some(host.to_owned());
        world.triggers = true;
    }
    let text = stream("app", &[("1", &site.from("1"))], "").replace("}}\n", "}, referencePolicy: {type: Local}}\n");
    std::fs::write(site.root().join("source/app.yaml"), &text).unwrap();
    site.apply();
    // A pushed image, which a tag of another stream copies: its pull spec is that of the stream that uses it.
    let pushed = format!("sha256:{}", "7".repeat(64));
    site.cluster.world.lock().unwrap().edit(&StreamId::new("default", "app"), |_| {});
    {
        let mut world = site.cluster.world.lock().unwrap();
        let stored = world.streams.get_mut(&StreamId::new("default", "app")).unwrap();
        let mut list = stored.stream.status.tags[0].clone();
        "pushed".clone_into(&mut list.tag);
        list.items[0].image.clone_from(&pushed);
        list.items[0].docker_image_reference = format!("{host}/default/app@{pushed}");
        stored.stream.status.tags.push(list);
    }
    let copies = "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {name: prod}\nspec: {tags: [{name: live, from: {kind: ImageStreamTag, name: 'app:pushed'}}]}\n";
    std::fs::write(site.root().join("source/prod.yaml"), copies).unwrap();
    site.apply();
    site.cluster.world.lock().unwrap().deploy("deployments", &workload("Deployment", "web", "app:1"));
    site.push("1", "moved");
    let (code, out, err) = site.run(&["apply", "--yes", "--refresh", "app:1", "--wait=5s"]);
    assert!(code == 0 && out.contains("1 workload follows"), "{code} {out}{err}");
}

#[test]
fn a_stream_that_cannot_be_read_is_unknown_and_the_rest_goes_on() {
    let site = Site::new();
    site.define("app", &["1"]);
    site.define("odd", &["1"]);
    let odd = json!({"metadata": {"name": "odd", "namespace": "default"}, "spec": {"tags": "none of your business \u{1b}[31m"}});
    site.cluster.world.lock().unwrap().malformed = Some(odd);
    let (code, out, err) = site.run(&["apply", "--yes"]);
    assert!(code == 5 && err.contains("default/odd: malformed answer"), "{code} {out}{err}");
    assert!(!err.contains('\u{1b}'), "{err}");
    assert_eq!(site.images("app").len(), 1);
}

#[test]
fn whoever_names_a_cluster_means_it_and_a_saved_plan_decides_not_as_whom() {
    let site = Site::new();
    site.define("app", &["1"]);
    let run = |arguments: &[&str]| {
        let mut command = program(site.root());
        outcome(command.args(arguments).args(["-s", "source", "--kubeconfig", "kubeconfig"]).output().unwrap())
    };
    // The config stands elsewhere. Without it the field manager is another one, whatever the plan says.
    std::fs::rename(site.root().join("source/streamkeeper.yaml"), site.root().join("c.yaml")).unwrap();
    let (code, out, err) = run(&["plan", "--config", "c.yaml", "--out", "plan.json"]);
    assert!(code == 0 && err.contains("--config c.yaml"), "{out}{err}");
    let (code, _, err) = run(&["apply", "plan.json"]);
    assert!(code == 3 && err.contains("as streamkeeper-tests`, and this is"), "{code} {err}");
    let (code, out, err) = run(&["apply", "plan.json", "--config", "c.yaml"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(site.images("app").len(), 1, "the cluster was written, not a store");
}

#[test]
fn a_label_that_somebody_adds_is_not_ours_to_remove() {
    let site = Site::new();
    site.define("app", &["1"]);
    site.apply();
    let id = StreamId::new("default", "app");
    site.cluster.world.lock().unwrap().edit(&id, |stream| {
        stream.metadata.labels.insert("theirs".to_owned(), "yes".to_owned());
    });
    let (code, out, err) = site.run(&["plan", "--exit-code"]);
    assert_eq!(code, 0, "{out}{err}");
    site.define("app", &["1", "2"]);
    site.apply();
    assert!(site.cluster.world.lock().unwrap().streams[&id].stream.metadata.labels.contains_key("theirs"));
}
