//! Accounts as it serves in a test.

use std::{net::SocketAddr, time::Duration};

use accounts::{Accounts, ChannelName, Config, Mail, PLAY_OUT_DELAY_MS};
use actix_web::{App, HttpServer};
use boot::{grpc::Remote, ticket::Share};
use proto::{access::Role, accounts::accounts_client::AccountsClient};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_util::sync::CancellationToken;

use crate::{
    place::{Place, config},
    sink::Sink,
};

pub(crate) struct Service {
    pub(crate) accounts: Accounts,
    pub(crate) http: SocketAddr,
    pub(crate) token: String,
    pub(crate) client: Client,
    pub(crate) shutdown: CancellationToken,
    pub(crate) place: Place,
}

impl Service {
    /// Whose mail goes into a sink; one address may try as often as a test needs.
    pub(crate) async fn with_mail(place: Place) -> anyhow::Result<(Self, Sink)> {
        Self::with_attempts(place, 10_000).await
    }

    pub(crate) async fn with_attempts(
        place: Place,
        attempts_per_address: u32,
    ) -> anyhow::Result<(Self, Sink)> {
        let database = place.database()?;
        accounts::migrate(&database).await?;
        let sink = Sink::start().await?;
        let url = format!("smtp://{}", sink.address);
        let accounts = Accounts::open(Config {
            mail: Some(Mail::smtp(&url, "Livestation <tv@station.example>")?),
            attempts_per_address,
            ..config(database, None)
        })
        .await?;
        let service = Self::of(accounts, place).await?;
        let letters = accounts::deliver(service.accounts.clone(), service.shutdown.clone());
        tokio::spawn(letters);
        Ok((service, sink))
    }

    pub(crate) async fn start(place: Place) -> anyhow::Result<Self> {
        let accounts = place.open(None).await?;
        Self::of(accounts, place).await
    }

    pub(crate) async fn of(accounts: Accounts, place: Place) -> anyhow::Result<Self> {
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
            place,
        })
    }

    pub(crate) async fn channel(&self, name: &str) -> anyhow::Result<accounts::Channel> {
        let name = ChannelName::parse(name)?;
        let channel = self
            .accounts
            .create_channel(name, PLAY_OUT_DELAY_MS, Share::Allowed);
        Ok(channel.await?)
    }

    pub(crate) async fn sign_up(&self, new: Value) -> anyhow::Result<(StatusCode, Value)> {
        self.ask(Method::POST, "/api/v1/signup", None, Some(new))
            .await
    }

    pub(crate) async fn confirm(
        &self,
        link: &str,
        password: &str,
    ) -> anyhow::Result<(StatusCode, Value)> {
        let body = json!({"link": link, "password": password});
        self.ask(Method::POST, "/api/v1/signup/confirm", None, Some(body))
            .await
    }

    /// How to call its gRPC, which it serves from now on.
    pub(crate) async fn serve(&self) -> anyhow::Result<Remote> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let serve = accounts::serve(self.accounts.clone(), listener, self.shutdown.clone());
        tokio::spawn(serve);
        Ok(Remote::new(&url, Role::Accounts, &Default::default())?)
    }

    /// A connection to its gRPC, which it serves from now on.
    pub(crate) async fn connect(&self) -> anyhow::Result<tonic::transport::Channel> {
        Ok(self.serve().await?.connect_lazy())
    }

    pub(crate) async fn grpc(&self) -> anyhow::Result<AccountsClient<tonic::transport::Channel>> {
        Ok(AccountsClient::new(self.connect().await?))
    }

    pub(crate) async fn ask(
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
    pub(crate) async fn trickle(&self, token: &str) -> anyhow::Result<String> {
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

    pub(crate) async fn administer(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<(StatusCode, Value)> {
        self.ask(method, path, Some(&self.token), body).await
    }
}

pub(crate) fn code(reply: &Value) -> &str {
    let whole = reply["error"]["message"]
        .as_str()
        .is_some_and(|text| !text.is_empty());
    reply["error"]["code"]
        .as_str()
        .filter(|_| whole)
        .unwrap_or("-")
}
