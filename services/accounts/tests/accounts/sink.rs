//! A mail server that keeps what it is given, or does not take it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

const SOON: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    letters: Arc<Mutex<Vec<Letter>>>,
    away: Arc<AtomicBool>,
}

#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(crate) to: String,
    pub(crate) text: String,
}

impl Letter {
    /// What its link says.
    pub(crate) fn link(&self) -> Option<String> {
        let text = self.text.replace("=\n", "").replace("=3D", "=");
        let (_, link) = text.split_once("link=")?;
        Some(link.split_whitespace().next()?.to_owned())
    }
}

impl Sink {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let sink = Self {
            address: listener.local_addr()?,
            letters: Arc::default(),
            away: Arc::default(),
        };
        let served = sink.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(served.clone().serve(socket));
            }
        });
        Ok(sink)
    }

    pub(crate) fn away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    pub(crate) fn letters(&self) -> Vec<Letter> {
        let letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        letters.clone()
    }

    pub(crate) fn letters_to(&self, mailbox: &str) -> Vec<Letter> {
        let mut letters = self.letters();
        letters.retain(|letter| letter.to.eq_ignore_ascii_case(mailbox));
        letters
    }

    /// The letter to this mailbox after so many others.
    pub(crate) async fn letter(&self, mailbox: &str, after: usize) -> Result<Letter> {
        let waiting = async {
            loop {
                if let Some(letter) = self.letters_to(mailbox).get(after) {
                    return letter.clone();
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(SOON, waiting).await.context("no letter came")
    }

    async fn serve(self, socket: TcpStream) -> Result<()> {
        let (reads, mut writes) = socket.into_split();
        let mut lines = BufReader::new(reads).lines();
        writes.write_all(b"220 sink\r\n").await?;
        let mut to = String::new();
        while let Some(line) = lines.next_line().await? {
            if self.away.load(Ordering::SeqCst) {
                writes.write_all(b"451 not now\r\n").await?;
                return Ok(());
            }
            let verb = line.to_ascii_uppercase();
            if let Some(mailbox) = verb.strip_prefix("RCPT TO:") {
                to = mailbox.trim_matches(['<', '>', ' ']).to_owned();
            }
            if verb == "DATA" {
                writes.write_all(b"354 go on\r\n").await?;
                let mut text = String::new();
                while let Some(line) = lines.next_line().await? {
                    if line == "." {
                        break;
                    }
                    text += &line;
                    text.push('\n');
                }
                let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
                letters.push(Letter {
                    to: to.clone(),
                    text,
                });
            }
            let end = verb.starts_with("QUIT");
            writes
                .write_all(if end { b"221 bye\r\n" } else { b"250 ok\r\n" })
                .await?;
            if end {
                return Ok(());
            }
        }
        Ok(())
    }
}
