//! How a database comes to this version, and what is refused.

use accounts::{Database, Error};
use anyhow::Result;
use sqlx::{Connection, migrate::Migrator};

use crate::{
    place::{self, Place},
    server::{PASSWORD, Postgres},
};

on_both! {
    what_is_missing_is_told_then_applied_then_told_no_more
    migrating_twice_at_once_is_migrating_once
    a_database_of_a_newer_version_is_refused
    a_database_that_was_altered_is_refused
}

const FIRST: &str = include_str!("../../../../migrations/sqlite/0001_channels.sql");

async fn what_is_missing_is_told_then_applied_then_told_no_more(place: Place) -> Result<()> {
    let database = place.database()?;
    let missing = accounts::missing(&database).await?;
    assert_eq!(missing[0].version, 1);
    assert_eq!(missing[0].name, "channels");
    assert_eq!(
        accounts::missing(&database).await?,
        missing,
        "told, not done"
    );
    assert_eq!(accounts::migrate(&database).await?, missing);
    assert_eq!(accounts::missing(&database).await?, []);
    assert_eq!(accounts::migrate(&database).await?, []);
    Ok(())
}

async fn migrating_twice_at_once_is_migrating_once(place: Place) -> Result<()> {
    let database = place.database()?;
    let twice = tokio::join!(accounts::migrate(&database), accounts::migrate(&database));
    // SQLite has no lock for it: the second may find the first's tables, and says so.
    if place.postgres.is_some() {
        assert!(twice.0.is_ok() && twice.1.is_ok(), "{twice:?}");
    }
    assert!(twice.0.is_ok() || twice.1.is_ok(), "{twice:?}");
    assert_eq!(accounts::missing(&database).await?, []);
    Ok(())
}

async fn a_database_of_a_newer_version_is_refused(place: Place) -> Result<()> {
    place.open(None).await?.close().await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 SELECT 9999, 'later', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1";
    alter(&place, newer).await?;
    refused(&place, |error| {
        matches!(error, Error::Ahead { found: 9999, .. })
    })
    .await
}

async fn a_database_that_was_altered_is_refused(place: Place) -> Result<()> {
    place.open(None).await?.close().await;
    let other = match place.postgres {
        Some(_) => "UPDATE _sqlx_migrations SET checksum = '\\x00'",
        None => "UPDATE _sqlx_migrations SET checksum = x'00'",
    };
    alter(&place, other).await?;
    refused(&place, |error| matches!(error, Error::Migration(_))).await
}

/// By everything that looks at a version.
async fn refused(place: &Place, why: fn(&Error) -> bool) -> Result<()> {
    let database = place.database()?;
    let refusals = [
        accounts::missing(&database).await.err(),
        accounts::migrate(&database).await.err(),
        place::open(database, None).await.err(),
    ];
    for refusal in refusals {
        assert!(refusal.as_ref().is_some_and(why), "{refusal:?}");
    }
    Ok(())
}

async fn alter(place: &Place, text: &'static str) -> Result<()> {
    sqlx::any::install_default_drivers();
    let mut connection = sqlx::AnyConnection::connect(&place.url()).await?;
    sqlx::query(text).execute(&mut connection).await?;
    Ok(connection.close().await?)
}

#[tokio::test]
async fn a_file_is_brought_up_when_it_opens_and_is_its_owners_alone() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::sqlite()?;
    let missing = accounts::missing(&place.database()?).await?;
    assert!(!missing.is_empty());
    assert_eq!(
        std::fs::read_dir(place.folder())?.count(),
        0,
        "asking makes no file"
    );
    let accounts = place::open(place.database()?, None).await?;
    let mut files = 0;
    for file in std::fs::read_dir(place.folder())? {
        let file = file?;
        let mode = file.metadata()?.permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.file_name());
        files += 1;
    }
    assert!(files >= 2, "the log beside it is looked at too");
    accounts.close().await;
    Ok(())
}

#[tokio::test]
async fn a_file_of_the_first_version_goes_on_with_what_it_has() -> Result<()> {
    let place = Place::sqlite()?;
    std::fs::write(place.folder().join("0001_channels.sql"), FIRST)?;
    std::fs::write(place.folder().join("accounts.sqlite"), "")?;
    sqlx::any::install_default_drivers();
    let mut connection = sqlx::AnyConnection::connect(&place.url()).await?;
    let first = Migrator::new(place.folder().to_owned()).await?;
    first.run(&mut connection).await?;
    let channel = "INSERT INTO channels VALUES (zeroblob(16), 'old', zeroblob(32), 1800, 'off', 7)";
    sqlx::query(channel).execute(&mut connection).await?;
    connection.close().await?;

    let accounts = place::open(place.database()?, None).await?;
    let channel = accounts.channel("old").await?;
    assert_eq!((channel.created_at, channel.play_out_delay_ms), (7, 1800));
    accounts.create_stream_key(&channel).await?;
    Ok(())
}

#[tokio::test]
async fn a_path_may_have_any_characters() -> Result<()> {
    let place = Place::sqlite()?;
    let file = place.folder().join("a b?c#d%20 ä.sqlite");
    let accounts = place::open(Database::sqlite(&file)?, None).await?;
    accounts.close().await;
    assert!(file.exists());
    Ok(())
}

#[tokio::test]
async fn a_server_that_was_not_migrated_is_refused_and_left_alone() -> Result<()> {
    let Some(place) = Place::postgres()? else {
        return Ok(());
    };
    let database = place.database()?;
    let lacks = accounts::missing(&database).await?;
    let refusal = place::open(database.clone(), None).await.err();
    assert!(
        matches!(refusal, Some(Error::Behind(n)) if n == lacks.len()),
        "{refusal:?}"
    );
    assert_eq!(accounts::missing(&database).await?, lacks);
    Ok(())
}

#[tokio::test]
async fn a_password_that_is_refused_is_not_repeated() -> Result<()> {
    let Some(place) = Place::postgres()? else {
        return Ok(());
    };
    let wrong = "wrong-and-wrong";
    for url in [
        place.url().replace(PASSWORD, wrong),
        place
            .url()
            .replace(PASSWORD, wrong)
            .replace("127.0.0.1", "nobody.invalid"),
        place
            .url()
            .replace(PASSWORD, wrong)
            .replace("prefer", "verify-full"),
    ] {
        let refusal = place::open(url.parse()?, None).await.err();
        assert!(matches!(refusal, Some(Error::Database(_))), "{refusal:?}");
        let said = format!(
            "{refusal:?} {}",
            refusal
                .as_ref()
                .map(|one| one.to_string())
                .unwrap_or_default()
        );
        assert!(!said.contains(wrong), "{said}");
    }
    Ok(())
}

/// `openssl` makes the certificate; Debian's Postgres needs it itself.
#[tokio::test]
async fn tls_is_spoken_when_the_url_says_so_and_its_certificate_is_checked() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for name in ["ours", "other"] {
        let made = std::process::Command::new("openssl")
            .args(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
                    .split(' '),
            )
            .args([
                "-subj",
                "/CN=127.0.0.1",
                "-addext",
                "subjectAltName=IP:127.0.0.1",
            ])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(folder.path().join(format!("{name}.key")))
            .arg("-out")
            .arg(folder.path().join(format!("{name}.pem")))
            .output();
        if !made.is_ok_and(|made| made.status.success()) {
            eprintln!("left out: openssl, which makes the certificate, is not installed");
            return Ok(());
        }
    }
    let Some(place) = Place::on(Postgres::with_tls(folder.path())?)? else {
        return Ok(());
    };
    let url = |mode: &str, root: &str| {
        let root = folder.path().join(root);
        let tls = format!("sslmode={mode}&sslrootcert={}", root.display());
        place.url().replace("sslmode=prefer", &tls)
    };
    let checked: Database = url("verify-full", "ours.pem").parse()?;
    accounts::migrate(&checked).await?;
    place::open(checked, None).await?.close().await;
    for refused in [url("verify-full", "other.pem"), url("disable", "ours.pem")] {
        let refusal = place::open(refused.parse()?, None).await.err();
        assert!(
            matches!(refusal, Some(Error::Database(_))),
            "{refused}: {refusal:?}"
        );
    }
    Ok(())
}
