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

#[test]
fn a_wrong_scenario_file_is_wrong_usage_and_the_line_is_named() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("mine.toml");
    let path = file.to_str().context("a path")?;
    let good = "about = \"mine\"\n[swarm]\npeers = 12\n[run]\nduration = \"10s\"\n";
    fs::write(&file, good.replace("peers", "viewers"))?;
    let output = sim(&["run", path])?;
    let complaint = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(2), "{complaint}");
    ensure!(
        complaint.contains("line 3") && complaint.contains("viewers"),
        "{complaint}"
    );
    fs::write(&file, good)?;
    let output = sim(&["run", path, "--seeds", "2"])?;
    ensure!(output.status.success(), "{output:?}");
    let output = sim(&["run", path, "--peers", "900000"])?;
    let complaint = String::from_utf8(output.stderr)?;
    ensure!(
        output.status.code() == Some(2) && complaint.contains("MiB"),
        "{complaint}"
    );
    Ok(())
}

#[test]
fn two_results_are_put_beside_each_other() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let [a, b] = ["a.json", "b.json"].map(|name| folder.path().join(name));
    for (file, seed) in [(&a, "1"), (&b, "2")] {
        let path = file.to_str().context("a path")?;
        let output = sim(&[
            "run", "steady", "--peers", "20", "--seed", seed, "--json", path,
        ])?;
        ensure!(output.status.success(), "{output:?}");
    }
    let [a, b] = [&a, &b].map(|path| path.to_str().unwrap_or_default());
    let output = sim(&["compare", a, b])?;
    let table = String::from_utf8(output.stdout)?;
    ensure!(
        output.status.success() && table.contains("saved_ratio"),
        "{table}"
    );
    ensure!(!sim(&["compare", a, "none.json"])?.status.success());
    Ok(())
}

#[test]
fn rivals_stand_beside_ours_in_one_file_and_on_one_page() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (json, html) = (
        folder.path().join("all.json"),
        folder.path().join("all.html"),
    );
    let (json_at, html_at) = (
        json.to_str().context("a path")?,
        html.to_str().context("a path")?,
    );
    let output = sim(&[
        "run",
        "steady",
        "--peers",
        "20",
        "--overlay",
        "all",
        "--json",
        json_at,
        "--report",
        html_at,
    ])?;
    ensure!(output.status.success(), "{output:?}");
    let all: Value = serde_json::from_slice(&fs::read(&json)?)?;
    let names: Vec<&str> = all
        .as_array()
        .context("a list")?
        .iter()
        .filter_map(|one| one["overlay"].as_str())
        .collect();
    let wanted = [
        "ours",
        "client-server",
        "single-tree",
        "splitstream",
        "pull-mesh",
        "segments",
    ];
    ensure!(names == wanted, "{names:?}");
    // A server cuts nobody, and has no trees.
    ensure!(all[1]["metrics"]["honest_cut"].is_null() && all[1]["metrics"]["depth_max"].is_null());
    let page = fs::read_to_string(&html)?;
    ensure!(wanted.iter().all(|name| page.contains(name)) && page.contains("<svg"));
    for fetched in ["http:", "https:", "<script", "src=", "@import", "url("] {
        ensure!(!page.contains(fetched), "the page wants {fetched}");
    }
    let again = folder.path().join("again.html");
    let output = sim(&[
        "report",
        json_at,
        "--html",
        again.to_str().context("a path")?,
    ])?;
    ensure!(output.status.success(), "{output:?}");
    ensure!(
        fs::read_to_string(again)? == page,
        "the file says all that is drawn"
    );
    let output = sim(&["run", "steady", "--overlay", "bittorrent"])?;
    ensure!(output.status.code() == Some(2), "{output:?}");
    Ok(())
}
