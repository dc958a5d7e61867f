//! What a source manages is its own: no other source changes or removes it, whatever its field manager is called.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use streamkeeper::openshift::StreamId;

use crate::sim::openshift::World;
use crate::site::Site;
use crate::support::{outcome, program, run};

impl Site {
    /// The program on another source of the same cluster, which shares the field manager.
    fn other(&self, name: &str, arguments: &[&str]) -> (i32, String, String) {
        let mut command = program(self.root());
        command.args(arguments).args(["-s", name, "--target", self.target, "--kubeconfig", "kubeconfig"]);
        outcome(command.output().unwrap())
    }

    fn define_in(&self, source: &str, name: &str, tag: &str, image: &str) {
        let folder = self.root().join(source);
        std::fs::create_dir_all(&folder).unwrap();
        let text = format!(
            "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {{name: {name}}}\nspec:\n  tags:\n    - {{name: \"{tag}\", from: {{kind: DockerImage, name: '{}'}}, importPolicy: {{insecure: true}}}}\n",
            self.from(image)
        );
        std::fs::write(folder.join(format!("{name}.yaml")), text).unwrap();
        std::fs::copy(self.root().join("source/streamkeeper.yaml"), folder.join("streamkeeper.yaml")).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let world = self.cluster.world.lock().unwrap();
        world.streams.keys().chain(world.custom.keys()).map(ToString::to_string).collect()
    }

    /// A stream as the server shows it, and its tags that have an image.
    fn shown(&self, name: &str) -> (Value, Vec<String>) {
        let (world, id) = (self.cluster.world.lock().unwrap(), StreamId::new("default", name));
        let object = match (world.streams.get(&id), world.custom.get(&id)) {
            (Some(stored), _) => World::object(stored),
            (None, Some(custom)) => World::custom_object(custom),
            (None, None) => panic!("there is no stream {name}"),
        };
        let tags = object["status"]["tags"].as_array().unwrap().iter();
        let tags = tags.map(|list| format!("{}={}", list["tag"], list["items"][0]["image"])).collect();
        (object, tags)
    }
}

fn two_sources_of_one_manager(site: &Site) {
    site.define("app", &["1"]);
    site.apply();
    // It shares `fieldManager: streamkeeper-tests`, and defines something else.
    site.define_in("second", "web", "1", "2");
    let (code, out, err) = site.other("second", &["apply", "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(site.names(), ["default/app", "default/web"]);
    for source in ["source", "second", "source", "second"] {
        let (code, out, err) = site.other(source, &["apply", "--yes", "--change-scope", "--force-conflicts"]);
        assert_eq!(code, 0, "{out}{err}");
        assert_eq!(site.names(), ["default/app", "default/web"]);
    }
    // Nor does it change a stream that the other one manages.
    site.define_in("second", "app", "1", "3");
    let before = site.shown("app").1;
    let (code, out, err) = site.other("second", &["apply", "--yes", "--force-conflicts"]);
    assert!(code == 5 && err.contains("manages it") && err.contains("/source`"), "{code} {out}{err}");
    assert_eq!(site.shown("app").1, before);
    // Its own goes as before.
    std::fs::remove_file(site.root().join("second/web.yaml")).unwrap();
    std::fs::remove_file(site.root().join("second/app.yaml")).unwrap();
    let (code, out, err) = site.other("second", &["apply", "--yes", "--allow-empty"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(site.names(), ["default/app"]);
}

#[test]
fn source_leaves_streams_of_another_source_on_openshift() {
    two_sources_of_one_manager(&Site::new());
}

#[test]
fn source_leaves_streams_of_another_source_on_kubernetes() {
    two_sources_of_one_manager(&Site::plain());
}

#[test]
fn stream_without_a_recorded_source_is_not_removed() {
    let site = Site::new();
    site.define("app", &["1"]);
    site.define("web", &["1"]);
    site.apply();
    // As another program, or one of long ago, has left it.
    {
        let mut world = site.cluster.world.lock().unwrap();
        let stored = world.streams.get_mut(&StreamId::new("default", "web")).unwrap();
        stored.stream.metadata.annotations.retain(|key, _| !key.starts_with("streamkeeper.io/source."));
    }
    std::fs::remove_file(site.root().join("source/web.yaml")).unwrap();
    let (code, out, err) = site.run(&["apply", "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(site.names(), ["default/app", "default/web"]);
}

#[test]
fn two_sources_share_a_store_and_leave_each_other_alone() {
    let site = Site::new();
    let at =
        |source: &str, arguments: &[&str]| run(site.root(), &[arguments, &["-s", source, "--store", "st"]].concat());
    site.define_in("one", "app", "1", "1");
    site.define_in("two", "web", "1", "2");
    for source in ["one", "two", "one", "two"] {
        let (code, out, err) = at(source, &["apply", "--yes", "--change-scope"]);
        assert_eq!(code, 0, "{out}{err}");
    }
    let names = || at("one", &["get", "-o", "name"]).1;
    assert!(names().contains("/app") && names().contains("/web"), "{}", names());
    // A tag of its own in a stream of the other, and one that the other manages.
    site.define_in("two", "app", "1", "3");
    let (code, out, err) = at("two", &["apply", "--yes", "--force-conflicts"]);
    assert!(code == 5 && err.contains("manages it"), "{code} {out}{err}");
    site.define_in("two", "app", "2", "3");
    let (code, out, err) = at("two", &["apply", "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    let (code, out, _) = at("one", &["plan", "--exit-code"]);
    assert_eq!(code, 0, "{out}");
    std::fs::remove_file(site.root().join("two/app.yaml")).unwrap();
    let (code, out, err) = at("two", &["apply", "--yes"]);
    assert!(code == 0 && err.contains("default/app: 1 tag deleted"), "{out}{err}");
    let tags = at("one", &["get", "istag", "-o", "name"]).1;
    assert!(tags.contains("app:1") && !tags.contains("app:2"), "{tags}");
}

#[test]
fn run_refuses_two_sources_of_one_manager_on_one_target() {
    let site = Site::new();
    site.define("app", &["1"]);
    site.define_in("second", "web", "1", "2");
    let config = "fieldManager: shared\nrun:\n  sources:\n    - {name: a, source: source, config: run.yaml}\n    - {name: b, source: second, config: run.yaml}\n  targets: [{name: c, target: openshift, kubeconfig: kubeconfig}]\n";
    std::fs::write(site.root().join("run.yaml"), config).unwrap();
    let (code, out, err) = run(site.root(), &["run", "--config", "run.yaml"]);
    assert!(code == 3 && err.contains("would both manage") && err.contains("`shared`"), "{code} {out}{err}");
}

#[test]
fn field_manager_follows_from_the_source() {
    let site = Site::new();
    let config = site.root().join("source/streamkeeper.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        text.replace("fieldManager: streamkeeper-tests\n", "identity: git.example.com/team/streams\n"),
    )
    .unwrap();
    site.define("app", &["1"]);
    site.apply();
    let manager = {
        let world = site.cluster.world.lock().unwrap();
        let object = World::object(&world.streams[&StreamId::new("default", "app")]);
        let entries = object["metadata"]["managedFields"].as_array().unwrap().clone();
        let applies = entries.iter().find(|entry| entry["operation"] == "Apply").unwrap()["manager"].clone();
        let manager = applies.as_str().unwrap().to_owned();
        let annotation = format!("streamkeeper.io/source.{manager}");
        assert_eq!(object["metadata"]["annotations"][&annotation], "git.example.com/team/streams");
        manager
    };
    assert!(manager.starts_with("streamkeeper-") && manager.len() == 25, "{manager}");
    let (_, out, _) = site.run(&["plan", "--format", "json"]);
    assert!(out.contains("source git.example.com/team/streams, folder"), "{out}");
}

fn renamed(site: &Site) {
    site.define("app", &["1", "2"]);
    site.define("gone", &["3"]);
    site.apply();
    let before = site.shown("app").0["spec"]["tags"][0].clone();
    let config = site.root().join("source/streamkeeper.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace(
        "fieldManager: streamkeeper-tests\n",
        "fieldManager: renamed\npreviousFieldManagers: [streamkeeper-tests]\n",
    );
    std::fs::write(&config, text).unwrap();
    // A tag and a stream go in the same commit as the old name.
    site.define("app", &["1"]);
    std::fs::remove_file(site.root().join("source/gone.yaml")).unwrap();
    let (code, out, err) = site.run(&["plan"]);
    assert!(code == 0 && out.contains("remove tag 2") && out.contains("gone"), "{out}{err}");
    site.apply();
    assert_eq!(site.names(), ["default/app"]);
    let (object, tags) = site.shown("app");
    assert!(tags.len() == 1 && object["spec"]["tags"] == json!([before]), "nothing was imported again: {object:#}");
    let managers: Vec<&str> = object["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["operation"] == "Apply" && entry["fieldsV1"] != json!({}))
        .map(|entry| entry["manager"].as_str().unwrap())
        .collect();
    assert_eq!(managers, ["renamed"], "{object:#}");
    let keys = object["metadata"]["annotations"].as_object().unwrap().keys();
    assert!(keys.clone().all(|key| !key.ends_with("streamkeeper-tests")), "{keys:?}");
    assert!(keys.clone().any(|key| key == "streamkeeper.io/created.renamed"), "{keys:?}");
    let (code, out, _) = site.run(&["plan", "--exit-code"]);
    assert_eq!(code, 0, "{out}");
    // Without the old name in the config, nothing has changed.
    let text = std::fs::read_to_string(&config).unwrap().replace("previousFieldManagers: [streamkeeper-tests]\n", "");
    std::fs::write(&config, text).unwrap();
    let (code, out, _) = site.run(&["plan", "--exit-code"]);
    assert_eq!(code, 0, "{out}");
}

#[test]
fn renamed_field_manager_takes_over_on_openshift() {
    renamed(&Site::new());
}

#[test]
fn renamed_field_manager_takes_over_on_kubernetes() {
    renamed(&Site::plain());
}

/// Numbers that differ, and are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// Tags with what they are filled from and the image they have, by `stream:tag`.
type Tags = BTreeMap<String, (String, String)>;

fn tags_of(list: &Value) -> Tags {
    let mut tags = Tags::new();
    for stream in list["items"].as_array().into_iter().flatten() {
        let name = stream["metadata"]["name"].as_str().unwrap();
        for tag in stream["spec"]["tags"].as_array().into_iter().flatten() {
            let tag_name = tag["name"].as_str().unwrap();
            let lists = stream["status"]["tags"].as_array().into_iter().flatten();
            let image =
                lists.filter(|list| list["tag"] == tag["name"]).map(|list| list["items"][0]["image"].to_string());
            tags.insert(format!("{name}:{tag_name}"), (tag["from"]["name"].to_string(), image.collect()));
        }
    }
    tags
}

/// A random revision of a source: some of the streams that both like to define, each with some tags.
fn revise(site: &Site, source: &str, random: &mut Random) {
    let folder = site.root().join(source);
    for name in ["a", "b", "c", "d"] {
        let path = folder.join(format!("{name}.yaml"));
        let tags: Vec<&str> = ["1", "2", "3"].into_iter().filter(|_| random.below(2) == 0).collect();
        if random.below(3) == 0 || tags.is_empty() {
            let _ = std::fs::remove_file(path);
            continue;
        }
        let froms: Vec<String> = tags.iter().map(|_| site.from(&(1 + random.below(5)).to_string())).collect();
        let tags: Vec<(&str, &str)> = tags.iter().copied().zip(froms.iter().map(String::as_str)).collect();
        std::fs::write(path, crate::registry::stream(name, &tags, "")).unwrap();
    }
}

/// A hundred revisions of each of two sources, in any order, which share target, config and field manager, and like the same names. What
/// a source has made is its own until it removes it: nothing that the other does writes or removes it, whatever flags it is given.
fn two_sources_in_random_order(target: &'static str, plain: Option<bool>) {
    let mut site = Site::new();
    site.target = target;
    site.cluster.world.lock().unwrap().plain = plain;
    std::fs::create_dir(site.root().join("second")).unwrap();
    std::fs::copy(site.root().join("source/streamkeeper.yaml"), site.root().join("second/streamkeeper.yaml")).unwrap();
    let run = |source: &str, arguments: &[&str]| {
        let mut command = program(site.root());
        command.args(arguments).args(["-s", source, "--target", target]);
        match target {
            "store" => command.args(["--store", "store"]),
            _ => command.args(["--kubeconfig", "kubeconfig"]),
        };
        outcome(command.output().unwrap())
    };
    let mut random = Random(7);
    let (mut owners, mut before) = (BTreeMap::<String, &str>::new(), Tags::new());
    let (mut left, mut held_back, mut changes) = ([100, 100], 0, 0);
    while left[0] + left[1] > 0 {
        let at = usize::from(left[0] == 0 || (left[1] > 0 && random.below(2) == 0));
        left[at] -= 1;
        let source = ["source", "second"][at];
        revise(&site, source, &mut random);
        let mut arguments = vec!["apply", "--yes", "--max-removals", "99", "--allow-empty", "--change-scope"];
        if random.below(2) == 0 && target != "store" {
            arguments.push("--force-conflicts");
        }
        let (code, out, err) = run(source, &arguments);
        assert!(matches!(code, 0 | 5), "{source}: {code} {out}{err}");
        held_back += usize::from(code == 5);
        let (_, list, err) = run(source, &["get", "is", "-o", "json"]);
        let list: Value = serde_json::from_str(&list).unwrap_or_else(|error| panic!("{error}: {list}{err}"));
        let now = tags_of(&list);
        for (tag, value) in &before {
            if now.get(tag) != Some(value) {
                assert_eq!(owners[tag], source, "{target}: {source} has changed {tag}: {value:?}, {:?}", now.get(tag));
                changes += 1;
            }
        }
        owners.retain(|tag, _| now.contains_key(tag));
        for tag in now.keys() {
            owners.entry(tag.clone()).or_insert(source);
        }
        before = now;
    }
    assert!(held_back > 10 && changes > 50, "they did get in each other's way: {held_back}, {changes}");
}

#[test]
fn two_hundred_random_revisions_of_two_sources_on_openshift() {
    two_sources_in_random_order("openshift", None);
}

#[test]
fn two_hundred_random_revisions_of_two_sources_on_kubernetes() {
    two_sources_in_random_order("kubernetes", Some(true));
}

#[test]
fn two_hundred_random_revisions_of_two_sources_on_the_store() {
    two_sources_in_random_order("store", None);
}
