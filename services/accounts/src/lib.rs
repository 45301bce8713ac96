//! People, channels, stream keys, tickets and the site. Hosted by the program; ingest and the
//! encoder call its gRPC, people and viewers its HTTP. The rule: the only user of the
//! database, and the only holder of the keys that sign.

mod account;
mod beta;
mod caller;
mod channel;
mod database;
mod email;
mod entrance;
mod error;
mod form;
mod grpc;
pub mod http;
mod instance;
mod letter;
mod mail;
mod metrics;
mod operator;
mod owner;
mod password;
mod post;
mod registry;
mod secret;
mod store;
mod turn;

use std::{sync::Arc, time::Duration};

use boot::{
    registry::{Service, Services},
    ticket::{Share, Signer, Ticket, Verifier},
    tls::Tls,
};
use presence::Presence;
use proto::{access::Role, tracker::tracker_client::TrackerClient};
use tonic::transport::Channel as Transport;

use instance::Instance;

pub use account::{Account, AccountId};
pub use beta::SignUp;
pub use caller::{Caller, Scope, Scopes};
pub use channel::{Channel, ChannelName, PLAY_OUT_DELAY_MS, Publisher};
pub use database::Database;
pub use email::Email;
pub use error::Error;
pub use form::{Fault, Faults};
pub use grpc::serve;
pub use mail::Mail;
pub use operator::{Beta, Operator};
pub use owner::Settings;
pub use post::deliver;
pub use secret::{Kind, Secret};
pub use store::{
    ApiToken, Invitation, Login, StreamKey,
    migrations::{Migration, migrate, missing},
};
pub use turn::Turn;

/// A viewer whose session breaks asks for another ticket, so that one need not last long.
const TICKET_TTL: Duration = Duration::from_secs(600);

/// As `accounts.proto` bounds it.
const KEYS_ASKED_MAX: usize = 256;

/// What accounts needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where channels, keys and instances are kept.
    pub database: Database,
    /// Where the tracker's gRPC answers, `http://host:port`; without it, whoever registers as
    /// one.
    pub tracker: Option<String>,
    /// How it speaks to other services.
    pub tls: Tls,
    /// `https://host` as viewers reach us; without it, what their request says.
    pub public_url: Option<String>,
    /// The same of a tracker that is reached elsewhere.
    pub tracker_public: Option<String>,
    /// What tickets name for viewers that find no other way to each other.
    pub turn: Option<Turn>,
    /// Where the site is as links in mail say it, `https://host`.
    pub site: String,
    /// How mail leaves; without it nobody can sign up.
    pub mail: Option<Mail>,
    /// Where broadcasters push, as the dashboard says it.
    pub push: Push,
    /// How often one address may sign up, log in or the like within ten minutes; a proxy in
    /// front is one address unless it is believed (`boot::client`).
    pub attempts_per_address: u32,
    /// Where limits are counted; shared, if several instances are to count together.
    pub presence: Presence,
}

/// Where broadcasters push.
#[derive(Clone, Debug, Default)]
pub struct Push {
    /// `rtmp://host:port/live`; empty where nobody said it.
    pub rtmp: String,
    /// `srt://host:port`; empty without SRT.
    pub srt: String,
}

/// The service's state, cheap to clone; HTTP and gRPC share one.
#[derive(Clone)]
pub struct Accounts(Arc<Inner>);

struct Inner {
    store: store::Store,
    signer: Signer,
    trackers: Services,
    tls: Tls,
    tracker_public: Option<String>,
    public_url: Option<String>,
    turn: Option<Turn>,
    limits: http::Limits,
    live: http::live::Live,
    site: String,
    mail: Option<Mail>,
    push: Push,
    hasher: password::Hasher,
    /// Told of each letter that this process writes.
    letters: tokio::sync::Notify,
}

impl Accounts {
    /// Opens the database and makes the keys it lacks. A SQLite file is made when it is not
    /// there, and brought to this version; Postgres has to be there and of this version.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Migration`], [`Error::Behind`], [`Error::Ahead`],
    /// [`Error::TrackerUrl`].
    pub async fn open(config: Config) -> Result<Self, Error> {
        let store = store::Store::open(&config.database).await?;
        let trackers = trackers(&store, config.tracker, &config.tls).map_err(Error::TrackerUrl)?;
        metrics::announce();
        let ticket = store.signing_key("ticket").await?;
        let attempts = f64::from(config.attempts_per_address);
        Ok(Self(Arc::new(Inner {
            signer: Signer::new(&ticket),
            limits: http::Limits::new(attempts, config.presence, &ticket),
            store,
            trackers,
            tls: config.tls,
            tracker_public: config.tracker_public,
            public_url: config.public_url,
            turn: config.turn,
            live: http::live::Live::default(),
            site: config.site.trim_end_matches('/').to_owned(),
            mail: config.mail,
            push: config.push,
            hasher: password::Hasher::new()?,
            letters: tokio::sync::Notify::new(),
        })))
    }

    /// What trackers and seeders check tickets with.
    #[must_use]
    pub fn ticket_verifier(&self) -> Verifier {
        Verifier::new(&self.ticket_key())
    }

    /// The Ed25519 key of that verifier.
    pub(crate) fn ticket_key(&self) -> [u8; 32] {
        self.0.signer.public_key()
    }

    /// All channels by name, at most 500.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn channels(&self) -> Result<Vec<Channel>, Error> {
        self.0.store.channels().await
    }

    /// The channel of this name.
    ///
    /// # Errors
    /// [`Error::NoSuchChannel`], [`Error::Database`].
    pub async fn channel(&self, name: &str) -> Result<Channel, Error> {
        self.0.store.channel_by_name(name).await
    }

    /// Stores a new channel.
    ///
    /// # Errors
    /// [`Error::NameTaken`], [`Error::Invalid`], [`Error::Database`].
    pub async fn create_channel(
        &self,
        name: ChannelName,
        play_out_delay_ms: u32,
        share: Share,
    ) -> Result<Channel, Error> {
        let channel = Channel::new(name, play_out_delay_ms, share)?;
        self.0.store.add_channel(&channel).await?;
        tracing::info!(channel = %channel.name, "channel created");
        Ok(channel)
    }

    /// A new stream key and its id; the one time that the key is told.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the channel has too many, [`Error::Database`].
    pub async fn create_stream_key(&self, channel: &Channel) -> Result<(i64, Secret), Error> {
        let (key, secret) = self.create_named_key(channel, "").await?;
        Ok((key.id, secret))
    }

    /// The channel's keys, newest first.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn stream_keys(&self, channel: &Channel) -> Result<Vec<StreamKey>, Error> {
        self.0.store.stream_keys(channel).await
    }

    /// Makes a key worthless; a broadcast that came with it ends within 5 s. Revoking twice is
    /// once.
    ///
    /// # Errors
    /// [`Error::NoSuchKey`], [`Error::Database`].
    pub async fn revoke_stream_key(&self, channel: &Channel, id: i64) -> Result<(), Error> {
        self.0.store.revoke_stream_key(channel, id).await?;
        tracing::info!(channel = %channel.name, key = id, "stream key revoked");
        Ok(())
    }

    /// What the holder of this key may publish to.
    ///
    /// # Errors
    /// [`Error::WrongKey`], [`Error::Database`].
    pub async fn authorize(&self, stream_key: &str) -> Result<Publisher, Error> {
        let found = self.0.store.publisher(stream_key).await;
        metrics::authorized(&found);
        found
    }

    /// Of the stream keys with these ids, those that are good, each with its channel's id.
    ///
    /// # Errors
    /// [`Error::Invalid`] of more than 256, [`Error::Database`].
    pub(crate) async fn good_keys(&self, ids: &[i64]) -> Result<Vec<(i64, [u8; 16])>, Error> {
        if ids.len() > KEYS_ASKED_MAX {
            return Err(Error::Invalid("at most 256 keys are asked about at once"));
        }
        self.0.store.good_stream_keys(ids).await
    }

    /// A new API token; the one time that it is told.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn create_api_token(&self) -> Result<Secret, Error> {
        let secret = Secret::generate(Kind::ApiToken)?;
        self.0.store.add_api_token(&secret).await?;
        Ok(secret)
    }

    /// Whether it is a good token of the operator's.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn is_api_token(&self, typed: &str) -> Result<bool, Error> {
        let caller = self.caller(typed).await?;
        Ok(caller.is_some_and(|caller| caller.owner.is_none()))
    }

    /// Who comes with this token, if it is good.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn caller(&self, typed: &str) -> Result<Option<Caller>, Error> {
        self.0.store.caller(typed).await
    }

    /// Whether letters go into a folder, which people are told.
    pub(crate) fn mail_is_a_folder(&self) -> bool {
        let mail = self.0.mail.as_ref();
        mail.is_some_and(|mail| mail.is_folder().is_some())
    }

    /// A ticket for a viewer nobody knows, good for ten minutes.
    ///
    /// # Errors
    /// [`Error::Ticket`], [`Error::Random`].
    pub fn issue_ticket(&self, channel: &Channel) -> Result<String, Error> {
        let issued_at = boot::ticket::now();
        let ticket = Ticket {
            viewer: hex::encode(secret::random::<16>()?),
            channel_id: channel.id,
            name: channel.name.to_string(),
            channel_key: channel.public_key(),
            share: channel.share,
            issued_at,
            expires_at: issued_at + TICKET_TTL.as_secs(),
        };
        let signed = self.0.signer.sign(&ticket).map_err(|_| Error::Ticket)?;
        metrics::ticket();
        Ok(signed)
    }

    /// Ends the use of the database, after the last request.
    pub async fn close(&self) {
        self.0.store.close().await;
    }

    /// The tracker of this channel's swarm, and how to call it; `None` while none is known.
    pub(crate) fn tracker(&self, channel: &Channel) -> Option<(Service, TrackerClient<Transport>)> {
        let tracker = self.0.trackers.ranked(&channel.id).into_iter().next()?;
        let transport = self.0.trackers.connect(&tracker.grpc).ok()?;
        Some((tracker, TrackerClient::new(transport)))
    }

    async fn channel_by_id(&self, id: &[u8]) -> Result<Channel, Error> {
        self.0.store.channel_by_id(id).await
    }
}

/// The one that is named, or those that are registered.
fn trackers(
    store: &store::Store,
    named: Option<String>,
    tls: &Tls,
) -> Result<Services, tonic::transport::Error> {
    if let Some(url) = named {
        return Services::named(&[url], Role::Tracker, tls);
    }
    let store = store.clone();
    let living = boot::registry::follow_by(Role::Tracker.name(), move |role| {
        let store = store.clone();
        async move {
            let listed = store.instances(role).await?;
            Ok(listed.into_iter().map(Instance::into_wire).collect())
        }
    });
    Ok(Services::listed(living, Role::Tracker, tls))
}
