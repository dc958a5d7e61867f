//! Whose each stream and tag of the store is.

use rusqlite::{Transaction, params};

use crate::model::{Action, Identities, Owned};

/// Where the part of a source that was read last is kept.
pub(super) fn scope_key(identity: &str) -> String {
    format!("scope of {identity}")
}

/// The other source that manages what an action changes, if there is one.
pub(super) fn foreign<'o>(before: Option<&'o Owned>, identities: &Identities, action: &Action) -> Option<&'o str> {
    let owned = before?;
    let tags = match action {
        Action::DeleteStream { .. } => owned.tags.keys().map(String::as_str).collect(),
        _ => action.tags(),
    };
    let of_tags = tags.into_iter().filter(|tag| owned.tags.contains_key(*tag)).filter_map(|tag| owned.source_of(tag));
    let of_stream = owned.source.as_ref().filter(|_| action.tags().is_empty());
    of_tags.chain(of_stream).find(|source| !identities.include(source)).map(String::as_str)
}

/// What of a stream is managed after an action of the source `identity`, whose definition is at `path`.
pub(super) fn after(before: Option<&Owned>, action: &Action, path: &str, identity: &str) -> Owned {
    let mut owned = before.cloned().unwrap_or_default();
    match action {
        Action::CreateStream { header, tags, .. } => {
            owned.stream = true;
            owned.source = Some(identity.to_owned());
            owned.sources.clear();
            owned.labels = header.labels.keys().cloned().collect();
            owned.annotations = header.annotations.keys().cloned().collect();
            owned.tags = tags.iter().map(|tag| (tag.name.clone(), path.to_owned())).collect();
        }
        Action::UpdateStream { after, .. } => {
            owned.labels = after.labels.keys().cloned().collect();
            owned.annotations = after.annotations.keys().cloned().collect();
        }
        Action::SetTag { after, .. } => set(&mut owned, &after.name, path, identity),
        // Tags of a repository that is imported whole come with the import (semantics 3.3).
        Action::Import { images, repository, .. } => {
            owned.repository = repository.clone().or(owned.repository);
            for item in images {
                if !owned.tags.contains_key(&item.tag) {
                    set(&mut owned, &item.tag, path, identity);
                }
            }
        }
        Action::DeleteTag { tag, .. } => {
            owned.tags.remove(tag);
            owned.sources.remove(tag);
        }
        Action::Follow { .. } | Action::DeleteStream { .. } => {}
    }
    owned
}

fn set(owned: &mut Owned, tag: &str, path: &str, identity: &str) {
    owned.tags.insert(tag.to_owned(), path.to_owned());
    if owned.source.as_deref() == Some(identity) {
        owned.sources.remove(tag);
    } else {
        owned.sources.insert(tag.to_owned(), identity.to_owned());
    }
}

/// What belongs to identities that the source had before belongs to the one it has.
pub(super) fn rename(transaction: &Transaction<'_>, identities: &Identities) -> rusqlite::Result<()> {
    for previous in identities.previous.iter().filter(|previous| **previous != identities.own) {
        transaction.execute("DELETE FROM meta WHERE key = ?1", [scope_key(previous)])?;
        let mut select =
            transaction.prepare_cached("SELECT namespace, name, owned FROM streams WHERE instr(owned, ?1) > 0")?;
        let quoted = serde_json::to_string(previous).unwrap_or_default();
        let rows = select.query_map([quoted], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
        })?;
        let rows: Vec<_> = rows.collect::<Result<_, _>>()?;
        for (namespace, name, owned) in rows {
            let Ok(mut owned) = serde_json::from_str::<Owned>(&owned) else { continue };
            for source in owned.sources.values_mut().chain(owned.source.as_mut()).filter(|source| *source == previous) {
                source.clone_from(&identities.own);
            }
            let Ok(text) = serde_json::to_string(&owned) else { continue };
            let sql = "UPDATE streams SET owned = ?3 WHERE namespace = ?1 AND name = ?2";
            transaction.execute(sql, params![namespace, name, text])?;
        }
    }
    Ok(())
}
