//! Looking at the store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rusqlite::{Connection, Row};

use crate::model::{Change, Identities, LiveStream, Observed, Owned};
use crate::openshift::{ImageStream, StreamId};
use crate::ports::{LiveState, Looking, Observation, PortError, TargetKind, Which, Workloads};

use super::{NEW_STORE, failed, ownership, schema};

/// A store, to look at. Works while another process writes.
pub struct Reader {
    folder: PathBuf,
    /// None: there is no store yet, and nothing in it.
    connection: Option<Mutex<Connection>>,
    id: String,
    identities: Identities,
}

impl Reader {
    /// Opens the store in a folder; one that does not exist is empty.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be read.
    pub fn open(folder: &Path, identities: &Identities) -> Result<Self, PortError> {
        super::refuse_links(folder)?;
        let connection = schema::open_to_read(folder)?;
        let id = match &connection {
            Some(connection) => {
                let id: String = connection
                    .query_row("SELECT value FROM meta WHERE key = 'id'", [], |row| row.get(0))
                    .map_err(|error| failed("read", folder, error))?;
                format!("store {id}")
            }
            None => NEW_STORE.to_owned(),
        };
        let identities = identities.clone();
        Ok(Self { folder: folder.to_owned(), connection: connection.map(Mutex::new), id, identities })
    }

    fn with<T: Default>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, PortError> {
        let Some(connection) = &self.connection else { return Ok(T::default()) };
        let connection: MutexGuard<'_, Connection> = connection.lock().unwrap_or_else(PoisonError::into_inner);
        read(&connection).map_err(|error| failed("read", &self.folder, error))
    }

    /// All streams, by name.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn streams(&self) -> Result<BTreeMap<StreamId, LiveStream>, PortError> {
        let observation = self.look(&BTreeMap::new())?;
        Ok(observation.streams)
    }

    /// Changes of a stream, or of one tag of it, newest first.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn changes(&self, stream: &StreamId, tag: Option<&str>, limit: usize) -> Result<Vec<Change>, PortError> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT namespace || '/' || name, tag, at, run, revision, dirty, path, action, reason, before, after FROM changes
                 WHERE namespace = ?1 AND name = ?2 AND (?3 IS NULL OR tag = ?3) ORDER BY id DESC LIMIT ?4",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = statement.query_map((&stream.namespace, &stream.name, tag, limit), change)?;
            rows.collect()
        })
    }

    /// When an image was first seen.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn first_seen(&self, digest: &str) -> Result<Option<Timestamp>, PortError> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached("SELECT first_seen FROM images WHERE digest = ?1")?;
            let mut rows = statement.query([digest])?;
            let text: Option<String> = rows.next()?.map(|row| row.get(0)).transpose()?;
            Ok(text.and_then(|text| text.parse().ok()))
        })
    }

    fn look(&self, settled: &BTreeMap<StreamId, String>) -> Result<Observation, PortError> {
        let raw = self.with(|connection| {
            // One transaction: what is seen was so at one moment.
            let transaction = connection.unchecked_transaction()?;
            let mut seen = Raw::default();
            let key = ownership::scope_key(&self.identities.own);
            let scope = transaction.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0));
            seen.scope = rusqlite::OptionalExtension::optional(scope)?;
            let sql = if settled.is_empty() {
                "SELECT namespace, name, version, owned_tags, object, owned FROM streams"
            } else {
                "SELECT namespace, name, version, owned_tags, NULL, NULL FROM streams INDEXED BY streams_by_version"
            };
            let mut one =
                transaction.prepare_cached("SELECT object, owned FROM streams WHERE namespace = ?1 AND name = ?2")?;
            let mut all = transaction.prepare_cached(sql)?;
            let mut rows = all.query([])?;
            while let Some(row) = rows.next()? {
                let id = StreamId::new(row.get::<_, String>(0)?, row.get::<_, String>(1)?);
                let version: i64 = row.get(2)?;
                let texts: (Option<String>, Option<String>) = (row.get(4)?, row.get(5)?);
                if let (Some(object), Some(owned)) = texts {
                    seen.objects.push((id, object, owned));
                } else if settled.get(&id).is_some_and(|known| *known == version.to_string()) {
                    seen.settled_tags += usize::try_from(row.get::<_, i64>(3)?).unwrap_or_default();
                    seen.settled.insert(id);
                } else {
                    let texts = one.query_row((&id.namespace, &id.name), |row| Ok((row.get(0)?, row.get(1)?)))?;
                    seen.objects.push((id, texts.0, texts.1));
                }
            }
            Ok(seen)
        })?;
        let mut observation = Observation {
            settled: raw.settled,
            settled_tags: raw.settled_tags,
            scope: raw.scope,
            ..Observation::default()
        };
        for (id, object, owned) in raw.objects {
            observation.listed.insert(id.namespace.clone(), Observed::Known(()));
            let LiveStream { stream, owned } = decode(&self.folder, &id, &object, &owned)?;
            observation.streams.insert(id, LiveStream { stream, owned: owned.seen_by(&self.identities) });
        }
        Ok(observation)
    }
}

#[derive(Default)]
struct Raw {
    objects: Vec<(StreamId, String, String)>,
    settled: BTreeSet<StreamId>,
    settled_tags: usize,
    scope: Option<String>,
}

impl LiveState for Reader {
    fn kind(&self) -> TargetKind {
        TargetKind::Store
    }

    fn identity(&self) -> String {
        self.id.clone()
    }

    fn version(&self) -> Option<String> {
        self.with(|connection| {
            let sql = "SELECT group_concat(value) FROM meta WHERE key IN ('version', ?1)";
            let key = ownership::scope_key(&self.identities.own);
            connection.query_row(sql, [key], |row| row.get(0)).map(Some)
        })
        .ok()
        .flatten()
    }

    async fn observe(&self, looking: Looking<'_>) -> Result<Observation, PortError> {
        let mut observation = self.look(looking.settled)?;
        // Whatever is not in the store is not there: it has no namespaces that could be hidden.
        for namespace in looking.namespaces {
            observation.listed.insert(namespace.clone(), Observed::Known(()));
        }
        Ok(observation)
    }

    fn has_workloads(&self) -> bool {
        false
    }

    async fn workloads(&self, _: Which<'_>) -> Workloads {
        Workloads::default()
    }
}

/// A row of `streams`.
pub(super) fn decode(folder: &Path, id: &StreamId, object: &str, owned: &str) -> Result<LiveStream, PortError> {
    let bad = |error| PortError::Unusable {
        what: format!("the store `{}`", folder.display()),
        why: format!("the stream `{id}` in it cannot be read: {error}"),
    };
    let stream: ImageStream = serde_json::from_str(object).map_err(bad)?;
    let owned: Owned = serde_json::from_str(owned).map_err(bad)?;
    Ok(LiveStream { stream, owned })
}

fn change(row: &Row<'_>) -> rusqlite::Result<Change> {
    Ok(Change {
        stream: row.get(0)?,
        tag: row.get(1)?,
        at: row.get(2)?,
        run: row.get(3)?,
        revision: row.get(4)?,
        dirty: row.get(5)?,
        path: row.get(6)?,
        action: row.get(7)?,
        reason: row.get(8)?,
        before: row.get(9)?,
        after: row.get(10)?,
    })
}
