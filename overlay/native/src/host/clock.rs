//! The core's time, which is microseconds since the program began, and the machine's.

use std::time::{Duration, Instant};

/// Translates between them.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: Instant,
}

/// The core's zero lies this long before the program's start, so that nothing that reaches
/// back a little falls below it.
const BEFORE: Duration = Duration::from_secs(3600);

impl Clock {
    /// For a program that began then.
    #[must_use]
    pub fn new(began: Instant) -> Self {
        Self { began }
    }

    /// When the program began.
    #[must_use]
    pub fn started(self) -> overlay_core::Instant {
        self.core(self.began)
    }

    /// The core's time of a machine's.
    #[must_use]
    pub fn core(self, at: Instant) -> overlay_core::Instant {
        let since = BEFORE + at.saturating_duration_since(self.began);
        overlay_core::Instant::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// The machine's time of the core's; a day away at most.
    #[must_use]
    pub fn host(self, at: overlay_core::Instant) -> Instant {
        let since = at
            .since(self.started())
            .min(Duration::from_secs(86_400 * 365));
        self.began + since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let clock = Clock::new(Instant::now());
        let later = Instant::now() + Duration::from_micros(1_234_567);
        let back = clock.host(clock.core(later));
        assert!(later - back < Duration::from_micros(1));
        let never = overlay_core::Instant::from_micros(u64::MAX);
        assert!(clock.host(never) > later);
    }
}
