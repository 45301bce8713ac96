//! Brings a database to this program's version, or says how far it is from it. Called when a
//! store opens, and by `livestation migrate`.
//!
//! The one rule: a database that a newer program has migrated is left alone.

use std::collections::BTreeMap;

use sqlx::{
    AnyConnection, Executor, Row,
    any::AnyRow,
    migrate::{Migrate, MigrateError, Migrator},
};
use tokio::time::timeout;

use super::{Store, session::silent};
use crate::{
    Error,
    database::{Backend, Database},
};

/// The table of what was applied, as sqlx calls it.
const HISTORY: &str = "_sqlx_migrations";

/// A step from one version of the database to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Grows with each.
    pub version: i64,
    /// What it adds, as its file is called.
    pub name: String,
}

/// The migrations that the database lacks, oldest first. A SQLite file that is not there is
/// not made.
///
/// # Errors
/// [`Error::Ahead`] when it has some that are unknown here, [`Error::Migration`] when one was
/// altered since, [`Error::Database`].
pub async fn missing(database: &Database) -> Result<Vec<Migration>, Error> {
    if database.file_is_absent() {
        let all = database.backend.migrations();
        return Ok(all.iter().map(Migration::from).collect());
    }
    let store = Store::connect(database).await?;
    let missing = look(&store).await;
    store.close().await;
    missing
}

/// Applies what the database lacks; what that was, oldest first. A SQLite file is made when it
/// is not there. Two at once on Postgres wait for each other; on a SQLite file one of them may
/// fail.
///
/// # Errors
/// As [`missing`]; each migration is done whole or not at all.
pub async fn migrate(database: &Database) -> Result<Vec<Migration>, Error> {
    let store = Store::connect(database).await?;
    let applied = apply(&store).await;
    store.close().await;
    applied
}

/// Makes sure that the store is of this version.
pub(super) async fn bring_up(store: &Store, database: &Database) -> Result<(), Error> {
    if database.migrates_itself() {
        for one in apply(store).await? {
            tracing::info!(
                migration = one.version,
                name = one.name,
                "database migrated"
            );
        }
        return Ok(());
    }
    match look(store).await?.len() {
        0 => Ok(()),
        missing => Err(Error::Behind(missing)),
    }
}

/// Within the deadline of a call.
async fn look(store: &Store) -> Result<Vec<Migration>, Error> {
    let looking = async {
        let mut connection = store.pool.acquire().await?;
        lacking(&mut connection, &store.backend).await
    };
    let missing = timeout(store.backend.deadline(), looking).await;
    let missing = missing.map_err(|_| silent())??;
    Ok(missing.into_iter().map(Migration::from).collect())
}

async fn apply(store: &Store) -> Result<Vec<Migration>, Error> {
    let mut connection = store.pool.acquire().await?;
    let applied = apply_by(&mut connection, &store.backend).await;
    // It has other settings than the rest, and may hold the migrators' lock.
    connection.close_on_drop();
    applied
}

async fn apply_by(
    connection: &mut AnyConnection,
    backend: &Backend,
) -> Result<Vec<Migration>, Error> {
    for setting in backend.settings_to_migrate() {
        connection.execute(*setting).await?;
    }
    connection.lock().await?;
    connection.ensure_migrations_table(HISTORY).await?;
    let missing = lacking(connection, backend).await?;
    for one in &missing {
        connection.apply(HISTORY, one).await?;
    }
    connection.unlock().await?;
    Ok(missing.into_iter().map(Migration::from).collect())
}

async fn lacking(
    connection: &mut AnyConnection,
    backend: &Backend,
) -> Result<Vec<&'static sqlx::migrate::Migration>, Error> {
    let known = backend.migrations();
    let applied = history(connection, backend).await?;
    let newest = known.iter().map(|one| one.version).max().unwrap_or(0);
    if let Some(found) = applied.keys().next_back().filter(|found| **found > newest) {
        return Err(Error::Ahead {
            found: *found,
            known: newest,
        });
    }
    check(known, &applied)?;
    let lacks = |one: &&sqlx::migrate::Migration| !applied.contains_key(&one.version);
    Ok(known.iter().filter(lacks).collect())
}

/// What was applied, by version with its checksum.
async fn history(
    connection: &mut AnyConnection,
    backend: &Backend,
) -> Result<BTreeMap<i64, Vec<u8>>, Error> {
    let there = sqlx::query(backend.has_history());
    if there.fetch_all(&mut *connection).await?.is_empty() {
        return Ok(BTreeMap::new());
    }
    let applied = sqlx::query("SELECT version, checksum FROM _sqlx_migrations");
    let rows = applied.fetch_all(connection).await?;
    let pair = |row: &AnyRow| Ok((row.try_get("version")?, row.try_get("checksum")?));
    let pairs = rows.iter().map(pair);
    Ok(pairs.collect::<Result<_, sqlx::Error>>()?)
}

/// Whether all that was applied is still what is known under its version.
fn check(known: &Migrator, applied: &BTreeMap<i64, Vec<u8>>) -> Result<(), MigrateError> {
    for (version, checksum) in applied {
        let same = known.iter().find(|one| one.version == *version);
        match same {
            None => return Err(MigrateError::VersionMissing(*version)),
            Some(one) if one.checksum[..] != checksum[..] => {
                return Err(MigrateError::VersionMismatch(*version));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

impl From<&sqlx::migrate::Migration> for Migration {
    fn from(one: &sqlx::migrate::Migration) -> Self {
        Self {
            version: one.version,
            name: one.description.to_string(),
        }
    }
}
