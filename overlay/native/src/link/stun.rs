//! Telling by STUN (RFC 8489) where datagrams come from: browsers ask, and whoever else wants
//! to know under which address it is seen. The checks of links are ICE's, not these.
//!
//! The one rule: the sender of a question may be forged, so that answers are short and few.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use stun_types::{
    attribute::{Username, XorMappedAddress},
    message::{
        BINDING, Message, MessageClass, MessageWrite as _, MessageWriteExt as _, MessageWriteVec,
    },
    prelude::AttributeStaticType as _,
};

/// Whether a datagram is STUN, which begins with 0 or 1 (RFC 7983).
pub(super) fn is_stun(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| *first < 2)
}

/// Answers in a second.
pub(super) const MAX_ANSWERS: u32 = 200;
/// Longer than this no question is.
const MAX_QUESTION: usize = 128;

/// Answers questions.
#[derive(Default)]
pub(super) struct Answers {
    since: Option<Instant>,
    given: u32,
}

impl Answers {
    /// The answer to a datagram, if it is a question and not one too many.
    pub(super) fn to(&mut self, now: Instant, source: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
        if !is_stun(bytes) || bytes.len() > MAX_QUESTION || !self.may_answer(now) {
            return None;
        }
        let asked = Message::from_bytes(bytes).ok()?;
        let question = asked.has_method(BINDING)
            && asked.has_class(MessageClass::Request)
            && !asked.has_attribute(Username::TYPE);
        if !question {
            return None;
        }
        self.given += 1;
        let seen = SocketAddr::new(source.ip().to_canonical(), source.port());
        let mut answer = Message::builder_success(&asked, MessageWriteVec::new());
        let address = XorMappedAddress::new(seen, asked.transaction_id());
        answer.add_attribute(&address).ok()?;
        Some(answer.finish())
    }

    fn may_answer(&mut self, now: Instant) -> bool {
        let fresh = |since| now < since + Duration::from_secs(1);
        if !self.since.is_some_and(fresh) {
            self.since = Some(now);
            self.given = 0;
        }
        self.given < MAX_ANSWERS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Vec<u8> {
        Message::builder_request(BINDING, MessageWriteVec::new()).finish()
    }

    #[test]
    fn who_asks_is_told_where_it_is_seen() {
        let now = Instant::now();
        for seen in ["203.0.114.7:4000", "[2a00::7]:4000"] {
            let seen: SocketAddr = seen.parse().unwrap();
            let question = question();
            let answer = Answers::default().to(now, seen, &question).unwrap();
            let answer_to = Message::from_bytes(&answer).unwrap();
            let asked = Message::from_bytes(&question).unwrap();
            assert_eq!(answer_to.transaction_id(), asked.transaction_id());
            let address = answer_to.attribute::<XorMappedAddress>().unwrap();
            assert_eq!(address.addr(asked.transaction_id()), seen);
            assert!(answer.len() <= 44, "{}", answer.len());
        }
    }

    #[test]
    fn answers_are_few() {
        let mut answers = Answers::default();
        let now = Instant::now();
        let source = SocketAddr::from(([203, 0, 114, 7], 4000));
        let mut told = |at| answers.to(at, source, &question()).is_some();
        assert_eq!((0..300).filter(|_| told(now)).count(), MAX_ANSWERS as usize);
        assert!(told(now + Duration::from_secs(1)));
    }

    #[test]
    fn nothing_else_is_answered() {
        let mut answers = Answers::default();
        let source = SocketAddr::from(([203, 0, 114, 7], 4000));
        let mut told = |bytes: &[u8]| answers.to(Instant::now(), source, bytes).is_some();
        let question = question();
        for end in 0..question.len() {
            assert!(!told(&question[..end]));
        }
        let mut long = question.clone();
        long.resize(MAX_QUESTION + 1, 0);
        assert!(!told(&long));
        let mut check = Message::builder_request(BINDING, MessageWriteVec::new());
        check
            .add_attribute(&Username::new("ours:theirs").unwrap())
            .unwrap();
        assert!(!told(&check.finish()), "a check of a link that is no more");
        assert!(!told(&[0x16; 60]), "not STUN");
    }
}
