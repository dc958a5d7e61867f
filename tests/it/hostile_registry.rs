//! Registries that lie, stall, flood and send one elsewhere: each ends in a finding for its own image, in bounded memory, and
//! no secret leaves for another host.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::Value;

use crate::registry::stream;
use crate::sim::registry::{self, Content, IMAGE, INDEX, LIST, error};
use crate::sim::server::{Reply, Request, Server};
use crate::support::program;

/// More than any image of the tests would take; the limit is that of a small pod. The allocator keeps what it was given for a
/// moment, on busy machines for longer.
const MEMORY_KIB: u64 = 192 * 1024;
const GIB: usize = 1 << 30;

/// A host, what it is asked for, and what of its finding has to be read.
struct Case {
    name: &'static str,
    server: Server,
    expected: &'static [&'static str],
}

/// An image of its own for each: what is known by digest from one registry need not be had from another.
fn sound() -> Content {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let mut content = Content::default();
    let image = content.image("a", "amd64", &NUMBER.fetch_add(1, Ordering::Relaxed).to_string());
    content.tag("a", "1", &image);
    content
}

/// A good registry but for what `wrap` does.
fn but(wrap: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) -> Server {
    registry::Registry::wrapped(sound(), wrap).server
}

/// A HEAD that promises a list, and this for GET.
fn promised(get: impl Fn() -> Reply + Send + Sync + 'static) -> Server {
    let digest = registry::digest(b"promised");
    Server::start(move |request| {
        if request.method == "HEAD" {
            Reply::new("200 OK", &[("Content-Type", LIST), ("Docker-Content-Digest", &digest)], "")
        } else {
            get()
        }
    })
}

/// So many zeros as gzip, without the checksum at its end: nobody gets that far.
fn gzipped(zeros: usize) -> Vec<u8> {
    let mut deflate = flate2::Compress::new(flate2::Compression::best(), false);
    let mut mebibyte = Vec::with_capacity(1 << 16);
    // Flushed wholly, a block depends on nothing before it.
    deflate.compress_vec(&vec![0; 1 << 20], &mut mebibyte, flate2::FlushCompress::Full).unwrap();
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255];
    bytes.extend(mebibyte.repeat(zeros >> 20));
    bytes
}

/// Hosts that others point at. They answer nothing good, and whoever shows them a secret has lost.
fn bystander(status: &'static str) -> Server {
    Server::start(move |_| error(status, "DENIED", "not for you"))
}

fn cases(elsewhere: &[Server]) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name, server, expected| cases.push(Case { name, server, expected });
    let is_get = |request: &Request| request.method == "GET" && request.path.contains("/manifests/");

    add(
        "wrong-digest",
        but(
            move |request, reply| {
                if is_get(request) { Reply::new("200 OK", &[("Content-Type", IMAGE)], "{}") } else { reply }
            },
        ),
        &["asked for sha256:", "and got sha256:"],
    );
    add(
        "other-type",
        but(move |request, reply| match reply {
            Reply::Whole(status, _, body) if is_get(request) => {
                Reply::Whole(status, vec![("Content-Type".to_owned(), INDEX.to_owned())], body)
            }
            other => other,
        }),
        &["says it is something else"],
    );
    add(
        "other-config",
        but(
            move |request, reply| {
                if request.path.contains("/blobs/") { Reply::new("200 OK", &[], "{}") } else { reply }
            },
        ),
        &["the config of sha256:"],
    );
    add(
        "no-blob",
        but(
            move |request, reply| {
                if request.path.contains("/blobs/") { error("404 Not Found", "BLOB_UNKNOWN", "gone") } else { reply }
            },
        ),
        &["BLOB_UNKNOWN"],
    );
    add(
        "named-and-gone",
        but(
            move |request, reply| {
                if is_get(request) { error("404 Not Found", "MANIFEST_UNKNOWN", "gone") } else { reply }
            },
        ),
        &["and does not have it"],
    );
    add(
        "pinned-otherwise",
        Server::start(|_| {
            let other = registry::digest(b"other");
            Reply::new("200 OK", &[("Content-Type", IMAGE), ("Docker-Content-Digest", &other)], "")
        }),
        &["was told sha256:"],
    );

    add(
        "manifest-of-a-gigabyte",
        promised(|| Reply::Repeat {
            head: format!("HTTP/1.1 200 OK\r\nContent-Type: {LIST}\r\nContent-Length: {GIB}\r\n\r\n"),
            chunk: vec![b' '; 1 << 16],
            times: GIB >> 16,
        }),
        &["larger than 4194304 bytes"],
    );
    let bomb = gzipped(GIB);
    add(
        "gzip-bomb",
        promised(move || Reply::new("200 OK", &[("Content-Type", LIST), ("Content-Encoding", "gzip")], bomb.clone())),
        &["larger than 4194304 bytes"],
    );
    add("brackets", promised(|| Reply::new("200 OK", &[("Content-Type", LIST)], "[".repeat(4 << 20))), &["asked for"]);
    add(
        "headers-without-end",
        Server::start(|_| Reply::Repeat {
            head: "HTTP/1.1 200 OK\r\n".to_owned(),
            chunk: format!("X-A: {}\r\n", "a".repeat(60_000)).into_bytes(),
            times: GIB >> 16,
        }),
        &[],
    );
    add(
        "drip",
        Server::start(|_| Reply::Drip {
            head: format!("HTTP/1.1 200 OK\r\nContent-Type: {LIST}\r\nContent-Length: 100000\r\n\r\n"),
            every: Duration::from_millis(200),
            times: 100,
        }),
        &["timed out"],
    );
    add(
        "silent",
        Server::start(|_| Reply::Drip { head: String::new(), every: Duration::from_secs(3), times: 3 }),
        &["timed out"],
    );
    add(
        "crowded-list",
        promised(|| {
            let entry = format!("{{\"mediaType\":\"{IMAGE}\",\"digest\":\"sha256:{}\",\"size\":0}},", "0".repeat(64));
            Reply::new(
                "200 OK",
                &[("Content-Type", LIST)],
                format!("{{\"schemaVersion\":2,\"manifests\":[{}]}}", entry.repeat(20_000).trim_end_matches(',')),
            )
        }),
        &["asked for"],
    );

    let realm = elsewhere[0].host.clone();
    add(
        "realm-elsewhere",
        Server::start(move |_| {
            error("401 Unauthorized", "UNAUTHORIZED", "who are you")
                .header("WWW-Authenticate", &format!("Bearer realm=\"http://{realm}/token\",service=\"s\""))
        }),
        &["answers 403", "set `tokenService`"],
    );
    add(
        "challenge-of-a-thousand",
        Server::start(|_| {
            let many: String = (0..1000).map(|at| format!(",p{at}=\"v\"")).collect();
            Reply::new(
                "401 Unauthorized",
                &[("WWW-Authenticate", &format!("Bearer realm=\"http://127.0.0.1/t\"{many}"))],
                "",
            )
        }),
        &["answers 401"],
    );
    add(
        "realm-without-https",
        Server::start(|_| Reply::new("401 Unauthorized", &[("WWW-Authenticate", "Bearer realm=\"ftp://x/t\"")], "")),
        &["is not https"],
    );
    add(
        "realm-with-a-login",
        Server::start(|_| {
            Reply::new("401 Unauthorized", &[("WWW-Authenticate", "Bearer realm=\"http://a:b@127.0.0.1/t\"")], "")
        }),
        &["has a login in it"],
    );
    add(
        "realm-at-the-metadata-service",
        Server::start(|_| {
            Reply::new(
                "401 Unauthorized",
                &[("WWW-Authenticate", "Bearer realm=\"http://169.254.169.254/latest/meta-data\"")],
                "",
            )
        }),
        &["169.254.169.254, where no registry is"],
    );
    add(
        "token-of-a-gigabyte",
        Server::start(|request| {
            if request.path.starts_with("/token") {
                return Reply::Repeat {
                    head: format!("HTTP/1.1 200 OK\r\nContent-Length: {GIB}\r\n\r\n"),
                    chunk: vec![b'a'; 1 << 16],
                    times: GIB >> 16,
                };
            }
            let host = request.header("host").unwrap_or_default().to_owned();
            Reply::new(
                "401 Unauthorized",
                &[("WWW-Authenticate", &format!("Bearer realm=\"http://{host}/token\""))],
                "",
            )
        }),
        &["larger than 262144 bytes"],
    );

    add(
        "retry-after-the-end-of-time",
        Server::start(|_| {
            error("429 Too Many Requests", "TOOMANYREQUESTS", "later").header("Retry-After", "18446744073709551615")
        }),
        &["rateLimited"],
    );
    add(
        "platform-of-a-megabyte",
        {
            let digest = registry::digest(b"x");
            let list = format!(
                "{{\"schemaVersion\":2,\"mediaType\":\"{LIST}\",\"manifests\":[{{\"mediaType\":\"{IMAGE}\",\"digest\":\"{digest}\",\"size\":1,\"platform\":{{\"os\":\"{}\",\"architecture\":\"amd64\"}}}}]}}",
                "x".repeat(1 << 20)
            );
            let named = registry::digest(list.as_bytes());
            Server::start(move |_| {
                Reply::new("200 OK", &[("Content-Type", LIST), ("Docker-Content-Digest", &named)], list.clone())
            })
        },
        &["names a platform that is none"],
    );
    let sends_on = |to: String| Server::start(move |_| Reply::new("307 Temporary Redirect", &[("Location", &to)], ""));
    add("sent-elsewhere", sends_on(format!("http://{}/v2/a/manifests/1", elsewhere[1].host)), &["answers 403"]);
    add(
        "sent-to-the-metadata-service",
        sends_on("http://169.254.169.254/latest/meta-data".to_owned()),
        &["169.254.169.254, where no registry is"],
    );
    add("sent-to-a-decimal", sends_on("http://2852039166/latest".to_owned()), &["where no registry is"]);
    add("sent-to-this-machine", sends_on("http://127.0.0.1:1/v2/a/manifests/1".to_owned()), &["private address"]);
    add("sent-to-a-file", sends_on("file:///etc/passwd".to_owned()), &["without https"]);
    add(
        "sent-around",
        Server::start(|request| {
            let again = format!("{}x", request.path);
            Reply::new("302 Found", &[("Location", &again)], "")
        }),
        &["more than 5 times"],
    );
    add("sent-nowhere", Server::start(|_| Reply::new("302 Found", &[], "")), &["on to nowhere"]);

    add(
        "error-with-escapes",
        Server::start(|request| {
            let status = if request.method == "HEAD" { "404 Not Found" } else { "403 Forbidden" };
            error(status, "DENIED\u{1b}[31m", "\u{1b}]0;owned\u{7}\u{1b}[2J::error::\r\n@everyone \u{202e}gpj")
        }),
        &["DENIED\\u{1b}[31m", "\\u{202e}"],
    );
    add(
        "error-of-megabytes",
        Server::start(|request| {
            let status = if request.method == "HEAD" { "404 Not Found" } else { "400 Bad Request" };
            error(status, "BAD", &"x".repeat(8 << 20))
        }),
        &["answers 400"],
    );
    add("not-http", Server::start(|_| Reply::Cut(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())), &[]);

    // A connection that breaks: in the status line, a header name, a header value, before the body, in it, before its last byte.
    let whole = registry::answer(
        &sound(),
        &Request {
            method: "GET".to_owned(),
            path: "/v2/a/manifests/1".to_owned(),
            head: format!("GET / HTTP/1.1\r\nhost: x\r\nuser-agent: streamkeeper/x\r\naccept: {IMAGE}\r\n\r\n"),
            body: String::new(),
        },
    )
    .bytes(false);
    let body_at = whole.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    for (name, at) in [
        ("cut-at-once", 0),
        ("cut-in-the-status", 7),
        ("cut-in-a-name", 22),
        ("cut-in-a-value", 40),
        ("cut-after-the-head", body_at),
        ("cut-in-the-body", body_at + 50),
        ("cut-before-the-end", whole.len() - 1),
    ] {
        let bytes = whole[..at].to_vec();
        add(name, but(move |request, reply| if is_get(request) { Reply::Cut(bytes.clone()) } else { reply }), &[]);
    }
    cases
}

/// Repositories that are imported whole.
fn listings() -> Vec<Case> {
    let page = |tags: String, next: String| {
        Reply::new("200 OK", &[("Link", &format!("<{next}>; rel=\"next\""))], format!("{{\"tags\":[{tags}]}}"))
    };
    let number =
        |request: &Request| request.path.rsplit('=').next().and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
    vec![
        Case {
            name: "pages-without-end",
            server: Server::start(move |request| {
                let at = number(request) + 1;
                page(format!("\"t{at}\""), format!("/v2/a/tags/list?page={at}"))
            }),
            expected: &["does not end"],
        },
        Case {
            name: "pages-in-a-circle",
            server: Server::start(move |request| {
                let at = (number(request) + 1) % 3;
                page(format!("\"t{at}-{}\"", request.head.len()), format!("/v2/a/tags/list?page={at}"))
            }),
            expected: &["list of tags"],
        },
        Case {
            name: "list-of-a-gigabyte",
            server: Server::start(|_| Reply::Repeat {
                head: format!("HTTP/1.1 200 OK\r\nContent-Length: {GIB}\r\n\r\n{{\"tags\":["),
                chunk: "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",".repeat(1800).into_bytes(),
                times: GIB >> 16,
            }),
            expected: &["larger than 4194304 bytes"],
        },
    ]
}

/// Runs the program and gives its exit code, what it wrote, and the most memory it had, in KiB.
pub fn measured(folder: &Path, arguments: &[&str]) -> (i32, String, u64) {
    let mut command = program(folder);
    command.args(arguments).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    command.env("DOCKER_CONFIG", folder.join("docker"));
    let child = command.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let watch = std::thread::spawn(move || {
        let mut most = 0;
        while let Ok(text) = std::fs::read_to_string(&status) {
            let high = text
                .lines()
                .find_map(|line| line.strip_prefix("VmHWM:"))
                .and_then(|rest| rest.trim().split(' ').next()?.parse().ok());
            let Some(high) = high else { break };
            most = most.max(high);
            std::thread::sleep(Duration::from_millis(5));
        }
        most
    });
    let output = child.wait_with_output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap_or(-1), text, watch.join().unwrap())
}

#[test]
fn each_ends_in_a_finding_for_its_own_image_and_no_secret_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir_all(&source).unwrap();
    std::fs::create_dir_all(folder.path().join("docker")).unwrap();
    let elsewhere = [bystander("403 Forbidden"), bystander("403 Forbidden")];
    let (cases, listings) = (cases(&elsewhere), listings());
    let good = registry::Registry::start(sound()).server;

    let mut config = "registries:\n".to_owned();
    let mut logins = BTreeMap::new();
    let hosts: Vec<&str> = cases
        .iter()
        .chain(&listings)
        .map(|case| case.server.host.as_str())
        .chain([good.host.as_str()])
        .chain(elsewhere.iter().map(|server| server.host.as_str()))
        .collect();
    for (at, host) in hosts.iter().enumerate() {
        // Trusted as far as a config can: logins may travel over plain http.
        config += &format!("  - {{host: '{host}', private: true, insecure: true, timeout: 1s}}\n");
        logins.insert((*host).to_owned(), format!("hunter{at}canary"));
    }
    std::fs::write(source.join("streamkeeper.yaml"), config).unwrap();
    let auths: serde_json::Map<String, Value> = logins
        .iter()
        .map(|(host, secret)| (host.clone(), serde_json::json!({"username": "user", "password": secret})))
        .collect();
    std::fs::write(folder.path().join("docker/config.json"), serde_json::json!({ "auths": auths }).to_string())
        .unwrap();

    let mut text = stream("good", &[("1", &format!("{}/a:1", good.host))], "");
    for case in &cases {
        let reference = if case.name == "pinned-otherwise" {
            format!("a@{}", registry::digest(b"pinned"))
        } else {
            "a:1".to_owned()
        };
        text += &stream(case.name, &[("1", &format!("{}/{reference}", case.server.host))], "");
    }
    for case in &listings {
        text += &format!(
            "---\napiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {{name: {}}}\nspec: {{dockerImageRepository: '{}/a'}}\n",
            case.name, case.server.host
        );
    }
    std::fs::write(source.join("streams.yaml"), text).unwrap();

    let started = Instant::now();
    let (code, said, memory) = measured(folder.path(), &["plan", "-s", "source", "--out", "plan.json"]);
    assert_eq!(code, 0, "{said}");
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    assert!(memory > 1024 && memory < MEMORY_KIB, "{memory} KiB");
    let plan: Value = serde_json::from_slice(&std::fs::read(folder.path().join("plan.json")).unwrap()).unwrap();
    let waits: BTreeMap<String, String> = plan["deferred"]
        .as_array()
        .unwrap()
        .iter()
        .map(|deferred| {
            let name =
                deferred["stream"].as_str().map_or_else(|| deferred["stream"]["name"].to_string(), str::to_owned);
            let name = name.trim_matches('"').rsplit('/').next().unwrap().to_owned();
            (name, deferred["wait"].to_string())
        })
        .collect();
    for case in cases.iter().chain(&listings) {
        let wait = waits.get(case.name).unwrap_or_else(|| panic!("{} has a finding: {said}", case.name));
        let detail: Value = serde_json::from_str(wait).unwrap();
        let shown = format!(
            "{} {}",
            detail["unknown"]["cause"].as_str().unwrap_or_default(),
            detail["unknown"]["detail"].as_str().unwrap_or_default()
        );
        let cause_words = shown.replace("timedOut", "timed out");
        for expected in case.expected {
            assert!(cause_words.contains(expected), "{}: {expected:?} in {shown}", case.name);
        }
        assert!(shown.len() < 1200, "{}: {} characters", case.name, shown.len());
    }
    assert_eq!(waits.len(), cases.len() + listings.len(), "nobody else has one");
    assert!(!said.contains('\u{1b}') && !said.contains('\u{202e}') && !said.contains('\u{7}'), "inert");

    // The good one goes its way, and a second look finds the same.
    let (code, said, memory) = measured(folder.path(), &["apply", "-s", "source", "--yes"]);
    assert_eq!(code, 5, "{said}");
    assert!(memory < MEMORY_KIB, "{memory} KiB");
    let (_, got, _) = measured(folder.path(), &["get", "istag", "-s", "source", "-o", "name"]);
    assert_eq!(got.trim(), "imagestreamtag.image.openshift.io/good:1");

    // Every secret was heard by its own host, if by any.
    let servers: Vec<&Server> =
        cases.iter().chain(&listings).map(|case| &case.server).chain([&good]).chain(&elsewhere).collect();
    let mut shown = 0;
    for server in &servers {
        let heard = server.heard();
        for (host, secret) in &logins {
            let encoded = base64::engine::general_purpose::STANDARD.encode(format!("user:{secret}"));
            let is_heard = heard.contains(&encoded) || heard.contains(secret);
            assert!(!is_heard || *host == server.host, "{} heard the secret of {host}", server.host);
            shown += usize::from(is_heard);
        }
    }
    assert!(elsewhere.iter().all(|server| !server.seen().is_empty()), "they were asked");
    assert!(shown > 0, "some secret was shown to its own host, so that this can fail");
    let mut stack = vec![folder.path().join("source/.streamkeeper"), folder.path().join("plan.json")];
    while let Some(path) = stack.pop() {
        if path.is_dir() {
            stack.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        for secret in logins.values().chain([&"canary".to_owned()]) {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{} has {secret}", path.display());
        }
    }
    assert!(!said.contains("canary"), "{said}");
}
