//! The development CA, as far as files show it; what its certificates are worth among
//! services, the tests of TLS show.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, SystemTime},
};

use boot::pki::{Authority, Error, Holder};
use proto::access::Role;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
};

const SEEDER: Holder = Holder::Service(Role::Seeder);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

fn mode(path: &Path) -> anyhow::Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o777)
}

/// Whether a service that trusts the authority believes the holder's certificate then.
fn believes(authority: &Authority, holder: Holder, when: SystemTime) -> anyhow::Result<bool> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.ca())?)?;
    let provider = rustls::crypto::aws_lc_rs::default_provider().into();
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build()?;
    let shown = CertificateDer::from_pem_file(authority.certificate(holder))?;
    let when = UnixTime::since_unix_epoch(when.duration_since(SystemTime::UNIX_EPOCH)?);
    Ok(verifier.verify_client_cert(&shown, &[], when).is_ok())
}

#[test]
fn keys_are_their_owners_alone() -> anyhow::Result<()> {
    let parent = tempfile::tempdir()?;
    let folder = parent.path().join("some/pki");
    let authority = Authority::open(&folder)?;
    authority.issue(SEEDER, &[])?;
    assert!(authority.is_new() && authority.has(SEEDER));
    assert_eq!(mode(&folder)?, 0o700);
    for key in ["ca.key", "seeder.key"] {
        assert_eq!(mode(&folder.join(key))?, 0o600, "{key}");
    }
    Ok(())
}

#[test]
fn a_certificate_is_believed_for_a_year_where_its_own_authority_is() -> anyhow::Result<()> {
    let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
    let ours = Authority::open(folders[0].path())?;
    let other = Authority::open(folders[1].path())?;
    ours.issue(SEEDER, &["localhost".to_owned()])?;
    let now = SystemTime::now();
    assert!(believes(&ours, SEEDER, now)?);
    assert!(believes(&ours, SEEDER, now - Duration::from_secs(1800))?);
    assert!(believes(
        &ours,
        SEEDER,
        now + YEAR - Duration::from_secs(60)
    )?);
    assert!(!believes(
        &ours,
        SEEDER,
        now + YEAR + Duration::from_secs(60)
    )?);
    fs::copy(ours.certificate(SEEDER), other.certificate(SEEDER))?;
    assert!(!believes(&other, SEEDER, now)?);
    Ok(())
}

#[test]
fn an_authority_stays_and_signs_what_comes_later() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let first = Authority::open(folder.path())?;
    first.issue(SEEDER, &["one.example".to_owned(), "::1".to_owned()])?;
    let ca = fs::read(first.ca())?;
    let before = fs::read(first.certificate(SEEDER))?;

    let again = Authority::open(folder.path())?;
    assert!(!again.is_new());
    assert_eq!(again.until(), first.until());
    again.issue(SEEDER, &again.hosts(SEEDER)?)?;
    again.issue(Holder::Station, &[])?;
    assert_eq!(fs::read(again.ca())?, ca);
    assert_ne!(fs::read(again.certificate(SEEDER))?, before);
    assert_eq!(again.hosts(SEEDER)?, ["one.example", "::1"]);
    for holder in [SEEDER, Holder::Station] {
        assert!(believes(&again, holder, SystemTime::now())?, "{holder:?}");
    }
    Ok(())
}

#[test]
fn half_an_authority_is_neither_used_nor_made_whole() -> anyhow::Result<()> {
    for lost in ["ca.key", "ca.pem"] {
        let folder = tempfile::tempdir()?;
        Authority::open(folder.path())?;
        fs::remove_file(folder.path().join(lost))?;
        let error = Authority::open(folder.path()).err();
        let said = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(said.contains(lost), "{said}");
        assert!(!folder.path().join(lost).exists());
    }
    Ok(())
}

#[test]
fn a_key_that_is_another_authoritys_or_none_is_refused() -> anyhow::Result<()> {
    let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
    for folder in &folders {
        Authority::open(folder.path())?;
    }
    let keys = folders
        .each_ref()
        .map(|folder| folder.path().join("ca.key"));
    fs::copy(&keys[0], &keys[1])?;
    for next in [&b"no key"[..], b"\xff", b""] {
        let opened = Authority::open(folders[1].path());
        assert!(matches!(opened, Err(Error::Broken { .. })));
        fs::write(&keys[1], next)?;
    }
    Ok(())
}
