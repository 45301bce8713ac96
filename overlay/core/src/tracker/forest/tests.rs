use super::*;
use crate::Random;

/// The way up, hop by hop.
fn climb(forest: &Forest, peer: PeerId, stripe: StripeId) -> Option<usize> {
    let mut at = peer;
    for depth in 0.. {
        let node = forest.nodes.get(&at)?;
        if node.seeder {
            return Some(depth);
        }
        at = node.parent(stripe)?;
    }
    None
}

/// What is kept at hand is what one finds by looking at everything.
fn check(forest: &Forest, stripes: &[StripeId]) {
    let mut index = Index::default();
    let mut misplaced = BTreeSet::new();
    for (peer, node) in &forest.nodes {
        index.put(*peer, node, forest.reserve);
        assert_eq!(node.used, node.edges().count());
        assert_eq!(node.held, node.parents.keys().copied().collect());
        for stripe in stripes {
            let depth = climb(forest, *peer, *stripe);
            assert_eq!(forest.depth(*peer, *stripe), depth, "{peer} in {stripe}");
            let children = node.children(*stripe);
            let relays = |peer: &PeerId| forest.nodes[peer].interior.contains(*stripe);
            let leaves = children.iter().filter(|child| !relays(child)).count();
            assert_eq!(node.leafy().any(|leafy| leafy == *stripe), leaves > 0);
            let wrong = |child: &&PeerId| !relays(if node.seeder { child } else { peer });
            misplaced.extend(
                children
                    .iter()
                    .filter(wrong)
                    .map(|child| (*peer, *stripe, *child)),
            );
            for child in children {
                assert_eq!(forest.nodes[child].parent(*stripe), Some(*peer));
            }
        }
    }
    assert_eq!(forest.index, index);
    assert_eq!(forest.misplaced, misplaced);
}

#[test]
fn what_is_kept_at_hand_is_what_there_is() {
    let stripes: Vec<StripeId> = StripeId::first(4).collect();
    for seed in 0..8 {
        let mut random = Random::new(seed);
        let mut forest = Forest::default();
        for step in 0..1500 {
            let mut peer = || PeerId(random.below(40));
            let (one, other) = (peer(), peer());
            let stripe = stripes[random.below(4) as usize];
            match random.below(16) {
                0 | 1 if forest.get(one).is_none() => {
                    let slots = random.below(9) as usize;
                    forest.insert(one, one.0 < 2, slots);
                }
                2 if random.below(4) == 0 => forest.remove(one),
                3 => forest.set_slots(one, random.below(9) as usize),
                4 => drop(forest.unlink(one, stripe)),
                5 if random.below(8) == 0 => forest.set_reserve(random.below(3) as f64 / 16.0),
                6..=8 if one.0 >= 2 => forest.set_relays(one, stripe, random.below(3) > 0),
                _ if one.0 >= 2 => forest.link(one, stripe, other),
                _ => {}
            }
            if step % 7 == 0 {
                check(&forest, &stripes);
            }
        }
        assert!(forest.nodes.len() > 10 && !forest.misplaced.is_empty());
    }
}

#[test]
fn no_edge_closes_a_cycle() {
    let [stripe, ..] = StripeId::first(2).collect::<Vec<_>>()[..] else {
        panic!("there are two");
    };
    let mut forest = Forest::default();
    for peer in 1..=3 {
        forest.insert(PeerId(peer), false, 4);
    }
    forest.link(PeerId(2), stripe, PeerId(1));
    forest.link(PeerId(3), stripe, PeerId(2));
    forest.link(PeerId(1), stripe, PeerId(3));
    assert_eq!(
        forest.get(PeerId(1)).and_then(|node| node.parent(stripe)),
        None
    );
    assert_eq!(forest.depth(PeerId(3), stripe), None);
    forest.insert(PeerId(9), true, 4);
    forest.link(PeerId(1), stripe, PeerId(9));
    assert_eq!(forest.depth(PeerId(3), stripe), Some(3));
}
