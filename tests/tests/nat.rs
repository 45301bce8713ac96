//! Viewers behind routers: who finds whom. A network of namespaces, with the real program in
//! each.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tests::{
    figures::Figures,
    network::{self, Machine, Nat, Network},
    process::{self, Process},
    station::Ready,
};
use tokio::time::{Instant, sleep};

const START: Duration = Duration::from_secs(30);
/// By then everyone has come, and tried everybody else.
const SETTLED: Duration = Duration::from_secs(20);

/// Where a viewer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Open,
    /// In the home of this number, whose router translates like this.
    Home(u8, Nat),
}

/// By which way two viewers reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Direct,
    /// Over a TURN server.
    Turn,
    None,
}

/// Who reaches whom when both know where the seeder sees the other.
fn expected(one: Place, other: Place, turn: bool) -> Way {
    let direct = match (one, other) {
        (Place::Open, Place::Open) => true,
        (Place::Open, Place::Home(_, nat)) | (Place::Home(_, nat), Place::Open) => {
            nat != Nat::Blocked
        }
        // On one network they need no router.
        (Place::Home(a, _), Place::Home(b, _)) if a == b => true,
        // A port for each destination cannot be told beforehand.
        (Place::Home(_, a), Place::Home(_, b)) => a == Nat::Cone && b == Nat::Cone,
    };
    match (direct, turn) {
        (true, _) => Way::Direct,
        (false, true) => Way::Turn,
        (false, false) => Way::None,
    }
}

struct Viewer {
    place: Place,
    process: Process,
    stats: PathBuf,
}

impl Viewer {
    fn enter(folder: &Path, machine: &Machine, place: Place, number: usize) -> Result<Self> {
        let stats = folder.join(format!("viewer-{number}.json"));
        let mut command = machine.command(process::program()?);
        command
            .args(["watch", "http://9.0.0.1:8080/demo", "--stats-json"])
            .arg(&stats);
        let process = Process::start(folder, &format!("viewer-{number}"), &mut command)?;
        Ok(Self {
            place,
            process,
            stats,
        })
    }
}

#[tokio::test]
async fn viewers_behind_routers_find_each_other() -> Result<()> {
    find_each_other(false).await
}

/// By UDP who can, by TCP who cannot: then there is a way between any two.
#[tokio::test]
async fn where_nothing_else_goes_a_turn_server_carries() -> Result<()> {
    find_each_other(true).await
}

async fn find_each_other(turn: bool) -> Result<()> {
    if !network::is_possible() {
        eprintln!("left out: a network of namespaces takes root");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let mut network = Network::new()?;
    let centre = network.open("centre", 1)?;
    let server = match turn {
        true => Some(TurnServer::start(folder, &network.open("turn", 2)?)?),
        false => None,
    };
    let (station, _ffmpeg) = on_air(folder, &centre, server.as_ref()).await?;

    let mut machines = vec![
        (network.open("open1", 11)?, Place::Open),
        (network.open("open2", 12)?, Place::Open),
    ];
    let homes = [
        (21, Nat::Cone, 2),
        (22, Nat::Cone, 1),
        (31, Nat::Symmetric, 2),
        (32, Nat::Symmetric, 1),
        (41, Nat::Blocked, 1),
    ];
    for (host, nat, count) in homes {
        let home = network.home(&format!("home{host}"), host, nat, count)?;
        let place = Place::Home(host, nat);
        machines.extend(home.into_iter().map(|machine| (machine, place)));
    }
    let mut viewers = Vec::new();
    for (number, (machine, place)) in machines.iter().enumerate() {
        viewers.push(Viewer::enter(folder, machine, *place, number)?);
        sleep(Duration::from_millis(300)).await;
    }
    let until = Instant::now() + SETTLED;
    let mut names = BTreeMap::new();
    for (number, viewer) in viewers.iter_mut().enumerate() {
        let blocked = matches!(viewer.place, Place::Home(_, Nat::Blocked));
        let playing = |figures: &Figures| (blocked && !turn) || figures.state == "playing";
        let figures: Figures = viewer.process.json(&viewer.stats, START, playing).await?;
        names.insert(number, figures.peer);
    }
    loop {
        let wrong = wrong(&mut viewers, &names, turn).await?;
        if wrong.is_empty() {
            break;
        }
        let said: Vec<String> = viewers.iter().map(|viewer| viewer.process.said()).collect();
        ensure!(
            Instant::now() < until,
            "not as expected: {wrong:#?}\n{}\n{}",
            said.join("\n"),
            station.said()
        );
        sleep(Duration::from_millis(250)).await;
    }
    // Whoever is still trying has given up by then.
    sleep(Duration::from_secs(6)).await;
    let wrong = wrong(&mut viewers, &names, turn).await?;
    ensure!(wrong.is_empty(), "not as expected any more: {wrong:#?}");
    Ok(())
}

/// Pairs that are linked and should not be, or the other way round, or by the wrong way.
async fn wrong(
    viewers: &mut [Viewer],
    names: &BTreeMap<usize, String>,
    turn: bool,
) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for viewer in viewers.iter_mut() {
        let any = |_: &Figures| true;
        let figures: Figures = viewer.process.json(&viewer.stats, START, any).await?;
        all.push(figures);
    }
    let mut wrong = Vec::new();
    for one in 0..viewers.len() {
        for other in 0..one {
            let name = names.get(&other).context("everyone has a name")?;
            let way = match (&all[one].links, &all[one].links_over_turn) {
                (_, turned) if turned.contains(name) => Way::Turn,
                (links, _) if links.contains(name) => Way::Direct,
                _ => Way::None,
            };
            let (a, b) = (viewers[one].place, viewers[other].place);
            if way != expected(a, b, turn) {
                wrong.push(format!("{one} {a:?}, {other} {b:?}: {way:?}"));
            }
        }
    }
    Ok(wrong)
}

/// coturn, as an operator would run it.
struct TurnServer {
    address: Ipv4Addr,
    secret: PathBuf,
    _process: Process,
}

impl TurnServer {
    fn start(folder: &Path, machine: &Machine) -> Result<Self> {
        let secret = folder.join("turn-secret");
        std::fs::write(&secret, "north by northwest\n")?;
        let address = machine.address.to_string();
        let mut command = machine.command("turnserver");
        command
            .args(["-n", "--no-cli", "--no-tls", "--no-dtls", "--simple-log"])
            .args(["--log-file", "stdout", "--realm", "livestation"])
            .args(["--listening-ip", &address, "--relay-ip", &address])
            .args(["--use-auth-secret", "--static-auth-secret"])
            .arg("north by northwest")
            .arg("--pidfile")
            .arg(folder.join("turnserver.pid"));
        let process = Process::start(folder, "turnserver", &mut command)?;
        Ok(Self {
            address: machine.address,
            secret,
            _process: process,
        })
    }
}

/// A station in the middle, with a broadcast.
async fn on_air(
    folder: &Path,
    centre: &Machine,
    turn: Option<&TurnServer>,
) -> Result<(Process, Process)> {
    let at = |port: u16| format!("{}:{port}", centre.address);
    let url = format!("http://{}", at(8080));
    let ready = folder.join("ready.json");
    let mut command = centre.command(process::program()?);
    command
        .args(["standalone", "--http", &at(8080), "--rtmp", &at(1935)])
        .args(["--no-srt", "--udp", &at(4433), "--public-url", &url])
        .arg("--data-dir")
        .arg(folder.join("data"))
        .arg("--ready-json")
        .arg(&ready);
    if let Some(turn) = turn {
        let url = |over| format!("turn:{}:3478?transport={over}", turn.address);
        command
            .args(["--turn", &url("udp"), "--turn", &url("tcp")])
            .arg("--turn-secret-file")
            .arg(&turn.secret);
    }
    let mut station = Process::start(folder, "standalone", &mut command)?;
    let ready: Ready = station.json(&ready, START, |_| true).await?;
    let mut ffmpeg = centre.command("ffmpeg");
    ffmpeg
        .args(["-hide_banner", "-loglevel", "error", "-re", "-f", "lavfi"])
        .args(["-i", "testsrc2=size=320x180:rate=30", "-t", "120"])
        .args(["-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset"])
        .args(["ultrafast", "-g", "60", "-b:v", "400k", "-f", "flv"])
        .arg(&ready.publish_rtmp);
    let ffmpeg = Process::start(folder, "ffmpeg", &mut ffmpeg)?;
    Ok((station, ffmpeg))
}
