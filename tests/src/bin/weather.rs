//! The switch of a network with weather: `weather LOSS DELAY_US JITTER_US SEED`. It runs in
//! the namespace where the cables end. Each line of its input names one more cable's end; it
//! repeats that when the port is open. When its input ends, as it does when whoever started
//! it is gone, it says its counters as JSON and ends too.
//!
//! The one rule: a frame that it does not take from the kernel, or the kernel from it, is
//! counted.

use std::{
    io::{IoSliceMut, Stdin, Write as _},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use nix::{
    cmsg_space,
    errno::Errno,
    ifaddrs::getifaddrs,
    poll::{PollFd, PollFlags, ppoll},
    sys::{
        socket::{
            self, AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol,
            SockType, sockopt,
        },
        time::TimeSpec,
    },
};
use tests::weather::{Switch, Weather};

/// An Ethernet frame of a cable that carries 1500 bytes is shorter.
const LONGEST: usize = 2048;
/// What the kernel keeps for a port until it is read.
const KEPT: usize = 8 << 20;
/// So many frames are taken from a port before others have their turn.
const TURN: usize = 64;
/// `PACKET_OUTGOING` of packet(7): it was sent here, not received.
const OUTGOING: u8 = 4;

/// A cable's end.
struct Port {
    socket: OwnedFd,
    interface: usize,
    /// How many frames the kernel had no room for.
    missed: u32,
}

fn main() -> Result<()> {
    let mut switch = Switch::new(Weather::parse(std::env::args().skip(1))?);
    let mut ports: Vec<Port> = Vec::new();
    let input = std::io::stdin();
    let mut due = None;
    loop {
        let ready = wait(&input, &ports, due)?;
        if ready.first() == Some(&true) {
            let Some(name) = line(&input)? else { break };
            ports.push(Port::open(&name)?);
            switch.plug();
            say(&name)?;
        }
        for (at, port) in ports.iter_mut().enumerate() {
            if ready.get(at + 1) == Some(&true) {
                port.receive(at, &mut switch)?;
            }
        }
        while let Some((port, frame)) = switch.due(Instant::now()) {
            ports[port].send(&frame, &mut switch);
        }
        due = switch.next_due();
    }
    say(&serde_json::to_string(&switch.counters)?)
}

/// Waits until a frame is due or something can be read, and answers of what: the input
/// first, then the ports.
fn wait(input: &Stdin, ports: &[Port], due: Option<Instant>) -> Result<Vec<bool>> {
    let sockets = ports.iter().map(|port| port.socket.as_fd());
    let mut all: Vec<PollFd<'_>> = std::iter::once(input.as_fd())
        .chain(sockets)
        .map(|one| PollFd::new(one, PollFlags::POLLIN))
        .collect();
    let until = due.map(|due| TimeSpec::from(due.saturating_duration_since(Instant::now())));
    match ppoll(&mut all, until, None) {
        Ok(_) => Ok(all.iter().map(|one| one.any() == Some(true)).collect()),
        Err(Errno::EINTR) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// The next line; whoever writes them waits for an answer after each.
fn line(input: &Stdin) -> Result<Option<String>> {
    let mut line = String::new();
    let read = input.read_line(&mut line)?;
    Ok((read > 0).then(|| line.trim().to_owned()))
}

fn say(line: &str) -> Result<()> {
    let mut output = std::io::stdout();
    writeln!(output, "{line}")?;
    Ok(output.flush()?)
}

impl Port {
    fn open(name: &str) -> Result<Self> {
        let socket = socket::socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )
        .context("a packet socket takes root")?;
        let address = getifaddrs()?
            .filter(|one| one.interface_name == name)
            .find_map(|one| one.address?.as_link_addr().copied())
            .with_context(|| format!("there is no {name} here"))?;
        socket::bind(socket.as_raw_fd(), &address)?;
        socket::setsockopt(&socket, sockopt::RcvBufForce, &KEPT)?;
        socket::setsockopt(&socket, sockopt::RxqOvfl, &1)?;
        Ok(Self {
            socket,
            interface: address.ifindex(),
            missed: 0,
        })
    }

    fn receive(&mut self, at: usize, switch: &mut Switch) -> Result<()> {
        let mut frame = [0; LONGEST];
        for _ in 0..TURN {
            let mut space = cmsg_space!(u32);
            let mut parts = [IoSliceMut::new(&mut frame)];
            let flags = MsgFlags::MSG_DONTWAIT;
            let socket = self.socket.as_raw_fd();
            let got = socket::recvmsg::<LinkAddr>(socket, &mut parts, Some(&mut space), flags);
            let got = match got {
                Err(Errno::EAGAIN) => return Ok(()),
                got => got?,
            };
            if got.flags.contains(MsgFlags::MSG_TRUNC) {
                bail!("a frame is too long: somebody leaves segmenting to the hardware");
            }
            for told in got.cmsgs()? {
                if let ControlMessageOwned::RxqOvfl(missed) = told {
                    switch.counters.no_room += u64::from(missed.wrapping_sub(self.missed));
                    self.missed = missed;
                }
            }
            // Until it was bound, the socket heard every port.
            let came_in = got
                .address
                .is_some_and(|from| from.ifindex() == self.interface && from.pkttype() != OUTGOING);
            let bytes = got.bytes;
            if came_in {
                switch.take(at, &frame[..bytes], Instant::now());
            }
        }
        Ok(())
    }

    fn send(&self, frame: &[u8], switch: &mut Switch) {
        let sent = socket::send(self.socket.as_raw_fd(), frame, MsgFlags::MSG_DONTWAIT);
        if sent.is_err() {
            switch.counters.forwarded -= 1;
            switch.counters.no_room += 1;
        }
    }
}
