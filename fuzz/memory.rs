//! What a state machine holds on the heap, and the bound it is held to.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Counts from its making on.
pub struct Held(Region<'static, System>);

impl Held {
    pub fn new() -> Self {
        Self(Region::new(HEAP))
    }

    /// # Panics
    /// When more than `most` bytes are held.
    pub fn is_at_most(&self, most: usize) {
        let change = self.0.change();
        let held = change.bytes_allocated.saturating_sub(change.bytes_deallocated);
        assert!(held <= most, "{held} bytes are held");
    }
}
