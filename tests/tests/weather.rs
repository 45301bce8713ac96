//! The network with weather, without the program under test: what datagrams and a connection
//! find on the way.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tests::{
    network::{self, Machine, Network},
    weather::Weather,
};

const DATAGRAMS: u32 = 2000;
const SPACING: Duration = Duration::from_millis(1);
/// Nothing is on the way for longer.
const QUIET: Duration = Duration::from_millis(500);
const DEADLINE: Duration = Duration::from_secs(10);

/// What came back of datagrams that were sent there and back.
#[derive(Debug)]
struct Echo {
    part: f64,
    fastest: Duration,
    slowest: Duration,
    overtaken: u32,
}

fn machines(network: &mut Network) -> Result<(Machine, Machine)> {
    Ok((network.open("near", 11)?, network.open("far", 12)?))
}

#[test]
fn datagrams_are_lost_late_and_out_of_order() -> Result<()> {
    if !network::is_possible() {
        eprintln!("left out: a network of namespaces takes root");
        return Ok(());
    }
    let mut network = Network::with_weather(Weather {
        loss: 0.1,
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(10),
        seed: 1,
    })?;
    let (near, far) = machines(&mut network)?;
    let echo = echo(&near, &far)?;
    // Both ways get through with 0.9 of 0.9; by five deviations of so many tries.
    ensure!((0.766..0.854).contains(&echo.part), "{echo:?}");
    ensure!(echo.fastest >= Duration::from_millis(40), "{echo:?}");
    // The programs wait for the processor too.
    ensure!(echo.fastest < Duration::from_millis(50), "{echo:?}");
    ensure!(echo.slowest >= Duration::from_millis(55), "{echo:?}");
    ensure!(echo.overtaken > DATAGRAMS / 10, "{echo:?}");
    let counted = network.ends()?.context("there is weather")?;
    ensure!(counted.no_room == 0, "{counted:?}");
    let part = counted.lost as f64 / (counted.lost + counted.forwarded) as f64;
    ensure!((0.075..0.125).contains(&part), "{counted:?}");
    Ok(())
}

#[test]
fn in_calm_weather_all_comes_and_a_connection_is_whole() -> Result<()> {
    if !network::is_possible() {
        eprintln!("left out: a network of namespaces takes root");
        return Ok(());
    }
    let mut network = Network::with_weather(Weather::calm())?;
    let (near, far) = machines(&mut network)?;
    let echo = echo(&near, &far)?;
    ensure!(echo.part == 1.0, "{echo:?}");
    ensure!(echo.fastest < Duration::from_millis(5), "{echo:?}");
    connection(&near, &far)?;
    let counted = network.ends()?.context("there is weather")?;
    ensure!((counted.lost, counted.no_room) == (0, 0), "{counted:?}");
    Ok(())
}

fn echo(near: &Machine, far: &Machine) -> Result<Echo> {
    let socket = |machine: &Machine| {
        let socket = machine.inside(|| Ok(UdpSocket::bind((machine.address, 0))?))?;
        socket.set_read_timeout(Some(QUIET))?;
        Ok::<_, anyhow::Error>(socket)
    };
    let (here, there) = (socket(near)?, socket(far)?);
    let to = there.local_addr()?;
    // The two find each other first.
    let find = Instant::now();
    while here.send_to(&[], to).is_err() || there.recv(&mut []).is_err() {
        ensure!(find.elapsed() < DEADLINE, "they do not find each other");
    }
    let began = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| answer(&there));
        let came = scope.spawn(|| collect(&here, began));
        for number in 0..DATAGRAMS {
            let sent = began.elapsed().as_micros() as u64;
            let datagram = [&number.to_be_bytes()[..], &sent.to_be_bytes()].concat();
            here.send_to(&datagram, to)?;
            thread::sleep((SPACING * number).saturating_sub(began.elapsed()));
        }
        came.join().ok().context("it panicked")?
    })
}

/// Sends back what comes, until nothing does any more.
fn answer(socket: &UdpSocket) {
    let mut datagram = [0; 64];
    while let Ok((length, from)) = socket.recv_from(&mut datagram) {
        let _ = socket.send_to(&datagram[..length], from);
    }
}

fn collect(socket: &UdpSocket, began: Instant) -> Result<Echo> {
    let mut echo = Echo {
        part: 0.0,
        fastest: DEADLINE,
        slowest: Duration::ZERO,
        overtaken: 0,
    };
    let (mut came, mut last) = (0, 0);
    let mut datagram = [0; 12];
    while let Ok(length) = socket.recv(&mut datagram) {
        if length == 0 {
            // From when they looked for each other.
            continue;
        }
        let number = u32::from_be_bytes(datagram[..4].try_into()?);
        let sent = u64::from_be_bytes(datagram[4..].try_into()?);
        let took = began.elapsed() - Duration::from_micros(sent);
        echo.fastest = echo.fastest.min(took);
        echo.slowest = echo.slowest.max(took);
        echo.overtaken += u32::from(number < last);
        last = last.max(number);
        came += 1;
    }
    echo.part = f64::from(came) / f64::from(DATAGRAMS);
    Ok(echo)
}

/// More than a segment, which only arrives when every frame has a checksum and fits.
fn connection(near: &Machine, far: &Machine) -> Result<()> {
    let sent: Vec<u8> = (0..1u32 << 20).map(|at| (at % 251) as u8).collect();
    let listener = far.inside(|| Ok(TcpListener::bind((far.address, 0))?))?;
    let to: SocketAddr = listener.local_addr()?;
    let mut out = near.inside(|| Ok(TcpStream::connect_timeout(&to, DEADLINE)?))?;
    let (mut input, _) = listener.accept()?;
    out.set_write_timeout(Some(DEADLINE))?;
    input.set_read_timeout(Some(DEADLINE))?;
    let mut came = Vec::new();
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            out.write_all(&sent)?;
            out.shutdown(std::net::Shutdown::Write)
        });
        input.read_to_end(&mut came)?;
        sending.join().ok().context("it panicked")??;
        Ok::<_, anyhow::Error>(())
    })?;
    ensure!(came == sent, "what came is not what was sent");
    Ok(())
}
