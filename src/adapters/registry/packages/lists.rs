//! Package databases that are text: dpkg's and apk's.

use super::Add;

/// dpkg's list: paragraphs of `Field: value` (deb-control(5), dpkg(1)). Packages that are not wholly installed are none. A file
/// that stands for one package alone need not have a status.
pub(super) fn dpkg(bytes: &[u8], needs_status: bool, add: &mut Add<'_>) -> Result<(), String> {
    for paragraph in String::from_utf8_lossy(bytes).split("\n\n") {
        let field = |wanted: &str| {
            paragraph.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case(wanted).then(|| value.trim())
            })
        };
        let is_installed = match field("Status") {
            Some(status) => status.split_ascii_whitespace().nth(2) == Some("installed"),
            None => !needs_status,
        };
        if let (true, Some(name), Some(version)) = (is_installed, field("Package"), field("Version")) {
            add(name, version)?;
        }
    }
    Ok(())
}

/// apk's list: paragraphs of `P:name`, `V:version` and more (apk-package(5)).
pub(super) fn apk(bytes: &[u8], add: &mut Add<'_>) -> Result<(), String> {
    for paragraph in String::from_utf8_lossy(bytes).split("\n\n") {
        let field = |wanted: &str| paragraph.lines().find_map(|line| line.strip_prefix(wanted));
        if let (Some(name), Some(version)) = (field("P:"), field("V:")) {
            add(name, version)?;
        }
    }
    Ok(())
}
