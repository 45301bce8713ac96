//! The data directory: the database, and the two secrets that the first start makes. They
//! stay readable to its owner, since accounts keeps only their hashes and every start shows
//! them.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use accounts::{Accounts, Channel, ChannelName, Database, PLAY_OUT_DELAY_MS};
use anyhow::{Context, bail};
use boot::ticket::Share;

/// The channel that is there from the start.
const CHANNEL: &str = "demo";
const STREAM_KEY: &str = "stream-key";
const API_TOKEN: &str = "api-token";

/// The directory, ours alone while this lives.
pub(super) struct Home {
    folder: PathBuf,
    _lock: File,
}

/// What the owner of the station is shown.
pub(super) struct Keys {
    pub(super) channel: String,
    pub(super) stream_key: String,
    pub(super) api_token: String,
}

impl Home {
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        let shown = folder.display();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("--data-dir {shown} cannot be made"))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(folder.join("lock"))
            .with_context(|| format!("--data-dir {shown} cannot be written"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                folder: folder.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => {
                bail!("--data-dir {shown} is in use by another station")
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("--data-dir {shown} cannot be locked"))
            }
        }
    }

    pub(super) fn database(&self) -> Result<Database, accounts::Error> {
        Database::sqlite(&self.folder.join("accounts.sqlite"))
    }

    /// Where letters go without a mail server.
    pub(super) fn mail(&self) -> PathBuf {
        self.folder.join("mail")
    }

    /// The secrets on file as long as they are good; else new ones.
    pub(super) async fn keys(&self, accounts: &Accounts) -> anyhow::Result<Keys> {
        let channel = channel(accounts).await?;
        Ok(Keys {
            channel: channel.name.to_string(),
            stream_key: self.stream_key(accounts, &channel).await?,
            api_token: self.api_token(accounts).await?,
        })
    }

    async fn stream_key(&self, accounts: &Accounts, channel: &Channel) -> anyhow::Result<String> {
        if let Some(key) = self.read(STREAM_KEY)? {
            match accounts.authorize(&key).await {
                Ok(found) if found.channel.id == channel.id => return Ok(key),
                Ok(_) | Err(accounts::Error::WrongKey) => {
                    tracing::warn!("the stream key on file is not good any more: making another");
                }
                Err(error) => return Err(error.into()),
            }
        }
        let (_, key) = accounts.create_stream_key(channel).await?;
        self.write(STREAM_KEY, key.reveal())
    }

    async fn api_token(&self, accounts: &Accounts) -> anyhow::Result<String> {
        if let Some(token) = self.read(API_TOKEN)?
            && accounts.is_api_token(&token).await?
        {
            return Ok(token);
        }
        let token = accounts.create_api_token().await?;
        self.write(API_TOKEN, token.reveal())
    }

    fn read(&self, name: &str) -> anyhow::Result<Option<String>> {
        match fs::read_to_string(self.folder.join(name)) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("{name} in --data-dir")),
        }
    }

    fn write(&self, name: &str, secret: &str) -> anyhow::Result<String> {
        boot::files::write_secret_atomically(&self.folder.join(name), secret.as_bytes())
            .with_context(|| format!("{name} in --data-dir"))?;
        Ok(secret.to_owned())
    }
}

async fn channel(accounts: &Accounts) -> anyhow::Result<Channel> {
    match accounts.channel(CHANNEL).await {
        Err(accounts::Error::NoSuchChannel) => {
            let name = ChannelName::parse(CHANNEL)?;
            Ok(accounts
                .create_channel(name, PLAY_OUT_DELAY_MS, Share::Allowed)
                .await?)
        }
        found => Ok(found?),
    }
}
