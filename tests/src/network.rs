//! A network of its own: namespaces on one bridge that stands for the internet, or on a
//! switch with weather, and homes behind routers that translate addresses as Linux does.
//! Needs root.
//!
//! The one rule: everything has this network's name in it and goes with it.

mod switch;

use std::{
    ffi::OsStr,
    fmt::Write as _,
    fs::File,
    net::Ipv4Addr,
    path::Path,
    process::{Command as Blocking, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use anyhow::{Context, Result, anyhow, ensure};
use nix::sched::{CloneFlags, setns};
use tokio::process::Command;

use crate::weather::{Counters, Weather};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The network.
pub struct Network {
    name: String,
    /// Namespaces that were made, the bridge's first.
    spaces: Vec<String>,
    /// In the bridge's place, where there is weather.
    switch: Option<switch::Running>,
}

/// How a home's router translates (RFC 4787). All let in only what answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nat {
    /// An inner socket has one port outside, whatever it sends to.
    Cone,
    /// It has another for each destination.
    Symmetric,
    /// No UDP passes at all.
    Blocked,
}

/// A machine in it.
#[derive(Clone, Debug)]
pub struct Machine {
    space: String,
    /// Its own address.
    pub address: Ipv4Addr,
}

impl Network {
    /// Nobody is in it yet.
    ///
    /// # Errors
    /// Without root, or iproute2.
    pub fn new() -> Result<Self> {
        let network = Self::empty()?;
        let space = network.centre()?;
        ip(&["-n", space, "link", "add", "bridge", "type", "bridge"])?;
        ip(&["-n", space, "link", "set", "bridge", "up"])?;
        Ok(network)
    }

    /// With weather on every way between two public addresses.
    ///
    /// # Errors
    /// As [`Network::new`], and when the program `weather` is not built.
    pub fn with_weather(weather: Weather) -> Result<Self> {
        let mut network = Self::empty()?;
        network.switch = Some(switch::Running::start(network.centre()?, weather)?);
        Ok(network)
    }

    /// What became of all frames, where there is weather. From now on none passes.
    ///
    /// # Errors
    /// When the switch does not run any more.
    pub fn ends(mut self) -> Result<Option<Counters>> {
        self.switch.take().map(switch::Running::ends).transpose()
    }

    fn empty() -> Result<Self> {
        sweep()?;
        let serial = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ls{}x{serial}", std::process::id());
        let mut network = Self {
            name,
            spaces: Vec::new(),
            switch: None,
        };
        network.space("net")?;
        Ok(network)
    }

    fn centre(&self) -> Result<&str> {
        Ok(self.spaces.first().context("there is a centre")?)
    }

    /// A machine with a public address, `9.0.0.host`.
    ///
    /// # Errors
    /// What iproute2 says.
    pub fn open(&mut self, name: &str, host: u8) -> Result<Machine> {
        let space = self.space(name)?;
        self.plug(&space, host)?;
        let address = Ipv4Addr::new(9, 0, 0, host);
        Ok(Machine { space, address })
    }

    /// A home whose router has the public address `9.0.0.host`, with so many machines.
    ///
    /// # Errors
    /// What iproute2 and nftables say.
    pub fn home(&mut self, name: &str, host: u8, nat: Nat, machines: u8) -> Result<Vec<Machine>> {
        let router = self.space(name)?;
        self.plug(&router, host)?;
        ip(&["-n", &router, "link", "add", "lan", "type", "bridge"])?;
        ip(&["-n", &router, "addr", "add", "192.168.1.1/24", "dev", "lan"])?;
        ip(&["-n", &router, "link", "set", "lan", "up"])?;
        set(&router, "ip_forward", "1")?;
        self.translate(&router, nat)?;
        (0..machines)
            .map(|at| {
                let space = self.space(&format!("{name}{at}"))?;
                let near = format!("to{at}");
                cable(&space, "eth", &router, &near)?;
                ip(&["-n", &router, "link", "set", &near, "master", "lan", "up"])?;
                let address = Ipv4Addr::new(192, 168, 1, 10 + at);
                let prefix = format!("{address}/24");
                ip(&["-n", &space, "addr", "add", &prefix, "dev", "eth"])?;
                ip(&["-n", &space, "link", "set", "eth", "up"])?;
                let way_out = ["default", "via", "192.168.1.1"];
                ip(&[&["-n", &space, "route", "add"][..], &way_out].concat())?;
                Ok(Machine { space, address })
            })
            .collect()
    }

    fn translate(&self, router: &str, nat: Nat) -> Result<()> {
        let masquerade = match nat {
            Nat::Symmetric => "masquerade fully-random",
            Nat::Cone | Nat::Blocked => "masquerade",
        };
        let mut rules = String::new();
        write!(
            rules,
            "table ip home {{
              chain out {{ type nat hook postrouting priority 100;
                oifname \"wan\" {masquerade}
              }}
              # Else a stranger's datagram would take a port from who comes to use it.
              chain in {{ type filter hook input priority 0;
                iifname \"wan\" ct state new drop
              }}\n"
        )?;
        if nat == Nat::Blocked {
            rules += "chain through { type filter hook forward priority 0;
                meta l4proto udp drop
              }\n";
        }
        rules += "}\n";
        let mut nft = Blocking::new("ip")
            .args(["netns", "exec", router, "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()?;
        let mut input = nft.stdin.take().context("nft reads nothing")?;
        std::io::Write::write_all(&mut input, rules.as_bytes())?;
        drop(input);
        ensure!(nft.wait()?.success(), "nft refuses {rules}");
        Ok(())
    }

    fn space(&mut self, name: &str) -> Result<String> {
        let space = format!("{}-{name}", self.name);
        ip(&["netns", "add", &space])?;
        self.spaces.push(space.clone());
        ip(&["-n", &space, "link", "set", "lo", "up"])?;
        Ok(space)
    }

    /// Connects a namespace to the bridge or the switch.
    fn plug(&mut self, space: &str, host: u8) -> Result<()> {
        let net = self.centre()?.to_owned();
        let port = format!("port{host}");
        cable(space, "wan", &net, &port)?;
        let up = ["-n", &net, "link", "set", &port, "up"];
        match &mut self.switch {
            None => ip(&[&up[..], &["master", "bridge"]].concat())?,
            Some(switch) => {
                ip(&up)?;
                frame_by_frame(space)?;
                switch.plug(&port)?;
            }
        }
        let prefix = format!("9.0.0.{host}/24");
        ip(&["-n", space, "addr", "add", &prefix, "dev", "wan"])?;
        ip(&["-n", space, "link", "set", "wan", "up"])
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for space in &self.spaces {
            let _ = ip(&["netns", "del", space]);
        }
    }
}

impl Machine {
    /// A command that runs there.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.space]).arg(program);
        command
    }

    /// Does something there, such as opening a socket, which stays there.
    ///
    /// # Errors
    /// When the machine is gone; what the work says.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let space = File::open(Path::new("/run/netns").join(&self.space))?;
        let enter = || {
            setns(&space, CloneFlags::CLONE_NEWNET)?;
            work()
        };
        // A namespace is a thread's own affair.
        thread::scope(|scope| scope.spawn(enter).join())
            .map_err(|_| anyhow!("it panicked in {}", self.space))?
    }
}

/// Whether there can be one: only root makes namespaces.
#[must_use]
pub fn is_possible() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some("Uid:") && words.nth(1) == Some("0")
    })
}

/// Takes away what a run left that was killed.
fn sweep() -> Result<()> {
    let listed = Blocking::new("ip").args(["netns", "list"]).output()?;
    for line in String::from_utf8_lossy(&listed.stdout).lines() {
        let space = line.split_whitespace().next().unwrap_or_default();
        let of = space
            .strip_prefix("ls")
            .and_then(|rest| rest.split_once('x'));
        let Some(process) = of.and_then(|(process, _)| process.parse::<u32>().ok()) else {
            continue;
        };
        if !std::path::Path::new(&format!("/proc/{process}")).exists() {
            let _ = ip(&["netns", "del", space]);
        }
    }
    Ok(())
}

/// A switch that is a program sees what a real cable would carry: whole frames, with
/// checksums. On the internet nobody asks again who a neighbour is, so that is asked once.
fn frame_by_frame(space: &str) -> Result<()> {
    let off = "ethtool -K wan tx off tso off gso off gro off".split(' ');
    let off: Vec<&str> = ["netns", "exec", space].into_iter().chain(off).collect();
    ip(&off)?;
    set(space, "neigh/wan/base_reachable_time_ms", "3600000")
}

fn set(space: &str, what: &str, value: &str) -> Result<()> {
    let write = format!("echo {value} > /proc/sys/net/ipv4/{what}");
    ip(&["netns", "exec", space, "sh", "-c", &write])
}

fn cable(one: &str, its_end: &str, other: &str, other_end: &str) -> Result<()> {
    let to = ["peer", "name", other_end, "netns", other];
    let from = ["-n", one, "link", "add", its_end, "type", "veth"];
    ip(&[&from[..], &to].concat())
}

fn ip(args: &[&str]) -> Result<()> {
    let done = Blocking::new("ip").args(args).output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "ip {}: {said}", args.join(" "));
    Ok(())
}
