//! The database, the only place with SQL. Called by `Accounts`. One code speaks to SQLite and
//! to Postgres, through sqlx's driver for any database: what it can carry (integers of 64 bits,
//! text and bytes) is all that our tables hold. What the two say differently is in `dialect`.
//!
//! The one rule: what a function reports as done is on disk.

mod channels;
mod dialect;
mod instances;
mod invitations;
mod letters;
mod links;
mod logins;
mod members;
pub(crate) mod migrations;
mod secrets;
mod session;
mod tokens;

use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt, path::Path, time::Duration};

use sqlx::{
    AnyPool, Executor, Row,
    any::{AnyPoolOptions, AnyRow},
};

use crate::{
    Error,
    database::{Backend, Database},
};
pub(crate) use instances::Lease;
pub use invitations::Invitation;
pub(crate) use letters::{Due, NewLetter, Queue};
pub use logins::Login;
pub(crate) use logins::{Entrance, LOGIN_MAX_S};
pub use secrets::StreamKey;
use session::Session;
pub use tokens::ApiToken;

/// How long closing waits for what is still asked: a database that hangs must not hold us.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// A connection pool on a migrated database. Each call answers within its backend's deadline
/// (`dialect`), with [`Error::Database`] when the database does not.
#[derive(Clone)]
pub(crate) struct Store {
    pool: AnyPool,
    backend: Backend,
}

impl Store {
    /// Opens the database, or makes it if it is a file, and brings it to this version if it is
    /// ours alone.
    pub(crate) async fn open(database: &Database) -> Result<Self, Error> {
        let store = Self::connect(database).await?;
        match migrations::bring_up(&store, database).await {
            Ok(()) => Ok(store),
            Err(error) => {
                store.close().await;
                Err(error)
            }
        }
    }

    /// A pool on a database of whatever version.
    pub(crate) async fn connect(database: &Database) -> Result<Self, Error> {
        if let Backend::Sqlite(file) = &database.backend {
            create(file);
        }
        sqlx::any::install_default_drivers();
        let settings = database.backend.settings();
        let pool = AnyPoolOptions::new()
            .max_connections(database.backend.connections())
            .acquire_timeout(database.backend.deadline())
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    for setting in settings {
                        connection.execute(*setting).await?;
                    }
                    Ok(())
                })
            })
            .connect_with(database.options.clone())
            .await?;
        Ok(Self {
            pool,
            backend: database.backend.clone(),
        })
    }

    /// A connection for one call, whose time begins now.
    async fn session(&self) -> Result<Session, sqlx::Error> {
        Session::open(&self.pool, self.backend.deadline()).await
    }

    /// The same, in a transaction.
    async fn transaction(&self) -> Result<Session, sqlx::Error> {
        let mut session = self.session().await?;
        session.begin(self.backend.begin()).await?;
        Ok(session)
    }

    pub(crate) async fn close(&self) {
        if tokio::time::timeout(CLOSE_DEADLINE, self.pool.close())
            .await
            .is_err()
        {
            tracing::warn!("the database did not take its leave");
        }
    }
}

/// Makes the file if there is none, for its owner alone: it holds the channels' keys. What
/// SQLite puts beside it has the same mode. If it cannot be made, SQLite says why.
fn create(path: &Path) {
    let mut file = OpenOptions::new();
    let _ = file.write(true).create_new(true).mode(0o600).open(path);
}

fn array<const N: usize>(row: &AnyRow, column: &str) -> Result<[u8; N], sqlx::Error> {
    let bytes: &[u8] = row.try_get(column)?;
    bytes
        .try_into()
        .map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// Unix milliseconds.
fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

/// Unix seconds.
fn now() -> i64 {
    boot::ticket::now() as i64
}
