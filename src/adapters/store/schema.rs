//! Tables, and how they came to be: one migration a version, applied in order, never changed once released.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::adapters::{private_dir, random};
use crate::ports::PortError;

use super::{database, failed};

/// Marks a file as ours (`SKPR`).
const APPLICATION_ID: i32 = 0x534b_5052;

const MIGRATIONS: &[&str] = &["
    CREATE TABLE meta (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- One row a stream: the object as `get -o json` shows it, and what of it is ours.
    CREATE TABLE streams (
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        uid TEXT NOT NULL,
        version INTEGER NOT NULL,
        object TEXT NOT NULL,
        owned TEXT NOT NULL,
        owned_tags INTEGER NOT NULL,
        -- The run that wrote it last.
        run INTEGER NOT NULL,
        PRIMARY KEY (namespace, name)
    ) STRICT, WITHOUT ROWID;

    -- Says which streams are there, at which version, without touching the objects.
    CREATE INDEX streams_by_version ON streams (namespace, name, version, owned_tags);

    -- Who changed what, when, and because of which commit. `tag` is empty for the stream itself; `before` and `after` are
    -- pull specs.
    CREATE TABLE changes (
        id INTEGER PRIMARY KEY,
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        tag TEXT NOT NULL,
        at TEXT NOT NULL,
        run INTEGER NOT NULL,
        step INTEGER NOT NULL,
        revision TEXT,
        dirty INTEGER NOT NULL,
        path TEXT NOT NULL,
        action TEXT NOT NULL,
        reason TEXT NOT NULL,
        before TEXT,
        after TEXT
    ) STRICT;
    CREATE INDEX changes_by_tag ON changes (namespace, name, tag);

    -- When each image was first seen.
    CREATE TABLE images (
        digest TEXT PRIMARY KEY,
        first_seen TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- The journal: a run is written down before its first step and after its last.
    CREATE TABLE runs (
        run INTEGER PRIMARY KEY AUTOINCREMENT,
        started TEXT NOT NULL,
        finished TEXT,
        plan_hash TEXT NOT NULL,
        plan TEXT NOT NULL,
        report TEXT
    ) STRICT;
"];

/// The version that this program writes.
pub(super) const VERSION: usize = MIGRATIONS.len();

/// Opens the database to write, making or migrating it.
pub(super) fn open_to_write(folder: &Path) -> Result<Connection, PortError> {
    let path = database(folder);
    let error = |error| failed("open", folder, error);
    refuse_network(folder)?;
    let unclean = std::fs::metadata(folder.join("store.db-wal")).is_ok_and(|wal| wal.len() > 0);
    let made = |error| PortError::failed(format!("make `{}`", path.display()), error);
    private_dir::make_file(&path).map_err(made)?;
    let mut connection = Connection::open(&path).map_err(error)?;
    configure(&connection).map_err(error)?;
    let (application, version, is_empty) = identify(&connection).map_err(error)?;
    check(folder, application, version, is_empty)?;
    if unclean {
        let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(error)?;
        if verdict != "ok" {
            return Err(damaged(folder, &verdict));
        }
    }
    connection.pragma_update(None, "synchronous", "FULL").map_err(error)?;
    // A store of this version is only looked at here: opening it writes nothing, so that a damaged one stays as it is.
    if version == VERSION {
        connection.query_row("SELECT value FROM meta WHERE key = 'id'", [], |_| Ok(())).map_err(error)?;
        return Ok(connection);
    }
    connection.pragma_update(None, "journal_mode", "WAL").map_err(error)?;
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(error)?;
    for migration in &MIGRATIONS[version..] {
        transaction.execute_batch(migration).map_err(error)?;
    }
    if is_empty {
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(error)?;
        let random = random::<8>();
        let none = || PortError::failed("get random bytes", std::io::Error::other("the system has none"));
        let id = hex::encode(random.ok_or_else(none)?);
        transaction.execute("INSERT INTO meta VALUES ('id', ?1), ('version', '0')", [id]).map_err(error)?;
    }
    let version = i64::try_from(VERSION).unwrap_or(i64::MAX);
    transaction.pragma_update(None, "user_version", version).map_err(error)?;
    transaction.commit().map_err(error)?;
    Ok(connection)
}

/// Opens the database to read; none when there is none.
pub(super) fn open_to_read(folder: &Path) -> Result<Option<Connection>, PortError> {
    let path = database(folder);
    if folder.symlink_metadata().is_ok() && !folder.is_dir() {
        let why = "it is not a folder".to_owned();
        return Err(PortError::Unusable { what: format!("the store `{}`", folder.display()), why });
    }
    if !path.exists() {
        return Ok(None);
    }
    let error = |error| failed("open", folder, error);
    // Write access is for the shared memory of the write-ahead log; `query_only` keeps the data safe.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&path, flags).map_err(error)?;
    configure(&connection).map_err(error)?;
    connection.pragma_update(None, "query_only", true).map_err(error)?;
    let (application, version, is_empty) = identify(&connection).map_err(error)?;
    if is_empty {
        // A store whose making was interrupted: there is nothing in it yet.
        return Ok(None);
    }
    check(folder, application, version, is_empty)?;
    if version < VERSION {
        let why = format!("it was made by an older version (schema {version}, this is {VERSION}); `apply` migrates it");
        return Err(PortError::Unusable { what: format!("the store `{}`", folder.display()), why });
    }
    Ok(Some(connection))
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "mmap_size", 1024 * 1024 * 1024)?;
    connection.pragma_update(None, "cache_size", -16_000)
}

fn identify(connection: &Connection) -> rusqlite::Result<(i32, usize, bool)> {
    let application = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok((application, usize::try_from(version).unwrap_or_default(), tables == 0))
}

fn check(folder: &Path, application: i32, version: usize, is_empty: bool) -> Result<(), PortError> {
    let what = || format!("the store `{}`", folder.display());
    if !is_empty && application != APPLICATION_ID {
        let why =
            "`store.db` belongs to another program; nothing was changed. Name another folder with `--store`".to_owned();
        return Err(PortError::Unusable { what: what(), why });
    }
    if version > VERSION {
        let why =
            format!("it was written by a newer version (schema {version}, this one knows {VERSION}); use that version");
        return Err(PortError::Unusable { what: what(), why });
    }
    Ok(())
}

fn damaged(folder: &Path, verdict: &str) -> PortError {
    PortError::Unusable {
        what: format!("the store `{}`", folder.display()),
        why: format!(
            "it is damaged ({}); nothing was changed. Restore it from a backup, or move it away",
            crate::source::inert(verdict, 200)
        ),
    }
}

/// Write-ahead logs need shared memory, which network file systems do not have (SQLite documentation, "WAL").
fn refuse_network(folder: &Path) -> Result<(), PortError> {
    const NFS: i64 = 0x6969;
    const SMB2: i64 = 0xfe53_4d42;
    const CIFS: i64 = 0xff53_4d42;
    let Ok(file_system) = rustix::fs::statfs(folder) else { return Ok(()) };
    #[expect(clippy::useless_conversion, reason = "the type differs between platforms")]
    let kind = i64::from(file_system.f_type);
    if [NFS, SMB2, CIFS].contains(&kind) {
        let why =
            "it is on a network file system, where SQLite can lose data; use a local folder with `--store`".to_owned();
        return Err(PortError::Unusable { what: format!("the store `{}`", folder.display()), why });
    }
    Ok(())
}
