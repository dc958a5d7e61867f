//! rpm's database: headers of packages, in one of three kinds of files.

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use super::header::{Add, HEADER, Take, number};
use super::{berkeley, ndb};

/// Bytes of all headers that a file claims to have: the same bytes may be pointed at again and again.
const HEADERS: usize = 1024 * 1024 * 1024;
/// Steps of SQLite's machine between two looks at how many there were, and how often that may be. Some hundred thousand steps read
/// the largest databases.
const STEPS: i32 = 100_000;
const LOOKS: usize = 1_000;

/// Tags of a header (`rpmtag.h`), and the type of a text.
const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const INT32: u32 = 4;
const STRING: u32 = 6;

/// Reads a database by the name of its file. `log` is what SQLite has not put in its place yet.
pub(super) fn read(name: &str, bytes: &[u8], log: Option<&[u8]>, add: &mut Add<'_>) -> Result<(), String> {
    let mut left = HEADERS;
    let mut take = |header: &[u8]| {
        left = left.checked_sub(header.len()).ok_or("it repeats itself")?;
        let package = package(header).ok_or("it has a header that cannot be read")?;
        add(&package.0, &package.1)
    };
    match name {
        "Packages" => berkeley::read(bytes, &mut take),
        "Packages.db" => ndb::read(bytes, &mut take),
        _ => sqlite(bytes, log, &mut take),
    }
}

/// Name and `[epoch:]version-release` of a header: an index of tags, then their data (RPM package file format, header structure;
/// without its magic).
fn package(header: &[u8]) -> Option<(String, String)> {
    let entries = usize::try_from(number(header, 0, true)?).ok()?;
    let data = 8_usize.checked_add(entries.checked_mul(16)?)?;
    if data > header.len() {
        return None;
    }
    let find = |wanted: u32, of_type: u32| {
        let at = (0..entries).map(|entry| 8 + entry * 16);
        let mut at =
            at.filter(|at| number(header, *at, true) == Some(wanted) && number(header, at + 4, true) == Some(of_type));
        let offset = usize::try_from(number(header, at.next()? + 8, true)?).ok()?;
        header.get(data.checked_add(offset)?..)
    };
    let text = |tag: u32| {
        let bytes = find(tag, STRING)?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
    };
    let epoch = find(EPOCH, INT32).and_then(|bytes| number(bytes, 0, true)).filter(|epoch| *epoch > 0);
    let epoch = epoch.map_or_else(String::new, |epoch| format!("{epoch}:"));
    Some((text(NAME)?, format!("{epoch}{}-{}", text(VERSION)?, text(RELEASE)?)))
}

/// The form since rpm 4.16: a table `Packages` with a header a row. The file is a stranger's: it may hold no code that runs, and
/// reading it comes to an end (SQLite, "Defense Against The Dark Arts").
fn sqlite(bytes: &[u8], log: Option<&[u8]>, take: &mut Take<'_>) -> Result<(), String> {
    let unreadable = |error: rusqlite::Error| crate::source::inert(&error.to_string(), 160);
    let unwritable = |error: std::io::Error| format!("there is nowhere to put it: {error}");
    let folder = tempfile::tempdir().map_err(unwritable)?;
    let path = folder.path().join("rpmdb.sqlite");
    std::fs::write(&path, bytes).map_err(unwritable)?;
    if let Some(log) = log {
        std::fs::write(folder.path().join("rpmdb.sqlite-wal"), log).map_err(unwritable)?;
    }
    let mut connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(unreadable)?;
    let mut looks = 0;
    let harden = |connection: &Connection| -> rusqlite::Result<()> {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, i32::try_from(HEADER).unwrap_or(i32::MAX))?;
        connection.pragma_update(None, "cell_size_check", true)?;
        Ok(())
    };
    harden(&connection).map_err(unreadable)?;
    let is_enough = move || {
        looks += 1;
        looks > LOOKS
    };
    connection.progress_handler(STEPS, Some(is_enough)).map_err(unreadable)?;
    // A table that is nothing but a table: a column that is computed would run what it says, and some functions take hours for
    // one step.
    let tables = "SELECT count(*) FROM sqlite_schema WHERE name = 'Packages' AND type = 'table' AND rootpage > 0";
    let computed = "SELECT count(*) FROM pragma_table_xinfo('Packages') WHERE hidden <> 0";
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(unreadable);
    if count(tables)? != 1 || count(computed)? != 0 {
        return Err("it has no plain table of packages".to_owned());
    }
    let mut statement = connection.prepare("SELECT blob FROM Packages").map_err(unreadable)?;
    let mut rows = statement.query([]).map_err(unreadable)?;
    while let Some(row) = rows.next().map_err(unreadable)? {
        let value = row.get_ref(0).map_err(unreadable)?;
        take(value.as_blob().map_err(|_| "it has a row that is no header")?)?;
    }
    Ok(())
}
