//! One broadcaster's socket: drives the RTMP session from accept to close.

use std::{sync::Arc, time::Duration};

use media::rtmp::{Event, PublishRequest, Session};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep_until, timeout, timeout_at},
};

use tracing::Instrument;

use crate::{
    FLUSH_AFTER, LINGER, Shared, gate::Visitor, metrics, publication::Publication, refusal::Refusal,
};

/// The task's state.
pub(crate) struct Connection {
    socket: TcpStream,
    session: Session,
    buffer: Vec<u8>,
    shared: Arc<Shared>,
    visitor: Visitor,
}

/// Bytes taken from a broadcaster's socket at once.
const READ_LEN: usize = 16 * 1024;
/// And from a stranger's, of whom there may be many.
const STRANGER_READ_LEN: usize = 4 * 1024;
/// A peer must take our few answers within this.
const WRITE_DEADLINE: Duration = Duration::from_secs(2);

impl Connection {
    pub(crate) fn new(socket: TcpStream, shared: Arc<Shared>, visitor: Visitor) -> Self {
        Self {
            socket,
            session: Session::new(),
            buffer: vec![0; STRANGER_READ_LEN],
            shared,
            visitor,
        }
    }

    pub(crate) async fn run(mut self) {
        // Answers are small and wait for nothing.
        let _ = self.socket.set_nodelay(true);
        match self.serve().await {
            Ok(()) => self.linger().await,
            Err(refusal) => {
                tracing::debug!(reason = %refusal, "closing");
                metrics::refused(&refusal);
                self.refuse(&refusal).await;
            }
        }
    }

    async fn serve(&mut self) -> Result<(), Refusal> {
        let mut publication = self.admit().await?;
        self.buffer.resize(READ_LEN, 0);
        self.session.accept();
        let span = tracing::info_span!("publish", channel = publication.channel());
        let published = self
            .publish(&mut publication)
            .instrument(span.clone())
            .await;
        span.in_scope(|| publication.log_counts());
        match published {
            Ok(()) => publication.close().await,
            Err(refusal) => {
                span.in_scope(|| tracing::info!(reason = %refusal, "closing"));
                // What came whole is shown; the encoder waits for the broadcaster's return.
                let _ = publication.flush().await;
                Err(refusal)
            }
        }
    }

    /// From the first byte to an open session with the encoder.
    async fn admit(&mut self) -> Result<Publication, Refusal> {
        // Who has not asked by then is not owed an answer.
        let deadline = Instant::now() + self.shared.limits.publish_deadline;
        let request = timeout_at(deadline, self.publish_request())
            .await
            .map_err(|_| Refusal::Lost)??;
        if !self.shared.gate.may_try(&self.visitor) {
            return Err(Refusal::TooManyKeys);
        }
        let admitted = self.shared.admit(&mut self.visitor, request.key, "rtmp");
        admitted.await
    }

    async fn publish_request(&mut self) -> Result<PublishRequest, Refusal> {
        let shutdown = self.shared.shutdown.clone();
        loop {
            let event = self.session.poll()?;
            self.send_output().await?;
            match event {
                Some(Event::PublishRequest(request)) => return Ok(request),
                Some(_) => continue,
                None => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => return Err(Refusal::Stopping),
                read = self.socket.read(&mut self.buffer) => match read {
                    Ok(len @ 1..) => self.session.receive(&self.buffer[..len]),
                    _ => return Err(Refusal::Lost),
                },
            }
        }
    }

    /// Carries media until the broadcaster unpublishes.
    async fn publish(&mut self, publication: &mut Publication) -> Result<(), Refusal> {
        let shutdown = self.shared.shutdown.clone();
        let revoked = publication.revoked();
        let mut heard = Instant::now();
        let mut flushed = false;
        loop {
            let carried = Instant::now();
            let done = self.carry(publication).await?;
            // While we waited for an encoder the broadcaster was not idle.
            heard += carried.elapsed();
            self.send_output().await?;
            if done {
                return Ok(());
            }
            let idle_at = heard + self.shared.limits.idle;
            tokio::select! {
                () = shutdown.cancelled() => return Err(Refusal::Stopping),
                () = revoked.cancelled() => return Err(Refusal::Revoked),
                orphaned = publication.orphaned() => {
                orphaned?;
                publication.inherit().await?;
                heard = Instant::now();
            }
                () = sleep_until(heard + FLUSH_AFTER), if !flushed => {
                    publication.flush().await?;
                    flushed = true;
                }
                () = sleep_until(idle_at) => return Err(Refusal::Idle),
                read = self.socket.read(&mut self.buffer) => match read {
                    Ok(len @ 1..) => {
                        self.session.receive(&self.buffer[..len]);
                        heard = Instant::now();
                        flushed = false;
                    }
                    _ => return Err(Refusal::Lost),
                },
            }
        }
    }

    /// Gives the publication what has arrived; `true` when the broadcaster is done.
    async fn carry(&mut self, publication: &mut Publication) -> Result<bool, Refusal> {
        while let Some(event) = self.session.poll()? {
            match event {
                Event::Video(tag) => publication.video(tag).await?,
                Event::Audio(tag) => publication.audio(tag).await?,
                Event::Unpublish => return Ok(true),
                Event::PublishRequest(_) => {}
            }
        }
        Ok(false)
    }

    async fn send_output(&mut self) -> Result<(), Refusal> {
        while let Some(output) = self.session.take_output() {
            match timeout(WRITE_DEADLINE, self.socket.write_all(&output)).await {
                Ok(Ok(())) => {}
                _ => return Err(Refusal::Lost),
            }
        }
        Ok(())
    }

    /// Says why, if the peer can understand it.
    async fn refuse(mut self, refusal: &Refusal) {
        if let Some((code, description)) = refusal.status() {
            self.session.refuse(code, &description);
            self.linger().await;
        }
    }

    /// Sends what is left and waits a moment for the peer to leave first: closing with
    /// unread bytes would take the last answer back.
    async fn linger(mut self) {
        if self.send_output().await.is_err() || self.socket.shutdown().await.is_err() {
            return;
        }
        let drain = async { while let Ok(1..) = self.socket.read(&mut self.buffer).await {} };
        let _ = timeout(LINGER, drain).await;
    }
}
