//! `run` on a cluster: who of several processes writes, and what becomes of it when that one is gone.

use std::time::{Duration, Instant};

use crate::daemon::Daemon;
use crate::kubernetes_workloads::images;
use crate::site::Site;
use crate::support::program;
use crate::workloads::workload;

impl Site {
    fn start(&self) -> Daemon {
        let mut command = program(self.root());
        command.args(["run", "--log", "json", "-s", "source", "--target", self.target, "--kubeconfig", "kubeconfig"]);
        Daemon::spawn(command)
    }

    fn configure_run(&self, text: &str) {
        let path = self.root().join("source/streamkeeper.yaml");
        let before = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, format!("{before}{text}\n")).unwrap();
    }

    /// Somebody sets the image of the Deployment `web`.
    fn by_hand(&self) {
        self.edit("deployments", "web", |object| {
            object["spec"]["template"]["spec"]["containers"][0]["image"] = "byhand:1".into();
        });
    }

    fn until(&self, daemon: &Daemon, what: impl Fn() -> bool) -> Duration {
        let since = Instant::now();
        while !what() {
            assert!(since.elapsed() < Duration::from_secs(30), "{:#?}", daemon.lines());
            std::thread::sleep(Duration::from_millis(20));
        }
        since.elapsed()
    }
}

#[test]
fn the_one_that_holds_the_lease_writes_and_the_next_takes_it_over() {
    let site = Site::plain();
    site.configure_run("run: {lease: {namespace: default, name: keeper, duration: 2s}}");
    site.define("app", &["1"]);
    let mut first = site.start();
    first.wait("pass", 1);
    let mut second = site.start();
    std::thread::sleep(Duration::from_millis(500));
    site.define("app", &["1", "2"]);
    site.until(&first, || site.heads("app").len() == 2);
    assert!(second.lines().iter().all(|line| line["message"] != "pass"), "{:#?}", second.lines());
    // Killed: nobody gives anything back, and it runs out.
    first.signal("KILL");
    let since = Instant::now();
    second.wait("pass", 1);
    let took = since.elapsed();
    assert!(took > Duration::from_millis(1200) && took < Duration::from_secs(8), "{took:?}");
    site.define("app", &["1", "2", "3"]);
    site.until(&second, || site.heads("app").len() == 3);
    // Stopped in good order: it is given back, and nobody waits.
    let third = site.start();
    std::thread::sleep(Duration::from_millis(500));
    second.signal("TERM");
    assert_eq!(second.ended(), Some(0));
    assert_eq!(first.ended(), None);
    let since = Instant::now();
    third.wait("pass", 1);
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    let world = site.cluster.world.lock().unwrap();
    assert_eq!(world.leases["default/keeper"]["spec"]["leaseTransitions"], 2, "{:?}", world.leases);
}

#[test]
fn whoever_cannot_renew_stops_writing_before_another_may() {
    let site = Site::plain();
    site.configure_run("run: {lease: {namespace: default, name: keeper, duration: 3s}}");
    site.define("app", &["1"]);
    let first = site.start();
    first.wait("pass", 1);
    // The server takes nothing from it any more.
    site.cluster.world.lock().unwrap().hidden.insert("leases".to_owned());
    let since = Instant::now();
    let stood = || {
        first
            .lines()
            .iter()
            .filter(|line| line["message"] == "standing")
            .map(|line| line["leads"] == true)
            .collect::<Vec<_>>()
    };
    site.until(&first, || stood() == [false, true, false]);
    let took = since.elapsed();
    assert!(took < Duration::from_secs(3), "two thirds of the time at most: {took:?}");
    first.wait("the Lease cannot be held", 1);
    site.define("app", &["1", "2"]);
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(site.heads("app").len(), 1, "it does not write");
    // It may again.
    site.cluster.world.lock().unwrap().hidden.clear();
    site.until(&first, || site.heads("app").len() == 2);
}

#[test]
fn what_others_change_is_put_back_at_once() {
    let site = Site::plain();
    site.define("app", &["1", "2"]);
    site.deploy("deployments", &workload("Deployment", "web", "app:1"));
    let daemon = site.start();
    daemon.wait("pass", 1);
    let image = site.heads("app")[0].1[0].clone();
    let has_it = || images(&site, "deployments", "web")[0].ends_with(&image);
    site.until(&daemon, has_it);
    // What it has written itself, it does not hear of.
    std::thread::sleep(Duration::from_secs(6));
    let passes = daemon.wait("pass", 1).len();
    assert!(passes <= 2, "the second sees that all is done: {:#?}", daemon.lines());
    site.by_hand();
    let took = site.until(&daemon, has_it);
    assert!(took < Duration::from_secs(3), "{took:?}");
    // A stream of ours, too.
    let change = |lookup: bool| {
        let mut world = site.cluster.world.lock().unwrap();
        let version = world.version + 1;
        world.version = version;
        let custom = world.custom.values_mut().next().unwrap();
        custom.object["spec"]["lookupPolicy"]["local"] = lookup.into();
        custom.object["metadata"]["resourceVersion"] = version.to_string().into();
        custom.object["metadata"]["generation"] = 99.into();
    };
    change(true);
    let is_back = || site.custom("app").unwrap()["spec"]["lookupPolicy"]["local"] == false;
    site.until(&daemon, is_back);
    // The server forgets: everything is looked at, and then heard of again.
    {
        let mut world = site.cluster.world.lock().unwrap();
        world.version += 1;
        world.oldest = world.version;
    }
    std::thread::sleep(Duration::from_millis(300));
    site.by_hand();
    site.until(&daemon, has_it);
}

#[test]
fn who_changes_it_back_again_and_again_is_told_and_left_alone_for_a_while() {
    let site = Site::plain();
    site.define("app", &["1"]);
    site.deploy("deployments", &workload("Deployment", "web", "app:1"));
    let daemon = site.start();
    daemon.wait("pass", 1);
    let image = site.heads("app")[0].1[0].clone();
    let has_it = || images(&site, "deployments", "web")[0].ends_with(&image);
    site.until(&daemon, has_it);
    // The first is put right, and so are the next.
    for _ in 0..4 {
        site.by_hand();
        site.until(&daemon, has_it);
    }
    let line = daemon.wait("a quarrel", 1)[0].clone();
    assert!(line["quarrel"].as_str().unwrap().contains("changes it back, 3 times"), "{line}");
    assert_eq!(line["about"], "Deployment default/web");
    site.by_hand();
    std::thread::sleep(Duration::from_secs(3));
    assert!(!has_it(), "now they have it, for a while");
}

#[test]
fn lanes_of_one_process_do_not_keep_each_other_waiting() {
    let site = Site::plain();
    site.define("app", &["1"]);
    let other = site.root().join("other");
    std::fs::create_dir(&other).unwrap();
    let config = std::fs::read_to_string(site.root().join("source/streamkeeper.yaml")).unwrap();
    std::fs::write(other.join("streamkeeper.yaml"), config.replace("streamkeeper-tests", "streamkeeper-other"))
        .unwrap();
    let text = std::fs::read_to_string(site.root().join("source/app.yaml")).unwrap();
    std::fs::write(other.join("b.yaml"), text.replace("app\n", "b\n").replace("name: app", "name: b")).unwrap();
    let run = "run:\n  lease: {namespace: default, name: keeper}\n  sources: [{name: one, source: source}, {name: two, source: other}]\n  targets: [{name: here, target: kubernetes, kubeconfig: kubeconfig}]\n";
    std::fs::write(site.root().join("run.yaml"), run).unwrap();
    let mut command = program(site.root());
    command.args(["run", "--log", "json", "--config", "run.yaml"]);
    let daemon = Daemon::spawn(command);
    site.until(&daemon, || site.custom("app").is_some() && site.custom("b").is_some());
    let world = site.cluster.world.lock().unwrap();
    let names: Vec<&str> = world.leases.keys().filter_map(|name| Some(name.rsplit_once('-')?.0)).collect();
    assert_eq!(names, ["default/keeper-one@here", "default/keeper-two@here"].map(|name| name.replace('@', "-")));
}

/// An OpenShift cluster on which we import.
fn openshift() -> Site {
    let site = Site::new();
    site.configure_run("import: ours");
    site
}

fn id(name: &str) -> streamkeeper::openshift::StreamId {
    streamkeeper::openshift::StreamId::new("default", name)
}

#[test]
fn of_hundreds_of_streams_only_the_one_that_an_event_is_about_is_asked_for() {
    let site = openshift();
    for number in 0..300 {
        site.define(&format!("s{number}"), &["1"]);
    }
    let daemon = site.start();
    site.until(&daemon, || site.images("s299").len() == 1);
    // The pass that sees that all is done.
    daemon.wait("pass", 2);
    std::thread::sleep(Duration::from_millis(2500));
    site.cluster.server.forget();
    site.registry.server.forget();
    site.define("s7", &["1", "2"]);
    site.until(&daemon, || site.images("s7").len() == 2);
    let passes = daemon.lines().iter().filter(|line| line["message"] == "pass").count();
    daemon.wait("pass", passes.max(3));
    std::thread::sleep(Duration::from_millis(1500));
    let seen = site.cluster.server.seen();
    let streams: Vec<&str> = seen
        .iter()
        .filter(|request| request.path.contains("/imagestreams") && !request.path.contains("watch="))
        .map(|request| request.path.as_str())
        .collect();
    assert!(!streams.is_empty() && streams.iter().all(|path| path.contains("/imagestreams/s7")), "{streams:?}");
    let asked = site.registry.server.count("HEAD ");
    assert!(asked <= 2, "one tag is new: {asked}");
    // What somebody else has taken away is heard of, and made again; nothing is listed for it.
    site.cluster.world.lock().unwrap().drop_stream(&id("s8"));
    site.until(&daemon, || site.images("s8").len() == 1);
    let lists = site.cluster.server.count("imagestreams?limit");
    assert_eq!(lists, 0, "{:#?}", site.cluster.server.seen());
    // Without a watch that can be believed, it is listed.
    site.cluster.world.lock().unwrap().cut_watches = true;
    std::thread::sleep(Duration::from_millis(300));
    site.define("s9", &["1", "2"]);
    site.until(&daemon, || site.images("s9").len() == 2);
    assert!(site.cluster.server.count("imagestreams?limit") > 0);
}

#[test]
fn what_somebody_else_has_written_is_put_back_or_told() {
    let site = openshift();
    site.define("app", &["1", "2"]);
    let daemon = site.start();
    site.until(&daemon, || site.images("app").len() == 2);
    let good = site.images("app");
    let edit = || {
        let from = site.from("5");
        site.cluster.world.lock().unwrap().edit(&id("app"), |stream| {
            let tag = stream.spec.tags.iter_mut().find(|tag| tag.name == "1").unwrap();
            tag.from.as_mut().unwrap().name = from;
        });
    };
    let spec = || {
        let world = site.cluster.world.lock().unwrap();
        world.streams[&id("app")].stream.spec_tag("1").unwrap().from.clone().unwrap().name
    };
    edit();
    site.until(&daemon, || spec() == site.from("1"));
    site.until(&daemon, || site.images("app") == good);
    let passes = daemon.wait("pass", 1).len();
    site.configure_run("policy: {drift: report}");
    daemon.wait("pass", passes + 1);
    edit();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(spec(), site.from("5"), "{:#?}", daemon.lines());
    let (_, out, err) = site.run(&["plan"]);
    assert!(format!("{out}{err}").contains("`kubectl-edit` has changed from.name"), "{out}{err}");
    // What Git says of other tags goes on.
    site.define("app", &["1", "2", "3"]);
    site.until(&daemon, || site.images("app").len() == 3);
    assert_eq!(spec(), site.from("5"));
}

#[test]
fn a_quarrel_is_about_what_was_said_and_git_may_say_something_else() {
    let site = openshift();
    site.define("app", &["1"]);
    let daemon = site.start();
    site.until(&daemon, || site.images("app").len() == 1);
    let spec = || {
        let world = site.cluster.world.lock().unwrap();
        world.streams[&id("app")].stream.spec_tag("1").unwrap().from.clone().unwrap().name
    };
    for _ in 0..4 {
        let from = site.from("5");
        site.cluster.world.lock().unwrap().edit(&id("app"), |stream| {
            stream.spec.tags[0].from.as_mut().unwrap().name = from;
        });
        site.until(&daemon, || spec() == site.from("1"));
    }
    let line = daemon.wait("a quarrel", 1)[0].clone();
    assert!(line["quarrel"].as_str().unwrap().contains("`kubectl-edit` changes it back, 3 times"), "{line}");
    site.define("app", &["1", "2"]);
    let took = site.until(&daemon, || site.images("app").len() == 2);
    assert!(took < Duration::from_secs(10), "not in half a minute: {took:?}");
}
