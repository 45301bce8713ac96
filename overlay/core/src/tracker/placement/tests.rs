use super::*;
use crate::Random;

/// A hundred viewers of four stripes and one spare, each with room for twice its own.
fn placed() -> (Placement, Vec<PeerId>, Vec<Order>) {
    let mut placement = Placement::default();
    placement.set_shape(4, 5);
    placement.add(PeerId(1), true, 20);
    let mut random = Random::new(3);
    let mut orders = Vec::new();
    let viewers: Vec<PeerId> = (0..100)
        .map(|_| PeerId(random.below(u64::MAX) | 2))
        .collect();
    for (index, viewer) in viewers.iter().enumerate() {
        placement.add(*viewer, false, 10);
        let now = Instant::default() + Duration::from_millis(20 * index as u64);
        orders.extend(placement.settle(now, false));
    }
    for round in 0..10 {
        let now = Instant::default() + Duration::from_millis(3000 + 500 * round);
        orders.extend(placement.settle(now, true));
    }
    (placement, viewers, orders)
}

#[test]
fn trees_are_as_flat_as_their_relays_allow() {
    let (placement, viewers, _) = placed();
    let deepest = viewers.iter().flat_map(|viewer| {
        let stripes = StripeId::first(5);
        stripes.filter_map(|stripe| placement.forest.depth(*viewer, stripe))
    });
    // Four roots a stripe with ten children each carry forty; a third floor the rest.
    assert!(deepest.max().unwrap() <= 4);
}

#[test]
fn everyone_draws_backups_of_its_own() {
    let (placement, viewers, _) = placed();
    let mut counted: BTreeMap<PeerId, usize> = BTreeMap::new();
    let mut drawn = 0;
    for viewer in &viewers {
        for stripe in StripeId::first(5) {
            let Some(parent) = placement.parent(*viewer, stripe) else {
                continue;
            };
            let backups = placement.backups(*viewer, stripe, parent);
            assert_eq!(backups.len(), 2, "of {viewer} in {stripe}");
            assert!(!backups.contains(viewer) && !backups.contains(&parent));
            assert_ne!(backups[0], backups[1]);
            for backup in backups {
                assert!(placement.relays(backup, stripe), "it relays the stripe");
                *counted.entry(backup).or_default() += 1;
                drawn += 1;
            }
        }
    }
    let most = counted.values().max().copied().unwrap_or(0);
    let mean = drawn / viewers.len();
    assert!(most <= mean * 5, "{most} count on one, {mean} in the mean");
}
