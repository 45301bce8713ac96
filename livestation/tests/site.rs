//! The whole way of a broadcaster through the site, in a real browser (`site/walk.mjs`).

#[path = "../../services/accounts/tests/accounts/server.rs"]
#[expect(dead_code, reason = "this test uses a part")]
mod server;

use std::{path::Path, process::Command};

use anyhow::ensure;

use crate::server::Postgres;

fn found(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).exists())
}

/// Through a station of one process, or of several on this database.
fn walk(database: Option<&str>) -> anyhow::Result<()> {
    for name in ["chromium", "node", "ffmpeg"] {
        if !found(name) {
            eprintln!("left out: there is no {name} (make setup)");
            return Ok(());
        }
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/site");
    if !folder.join("node_modules/axe-core").exists() {
        eprintln!("left out of it: accessibility; there is no axe-core (make setup, with npm)");
    }
    let mut node = Command::new("node");
    node.arg(folder.join("walk.mjs"))
        .args([env!("CARGO_BIN_EXE_livestation"), "chromium"])
        .env_remove("LIVESTATION_DATABASE")
        .envs(database.map(|url| ("LIVESTATION_DATABASE", url)));
    let output = node.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    Ok(())
}

#[test]
fn a_broadcaster_goes_all_the_way() -> anyhow::Result<()> {
    walk(None)
}

#[test]
fn and_where_services_are_apart_on_postgres_with_a_mail_server() -> anyhow::Result<()> {
    match Postgres::start()? {
        Some(postgres) => walk(Some(&postgres.url())),
        None => Ok(()),
    }
}
