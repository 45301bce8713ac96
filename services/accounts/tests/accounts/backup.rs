//! What `deploy/backup` writes, `deploy/restore` puts back: with the real programs, on real
//! servers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use accounts::{Accounts, ChannelName, PLAY_OUT_DELAY_MS};
use anyhow::{Context, Result, ensure};
use boot::ticket::Share;

use crate::place::{self, Place};

#[tokio::test]
async fn a_backup_brings_everything_to_another_server() -> Result<()> {
    let Some((old, file)) = backed_up().await? else {
        return Ok(());
    };
    let accounts = place::open(old.database()?, None).await?;
    let channel = accounts.channel("kept").await?;
    let ticket = accounts.issue_ticket(&channel)?;
    accounts.close().await;

    let Some(new) = Place::postgres()? else {
        return Ok(());
    };
    // What is there already goes.
    make(&new.open(None).await?, "there-before").await?;
    let restored = run(&new, "restore", &file.path)?;
    ensure!(restored.status.success(), "{restored:?}");

    assert_eq!(accounts::missing(&new.database()?).await?, []);
    let accounts = place::open(new.database()?, None).await?;
    let again = accounts.channel("kept").await?;
    assert_eq!(again.public_key(), channel.public_key());
    let found = accounts.authorize(&file.stream_key).await?;
    assert_eq!(found.channel.id, channel.id);
    assert!(accounts.is_api_token(&file.api_token).await?);
    let verified = accounts.ticket_verifier().verify(&ticket)?;
    assert_eq!(verified.channel_id, channel.id, "tickets go on");
    for gone in ["made-after", "there-before"] {
        assert!(accounts.channel(gone).await.is_err(), "{gone}");
    }
    make(&accounts, "new").await?;
    accounts.close().await;

    // What was restored can be backed up and restored again.
    for script in ["backup", "restore"] {
        let done = run(&new, script, &file.path)?;
        ensure!(done.status.success(), "{script}: {done:?}");
    }
    let accounts = place::open(new.database()?, None).await?;
    accounts.channel("new").await?;
    Ok(())
}

#[tokio::test]
async fn half_a_backup_changes_nothing() -> Result<()> {
    let Some((place, file)) = backed_up().await? else {
        return Ok(());
    };
    let whole = fs::read(&file.path)?;
    fs::write(&file.path, &whole[..whole.len() * 3 / 4])?;
    let refused = run(&place, "restore", &file.path)?;
    assert!(!refused.status.success(), "{refused:?}");
    let accounts = place::open(place.database()?, None).await?;
    accounts.channel("kept").await?;
    accounts.channel("made-after").await?;
    Ok(())
}

#[tokio::test]
async fn a_line_that_breaks_during_a_restore_changes_nothing() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let Some((place, file)) = backed_up().await? else {
        return Ok(());
    };
    let server = place.postgres.as_ref().context("a server")?;
    let cut_short = format!(
        "#!/bin/sh\nfile=$(mktemp)\ncat >$file\nlen=$(($(wc -c <$file) * 3 / 4))\n\
         head -c $len $file | {}/psql \"$@\"\nrm $file\n",
        server.programs().display()
    );
    let folder = tempfile::tempdir()?;
    let psql = folder.path().join("psql");
    fs::write(&psql, cut_short)?;
    fs::set_permissions(&psql, fs::Permissions::from_mode(0o755))?;
    // What became of it the script cannot know: psql takes the end of a line for the end.
    run_with(&place, Some(folder.path()), "restore", &file.path)?;
    let accounts = place::open(place.database()?, None).await?;
    accounts.channel("kept").await?;
    accounts.channel("made-after").await?;
    Ok(())
}

#[tokio::test]
async fn a_backup_that_fails_leaves_the_last_one() -> Result<()> {
    let Some((mut place, file)) = backed_up().await? else {
        return Ok(());
    };
    let before = fs::read(&file.path)?;
    if let Some(server) = &mut place.postgres {
        server.kill()?;
    }
    let failed = run(&place, "backup", &file.path)?;
    assert!(!failed.status.success(), "{failed:?}");
    assert_eq!(fs::read(&file.path)?, before);
    assert_eq!(fs::read_dir(place.folder())?.count(), 1, "no half a file");
    Ok(())
}

struct Backup {
    path: PathBuf,
    stream_key: String,
    api_token: String,
}

/// A server with a channel `kept` in its backup, and one that was made after it.
async fn backed_up() -> Result<Option<(Place, Backup)>> {
    use std::os::unix::fs::PermissionsExt;
    let Some(place) = Place::postgres()? else {
        return Ok(None);
    };
    let accounts = place.open(None).await?;
    let stream_key = make(&accounts, "kept").await?;
    let api_token = accounts.create_api_token().await?.reveal().to_owned();
    let path = place.folder().join("backup");
    let written = run(&place, "backup", &path)?;
    ensure!(written.status.success(), "{written:?}");
    assert_eq!(
        fs::metadata(&path)?.permissions().mode() & 0o777,
        0o600,
        "its owner's alone"
    );
    make(&accounts, "made-after").await?;
    accounts.close().await;
    let backup = Backup {
        path,
        stream_key,
        api_token,
    };
    Ok(Some((place, backup)))
}

/// Makes a channel; its stream key.
async fn make(accounts: &Accounts, name: &str) -> Result<String> {
    let name = ChannelName::parse(name)?;
    let channel = accounts
        .create_channel(name, PLAY_OUT_DELAY_MS, Share::Allowed)
        .await?;
    let (_, key) = accounts.create_stream_key(&channel).await?;
    Ok(key.reveal().to_owned())
}

/// Runs one of the scripts, with the programs of the server.
fn run(place: &Place, script: &str, file: &Path) -> Result<Output> {
    run_with(place, None, script, file)
}

/// The same, with others before them.
fn run_with(place: &Place, programs: Option<&Path>, script: &str, file: &Path) -> Result<Output> {
    let first = programs.map(Path::to_owned);
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    let programs = place
        .postgres
        .iter()
        .map(|server| server.programs().to_owned());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let programs = first.into_iter().chain(programs);
    let path = std::env::join_paths(programs.chain(std::env::split_paths(&path)))?;
    Ok(Command::new(scripts.join(script))
        .arg(file)
        .env("LIVESTATION_DATABASE", place.url())
        .env("PATH", path)
        .output()?)
}
