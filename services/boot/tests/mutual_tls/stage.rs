//! Certificates, a service to call, callers of every kind, and what stands in the log.

use std::{
    io,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result};
use boot::{
    pki::{Authority, Holder},
    tls::{Files, Tls},
};
use proto::{
    access::Role,
    accounts::{
        AuthorizeReply, AuthorizeRequest, CertifyEpochReply, CertifyEpochRequest, RevokedReply,
        RevokedRequest, TicketKeyReply, TicketKeyRequest,
        accounts_client::AccountsClient,
        accounts_server::{Accounts, AccountsServer},
    },
};
use rcgen::{CertificateParams, Issuer, KeyPair};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status,
    service::Routes,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

/// Nobody waits longer to be served or refused.
pub(crate) const QUICK: Duration = Duration::from_secs(2);

/// A CA and the certificates it made.
pub(crate) struct Pki {
    pub(crate) authority: Authority,
    folder: tempfile::TempDir,
}

impl Pki {
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let authority = Authority::open(folder.path())?;
        for holder in Holder::all() {
            authority.issue(holder, &[])?;
        }
        Ok(Self { authority, folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn files(&self, holder: Holder) -> Files {
        Files {
            ca: self.authority.ca(),
            cert: self.authority.certificate(holder),
            key: self.authority.key(holder),
        }
    }

    pub(crate) fn tls(&self, role: Role) -> Result<Tls> {
        let files = self.files(Holder::Service(role));
        Ok(Tls::open(files, &[role])?)
    }

    pub(crate) fn ca_pem(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.authority.ca())?)
    }

    /// A certificate of this CA for whatever it is asked, as another tool might make it.
    pub(crate) fn sign(&self, params: &CertificateParams) -> Result<(String, String)> {
        let key = std::fs::read_to_string(self.folder().join("ca.key"))?;
        let issuer = Issuer::from_ca_cert_pem(&self.ca_pem()?, KeyPair::from_pem(&key)?)?;
        let key = KeyPair::generate()?;
        let signed = params.signed_by(&key, &issuer)?;
        Ok((signed.pem(), key.serialize_pem()))
    }
}

/// accounts, as far as it says with what tickets are checked.
struct AccountsDouble;

#[tonic::async_trait]
impl Accounts for AccountsDouble {
    async fn authorize(
        &self,
        _: Request<AuthorizeRequest>,
    ) -> Result<Response<AuthorizeReply>, Status> {
        Err(Status::unauthenticated("no such key"))
    }

    async fn revoked(&self, _: Request<RevokedRequest>) -> Result<Response<RevokedReply>, Status> {
        Err(Status::unimplemented("nobody asks here"))
    }

    async fn certify_epoch(
        &self,
        _: Request<CertifyEpochRequest>,
    ) -> Result<Response<CertifyEpochReply>, Status> {
        Err(Status::not_found("no such channel"))
    }

    async fn ticket_key(
        &self,
        _: Request<TicketKeyRequest>,
    ) -> Result<Response<TicketKeyReply>, Status> {
        Ok(Response::new(TicketKeyReply {
            public_key: vec![7; 32].into(),
        }))
    }
}

/// A service that runs until the test ends.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shutdown: CancellationToken,
}

impl Server {
    pub(crate) async fn start(tls: &Tls) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shutdown = CancellationToken::new();
        let (tls, stop) = (tls.clone(), shutdown.clone());
        let routes = Routes::new(AccountsServer::new(AccountsDouble));
        tokio::spawn(async move { boot::grpc::serve(routes, listener, &tls, stop).await });
        Ok(Self { address, shutdown })
    }

    pub(crate) fn url(&self, tls: &Tls) -> String {
        format!("{}://{}", tls.scheme(), self.address)
    }

    /// Somebody who calls it by our own means, to find accounts there.
    pub(crate) fn caller(&self, tls: &Tls) -> Result<Channel> {
        Ok(boot::grpc::connect_lazy(
            &self.url(tls),
            Role::Accounts,
            tls,
        )?)
    }

    /// Somebody who calls it by tonic's TLS, with the certificate and key given, or none.
    pub(crate) fn stranger(&self, ca: &str, shown: Option<(String, String)>) -> Result<Channel> {
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(ca))
            .domain_name(Role::Accounts.dns_name());
        if let Some((certificate, key)) = shown {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        let endpoint = Endpoint::from_shared(format!("https://{}", self.address))?;
        Ok(endpoint.tls_config(tls)?.connect_lazy())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Asks for the key of tickets; an answer or a refusal must come quickly.
pub(crate) async fn ask(channel: &Channel) -> Result<Result<(), Status>> {
    let mut client = AccountsClient::new(channel.clone());
    let asked = timeout(QUICK, client.ticket_key(TicketKeyRequest {})).await;
    Ok(asked.context("no answer in time")?.map(|_| ()))
}

/// What is logged on this thread while it lives. Tests of one thread log all there.
pub(crate) struct Log {
    written: Written,
    _scope: DefaultGuard,
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn start() -> Self {
        let written = Written::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(written.clone())
            .with_ansi(false)
            .with_env_filter("boot=info")
            .finish();
        Self {
            written,
            _scope: tracing::subscriber::set_default(subscriber),
        }
    }

    /// Lines with all of these words. Nobody's address and no key is in any line.
    pub(crate) fn lines(&self, words: &[&str]) -> usize {
        let written = self.written.0.lock().expect("no panic");
        let text = String::from_utf8_lossy(&written);
        for secret in ["127.0.0.1", "BEGIN", "PRIVATE"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        let has_all = |line: &&str| words.iter().all(|word| line.contains(word));
        text.lines().filter(has_all).count()
    }

    /// Waits for such a line.
    pub(crate) async fn wait(&self, words: &[&str], deadline: Duration) -> Result<()> {
        let comes = async {
            while self.lines(words) == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = timeout(deadline, comes).await;
        waited.with_context(|| format!("nothing of {words:?} is logged"))
    }
}

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Written {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
