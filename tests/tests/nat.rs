//! Viewers behind routers: who finds whom. A network of namespaces, with the real program in
//! each.

use std::{
    collections::BTreeMap,
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

/// Who reaches whom when both know where the seeder sees the other.
fn expected(one: Place, other: Place) -> bool {
    match (one, other) {
        (Place::Open, Place::Open) => true,
        (Place::Open, Place::Home(_, nat)) | (Place::Home(_, nat), Place::Open) => {
            nat != Nat::Blocked
        }
        // On one network they need no router.
        (Place::Home(a, _), Place::Home(b, _)) if a == b => true,
        // A port for each destination cannot be told beforehand.
        (Place::Home(_, a), Place::Home(_, b)) => a == Nat::Cone && b == Nat::Cone,
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
        let program = process::program()?.display().to_string();
        let mut command = machine.command(&program);
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
    if !network::is_possible() {
        eprintln!("left out: a network of namespaces takes root");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let mut network = Network::new()?;
    let centre = network.open("centre", 1)?;
    let (station, _ffmpeg) = on_air(folder, &centre).await?;

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
        let playing = |figures: &Figures| blocked || figures.state == "playing";
        let figures: Figures = viewer.process.json(&viewer.stats, START, playing).await?;
        names.insert(number, figures.peer);
    }
    loop {
        let wrong = wrong(&mut viewers, &names).await?;
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
    let wrong = wrong(&mut viewers, &names).await?;
    ensure!(wrong.is_empty(), "not as expected any more: {wrong:#?}");
    Ok(())
}

/// Pairs that are linked and should not be, or the other way round.
async fn wrong(viewers: &mut [Viewer], names: &BTreeMap<usize, String>) -> Result<Vec<String>> {
    let mut links = Vec::new();
    for viewer in viewers.iter_mut() {
        let any = |_: &Figures| true;
        let figures: Figures = viewer.process.json(&viewer.stats, START, any).await?;
        links.push(figures.links);
    }
    let mut wrong = Vec::new();
    for one in 0..viewers.len() {
        for other in 0..one {
            let name = names.get(&other).context("everyone has a name")?;
            let linked = links[one].contains(name);
            let (a, b) = (viewers[one].place, viewers[other].place);
            if linked != expected(a, b) {
                wrong.push(format!("{one} {a:?}, {other} {b:?}: linked {linked}"));
            }
        }
    }
    Ok(wrong)
}

/// A station in the middle, with a broadcast.
async fn on_air(folder: &Path, centre: &Machine) -> Result<(Process, Process)> {
    let at = |port: u16| format!("{}:{port}", centre.address);
    let url = format!("http://{}", at(8080));
    let ready = folder.join("ready.json");
    let mut command = centre.command(&process::program()?.display().to_string());
    command
        .args(["standalone", "--http", &at(8080), "--rtmp", &at(1935)])
        .args(["--udp", &at(4433), "--public-url", &url])
        .arg("--data-dir")
        .arg(folder.join("data"))
        .arg("--ready-json")
        .arg(&ready);
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
