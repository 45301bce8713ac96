//! The station as its owner meets it: the real program, started, asked, stopped.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(20);

struct Station {
    child: Child,
    ready: Value,
}

impl Station {
    async fn start(folder: &Path, more: &[&str]) -> anyhow::Result<Self> {
        let ready = folder.join("ready.json");
        let _ = fs::remove_file(&ready);
        let mut child = command(folder)
            .arg("--ready-json")
            .arg(&ready)
            .args(more)
            .stdout(Stdio::null())
            .spawn()?;
        let began = Instant::now();
        while !ready.exists() {
            if let Some(status) = child.try_wait()? {
                bail!("ended before it was ready: {status}");
            }
            if began.elapsed() > START {
                child.kill()?;
                bail!("not ready in time");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let ready = serde_json::from_slice(&fs::read(&ready)?)?;
        Ok(Self { child, ready })
    }

    fn field(&self, name: &str) -> &str {
        self.ready[name].as_str().unwrap_or_default()
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        let told = Command::new("kill")
            .arg(self.child.id().to_string())
            .status()?;
        ensure!(told.success());
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "exit status {status}");
                return Ok(());
            }
            ensure!(began.elapsed() < STOP, "did not stop in time");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        // One that was stopped is not there to be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_livestation"));
    command
        .arg("standalone")
        .arg("--data-dir")
        .arg(folder.join("data"));
    for flag in ["--http", "--rtmp", "--srt", "--udp"] {
        command.arg(flag).arg("127.0.0.1:0");
    }
    command
}

async fn fails(command: &mut Command) -> anyhow::Result<(Option<i32>, String)> {
    let child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let waited = tokio::task::spawn_blocking(move || child.wait_with_output());
    let output: Output = tokio::time::timeout(START, waited)
        .await
        .context("still running")???;
    Ok((output.status.code(), String::from_utf8(output.stderr)?))
}

#[tokio::test]
async fn it_serves_what_the_ready_file_says_and_stops_when_told() -> anyhow::Result<()> {
    boot::start()?;
    let folder = tempfile::tempdir()?;
    let station = Station::start(folder.path(), &[]).await?;
    let page = reqwest::get(station.field("watch")).await?;
    assert!(page.status().is_success());
    assert!(page.text().await?.contains("demo"));

    let http = station.field("http");
    let ticket = reqwest::Client::new().post(format!("{http}/api/v1/channels/demo/ticket"));
    let ticket: Value = ticket.send().await?.json().await?;
    assert_eq!(
        ticket["tracker"],
        format!("{}/ws", http.replace("http", "ws"))
    );
    let stats: Value = reqwest::get(format!("{http}/api/v1/channels/demo/stats"))
        .await?
        .json()
        .await?;
    assert_eq!(stats["viewers"], 0);
    assert_eq!(stats["live"], false);

    let api = reqwest::Client::new()
        .get(format!("{http}/api/v1/channels"))
        .bearer_auth(station.field("api_token"));
    let channels: Value = api.send().await?.json().await?;
    assert_eq!(channels["channels"][0]["name"], "demo");

    for socket in ["rtmp", "srt", "udp"] {
        assert!(
            !station.field(socket).ends_with(":0"),
            "{socket} names its port"
        );
    }
    tokio::net::TcpStream::connect(station.field("rtmp")).await?;
    let (rtmp, key) = (station.field("rtmp"), station.field("stream_key"));
    assert_eq!(
        station.field("publish_rtmp"),
        format!("rtmp://{rtmp}/live/{key}")
    );
    let srt = station.field("srt");
    assert_eq!(
        station.field("publish_srt"),
        format!("srt://{srt}?streamid=publish:{key}")
    );

    for (path, code) in [
        ("/nobody", "no_such_channel"),
        ("/a/b", "not_found"),
        ("/ws", "ticket_forged"),
    ] {
        let reply: Value = reqwest::get(format!("{http}{path}")).await?.json().await?;
        assert_eq!(reply["error"]["code"], code, "{path}");
    }
    let reply = reqwest::Client::new()
        .post(format!("{http}/ws"))
        .send()
        .await?;
    assert!(reply.status().is_client_error());
    assert!(reply.json::<Value>().await?["error"]["code"].is_string());
    station.stop().await
}

#[tokio::test]
async fn srt_can_be_left_off_and_its_passphrase_must_be_of_some_length() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let station = Station::start(folder.path(), &["--no-srt"]).await?;
    assert!(station.ready["srt"].is_null() && station.ready["publish_srt"].is_null());
    station.stop().await?;

    let file = folder.path().join("passphrase");
    fs::write(&file, "too short\n")?;
    let named = ["--srt-passphrase-file", &file.display().to_string()];
    let (code, stderr) = fails(command(folder.path()).args(named)).await?;
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("10 to 79 bytes, this one has 9"),
        "{stderr}"
    );
    fs::write(&file, "long enough\n")?;
    Station::start(folder.path(), &named).await?.stop().await
}

#[tokio::test]
async fn viewers_behind_a_trusted_proxy_are_told_apart() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let flags = [
        "--attempts-per-address",
        "1",
        "--trusted-proxy",
        "127.0.0.0/8,::1",
    ];
    let station = Station::start(folder.path(), &flags).await?;
    let forgot = format!("{}/api/v1/password/forgot", station.field("http"));
    let ask = async |viewer: &str| {
        let request = reqwest::Client::new()
            .post(&forgot)
            .header("x-forwarded-for", viewer)
            .json(&serde_json::json!({"email": "ann@mail.example"}));
        anyhow::Ok(request.send().await?.status().as_u16())
    };
    assert_eq!(ask("192.0.2.1").await?, 202);
    assert_eq!(ask("192.0.2.1").await?, 429);
    assert_eq!(ask("192.0.2.1, 198.51.100.1").await?, 202);
    assert_eq!(ask("2001:db8::1").await?, 202);
    station.stop().await
}

#[tokio::test]
async fn what_the_api_document_promises_is_there() -> anyhow::Result<()> {
    boot::start()?;
    let folder = tempfile::tempdir()?;
    let station = Station::start(folder.path(), &[]).await?;
    let http = station.field("http");
    let client = reqwest::Client::new();
    let document = client.get(format!("{http}/api/v1/openapi.json"));
    let document: Value = document.send().await?.json().await?;
    let paths = document["paths"].as_object().context("no paths")?;
    ensure!(paths.len() >= 8);
    for (path, operations) in paths {
        let path = path.replace("{name}", "demo").replace("{channel}", "demo");
        let url = format!("{http}{}", path.replace("{id}", "1"));
        let operations = operations.as_object().context("no operations")?;
        for method in operations.keys().filter(|key| *key != "parameters") {
            let method = method.to_uppercase().parse()?;
            let reply = client.request(method, &url).send().await?;
            let body: Value = serde_json::from_str(&reply.text().await?).unwrap_or_default();
            let code = body["error"]["code"].as_str().unwrap_or_default();
            assert!(
                !["not_found", "method_not_allowed"].contains(&code),
                "{url}"
            );
        }
    }
    station.stop().await
}

/// Ended when the test is.
struct Watching(Child);

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_viewer_offers_no_more_than_the_channel_lets_it() -> anyhow::Result<()> {
    boot::start()?;
    let folder = tempfile::tempdir()?;
    let station = Station::start(folder.path(), &[]).await?;
    let channel = format!("{}/api/v1/channels/demo", station.field("http"));
    let client = reqwest::Client::new();
    let capped = client
        .patch(&channel)
        .bearer_auth(station.field("api_token"));
    let capped = capped.json(&serde_json::json!({"upload_max_bps": 1_000_000}));
    assert!(capped.send().await?.status().is_success());

    let mut watching = Vec::new();
    for ready in ["5Mbps", "600kbps"] {
        let viewer = Command::new(env!("CARGO_BIN_EXE_livestation"))
            .args(["watch", station.field("watch"), "--upload-max", ready])
            .spawn()?;
        watching.push(Watching(viewer));
    }
    let began = Instant::now();
    loop {
        let swarm = client.get(format!("{channel}/swarm")).send().await?;
        let swarm: Value = swarm.json().await?;
        let peers = swarm["peers"].as_array().into_iter().flatten();
        let viewers = peers.filter(|peer| peer["role"] == "viewer");
        let mut offered: Vec<_> = viewers
            .filter_map(|peer| peer["upload_bps"].as_u64())
            .collect();
        if offered.len() == watching.len() {
            offered.sort_unstable();
            assert_eq!(offered, [600_000, 1_000_000]);
            break;
        }
        ensure!(began.elapsed() < START, "{swarm}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(watching);
    station.stop().await
}

#[tokio::test]
async fn a_restart_shows_the_same_keys_and_keeps_them_private() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let first = Station::start(folder.path(), &[]).await?;
    let [key, token] = ["stream_key", "api_token"].map(|name| first.field(name).to_owned());
    for file in ["stream-key", "api-token"] {
        let mode = fs::metadata(folder.path().join("data").join(file))?
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    first.stop().await?;
    let second = Station::start(folder.path(), &[]).await?;
    assert_eq!(second.field("stream_key"), key);
    assert_eq!(second.field("api_token"), token);

    let (code, stderr) = fails(&mut command(folder.path())).await?;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("in use by another station"), "{stderr}");
    second.stop().await
}

#[tokio::test]
async fn what_keeps_it_from_starting_is_told_by_the_flag() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let udp = std::net::UdpSocket::bind(&address)?;
    for flag in ["--http", "--rtmp", "--srt", "--udp"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_livestation"));
        command
            .arg("standalone")
            .arg("--data-dir")
            .arg(folder.path().join("data"));
        for other in ["--http", "--rtmp", "--srt", "--udp"] {
            command.arg(other).arg(if other == flag {
                &address
            } else {
                "127.0.0.1:0"
            });
        }
        let (code, stderr) = fails(&mut command).await?;
        assert_eq!(code, Some(1));
        assert!(stderr.contains(&format!("{flag} {address}")), "{stderr}");
    }

    drop(udp);

    let file = folder.path().join("file");
    fs::write(&file, "")?;
    let (code, stderr) = fails(&mut command(&file)).await?;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("--data-dir"), "{stderr}");
    for wrong in [
        ["--http", "here"],
        ["--srt-latency", "9s"],
        ["--seeder-upload-max", "fast"],
        ["--colour", "red"],
        ["--trusted-proxy", "front"],
        ["--public-url", "live.example"],
        ["--public-url", "https://live.example/path"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_livestation"));
        let (code, _) = fails(command.arg("standalone").args(wrong)).await?;
        assert_eq!(code, Some(2), "{wrong:?}");
    }
    Ok(())
}

#[tokio::test]
async fn idle_it_costs_next_to_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let station = Station::start(folder.path(), &[]).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let pid = station.child.id();
    let before = cpu_ticks(pid)?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let ticks = cpu_ticks(pid)? - before;
    assert!(ticks <= 4, "{ticks} of 400 ticks");
    let rss = rss_kib(pid)?;
    assert!(rss <= 60 << 10, "{rss} KiB");
    station.stop().await
}

/// User and system time in ticks of 10 ms; after the command, which ends with `)`.
fn cpu_ticks(pid: u32) -> anyhow::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after.split_whitespace().collect();
    Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
}

fn rss_kib(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .context("no VmRSS")?;
    Ok(line
        .split_whitespace()
        .nth(1)
        .context("no figure")?
        .parse()?)
}
