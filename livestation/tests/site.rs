//! The whole way of a broadcaster through the site, in a real browser (`site/walk.mjs`).

use std::{path::Path, process::Command};

use anyhow::ensure;

fn found(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).exists())
}

#[test]
fn a_broadcaster_goes_all_the_way() -> anyhow::Result<()> {
    for name in ["chromium", "node", "ffmpeg"] {
        if !found(name) {
            eprintln!("left out: there is no {name} (make setup)");
            return Ok(());
        }
    }
    if !Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/site/node_modules/axe-core")
        .exists()
    {
        eprintln!("left out of it: accessibility, there is no axe-core (make setup, with npm)");
    }
    let walk = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/site/walk.mjs");
    let output = Command::new("node")
        .arg(walk)
        .args([env!("CARGO_BIN_EXE_livestation"), "chromium"])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    Ok(())
}
