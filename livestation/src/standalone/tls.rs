//! How a station's services speak to each other, and to those in other processes.
//!
//! The one rule: those that stay inside speak as those that do not, so that there is one
//! answer to how a station speaks.

use boot::tls::Tls;
use proto::access::Role;

use super::Args;

/// By the flags; a station is all roles.
///
/// # Errors
/// Files that are no good, and addresses that must not be spoken with so.
pub(super) fn open(args: &Args) -> anyhow::Result<Tls> {
    let listens = [
        ("--accounts-grpc", args.accounts_grpc),
        ("--tracker-grpc", args.tracker_grpc),
    ];
    let listens = listens.map(|(flag, address)| Some((flag, address?)));
    let tracker = args.tracker.as_deref().map(|url| ("--tracker", url));
    let seeders = args.seeders.iter().map(|url| ("--seeder", url.as_str()));
    args.tls.open(
        &Role::ALL,
        &Vec::from_iter(listens.into_iter().flatten()),
        &Vec::from_iter(tracker.into_iter().chain(seeders)),
    )
}
