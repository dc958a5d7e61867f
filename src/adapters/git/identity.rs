//! What names a source: the same for every clone of a repository, however it is reached.

use std::path::{Component, Path, PathBuf};

use crate::source::is_url;

use super::objects;

/// The identity of a source: its URL, or that of the remote `origin`, in one spelling, with the path in the repository; the absolute
/// path of a directory that has neither.
pub fn identity(given: &str) -> String {
    if let Some(url) = url_identity(given).filter(|_| is_url(given)) {
        return url;
    }
    let path = Path::new(given.strip_prefix("file://").unwrap_or(given));
    let shown = absolute(path).display().to_string();
    let Ok(Some(repository)) = objects::at(path) else { return shown };
    let origin = repository.config_snapshot().string("remote.origin.url").map(|url| url.to_string());
    let Some(url) = origin.as_deref().and_then(url_identity) else { return shown };
    match objects::prefix(&repository, path).join("/") {
        prefix if prefix.is_empty() => url,
        prefix => format!("{url}//{prefix}"),
    }
}

/// The absolute path of a directory. A link is not resolved: where it is swapped for each revision, its own name stays.
pub fn absolute(path: &Path) -> PathBuf {
    let joined = std::env::current_dir().unwrap_or_default().join(path);
    let mut plain = PathBuf::new();
    for part in joined.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// A URL in one spelling: `host/path`, without scheme, user, default port and `.git`. None for a path.
fn url_identity(url: &str) -> Option<String> {
    let (authority, path, port) = match url.split_once("://") {
        Some(("file", _)) => return None,
        Some((scheme, rest)) => {
            let rest = rest.split(['?', '#']).next().unwrap_or_default();
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let usual = match scheme.to_ascii_lowercase().as_str() {
                "https" => ":443",
                "http" => ":80",
                "ssh" | "git+ssh" | "ssh+git" => ":22",
                "git" => ":9418",
                _ => "",
            };
            (authority, path, usual)
        }
        // As `scp` has it: `user@host:path`. A path has a slash before the colon, if it has one at all.
        None => {
            let (authority, path) = url.split_once(':')?;
            (!authority.contains('/') && !authority.is_empty()).then_some((authority, path, ""))?
        }
    };
    let host = authority.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
    let host = host.strip_suffix(port).filter(|_| !port.is_empty()).unwrap_or(&host);
    let path = path.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path).trim_end_matches('/');
    Some(if path.is_empty() { host.to_owned() } else { format!("{host}/{path}") })
}

#[cfg(test)]
mod tests {
    use super::url_identity;

    #[test]
    fn forms_of_one_repository_are_equal() {
        for url in [
            "https://git.example.com/team/streams",
            "https://git.example.com/team/streams.git",
            "https://git.example.com/team/streams.git/",
            "https://GIT.example.com:443/team/streams",
            "https://user:secret@git.example.com/team/streams?token=x#y",
            "ssh://git@git.example.com/team/streams.git",
            "ssh://git@git.example.com:22/team/streams.git",
            "git@git.example.com:team/streams.git",
            "git.example.com:/team/streams",
        ] {
            assert_eq!(url_identity(url).as_deref(), Some("git.example.com/team/streams"), "{url}");
        }
        assert_eq!(url_identity("https://h:8443/a").as_deref(), Some("h:8443/a"));
        assert_eq!(url_identity("https://[::1]:443/a").as_deref(), Some("[::1]/a"));
        for path in ["/srv/streams", "streams", "./a:b", "file:///srv/streams"] {
            assert_eq!(url_identity(path), None, "{path}");
        }
    }
}
