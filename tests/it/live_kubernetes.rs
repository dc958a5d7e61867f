//! Plain Kubernetes against a real kube-apiserver and etcd, where `KUBEBUILDER_ASSETS` names a folder with both (the convention
//! of envtest). They run on loopback, for as long as the test does.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::api_client::ApiClient;
use crate::real_registry::RealRegistry;
use crate::registry::{allow, stream};
use crate::support::{manifest_folder, outcome, program};

const STREAMS: &str = "/apis/image.streamkeeper.io/v1";

/// Processes that end with the test.
struct Processes(Vec<Child>);

impl Drop for Processes {
    fn drop(&mut self) {
        // The API server before what it stands on.
        for child in self.0.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

struct Plain {
    folder: tempfile::TempDir,
    api: ApiClient,
    registry: RealRegistry,
    _processes: Processes,
}

fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn start(program: &Path, log: &Path, arguments: &[String]) -> Child {
    let log = std::fs::File::create(log).unwrap();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

fn wait_for(port: u16, log: &Path) {
    for _ in 0..600 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("nothing listens: {}", std::fs::read_to_string(log).unwrap_or_default());
}

impl Plain {
    fn open() -> Option<Self> {
        let Some(assets) = std::env::var_os("KUBEBUILDER_ASSETS").filter(|path| !path.is_empty()).map(PathBuf::from)
        else {
            eprintln!("skipped: KUBEBUILDER_ASSETS names no folder with etcd and kube-apiserver");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let registry = RealRegistry::start(folder.path(), "")?;
        let path = |name: &str| folder.path().join(name);
        let text = |name: &str| path(name).display().to_string();
        let (etcd, api) = (port(), port());
        let mut processes = Processes(Vec::new());
        let url = format!("http://127.0.0.1:{etcd}");
        let peers = format!("http://127.0.0.1:{}", port());
        let arguments = [
            format!("--data-dir={}", text("etcd")),
            format!("--listen-client-urls={url}"),
            format!("--advertise-client-urls={url}"),
            format!("--listen-peer-urls={peers}"),
            "--unsafe-no-fsync".to_owned(),
        ];
        processes.0.push(start(&assets.join("etcd"), &path("etcd.log"), &arguments));
        wait_for(etcd, &path("etcd.log"));
        let key = rcgen::KeyPair::generate().unwrap();
        std::fs::write(path("sa.key"), key.serialize_pem()).unwrap();
        std::fs::write(path("sa.pub"), key.public_key_pem()).unwrap();
        std::fs::write(path("tokens.csv"), "hunter2canary,admin,admin,system:masters\n").unwrap();
        let arguments = [
            format!("--etcd-servers={url}"),
            format!("--secure-port={api}"),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--cert-dir={}", text("certs")),
            format!("--token-auth-file={}", text("tokens.csv")),
            "--authorization-mode=RBAC".to_owned(),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            format!("--service-account-key-file={}", text("sa.pub")),
            format!("--service-account-signing-key-file={}", text("sa.key")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
        ];
        processes.0.push(start(&assets.join("kube-apiserver"), &path("api.log"), &arguments));
        wait_for(api, &path("api.log"));
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: it\nclusters: [{{name: it, cluster: {{server: 'https://127.0.0.1:{api}', insecure-skip-tls-verify: true}}}}]\nusers: [{{name: it, user: {{token: hunter2canary}}}}]\ncontexts: [{{name: it, context: {{cluster: it, user: it}}}}]\n"
        );
        let mut file = std::fs::File::create(path("kubeconfig")).unwrap();
        file.write_all(kubeconfig.as_bytes()).unwrap();
        let client = ApiClient::open(&path("kubeconfig"));
        std::fs::create_dir(path("source")).unwrap();
        allow(&path("source"), &[&registry.host], "");
        let config = std::fs::read_to_string(path("source/streamkeeper.yaml")).unwrap();
        std::fs::write(path("source/streamkeeper.yaml"), format!("{config}fieldManager: streamkeeper-it\n")).unwrap();
        let plain = Self { folder, api: client, registry, _processes: processes };
        for tag in ["1", "2", "3", "4", "5"] {
            plain.push(tag, tag);
        }
        for _ in 0..300 {
            if plain.call("GET", "/api/v1/namespaces/default", None).0 == 200 {
                return Some(plain);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("no namespace comes up: {}", std::fs::read_to_string(plain.folder.path().join("api.log")).unwrap());
    }

    fn push(&self, tag: &str, content: &str) -> String {
        let (image, _) = self.registry.image("lab/app", "amd64", content);
        self.registry.tag("lab/app", tag, &image);
        image
    }

    fn define(&self, name: &str, tags: &[&str]) {
        let froms: Vec<String> = tags.iter().map(|tag| format!("{}/lab/app:{tag}", self.registry.host)).collect();
        let tags: Vec<(&str, &str)> = tags.iter().copied().zip(froms.iter().map(String::as_str)).collect();
        std::fs::write(self.folder.path().join(format!("source/{name}.yaml")), stream(name, &tags, "")).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.folder.path().join(format!("source/{name}.yaml"))).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = program(self.folder.path());
        command.args(arguments).args(["-s", "source", "--target", "kubernetes", "--kubeconfig", "kubeconfig"]);
        let (code, out, err) = outcome(command.output().unwrap());
        assert!(!format!("{out}{err}").contains("hunter2canary"), "{out}{err}");
        (code, out, err)
    }

    fn apply(&self) {
        let (code, out, err) = self.run(&["apply", "--yes"]);
        assert_eq!(code, 0, "{out}{err}");
        let (code, out, err) = self.run(&["plan", "--exit-code"]);
        assert_eq!(code, 0, "a plan after an apply is empty: {out}{err}");
    }

    fn call(&self, method: &str, path: &str, body: Option<(&str, Value)>) -> (u16, Value) {
        self.api.call(method, path, body)
    }

    fn stream(&self, name: &str) -> Option<Value> {
        let (status, body) = self.call("GET", &format!("{STREAMS}/namespaces/default/imagestreams/{name}"), None);
        (status == 200).then_some(body)
    }
}

#[test]
fn a_real_api_server_takes_the_custom_resource() {
    let Some(plain) = Plain::open() else { return };
    let (code, _, err) = plain.run(&["install", "crd"]);
    assert_eq!(code, 0, "{err}");
    let (code, _, err) = plain.run(&["install", "crd"]);
    assert_eq!(code, 0, "again: {err}");
    what_openshift_refuses_is_refused(&plain);
    the_main_job(&plain);
    the_status_is_a_subresource(&plain);
    workloads_get_their_images(&plain);
    bare_pods_and_replica_sets_get_their_images(&plain);
    managers_share_a_stream(&plain);
    killed_at_any_moment(&plain);
    one_of_two_holds_the_lease(&plain);
    the_example_role_is_enough_and_no_more(&plain);
}

fn what_openshift_refuses_is_refused(plain: &Plain) {
    let path = format!("{STREAMS}/namespaces/default/imagestreams?fieldValidation=Strict");
    let image = |name: &str| json!({"kind": "DockerImage", "name": name});
    for (spec, message) in [
        (json!({"tags": [{"name": "a/b"}]}), "a tag's name is"),
        (json!({"tags": [{"name": "a:b"}]}), "a tag's name is"),
        (json!({"tags": [{"name": ""}]}), "a tag's name is"),
        (json!({"tags": [{"name": "a", "from": {"kind": "Foo", "name": "x"}}]}), "from.kind is"),
        (json!({"tags": [{"name": "a", "from": {"kind": "DockerImage", "name": ""}}]}), "from.name is required"),
        (json!({"tags": [{"name": "a", "from": image("quay.io/Foo/bar:1")}]}), "lower case"),
        (
            json!({"tags": [{"name": "a", "from": {"kind": "ImageStreamTag", "name": "b"}, "importPolicy": {"scheduled": true}}]}),
            "may be scheduled",
        ),
        (json!({"tags": [{"name": "a", "referencePolicy": {"type": "Maybe"}}]}), "Unsupported value"),
        (json!({"tags": [{"name": "a", "importPolicy": {"importMode": "Always"}}]}), "Unsupported value"),
        (json!({"tags": [{"name": "a"}, {"name": "a"}]}), "Duplicate value"),
        (json!({"dockerImageRepository": "quay.io/x/y:1"}), "may not contain a tag"),
        (json!({"dockerImageRepository": format!("quay.io/x/y@sha256:{}", "0".repeat(64))}), "may not contain a tag"),
        (json!({"tagz": []}), "unknown field"),
    ] {
        let body = json!({"apiVersion": "image.streamkeeper.io/v1", "kind": "ImageStream", "metadata": {"name": "v"}, "spec": spec});
        let (status, answer) = plain.call("POST", &path, Some(("application/json", body)));
        let said = answer["message"].as_str().unwrap_or_default();
        assert!(matches!(status, 400 | 422) && said.contains(message), "{spec}: {status} {said}");
    }
    for spec in [
        json!({}),
        json!({"dockerImageRepository": "localhost:5000/x/y", "lookupPolicy": {"local": true}}),
        json!({"tags": [{"name": "a", "from": image("Registry.Example.com:5000/foo/bar:V1")}, {"name": "b", "from": {"kind": "ImageStreamTag", "name": "a"}}]}),
        json!({"tags": [{"name": "p", "from": image(&format!("quay.io/x/y@sha256:{}", "0".repeat(64))), "importPolicy": {"importMode": "PreserveOriginal"}}]}),
    ] {
        let body = json!({"apiVersion": "image.streamkeeper.io/v1", "kind": "ImageStream", "metadata": {"name": "v"}, "spec": spec});
        let (status, answer) = plain.call("POST", &path, Some(("application/json", body)));
        assert_eq!(status, 201, "{spec}: {answer}");
        plain.call("DELETE", &format!("{STREAMS}/namespaces/default/imagestreams/v"), None);
    }
}

fn the_main_job(plain: &Plain) {
    plain.define("app", &["1", "2", "3"]);
    let alias = "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {name: other}\nspec: {tags: [{name: copy, from: {kind: ImageStreamTag, name: 'app:1'}}, {name: own, from: {kind: ImageStreamTag, name: copy}}]}\n";
    std::fs::write(plain.folder.path().join("source/other.yaml"), alias).unwrap();
    plain.apply();
    let moved = plain.push("1", "moved");
    plain.define("app", &["1", "2", "5"]);
    let (code, out, err) = plain.run(&["apply", "--yes", "--refresh"]);
    assert_eq!(code, 0, "{out}{err}");
    plain.apply();
    let app = plain.stream("app").unwrap();
    let tags: Vec<&str> =
        app["status"]["tags"].as_array().unwrap().iter().map(|list| list["tag"].as_str().unwrap()).collect();
    assert_eq!(tags, ["1", "2", "5"]);
    assert_eq!(app["status"]["tags"][0]["items"][0]["image"], moved.as_str());
    assert_eq!(app["status"]["observedGeneration"], app["metadata"]["generation"]);
    let other = plain.stream("other").unwrap();
    for list in other["status"]["tags"].as_array().unwrap() {
        assert_eq!(list["items"][0]["image"], moved.as_str(), "{other}");
    }
    let (code, out, _) = plain.run(&["get", "-n", "default"]);
    assert!(code == 0 && out.contains("app"), "{out}");
}

fn the_status_is_a_subresource(plain: &Plain) {
    let path = format!("{STREAMS}/namespaces/default/imagestreams/app");
    let before = plain.stream("app").unwrap();
    // Who may write the wish cannot make up what it came to.
    let patch = json!({"status": {"tags": []}, "metadata": {"labels": {"theirs": "yes"}}});
    let (status, after) = plain.call("PATCH", &path, Some(("application/merge-patch+json", patch)));
    assert_eq!((status, &after["status"]), (200, &before["status"]));
    let (code, out, err) = plain.run(&["plan", "--exit-code"]);
    assert_eq!(code, 0, "a label of theirs is no drift: {out}{err}");
    // A hand edit of what is ours is put back.
    let patch = json!([{"op": "replace", "path": "/spec/lookupPolicy/local", "value": true}]);
    assert_eq!(plain.call("PATCH", &path, Some(("application/json-patch+json", patch))).0, 200);
    let (code, out, _) = plain.run(&["plan", "--exit-code"]);
    assert!(code == 2 && out.contains("lookupPolicy.local = false"), "{out}");
    plain.apply();
}

fn workloads_get_their_images(plain: &Plain) {
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let deployment = |name: &str| {
        let triggers = json!([
            {"from": {"kind": "ImageStreamTag", "name": "app:1"}, "fieldPath": "spec.template.spec.containers[?(@.name=='web')].image"},
            {"from": {"kind": "ImageStreamTag", "name": "app:2"}, "fieldPath": "spec.template.spec.initContainers[0].image"},
        ]);
        let container =
            |name: &str| json!({"name": name, "image": "placeholder", "env": [{"name": "A", "value": "b"}]});
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "annotations": {"image.openshift.io/triggers": triggers.to_string()}},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": {"metadata": {"labels": {"app": name}}, "spec": {
                "initContainers": [container("init")], "containers": [container("web"), container("side")]}}}
        })
    };
    let cron = json!({
        "apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": {"name": "tick", "annotations": {"image.openshift.io/triggers": "[{\"from\":{\"kind\":\"ImageStreamTag\",\"name\":\"app:1\"},\"fieldPath\":\"spec.jobTemplate.spec.template.spec.containers[0].image\"}]"}},
        "spec": {"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "web", "image": "placeholder"}]}}}}}
    });
    let (status, body) = plain.call("POST", deployments, Some(("application/json", deployment("web"))));
    assert_eq!(status, 201, "{body}");
    let (status, body) =
        plain.call("POST", "/apis/batch/v1/namespaces/default/cronjobs", Some(("application/json", cron)));
    assert_eq!(status, 201, "{body}");
    // One that another tool applies, image and all.
    let apply = "application/apply-patch+yaml";
    let (status, body) = plain.call(
        "PATCH",
        &format!("{deployments}/argo?fieldManager=argocd-controller"),
        Some((apply, deployment("argo"))),
    );
    assert_eq!(status, 201, "{body}");
    let (code, out, err) = plain.run(&["apply", "--yes"]);
    assert!(code == 0 && out.contains("2 workloads follow"), "{code} {out}{err}");
    assert!(err.contains("`argocd-controller` applies the image"), "{err}");
    let images = |name: &str| -> Vec<String> {
        let (_, object) = plain.call("GET", &format!("{deployments}/{name}"), None);
        let pod = &object["spec"]["template"]["spec"];
        let lists = [&pod["initContainers"], &pod["containers"]];
        lists
            .iter()
            .flat_map(|list| list.as_array().unwrap())
            .map(|item| item["image"].as_str().unwrap().to_owned())
            .collect()
    };
    let app = plain.stream("app").unwrap();
    let head = |at: usize| app["status"]["tags"][at]["items"][0]["dockerImageReference"].as_str().unwrap().to_owned();
    let wanted = vec![head(1), head(0), "placeholder".to_owned()];
    assert_eq!(images("web"), wanted);
    assert_eq!(images("argo"), ["placeholder"; 3]);
    let (_, object) = plain.call("GET", &format!("{deployments}/web"), None);
    assert_eq!(object["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"], "b", "nothing else is touched");
    assert_eq!(object["metadata"]["generation"], 2, "one roll-out for two triggers");
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let ours = entries.iter().find(|entry| entry["manager"] == "streamkeeper-it").unwrap();
    assert!(!ours.to_string().contains("f:replicas") && ours.to_string().contains("f:image"), "{ours}");
    let (code, out, err) = plain.run(&["plan", "--exit-code"]);
    assert_eq!(code, 0, "{out}{err}");
    // A hand edit is put back.
    let edit = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "byhand:1"}]}}}});
    let strategic = "application/strategic-merge-patch+json";
    assert_eq!(plain.call("PATCH", &format!("{deployments}/web"), Some((strategic, edit))).0, 200);
    let (code, out, err) = plain.run(&["plan", "--exit-code"]);
    assert!(code == 2 && out.contains("image of web changed by somebody else"), "{code} {out}{err}");
    plain.apply();
    assert_eq!(images("web"), wanted);
    plain.call("DELETE", &format!("{deployments}/web"), None);
    plain.call("DELETE", &format!("{deployments}/argo"), None);
    plain.call("DELETE", "/apis/batch/v1/namespaces/default/cronjobs/tick", None);
}

fn managers_share_a_stream(plain: &Plain) {
    let path = format!("{STREAMS}/namespaces/default/imagestreams/app?fieldManager=builds");
    let from = json!({"kind": "DockerImage", "name": format!("{}/lab/app:3", plain.registry.host)});
    let theirs = json!({"apiVersion": "image.streamkeeper.io/v1", "kind": "ImageStream", "metadata": {"name": "app"}, "spec": {"tags": [{"name": "dev", "from": from}]}});
    let (status, body) = plain.call("PATCH", &path, Some(("application/apply-patch+yaml", theirs.clone())));
    assert_eq!(status, 200, "{body}");
    plain.apply();
    // Their tag with our name for it: theirs, unless we insist.
    plain.push("dev", "ours");
    plain.define("app", &["1", "2", "5", "dev"]);
    let (code, out, err) = plain.run(&["apply", "--yes"]);
    assert!(code == 5 && err.contains("`builds`"), "{code} {out}{err}");
    let (code, out, err) = plain.run(&["apply", "--yes", "--force-conflicts"]);
    assert_eq!(code, 0, "{out}{err}");
    let (status, body) = plain.call("PATCH", &path, Some(("application/apply-patch+yaml", theirs)));
    assert!(status == 409 && body["message"].as_str().unwrap().contains("streamkeeper-it"), "{body}");
    plain.remove("app");
    plain.remove("other");
    plain.define("keep", &["1"]);
    let (code, out, err) = plain.run(&["apply", "--yes", "--max-removals", "20"]);
    assert_eq!(code, 0, "{out}{err}");
    plain.call("DELETE", &format!("{STREAMS}/namespaces/default/imagestreams/app"), None);
}

fn killed_at_any_moment(plain: &Plain) {
    for delay in [10, 20, 30, 40, 60, 80, 120] {
        plain.define("app", &["1", "2", "3", "4"]);
        let mut command = program(plain.folder.path());
        command.args([
            "apply",
            "--yes",
            "--quiet",
            "-s",
            "source",
            "--target",
            "kubernetes",
            "--kubeconfig",
            "kubeconfig",
        ]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        plain.apply();
        let app = plain.stream("app").unwrap();
        let lists = app["status"]["tags"].as_array().unwrap();
        assert!(
            lists.len() == 4 && lists.iter().all(|list| list["items"].as_array().unwrap().len() == 1),
            "{delay}: {app}"
        );
        plain.remove("app");
        plain.apply();
        assert!(plain.stream("app").is_none(), "{delay}");
    }
}

/// The example's role with one verb taken out, as `keeper` has it.
fn give_role(plain: &Plain, without: Option<&(String, String, String)>) {
    let text = std::fs::read_to_string(manifest_folder().join("examples/kubernetes/rbac-namespaced.yaml")).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    for mut object in documents {
        let resource = if object["kind"] == "Role" { "roles" } else { "rolebindings" };
        if object["kind"] == "RoleBinding" {
            object["subjects"] = json!([{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "keeper"}]);
        }
        let mut rules = Vec::new();
        for rule in object["rules"].as_array().into_iter().flatten() {
            for resource in rule["resources"].as_array().unwrap() {
                let is_it = |verb: &Value| {
                    without.is_some_and(|(group, of, without)| {
                        rule["apiGroups"][0] == **group && *resource == **of && *verb == **without
                    })
                };
                let verbs: Vec<&Value> = rule["verbs"].as_array().unwrap().iter().filter(|verb| !is_it(verb)).collect();
                if !verbs.is_empty() {
                    rules.push(json!({"apiGroups": rule["apiGroups"], "resources": [resource], "verbs": verbs}));
                }
            }
        }
        if resource == "roles" {
            object["rules"] = rules.into();
        }
        let name = object["metadata"]["name"].as_str().unwrap();
        let path = format!(
            "/apis/rbac.authorization.k8s.io/v1/namespaces/default/{resource}/{name}?fieldManager=it&force=true"
        );
        let (status, body) = plain.call("PATCH", &path, Some(("application/apply-patch+yaml", object)));
        assert!(matches!(status, 200 | 201), "{body}");
    }
    // The authorizer sees it a moment later.
    std::thread::sleep(Duration::from_millis(300));
}

/// Everything that the role is for: whether it went well, and what was said.
fn everything_as_keeper(plain: &Plain) -> (bool, String) {
    for (kind, group, resource) in KINDS {
        let triggers = |base: &str| {
            format!(
                "[{{\"from\":{{\"kind\":\"ImageStreamTag\",\"name\":\"app:2\"}},\"fieldPath\":\"{base}.containers[0].image\"}}]"
            )
        };
        let template = |policy: &str| json!({"metadata": {"labels": {"app": "x"}}, "spec": {"restartPolicy": policy, "containers": [{"name": "web", "image": "placeholder"}]}});
        let (base, spec) = match *kind {
            "CronJob" => (
                "spec.jobTemplate.spec.template.spec",
                json!({"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": template("Never")}}}),
            ),
            "StatefulSet" => (
                "spec.template.spec",
                json!({"serviceName": "x", "selector": {"matchLabels": {"app": "x"}}, "template": template("Always")}),
            ),
            _ => (
                "spec.template.spec",
                json!({"selector": {"matchLabels": {"app": "x"}}, "template": template("Always")}),
            ),
        };
        let object = json!({"apiVersion": format!("{group}/v1"), "kind": kind, "metadata": {"name": "role", "annotations": {"image.openshift.io/triggers": triggers(base)}}, "spec": spec});
        let path = format!("/apis/{group}/v1/namespaces/default/{resource}");
        let (status, body) = plain.call("POST", &path, Some(("application/json", object)));
        assert_eq!(status, 201, "{body}");
    }
    let mut said = String::new();
    let mut is_good = true;
    for step in [Some(&["1", "2"][..]), Some(&["2", "3"]), None] {
        match step {
            Some(tags) => plain.define("app", tags),
            None => plain.remove("app"),
        }
        let (code, out, err) = plain.run(&["apply", "--yes", "--as", "keeper", "--wait=1ms"]);
        // Roll-outs do not end: nobody runs pods here.
        let all = format!("{out}{err}");
        // The role is for one namespace, and that is no lack of it.
        let lacks = |line: &str| {
            (line.contains("grant") || line.contains("forbidden")) && !line.contains("workloads of other namespaces")
        };
        is_good &= matches!(code, 0 | 5) && !all.lines().any(lacks);
        said.push_str(&format!("{code} {all}"));
    }
    for (_, group, resource) in KINDS {
        let path = format!("/apis/{group}/v1/namespaces/default/{resource}/role");
        let (_, object) = plain.call("GET", &path, None);
        is_good &= object.to_string().contains("@sha256:");
        plain.call("DELETE", &path, None);
    }
    is_good &= plain.stream("app").is_none();
    plain.call("DELETE", &format!("{STREAMS}/namespaces/default/imagestreams/app"), None);
    (is_good, said)
}

const KINDS: &[(&str, &str, &str)] = &[
    ("Deployment", "apps", "deployments"),
    ("StatefulSet", "apps", "statefulsets"),
    ("DaemonSet", "apps", "daemonsets"),
    ("CronJob", "batch", "cronjobs"),
];

fn the_example_role_is_enough_and_no_more(plain: &Plain) {
    give_role(plain, None);
    let (is_good, said) = everything_as_keeper(plain);
    assert!(is_good, "{said}");
    let (_, events) = plain.call("GET", "/apis/events.k8s.io/v1/namespaces/default/events", None);
    let notes: Vec<&str> =
        events["items"].as_array().unwrap().iter().filter_map(|event| event["note"].as_str()).collect();
    assert!(notes.iter().any(|note| note.contains("web follows default/app:2: sha256:")), "{notes:?}");
    for grant in crate::openshift_roles::granted("examples/kubernetes/rbac-namespaced.yaml") {
        give_role(plain, Some(&grant));
        let (is_good, said) = everything_as_keeper(plain);
        assert!(!is_good, "{grant:?} is granted and not needed: {said}");
    }
    let (code, out, err) = plain.run(&["plan", "--as", "nobody"]);
    assert!(
        code == 0 && out.contains("grant `list` on `imagestreams` in `image.streamkeeper.io`"),
        "{code} {out}{err}"
    );
}

fn bare_pods_and_replica_sets_get_their_images(plain: &Plain) {
    let config = plain.folder.path().join("source/streamkeeper.yaml");
    let before = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        format!("{before}policy: {{workloads: {{kinds: [Pod, ReplicaSet, ReplicationController, Job]}}}}\n"),
    )
    .unwrap();
    let trigger = |base: &str| {
        let triggers = json!([{"from": {"kind": "ImageStreamTag", "name": "app:1"}, "fieldPath": format!("{base}.containers[0].image")}]);
        json!({"name": "bare", "annotations": {"image.openshift.io/triggers": triggers.to_string()}})
    };
    let pod = json!({"restartPolicy": "Never", "containers": [{"name": "web", "image": "placeholder"}, {"name": "side", "image": "side:1"}]});
    let template = |policy: &str| {
        let mut pod = pod.clone();
        pod["restartPolicy"] = policy.into();
        json!({"metadata": {"labels": {"app": "bare"}}, "spec": pod})
    };
    for (path, object) in [
        (
            "/api/v1/namespaces/default/pods",
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": trigger("spec"), "spec": pod}),
        ),
        (
            "/api/v1/namespaces/default/replicationcontrollers",
            json!({"apiVersion": "v1", "kind": "ReplicationController", "metadata": trigger("spec.template.spec"), "spec": {"replicas": 0, "selector": {"app": "bare"}, "template": template("Always")}}),
        ),
        (
            "/apis/apps/v1/namespaces/default/replicasets",
            json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": trigger("spec.template.spec"), "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "bare"}}, "template": template("Always")}}),
        ),
        (
            "/apis/batch/v1/namespaces/default/jobs",
            json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": trigger("spec.template.spec"), "spec": {"suspend": true, "template": template("Never")}}),
        ),
    ] {
        let (status, body) = plain.call("POST", path, Some(("application/json", object)));
        assert_eq!(status, 201, "{body}");
    }
    let (code, out, err) = plain.run(&["apply", "--yes"]);
    assert!(code == 0 && err.contains("Job default/bare") && err.contains("use a CronJob"), "{code} {out}{err}");
    let (code, out, err) = plain.run(&["plan", "--exit-code"]);
    assert_eq!(code, 0, "{out}{err}");
    for (path, place, is_given) in [
        ("/api/v1/namespaces/default/pods/bare", "/spec", true),
        ("/api/v1/namespaces/default/replicationcontrollers/bare", "/spec/template/spec", true),
        ("/apis/apps/v1/namespaces/default/replicasets/bare", "/spec/template/spec", true),
        ("/apis/batch/v1/namespaces/default/jobs/bare", "/spec/template/spec", false),
    ] {
        let (_, object) = plain.call("GET", path, None);
        let containers = object.pointer(place).unwrap()["containers"].clone();
        assert_eq!(containers[0]["image"].as_str().unwrap().contains("@sha256:"), is_given, "{path}: {containers}");
        assert_eq!(containers[1]["image"], "side:1");
        plain.call("DELETE", path, None);
    }
    std::fs::write(&config, before).unwrap();
}

fn one_of_two_holds_the_lease(plain: &Plain) {
    let config = plain.folder.path().join("source/streamkeeper.yaml");
    let before = std::fs::read_to_string(&config).unwrap();
    let lease = "run: {lease: {namespace: default, name: keeper, duration: 3s}}\n";
    std::fs::write(&config, format!("{before}{lease}")).unwrap();
    plain.define("app", &["1"]);
    let start = || {
        let mut command = program(plain.folder.path());
        command.args(["run", "--log", "json", "-s", "source", "--target", "kubernetes", "--kubeconfig", "kubeconfig"]);
        crate::daemon::Daemon::spawn(command)
    };
    let holder = || {
        let (_, lease) = plain.call("GET", "/apis/coordination.k8s.io/v1/namespaces/default/leases/keeper", None);
        lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
    };
    let mut first = start();
    first.wait("pass", 1);
    let was = holder();
    assert!(!was.is_empty());
    let second = start();
    std::thread::sleep(Duration::from_secs(4));
    assert!(second.lines().iter().all(|line| line["message"] != "pass") && holder() == was, "it is renewed");
    // What it has written itself, it does not hear of; what others write, it does.
    std::thread::sleep(Duration::from_secs(3));
    let causes =
        || first.wait("pass", 1).iter().map(|line| line["cause"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(causes(), ["start", "due"]);
    let path = format!("{STREAMS}/namespaces/default/imagestreams/app");
    let patch = json!([{"op": "replace", "path": "/spec/lookupPolicy/local", "value": true}]);
    assert_eq!(plain.call("PATCH", &path, Some(("application/json-patch+json", patch))).0, 200);
    let since = std::time::Instant::now();
    while plain.stream("app").unwrap()["spec"]["lookupPolicy"]["local"] != false {
        assert!(since.elapsed() < Duration::from_secs(5), "{:#?}", first.lines());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(causes()[2], "target");
    first.signal("TERM");
    assert_eq!(first.ended(), Some(0));
    second.wait("pass", 1);
    assert_ne!(holder(), was);
    plain.define("app", &["1", "2"]);
    second.wait("pass", 2);
    drop(second);
    plain.remove("app");
    std::fs::write(&config, before).unwrap();
    plain.apply();
}
