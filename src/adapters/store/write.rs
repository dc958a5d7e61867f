//! Changing the store: one thread writes, steps that arrive together share a commit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Savepoint, Transaction, TransactionBehavior, params};
use tokio::sync::oneshot;

use crate::adapters::{private_dir, random};
use crate::model::{Action, Identities, LiveStream, Move, Observed, Owned, Plan, Precondition, Report};
use crate::openshift::{ImageStream, StreamId};
use crate::ports::{Command, Performed, PortError, Target};
use crate::rules::{self, Check, Server, State};

use super::lock::Lock;
use super::{failed, ownership, read, schema};

/// Steps in one commit: more would only hold back the answers to the first of them.
const BATCH: usize = 256;
/// Runs that the journal keeps whole.
const RUNS: i64 = 500;

/// The store, to change. Holds its lock.
pub struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    _lock: Lock,
}

type Answer<T> = oneshot::Sender<Result<T, PortError>>;

enum Job {
    Perform(Box<Request>, Answer<Performed>),
    Begin { plan: String, hash: String, now: Timestamp, answer: Answer<i64> },
    Finish { run: i64, finished: Timestamp, report: String, scope: Option<String>, answer: Answer<()> },
}

/// A [`Command`] that can go to another thread.
struct Request {
    action: Action,
    requires: Vec<Precondition>,
    run: i64,
    step: u32,
    commit: Option<String>,
    dirty: bool,
    path: String,
    reason: String,
    now: Timestamp,
}

impl Writer {
    /// Opens the store in a folder, making it if there is none, and takes its lock.
    ///
    /// # Errors
    ///
    /// When somebody else is writing, or the folder has something in it that is no store of ours.
    pub fn open(folder: &Path, identities: &Identities) -> Result<Self, PortError> {
        let make = |error| PortError::failed(format!("make the folder `{}`", folder.display()), error);
        super::refuse_links(folder)?;
        let is_new = !folder.exists();
        // A directory that was there keeps its mode: it may hold more than the store.
        if is_new {
            private_dir::make(folder).map_err(make)?;
        }
        // What is kept here is nobody's source: Git is to pass it over. A folder that was there may hold what is.
        if is_new {
            let ignore = folder.join(".gitignore");
            let failed = |error| PortError::failed(format!("write `{}`", ignore.display()), error);
            private_dir::make_file(&ignore).and_then(|()| std::fs::write(&ignore, "*\n")).map_err(failed)?;
        }
        let lock = Lock::take(folder)?;
        let connection = schema::open_to_write(folder)?;
        let (jobs, inbox) = mpsc::channel();
        let folder = folder.to_owned();
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn({
                let identities = identities.clone();
                move || Worker { folder, connection, identities }.run(&inbox)
            })
            .map_err(|error| PortError::failed("start the thread that writes the store", error))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), _lock: lock })
    }

    async fn ask<T>(&self, job: impl FnOnce(Answer<T>) -> Job) -> Result<T, PortError> {
        let (answer, result) = oneshot::channel();
        let gone =
            || PortError::failed("write the store", std::io::Error::other("the thread that writes it has ended"));
        self.jobs.as_ref().ok_or_else(gone)?.send(job(answer)).map_err(|_| gone())?;
        result.await.map_err(|_| gone())?
    }
}

impl Drop for Writer {
    /// Waits for what is under way, so that the lock is not let go of before it is written.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Target for Writer {
    async fn perform(&self, command: Command<'_>) -> Result<Performed, PortError> {
        let request = Request {
            action: command.action.clone(),
            requires: command.requires,
            run: command.provenance.run,
            step: command.provenance.step.0,
            commit: command.provenance.revision.commit.clone(),
            dirty: command.provenance.revision.dirty,
            path: command.provenance.path.to_owned(),
            reason: command.provenance.reason.to_owned(),
            now: command.now,
        };
        self.ask(|answer| Job::Perform(Box::new(request), answer)).await
    }

    async fn begin(&self, plan: &Plan, now: Timestamp) -> Result<i64, PortError> {
        let hash = plan.actions_hash();
        let plan = serde_json::to_string(plan).map_err(|error| PortError::failed("write the plan as JSON", error))?;
        self.ask(|answer| Job::Begin { plan, hash, now, answer }).await
    }

    async fn finish(&self, run: i64, report: &Report) -> Result<(), PortError> {
        let finished = report.finished;
        // Only a run that did everything it planned has brought about its part of the source.
        let whole = report.outcomes.values().all(crate::model::Outcome::is_success);
        let scope = whole.then(|| report.scope.clone());
        let report =
            serde_json::to_string(report).map_err(|error| PortError::failed("write the report as JSON", error))?;
        self.ask(|answer| Job::Finish { run, finished, report, scope, answer }).await
    }
}

struct Worker {
    folder: PathBuf,
    connection: Connection,
    identities: Identities,
}

/// What is sent back once the commit is durable.
enum Reply {
    Performed(Answer<Performed>, Result<Performed, PortError>),
    Begun(Answer<i64>, Result<i64, PortError>),
    Finished(Answer<()>, Result<(), PortError>),
}

impl Worker {
    fn run(mut self, inbox: &mpsc::Receiver<Job>) {
        while let Ok(first) = inbox.recv() {
            let mut jobs = vec![first];
            while let Some(job) = (jobs.len() < BATCH).then(|| inbox.try_recv().ok()).flatten() {
                jobs.push(job);
            }
            let folder = self.folder.clone();
            let fail = |error: rusqlite::Error| failed("write", &folder, error);
            let mut transaction = match self.connection.transaction_with_behavior(TransactionBehavior::Immediate) {
                Ok(transaction) => transaction,
                Err(error) => {
                    let detail = fail(error).chain();
                    jobs.into_iter().for_each(|job| job.refuse(&detail));
                    continue;
                }
            };
            let mut replies = Vec::with_capacity(jobs.len());
            let mut lost = None;
            for job in jobs {
                // SQLite ends a transaction by itself on some errors (a full disk among them): whatever came after would be
                // committed step by step, while everybody is told that nothing was.
                if transaction.is_autocommit() {
                    lost.get_or_insert_with(|| "the database gave the transaction up".to_owned());
                    job.refuse("the database gave the transaction up");
                } else {
                    replies.push(job.run(&mut transaction, &folder, &self.identities));
                }
            }
            let ended = transaction.is_autocommit();
            let committed = transaction.commit().map_err(fail);
            let detail = committed.err().filter(|_| !ended).map(|error| error.chain()).or(lost);
            let detail = detail.or_else(|| ended.then(|| "the database gave the transaction up".to_owned()));
            for reply in replies {
                reply.send(detail.as_deref());
            }
        }
        // Leaves one file behind, as people expect of a store at rest. Failing to is harmless.
        let _ = self.connection.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE)");
    }
}

impl Job {
    fn run(self, transaction: &mut Transaction<'_>, folder: &Path, identities: &Identities) -> Reply {
        match self {
            Self::Perform(request, answer) => {
                Reply::Performed(answer, perform(transaction, folder, identities, &request))
            }
            Self::Begin { plan, hash, now, answer } => {
                let fail = |error| failed("write", folder, error);
                let result = ownership::rename(transaction, identities).map_err(fail);
                Reply::Begun(answer, result.and_then(|()| begin(transaction, &plan, &hash, now).map_err(fail)))
            }
            Self::Finish { run, finished, report, scope, answer } => {
                let sql = "UPDATE runs SET finished = ?2, report = ?3 WHERE run = ?1";
                let mut result = transaction.execute(sql, params![run, finished.to_string(), report]);
                if let Some(scope) = scope {
                    let put = "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2";
                    result =
                        result.and_then(|_| transaction.execute(put, [ownership::scope_key(&identities.own), scope]));
                }
                Reply::Finished(answer, result.map(|_| ()).map_err(|error| failed("write", folder, error)))
            }
        }
    }

    fn refuse(self, detail: &str) {
        let error = || PortError::failed("begin to write the store", std::io::Error::other(detail.to_owned()));
        match self {
            Self::Perform(_, answer) => drop(answer.send(Err(error()))),
            Self::Begin { answer, .. } => drop(answer.send(Err(error()))),
            Self::Finish { answer, .. } => drop(answer.send(Err(error()))),
        }
    }
}

impl Reply {
    /// `lost` says why the commit failed: then nothing of it has happened.
    fn send(self, lost: Option<&str>) {
        fn settle<T>(answer: Answer<T>, result: Result<T, PortError>, lost: Option<&str>) {
            let result = match lost {
                Some(detail) => Err(PortError::failed("commit", std::io::Error::other(detail.to_owned()))),
                None => result,
            };
            // Nobody waits any more when the run was given up.
            let _ = answer.send(result);
        }
        match self {
            Self::Performed(answer, result) => settle(answer, result, lost),
            Self::Begun(answer, result) => settle(answer, result, lost),
            Self::Finished(answer, result) => settle(answer, result, lost),
        }
    }
}

fn begin(transaction: &Transaction<'_>, plan: &str, hash: &str, now: Timestamp) -> rusqlite::Result<i64> {
    let sql = "INSERT INTO runs (started, plan_hash, plan) VALUES (?1, ?2, ?3)";
    transaction.execute(sql, params![now.to_string(), hash, plan])?;
    let run = transaction.last_insert_rowid();
    transaction.execute("DELETE FROM runs WHERE run <= ?1", [run - RUNS])?;
    Ok(run)
}

/// One step, whole or not at all.
fn perform(
    transaction: &mut Transaction<'_>,
    folder: &Path,
    identities: &Identities,
    request: &Request,
) -> Result<Performed, PortError> {
    let fail = |error: rusqlite::Error| failed("write", folder, error);
    let savepoint = transaction.savepoint().map_err(fail)?;
    let id = request.action.stream();
    let stored = load(&savepoint, folder, id)?;
    let others = sources(&savepoint, folder, &request.action, stored.as_ref())?;
    let server = Server::default();
    let stream = stored.as_ref().map(|stored| &stored.stream);
    let state = State { id, stream, others: &others, server: &server };

    if let Some((precondition, actual)) = broken(&savepoint, folder, &request.requires, id, stored.as_ref())? {
        // A run that was killed is made again: what it had done is no longer as its plan saw it, and right all the same. Only
        // if the same plan has written the stream last can its next step rely on it as it is.
        if rules::is_satisfied(state, &request.action) {
            let ours = written_by_same_plan(&savepoint, id, request.run).map_err(fail)?;
            return Ok(Performed::AlreadySo { now: now_at(id, stream).filter(|_| ours) });
        }
        return Ok(Performed::Stale { precondition, actual });
    }
    let effect = match rules::perform(state, &request.action, request.now) {
        Ok(effect) => effect,
        // What a run that was killed has removed cannot be removed again.
        Err(_) if rules::is_satisfied(state, &request.action) => {
            return Ok(Performed::AlreadySo { now: now_at(id, stream) });
        }
        Err(refusal) => return Ok(Performed::Refused { message: refusal.to_string() }),
    };
    if !effect.changed {
        return Ok(Performed::AlreadySo { now: now_at(id, stream) });
    }
    if let Some(source) = ownership::foreign(stored.as_ref().map(|stored| &stored.owned), identities, &request.action) {
        let message = format!("the source `{}` manages it", crate::source::inert(source, 200));
        return Ok(Performed::Refused { message });
    }
    let before = stored.as_ref().map(|stored| &stored.owned);
    let owned = ownership::after(before, &request.action, &request.path, &identities.own);
    let mut after = effect.stream;
    write(&savepoint, id, after.as_mut(), &owned, request.run).map_err(fail)?;
    record(&savepoint, id, stream, after.as_ref(), request).map_err(fail)?;
    savepoint.commit().map_err(fail)?;
    Ok(Performed::Applied { now: now_at(id, after.as_ref()) })
}

/// Whether the stream was last written by a run of the plan that this run carries out.
fn written_by_same_plan(connection: &Connection, id: &StreamId, run: i64) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) FROM streams JOIN runs AS theirs ON theirs.run = streams.run JOIN runs AS ours ON ours.run = ?3
               WHERE namespace = ?1 AND name = ?2 AND theirs.plan_hash = ours.plan_hash";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row(params![id.namespace, id.name, run], |row| row.get::<_, i64>(0)).map(|count| count > 0)
}

fn load(connection: &Connection, folder: &Path, id: &StreamId) -> Result<Option<LiveStream>, PortError> {
    let sql = "SELECT object, owned FROM streams WHERE namespace = ?1 AND name = ?2";
    let row: Option<(String, String)> = connection
        .prepare_cached(sql)
        .and_then(|mut statement| {
            statement.query_row((&id.namespace, &id.name), |row| Ok((row.get(0)?, row.get(1)?))).optional()
        })
        .map_err(|error| failed("read", folder, error))?;
    row.map(|(object, owned)| read::decode(folder, id, &object, &owned)).transpose()
}

/// The other streams that an action's tags name.
fn sources(
    connection: &Connection,
    folder: &Path,
    action: &Action,
    stored: Option<&LiveStream>,
) -> Result<BTreeMap<StreamId, ImageStream>, PortError> {
    let mut sources = BTreeMap::new();
    for source in rules::sources(action, stored.map(|stored| &stored.stream)) {
        if let Some(found) = load(connection, folder, &source)? {
            sources.insert(source, found.stream);
        }
    }
    Ok(sources)
}

/// The first precondition that does not hold, and what is so instead.
fn broken(
    connection: &Connection,
    folder: &Path,
    requires: &[Precondition],
    id: &StreamId,
    stored: Option<&LiveStream>,
) -> Result<Option<(Precondition, String)>, PortError> {
    for precondition in requires {
        let other = match precondition.stream() {
            Some(stream) if stream != id => load(connection, folder, stream)?,
            Some(_) | None => None,
        };
        let seen = if precondition.stream() == Some(id) { stored } else { other.as_ref() };
        let seen = seen.map_or(Observed::Absent, |seen| Observed::Known(&seen.stream));
        match rules::check(precondition, seen) {
            Check::Holds => {}
            Check::Stale { actual } => return Ok(Some((precondition.clone(), actual))),
            Check::Unknown(ignorance) => return Ok(Some((precondition.clone(), ignorance.to_string()))),
        }
    }
    Ok(None)
}

/// What a next step on the same stream relies on.
fn now_at(id: &StreamId, stream: Option<&ImageStream>) -> Option<Precondition> {
    stream.map(|stream| rules::as_is(id, Some(stream)))
}

/// Writes the stream with a new version, or removes it.
fn write(
    connection: &Savepoint<'_>,
    id: &StreamId,
    stream: Option<&mut ImageStream>,
    owned: &Owned,
    run: i64,
) -> rusqlite::Result<()> {
    let Some(stream) = stream else {
        connection.execute("DELETE FROM streams WHERE namespace = ?1 AND name = ?2", (&id.namespace, &id.name))?;
        return Ok(());
    };
    let mut raise =
        connection.prepare_cached("UPDATE meta SET value = value + 1 WHERE key = 'version' RETURNING value")?;
    let version: String = raise.query_row([], |row| row.get(0))?;
    if stream.metadata.uid.is_none() {
        stream.metadata.uid = Some(uid()?);
    }
    stream.metadata.resource_version = Some(version.clone());
    let json = |error: serde_json::Error| rusqlite::Error::ToSqlConversionFailure(Box::new(error));
    let object = serde_json::to_string(stream).map_err(json)?;
    let tags = i64::try_from(owned.tags.len()).unwrap_or(i64::MAX);
    let owned = serde_json::to_string(owned).map_err(json)?;
    let mut put = connection.prepare_cached(
        "INSERT INTO streams (namespace, name, uid, version, object, owned, owned_tags, run) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (namespace, name) DO UPDATE SET uid = ?3, version = ?4, object = ?5, owned = ?6, owned_tags = ?7, run = ?8",
    )?;
    put.execute(params![
        id.namespace,
        id.name,
        stream.metadata.uid,
        version.parse::<i64>().unwrap_or(0),
        object,
        owned,
        tags,
        run
    ])?;
    Ok(())
}

/// A random identity in the form of a UUID of version 4 (RFC 9562).
fn uid() -> rusqlite::Result<String> {
    let none = || rusqlite::Error::ToSqlConversionFailure("the system has no random bytes".into());
    Ok(uuid::Builder::from_random_bytes(random().ok_or_else(none)?).into_uuid().to_string())
}

/// Writes down what the step changed, for `history`.
fn record(
    connection: &Savepoint<'_>,
    id: &StreamId,
    before: Option<&ImageStream>,
    after: Option<&ImageStream>,
    request: &Request,
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO changes (namespace, name, tag, at, run, step, revision, dirty, path, action, reason, before, after)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?;
    for (action, Move { tag, before, after }) in rules::changes(&request.action, before, after) {
        insert.execute(params![
            id.namespace,
            id.name,
            tag,
            request.now.to_string(),
            request.run,
            request.step,
            request.commit,
            request.dirty,
            request.path,
            action,
            request.reason,
            before,
            after
        ])?;
    }
    let mut seen = connection.prepare_cached("INSERT OR IGNORE INTO images VALUES (?1, ?2)")?;
    for head in after.iter().flat_map(|stream| &stream.status.tags).filter_map(|list| list.items.first()) {
        if !head.image.is_empty() {
            seen.execute(params![head.image, request.now.to_string()])?;
        }
    }
    Ok(())
}
