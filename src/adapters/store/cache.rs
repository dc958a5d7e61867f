//! `cache-N.db`: what is remembered to ask and read less. Whatever goes wrong here, the answer is "not remembered".

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::adapters::private_dir;
use crate::adapters::registry::{Content, RegistryMemory};
use crate::model::{Observed, Question, Resolution, Upstream};
use crate::openshift::{Digest, StreamId};
use crate::ports::{Memory, Settled};

/// Another layout is another file: old ones are simply no longer read.
const FILE: &str = "cache-7.db";

/// A cache that has grown past this is begun anew: most of it is of images and definitions that are long gone.
const MOST: u64 = 512 * 1024 * 1024;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS definitions (key BLOB PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS upstream (
        namespace TEXT NOT NULL, reference TEXT NOT NULL, insecure INTEGER NOT NULL, checked_at TEXT NOT NULL,
        resolution TEXT NOT NULL, PRIMARY KEY (namespace, reference, insecure)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS content (
        kind TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (kind, digest)
    ) STRICT;
    CREATE TABLE IF NOT EXISTS listings (repository TEXT PRIMARY KEY, tags TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS layers (chain TEXT PRIMARY KEY, image TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS pauses (host TEXT PRIMARY KEY, until TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS settled (
        rules TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL, definition TEXT NOT NULL, due TEXT,
        PRIMARY KEY (rules, namespace, name)
    ) STRICT, WITHOUT ROWID;
";

/// What is remembered of a reference that is not there.
const ABSENT: &str = "absent";

/// What is remembered of a target, in a directory of this user alone. Made with the first thing to remember; without a directory,
/// nothing is.
pub struct Cache {
    folder: Option<PathBuf>,
    connection: Mutex<Option<Connection>>,
}

impl Cache {
    /// The cache in a directory, which is made where it is missing. One that is a link or another user's is not used.
    pub fn new(folder: Option<&Path>) -> Self {
        let folder = folder.filter(|folder| private_dir::make(folder).is_ok());
        Self { folder: folder.map(Path::to_owned), connection: Mutex::new(None) }
    }

    /// Uses the database, if it can be had.
    fn with<T>(&self, using: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Option<T> {
        let mut slot: MutexGuard<'_, Option<Connection>> =
            self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            *slot = self.open();
        }
        using(slot.as_mut()?).ok()
    }

    fn open(&self) -> Option<Connection> {
        let folder = self.folder.as_ref()?;
        let path = folder.join(FILE);
        let files = ["", "-wal", "-shm"].map(|suffix| folder.join(format!("{FILE}{suffix}")));
        if files.iter().any(|file| private_dir::check_file(file).is_err()) {
            return None;
        }
        if path.metadata().is_ok_and(|metadata| metadata.len() > MOST) {
            // Whoever has it open keeps what was there.
            for file in &files {
                let _ = std::fs::remove_file(file);
            }
        }
        private_dir::make_file(&path).ok()?;
        let connect = || -> rusqlite::Result<Connection> {
            let connection = Connection::open(&path)?;
            connection.busy_timeout(Duration::from_secs(1))?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            // Losing the last answers in a power cut costs a question each.
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            connection.pragma_update(None, "mmap_size", 256 * 1024 * 1024)?;
            connection.execute_batch(SCHEMA)?;
            Ok(connection)
        };
        connect().ok()
    }

    fn write(&self, writing: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<()>) {
        self.with(|connection| {
            let transaction = connection.transaction()?;
            writing(&transaction)?;
            transaction.commit()
        });
    }
}

impl Memory for Cache {
    fn keeps(&self) -> bool {
        self.folder.as_ref().is_some_and(|folder| folder.is_dir())
    }

    fn definitions(&self, keys: &[[u8; 32]]) -> BTreeMap<[u8; 32], Vec<u8>> {
        self.with(|connection| {
            // One transaction: thousands of look-ups must not take a lock each.
            let transaction = connection.transaction()?;
            let mut statement = transaction.prepare_cached("SELECT value FROM definitions WHERE key = ?1")?;
            let mut found = BTreeMap::new();
            for key in keys {
                if let Some(value) = statement.query_row([key], |row| row.get(0)).optional()? {
                    found.insert(*key, value);
                }
            }
            Ok(found)
        })
        .unwrap_or_default()
    }

    fn keep_definitions(&self, entries: &[([u8; 32], Vec<u8>)]) {
        self.write(|transaction| {
            let mut statement = transaction.prepare_cached("INSERT OR REPLACE INTO definitions VALUES (?1, ?2)")?;
            for (key, value) in entries {
                statement.execute(params![key, value])?;
            }
            Ok(())
        });
    }

    fn upstream(&self, questions: &[Question]) -> BTreeMap<Question, Upstream> {
        self.with(|connection| {
            let sql =
                "SELECT checked_at, resolution FROM upstream WHERE namespace = ?1 AND reference = ?2 AND insecure = ?3";
            let transaction = connection.transaction()?;
            let mut statement = transaction.prepare_cached(sql)?;
            let mut found = BTreeMap::new();
            for question in questions {
                let row: Option<(String, String)> = statement
                    .query_row(params![question.namespace, question.reference.to_string(), question.insecure], |row| {
                        Ok((row.get(0)?, row.get(1)?))
                    })
                    .optional()?;
                let upstream = row.and_then(|(checked_at, resolution)| {
                    let checked_at: Timestamp = checked_at.parse().ok()?;
                    if resolution == ABSENT {
                        return Some(Upstream { answer: Observed::Absent, checked_at });
                    }
                    let resolution: Resolution = serde_json::from_str(&resolution).ok()?;
                    Some(Upstream { answer: Observed::Known(resolution), checked_at })
                });
                if let Some(upstream) = upstream {
                    found.insert(question.clone(), upstream);
                }
            }
            Ok(found)
        })
        .unwrap_or_default()
    }

    fn keep_upstream(&self, answers: &BTreeMap<Question, Upstream>) {
        self.write(|transaction| {
            let mut statement =
                transaction.prepare_cached("INSERT OR REPLACE INTO upstream VALUES (?1, ?2, ?3, ?4, ?5)")?;
            for (question, Upstream { answer, checked_at }) in answers {
                let text = match answer {
                    Observed::Known(resolution) => serde_json::to_string(resolution).unwrap_or_default(),
                    Observed::Absent => ABSENT.to_owned(),
                    Observed::Unknown(_) => continue,
                };
                let reference = question.reference.to_string();
                let (namespace, checked_at) = (&question.namespace, checked_at.to_string());
                statement.execute(params![namespace, reference, question.insecure, checked_at, text])?;
            }
            Ok(())
        });
    }

    fn settled(&self, rules: &str) -> BTreeMap<StreamId, Settled> {
        self.with(|connection| {
            let sql = "SELECT namespace, name, version, definition, due FROM settled WHERE rules = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query([rules])?;
            let mut found = BTreeMap::new();
            while let Some(row) = rows.next()? {
                let due: Option<String> = row.get(4)?;
                let settled = Settled {
                    version: row.get(2)?,
                    definition: row.get(3)?,
                    due: due.and_then(|due| due.parse().ok()),
                };
                found.insert(StreamId::new(row.get::<_, String>(0)?, row.get::<_, String>(1)?), settled);
            }
            Ok(found)
        })
        .unwrap_or_default()
    }

    fn keep_settled(&self, rules: &str, settled: &BTreeMap<StreamId, Settled>) {
        self.write(|transaction| {
            let mut statement =
                transaction.prepare_cached("INSERT OR REPLACE INTO settled VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
            for (id, Settled { version, definition, due }) in settled {
                let due = due.map(|due| due.to_string());
                statement.execute(params![rules, id.namespace, id.name, version, definition, due])?;
            }
            Ok(())
        });
    }
}

impl RegistryMemory for Cache {
    fn content(&self, kind: Content, digest: &Digest) -> Option<(String, Vec<u8>)> {
        self.with(|connection| {
            let sql = "SELECT media_type, bytes FROM content WHERE kind = ?1 AND digest = ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            statement.query_row((kind_name(kind), digest.as_str()), row).optional()
        })
        .flatten()
    }

    fn keep_content(&self, kind: Content, digest: &Digest, media_type: &str, bytes: &[u8]) {
        self.with(|connection| {
            let mut statement = connection.prepare_cached("INSERT OR REPLACE INTO content VALUES (?1, ?2, ?3, ?4)")?;
            statement.execute(params![kind_name(kind), digest.as_str(), media_type, bytes])
        });
    }

    fn listing(&self, repository: &str) -> Option<BTreeSet<String>> {
        let tags: String = self.with(|connection| {
            let mut statement = connection.prepare_cached("SELECT tags FROM listings WHERE repository = ?1")?;
            statement.query_row([repository], |row| row.get(0)).optional()
        })??;
        Some(tags.lines().map(str::to_owned).collect())
    }

    fn keep_listing(&self, repository: &str, tags: &BTreeSet<String>) {
        // Tags have no line breaks: whoever listed them has checked that.
        let tags = tags.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        self.with(|connection| {
            let mut statement = connection.prepare_cached("INSERT OR REPLACE INTO listings VALUES (?1, ?2)")?;
            statement.execute(params![repository, tags])
        });
    }

    fn with_layers(&self, layers: &Digest) -> Option<String> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached("SELECT image FROM layers WHERE chain = ?1")?;
            statement.query_row([layers.as_str()], |row| row.get(0)).optional()
        })?
    }

    fn keep_layers(&self, layers: &Digest, image: &str) {
        self.with(|connection| {
            let sql = "INSERT INTO layers VALUES (?1, ?2) ON CONFLICT DO UPDATE SET image = excluded.image WHERE excluded.image < image";
            connection.prepare_cached(sql)?.execute(params![layers.as_str(), image])
        });
    }

    fn pause(&self, host: &str) -> Option<Timestamp> {
        let until: String = self.with(|connection| {
            let mut statement = connection.prepare_cached("SELECT until FROM pauses WHERE host = ?1")?;
            statement.query_row([host], |row| row.get(0)).optional()
        })??;
        until.parse().ok()
    }

    fn keep_pause(&self, host: &str, until: Timestamp) {
        self.with(|connection| {
            let mut statement = connection.prepare_cached("INSERT OR REPLACE INTO pauses VALUES (?1, ?2)")?;
            statement.execute(params![host, until.to_string()])
        });
    }
}

fn kind_name(kind: Content) -> &'static str {
    match kind {
        Content::Manifest => "manifest",
        Content::Config => "config",
    }
}
