//! What is wrong with the files is told at the start, by the names that people gave them.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use anyhow::Result;
use boot::{
    pki::Holder,
    tls::{Files, Tls},
};
use proto::access::Role;
use rcgen::CertificateParams;

use crate::stage::Pki;

const TRACKER: Holder = Holder::Service(Role::Tracker);

/// What a tracker is told that was given these files.
fn told(files: &Files) -> String {
    match Tls::open(files.clone(), &[Role::Tracker]) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

/// The message names flag, variable and file, says what is wrong, and shows nothing of it.
fn assert_told(files: &Files, flag: &str, wrong: &str) {
    let said = told(files);
    let path = match flag {
        "ca" => &files.ca,
        "cert" => &files.cert,
        _ => &files.key,
    };
    let start = format!(
        "--tls-{flag} {} (LIVESTATION_TLS_{})",
        path.display(),
        flag.to_uppercase()
    );
    assert!(said.starts_with(&start), "{said:?} for {start:?}");
    assert!(said.contains(wrong), "{said:?} without {wrong:?}");
    assert!(!said.contains("BEGIN") && !said.contains("gibberish"));
}

#[tokio::test]
async fn good_files_are_taken() -> Result<()> {
    let pki = Pki::new()?;
    assert_eq!(told(&pki.files(TRACKER)), "");
    assert_eq!(told(&pki.files(Holder::Station)), "");
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_missing_or_unreadable_or_endless_is_named() -> Result<()> {
    let pki = Pki::new()?;
    let good = pki.files(TRACKER);
    for (missing, flag) in [(0, "ca"), (1, "cert"), (2, "key")] {
        for (path, wrong) in [
            (pki.folder().join("nowhere.pem"), "No such file"),
            (pki.folder().to_owned(), "directory"),
            ("/dev/zero".into(), "large"),
        ] {
            let mut files = good.clone();
            *[&mut files.ca, &mut files.cert, &mut files.key][missing] = path;
            assert_told(&files, flag, wrong);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_file_that_holds_something_else_is_named() -> Result<()> {
    let pki = Pki::new()?;
    let good = pki.files(TRACKER);
    let other = pki.folder().join("other");
    let broken = "-----BEGIN CERTIFICATE-----\nZ2liYmVyaXNo\n-----END CERTIFICATE-----\n";
    for text in ["", "gibberish", broken] {
        fs::write(&other, text)?;
        let with = |change: fn(&mut Files, std::path::PathBuf)| {
            let mut files = good.clone();
            change(&mut files, other.clone());
            files
        };
        assert_told(&with(|f, path| f.ca = path), "ca", "no certificate");
        assert_told(&with(|f, path| f.cert = path), "cert", "no certificate");
        assert_told(&with(|f, path| f.key = path), "key", "no key");
    }
    // The two that are most easily taken for each other.
    let mut swapped = good.clone();
    (swapped.cert, swapped.key) = (swapped.key, swapped.cert);
    assert_told(&swapped, "cert", "no certificate");
    Ok(())
}

#[tokio::test]
async fn files_that_do_not_belong_together_are_named() -> Result<()> {
    let (pki, other) = (Pki::new()?, Pki::new()?);
    let mut files = pki.files(TRACKER);
    files.key = pki.authority.key(Holder::Service(Role::Seeder));
    assert_told(&files, "key", "is not the key of --tls-cert");
    let mut files = pki.files(TRACKER);
    files.ca = other.authority.ca();
    assert_told(&files, "cert", "is not of a CA in --tls-ca");
    let files = pki.files(Holder::Service(Role::Seeder));
    assert_told(&files, "cert", "is not for the role tracker");
    Ok(())
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_named() -> Result<()> {
    let pki = Pki::new()?;
    let mut params = CertificateParams::new([Role::Tracker.dns_name()])?;
    params.not_after = (SystemTime::now() - Duration::from_secs(60)).into();
    let (certificate, key) = pki.sign(&params)?;
    let files = pki.files(TRACKER);
    fs::write(&files.cert, certificate)?;
    fs::write(&files.key, key)?;
    assert_told(&files, "cert", "has ended");
    Ok(())
}
