//! Whatever the shape and the length, any k pieces give back what was coded.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use bytes::Bytes;
use proptest::{prelude::*, sample::Index};
use stripe::{Body, CodeError, MAX_BODY_LEN, Shape, code, decode, piece_len};

fn shapes() -> impl Strategy<Value = Shape> {
    (1..=32_u8)
        .prop_flat_map(|k| (Just(k), k..=32))
        .prop_map(|(k, n)| Shape { k, n })
}

/// Each stripe's place in a random order: the first k survive.
fn orders() -> impl Strategy<Value = (Shape, Vec<usize>)> {
    shapes().prop_flat_map(|shape| {
        let all: Vec<usize> = (0..usize::from(shape.n)).collect();
        (Just(shape), Just(all).prop_shuffle())
    })
}

fn bytes(len: usize, seed: u64) -> Bytes {
    let mut state = seed | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

fn keep(pieces: &[Bytes], kept: &[usize]) -> Vec<Option<Bytes>> {
    let mut held = vec![None; pieces.len()];
    for index in kept {
        held[*index] = Some(pieces[*index].clone());
    }
    held
}

fn rebuilds(shape: Shape, body: &Bytes, kept: &[usize]) {
    let pieces = code(shape, body).unwrap();
    assert_eq!(pieces.len(), usize::from(shape.n));
    let len = piece_len(shape, body.len());
    assert!(pieces.iter().all(|piece| piece.len() == len));
    let (rebuilt, data) = decode(shape, body.len(), &keep(&pieces, kept)).unwrap();
    assert_eq!(rebuilt, body);
    assert_eq!(data, pieces[..usize::from(shape.k)]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_k_pieces_rebuild(
        (shape, order) in orders(),
        len in 0..5000_usize,
        extra in any::<Index>(),
        seed in any::<u64>(),
    ) {
        let k = usize::from(shape.k);
        let kept = k + extra.index(order.len() - k + 1);
        rebuilds(shape, &bytes(len, seed), &order[..kept]);
    }

    #[test]
    fn fewer_than_k_do_not(
        (shape, order) in orders(),
        len in 0..3000_usize,
        fewer in any::<Index>(),
    ) {
        let need = usize::from(shape.k);
        let have = fewer.index(need);
        let pieces = code(shape, &bytes(len, 5)).unwrap();
        let held = keep(&pieces, &order[..have]);
        prop_assert_eq!(decode(shape, len, &held), Err(CodeError::TooFew { have, need }));
    }

    #[test]
    fn nonsense_is_refused_without_a_panic(
        shape in shapes(),
        body_len in 0..=2 * MAX_BODY_LEN,
        lens in prop::collection::vec(prop::option::of(0..300_usize), 0..40),
    ) {
        let pieces: Vec<Option<Bytes>> =
            lens.iter().map(|len| len.map(|len| bytes(len, 3))).collect();
        if let Ok((body, _)) = decode(shape, body_len, &pieces) {
            prop_assert_eq!(body.len(), body_len);
            let len = piece_len(shape, body_len);
            prop_assert!(pieces.iter().flatten().all(|piece| piece.len() == len));
        }
    }

    #[test]
    fn a_body_comes_back(
        init in prop::option::of(prop::collection::vec(any::<u8>(), 1..600)),
        media in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let body = Body { init: init.map(Bytes::from), media: media.into() };
        prop_assert_eq!(Body::from_bytes(&body.to_bytes()), Ok(body));
    }

    #[test]
    fn any_bytes_as_a_body_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let bytes = Bytes::from(bytes);
        if let Ok(body) = Body::from_bytes(&bytes) {
            let init = body.init.map_or(0, |init| init.len());
            prop_assert!(bytes.is_empty() || init + body.media.len() + 4 == bytes.len());
        }
    }
}

#[test]
fn the_ends_of_the_range_rebuild() {
    let shapes = [(1, 1), (1, 32), (16, 20), (16, 24), (31, 32), (32, 32)];
    for (k, n) in shapes {
        let shape = Shape::new(k, n).unwrap();
        for len in [0, 1, 2, 31, 32, 33, MAX_BODY_LEN - 1, MAX_BODY_LEN] {
            // As many parity pieces as there are, and data for the rest.
            let kept: Vec<usize> = (0..usize::from(n)).rev().take(usize::from(k)).collect();
            rebuilds(shape, &bytes(len, 9), &kept);
        }
    }
}

#[test]
fn one_byte_too_much_is_refused() {
    let body = bytes(MAX_BODY_LEN + 1, 1);
    assert_eq!(
        code(Shape::DEFAULT, &body),
        Err(CodeError::TooLong(MAX_BODY_LEN + 1))
    );
}
