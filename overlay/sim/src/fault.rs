//! What goes wrong in a scenario, and who means ill.

use std::time::Duration;

/// Something that happens at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// From the start of the run.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// Faults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What {
    /// Viewers vanish without a goodbye.
    Vanish(Who, How),
    /// Nobody reaches the tracker for so long; it forgets everything.
    TrackerDown(Duration),
    /// The seeder is killed and comes back after so long with an empty memory.
    SeederDown(Duration),
    /// This share of the viewers is cut off from everybody else for so long.
    Partition(f64, Duration),
}

/// Which viewers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Who {
    /// So large a share of those present, at random.
    Share(f64),
    /// So many, of those who have at least three children in a stripe.
    Interior(usize),
}

/// How a viewer vanishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Its system closes its session with the tracker; its links just fall silent.
    Killed,
    /// Everything falls silent, the session with the tracker too.
    Stopped,
}

/// Viewers that do not keep to the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Attack {
    /// Alter every tenth piece they send.
    pub polluters: f64,
    /// Take children and send them nothing.
    pub free_riders: f64,
    /// Send their children every third piece, as slowly as may still pass for life.
    pub slow_drip: f64,
    /// So many false viewers for each of the others come with them, offer much, take children
    /// and send them nothing. What becomes of them is not measured.
    pub sybils: f64,
}
