//! What strangers cost the listener.

use std::net::Ipv4Addr;

use boot::registry::Services;
use proptest::{collection::vec, prelude::*};
use proto::access::Role;

use super::{passphrase::key_size, *};
use crate::{Limits, encoders::Encoders, gate::Gate};

async fn listener() -> Listener {
    let (nowhere, tls) = ("http://127.0.0.1:1", Default::default());
    let encoders = Services::named(&[nowhere.to_owned()], Role::Encoder, &tls).unwrap();
    let limits = Limits::default();
    let shutdown = tokio_util::sync::CancellationToken::new();
    let shared = Shared {
        limits,
        gate: Gate::new(limits),
        keys: Default::default(),
        accounts: boot::grpc::connect_lazy(nowhere, Role::Accounts, &tls).unwrap(),
        encoders: Encoders::new(encoders, shutdown.clone()),
        shutdown,
    };
    Listener {
        socket: Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap()),
        shared: Arc::new(shared),
        options: Arc::default(),
        cookies: Cookies::new(),
        peers: HashMap::new(),
        tasks: JoinSet::new(),
    }
}

fn handshake(kind: u32, cookie: u32, extensions: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80];
    bytes.resize(64, 0);
    bytes[19] = 5;
    bytes[36..40].copy_from_slice(&kind.to_be_bytes());
    bytes[44..48].copy_from_slice(&cookie.to_be_bytes());
    bytes.extend(extensions);
    bytes
}

const HS: &[u8] = &[0, 1, 0, 3, 0, 1, 5, 0, 0, 0, 0, 0xbf, 0, 20, 1, 0x2c];

#[tokio::test]
async fn of_ten_thousand_forged_addresses_nothing_is_kept() {
    let mut listener = listener().await;
    for number in 0..10_000_u32 {
        // Of the network that is for documentation, so that answers go nowhere.
        let from = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 1024 + number as u16));
        listener.on_datagram(&handshake(1, 0, &[]), from);
        listener.on_datagram(&handshake(u32::MAX, number, HS), from);
        listener.on_datagram(&[0x12; 1332], from);
        listener.on_datagram(&[0x80; 16], from);
    }
    assert!(listener.peers.is_empty() && listener.tasks.is_empty());
}

#[tokio::test]
async fn an_address_that_is_its_own_has_so_many_tasks_and_no_more() {
    let mut listener = listener().await;
    for port in 1024..1124 {
        let from = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let cookie = listener.cookies.make(from, Instant::now());
        for _ in 0..3 {
            listener.on_datagram(&handshake(u32::MAX, cookie, HS), from);
            listener.on_datagram(&[0x12; 1332], from);
        }
    }
    assert_eq!(
        listener.peers.len(),
        Limits::default().strangers_per_address
    );
    let waiting = |peer: &Peer| INBOX - peer.inbox.capacity();
    assert!(listener.peers.values().all(|peer| waiting(peer) == 1));
}

#[test]
fn a_request_is_read_with_its_text_turned_around() {
    let stream_id = [0, 5, 0, 2, b'l', b'b', b'u', b'p', 0, 0, b':', b'h'];
    let bytes = handshake(u32::MAX, 9, &[HS, &stream_id].concat());
    let read = Handshake::read(&bytes).unwrap();
    assert_eq!((read.step(), read.cookie()), (Some(Step::Conclusion), 9));
    let request = read.request().unwrap();
    assert_eq!(request.stream_id.as_deref(), Some("publh:"));
    assert_eq!(request.latency, Duration::from_millis(300));
    assert!(!request.streams && request.key_material.is_none());
    let cut = Handshake::read(&bytes[..bytes.len() - 1]).unwrap();
    assert!(cut.request().is_none());
}

proptest! {
    #[test]
    fn no_bytes_make_the_handshake_panic_and_no_answer_is_longer(
        bytes in vec(any::<u8>(), 0..400),
        words in vec((0..9_u16, 0..20_u16), 0..6),
    ) {
        let mut datagram = handshake(u32::MAX, 1, &[]);
        for (kind, len) in words {
            datagram.extend(kind.to_be_bytes());
            datagram.extend(len.to_be_bytes());
            datagram.extend(bytes.iter().cycle().take(usize::from(len) * 4));
        }
        datagram.extend(&bytes);
        let read = Handshake::read(&datagram).unwrap();
        if let Some(request) = read.request() {
            let key_material = request.key_material.as_deref();
            let passphrase = Passphrase::new("ten letters".to_owned()).unwrap();
            let _ = passphrase::cipher(Some(&passphrase), key_material);
            let terms = handshake::Terms {
                socket_id: 1,
                latency: Duration::from_secs(1),
                window: 1,
                key_material,
            };
            prop_assert!(read.acceptance(&terms).len() <= datagram.len());
        }
        prop_assert!(read.rejection(1).len() <= datagram.len());
        if let Some(read) = Handshake::read(&bytes) {
            let _ = (read.step(), read.request(), read.induction_reply(7));
        }
        let _ = screen::kind(&bytes);
    }

    #[test]
    fn no_key_material_makes_the_cipher_panic(
        flags in 0..4_u8,
        len in prop_oneof![Just(4_u8), Just(6), Just(8), any::<u8>()],
        bytes in vec(any::<u8>(), 120),
    ) {
        let mut material = vec![0x12, 0x20, 0x29, flags, 0, 0, 0, 0, 2, 0, 2, 0, 0, 0, 4, len];
        let keys = flags.count_ones() as usize * usize::from(len) * 4;
        material.extend(bytes.iter().cycle().take(16 + 8 + keys));
        let passphrase = Passphrase::new("ten letters".to_owned()).unwrap();
        prop_assert!(passphrase::cipher(Some(&passphrase), Some(&material)).is_err());
        prop_assert_eq!(key_size(&material).is_some(), flags > 0 && [4, 6, 8].contains(&len));
    }
}
