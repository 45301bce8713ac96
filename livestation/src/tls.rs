//! The flags that say how services speak to each other, shared by all that run some.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Context;
use boot::tls::{Files, Tls};
use proto::access::Role;

/// Mutual TLS, or plain text where it is harmless.
#[derive(clap::Args, Debug)]
#[group(skip)]
pub(crate) struct TlsFlags {
    /// Who signs our services' certificates; with it gRPC is TLS, both ends show who they are,
    /// and URLs of services begin with https://. `livestation pki init` makes all three files
    #[arg(
        long,
        env = "LIVESTATION_TLS_CA",
        value_name = "FILE",
        requires_all = ["tls_cert", "tls_key"]
    )]
    tls_ca: Option<PathBuf>,
    /// The certificate to show; renewed, it is taken without a restart
    #[arg(
        long,
        env = "LIVESTATION_TLS_CERT",
        value_name = "FILE",
        requires_all = ["tls_ca", "tls_key"]
    )]
    tls_cert: Option<PathBuf>,
    /// Its key
    #[arg(
        long,
        env = "LIVESTATION_TLS_KEY",
        value_name = "FILE",
        requires_all = ["tls_ca", "tls_cert"]
    )]
    tls_key: Option<PathBuf>,
    /// Speak gRPC in plain text beyond loopback too; whoever reaches the address is trusted
    #[arg(
        long,
        env = "LIVESTATION_GRPC_PLAINTEXT",
        conflicts_with_all = ["tls_ca", "tls_cert", "tls_key"]
    )]
    grpc_plaintext: bool,
}

/// A flag and what stands behind it.
type Given<T> = (&'static str, T);

impl TlsFlags {
    /// How a process of these roles speaks, once it is known that it may answer at those
    /// addresses and call those URLs so. Nothing is bound before.
    pub(crate) fn open(
        &self,
        roles: &[Role],
        listens: &[Given<SocketAddr>],
        calls: &[Given<&str>],
    ) -> anyhow::Result<Tls> {
        let tls = match (&self.tls_ca, &self.tls_cert, &self.tls_key) {
            (Some(ca), Some(cert), Some(key)) => {
                let files = Files {
                    ca: ca.clone(),
                    cert: cert.clone(),
                    key: key.clone(),
                };
                Tls::open(files, roles)?
            }
            _ if self.grpc_plaintext => Tls::plain_anywhere(),
            _ => Tls::plain_on_loopback(),
        };
        for (flag, address) in listens {
            tls.may_listen(*address)
                .with_context(|| format!("{flag} {address}"))?;
        }
        for (flag, url) in calls {
            tls.may_call(url).with_context(|| format!("{flag} {url}"))?;
        }
        if self.grpc_plaintext {
            tracing::warn!("--grpc-plaintext: who reaches a gRPC address is trusted");
        }
        Ok(tls)
    }
}
