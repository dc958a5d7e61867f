//! A Git repository behind https: Git's own `http-backend` behind a TLS server of the tests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::{git, outcome, program};

pub struct GitServer {
    pub port: u16,
    pub certificate: PathBuf,
    pub seen: Arc<Mutex<Vec<String>>>,
}

impl GitServer {
    /// Serves the repositories in a folder; with `login`, only to who has it.
    pub fn start(folder: &Path, login: Option<&'static str>) -> Self {
        Self::start_as(folder, login, None)
    }

    /// Sends everybody to the same path of another server.
    pub fn redirecting(folder: &Path, to: &str) -> Self {
        Self::start_as(folder, None, Some(to.to_owned()))
    }

    fn start_as(folder: &Path, login: Option<&'static str>, elsewhere: Option<String>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = folder.join("ca.pem");
        std::fs::write(&certificate, key.cert.pem()).unwrap();
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.signing_key.serialize_der()));
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![key.cert.der().clone()], private)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (config, root, seen) = (Arc::new(config), folder.to_owned(), Arc::new(Mutex::new(Vec::new())));
        let log = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().take(100) {
                let (config, root, log) = (Arc::clone(&config), root.clone(), Arc::clone(&log));
                let elsewhere = elsewhere.clone();
                std::thread::spawn(move || {
                    let stream = stream.unwrap();
                    stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
                    let tls = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
                    let _ = serve(tls, &root, (login, elsewhere.as_deref()), &log);
                });
            }
        });
        Self { port, certificate, seen }
    }

    pub fn run(&self, folder: &Path, url: &str, arguments: &[&str]) -> (i32, String, String) {
        let mut command = program(folder);
        command.args(arguments).args(["--source", url, "--store", "store"]).env("SSL_CERT_FILE", &self.certificate);
        outcome(command.output().unwrap())
    }
}

/// One request (the Common Gateway Interface, RFC 3875).
fn serve(
    tls: StreamOwned<ServerConnection, TcpStream>,
    root: &Path,
    (login, elsewhere): (Option<&str>, Option<&str>),
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(tls);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    log.lock().unwrap().push(head.join("\n"));
    let header = |name: &str| {
        head.iter().find_map(|line| {
            line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
        })
    };
    if let Some(login) = login {
        let wanted = format!("Basic {}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, login));
        if header("authorization") != Some(wanted) {
            let answer = "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"git\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            return reader.get_mut().write_all(answer.as_bytes());
        }
    }
    if let Some(elsewhere) = elsewhere {
        let path = head[0].split(' ').nth(1).unwrap_or_default();
        let answer = format!(
            "HTTP/1.1 302 Found\r\nLocation: {elsewhere}{path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        return reader.get_mut().write_all(answer.as_bytes());
    }
    let mut words = head[0].split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut body = Vec::new();
    if let Some(length) = header("content-length").and_then(|length| length.parse().ok()) {
        body.resize(length, 0);
        reader.read_exact(&mut body)?;
    } else if header("transfer-encoding").is_some() {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk)?;
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                break;
            }
        }
    }
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", method)
        .env("CONTENT_TYPE", header("content-type").unwrap_or_default())
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding").unwrap_or_default())
        .env("GIT_PROTOCOL", header("git-protocol").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child.stdin.take().unwrap().write_all(&body)?;
    let output = child.wait_with_output()?.stdout;
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(output.len());
    let headers = String::from_utf8_lossy(&output[..end]).into_owned();
    let status = headers.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK").to_owned();
    let content = output.get(end + 4..).unwrap_or_default();
    let answer =
        format!("HTTP/1.1 {status}\r\n{headers}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", content.len());
    let stream = reader.get_mut();
    stream.write_all(answer.as_bytes())?;
    stream.write_all(content)?;
    stream.conn.send_close_notify();
    stream.flush()
}

fn stream(name: &str) -> String {
    format!(
        "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {{name: {name}}}\nspec:\n  tags: [{{name: pushed}}]\n"
    )
}

/// A bare repository to serve, and a work tree to push from.
pub fn repository(folder: &Path) -> PathBuf {
    git(folder, &["init", "-q", "--bare", "repo.git"]);
    git(folder, &["clone", "-q", "repo.git", "work"]);
    let work = folder.join("work");
    push(&work, "a");
    work
}

pub fn push(work: &Path, name: &str) {
    std::fs::write(work.join(format!("{name}.yaml")), stream(name)).unwrap();
    git(work, &["add", "-A"]);
    git(work, &["commit", "-qm", name]);
    git(work, &["push", "-q", "origin", "HEAD:main"]);
    git(&work.join("../repo.git"), &["symbolic-ref", "HEAD", "refs/heads/main"]);
}

#[test]
fn a_url_is_mirrored_and_fetched_incrementally() {
    let folder = tempfile::tempdir().unwrap();
    let work = repository(folder.path());
    let server = GitServer::start(folder.path(), None);
    let url = format!("https://localhost:{}/repo.git", server.port);
    let (code, out, err) = server.run(folder.path(), &url, &["apply", "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(err.contains("1 stream to create"), "{err}");
    let packs = || {
        let mirrors = folder.path().join("no-home/cache/git");
        let mirror =
            std::fs::read_dir(mirrors).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir()).unwrap();
        assert!(!mirror.join("index").exists() && !mirror.join(".git").exists(), "a bare mirror");
        std::fs::read_dir(mirror.join("objects/pack"))
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|it| it == "pack"))
            .count()
    };
    let uploads = || server.seen.lock().unwrap().iter().filter(|head| head.starts_with("POST")).count();
    assert_eq!(packs(), 1);
    let before = uploads();
    let (code, out, _) = server.run(folder.path(), &url, &["plan", "--exit-code"]);
    assert_eq!((code, packs()), (0, 1), "{out}");
    assert_eq!(uploads() - before, 1, "nothing moved: the refs are listed, and nothing is fetched");
    push(&work, "b");
    let (code, out, _) = server.run(folder.path(), &url, &["plan", "--exit-code"]);
    assert_eq!((code, packs()), (2, 2), "{out}");
    assert!(out.contains("1 stream to create"), "{out}");
    // A branch, a tag and a commit by name; one that is gone upstream is gone.
    git(&work, &["push", "-q", "origin", "HEAD^:refs/heads/old", "HEAD:refs/tags/v1"]);
    let commit = git(&work, &["rev-parse", "HEAD"]);
    for (revision, streams) in [("old", 1), ("v1", 2), ("main", 2), ("refs/heads/old", 1), (commit.as_str(), 2)] {
        let (code, out, err) = server.run(folder.path(), &url, &["plan", "--revision", revision]);
        assert!(code == 0 && out.contains(&format!("({streams} stream")), "{revision}: {out}{err}");
    }
    git(&work, &["push", "-q", "origin", ":refs/heads/old"]);
    let (code, _, err) = server.run(folder.path(), &url, &["plan", "--revision", "old"]);
    assert!(code == 1 && err.contains("has no revision `old`"), "{err}");
    // History that was rewritten is followed.
    git(&work, &["reset", "-q", "--hard", "HEAD^"]);
    std::fs::write(work.join("c.yaml"), stream("c")).unwrap();
    git(&work, &["add", "-A"]);
    git(&work, &["commit", "-qm", "another"]);
    git(&work, &["push", "-q", "-f", "origin", "HEAD:main"]);
    let (_, out, err) = server.run(folder.path(), &url, &["plan"]);
    assert!(out.contains("default/c") && !out.contains("default/b"), "{out}{err}");
}

#[test]
fn logins_are_used_and_not_shown_and_unknown_certificates_refused() {
    let folder = tempfile::tempdir().unwrap();
    repository(folder.path());
    let secret = "hunter2canary";
    let server = GitServer::start(folder.path(), Some("u:hunter2canary"));
    let url = format!("https://u:{secret}@localhost:{}/repo.git", server.port);
    let (code, out, err) = server.run(folder.path(), &url, &["plan", "--out", "p.json"]);
    assert_eq!(code, 0, "{out}{err}");
    let saved = std::fs::read_to_string(folder.path().join("p.json")).unwrap();
    assert!(!format!("{out}{err}{saved}").contains(secret), "{out}{err}");
    let wrong = format!("https://u:wrong-{secret}@localhost:{}/repo.git", server.port);
    let (code, out, err) = server.run(folder.path(), &wrong, &["plan"]);
    assert!(code == 1 && !format!("{out}{err}").contains(secret), "{out}{err}");
    // Without the certificate of the tests nobody is trusted.
    let elsewhere = tempfile::tempdir().unwrap();
    let strict = program(elsewhere.path()).args(["plan", "--source", &url]).output().unwrap();
    let (code, out, err) = outcome(strict);
    assert!(code == 1 && !format!("{out}{err}").contains(secret), "{out}{err}");
    assert!(
        err.to_lowercase().contains("certificate") || err.contains("UnknownIssuer") || err.contains("certs"),
        "{err}"
    );
}

/// Whoever answers for a source may send one to any host. The user's logins for that host are not asked for.
#[test]
fn a_url_takes_a_way_back_from_a_branch_and_the_form_of_scp() {
    let folder = tempfile::tempdir().unwrap();
    let work = repository(folder.path());
    for name in ["b", "c"] {
        push(&work, name);
    }
    let server = GitServer::start(folder.path(), None);
    let url = format!("https://localhost:{}/repo.git", server.port);
    for (revision, streams) in [("HEAD", 3), ("main", 3), ("HEAD~1", 2), ("main~2", 1), ("main^^", 1), ("HEAD", 3)] {
        let (code, out, err) = server.run(folder.path(), &url, &["validate", "--revision", revision]);
        assert!(code == 0 && err.contains(&format!("{streams} stream")), "{revision}: {code} {out}{err}");
    }
    for (revision, expected) in [
        ("main~3", "the history does not go back so far"),
        ("main~5000", "a way back from it"),
        ("main^{tree}", "a way back from it"),
        ("none~1", "no such branch, tag or commit"),
    ] {
        let (code, _, err) = server.run(folder.path(), &url, &["validate", "--revision", revision]);
        assert!(code == 1 && err.contains(expected), "{revision}: {code} {err}");
    }
    // Git calls `ssh HOST git-upload-pack 'PATH'`.
    let ssh = folder.path().join("ssh");
    // With what a shell has itself, wherever Git's own programs are.
    let script = "#!/bin/sh\ncase \"$*\" in -G*) exit 1;; esac\nfor last; do :; done\npath=${last#*git-upload-pack }\npath=${path#\\'}\npath=${path%\\'}\ncd \"${0%/*}\" && exec git upload-pack \"$path\"\n";
    std::fs::write(&ssh, script).unwrap();
    std::fs::set_permissions(&ssh, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let mut command = program(folder.path());
    command
        .args(["validate", "-s", "git@git.example.com:repo.git", "--revision", "HEAD~1"])
        .env("GIT_SSH_COMMAND", &ssh);
    let (code, out, err) = outcome(command.output().unwrap());
    assert!(code == 0 && err.contains("2 streams"), "{code} {out}{err}");
}

#[test]
fn a_redirect_asks_for_no_login_under_another_hosts_name() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    for path in [&one, &other] {
        std::fs::create_dir(path).unwrap();
        repository(path);
    }
    let victim = GitServer::start(&other, Some("u:hunter2canary"));
    let evil = GitServer::redirecting(&one, &format!("https://localhost:{}", victim.port));
    // Both certificates are good, and a helper would answer for any host.
    let both = [&evil.certificate, &victim.certificate].map(|path| std::fs::read_to_string(path).unwrap()).concat();
    std::fs::write(folder.path().join("both.pem"), both).unwrap();
    let home = folder.path().join("home");
    std::fs::create_dir(&home).unwrap();
    let helper = "!f() { cat >> \"$HOME/asked\"; echo username=u; echo password=hunter2canary; }; f";
    std::fs::write(home.join(".gitconfig"), format!("[credential]\n\thelper = {helper:?}\n")).unwrap();
    let run = |port: u16| {
        let mut command = program(folder.path());
        let url = format!("https://localhost:{port}/repo.git");
        command.args(["plan", "--store", "store", "--source", &url]).env("HOME", &home);
        outcome(command.env("SSL_CERT_FILE", folder.path().join("both.pem")).output().unwrap())
    };
    let (code, out, err) = run(evil.port);
    assert!(code == 1 && err.contains("no login is asked for under another host's name"), "{code} {out}{err}");
    assert!(!home.join("asked").exists(), "{}", std::fs::read_to_string(home.join("asked")).unwrap_or_default());
    assert!(victim.seen.lock().unwrap().iter().all(|head| !head.to_lowercase().contains("authorization")));
    // Under its own name it is asked for.
    let (code, out, err) = run(victim.port);
    assert!(code == 0 && home.join("asked").exists(), "{code} {out}{err}");
}
