//! Where the programs of a run are: on this machine side by side, or each on a machine of its
//! own in a [`Network`](crate::network::Network).
//!
//! The one rule: whoever starts a program asks the place for the command and for addresses.

use std::ffi::OsStr;

use tokio::process::Command;

use crate::network::Machine;

/// A place for programs.
#[derive(Clone, Debug, Default)]
pub enum Place {
    /// This machine, over loopback.
    #[default]
    Here,
    /// A machine of a network.
    On(Machine),
}

impl Place {
    /// A command that runs there.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        match self {
            Self::Here => Command::new(program),
            Self::On(machine) => machine.command(program),
        }
    }

    /// Where a service listens: at any free port, or where there is no other, at this one.
    #[must_use]
    pub fn listen(&self, port: u16) -> String {
        match self {
            Self::Here => "127.0.0.1:0".to_owned(),
            Self::On(machine) => format!("{}:{port}", machine.address),
        }
    }
}
