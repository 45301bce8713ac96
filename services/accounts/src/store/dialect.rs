//! What SQLite and Postgres want differently. Called by the store. The one rule: no other file
//! asks which of the two it is.

use std::time::Duration;

use sqlx::migrate::Migrator;

use crate::database::Backend;

static POSTGRES: Migrator = sqlx::migrate!("../../migrations/postgres");
static SQLITE: Migrator = sqlx::migrate!("../../migrations/sqlite");

/// Of each connection. Foreign keys are off in SQLite unless asked for; readers pass the
/// writer with a write-ahead log; what we acknowledged must survive a power cut; and writers
/// wait for each other as long as a call may last.
const SQLITE_SETTINGS: &[&str] = &[
    "PRAGMA busy_timeout = 3000",
    "PRAGMA foreign_keys = ON",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
];

/// Of each connection. Whom we gave up must not hold locks on: the server ends by itself what
/// outlasts our own deadline.
const POSTGRES_SETTINGS: &[&str] = &["SET statement_timeout = 1000"];

impl Backend {
    /// How long a call may take from asking for a connection to the last row. A server's
    /// silence is told within the second that callers give us; a file answers late only when
    /// its disk is slow, and has no other side that might come back.
    pub(super) const fn deadline(&self) -> Duration {
        match self {
            Self::Postgres => Duration::from_millis(700),
            Self::Sqlite(_) => Duration::from_secs(3),
        }
    }

    /// SQLite has one writer; more connections only let readers pass it. Postgres writes side
    /// by side, and lets in 100 from all of us together unless told otherwise.
    pub(super) const fn connections(&self) -> u32 {
        match self {
            Self::Postgres => 10,
            Self::Sqlite(_) => 3,
        }
    }

    /// What a new connection is told first.
    pub(super) const fn settings(&self) -> &'static [&'static str] {
        match self {
            Self::Postgres => POSTGRES_SETTINGS,
            Self::Sqlite(_) => SQLITE_SETTINGS,
        }
    }

    /// What a connection that migrates is told besides: a migration takes as long as it takes.
    pub(super) const fn settings_to_migrate(&self) -> &'static [&'static str] {
        match self {
            Self::Postgres => &["SET statement_timeout = 0"],
            Self::Sqlite(_) => &[],
        }
    }

    /// The migrations of this program.
    pub(super) fn migrations(&self) -> &'static Migrator {
        match self {
            Self::Postgres => &POSTGRES,
            Self::Sqlite(_) => &SQLITE,
        }
    }

    /// How a transaction begins. SQLite's takes the one writer's place at once: to ask for it
    /// later, after a read, may fail without waiting.
    pub(super) const fn begin(&self) -> &'static str {
        match self {
            Self::Postgres => "BEGIN",
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
        }
    }

    /// The database's clock, in Unix milliseconds.
    pub(super) const fn now_ms(&self) -> &'static str {
        match self {
            Self::Postgres => "(extract(epoch FROM clock_timestamp()) * 1000)::BIGINT",
            Self::Sqlite(_) => "CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER)",
        }
    }

    /// One row if the table of applied migrations is there.
    pub(super) const fn has_history(&self) -> &'static str {
        match self {
            Self::Postgres => "SELECT 1 AS there WHERE to_regclass('_sqlx_migrations') IS NOT NULL",
            Self::Sqlite(_) => {
                "SELECT 1 AS there FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_have_the_same_migrations() {
        let names = |migrator: &Migrator| -> Vec<(i64, String)> {
            let name = |one: &sqlx::migrate::Migration| (one.version, one.description.to_string());
            migrator.iter().map(name).collect()
        };
        assert_eq!(names(&POSTGRES), names(&SQLITE));
    }

    /// As stations have applied it: another one would be refused as altered.
    #[test]
    fn the_first_migration_of_sqlite_is_what_it_was() {
        let first = SQLITE.iter().next().map(|one| hex::encode(&one.checksum));
        let applied = "0ec4cf45c0f12f0568a753827fbe9336be3a5d378cb27491edeefce30b3cd7d8\
                       2d6e58f9c5f78a6f4bca9d1ec4abe909";
        assert_eq!(first.as_deref(), Some(applied));
    }
}
