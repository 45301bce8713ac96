//! Accounts as its callers see it: gRPC for ingest and encoder, HTTP for people and viewers,
//! both over real sockets, on a database made from nothing.

use std::{net::SocketAddr, path::Path, time::Duration};

use accounts::{Accounts, ChannelName, Config, PLAY_OUT_DELAY_MS};
use actix_web::{App, HttpServer};
use boot::ticket::{Share, Verifier};
use proto::{
    access::Role,
    accounts::{AuthorizeRequest, CertifyEpochRequest, accounts_client::AccountsClient},
};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_util::sync::CancellationToken;
use tonic::Code;

struct Service {
    accounts: Accounts,
    http: SocketAddr,
    token: String,
    client: Client,
    shutdown: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Service {
    async fn start() -> anyhow::Result<Self> {
        boot::start()?;
        let folder = tempfile::tempdir()?;
        let accounts = open(folder.path(), None).await?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let http = listener.local_addr()?;
        let mounted = accounts.clone();
        let server =
            HttpServer::new(move || App::new().configure(accounts::http::routes(mounted.clone())))
                .workers(1)
                .disable_signals()
                .listen(listener)?
                .run();
        tokio::spawn(server);
        Ok(Self {
            token: accounts.create_api_token().await?.reveal().to_owned(),
            accounts,
            http,
            client: Client::new(),
            shutdown: CancellationToken::new(),
            _folder: folder,
        })
    }

    async fn channel(&self, name: &str) -> anyhow::Result<accounts::Channel> {
        let name = ChannelName::parse(name)?;
        let channel = self
            .accounts
            .create_channel(name, PLAY_OUT_DELAY_MS, Share::Allowed);
        Ok(channel.await?)
    }

    async fn grpc(&self) -> anyhow::Result<AccountsClient<tonic::transport::Channel>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let serve = accounts::serve(self.accounts.clone(), listener, self.shutdown.clone());
        tokio::spawn(serve);
        let tls = Default::default();
        let channel = boot::grpc::connect_lazy(&url, Role::Accounts, &tls)?;
        Ok(AccountsClient::new(channel))
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> anyhow::Result<(StatusCode, Value)> {
        let mut request = self
            .client
            .request(method, format!("http://{}{path}", self.http));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let reply = request.send().await?;
        let status = reply.status();
        let text = reply.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// Sends a head that promises a body, and one byte of it; the start of the answer.
    async fn trickle(&self, token: &str) -> anyhow::Result<String> {
        let mut socket = tokio::net::TcpStream::connect(self.http).await?;
        let head = format!(
            "POST /api/v1/channels HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: 99\r\n\r\n{{"
        );
        socket.write_all(head.as_bytes()).await?;
        let mut reply = [0; 2000];
        let len = tokio::time::timeout(Duration::from_secs(8), socket.read(&mut reply)).await??;
        Ok(String::from_utf8_lossy(&reply[..len]).into_owned())
    }

    async fn administer(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<(StatusCode, Value)> {
        self.ask(method, path, Some(&self.token), body).await
    }
}

async fn open(folder: &Path, public_url: Option<&str>) -> anyhow::Result<Accounts> {
    let config = Config {
        database: folder.join("accounts.sqlite"),
        // Nobody listens on the discard port: the tracker is away.
        tracker: "http://127.0.0.1:9".into(),
        tls: Default::default(),
        public_url: public_url.map(Into::into),
        tracker_public: None,
        turn: None,
    };
    Ok(Accounts::open(config).await?)
}

fn code(reply: &Value) -> &str {
    let whole = reply["error"]["message"]
        .as_str()
        .is_some_and(|text| !text.is_empty());
    reply["error"]["code"]
        .as_str()
        .filter(|_| whole)
        .unwrap_or("-")
}

#[tokio::test]
async fn the_database_is_its_owners_alone() -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir()?;
    let accounts = open(folder.path(), None).await?;
    for file in std::fs::read_dir(folder.path())? {
        let file = file?;
        let mode = file.metadata()?.permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.file_name());
    }
    accounts.close().await;
    Ok(())
}

#[tokio::test]
async fn a_good_key_authorises_and_a_wrong_or_revoked_one_does_not() -> anyhow::Result<()> {
    let service = Service::start().await?;
    let channel = service.channel("demo").await?;
    let (id, key) = service.accounts.create_stream_key(&channel).await?;
    let mut grpc = service.grpc().await?;
    let mut authorize = async |stream_key: &str| {
        let request = AuthorizeRequest {
            stream_key: stream_key.into(),
            protocol: "rtmp".into(),
        };
        grpc.authorize(request)
            .await
            .map(|reply| reply.into_inner().channel)
    };

    let granted = authorize(key.reveal()).await?.unwrap_or_default();
    assert_eq!(granted.id[..], channel.id);
    assert_eq!(granted.name, "demo");
    assert_eq!(granted.public_key[..], channel.public_key());
    assert_eq!(granted.play_out_delay_ms, 1800);

    let altered = key.reveal().replace("ls_", "ls_A");
    for wrong in ["", "ls_", "ls_wrong", &altered, &"x".repeat(10_000)] {
        let refused = authorize(wrong).await.err().map(|status| status.code());
        assert_eq!(
            refused,
            Some(Code::Unauthenticated),
            "{} bytes",
            wrong.len()
        );
    }

    service.accounts.revoke_stream_key(&channel, id).await?;
    let refused = authorize(key.reveal())
        .await
        .err()
        .map(|status| status.code());
    assert_eq!(refused, Some(Code::Unauthenticated));
    service.shutdown.cancel();
    Ok(())
}

#[tokio::test]
async fn an_epoch_is_certified_so_that_viewers_can_verify_it() -> anyhow::Result<()> {
    let service = Service::start().await?;
    let channel = service.channel("demo").await?;
    let mut grpc = service.grpc().await?;
    let id = stripe::ChannelId(channel.id);
    let public_key = stripe::EpochSigner::new(id, 7, &[1; 32]).public_key();
    let request = CertifyEpochRequest {
        channel_id: channel.id.to_vec().into(),
        epoch: 7,
        epoch_public_key: public_key.to_vec().into(),
    };
    let signature = grpc
        .certify_epoch(request.clone())
        .await?
        .into_inner()
        .signature;
    let certificate = stripe::EpochCertificate {
        channel: id,
        epoch: 7,
        public_key,
        signature: signature[..].try_into()?,
    };
    assert!(certificate.verify(id, &channel.public_key()).is_ok());

    let unknown = CertifyEpochRequest {
        channel_id: vec![9; 16].into(),
        ..request.clone()
    };
    let short = CertifyEpochRequest {
        epoch_public_key: vec![1; 31].into(),
        ..request
    };
    let refused = grpc
        .certify_epoch(unknown)
        .await
        .err()
        .map(|status| status.code());
    assert_eq!(refused, Some(Code::NotFound));
    let refused = grpc
        .certify_epoch(short)
        .await
        .err()
        .map(|status| status.code());
    assert_eq!(refused, Some(Code::InvalidArgument));
    service.shutdown.cancel();
    Ok(())
}

#[tokio::test]
async fn a_ticket_is_open_to_all_and_verifies() -> anyhow::Result<()> {
    let service = Service::start().await?;
    let channel = service.channel("demo").await?;
    let path = "/api/v1/channels/demo/ticket";
    let (status, reply) = service.ask(Method::POST, path, None, None).await?;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(reply["tracker"], format!("ws://{}/ws", service.http));
    assert_eq!(reply["channel"], "demo");
    assert_eq!(reply["channel_key"], hex::encode(channel.public_key()));
    assert_eq!(reply["play_out_delay_ms"], 1800);
    assert_eq!(reply["ice_servers"], json!([]));
    let token = reply["ticket"].as_str().unwrap_or_default();
    let ticket = service.accounts.ticket_verifier().verify(token)?;
    assert_eq!(ticket.channel_id, channel.id);
    assert_eq!(ticket.channel_key, channel.public_key());
    assert_eq!(ticket.name, "demo");
    assert!(Verifier::new(&[1; 32]).verify(token).is_err());

    for unknown in ["nobody", "NOBODY", "a"] {
        let path = format!("/api/v1/channels/{unknown}/ticket");
        let (status, reply) = service.ask(Method::POST, &path, None, None).await?;
        assert_eq!(
            (status, code(&reply)),
            (StatusCode::NOT_FOUND, "no_such_channel")
        );
    }
    Ok(())
}

#[tokio::test]
async fn one_address_does_not_get_tickets_without_end() -> anyhow::Result<()> {
    let service = Service::start().await?;
    service.channel("demo").await?;
    for _ in 0..2000 {
        let path = "/api/v1/channels/demo/ticket";
        let (status, reply) = service.ask(Method::POST, path, None, None).await?;
        if status == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(code(&reply), "rate_limited");
            return Ok(());
        }
    }
    anyhow::bail!("2000 tickets were given")
}

#[tokio::test]
async fn channels_and_keys_are_administered_with_a_token_only() -> anyhow::Result<()> {
    let service = Service::start().await?;
    let new = json!({"name": "my-show", "share": "required"});
    for token in [None, Some("lsa_wrong"), Some("")] {
        let (status, reply) = service
            .ask(Method::POST, "/api/v1/channels", token, Some(new.clone()))
            .await?;
        assert_eq!(
            (status, code(&reply)),
            (StatusCode::UNAUTHORIZED, "unauthorized")
        );
    }
    let create = |body| service.administer(Method::POST, "/api/v1/channels", Some(body));
    let (status, reply) = create(new.clone()).await?;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(reply["play_out_delay_ms"], 1800);
    let (status, reply) = create(new).await?;
    assert_eq!((status, code(&reply)), (StatusCode::CONFLICT, "name_taken"));
    let (status, reply) = create(json!({"name": "API"})).await?;
    assert_eq!(
        (status, code(&reply)),
        (StatusCode::UNPROCESSABLE_ENTITY, "invalid")
    );

    let (_, reply) = service
        .administer(Method::GET, "/api/v1/channels", None)
        .await?;
    assert_eq!(reply["channels"][0]["name"], "my-show");

    let keys = "/api/v1/channels/my-show/keys";
    let (status, made) = service.administer(Method::POST, keys, None).await?;
    assert_eq!(status, StatusCode::CREATED);
    let secret = made["stream_key"].as_str().unwrap_or_default();
    assert!(service.accounts.authorize(secret).await.is_ok());
    let (_, listed) = service.administer(Method::GET, keys, None).await?;
    assert!(listed["keys"][0]["last_used_at"].is_i64());
    assert!(!listed.to_string().contains(secret));

    let one = format!("{keys}/{}", made["id"]);
    let (status, _) = service.administer(Method::DELETE, &one, None).await?;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert!(service.accounts.authorize(secret).await.is_err());
    for unknown in ["999", "x"] {
        let path = format!("{keys}/{unknown}");
        let (status, reply) = service.administer(Method::DELETE, &path, None).await?;
        assert_eq!(
            (status, code(&reply)),
            (StatusCode::NOT_FOUND, "no_such_key")
        );
    }
    Ok(())
}

#[tokio::test]
async fn every_refusal_has_one_shape() -> anyhow::Result<()> {
    let service = Service::start().await?;
    service.channel("demo").await?;
    let get = |path: &'static str| service.ask(Method::GET, path, None, None);
    for path in [
        "/nobody",
        "/a/b/c",
        "/api/v1/nothing",
        "/assets/none.js",
        "/%ff%fe",
        "/api/v1",
    ] {
        let (status, reply) = get(path).await?;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert_ne!(code(&reply), "-", "{path}");
    }
    let (status, reply) = get("/api/v1/channels/demo/ticket").await?;
    assert!(status.is_client_error());
    assert_ne!(code(&reply), "-", "GET where POST belongs");
    let (status, reply) = service
        .ask(Method::PUT, "/api/v1/channels", None, None)
        .await?;
    assert!(status.is_client_error());
    assert_ne!(code(&reply), "-", "PUT where POST belongs");

    let post = |body: String, kind: &'static str| {
        service
            .client
            .post(format!("http://{}/api/v1/channels", service.http))
            .bearer_auth(&service.token)
            .header("content-type", kind)
            .body(body)
            .send()
    };
    let cases = [
        ("{", "application/json", StatusCode::BAD_REQUEST, "bad_json"),
        (
            "{}",
            "application/json",
            StatusCode::BAD_REQUEST,
            "bad_json",
        ),
        (
            "{}",
            "text/plain",
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not_json",
        ),
    ];
    for (body, kind, status, word) in cases {
        let reply = post(body.into(), kind).await?;
        assert_eq!(reply.status(), status);
        assert_eq!(code(&reply.json().await?), word);
    }
    let reply = post(format!("\"{}\"", "a".repeat(100_000)), "application/json").await?;
    assert_eq!(reply.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(code(&reply.json().await?), "too_large");
    Ok(())
}

#[tokio::test]
async fn a_client_that_trickles_its_body_is_sent_away() -> anyhow::Result<()> {
    let service = Service::start().await?;
    let stranger = service.trickle("lsa_wrong").await?;
    assert!(stranger.starts_with("HTTP/1.1 401"), "at once: {stranger}");
    let administrator = service.trickle(&service.token).await?;
    assert!(administrator.starts_with("HTTP/1.1 408"), "{administrator}");
    assert!(administrator.contains("too_slow"), "{administrator}");
    Ok(())
}

#[tokio::test]
async fn figures_fail_soon_while_the_tracker_is_away() -> anyhow::Result<()> {
    let service = Service::start().await?;
    service.channel("demo").await?;
    let began = std::time::Instant::now();
    for what in ["stats", "swarm"] {
        let path = format!("/api/v1/channels/demo/{what}");
        let (status, reply) = service.ask(Method::GET, &path, None, None).await?;
        assert_eq!(
            (status, code(&reply)),
            (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
        );
    }
    assert!(began.elapsed().as_secs() < 3);
    Ok(())
}

#[tokio::test]
async fn pages_hold_no_script_and_no_style_of_their_own() -> anyhow::Result<()> {
    let service = Service::start().await?;
    service.channel("demo").await?;
    for path in ["/", "/demo"] {
        let reply = service
            .client
            .get(format!("http://{}{path}", service.http))
            .send()
            .await?;
        let policy = reply.headers()["content-security-policy"]
            .to_str()?
            .to_owned();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"));
        let html = reply.text().await?;
        assert!(html.contains("demo") && !html.contains("{{"));
        assert!(
            !html.contains("style=")
                && !html.contains("<style")
                && !html.contains("onclick")
                && !html.contains("onload")
        );
        for part in html.split("/assets/").skip(1) {
            let file = part.split('"').next().unwrap_or_default();
            let asset = format!("http://{}/assets/{file}", service.http);
            assert!(
                service
                    .client
                    .get(asset)
                    .send()
                    .await?
                    .status()
                    .is_success(),
                "{file}"
            );
        }
    }
    let (status, document) = service
        .ask(Method::GET, "/api/v1/openapi.json", None, None)
        .await?;
    assert_eq!(
        (status, &document["openapi"]),
        (StatusCode::OK, &json!("3.1.0"))
    );
    Ok(())
}

#[tokio::test]
async fn a_restart_keeps_channels_keys_tickets_and_tokens() -> anyhow::Result<()> {
    boot::start()?;
    let folder = tempfile::tempdir()?;
    let first = open(folder.path(), None).await?;
    let name = ChannelName::parse("demo")?;
    let channel = first
        .create_channel(name, PLAY_OUT_DELAY_MS, Share::Off)
        .await?;
    let (_, key) = first.create_stream_key(&channel).await?;
    let token = first.create_api_token().await?;
    let ticket = first.issue_ticket(&channel)?;
    first.close().await;

    let second = open(folder.path(), Some("https://live.example")).await?;
    let again = second.authorize(key.reveal()).await?;
    assert_eq!(again.id, channel.id);
    assert_eq!(again.public_key(), channel.public_key());
    assert_eq!(again.share, Share::Off);
    assert!(second.is_api_token(token.reveal()).await?);
    assert!(!second.is_api_token(key.reveal()).await?);
    assert_eq!(
        second.ticket_verifier().verify(&ticket)?.channel_id,
        channel.id
    );
    Ok(())
}
