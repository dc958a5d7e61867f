//! Package databases that are text: dpkg's and apk's.

use super::header::Add;

/// dpkg's list: paragraphs of `Field: value` (deb-control(5), dpkg(1)). A package whose files are not there is none. A file that
/// stands for one package alone need not have a status.
pub(super) fn dpkg(bytes: &[u8], needs_status: bool, add: &mut Add<'_>) -> Result<(), String> {
    each(bytes, |paragraph| {
        let field = |wanted: &str| {
            paragraph.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case(wanted).then(|| value.trim())
            })
        };
        let Some(name) = field("Package") else { return Ok(false) };
        let is_there = match field("Status") {
            Some(status) => !matches!(status.split_ascii_whitespace().nth(2), Some("config-files" | "not-installed")),
            None => !needs_status,
        };
        if is_there {
            add(name, field("Version").ok_or("it has a package without a version")?)?;
        }
        Ok(true)
    })
}

/// apk's list: paragraphs of `P:name`, `V:version` and more (apk-package(5)).
pub(super) fn apk(bytes: &[u8], add: &mut Add<'_>) -> Result<(), String> {
    each(bytes, |paragraph| {
        let field = |wanted: &str| paragraph.lines().find_map(|line| line.strip_prefix(wanted));
        let Some(name) = field("P:") else { return Ok(false) };
        add(name, field("V:").ok_or("it has a package without a version")?)?;
        Ok(true)
    })
}

/// Hands on runs of lines with no empty line between them. A list with something in it and no package is none.
fn each(bytes: &[u8], mut take: impl FnMut(&str) -> Result<bool, String>) -> Result<(), String> {
    let (mut found, mut begun) = (false, 0);
    let mut one = |text: &[u8]| -> Result<(), String> {
        if !text.trim_ascii().is_empty() {
            found |= take(&String::from_utf8_lossy(text))?;
        }
        Ok(())
    };
    for at in 1..bytes.len() {
        if bytes[at] == b'\n' && bytes[at - 1] == b'\n' {
            one(&bytes[begun..at])?;
            begun = at + 1;
        }
    }
    one(bytes.get(begun..).unwrap_or_default())?;
    if found || bytes.trim_ascii().is_empty() { Ok(()) } else { Err("it is no list of packages".to_owned()) }
}
