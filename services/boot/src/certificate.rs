//! What of a certificate our services go by. Read by the CA, by who loads its own certificate
//! and by the guard before every call.
//!
//! The one rule: nothing here is trusted for being read; whether the CA signed it is
//! rustls's to say.

use std::net::IpAddr;

use proto::access::Role;
use time::OffsetDateTime;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

/// What a certificate says.
#[derive(Debug)]
pub(crate) struct Certificate {
    /// Whose it is, in the order of [`Role::ALL`]; one of a station names several.
    pub(crate) roles: Vec<Role>,
    /// Names and addresses of machines.
    pub(crate) hosts: Vec<String>,
    /// When it ends.
    pub(crate) until: OffsetDateTime,
    /// The bits of its public key.
    pub(crate) public_key: Vec<u8>,
}

impl Certificate {
    /// Reads it; `None` when it is none.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let (_, read) = X509Certificate::from_der(der).ok()?;
        let mut roles = Vec::new();
        let mut hosts = Vec::new();
        let names = read.subject_alternative_name().ok()?;
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::DNSName(name) => match Role::from_dns_name(name) {
                    Some(role) => roles.push(role),
                    None => hosts.push((*name).to_owned()),
                },
                GeneralName::IPAddress(octets) => hosts.extend(address(octets)),
                _ => {}
            }
        }
        roles.sort_unstable();
        roles.dedup();
        Some(Self {
            roles,
            hosts,
            until: read.validity().not_after.to_datetime(),
            public_key: read.public_key().subject_public_key.data.to_vec(),
        })
    }
}

fn address(octets: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| v6()).ok().map(|ip| ip.to_string())
}
