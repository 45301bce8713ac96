//! The demo as a newcomer meets it: one command, the real programs, and nothing left behind.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

const LONGEST: Duration = Duration::from_secs(60);
/// What the demo promises to end in, and something for a machine that does more.
const STOP: Duration = Duration::from_secs(4);

fn demo(temporary: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_livestation"));
    command
        .args(["demo", "--viewers", "3", "--http", "127.0.0.1:0"])
        .args(more)
        // What it starts is known by the folder that it keeps its files in.
        .env("TMPDIR", temporary)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn wait(mut child: Child, longest: Duration) -> anyhow::Result<Output> {
    let began = Instant::now();
    while child.try_wait()?.is_none() {
        if began.elapsed() > longest {
            child.kill()?;
            child.wait()?;
            anyhow::bail!("did not end within {longest:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(child.wait_with_output()?)
}

/// Processes whose command line names the folder.
fn programs_of(temporary: &Path) -> anyhow::Result<Vec<String>> {
    let folder = temporary.to_str().context("a path")?;
    let processes = fs::read_dir("/proc")?.filter_map(Result::ok);
    let lines = processes.filter_map(|process| {
        let line = fs::read(process.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    Ok(lines.filter(|line| line.contains(folder)).collect())
}

#[test]
fn it_shows_viewers_that_play_and_ends_when_the_time_is_up() -> anyhow::Result<()> {
    let temporary = tempfile::tempdir()?;
    let child = demo(temporary.path(), &["--duration", "12s"]).spawn()?;
    let output = wait(child, LONGEST)?;
    let said = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}{complaints}");
    let last = said.lines().last().context("it said nothing")?;
    ensure!(
        last.starts_with("at the end: 3 of 3 viewers playing"),
        "{said}"
    );
    ensure!(last.contains("/demo"), "no page to open: {said}");
    let left = programs_of(temporary.path())?;
    ensure!(left.is_empty(), "left running: {left:?}");
    ensure!(
        fs::read_dir(temporary.path())?.next().is_none(),
        "files left"
    );
    Ok(())
}

#[test]
fn a_signal_ends_it_and_all_that_it_started() -> anyhow::Result<()> {
    let temporary = tempfile::tempdir()?;
    let child = demo(temporary.path(), &[]).spawn()?;
    let began = Instant::now();
    // The station and three viewers name the folder; ffmpeg ends before the station does.
    while programs_of(temporary.path())?.len() < 4 {
        ensure!(began.elapsed() < LONGEST, "the viewers were never started");
        std::thread::sleep(Duration::from_millis(50));
    }
    let told = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()?;
    ensure!(told.success());
    let output = wait(child, STOP)?;
    ensure!(output.status.success(), "{:?}", output.status);
    let left = programs_of(temporary.path())?;
    ensure!(left.is_empty(), "left running: {left:?}");
    Ok(())
}

#[test]
fn without_ffmpeg_it_says_how_to_get_it() -> anyhow::Result<()> {
    let temporary = tempfile::tempdir()?;
    let child = demo(temporary.path(), &[])
        .env("PATH", temporary.path())
        .spawn()?;
    let output = wait(child, LONGEST)?;
    ensure!(output.status.code() == Some(1));
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(complaint.contains("make setup"), "{complaint}");
    Ok(())
}
