//! Which of our services may call which method of which other. The server's guard and the
//! command line ask here; certificates name the roles.
//!
//! The one rule: what the table does not name, nobody may call.

use std::fmt;

/// The domain of the names that certificates give roles. `.internal` is set aside for private
/// use, so that no public authority vouches for a name below it.
const DOMAIN: &str = "livestation.internal";

/// What a service is to the others: its identity on both ends of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Channels, keys, tickets, the site.
    Accounts,
    /// Takes broadcasters.
    Ingest,
    /// Makes signed pieces of what they send.
    Encoder,
    /// Places viewers.
    Tracker,
    /// Roots the stripes.
    Seeder,
}

impl Role {
    /// All there are.
    pub const ALL: [Self; 5] = [
        Self::Accounts,
        Self::Ingest,
        Self::Encoder,
        Self::Tracker,
        Self::Seeder,
    ];

    /// As in files' names, flags and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Ingest => "ingest",
            Self::Encoder => "encoder",
            Self::Tracker => "tracker",
            Self::Seeder => "seeder",
        }
    }

    /// As in a certificate's subject alternative names: `seeder.livestation.internal`.
    #[must_use]
    pub fn dns_name(self) -> String {
        format!("{}.{DOMAIN}", self.name())
    }

    /// The role of that name in a certificate, however its letters are written.
    #[must_use]
    pub fn from_dns_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|role| role.dns_name().eq_ignore_ascii_case(name))
    }

    /// Whether the name lies where roles are named, be it that of a role or not.
    #[must_use]
    pub fn is_reserved(name: &str) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        name == DOMAIN || name.ends_with(&format!(".{DOMAIN}"))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A method and who may call it.
#[derive(Debug)]
pub struct Method {
    /// As in the request's path: `/package.Service/Method`.
    pub path: &'static str,
    /// Nobody else.
    pub callers: &'static [Role],
}

/// Those of which there may be several, so that they register and find each other.
const REGISTERED: &[Role] = &[Role::Ingest, Role::Encoder, Role::Tracker, Role::Seeder];

/// Every method of every contract.
pub static METHODS: [Method; 13] = [
    Method {
        path: "/livestation.accounts.Accounts/Authorize",
        callers: &[Role::Ingest],
    },
    Method {
        path: "/livestation.accounts.Accounts/Revoked",
        callers: &[Role::Ingest],
    },
    Method {
        path: "/livestation.accounts.Accounts/CertifyEpoch",
        callers: &[Role::Encoder],
    },
    Method {
        path: "/livestation.accounts.Accounts/TicketKey",
        callers: &[Role::Tracker, Role::Seeder],
    },
    Method {
        path: "/livestation.encoder.Encoder/Encode",
        callers: &[Role::Ingest],
    },
    Method {
        path: "/livestation.registry.Registry/Register",
        callers: REGISTERED,
    },
    Method {
        path: "/livestation.registry.Registry/Renew",
        callers: REGISTERED,
    },
    Method {
        path: "/livestation.registry.Registry/Deregister",
        callers: REGISTERED,
    },
    Method {
        path: "/livestation.registry.Registry/List",
        callers: REGISTERED,
    },
    Method {
        path: "/livestation.seeder.Seeder/Seed",
        callers: &[Role::Encoder],
    },
    Method {
        path: "/livestation.tracker.Tracker/Announce",
        callers: &[Role::Seeder],
    },
    Method {
        path: "/livestation.tracker.Tracker/Stats",
        callers: &[Role::Accounts],
    },
    Method {
        path: "/livestation.tracker.Tracker/Swarm",
        callers: &[Role::Accounts],
    },
];

/// What the table says of a request's path; `None` of a method that it does not know.
#[must_use]
pub fn method(path: &str) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.path == path)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    /// What the contracts were compiled to.
    const CONTRACTS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/contracts.bin"));

    #[test]
    fn every_method_of_every_contract_is_in_the_table_and_nothing_else() {
        let contracts = FileDescriptorSet::decode(CONTRACTS).unwrap();
        let mut declared = BTreeSet::new();
        for file in &contracts.file {
            for service in &file.service {
                for method in &service.method {
                    declared.insert(format!(
                        "/{}.{}/{}",
                        file.package(),
                        service.name(),
                        method.name()
                    ));
                }
            }
        }
        let named: BTreeSet<_> = METHODS.iter().map(|m| m.path.to_owned()).collect();
        assert_eq!(named, declared);
        assert_eq!(named.len(), METHODS.len(), "a method is named twice");
    }

    #[test]
    fn every_contract_file_is_compiled() {
        let contracts = FileDescriptorSet::decode(CONTRACTS).unwrap();
        let compiled: BTreeSet<_> = contracts.file.iter().map(|f| f.name().to_owned()).collect();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/livestation");
        let there: BTreeSet<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .map(|name| format!("livestation/{name}"))
            .collect();
        assert_eq!(compiled, there);
    }

    #[test]
    fn a_role_is_found_by_its_name_in_a_certificate_alone() {
        for role in Role::ALL {
            assert_eq!(Role::from_dns_name(&role.dns_name()), Some(role));
        }
        let shouted = Role::from_dns_name("SEEDER.Livestation.Internal");
        assert_eq!(shouted, Some(Role::Seeder));
        for other in [
            "seeder",
            "seeder.livestation.internal.example",
            "a.seeder.livestation.internal",
            "*.livestation.internal",
            "",
        ] {
            assert_eq!(Role::from_dns_name(other), None, "{other}");
        }
    }

    #[test]
    fn names_below_the_roles_domain_are_reserved() {
        for name in [
            "seeder.livestation.internal",
            "*.LIVESTATION.internal.",
            "livestation.internal",
        ] {
            assert!(Role::is_reserved(name), "{name}");
        }
        for name in ["localhost", "notlivestation.internal", "live.example"] {
            assert!(!Role::is_reserved(name), "{name}");
        }
    }
}
