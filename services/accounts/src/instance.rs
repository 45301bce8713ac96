//! A running instance of a role, as it registers. The one rule: what breaks a bound never
//! reaches the database, and is told which bound.

use std::net::SocketAddr;

use boot::version;
use proto::registry as wire;

use crate::Error;

const ID_LEN: usize = 32;
const ROLE_MAX: usize = 16;
/// What DNS allows for a name, and more than any address needs.
const ADDRESS_MAX: usize = 255;
const UDP_MAX: usize = 8;

/// Checked; as the database keeps it.
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) role: String,
    pub(crate) grpc: String,
    pub(crate) public_url: String,
    pub(crate) udp: Vec<SocketAddr>,
    pub(crate) capacity: i64,
    pub(crate) version: String,
    pub(crate) draining: bool,
}

impl Instance {
    /// Checks what came over the wire, its version against `ours`.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the bound that it breaks, [`Error::Version`].
    pub(crate) fn read(wire: wire::Instance, ours: &str) -> Result<Self, Error> {
        let invalid = |bound| Err(Error::Invalid(bound));
        if !is_id(&wire.id) {
            return invalid(NO_ID);
        }
        if !is_role(&wire.role) {
            return invalid(NO_ROLE);
        }
        if !wire.grpc.is_empty() && !is_address(&wire.grpc) {
            return invalid("grpc is http://host:port of at most 255 bytes, or empty");
        }
        if !wire.public_url.is_empty() && !is_address(&wire.public_url) {
            return invalid("public_url is https://host of at most 255 bytes, or empty");
        }
        if wire.udp.len() > UDP_MAX {
            return invalid("udp has at most 8 addresses");
        }
        let udp = wire.udp.iter().map(|text| text.parse());
        let Ok(udp) = udp.collect() else {
            return invalid("udp holds addresses such as 127.0.0.1:4433");
        };
        let Ok(capacity) = wire.capacity.try_into() else {
            return invalid("capacity is below 2^63");
        };
        version::compatible(&wire.version, ours)?;
        Ok(Self {
            id: wire.id,
            role: wire.role,
            grpc: wire.grpc,
            public_url: wire.public_url,
            udp,
            capacity,
            version: wire.version,
            draining: wire.draining,
        })
    }

    pub(crate) fn into_wire(self) -> wire::Instance {
        wire::Instance {
            id: self.id,
            role: self.role,
            grpc: self.grpc,
            public_url: self.public_url,
            udp: self.udp.iter().map(SocketAddr::to_string).collect(),
            capacity: self.capacity.unsigned_abs(),
            version: self.version,
            draining: self.draining,
        }
    }
}

const NO_ID: &str = "an id is 32 lower-case hex digits";
const NO_ROLE: &str = "a role is 1 to 16 of a-z";

/// An id to look up.
///
/// # Errors
/// [`Error::Invalid`].
pub(crate) fn checked_id(id: String) -> Result<String, Error> {
    is_id(&id).then_some(id).ok_or(Error::Invalid(NO_ID))
}

/// A role to look up.
///
/// # Errors
/// [`Error::Invalid`].
pub(crate) fn checked_role(role: String) -> Result<String, Error> {
    is_role(&role)
        .then_some(role)
        .ok_or(Error::Invalid(NO_ROLE))
}

fn is_id(text: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == ID_LEN && text.bytes().all(hex)
}

fn is_role(text: &str) -> bool {
    (1..=ROLE_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// Whether something could be reached by it, and nothing is hidden in it.
fn is_address(text: &str) -> bool {
    let place = text
        .strip_prefix("http://")
        .or(text.strip_prefix("https://"));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
    text.len() <= ADDRESS_MAX
        && place.is_some_and(|place| !place.is_empty() && place.bytes().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> wire::Instance {
        wire::Instance {
            id: "0f".repeat(16),
            role: "seeder".into(),
            grpc: "http://10.0.0.7:7702".into(),
            public_url: "https://seeder.live.example".into(),
            udp: vec!["10.0.0.7:4433".into(), "[::1]:4433".into()],
            capacity: 100_000_000,
            version: "1.2.3".into(),
            draining: true,
        }
    }

    #[test]
    fn what_is_within_bounds_comes_out_as_it_went_in() -> Result<(), Error> {
        assert_eq!(Instance::read(good(), "1.3.0")?.into_wire(), good());
        let bare = wire::Instance {
            grpc: String::new(),
            public_url: String::new(),
            udp: Vec::new(),
            ..good()
        };
        assert_eq!(Instance::read(bare.clone(), "1.2.0")?.into_wire(), bare);
        Ok(())
    }

    #[test]
    fn every_bound_is_held() {
        let long = format!("http://{}", "a".repeat(ADDRESS_MAX));
        let mut cases: Vec<(&str, wire::Instance)> = Vec::new();
        for id in [
            "",
            "0F",
            &"0F".repeat(16),
            &"0f".repeat(17),
            &"zz".repeat(16),
        ] {
            cases.push((
                "id",
                wire::Instance {
                    id: id.into(),
                    ..good()
                },
            ));
        }
        for role in ["", "Seeder", "seed er", &"a".repeat(ROLE_MAX + 1)] {
            cases.push((
                "role",
                wire::Instance {
                    role: role.into(),
                    ..good()
                },
            ));
        }
        for grpc in [
            "10.0.0.7:7702",
            "http://",
            "http://a/b",
            "http://a@b",
            &long,
        ] {
            cases.push((
                "grpc",
                wire::Instance {
                    grpc: grpc.into(),
                    ..good()
                },
            ));
        }
        for url in ["live.example", "ftp://live.example", "https://a b", &long] {
            cases.push((
                "public_url",
                wire::Instance {
                    public_url: url.into(),
                    ..good()
                },
            ));
        }
        for udp in ["", "10.0.0.7", "host:1", "1.2.3.4:99999"] {
            cases.push((
                "udp",
                wire::Instance {
                    udp: vec![udp.into()],
                    ..good()
                },
            ));
        }
        let udp = vec!["1.2.3.4:5".to_owned(); UDP_MAX + 1];
        cases.push(("udp", wire::Instance { udp, ..good() }));
        cases.push((
            "capacity",
            wire::Instance {
                capacity: 1 << 63,
                ..good()
            },
        ));
        for (field, case) in cases {
            let refused = Instance::read(case.clone(), "1.2.3").err();
            let told = matches!(refused, Some(Error::Invalid(bound)) if bound.contains(field));
            assert!(told, "{field}: {case:?} {refused:?}");
        }
    }

    #[test]
    fn a_version_two_releases_away_is_refused() {
        let refused = Instance::read(good(), "1.4.0").err();
        assert!(matches!(refused, Some(Error::Version(_))), "{refused:?}");
        let none = wire::Instance {
            version: "new".into(),
            ..good()
        };
        assert!(matches!(
            Instance::read(none, "1.2.3"),
            Err(Error::Version(_))
        ));
    }
}
