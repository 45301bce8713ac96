//! From the address of a channel's page to what a viewer needs to join: one request to
//! accounts. Called by the signalling session each time it connects, since tickets are
//! short-lived.
//!
//! The one rule: an answer is at most 16 KiB and comes within five seconds, or it is none.

use std::{sync::LazyLock, time::Duration};

use reqwest::{Client, ClientBuilder, StatusCode, Url, header, redirect::Policy};
use serde::Deserialize;
use stripe::ChannelId;

use crate::link::turn::{MAX_SERVERS, Over};

const DEADLINE: Duration = Duration::from_secs(5);
const MAX_ANSWER: usize = 16 * 1024;
/// RFC 7065: of a TURN server that is not reached by TLS.
const TURN_PORT: u16 = 3478;

/// Made once each: reading the system's certificates takes 20 ms, which plain HTTP
/// need not pay. Connections are not kept, since a ticket is asked for once in minutes.
static PLAIN: LazyLock<Result<Client, String>> =
    LazyLock::new(|| build(Client::builder().tls_certs_only([])));
static SECURE: LazyLock<Result<Client, String>> = LazyLock::new(|| build(Client::builder()));

fn build(builder: ClientBuilder) -> Result<Client, String> {
    builder
        .redirect(Policy::none())
        .pool_max_idle_per_host(0)
        .build()
        .map_err(|error| error.to_string())
}

/// The address of a channel: `http://host:port/{channel}`, with an optional `?ticket=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    base: Url,
    channel: String,
    ticket: Option<String>,
}

/// What a viewer needs to join a channel's swarm.
#[derive(Clone)]
pub struct Ticket {
    /// Shown to the tracker; nobody else sees it.
    pub token: String,
    /// The tracker's WebSocket.
    pub tracker: Url,
    /// The channel's name.
    pub channel: String,
    /// What its headers name.
    pub channel_id: ChannelId,
    /// What its epochs are certified with.
    pub channel_key: [u8; 32],
    /// D, as it was when the ticket was made; headers carry the one that counts.
    pub play_out_delay: Duration,
    /// What the channel wants of it: bits a second it uploads at most, if the channel sets a cap.
    pub upload_max_bps: Option<u64>,
    /// For links that find no other way.
    pub turn: Vec<Turn>,
}

/// A TURN server, not looked up yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Turn {
    /// `host:port`.
    pub host: String,
    /// How it is reached.
    pub over: Over,
    /// For some hours.
    pub username: String,
    /// Likewise.
    pub password: String,
}

/// Why there is no ticket.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not an address of a channel.
    #[error("{0:?} is not the address of a channel, such as http://127.0.0.1:8080/demo")]
    Address(String),
    /// 404.
    #[error("there is no channel {0:?}")]
    NoSuchChannel(String),
    /// 401 or 403.
    #[error("the ticket is refused: {0}")]
    Refused(String),
    /// The server cannot be reached, or is not ready: later it may be.
    #[error("cannot get a ticket: {0}")]
    Unavailable(String),
    /// A redirection. It is not followed, since the answer decides whose media is believed.
    #[error("the server points to {0}: use the address of the page there")]
    Elsewhere(String),
    /// The server answers something else.
    #[error("the server's answer is not a ticket")]
    Malformed,
}

impl Address {
    /// Reads the address that people are given.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Address(text.to_owned());
        let url = Url::parse(text).map_err(|_| wrong())?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(wrong());
        }
        let mut path = url.path().trim_matches('/').rsplit('/');
        let channel = path
            .next()
            .filter(|name| !name.is_empty())
            .ok_or_else(wrong)?;
        let ticket = url
            .query_pairs()
            .find(|(key, _)| key == "ticket")
            .map(|(_, value)| value.into_owned());
        let channel = channel.to_owned();
        let mut base = url;
        base.set_query(None);
        base.set_fragment(None);
        base.set_path("/");
        Ok(Self {
            base,
            channel,
            ticket,
        })
    }

    /// The channel's name.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// Asks for a ticket.
    ///
    /// # Errors
    /// [`Error`]; only [`Error::Unavailable`] may pass by itself.
    pub async fn ticket(&self) -> Result<Ticket, Error> {
        let path = format!("api/v1/channels/{}/ticket", self.channel);
        let url = self.base.join(&path).map_err(|_| Error::Malformed)?;
        let answer = tokio::time::timeout(DEADLINE, self.ask(url)).await;
        answer.map_err(|_| Error::Unavailable("no answer within five seconds".into()))?
    }

    async fn ask(&self, url: Url) -> Result<Ticket, Error> {
        let client = if url.scheme() == "https" {
            &SECURE
        } else {
            &PLAIN
        };
        let client = client
            .as_ref()
            .map_err(|why| Error::Unavailable(why.clone()))?;
        let mut request = client.post(url);
        if let Some(ticket) = &self.ticket {
            request = request.bearer_auth(ticket);
        }
        let mut answer = request.send().await.map_err(unavailable)?;
        let status = answer.status();
        if let Some(elsewhere) = answer.headers().get(header::LOCATION) {
            let elsewhere = elsewhere.to_str().unwrap_or("another address");
            return Err(Error::Elsewhere(elsewhere.chars().take(200).collect()));
        }
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(unavailable)? {
            if body.len() + part.len() > MAX_ANSWER {
                return Err(Error::Malformed);
            }
            body.extend_from_slice(&part);
        }
        self.read(status, &body)
    }

    fn read(&self, status: StatusCode, body: &[u8]) -> Result<Ticket, Error> {
        match status {
            StatusCode::NOT_FOUND => Err(Error::NoSuchChannel(self.channel.clone())),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Error::Refused(said(body))),
            _ if !status.is_success() => {
                Err(Error::Unavailable(format!("{status}: {}", said(body))))
            }
            _ => {
                let answer: Answer = serde_json::from_slice(body).map_err(|_| Error::Malformed)?;
                let mut ticket = answer.ticket().ok_or(Error::Malformed)?;
                if let Some(token) = &self.ticket {
                    ticket.token.clone_from(token);
                }
                Ok(ticket)
            }
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    ticket: String,
    tracker: String,
    channel: String,
    channel_id: String,
    channel_key: String,
    play_out_delay_ms: u64,
    #[serde(default)]
    upload_max_bps: Option<u64>,
    #[serde(default)]
    ice_servers: Vec<IceServer>,
}

/// As browsers know it.
#[derive(Deserialize)]
struct IceServer {
    urls: Vec<String>,
    #[serde(default)]
    username: String,
    #[serde(default)]
    credential: String,
}

impl IceServer {
    /// What of it we can use; other kinds are for other players.
    fn turn(&self) -> impl Iterator<Item = Turn> {
        self.urls.iter().filter_map(|url| {
            let (host, over) = read_turn_url(url)?;
            Some(Turn {
                host,
                over,
                username: self.username.clone(),
                password: self.credential.clone(),
            })
        })
    }
}

/// Reads `turn:host[:port][?transport=udp|tcp]` (RFC 7065): `host:port`, and how it is reached.
#[must_use]
pub fn read_turn_url(url: &str) -> Option<(String, Over)> {
    let rest = url.strip_prefix("turn:")?;
    let (host, query) = rest.split_once('?').unwrap_or((rest, ""));
    let over = match query {
        "" | "transport=udp" => Over::Udp,
        "transport=tcp" => Over::Tcp,
        _ => return None,
    };
    // An IPv6 address stands in brackets, after which there may be a port.
    let has_port = host.rsplit(']').next().is_some_and(|end| end.contains(':'));
    let host = match has_port {
        true => host.to_owned(),
        false => format!("{host}:{TURN_PORT}"),
    };
    Some((host, over))
}

impl Ticket {
    /// Of what the viewer is ready to upload, in bits a second, what the channel lets it.
    #[must_use]
    pub fn upload_bps(&self, ready_bps: u64) -> u64 {
        self.upload_max_bps
            .map_or(ready_bps, |cap| cap.min(ready_bps))
    }
}

impl Answer {
    fn ticket(self) -> Option<Ticket> {
        let tracker = Url::parse(&self.tracker).ok()?;
        matches!(tracker.scheme(), "ws" | "wss").then_some(())?;
        Some(Ticket {
            token: self.ticket,
            tracker,
            channel: self.channel,
            channel_id: ChannelId(from_hex(&self.channel_id)?),
            channel_key: from_hex(&self.channel_key)?,
            play_out_delay: Duration::from_millis(self.play_out_delay_ms.min(60_000)),
            upload_max_bps: self.upload_max_bps,
            turn: self
                .ice_servers
                .iter()
                .flat_map(IceServer::turn)
                .take(MAX_SERVERS)
                .collect(),
        })
    }
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

fn unavailable(error: reqwest::Error) -> Error {
    // What is wrong stands innermost; what is around it says only that something is.
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    Error::Unavailable(cause.to_string())
}

/// The message of `{"error":{"code","message"}}`.
fn said(body: &[u8]) -> String {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let message = json["error"]["message"]
        .as_str()
        .unwrap_or("no reason given");
    message.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_addresses_people_are_given() {
        let plain = Address::parse("http://127.0.0.1:8080/demo").unwrap();
        assert_eq!(
            (plain.channel(), plain.base.as_str()),
            ("demo", "http://127.0.0.1:8080/")
        );
        let given = Address::parse("https://live.example/watch/demo?ticket=abc#t").unwrap();
        assert_eq!(given.channel(), "demo");
        assert_eq!(given.ticket.as_deref(), Some("abc"));
        for wrong in ["", "demo", "ftp://a/demo", "http://a/", "http:///"] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn reads_turn_servers() {
        for (url, read) in [
            ("turn:a.example", Some(("a.example:3478", Over::Udp))),
            ("turn:a:5000?transport=udp", Some(("a:5000", Over::Udp))),
            (
                "turn:9.0.0.1?transport=tcp",
                Some(("9.0.0.1:3478", Over::Tcp)),
            ),
            ("turn:[2a00::1]", Some(("[2a00::1]:3478", Over::Udp))),
            ("turn:[2a00::1]:7", Some(("[2a00::1]:7", Over::Udp))),
            ("turn:a?transport=sctp", None),
            ("turns:a", None),
            ("stun:a", None),
        ] {
            let read = read.map(|(host, over)| (host.to_owned(), over));
            assert_eq!(read_turn_url(url), read, "{url}");
        }
    }

    #[test]
    fn reads_answers() {
        let address = Address::parse("http://a/demo?ticket=mine").unwrap();
        let body = format!(
            r#"{{"ticket":"t","tracker":"ws://a/tracker","channel":"demo","channel_id":"{}",
                "channel_key":"{}","play_out_delay_ms":1800,"more":1,
                "ice_servers":[{{"urls":["stun:a","turn:a"],"username":"u","credential":"c"}}]}}"#,
            "0f".repeat(16),
            "a0".repeat(32)
        );
        let ticket = address.read(StatusCode::OK, body.as_bytes()).unwrap();
        assert_eq!(ticket.token, "mine");
        assert_eq!(ticket.channel_id, ChannelId([15; 16]));
        assert_eq!(ticket.channel_key, [0xa0; 32]);
        let [turn] = ticket.turn.as_slice() else {
            panic!("one of them is a TURN server");
        };
        assert_eq!((turn.username.as_str(), turn.password.as_str()), ("u", "c"));
        assert_eq!(ticket.upload_bps(7_000_000), 7_000_000, "no cap");
        for (cap, uploaded) in [
            ("null", 7_000_000),
            ("2000000", 2_000_000),
            ("9000000", 7_000_000),
        ] {
            let capped = body.replace("\"more\":1", &format!("\"upload_max_bps\":{cap}"));
            let ticket = address.read(StatusCode::OK, capped.as_bytes()).unwrap();
            assert_eq!(ticket.upload_bps(7_000_000), uploaded, "{cap}");
        }
        let short = body.replace("0f0f", "");
        assert!(address.read(StatusCode::OK, short.as_bytes()).is_err());
        let refused = br#"{"error":{"code":"x","message":"expired"}}"#;
        let status = StatusCode::UNAUTHORIZED;
        assert!(
            matches!(address.read(status, refused), Err(Error::Refused(said)) if said == "expired")
        );
        let status = StatusCode::NOT_FOUND;
        assert!(matches!(
            address.read(status, b"?"),
            Err(Error::NoSuchChannel(_))
        ));
        let status = StatusCode::SERVICE_UNAVAILABLE;
        assert!(matches!(
            address.read(status, b""),
            Err(Error::Unavailable(_))
        ));
    }
}
