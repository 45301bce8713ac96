//! A certificate authority for development and for stations of a few machines: its key lies
//! beside what it signs, in a folder of its owner's. Made by the command line; tests make
//! their certificates with it too.
//!
//! The one rule: an authority that is there is never made again, since every certificate in
//! use would stop being believed.

mod holder;

use std::{
    fs::{DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use time::{Date, Duration, OffsetDateTime};

use crate::{certificate::Certificate, files};

pub use holder::{Holder, parse_holder, parse_host};

const CA: &str = "ca.pem";
const CA_KEY: &str = "ca.key";
/// Ten years: nobody lives to see a development station's authority end.
const CA_LIFETIME: Duration = Duration::days(3650);
/// A year; certificates are taken while services run, so that renewing costs nothing.
const LIFETIME: Duration = Duration::days(365);
/// Machines whose clocks are late by so much believe a new certificate all the same.
const CLOCKS_DIFFER: Duration = Duration::hours(1);
/// Certificates and keys of ours have some 1 KiB.
const FILE_MAX: u64 = 64 << 10;

/// Why there is no authority, or no certificate of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder that cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the file system says.
        error: io::Error,
    },
    /// Without one of its files an authority signs nothing, and it is not made again.
    #[error(
        "{} holds a CA without {missing}, and it is not made again: put {missing} back, or \
         take another folder",
        folder.display()
    )]
    Half {
        /// Where.
        folder: PathBuf,
        /// The file.
        missing: &'static str,
    },
    /// A file that is not what it is called.
    #[error("{}: {problem}", path.display())]
    Broken {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// The authority's time is over.
    #[error("the CA in {} ended on {until}: make another in another folder", folder.display())]
    Ended {
        /// Where.
        folder: PathBuf,
        /// When.
        until: Date,
    },
    /// No certificate came out.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// The authority in a folder.
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    until: OffsetDateTime,
    new: bool,
}

impl Authority {
    /// The authority of `folder`; made, with the folder, when there is none.
    ///
    /// # Errors
    /// All but [`Error::Make`] of an authority that is there; [`Error::File`] and
    /// [`Error::Make`] of a new one.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        match (folder.join(CA).exists(), folder.join(CA_KEY).exists()) {
            (true, true) => Self::load(folder),
            (false, false) => Self::make(folder),
            (has_certificate, _) => Err(Error::Half {
                folder: folder.to_owned(),
                missing: if has_certificate { CA_KEY } else { CA },
            }),
        }
    }

    /// Whether it was made just now.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.new
    }

    /// The last day on which it is believed.
    #[must_use]
    pub fn until(&self) -> Date {
        self.until.date()
    }

    /// Whether certificate and key of `holder` are there.
    #[must_use]
    pub fn has(&self, holder: Holder) -> bool {
        self.certificate(holder).exists() && self.key(holder).exists()
    }

    /// The hosts that the certificate of `holder` names.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Broken`].
    pub fn hosts(&self, holder: Holder) -> Result<Vec<String>, Error> {
        Ok(read_certificate(&self.certificate(holder))?.hosts)
    }

    /// Makes certificate and key of `holder` in place of those there are; the last day on
    /// which they are believed: a year, and no longer than the authority.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Make`].
    pub fn issue(&self, holder: Holder, hosts: &[String]) -> Result<Date, Error> {
        let roles = holder.roles().into_iter().map(|role| role.dns_name());
        let names: Vec<String> = roles.chain(hosts.iter().cloned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = called(&format!("livestation {}", holder.name()));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Every service answers some and calls others.
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let until = self.until.min(OffsetDateTime::now_utc() + LIFETIME);
        lives(&mut params, until);
        let key = KeyPair::generate()?;
        let signed = params.signed_by(&key, &self.issuer)?;
        let path = self.key(holder);
        files::write_secret_atomically(&path, key.serialize_pem().as_bytes()).map_err(at(&path))?;
        let path = self.certificate(holder);
        files::write_atomically(&path, signed.pem().as_bytes()).map_err(at(&path))?;
        Ok(until.date())
    }

    /// Where the certificate of `holder` is.
    #[must_use]
    pub fn certificate(&self, holder: Holder) -> PathBuf {
        self.folder.join(format!("{}.pem", holder.name()))
    }

    /// Where the key of `holder` is, readable by its owner alone.
    #[must_use]
    pub fn key(&self, holder: Holder) -> PathBuf {
        self.folder.join(format!("{}.key", holder.name()))
    }

    /// Where the authority's own certificate is, which every service is given.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.folder.join(CA)
    }

    fn make(folder: &Path) -> Result<Self, Error> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(at(folder))?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        // Two authorities with one name could be told apart by their keys alone.
        let mark = hex::encode(&params.key_identifier(&key)[..4]);
        params.distinguished_name = called(&format!("livestation development CA {mark}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let until = OffsetDateTime::now_utc() + CA_LIFETIME;
        lives(&mut params, until);
        let signed = params.self_signed(&key)?;
        // Of two who make it at once, one finds the key there.
        let path = folder.join(CA_KEY);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(key.serialize_pem().as_bytes()))
            .map_err(at(&path))?;
        let path = folder.join(CA);
        files::write_atomically(&path, signed.pem().as_bytes()).map_err(at(&path))?;
        Ok(Self {
            folder: folder.to_owned(),
            issuer: Issuer::new(params, key),
            until,
            new: true,
        })
    }

    fn load(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(CA_KEY);
        let broken = |problem| Error::Broken {
            path: folder.join(CA_KEY),
            problem,
        };
        let pem = files::read_at_most(&path, FILE_MAX).map_err(at(&path))?;
        let key = str::from_utf8(&pem).map_err(|_| broken("not a key"))?;
        let key = KeyPair::from_pem(key).map_err(|_| broken("not a key"))?;
        let ca = folder.join(CA);
        let read = read_certificate(&ca)?;
        if read.public_key != key.public_key_raw() {
            return Err(broken("not the key of ca.pem"));
        }
        if read.until <= OffsetDateTime::now_utc() {
            return Err(Error::Ended {
                folder: folder.to_owned(),
                until: read.until.date(),
            });
        }
        let der = CertificateDer::from_pem_file(&ca).map_err(|_| not_a_certificate(&ca))?;
        Ok(Self {
            folder: folder.to_owned(),
            issuer: Issuer::from_ca_cert_der(&der, key)?,
            until: read.until,
            new: false,
        })
    }
}

fn called(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn lives(params: &mut CertificateParams, until: OffsetDateTime) {
    params.not_before = OffsetDateTime::now_utc() - CLOCKS_DIFFER;
    params.not_after = until;
}

fn read_certificate(path: &Path) -> Result<Certificate, Error> {
    let pem = files::read_at_most(path, FILE_MAX).map_err(at(path))?;
    CertificateDer::from_pem_slice(&pem)
        .ok()
        .and_then(|der| Certificate::read(&der))
        .ok_or_else(|| not_a_certificate(path))
}

fn not_a_certificate(path: &Path) -> Error {
    Error::Broken {
        path: path.to_owned(),
        problem: "not a certificate",
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |error| Error::File { path, error }
}
