//! `livestation sim` as scripts call it.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context, ensure};
use serde_json::Value;

fn sim(args: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_livestation"));
    Ok(command.arg("sim").args(args).output()?)
}

fn steady(file: &Path) -> anyhow::Result<Value> {
    let path = file.to_str().context("a path")?;
    let output = sim(&[
        "run", "steady", "--peers", "20", "--seed", "7", "--json", path,
    ])?;
    ensure!(output.status.success(), "{output:?}");
    Ok(serde_json::from_slice(&fs::read(file)?)?)
}

#[test]
fn a_run_writes_its_figures_and_the_same_seed_gives_the_same_run() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let first = steady(&folder.path().join("first.json"))?;
    let second = steady(&folder.path().join("second.json"))?;
    ensure!(first["scenario"] == "steady" && first["peers"] == 20 && first["seeds"] == 1);
    ensure!(first["metrics"]["saved_ratio"].is_number(), "{first}");
    ensure!(first["runs"][0]["seed"] == 7, "{first}");
    ensure!(first["trace_hash"].is_string() && first["trace_hash"] == second["trace_hash"]);
    Ok(())
}

#[test]
fn an_unknown_scenario_is_wrong_usage_and_the_known_ones_are_named() -> anyhow::Result<()> {
    let output = sim(&["run", "stedy"])?;
    ensure!(output.status.code() == Some(2));
    let complaint = String::from_utf8(output.stderr)?;
    ensure!(complaint.contains("stedy") && complaint.contains("steady"));
    let listed = String::from_utf8(sim(&["list"])?.stdout)?;
    ensure!(listed.contains("steady"));
    Ok(())
}
