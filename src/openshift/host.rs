//! Names of hosts as they stand in references, configs and logins: one spelling for one host.

/// Host and port of `host`, `host:port`, `[::1]` and `[::1]:port`.
pub fn split_port(text: &str) -> (&str, Option<&str>) {
    // An IPv6 address has colons of its own, inside its brackets.
    let from = text.rfind(']').map_or(0, |end| end + 1);
    match text.get(from..).and_then(|rest| rest.rfind(':')) {
        Some(at) => (&text[..from + at], Some(&text[from + at + 1..])),
        None => (text, None),
    }
}

/// The one spelling of `host[:port]`: in lower case, without the dot at the end of a full name, and without https's own port. So
/// `Quay.IO.:443` is `quay.io`.
pub fn normal_host(text: &str) -> String {
    let text = text.to_ascii_lowercase();
    let (host, port) = split_port(&text);
    let host = host.strip_suffix('.').unwrap_or(host);
    match port.map(|port| port.parse::<u16>().map_err(|_| port)) {
        None | Some(Ok(443)) => host.to_owned(),
        Some(Ok(port)) => format!("{host}:{port}"),
        Some(Err(port)) => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_spelling() {
        for (text, expected) in [
            ("docker.io:443", "docker.io"),
            ("Quay.IO.", "quay.io"),
            ("quay.io.:0443", "quay.io"),
            ("r.example.com:5000", "r.example.com:5000"),
            ("[::1]", "[::1]"),
            ("[FD00::1]:443", "[fd00::1]"),
            ("[fd00::1]:5000", "[fd00::1]:5000"),
            ("*.example.com:443", "*.example.com"),
            ("host:port", "host:port"),
        ] {
            assert_eq!(normal_host(text), expected, "{text}");
            assert_eq!(normal_host(expected), expected, "{text}");
        }
        assert_eq!(split_port("[::1]:80"), ("[::1]", Some("80")));
        assert_eq!(split_port("[::1]"), ("[::1]", None));
    }
}
