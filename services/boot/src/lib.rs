//! What every service and subcommand does the same way: start, drain, speak gRPC, read
//! the contract's units, write its files, sign and check tickets. Called by the program
//! and by every service; it knows none of them.

pub mod actors;
mod certificate;
pub mod client;
pub mod files;
pub mod grpc;
pub mod health;
pub mod http;
pub mod metrics;
pub mod pki;
pub mod registry;
mod start;
pub mod ticket;
pub mod tls;
pub mod traces;
pub mod units;
pub mod version;

pub use start::{Error, shutdown_token, start, start_as};
