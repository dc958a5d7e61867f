//! The HTTP server of `run` under attack: clients that take every connection, forged webhooks, pages of strangers; and secrets that are
//! renewed while it runs.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::cli::site;
use crate::daemon::{Daemon, ask, configure};

const SECRET: &str = "a secret of this test alone";

/// A `run` over an empty source that listens as the text says.
fn serving(listen: &str, more: &str) -> (tempfile::TempDir, Daemon, String) {
    let folder = site();
    std::fs::write(folder.path().join("source/secret"), SECRET).unwrap();
    std::fs::write(folder.path().join("source/token"), "a token of this test alone\n").unwrap();
    configure(folder.path(), &format!("run:\n  listen: {{address: '127.0.0.1:0'{listen}}}\n{more}"));
    let daemon = Daemon::start(folder.path(), &["-s", "source"]);
    daemon.wait("pass", 1);
    let address = daemon.address();
    (folder, daemon, address)
}

/// Holds as many connections as it gets from one address of this machine, each silent after its first byte.
async fn hold(from: Ipv4Addr, to: SocketAddr, stop: Arc<AtomicBool>, held: Arc<AtomicUsize>) {
    use tokio::io::AsyncWriteExt;

    let mut open = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        open.retain(|stream: &tokio::net::TcpStream| match stream.try_read(&mut [0; 16]) {
            Ok(_) => false,
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        });
        for _ in open.len()..512 {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::new(IpAddr::V4(from), 0)).unwrap();
            let connected = tokio::time::timeout(Duration::from_millis(300), socket.connect(to)).await;
            let Ok(Ok(mut stream)) = connected else { break };
            if stream.write_all(b"G").await.is_ok() {
                open.push(stream);
            }
        }
        held.fetch_max(open.len(), Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_client_with_three_addresses_keeps_nobody_out() {
    let (_folder, daemon, address) = serving(", health: '127.0.0.1:0'", "");
    let probes = daemon.wait("listens for probes", 1)[0]["address"].as_str().unwrap().to_owned();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (stop, held) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    for last in 20..23 {
        let from = Ipv4Addr::new(127, 0, 0, last);
        runtime.spawn(hold(from, address.parse().unwrap(), Arc::clone(&stop), Arc::clone(&held)));
    }
    std::thread::sleep(Duration::from_secs(2));
    for _ in 0..5 {
        let begun = Instant::now();
        // Without a token, of this machine: it is answered.
        assert_eq!(ask(&address, "GET", "/api/v1/status", "", b"").0, 200);
        for path in ["/livez", "/readyz"] {
            assert_eq!(ask(&probes, "GET", path, "", b"").0, 200);
            assert_eq!(ask(&address, "GET", path, "", b"").0, 404, "probes have an address of their own");
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(ask(&probes, "GET", "/metrics", "", b"").0, 404, "and nothing else is there");
    assert!(held.load(Ordering::Relaxed) >= 32, "they did hold some: {held:?}");
    stop.store(true, Ordering::Relaxed);
    runtime.shutdown_timeout(Duration::from_secs(5));
}

fn signature(body: &[u8]) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    format!("X-Hub-Signature-256: sha256={}\r\n", hex::encode(ring::hmac::sign(&key, body)))
}

#[test]
fn genuine_webhooks_of_every_size_are_taken_during_a_flood_of_forged_ones() {
    let (_folder, daemon, address) =
        serving("", "  webhooks: [{kind: github, secretFile: secret}, {kind: generic, secretFile: secret}]");
    let before = daemon.status_of("VmRSS:");
    let forged = format!("X-Hub-Signature-256: sha256={}\r\n", "0".repeat(64));
    let large = vec![b'x'; 2 * 1024 * 1024];
    let (stop, taken) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let (code, _) = ask(&address, "POST", "/webhooks/github", &forged, &large);
                    assert!(matches!(code, 403 | 408 | 0), "{code}");
                }
            });
        }
        for size in [2, 64 * 1024, 64 * 1024 + 1, 1024 * 1024, large.len()] {
            let body = &large[..size];
            let (code, said) = ask(&address, "POST", "/webhooks/github", &signature(body), body);
            assert_eq!(code, 202, "{size}: {said}");
            taken.fetch_add(1, Ordering::Relaxed);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(taken.into_inner(), 5);
    let (code, _) = ask(&address, "POST", "/webhooks/github", &signature(&large), &[&large[..], b"x"].concat());
    assert!(matches!(code, 413 | 0), "{code}");
    // Times that are no times.
    for time in ["-9223372036854775808", "9223372036854775807", "99999999999999999999", "", "x"] {
        let header = format!("X-Streamkeeper-Signature: t={time},v1={}\r\n", "0".repeat(64));
        assert_eq!(ask(&address, "POST", "/webhooks/generic", &header, b"{}").0, 403, "{time}");
    }
    assert_eq!(ask(&address, "GET", "/livez", "", b"").0, 200);
    let after = daemon.status_of("VmRSS:");
    assert!(after < before + 40_000, "{before} {after} KiB");
}

/// A request with this host, to a server that listens there.
fn as_host(address: &str, host: &str, path: &str) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

#[test]
fn without_a_token_only_this_machine_is_answered_as_the_host() {
    let (folder, daemon, address) = serving("", "");
    let port = address.rsplit_once(':').unwrap().1;
    for path in ["/api/v1/status", "/metrics"] {
        for host in [&*address, &format!("localhost:{port}"), "LOCALHOST", "127.0.0.2", &format!("[::1]:{port}")] {
            assert_eq!(as_host(&address, host, path), 200, "{host}");
        }
        for host in [
            "evil.example.net",
            &format!("evil.example.net:{port}"),
            "10.0.0.1",
            "localhost.evil.net",
            "127.0.0.1.evil.net",
            "[fd00::1]",
        ] {
            assert_eq!(as_host(&address, host, path), 421, "{host}");
        }
    }
    // A page of another site may send, though it may not read.
    for header in ["Origin: https://evil.example.net\r\n", "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        assert_eq!(ask(&address, "POST", "/api/v1/reconcile", header, b"").0, 403, "{header}");
        assert_eq!(ask(&address, "GET", "/api/v1/status", header, b"").0, 403, "{header}");
    }
    assert_eq!(ask(&address, "POST", "/api/v1/reconcile", "", b"").0, 202);
    // Probes are asked by whatever name.
    assert_eq!(as_host(&address, "pod.example.net", "/livez"), 200);
    drop(daemon);
    // Whoever has the token may call it by any name.
    configure(folder.path(), "");
    let config = folder.path().join("source/streamkeeper.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("'127.0.0.1:0'", "'127.0.0.1:0', tokenFile: token")).unwrap();
    let daemon = Daemon::start(folder.path(), &["-s", "source"]);
    let address = daemon.address();
    assert_eq!(as_host(&address, "streams.example.net", "/api/v1/status"), 401);
}

#[test]
fn tokens_and_webhook_secrets_are_read_again_when_they_change() {
    let (folder, _daemon, address) = serving(", tokenFile: token", "  webhooks: [{kind: gitlab, secretFile: secret}]");
    let with =
        |token: &str| ask(&address, "GET", "/api/v1/status", &format!("Authorization: Bearer {token}\r\n"), b"").0;
    let hook =
        |secret: &str| ask(&address, "POST", "/webhooks/gitlab", &format!("X-Gitlab-Token: {secret}\r\n"), b"{}").0;
    assert_eq!((with("a token of this test alone"), hook(SECRET)), (200, 202));
    let replace = |name: &str, text: &str| {
        // As Kubernetes does: another file under the name.
        let path = folder.path().join("source").join(name);
        std::fs::write(path.with_extension("new"), text).unwrap();
        std::fs::rename(path.with_extension("new"), path).unwrap();
        std::thread::sleep(Duration::from_millis(1200));
    };
    replace("token", "another token of this test\n");
    assert_eq!((with("a token of this test alone"), with("another token of this test")), (401, 200));
    replace("secret", "another secret of this test\n");
    assert_eq!((hook(SECRET), hook("another secret of this test")), (403, 202));
    // One that is too short, or gone, does not count: the one before does.
    replace("token", "x\n");
    assert_eq!((with("x"), with("another token of this test")), (401, 200));
    std::fs::remove_file(folder.path().join("source/token")).unwrap();
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(with("another token of this test"), 200);
}

/// The certificate that a server shows to a client that trusts these.
fn shown(address: &str, trusted: &[&[u8]]) -> Vec<u8> {
    let mut roots = rustls::RootCertStore::empty();
    trusted.iter().for_each(|certificate| roots.add(certificate.to_vec().into()).unwrap());
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let mut client = rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    while client.is_handshaking() {
        client.complete_io(&mut stream).unwrap();
    }
    client.peer_certificates().unwrap()[0].to_vec()
}

/// Writes a certificate and its key, and gives the certificate.
fn certificate(folder: &Path) -> Vec<u8> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    made.cert.der().to_vec()
}

#[test]
fn a_renewed_certificate_is_shown_to_the_next_client() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = site();
    let source = folder.path().join("source");
    let first = certificate(&source);
    configure(folder.path(), "run: {listen: {address: '127.0.0.1:0', certificate: cert.pem, key: key.pem}}");
    let daemon = Daemon::start(folder.path(), &["-s", "source"]);
    let address = daemon.address();
    assert_eq!(shown(&address, &[&first]), first);
    let second = certificate(&source);
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(shown(&address, &[&first, &second]), second);
    // A key that does not belong to it: the pair before counts.
    std::fs::write(source.join("key.pem"), "nonsense").unwrap();
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(shown(&address, &[&second]), second);
}
