//! `livestation migrate` and `livestation accounts` as scripts see them: exit codes, files and
//! what is said, on a SQLite file.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);

#[test]
fn migrate_says_what_it_did_and_check_only_says() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}/a.sqlite", folder.path().display());
    let check = run(&["migrate", "--check", "--database", &url])?;
    assert_eq!(check.status.code(), Some(1));
    assert!(
        said(&check).contains("missing: 1 channels"),
        "{}",
        said(&check)
    );
    assert_eq!(fs::read_dir(folder.path())?.count(), 0, "it only says");

    let done = run(&["migrate", "--database", &url])?;
    assert_eq!(done.status.code(), Some(0));
    assert!(
        said(&done).contains("applied: 1 channels"),
        "{}",
        said(&done)
    );
    for again in [
        &["migrate", "--check", "--database", &url][..],
        &["migrate", "--database", &url],
    ] {
        let again = run(again)?;
        assert_eq!(again.status.code(), Some(0));
        assert!(
            said(&again).contains("nothing is missing"),
            "{}",
            said(&again)
        );
    }
    Ok(())
}

#[test]
fn a_password_is_not_repeated_whatever_is_wrong_with_its_url() -> Result<()> {
    for url in [
        "postgres://station:hush@127.0.0.1:1/live",
        "postgres://station:hush@127.0.0.1:port/live",
        "postgres://station:hush@127.0.0.1:1/live?sslmode=perhaps",
        "postgres://station@127.0.0.1:1/live?pasword=hush",
        "mysql://station:hush@127.0.0.1:1/live",
    ] {
        for by_environment in [false, true] {
            let mut command = livestation();
            command.env("LIVESTATION_LOG", "trace").arg("migrate");
            match by_environment {
                true => command.env("LIVESTATION_DATABASE", url),
                false => command.args(["--database", url]),
            };
            let refused = command.output()?;
            assert_eq!(refused.status.code(), Some(1), "{url}");
            assert!(!said(&refused).contains("hush"), "{}", said(&refused));
        }
    }
    Ok(())
}

#[tokio::test]
async fn accounts_serves_alone_keeps_its_token_and_drains() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let (mut child, ready) = start(folder.path())?;
        let http = ready["http"].as_str().context("http")?.to_owned();
        assert!(
            ready["grpc"]
                .as_str()
                .is_some_and(|url| url.starts_with("http://"))
        );
        let token = fs::read_to_string(folder.path().join("token"))?;
        let mode = fs::metadata(folder.path().join("token"))?
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let channels = format!("{http}/api/v1/channels");
        let client = reqwest::Client::new();
        let listed = client.get(&channels).bearer_auth(&token).send().await?;
        assert_eq!(listed.status().as_u16(), 200);
        tokens.push(token);

        let pid = child.id().to_string();
        ensure!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()?
                .success()
        );
        let began = Instant::now();
        let ended = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            ensure!(began.elapsed() < SOON, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(ended.code(), Some(0));
    }
    assert_eq!(tokens[0], tokens[1], "a good token stays");
    Ok(())
}

fn start(folder: &Path) -> Result<(Child, Value)> {
    let ready = folder.join("ready.json");
    let _ = fs::remove_file(&ready);
    let mut child = livestation()
        .args(["accounts", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"])
        .args(["--tracker", "http://127.0.0.1:9", "--database"])
        .arg(format!("sqlite:{}/a.sqlite", folder.display()))
        .arg("--api-token-file")
        .arg(folder.join("token"))
        .arg("--ready-json")
        .arg(&ready)
        .stderr(Stdio::null())
        .spawn()?;
    let began = Instant::now();
    while !ready.exists() {
        let ended = child.try_wait()?;
        ensure!(
            ended.is_none() && began.elapsed() < SOON,
            "not ready: {ended:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok((child, serde_json::from_slice(&fs::read(&ready)?)?))
}

fn livestation() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_livestation"));
    command.env_remove("LIVESTATION_DATABASE");
    command
}

fn run(args: &[&str]) -> Result<Output> {
    Ok(livestation().args(args).output()?)
}

/// Wherever it said it.
fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}
