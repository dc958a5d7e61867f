//! What an account needs on OpenShift: the example roles, held to what is asked; pull secrets where they are wanted.

use serde_json::{Value, json};

use crate::sim::registry::{Content, Registry};
use crate::site::Site;
use crate::support::manifest_folder;

/// Group, resource and verb, as role-based access control names them.
pub type Access = (String, String, String);

pub fn access(request: &crate::sim::server::Request) -> Option<Access> {
    let path = request.path.split('?').next()?.trim_start_matches('/');
    let parts: Vec<&str> = path.split('/').collect();
    let (group, rest) = match parts.as_slice() {
        ["apis", group, _, rest @ ..] => (*group, rest),
        ["api", _, rest @ ..] => ("", rest),
        _ => panic!("{path}"),
    };
    let (resource, name) = match rest {
        ["namespaces", _, "imagestreams", _, "status"] => ("imagestreams/status", Some(&"all")),
        ["namespaces", _, "imagestreams", _, "secrets"] => ("imagestreams/secrets", Some(&"all")),
        ["namespaces", _, resource, rest @ ..] => (*resource, rest.first()),
        [resource, ..] => (*resource, None),
        // Whoever is logged in may ask what there is.
        [] => return None,
    };
    let verb = match (request.method.as_str(), name) {
        ("GET", None) => "list",
        ("GET", Some(_)) => "get",
        ("POST", _) => "create",
        ("PATCH", _) => "patch",
        ("DELETE", _) => "delete",
        (other, _) => panic!("{other}"),
    };
    Some((group.to_owned(), resource.to_owned(), verb.to_owned()))
}

/// What the rules of an example grant, in order.
pub fn granted(file: &str) -> Vec<Access> {
    let text = std::fs::read_to_string(manifest_folder().join(file)).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let mut granted: Vec<Access> = Vec::new();
    for rule in documents.iter().filter_map(|document| document["rules"].as_array()).flatten() {
        let words = |field: &str| -> Vec<String> {
            let words = rule[field].as_array().unwrap().iter();
            words.map(|word| word.as_str().unwrap().to_owned()).collect()
        };
        let group = words("apiGroups").remove(0);
        for resource in words("resources") {
            granted.extend(words("verbs").into_iter().map(|verb| (group.clone(), resource.clone(), verb)));
        }
    }
    granted.sort();
    granted
}

#[test]
fn the_roles_grant_what_is_asked_and_no_more() {
    let site = Site::with_workloads();
    site.define("app", &["1", "2"]);
    site.define("old", &["1"]);
    site.apply();
    site.define("app", &["1", "3"]);
    site.push("1", "moved");
    std::fs::remove_file(site.root().join("source/old.yaml")).unwrap();
    let (code, out, err) = site.run(&["apply", "--yes", "--refresh"]);
    assert_eq!(code, 0, "{out}{err}");
    let mut asked: Vec<Access> = site.cluster.server.seen().iter().filter_map(access).collect();
    // Server-side apply of what is not there is `create` as well.
    asked.push(("image.openshift.io".to_owned(), "imagestreams".to_owned(), "create".to_owned()));
    asked.sort();
    asked.dedup();
    for file in ["rbac-namespaced.yaml", "rbac-cluster.yaml"] {
        let granted = granted(&format!("examples/openshift/{file}"));
        assert_eq!(granted, asked, "{file}");
    }
}

#[test]
fn pull_secrets_are_read_where_they_are_wanted() {
    read_pull_secrets(None, "openshift", "imagestreams/secrets", "grant `get` on `imagestreams/secrets`");
    read_pull_secrets(Some(true), "kubernetes", "secrets", "grant `list` on `secrets`");
}

fn read_pull_secrets(plain: Option<bool>, target: &'static str, resource: &str, told: &str) {
    use base64::Engine;
    let pack = |text: String| base64::engine::general_purpose::STANDARD.encode(text);
    let auth = pack("puller:hunter2canary-pull".to_owned());
    let mut site = Site::with(Registry::with_login(Content::default(), &auth));
    site.target = target;
    site.cluster.world.lock().unwrap().plain = plain;
    // A login of a helper's would start a program: a pull secret cannot.
    let config = json!({"auths": {(site.registry.server.host.clone()): {"auth": auth}}, "credsStore": "evil"});
    let secret = |name: &str, data: String| json!({"metadata": {"name": name}, "type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": data}});
    let secrets = vec![secret("broken", pack("{nope".to_owned())), secret("good", pack(config.to_string()))];
    site.cluster.world.lock().unwrap().secrets.insert("default".to_owned(), secrets);
    site.define("app", &["1"]);
    let (code, out, _) = site.run(&["plan"]);
    assert!(code == 0 && out.contains("access denied"), "{out}");
    assert_eq!(site.cluster.server.count("/secrets"), 0, "nobody asked for them");
    let path = site.root().join("source/streamkeeper.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("private: true", "private: true, insecure: true");
    std::fs::write(&path, format!("{text}pullSecrets: true\n")).unwrap();
    let (code, out, err) = site.run(&["apply", "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(err.contains("the pull secret `broken` is passed over"), "{err}");
    // The role for it is what was asked with.
    let asked: Vec<Access> =
        site.cluster.server.seen().iter().filter_map(access).filter(|(_, asked, _)| asked == resource).collect();
    let text =
        std::fs::read_to_string(manifest_folder().join(format!("examples/{target}/rbac-pull-secrets.yaml"))).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let rule = &documents[0]["rules"][0];
    let granted =
        [&rule["apiGroups"][0], &rule["resources"][0], &rule["verbs"][0]].map(|word| word.as_str().unwrap().to_owned());
    assert_eq!(asked[0], granted.into());
    // A namespace without that secret gets nothing with it, not even of the same image.
    let other = std::fs::read_to_string(site.root().join("source/app.yaml")).unwrap();
    let other = other.replace("name: app", "name: app, namespace: other");
    assert!(other.contains("namespace: other"));
    std::fs::write(site.root().join("source/other.yaml"), other).unwrap();
    let (code, out, err) = site.run(&["apply", "--yes", "--refresh"]);
    assert!(code == 5 && format!("{out}{err}").contains("access denied"), "{code} {out}{err}");
    std::fs::remove_file(site.root().join("source/other.yaml")).unwrap();
    // Who may not read them is told, and goes on without.
    site.cluster.world.lock().unwrap().hidden.insert(resource.to_owned());
    let (code, _, err) = site.run(&["plan"]);
    assert!(code == 0 && err.contains(told), "{err}");
}
