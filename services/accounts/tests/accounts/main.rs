//! Accounts as its callers see it: gRPC for ingest and encoder, HTTP for people and viewers,
//! both over real sockets, on a database made from nothing. Each body runs on SQLite and on a
//! Postgres that the test starts for itself.

/// Each test twice: `sqlite::…` and `postgres::…`.
macro_rules! on_both {
    ($($name:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() -> anyhow::Result<()> {
                super::$name($crate::place::Place::sqlite()?).await
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() -> anyhow::Result<()> {
                match $crate::place::Place::postgres()? {
                    Some(place) => super::$name(place).await,
                    None => Ok(()),
                }
            })*
        }
    };
}

mod backup;
mod beta;
mod browser;
mod calls;
mod http;
mod members;
mod migrations;
mod outages;
mod place;
#[path = "../../../presence/tests/redis/server.rs"]
mod redis;
mod registry;
mod roles;
mod server;
mod service;
mod shared;
mod sink;
mod site;
mod trackers;
