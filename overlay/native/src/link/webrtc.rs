//! One link over WebRTC: an ICE agent, a DTLS session and an SCTP association (str0m) with
//! two data channels that both ends number beforehand. [`super::Links`] owns many of these
//! and gives them datagrams and time.
//!
//! The one rule: after anything that changes it, [`Webrtc::poll`] until it says `Wait`.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use str0m::{
    Candidate, IceCreds, Input, Output, Rtc, RtcConfig, RtcError,
    change::DirectApi,
    channel::{ChannelConfig, ChannelId, Reliability, SctpInitData},
    config::{DtlsCert, Fingerprint},
    ice::StunMessage,
    net::{Protocol, Receive},
};

use super::{Channel, Role, blob::Blob, stun::is_stun};

/// What a link holds unsent and unacknowledged; how much of it is used is the core's choice.
pub(super) const MAX_BUFFERED: usize = 384 * 1024;
/// Longest message: a piece of 60 KiB and its header.
pub const MAX_MESSAGE_LEN: usize = 64 * 1024 - 1;
/// A piece is of no use after this; SCTP gives up on it.
const PIECE_LIFETIME_MS: u16 = 1000;
/// Checks on a working pair, and so the silence that liveness can tell from death.
const STUN_INTERVAL: Duration = Duration::from_millis(1000);
/// The first retransmission of an ICE check: most round trips are shorter.
const STUN_FIRST_RTO: Duration = Duration::from_millis(200);

/// What makes up every link of a program.
pub(super) struct Identity {
    cert: DtlsCert,
}

impl Identity {
    /// Makes the program's DTLS certificate; its links share it.
    pub(super) fn generate() -> Option<Self> {
        let cert = str0m::crypto::from_feature_flags()
            .dtls_provider
            .generate_certificate()?;
        Some(Self { cert })
    }

    fn config(&self) -> RtcConfig {
        let mut config = RtcConfig::new()
            .clear_codecs()
            .set_dtls_cert(self.cert.clone())
            .set_stats_interval(None)
            .set_sctp_max_buffered_amount(MAX_BUFFERED)
            .set_sctp_max_message_size(MAX_MESSAGE_LEN as u32 + 1);
        config.set_initial_stun_rto(STUN_FIRST_RTO);
        config.set_max_stun_rto(STUN_INTERVAL);
        config
    }
}

/// What [`Webrtc::poll`] found.
pub(super) enum Step {
    Transmit {
        /// Which of our addresses it leaves by.
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    /// Both channels are open and the other end is who the blob said.
    Up,
    Received(Channel, Bytes),
    Closed,
    /// Nothing until this time, or input.
    Wait(Instant),
}

/// What a datagram said.
#[derive(Clone, Copy, Default)]
pub(super) struct Heard {
    /// It proves that the other end lives: an ICE check under the link's password, or an
    /// acknowledgement of what was sent.
    pub(super) lives: bool,
    /// Where our datagrams come from, as the other end sees it.
    pub(super) sees_us_at: Option<SocketAddr>,
}

/// One link.
pub(super) struct Webrtc {
    rtc: Rtc,
    role: Role,
    control: Option<ChannelId>,
    pieces: Option<ChannelId>,
    sctp_init: SctpInitData,
    /// Empty until the other end has described itself.
    remote_password: String,
    /// DTLS has verified the other end.
    connected: bool,
    open: u8,
    up_told: bool,
}

impl Webrtc {
    /// A link that knows itself and not yet its other end.
    pub(super) fn new(identity: &Identity, role: Role, local: &[SocketAddr], now: Instant) -> Self {
        let mut rtc = identity.config().build(now);
        for address in local {
            if let Ok(candidate) = Candidate::host(*address, "udp") {
                rtc.add_local_candidate(candidate);
            }
        }
        Self {
            rtc,
            role,
            control: None,
            pieces: None,
            sctp_init: SctpInitData::new(),
            remote_password: String::new(),
            connected: false,
            open: 0,
            up_told: false,
        }
    }

    /// What to signal to the other end.
    pub(super) fn describe(
        &mut self,
        attempt: u64,
        answers: Option<u64>,
        local: &[SocketAddr],
    ) -> Blob {
        let sctp_init = self.sctp_init.local_init_chunk().unwrap_or_default();
        let api = self.rtc.direct_api();
        let IceCreds { ufrag, pass } = api.local_ice_credentials();
        let mut fingerprint = [0; 32];
        let digest = &api.local_dtls_fingerprint().bytes;
        let len = digest.len().min(fingerprint.len());
        fingerprint[..len].copy_from_slice(&digest[..len]);
        Blob {
            attempt,
            answers,
            ufrag,
            password: pass,
            fingerprint,
            candidates: local.to_vec(),
            sctp_init,
            refused: false,
            more: false,
            turn: false,
        }
    }

    /// Takes the other end's description and begins.
    ///
    /// # Errors
    /// What str0m says of it; the link is then of no use.
    pub(super) fn accept(&mut self, blob: &Blob) -> Result<(), RtcError> {
        self.remote_password.clone_from(&blob.password);
        let active = self.role == Role::Active;
        let sctp_init = self.sctp_init_with(&blob.sctp_init);
        let mut api = self.rtc.direct_api();
        api.set_remote_ice_credentials(IceCreds {
            ufrag: blob.ufrag.clone(),
            pass: blob.password.clone(),
        });
        api.set_remote_fingerprint(Fingerprint {
            hash_func: "sha-256".into(),
            bytes: blob.fingerprint.to_vec(),
        });
        api.set_ice_controlling(active);
        api.start_dtls(active)?;
        self.control = Some(open(&mut api, Channel::Control));
        self.pieces = Some(open(&mut api, Channel::Pieces));
        match sctp_init {
            Some(init) => api.start_sctp_with_snap(active, init)?,
            None => api.start_sctp(active),
        }
        Ok(())
    }

    /// Where the other end may be reached; `turn` when that is a TURN server's address, which
    /// is used only when nothing else leads there. Other kinds make a difference to the order
    /// of checks only.
    pub(super) fn add_remote(&mut self, address: SocketAddr, turn: bool) {
        let candidate = match turn {
            true => Candidate::relayed(address, address, "udp"),
            false => Candidate::host(address, "udp"),
        };
        if let Ok(candidate) = candidate {
            self.rtc.add_remote_candidate(candidate);
        }
    }

    /// A TURN server's address stands for our own, `local`.
    pub(super) fn add_turn(&mut self, address: SocketAddr, local: SocketAddr) {
        if let Ok(candidate) = Candidate::relayed(address, local, "udp") {
            self.rtc.add_local_candidate(candidate);
        }
    }

    /// The ufrag that the other end's checks will name.
    pub(super) fn ufrag(&mut self) -> String {
        self.rtc.direct_api().local_ice_credentials().ufrag
    }

    /// Whether the datagram is for this link.
    pub(super) fn accepts(&self, now: Instant, receive: Receive<'_>) -> bool {
        self.rtc.accepts(&Input::Receive(now, receive))
    }

    /// Takes a datagram in. What makes no sense is dropped. Messages prove that the other
    /// end lives as well, when [`Self::poll`] gives them.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        source: SocketAddr,
        local: SocketAddr,
        bytes: &[u8],
    ) -> Heard {
        let Ok(receive) = Receive::new(Protocol::Udp, source, local, bytes) else {
            return Heard::default();
        };
        let before = self.buffered();
        let taken = self.rtc.handle_input(Input::Receive(now, receive)).is_ok();
        if !taken {
            return Heard::default();
        }
        let check = self.signed_check(bytes);
        Heard {
            lives: check.is_some() || self.buffered() < before,
            sees_us_at: check
                .filter(StunMessage::is_successful_binding_response)
                .and_then(|answer| answer.mapped_address()),
        }
    }

    /// str0m drops a forged check as silently as it takes a true one.
    fn signed_check<'b>(&mut self, bytes: &'b [u8]) -> Option<StunMessage<'b>> {
        let message = StunMessage::parse(bytes).ok().filter(|_| is_stun(bytes))?;
        // A request is signed with the password of who is asked, and so is the answer to it.
        let password = match message.split_username() {
            Some(_) => self.rtc.direct_api().local_ice_credentials().pass,
            None => self.remote_password.clone(),
        };
        let crypto = str0m::crypto::from_feature_flags();
        let hmac = |key: &[u8], parts: &[&[u8]]| crypto.sha1_hmac_provider.sha1_hmac(key, parts);
        let signed = !password.is_empty() && message.verify(password.as_bytes(), hmac);
        signed.then_some(message)
    }

    /// # Errors
    /// The link is of no use any more.
    pub(super) fn timeout(&mut self, now: Instant) -> Result<(), RtcError> {
        self.rtc.handle_input(Input::Timeout(now))
    }

    /// Writes one message. False if the link's buffer has no room for it.
    pub(super) fn write(&mut self, channel: Channel, bytes: &[u8]) -> Result<bool, RtcError> {
        match self.channel(channel).and_then(|id| self.rtc.channel(id)) {
            Some(mut open) => open.write(true, bytes),
            None => Ok(false),
        }
    }

    /// Bytes written and not yet acknowledged.
    pub(super) fn buffered(&mut self) -> usize {
        let mut total = 0;
        for id in [self.control, self.pieces].into_iter().flatten() {
            total += self.rtc.channel(id).map_or(0, |mut c| c.buffered_amount());
        }
        total
    }

    /// Says goodbye; [`Self::poll`] once more for the datagrams of it.
    pub(super) fn close(&mut self) {
        if self.rtc.close().is_err() {
            self.rtc.disconnect();
        }
    }

    /// What there is to do.
    ///
    /// # Errors
    /// The link is of no use any more.
    pub(super) fn poll(&mut self) -> Result<Step, RtcError> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(at) if self.rtc.is_alive() => return Ok(Step::Wait(at)),
                Output::Timeout(_) => return Ok(Step::Closed),
                Output::Transmit(out) => {
                    return Ok(Step::Transmit {
                        from: out.source,
                        to: out.destination,
                        bytes: out.contents.into(),
                    });
                }
                Output::Event(event) => {
                    if let Some(step) = self.on_event(event) {
                        return Ok(step);
                    }
                }
            }
        }
    }

    fn on_event(&mut self, event: str0m::Event) -> Option<Step> {
        match event {
            str0m::Event::Connected => self.connected = true,
            str0m::Event::ChannelOpen(id, _) => self.open |= self.bit(id),
            str0m::Event::ChannelData(message) => {
                let channel = if Some(message.id) == self.control {
                    Channel::Control
                } else if Some(message.id) == self.pieces {
                    Channel::Pieces
                } else {
                    return None;
                };
                return Some(Step::Received(channel, message.data.into()));
            }
            str0m::Event::ChannelClose(_) | str0m::Event::Closed => return Some(Step::Closed),
            _ => {}
        }
        if self.connected && self.open == 0b11 && !self.up_told {
            self.up_told = true;
            return Some(Step::Up);
        }
        None
    }

    fn bit(&self, id: ChannelId) -> u8 {
        u8::from(Some(id) == self.control) | u8::from(Some(id) == self.pieces) << 1
    }

    fn channel(&self, channel: Channel) -> Option<ChannelId> {
        match channel {
            Channel::Control => self.control,
            Channel::Pieces => self.pieces,
        }
    }

    /// Both ends' INIT chunks, if the other end sent one: saves the association's two
    /// round trips (draft-hancke-tsvwg-snap).
    fn sctp_init_with(&mut self, remote: &[u8]) -> Option<SctpInitData> {
        if remote.is_empty() {
            return None;
        }
        let mut init = self.sctp_init.clone();
        init.set_remote_init_chunk(remote.to_vec());
        Some(init)
    }
}

fn open(api: &mut DirectApi<'_>, channel: Channel) -> ChannelId {
    let control = channel == Channel::Control;
    api.create_data_channel(ChannelConfig {
        label: if control { "control" } else { "pieces" }.into(),
        ordered: control,
        reliability: if control {
            Reliability::Reliable
        } else {
            Reliability::MaxPacketLifetime {
                lifetime: PIECE_LIFETIME_MS,
            }
        },
        negotiated: Some(channel as u16),
        protocol: String::new(),
    })
}
