//! What an account's owner does with channels, stream keys and API tokens. The one rule: what
//! is somebody else's is not there.

use boot::ticket::Share;

use crate::{
    Account, Accounts, ApiToken, Channel, ChannelName, Error, Secret, StreamKey,
    caller::Scopes,
    channel,
    form::{Fault, Faults, line},
    secret::Kind,
};

const KEY_NAME_MAX: usize = 60;

/// What a channel's owner types.
#[derive(Clone, Debug)]
pub struct Settings<'a> {
    /// What people read.
    pub title: &'a str,
    /// What it is about.
    pub description: &'a str,
    /// Whether its viewers relay.
    pub share: Share,
    /// What each uploads at most, in bits a second, from 100 kbit/s to 1 Gbit/s; `None`: as it
    /// likes.
    pub upload_max_bps: Option<u64>,
    /// D, in milliseconds.
    pub play_out_delay_ms: u32,
}

impl Accounts {
    /// A channel of somebody who is in.
    ///
    /// # Errors
    /// [`Error::Waiting`], [`Error::Form`], [`Error::Invalid`] when there are too many,
    /// [`Error::Database`].
    pub async fn create_channel_of(
        &self,
        owner: &Account,
        name: &str,
        settings: &Settings<'_>,
    ) -> Result<Channel, Error> {
        if !owner.is_approved() {
            return Err(Error::Waiting);
        }
        let mut faults = Faults::default();
        let name = faults.take("name", parse_name(name));
        let title = faults.take("title", channel::title(settings.title));
        let description = faults.take("description", channel::description(settings.description));
        let (Some(name), Some(title), Some(description)) = (name, title, description) else {
            return Err(Error::Form(faults));
        };
        channel::check_upload(settings.upload_max_bps)?;
        let mut channel = Channel::new(name, settings.play_out_delay_ms, settings.share)?;
        channel.upload_max_bps = settings.upload_max_bps;
        channel.owner = Some(owner.id);
        channel.title = title;
        channel.description = description;
        match self.0.store.add_channel(&channel).await {
            Err(Error::NameTaken) => {
                let fault = Fault("The name is taken: choose another.");
                return Err(Error::Form(Faults::one("name", fault)));
            }
            added => added?,
        }
        tracing::info!(channel = %channel.name, "channel created");
        Ok(channel)
    }

    /// The channels of an account, by name.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn channels_of(&self, owner: &Account) -> Result<Vec<Channel>, Error> {
        self.0.store.channels_of(owner.id).await
    }

    /// One of them. An administrator has them all.
    ///
    /// # Errors
    /// [`Error::NoSuchChannel`], [`Error::Database`].
    pub async fn channel_of(&self, owner: &Account, name: &str) -> Result<Channel, Error> {
        let channel = self.channel(name).await?;
        match owner.administrator || channel.owner == Some(owner.id) {
            true => Ok(channel),
            false => Err(Error::NoSuchChannel),
        }
    }

    /// Other words, another policy; sharing and delay count for tickets and broadcasts to come.
    ///
    /// # Errors
    /// [`Error::Form`], [`Error::Invalid`], [`Error::Database`].
    pub async fn change_channel(
        &self,
        channel: &Channel,
        settings: &Settings<'_>,
    ) -> Result<Channel, Error> {
        let mut faults = Faults::default();
        let title = faults.take("title", channel::title(settings.title));
        let description = faults.take("description", channel::description(settings.description));
        let (Some(title), Some(description)) = (title, description) else {
            return Err(Error::Form(faults));
        };
        channel::check_delay(settings.play_out_delay_ms)?;
        channel::check_upload(settings.upload_max_bps)?;
        let changed = Channel {
            title,
            description,
            share: settings.share,
            upload_max_bps: settings.upload_max_bps,
            play_out_delay_ms: settings.play_out_delay_ms,
            ..channel.clone()
        };
        self.0.store.change_channel(&changed).await?;
        tracing::info!(channel = %channel.name, "channel changed");
        Ok(changed)
    }

    /// Deletes it with its keys.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn delete_channel(&self, channel: &Channel) -> Result<(), Error> {
        self.0.store.delete_channel(channel).await?;
        tracing::info!(channel = %channel.name, "channel deleted");
        Ok(())
    }

    /// A new stream key with a name; the one time that the key is told.
    ///
    /// # Errors
    /// [`Error::Form`], [`Error::Invalid`] when the channel has too many, [`Error::Database`].
    pub async fn create_named_key(
        &self,
        channel: &Channel,
        name: &str,
    ) -> Result<(StreamKey, Secret), Error> {
        let name = self.key_name(name)?;
        let secret = Secret::generate(Kind::StreamKey)?;
        let id = self.0.store.add_stream_key(channel, &secret, &name).await?;
        tracing::info!(channel = %channel.name, key = id, "stream key created");
        let key = StreamKey {
            id,
            name,
            created_at: boot::ticket::now() as i64,
            last_used_at: None,
            revoked_at: None,
        };
        Ok((key, secret))
    }

    /// A new key in the place of another, which is worthless from then on.
    ///
    /// # Errors
    /// [`Error::NoSuchKey`], [`Error::Invalid`], [`Error::Database`].
    pub async fn rotate_key(
        &self,
        channel: &Channel,
        id: i64,
    ) -> Result<(StreamKey, Secret), Error> {
        let keys = self.stream_keys(channel).await?;
        let good = |key: &&StreamKey| key.id == id && key.revoked_at.is_none();
        let old = keys.iter().find(good).ok_or(Error::NoSuchKey)?;
        self.revoke_stream_key(channel, id).await?;
        self.create_named_key(channel, &old.name).await
    }

    /// A new API token of an account; the one time that it is told.
    ///
    /// # Errors
    /// [`Error::Waiting`], [`Error::Form`], [`Error::Invalid`], [`Error::Database`].
    pub async fn create_token_of(
        &self,
        owner: &Account,
        name: &str,
        scopes: Scopes,
    ) -> Result<Secret, Error> {
        if !owner.is_approved() {
            return Err(Error::Waiting);
        }
        let name = self.key_name(name)?;
        if scopes.is_empty() {
            let fault = Fault("Choose what the token may do.");
            return Err(Error::Form(Faults::one("scopes", fault)));
        }
        let secret = Secret::generate(Kind::ApiToken)?;
        let store = &self.0.store;
        store
            .add_token_of(owner.id, &secret, (&name, scopes))
            .await?;
        tracing::info!(account = owner.id.to_hex(), "API token created");
        Ok(secret)
    }

    /// The account's tokens, newest first.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn tokens_of(&self, owner: &Account) -> Result<Vec<ApiToken>, Error> {
        self.0.store.tokens_of(owner.id).await
    }

    /// Makes one worthless.
    ///
    /// # Errors
    /// [`Error::NoSuchKey`], [`Error::Database`].
    pub async fn revoke_token_of(&self, owner: &Account, id: i64) -> Result<(), Error> {
        self.0.store.revoke_token(owner.id, id).await
    }

    fn key_name(&self, name: &str) -> Result<String, Error> {
        let name = line(
            name,
            KEY_NAME_MAX,
            Fault("A name has at most 60 characters."),
        );
        name.map_err(|fault| Error::Form(Faults::one("name", fault)))
    }
}

fn parse_name(text: &str) -> Result<ChannelName, Fault> {
    ChannelName::parse(text.trim()).map_err(|error| match error {
        Error::Invalid(rule) => Fault(rule),
        _ => Fault("That is no name."),
    })
}
