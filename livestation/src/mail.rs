//! The flags that say how the station's mail leaves, and how often strangers may try.

use std::path::{Path, PathBuf};

use accounts::Mail;
use anyhow::Context;

/// Without --smtp-url there is no mail server.
#[derive(clap::Args, Debug)]
#[group(skip)]
pub(crate) struct Args {
    /// The mail server: smtps://user:password@host, or smtp://host:587?tls=required
    #[arg(
        long,
        env = "LIVESTATION_SMTP_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    smtp_url: Option<String>,
    /// Whom mail is from
    #[arg(
        long,
        env = "LIVESTATION_MAIL_FROM",
        value_name = "ADDRESS",
        default_value = "Livestation <livestation@localhost>"
    )]
    mail_from: String,
    /// How often one address may sign up, log in or ask for mail within ten minutes; a proxy in
    /// front is one address unless --trusted-proxy names it
    #[arg(
        long,
        env = "LIVESTATION_ATTEMPTS_PER_ADDRESS",
        value_name = "N",
        default_value_t = 60
    )]
    pub(crate) attempts_per_address: u32,
}

impl Args {
    /// By the mail server; else into the folder; else not at all.
    pub(crate) fn open(&self, folder: Option<&Path>) -> anyhow::Result<Option<Mail>> {
        if let Some(url) = &self.smtp_url {
            return Ok(Some(
                Mail::smtp(url, &self.mail_from).context("--smtp-url")?,
            ));
        }
        let Some(folder) = folder else {
            return Ok(None);
        };
        let mail = Mail::folder(folder, &self.mail_from);
        let shown: PathBuf = folder.to_owned();
        tracing::info!(folder = %shown.display(), "there is no mail server (--smtp-url): mail goes into a folder");
        Ok(Some(mail.context("--mail-from")?))
    }
}
