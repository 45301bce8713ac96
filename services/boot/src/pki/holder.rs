//! For whom certificates are made, and what machines may be called in them.

use std::net::IpAddr;

use proto::access::Role;

/// The longest name in DNS (RFC 1035).
const NAME_MAX: usize = 253;

/// Who holds a certificate: a service alone, or a station that has all of them in one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// One service.
    Service(Role),
    /// All of them.
    Station,
}

impl Holder {
    /// All there are.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let services = Role::ALL.into_iter().map(Self::Service);
        services.chain([Self::Station]).collect()
    }

    /// As its files are named.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Service(role) => role.name(),
            Self::Station => "station",
        }
    }

    /// The roles that its certificate names.
    #[must_use]
    pub fn roles(self) -> Vec<Role> {
        match self {
            Self::Service(role) => vec![role],
            Self::Station => Role::ALL.to_vec(),
        }
    }
}

/// Reads a holder by its name; fits clap's `value_parser`.
///
/// # Errors
/// The names there are.
pub fn parse_holder(text: &str) -> Result<Holder, &'static str> {
    Holder::all()
        .into_iter()
        .find(|holder| holder.name() == text)
        .ok_or("it is accounts, ingest, encoder, tracker, seeder or station")
}

/// Reads a machine's address or name; fits clap's `value_parser`. Names where roles are named
/// are refused: who holds one is that role.
///
/// # Errors
/// What such a name looks like.
pub fn parse_host(text: &str) -> Result<String, &'static str> {
    if Role::is_reserved(text) {
        return Err("names below livestation.internal are those of roles");
    }
    let label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(plain)
    };
    let is_name = text.len() <= NAME_MAX && text.split('.').all(label);
    match text.parse::<IpAddr>().is_ok() || is_name {
        true => Ok(text.to_owned()),
        false => Err("it looks like seeder.example, 192.0.2.7 or 2001:db8::7"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_are_read_by_their_names() {
        for holder in Holder::all() {
            assert_eq!(parse_holder(holder.name()), Ok(holder));
        }
        assert!(parse_holder("viewer").is_err() && parse_holder("").is_err());
    }

    #[test]
    fn hosts_are_names_and_addresses_that_are_no_roles() {
        let long = vec!["a"; 127].join(".");
        for host in ["localhost", "s-1.live.example", "192.0.2.7", "::1", &long] {
            assert_eq!(parse_host(host).as_deref(), Ok(host));
        }
        let longer = format!("{long}.b");
        for other in [
            "",
            "a..b",
            "*.example",
            "http://a",
            "host:1",
            "accounts.livestation.internal",
            "ACCOUNTS.livestation.internal",
            &longer,
        ] {
            assert!(parse_host(other).is_err(), "{other}");
        }
    }
}
