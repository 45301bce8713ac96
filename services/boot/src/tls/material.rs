//! What connections are made with, from the three files, and whether they are any good: as
//! much as the other end would find out later is found out here.
//!
//! The one rule: keys and certificates stand in no error and no log; the files' names do.

use std::{path::Path, sync::Arc};

use proto::access::Role;
use rustls::{
    CertificateError, ClientConfig, Error as Rustls, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};
use time::OffsetDateTime;

use super::{Error, Files, refusal::Why};
use crate::{certificate::Certificate, files};

/// A dozen certificates; ours have 1 KiB each.
const FILE_MAX: u64 = 64 << 10;
const HTTP2: &[u8] = b"h2";

/// Certificates and keys, ready for use.
#[derive(Debug)]
pub(crate) struct Material {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
    /// When one's own certificate ends.
    pub(crate) until: OffsetDateTime,
}

impl Material {
    /// Reads the files and checks that they fit each other, the day, and the roles.
    pub(crate) fn load(paths: &Files, roles: &[Role]) -> Result<Self, Error> {
        let ca = File::read("ca", &paths.ca)?;
        let cert = File::read("cert", &paths.cert)?;
        let key = File::read("key", &paths.key)?;
        let mut roots = RootCertStore::empty();
        for root in ca.certificates()? {
            roots.add(root).map_err(|_| ca.holds_no("certificate"))?;
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let certified = certified(&cert, &key, &provider)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|_| ca.holds_no("certificate"))?;
        check(&*verifier, &certified.cert, &cert)?;
        let read = certified
            .cert
            .first()
            .and_then(|der| Certificate::read(der));
        let read = read.ok_or_else(|| cert.holds_no("certificate"))?;
        if let Some(role) = roles.iter().find(|role| !read.roles.contains(role)) {
            return Err(cert.unfit(format!("is not for the role {role}")));
        }

        let shown = Arc::new(SingleCertAndKey::from(certified));
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(shown.clone());
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots)
            .with_client_cert_resolver(shown);
        server.alpn_protocols = vec![HTTP2.to_vec()];
        client.alpn_protocols = vec![HTTP2.to_vec()];
        // A session that is taken up again shows no certificate. Connections are few and
        // last, so that each may as well show one.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        client.resumption = Resumption::disabled();
        Ok(Self {
            server: Arc::new(server),
            client: Arc::new(client),
            until: read.until,
        })
    }
}

fn certified(cert: &File, key: &File, by: &CryptoProvider) -> Result<CertifiedKey, Error> {
    let chain = cert.certificates()?;
    let private = PrivateKeyDer::from_pem_slice(&key.bytes).map_err(|_| key.holds_no("key"))?;
    CertifiedKey::from_der(chain, private, by).map_err(|error| match error {
        Rustls::InconsistentKeys(_) => key.unfit(format!("is not the key of {}", cert.name)),
        Rustls::InvalidCertificate(_) => cert.holds_no("certificate"),
        _ => key.holds_no("key that can be used"),
    })
}

/// Whether others with the same CA will take our certificate.
fn check(
    verifier: &dyn ClientCertVerifier,
    chain: &[CertificateDer<'static>],
    cert: &File,
) -> Result<(), Error> {
    let Some((own, between)) = chain.split_first() else {
        return Err(cert.holds_no("certificate"));
    };
    let checked = verifier.verify_client_cert(own, between, UnixTime::now());
    let Err(error) = checked else {
        return Ok(());
    };
    let why = match &error {
        Rustls::InvalidCertificate(error) => Why::of_certificate(error),
        _ => Why::Other,
    };
    Err(match (why, error) {
        (Why::OtherCa, _) => cert.unfit("is not of a CA in --tls-ca".to_owned()),
        (Why::NotInForce, _) => cert.unfit("has ended, or not begun".to_owned()),
        (_, Rustls::InvalidCertificate(CertificateError::BadEncoding)) => {
            cert.holds_no("certificate")
        }
        (_, error) => cert.unfit(format!("is not fit for calls: {error}")),
    })
}

/// A file and how people call it.
struct File {
    name: String,
    bytes: Vec<u8>,
}

impl File {
    fn read(flag: &str, path: &Path) -> Result<Self, Error> {
        let variable = flag.to_uppercase();
        let name = format!(
            "--tls-{flag} {} (LIVESTATION_TLS_{variable})",
            path.display()
        );
        match files::read_at_most(path, FILE_MAX) {
            Ok(bytes) => Ok(Self { name, bytes }),
            Err(error) => Err(Error::Read { file: name, error }),
        }
    }

    /// All in it, at least one.
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.bytes).collect();
        match all {
            Ok(all) if !all.is_empty() => Ok(all),
            _ => Err(self.holds_no("certificate")),
        }
    }

    fn holds_no(&self, what: &'static str) -> Error {
        Error::Holds {
            file: self.name.clone(),
            what,
        }
    }

    fn unfit(&self, problem: String) -> Error {
        Error::Unfit {
            file: self.name.clone(),
            problem,
        }
    }
}
