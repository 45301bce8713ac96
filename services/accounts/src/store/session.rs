//! A connection for the length of one call. Opened by the store.
//!
//! The one rule: a connection whose answer did not come is closed, never given back, so that
//! calls that gave up on a silent database leave nothing behind for those that come after;
//! nor is one given back whose transaction nobody ended.

use std::{io, time::Duration};

use sqlx::{
    Any, AnyPool,
    any::{AnyArguments, AnyRow},
    pool::PoolConnection,
    query::Query,
};
use tokio::time::{Instant, timeout_at};

pub(super) struct Session {
    connection: PoolConnection<Any>,
    until: Instant,
    waits: bool,
    /// Whether a transaction is open.
    undecided: bool,
}

impl Session {
    pub(super) async fn open(pool: &AnyPool, deadline: Duration) -> Result<Self, sqlx::Error> {
        let until = Instant::now() + deadline;
        Ok(Self {
            connection: pool.acquire().await?,
            until,
            waits: false,
            undecided: false,
        })
    }

    /// Starts a transaction with the dialect's words. Whoever does not commit leaves the
    /// connection to be closed, which undoes it.
    pub(super) async fn begin(&mut self, words: &'static str) -> Result<(), sqlx::Error> {
        self.undecided = true;
        self.execute(sqlx::query(words)).await.map(|_| ())
    }

    /// Makes it so.
    pub(super) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        self.execute(sqlx::query("COMMIT")).await?;
        self.undecided = false;
        Ok(())
    }

    /// As if nothing had been asked since it began.
    pub(super) async fn rollback(&mut self) -> Result<(), sqlx::Error> {
        self.execute(sqlx::query("ROLLBACK")).await?;
        self.undecided = false;
        Ok(())
    }

    /// Does what is asked; how many rows it changed.
    pub(super) async fn execute(
        &mut self,
        query: Query<'_, Any, AnyArguments>,
    ) -> Result<u64, sqlx::Error> {
        self.waits = true;
        let done = timeout_at(self.until, query.execute(&mut *self.connection))
            .await
            .map_err(|_| silent())?;
        self.waits = false;
        Ok(done?.rows_affected())
    }

    /// Does what is asked; all rows that it answers. It reads to the end even where one row is
    /// wanted: a server may send a row before what was written is on disk.
    pub(super) async fn rows(
        &mut self,
        query: Query<'_, Any, AnyArguments>,
    ) -> Result<Vec<AnyRow>, sqlx::Error> {
        self.waits = true;
        let rows = timeout_at(self.until, query.fetch_all(&mut *self.connection))
            .await
            .map_err(|_| silent())?;
        self.waits = false;
        rows
    }

    /// The one row that answers, if any does.
    pub(super) async fn row(
        &mut self,
        query: Query<'_, Any, AnyArguments>,
    ) -> Result<Option<AnyRow>, sqlx::Error> {
        Ok(self.rows(query).await?.pop())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.waits || self.undecided {
            self.connection.close_on_drop();
        }
    }
}

/// The database said nothing in time.
pub(super) fn silent() -> sqlx::Error {
    sqlx::Error::Io(io::ErrorKind::TimedOut.into())
}
