//! Who can reach whom: what stands between viewers and the network.

use overlay_core::Random;

/// Shares of viewers: with an address of their own, and behind a NAT whose mapping does not
/// depend on the other end (RFC 4787, 4.1). The rest are behind one whose mapping does.
const PUBLIC: f64 = 0.15;
const INDEPENDENT: f64 = 0.60;
/// How often two can be connected, by what the worse and the better of them are behind.
const WITH_PUBLIC: f64 = 0.99;
const INDEPENDENT_PAIR: f64 = 0.92;
const SYMMETRIC_WITH_INDEPENDENT: f64 = 0.50;

/// What everyone is behind; the server has an address of its own.
pub(crate) struct Nat {
    /// None: everybody reaches everybody.
    seed: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Public,
    Independent,
    Symmetric,
}

impl Nat {
    pub(crate) fn new(there_are: bool, seed: u64) -> Self {
        Self {
            seed: there_are.then_some(seed),
        }
    }

    /// Whether a connection between two can be made; the answer is always the same.
    pub(crate) fn reaches(&self, a: u32, b: u32) -> bool {
        let Some(seed) = self.seed else {
            return true;
        };
        let (low, high) = (a.min(b), a.max(b));
        let pair = (u64::from(low) << 32 | u64::from(high)) + 1;
        let chance = match (class(seed, low), class(seed, high)) {
            (Class::Public, _) | (_, Class::Public) => WITH_PUBLIC,
            (Class::Independent, Class::Independent) => INDEPENDENT_PAIR,
            (Class::Symmetric, Class::Symmetric) => 0.0,
            _ => SYMMETRIC_WITH_INDEPENDENT,
        };
        draw(seed, pair) < chance
    }
}

fn class(seed: u64, peer: u32) -> Class {
    match draw(!seed, u64::from(peer)) {
        _ if peer == 0 => Class::Public,
        drawn if drawn < PUBLIC => Class::Public,
        drawn if drawn < PUBLIC + INDEPENDENT => Class::Independent,
        _ => Class::Symmetric,
    }
}

fn draw(seed: u64, of: u64) -> f64 {
    let mut random = Random::new(seed ^ of.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    random.next();
    random.unit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_reach_each_other_as_often_as_is_said() {
        let nat = Nat::new(true, 7);
        let of = |wanted: Class| -> Vec<u32> {
            (1..2000).filter(|peer| class(7, *peer) == wanted).collect()
        };
        let share = |ours: Class, theirs: Class| {
            let (a, b) = (of(ours), of(theirs));
            let pairs = a.iter().flat_map(|a| b.iter().map(move |b| (*a, *b)));
            let (mut all, mut reached) = (0.0, 0.0);
            for (a, b) in pairs.filter(|(a, b)| a != b) {
                assert_eq!(nat.reaches(a, b), nat.reaches(b, a));
                all += 1.0;
                reached += f64::from(u8::from(nat.reaches(a, b)));
            }
            reached / all
        };
        assert_eq!(share(Class::Symmetric, Class::Symmetric), 0.0);
        assert!((share(Class::Symmetric, Class::Independent) - 0.5).abs() < 0.01);
        assert!((share(Class::Independent, Class::Independent) - 0.92).abs() < 0.01);
        assert!((share(Class::Public, Class::Symmetric) - 0.99).abs() < 0.01);
        assert!((of(Class::Public).len() as f64 / 2000.0 - 0.15).abs() < 0.03);
        assert!((of(Class::Symmetric).len() as f64 / 2000.0 - 0.25).abs() < 0.03);
        assert!(Nat::new(false, 7).reaches(1, 2));
    }
}
