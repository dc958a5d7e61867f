//! Against a real OpenShift API server, where `STREAMKEEPER_TEST_KUBECONFIG` names one.
//!
//! Only namespaces that carry the label `streamkeeper.io/test-cluster=true` are touched, and a cluster without two of them is
//! refused. Everything in them is taken away at the start and at the end. The server has to reach a registry on this machine's
//! loopback (Debian's `docker-registry`), so it runs here as well.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::api_client::ApiClient;
use crate::real_registry::RealRegistry;
use crate::registry::{allow, stream};
use crate::support::{manifest_folder, outcome, program};

const LABEL: &str = "streamkeeper.io/test-cluster";
const STREAMS: &str = "/apis/image.openshift.io/v1";

/// One test at a time: they share namespaces.
static TURN: Mutex<()> = Mutex::new(());

/// A real cluster, a real registry, a source.
struct Live {
    folder: tempfile::TempDir,
    kubeconfig: PathBuf,
    api: ApiClient,
    registry: RealRegistry,
    namespaces: Vec<String>,
    _turn: MutexGuard<'static, ()>,
}

impl Live {
    /// The cluster that the environment names; none without one.
    fn open() -> Option<Self> {
        let Some(kubeconfig) = std::env::var_os("STREAMKEEPER_TEST_KUBECONFIG").filter(|path| !path.is_empty()) else {
            eprintln!("skipped: STREAMKEEPER_TEST_KUBECONFIG names no cluster");
            return None;
        };
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let kubeconfig = PathBuf::from(kubeconfig);
        let folder = tempfile::tempdir().unwrap();
        let registry = RealRegistry::start(folder.path(), "")?;
        let client = ApiClient::open(&kubeconfig);
        let mut live = Self { folder, kubeconfig, api: client, registry, namespaces: Vec::new(), _turn: turn };
        let (_, list) = live.call("GET", &format!("/api/v1/namespaces?labelSelector={LABEL}%3Dtrue"), None);
        let items = list["items"].as_array().unwrap_or_else(|| panic!("{list}"));
        live.namespaces = items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect();
        assert!(
            live.namespaces.len() >= 2,
            "the cluster has no two namespaces with the label {LABEL}=true: not touched"
        );
        std::fs::create_dir(live.source()).unwrap();
        allow(&live.source(), &[&live.registry.host], "");
        let config = live.source().join("streamkeeper.yaml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, format!("{text}fieldManager: streamkeeper-live\nnamespace: {}\n", live.namespaces[0]))
            .unwrap();
        for tag in ["1", "2", "3", "4", "5"] {
            live.push(tag, tag);
        }
        live.clean();
        Some(live)
    }

    fn source(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    /// One request, as whoever the kubeconfig names.
    fn call(&self, method: &str, path: &str, body: Option<(&str, Value)>) -> (u16, Value) {
        self.api.call(method, path, body)
    }

    fn push(&self, tag: &str, content: &str) -> String {
        let (image, _) = self.registry.image("lab/app", "amd64", content);
        self.registry.tag("lab/app", tag, &image);
        image
    }

    fn from(&self, tag: &str) -> String {
        format!("{}/lab/app:{tag}", self.registry.host)
    }

    fn define(&self, name: &str, tags: &[&str]) {
        let froms: Vec<String> = tags.iter().map(|tag| self.from(tag)).collect();
        let tags: Vec<(&str, &str)> = tags.iter().copied().zip(froms.iter().map(String::as_str)).collect();
        std::fs::write(self.source().join(format!("{name}.yaml")), stream(name, &tags, "")).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.source().join(format!("{name}.yaml"))).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = program(self.folder.path());
        command.args(arguments).args(["-s", "source", "--target", "openshift", "--kubeconfig"]).arg(&self.kubeconfig);
        outcome(command.output().unwrap())
    }

    fn apply(&self) {
        // OpenShift's import controller may write between our look and our write: that plan is stale, the next one is not.
        for tries in 0.. {
            let (code, out, err) = self.run(&["apply", "--yes"]);
            assert!(code == 0 || (code == 4 && tries < 3), "{code} {out}{err}");
            if code == 0 {
                break;
            }
        }
        self.is_empty();
    }

    fn is_empty(&self) {
        let (code, out, err) = self.run(&["plan", "--exit-code"]);
        assert_eq!(code, 0, "a plan after an apply is empty: {out}{err}");
    }

    fn stream(&self, name: &str) -> Option<Value> {
        let (status, body) =
            self.call("GET", &format!("{STREAMS}/namespaces/{}/imagestreams/{name}", self.namespaces[0]), None);
        (status == 200).then_some(body)
    }

    /// Tag and current image, of a stream that is there.
    fn images(&self, name: &str) -> Vec<(String, String)> {
        let stream = self.stream(name).unwrap_or_default();
        let tags = stream["status"]["tags"].as_array().into_iter().flatten();
        let head =
            |list: &Value| Some((list["tag"].as_str()?.to_owned(), list["items"][0]["image"].as_str()?.to_owned()));
        tags.filter_map(head).collect()
    }

    /// Gives the user `streamkeeper-test` the role of the example, in the first namespace.
    fn bind_role(&self) {
        let namespace = self.namespaces[0].clone();
        let text = std::fs::read_to_string(manifest_folder().join("examples/openshift/rbac-namespaced.yaml")).unwrap();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        for mut object in documents {
            let resource = if object["kind"] == "Role" { "roles" } else { "rolebindings" };
            if object["kind"] == "RoleBinding" {
                object["subjects"] =
                    json!([{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "streamkeeper-test"}]);
            }
            let path = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/{resource}");
            let (status, body) = self.call("POST", &path, Some(("application/json", object)));
            assert_eq!(status, 201, "{body}");
        }
        // Who is refused once is refused for ten seconds more, so the role has to have been heard of before it is used.
        std::thread::sleep(Duration::from_secs(2));
    }

    /// Takes away what earlier runs have left.
    fn clean(&self) {
        self.clean_streams();
        for namespace in &self.namespaces {
            for kind in [
                format!("/apis/apps/v1/namespaces/{namespace}/deployments"),
                format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings"),
                format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles"),
            ] {
                self.delete_all(&kind);
            }
        }
    }

    fn clean_streams(&self) {
        for namespace in &self.namespaces {
            self.delete_all(&format!("{STREAMS}/namespaces/{namespace}/imagestreams"));
        }
    }

    fn delete_all(&self, kind: &str) {
        let (_, list) = self.call("GET", kind, None);
        for item in list["items"].as_array().into_iter().flatten() {
            let name = item["metadata"]["name"].as_str().unwrap();
            self.call("DELETE", &format!("{kind}/{name}"), None);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.clean();
        }
    }
}

#[test]
fn the_main_job() {
    let Some(live) = Live::open() else { return };
    live.define("app", &["1", "2", "3", "4"]);
    let other = live.namespaces[1].clone();
    let alias = format!(
        "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {{name: other, namespace: {other}}}\nspec:\n  tags:\n  - {{name: copy, from: {{kind: ImageStreamTag, name: 'app:1', namespace: {}}}}}\n",
        live.namespaces[0]
    );
    std::fs::write(live.source().join("other.yaml"), alias).unwrap();
    live.apply();
    assert_eq!(live.images("app").len(), 4);
    // The server's own controllers, if they run, have the time to do what they do.
    std::thread::sleep(Duration::from_secs(3));
    live.is_empty();
    for arguments in [&["get"][..], &["get", "istag"], &["describe", "app"], &["history", "app:1"]] {
        let (code, out, err) = live.run(arguments);
        assert!(code == 0 && (out.contains("app") || out.contains("sha256:")), "{arguments:?}: {out}{err}");
    }
    // Upstream moves, a tag is added, one goes.
    let moved = live.push("1", "moved");
    live.define("app", &["1", "2", "5"]);
    let (code, out, err) = live.run(&["apply", "--yes", "--refresh"]);
    assert_eq!(code, 0, "{out}{err}");
    live.is_empty();
    let images = live.images("app");
    assert_eq!(images.iter().map(|(tag, _)| tag.as_str()).collect::<Vec<_>>(), ["1", "2", "5"]);
    assert_eq!(images[0].1, moved);
    // The stream goes whole: we made it, and nothing of others is in it.
    live.remove("app");
    live.remove("other");
    live.define("keep", &["1"]);
    live.apply();
    assert!(live.stream("app").is_none());
}

#[test]
fn what_others_write_is_left_and_what_is_ours_is_put_back() {
    let Some(live) = Live::open() else { return };
    let path = format!("{STREAMS}/namespaces/{}/imagestreams/app", live.namespaces[0]);
    let tag = |name: &str, from: &str| json!({"name": name, "from": {"kind": "DockerImage", "name": live.from(from)}, "importPolicy": {"insecure": true}});
    let theirs = json!({"apiVersion": "image.openshift.io/v1", "kind": "ImageStream", "metadata": {"name": "app"}, "spec": {"tags": [tag("dev", "3")]}});
    let apply = "application/apply-patch+yaml";
    let (status, body) = live.call("PATCH", &format!("{path}?fieldManager=builds"), Some((apply, theirs)));
    assert!(status < 300, "{body}");
    live.define("app", &["1", "2"]);
    live.apply();
    let names = |stream: &Value| -> Vec<String> {
        stream["spec"]["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&live.stream("app").unwrap()), ["1", "2", "dev"]);
    // Somebody edits a tag of ours, another one schedules it in passing (`oc import-image --scheduled`), a third adds one.
    let strategic = "application/strategic-merge-patch+json";
    let edit = json!({"metadata": {"labels": {"theirs": "yes"}}, "spec": {"tags": [tag("1", "4"), tag("oc", "5")]}});
    assert_eq!(live.call("PATCH", &path, Some((strategic, edit))).0, 200);
    let import = json!({"apiVersion": "image.openshift.io/v1", "kind": "ImageStreamImport", "metadata": {"name": "app"}, "spec": {"import": true, "images": [
        {"from": {"kind": "DockerImage", "name": live.from("2")}, "to": {"name": "2"}, "importPolicy": {"insecure": true, "scheduled": true}}]}, "status": {}});
    let imports = format!("{STREAMS}/namespaces/{}/imagestreamimports", live.namespaces[0]);
    assert_eq!(live.call("POST", &imports, Some(("application/json", import))).0, 201);
    let (code, out, err) = live.run(&["plan", "--exit-code"]);
    assert!(code == 2 && out.contains("from.name") && out.contains("importPolicy.scheduled"), "{out}{err}");
    live.apply();
    let stream = live.stream("app").unwrap();
    assert_eq!(names(&stream), ["1", "2", "dev", "oc"]);
    assert_eq!(stream["metadata"]["labels"]["theirs"], "yes");
    assert_eq!(stream["spec"]["tags"][0]["from"]["name"], live.from("1").as_str());
    assert!(stream["spec"]["tags"][1]["importPolicy"]["scheduled"].is_null(), "{stream}");
    // Ours goes, with what it left in status; theirs stays, and so does the stream.
    live.define("app", &["1"]);
    live.apply();
    assert_eq!(names(&live.stream("app").unwrap()), ["1", "dev", "oc"]);
    live.remove("app");
    live.define("keep", &["1"]);
    live.apply();
    assert_eq!(names(&live.stream("app").unwrap()), ["dev", "oc"]);
    // Their tag under our name: told whose it is, and taken over only when asked.
    live.push("dev", "ours");
    live.define("app", &["dev"]);
    let (code, out, err) = live.run(&["apply", "--yes"]);
    assert!(code == 5 && err.contains("`builds`"), "{code} {out}{err}");
    let (code, out, err) = live.run(&["apply", "--yes", "--force-conflicts"]);
    assert_eq!(code, 0, "{out}{err}");
    live.is_empty();
}

#[test]
fn two_instances_share_a_stream() {
    let Some(live) = Live::open() else { return };
    let config = live.source().join("streamkeeper.yaml");
    let mine = std::fs::read_to_string(&config).unwrap();
    let theirs = mine.replace("streamkeeper-live", "streamkeeper-other");
    live.define("app", &["1", "2"]);
    live.apply();
    std::fs::write(&config, &theirs).unwrap();
    live.define("app", &["3"]);
    live.apply();
    for (text, tags) in [(&mine, &["1", "2"][..]), (&theirs, &["3"])] {
        std::fs::write(&config, text).unwrap();
        live.define("app", tags);
        live.is_empty();
    }
    // The second one gives its tag up; the first one's stay.
    live.remove("app");
    live.define("keep", &["1"]);
    live.apply();
    assert_eq!(live.images("app").len(), 2);
    std::fs::write(&config, &mine).unwrap();
    live.define("app", &["1", "2"]);
    let (code, out, err) = live.run(&["plan", "--exit-code"]);
    // The other's stream is seen as theirs, and taken over by applying it as well.
    assert!(code == 0 || out.contains("keep"), "{code} {out}{err}");
}

#[test]
fn the_example_role_is_enough() {
    let Some(live) = Live::open() else { return };
    live.bind_role();
    let run = |arguments: &[&str]| live.run(&[arguments, &["--as", "streamkeeper-test"]].concat());
    live.define("app", &["1", "2"]);
    let (code, out, err) = run(&["apply", "--yes"]);
    assert!(code == 0 && err.replace("\n      ", " ").contains("workloads of other namespaces"), "{code} {out}{err}");
    live.define("app", &["2"]);
    let (code, out, err) = run(&["apply", "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    live.remove("app");
    live.define("keep", &["1"]);
    let (code, out, err) = run(&["apply", "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(run(&["plan", "--exit-code"]).0, 0);
    // A namespace that the role is not for is unknown, and the rest goes on.
    let text = stream("app", &[("1", &live.from("1"))], "")
        .replace("metadata: {", &format!("metadata: {{namespace: {}, ", live.namespaces[1]));
    std::fs::write(live.source().join("elsewhere.yaml"), text).unwrap();
    let (code, out, err) = run(&["apply", "--yes"]);
    assert!(
        code == 5 && err.contains("forbidden") && err.contains("grant `list` on `imagestreams`"),
        "{code} {out}{err}"
    );
    // And nobody at all may do nothing at all.
    let (code, out, err) = live.run(&["apply", "--yes", "--as", "streamkeeper-nobody"]);
    assert!(code == 5 && err.contains("forbidden"), "{code} {out}{err}");
}

#[test]
fn killed_at_any_moment_the_next_run_comes_to_the_same_end() {
    let Some(live) = Live::open() else { return };
    for delay in [20, 40, 60, 80, 100, 130, 160, 200, 250] {
        live.clean();
        live.define("app", &["1", "2", "3", "4"]);
        let mut command = program(live.folder.path());
        command
            .args(["apply", "--yes", "--quiet", "-s", "source", "--target", "openshift", "--kubeconfig"])
            .arg(&live.kubeconfig);
        let mut child =
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        live.apply();
        let stream = live.stream("app").unwrap();
        for list in stream["status"]["tags"].as_array().unwrap() {
            assert_eq!(list["items"].as_array().unwrap().len(), 1, "no event twice: {list}");
        }
        assert_eq!(live.images("app").len(), 4);
        live.remove("app");
        live.define("keep", &["1"]);
        live.apply();
        assert!(live.stream("app").is_none(), "it is still ours");
        live.remove("keep");
    }
}

#[test]
fn aliases_follow_along_the_whole_chain_and_over_streams() {
    let Some(live) = Live::open() else { return };
    let chain = |from: &str| {
        let text = format!(
            "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {{name: chain}}\nspec:\n  tags:\n  - {{name: r, reference: true, from: {{kind: DockerImage, name: '{}'}}}}\n  - {{name: b, from: {{kind: ImageStreamTag, name: r}}}}\n  - {{name: a, from: {{kind: ImageStreamTag, name: b}}}}\n",
            live.from(from)
        );
        std::fs::write(live.source().join("chain.yaml"), text).unwrap();
        let copies = "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {name: copies}\nspec:\n  tags:\n  - {name: r, from: {kind: ImageStreamTag, name: 'chain:a'}}\n  - {name: i, from: {kind: ImageStreamTag, name: 'app:1'}}\n";
        std::fs::write(live.source().join("copies.yaml"), copies).unwrap();
    };
    let heads = |name: &str| -> Vec<String> {
        let stream = live.stream(name).unwrap();
        let tags = stream["status"]["tags"].as_array().unwrap().iter();
        tags.map(|list| list["items"][0]["dockerImageReference"].as_str().unwrap().to_owned()).collect()
    };
    live.define("app", &["1"]);
    chain("1");
    live.apply();
    chain("2");
    let moved = live.push("1", "moved");
    let (code, out, err) = live.run(&["apply", "--yes", "--refresh"]);
    assert_eq!(code, 0, "{out}{err}");
    live.is_empty();
    assert!(heads("chain").iter().all(|head| *head == live.from("2")), "{:?}", heads("chain"));
    let copies = heads("copies");
    assert!(copies[0].ends_with(&moved) && copies[1] == live.from("2"), "{copies:?}");
    // Their definitions are again what Git says.
    let spec = live.stream("copies").unwrap()["spec"].to_string();
    assert!(!spec.contains("ImageStreamImage") && !spec.contains("\"reference\":true"), "{spec}");
}

/// Every repository of the corpus: what the server makes of its streams is no difference to what was applied. Its images are
/// out of reach, so none is imported, by us at least.
#[test]
fn the_corpus_is_no_drift() {
    let Some(live) = Live::open() else { return };
    let folder = manifest_folder().join("../shared/corpus/streams");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("skipped: no corpus beside the project");
        return;
    };
    // Definitions name namespaces of their own: this account can reach none of them.
    live.bind_role();
    let config = format!(
        "fieldManager: streamkeeper-live\nnamespace: {}\npolicy: {{allowedRegistriesForImport: [{{domainName: nowhere.invalid}}]}}\n",
        live.namespaces[0]
    );
    std::fs::write(live.folder.path().join("config.yaml"), config).unwrap();
    let (mut repositories, mut streams) = (0, 0);
    for entry in entries {
        let source = entry.unwrap().path();
        let run = |arguments: &[&str]| {
            let mut command = program(live.folder.path());
            command.args(arguments).args(["--format", "json", "--quiet", "--config", "config.yaml"]);
            command
                .args(["--as", "streamkeeper-test", "--target", "openshift", "-s"])
                .arg(&source)
                .arg("--kubeconfig")
                .arg(&live.kubeconfig);
            let (_, out, err) = outcome(command.output().unwrap());
            serde_json::from_str::<Value>(&out).unwrap_or_else(|error| panic!("{}: {error}: {err}", source.display()))
        };
        let report = run(&["apply", "--yes"]);
        for outcome in report["outcomes"].as_object().unwrap().values() {
            // The namespace `openshift` may be seen by everybody, and not written.
            let elsewhere = outcome.to_string().contains("is forbidden: User") || outcome["skipped"].is_object();
            assert!(*outcome == "applied" || elsewhere, "{}: {outcome}", source.display());
            streams += usize::from(*outcome == "applied");
        }
        let plan = run(&["plan"]);
        for step in plan["steps"].as_array().unwrap() {
            let action = step["action"].as_object().unwrap().values().next().unwrap();
            assert_eq!(action["stream"]["namespace"], "openshift", "{}: {step}", source.display());
        }
        repositories += 1;
        live.clean_streams();
    }
    assert!(repositories > 100 && streams > 800, "{repositories} repositories, {streams} steps");
}

#[test]
fn the_cluster_looks_up_what_only_it_can_reach() {
    let Some(live) = Live::open() else { return };
    let images: Vec<(&str, (String, usize))> = ["amd64", "arm64"]
        .iter()
        .map(|platform| (*platform, live.registry.image("lab/app", platform, "multi")))
        .collect();
    let list = live.registry.list("lab/app", &images);
    live.registry.tag("lab/app", "multi", &list);
    // We may not ask the registry.
    let config = live.source().join("streamkeeper.yaml");
    std::fs::write(&config, format!("fieldManager: streamkeeper-live\nnamespace: {}\n", live.namespaces[0])).unwrap();
    live.define("app", &["1", "multi"]);
    let whole = format!(
        "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {{name: whole}}\nspec:\n  tags:\n  - {{name: '1', from: {{kind: DockerImage, name: '{}'}}, importPolicy: {{insecure: true, importMode: PreserveOriginal}}}}\n",
        live.from("multi")
    );
    std::fs::write(live.source().join("whole.yaml"), whole).unwrap();
    let (code, out, err) = live.run(&["apply", "--yes", "--resolve", "cluster"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(live.images("app")[1].1, images[0].1.0, "the image for this platform");
    assert_eq!(live.images("whole")[0].1, list);
    let (code, out, err) = live.run(&["plan", "--exit-code", "--resolve", "cluster", "--refresh"]);
    assert_eq!(code, 0, "{out}{err}");
}

#[test]
fn workloads_follow_if_the_trigger_controller_runs() {
    let Some(live) = Live::open() else { return };
    live.define("app", &["1"]);
    live.apply();
    let triggers = json!([{"from": {"kind": "ImageStreamTag", "name": "app:1"}, "fieldPath": "spec.template.spec.containers[?(@.name==\"web\")].image"}]);
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "annotations": {"image.openshift.io/triggers": triggers.to_string()}},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "placeholder"}]}}}
    });
    let path = format!("/apis/apps/v1/namespaces/{}/deployments", live.namespaces[0]);
    assert_eq!(live.call("POST", &path, Some(("application/json", deployment))).0, 201);
    std::thread::sleep(Duration::from_secs(2));
    let (_, seen) = live.call("GET", &format!("{path}/web"), None);
    let runs = seen.pointer("/spec/template/spec/containers/0/image") != Some(&json!("placeholder"));
    let moved = live.push("1", "moved");
    let (code, out, err) = live.run(&["apply", "--yes", "--refresh"]);
    assert!(code == 0 && err.contains("Will roll out\n    Deployment "), "{code} {out}{err}");
    if runs {
        assert!(out.contains("1 workload follows"), "{out}");
        let (_, seen) = live.call("GET", &format!("{path}/web"), None);
        assert!(seen.to_string().contains(&moved), "{seen}");
    } else {
        eprintln!("the cluster runs no trigger controller");
        assert!(out.contains("did not follow Deployment"), "{out}");
    }
    assert!(Path::new(&live.kubeconfig).is_file());
}
