//! A broadcaster's connection, fed with anything. The first byte says how: whether after a
//! handshake, in parts of which length, and what a request to publish is answered.

#![no_main]

use libfuzzer_sys::fuzz_target;
use media::rtmp::{Event, Session};

/// What one connection may make us hold before it has shown a key.
const STRANGERS_BUDGET: usize = 256 * 1024;

fuzz_target!(|input: &[u8]| {
    let Some((mode, bytes)) = input.split_first() else {
        return;
    };
    let mut session = Session::new();
    let mut accepted = false;
    if mode & 1 == 0 {
        let mut handshake = vec![0; 1 + 2 * 1536];
        handshake[0] = 3;
        session.receive(&handshake);
        assert_eq!(session.poll(), Ok(None));
    }
    for part in bytes.chunks(1 + usize::from(mode >> 2) * 30) {
        session.receive(part);
        loop {
            match session.poll() {
                Ok(Some(Event::PublishRequest(_))) if mode & 2 == 0 => {
                    accepted = true;
                    session.accept();
                }
                Ok(Some(Event::PublishRequest(_))) => session.refuse("no", "not today"),
                Ok(Some(event)) => assert!(accepted, "before it was accepted: {event:?}"),
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(accepted || session.held_len() <= STRANGERS_BUDGET);
        session.take_output();
    }
});
