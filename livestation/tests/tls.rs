//! Services in processes of their own that know each other by certificates, and what people
//! are told who start them wrongly.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use serde_json::Value;

const START: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A program that is killed when the test is over.
struct Program(Child);

impl Program {
    /// Starts it and waits for its ready file.
    async fn start(folder: &Path, name: &str, args: &[String]) -> Result<(Self, Value)> {
        let ready = folder.join(format!("{name}.json"));
        let log = fs::File::create(folder.join(format!("{name}.log")))?;
        let child = program()
            .args(args)
            .arg("--ready-json")
            .arg(&ready)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let mut program = Self(child);
        let began = Instant::now();
        while !ready.exists() {
            if let Some(status) = program.0.try_wait()? {
                let log = fs::read_to_string(folder.join(format!("{name}.log")))?;
                bail!("{name} ended before it was ready: {status}: {log}");
            }
            ensure!(began.elapsed() < START, "{name} is not ready in time");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok((program, serde_json::from_slice(&fs::read(&ready)?)?))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_livestation"))
}

/// Runs the program to its end, which comes within [`START`].
async fn ends(command: &mut Command) -> Result<Output> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let began = Instant::now();
    while child.try_wait()?.is_none() {
        if began.elapsed() > START {
            child.kill()?;
            child.wait()?;
            bail!("still running");
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(child.wait_with_output()?)
}

/// Its exit code and what it says of why.
async fn fails(args: &[&str], env: &[(&str, &str)]) -> Result<(Option<i32>, String)> {
    let output = ends(program().args(args).envs(env.iter().copied())).await?;
    Ok((output.status.code(), String::from_utf8(output.stderr)?))
}

async fn init(folder: &Path, more: &[&str]) -> Result<String> {
    let output = ends(program().args(["pki", "init"]).arg(folder).args(more)).await?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn tls(pki: &Path, holder: &str) -> Vec<String> {
    let file = |name: &str| pki.join(name).display().to_string();
    [
        "--tls-ca".to_owned(),
        file("ca.pem"),
        "--tls-cert".to_owned(),
        file(&format!("{holder}.pem")),
        "--tls-key".to_owned(),
        file(&format!("{holder}.key")),
    ]
    .to_vec()
}

fn args(words: &str, more: Vec<String>) -> Vec<String> {
    words
        .split_whitespace()
        .map(str::to_owned)
        .chain(more)
        .collect()
}

/// Addresses that are free, all at once.
fn free<const N: usize>() -> Result<[SocketAddr; N]> {
    let held: Vec<_> = (0..N)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    let all: Vec<_> = held
        .iter()
        .map(TcpListener::local_addr)
        .collect::<Result<_, _>>()?;
    all.try_into().map_err(|_| anyhow::anyhow!("too few"))
}

#[tokio::test]
async fn certificates_are_made_once_and_renewed_when_asked() -> Result<()> {
    let parent = tempfile::tempdir()?;
    let folder = parent.path().join("pki");
    let said = init(&folder, &["--name", "one.example"]).await?;
    let read = |name: &str| fs::read(folder.join(name));
    let mut all = vec!["ca", "station"];
    all.extend(["accounts", "ingest", "encoder", "tracker", "seeder"]);
    for name in &all {
        assert!(
            said.contains(&format!("{name}.pem  made, until 2")),
            "{said}"
        );
        let key = folder.join(format!("{name}.key"));
        assert_eq!(fs::metadata(key)?.permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(fs::metadata(&folder)?.permissions().mode() & 0o777, 0o700);

    let (ca, seeder, tracker) = (read("ca.pem")?, read("seeder.pem")?, read("tracker.pem")?);
    fs::remove_file(folder.join("ingest.key"))?;
    let said = init(&folder, &["--renew", "seeder"]).await?;
    assert_eq!(said.matches("there already").count(), all.len() - 2);
    assert!(said.contains("seeder.pem  renewed") && said.contains("ingest.pem  made"));
    assert_eq!((read("ca.pem")?, read("tracker.pem")?), (ca, tracker));
    assert_ne!(read("seeder.pem")?, seeder);

    fs::remove_file(folder.join("ca.key"))?;
    let shown = folder.display().to_string();
    let (code, why) = fails(&["pki", "init", &shown], &[]).await?;
    assert_eq!(code, Some(1));
    assert!(why.contains("ca.key") && why.contains(&shown), "{why}");
    let (code, why) = fails(&["pki", "init", &shown, "--renew", "viewer"], &[]).await?;
    assert!(code == Some(2) && why.contains("seeder"), "{why}");
    Ok(())
}

#[tokio::test]
async fn a_station_its_tracker_and_its_seeder_meet_by_tls() -> Result<()> {
    boot::start()?;
    let folder = tempfile::tempdir()?;
    let pki = folder.path().join("pki");
    init(&pki, &[]).await?;
    let [accounts, tracker, tracker_http, seeder] = free()?;
    let data = folder.path().join("data").display().to_string();
    let station = args(
        &format!(
            "standalone --data-dir {data} --http 127.0.0.1:0 --rtmp 127.0.0.1:0 \
             --udp 127.0.0.1:0 --accounts-grpc {accounts} --tracker https://{tracker} \
             --tracker-public http://{tracker_http} --seeder https://{seeder}"
        ),
        tls(&pki, "station"),
    );
    let (_station, ready) = Program::start(folder.path(), "station", &station).await?;
    let stats = format!(
        "{}/api/v1/channels/demo/stats",
        ready["http"].as_str().unwrap_or_default()
    );
    assert_eq!(reqwest::get(&stats).await?.status(), 503);

    let apart = args(
        &format!("tracker --accounts https://{accounts} --grpc {tracker} --http {tracker_http}"),
        tls(&pki, "tracker"),
    );
    let (_tracker, ready) = Program::start(folder.path(), "tracker", &apart).await?;
    assert_eq!(ready["grpc"], format!("https://{tracker}"));
    let began = Instant::now();
    while !reqwest::get(&stats).await?.status().is_success() {
        ensure!(began.elapsed() < START, "the tracker gives no figures");
        tokio::time::sleep(LOOK_AGAIN).await;
    }

    let apart = args(
        &format!(
            "seeder --accounts https://{accounts} --tracker https://{tracker} --grpc {seeder} \
             --udp 127.0.0.1:0 --http 127.0.0.1:0"
        ),
        tls(&pki, "seeder"),
    );
    let (_seeder, ready) = Program::start(folder.path(), "seeder", &apart).await?;
    assert_eq!(ready["grpc"], format!("https://{seeder}"));
    for name in ["station", "tracker", "seeder"] {
        let log = fs::read_to_string(folder.path().join(format!("{name}.log")))?;
        assert!(!log.contains("refused"), "{name}: {log}");
    }
    Ok(())
}

#[tokio::test]
async fn a_part_of_the_tls_flags_is_wrong_usage_that_names_the_rest() -> Result<()> {
    let tracker = ["tracker", "--accounts", "https://127.0.0.1:9"];
    let flags = ["--tls-ca", "--tls-cert", "--tls-key"];
    for given in flags {
        let variable = given[2..].to_uppercase().replace('-', "_");
        let variable = format!("LIVESTATION_{variable}");
        let by_flag = [&tracker[..], &[given, "some.pem"]].concat();
        for (args, env) in [
            (&by_flag[..], &[][..]),
            (&tracker[..], &[(&*variable, "some.pem")][..]),
        ] {
            let (code, why) = fails(args, env).await?;
            assert_eq!(code, Some(2), "{why}");
            for missing in flags.iter().filter(|flag| **flag != given) {
                assert!(why.contains(missing), "{given} alone: {why}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_spoken_is_told_before_a_port_is_bound() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let pki = folder.path().join("pki");
    init(&pki, &[]).await?;
    let by_tls = tls(&pki, "tracker");
    let by_tls: Vec<&str> = by_tls.iter().map(String::as_str).collect();
    // Were a port bound first, that would be the complaint.
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let taken = taken.local_addr()?.to_string();
    let here = ["--accounts", "http://127.0.0.1:9"];
    let data = folder.path().join("data").display().to_string();
    let seeder = tls(&pki, "seeder");
    let other_role: Vec<&str> = seeder.iter().map(String::as_str).collect();
    let by_name = "http://accounts.example:7700";
    for (args, said) in [
        (
            [&["tracker", "--grpc", "0.0.0.0:0"], &here[..]].concat(),
            "--grpc 0.0.0.0:0: plain text is for loopback",
        ),
        (
            vec!["tracker", "--accounts", by_name],
            "--accounts http://accounts.example:7700: plain text is for loopback",
        ),
        (
            [&["tracker"], &here[..], &by_tls].concat(),
            "--accounts http://127.0.0.1:9: it begins with https://",
        ),
        (
            vec!["tracker", "--accounts", "https://127.0.0.1:9"],
            "--accounts https://127.0.0.1:9: it begins with http://",
        ),
        (
            [&["tracker", "--accounts", "https://a:9"], &other_role[..]].concat(),
            "is not for the role tracker",
        ),
        (
            vec![
                "standalone",
                "--data-dir",
                &data,
                "--accounts-grpc",
                "0.0.0.0:0",
            ],
            "--accounts-grpc 0.0.0.0:0: plain text is for loopback",
        ),
        (
            [&["standalone", "--data-dir", &data], &by_tls[..]].concat(),
            "is not for the role accounts",
        ),
    ] {
        let args = [&args[..], &["--http", &taken]].concat();
        let (code, why) = fails(&args, &[]).await?;
        assert_eq!(code, Some(1), "{args:?}: {why}");
        assert!(why.contains(said), "{args:?}: {why}");
    }
    let (_, why) = fails(
        &[
            "tracker",
            "--accounts",
            by_name,
            "--grpc-plaintext",
            "--http",
            &taken,
        ],
        &[],
    )
    .await?;
    assert!(why.contains(&format!("--http {taken}")), "{why}");
    Ok(())
}
