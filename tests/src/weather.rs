//! Weather on a network: what a switch makes of the frames that pass it. Some are lost, the
//! others arrive late, each by its own measure, so that they overtake one another. The
//! program `weather` gives it real ports.
//!
//! The one rule: what time it is comes from outside and the dice have a seed, so that a test
//! can say what must happen.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// Frames that may wait for one port.
const ROOM: usize = 4096;
/// Addresses of which the port is remembered; frames to any other go everywhere.
const MAX_KNOWN: usize = 1024;
/// Both addresses and the type.
const HEADER: usize = 14;

type Mac = [u8; 6];

/// What becomes of each frame, on each way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weather {
    /// The part that is lost, 0 to 1.
    pub loss: f64,
    /// Each of the others takes at least so long,
    pub delay: Duration,
    /// and so much more at most, evenly spread.
    pub jitter: Duration,
    /// Of the dice.
    pub seed: u64,
}

/// What became of frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Handed on, once for each port.
    pub forwarded: u64,
    /// Lost to the weather.
    pub lost: u64,
    /// Lost because there was no room for them, here or in the kernel. With any, a run says
    /// less than it seems to.
    pub no_room: u64,
}

/// A switch that learns who is where, as any does.
pub struct Switch {
    /// So far.
    pub counters: Counters,
    weather: Weather,
    dice: fastrand::Rng,
    /// How many frames wait for each port.
    ports: Vec<usize>,
    known: HashMap<Mac, usize>,
    waiting: BinaryHeap<Reverse<Waiting>>,
    serial: u64,
}

/// What is due first comes first, and of what is due at once, what came first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    due: Instant,
    serial: u64,
    port: usize,
    frame: Arc<[u8]>,
}

impl Weather {
    /// Nothing happens to any frame.
    #[must_use]
    pub fn calm() -> Self {
        Self {
            loss: 0.0,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            seed: 1,
        }
    }

    /// As the program takes it: the loss, then delay and jitter in microseconds, the seed.
    #[must_use]
    pub fn args(&self) -> [String; 4] {
        [
            self.loss.to_string(),
            self.delay.as_micros().to_string(),
            self.jitter.as_micros().to_string(),
            self.seed.to_string(),
        ]
    }

    /// From what [`Weather::args`] made.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut next = || args.next().context("weather LOSS DELAY_US JITTER_US SEED");
        let loss = next()?.parse()?;
        ensure!((0.0..=1.0).contains(&loss), "a loss of {loss}");
        Ok(Self {
            loss,
            delay: Duration::from_micros(next()?.parse()?),
            jitter: Duration::from_micros(next()?.parse()?),
            seed: next()?.parse()?,
        })
    }
}

impl Switch {
    /// Without ports.
    #[must_use]
    pub fn new(weather: Weather) -> Self {
        Self {
            counters: Counters::default(),
            weather,
            dice: fastrand::Rng::with_seed(weather.seed),
            ports: Vec::new(),
            known: HashMap::new(),
            waiting: BinaryHeap::new(),
            serial: 0,
        }
    }

    /// One more port, which has the next number.
    pub fn plug(&mut self) {
        self.ports.push(0);
    }

    /// Takes a frame that came in at a port.
    pub fn take(&mut self, from: usize, frame: &[u8], now: Instant) {
        if frame.len() < HEADER {
            return;
        }
        let (mut to, mut by) = (Mac::default(), Mac::default());
        to.copy_from_slice(&frame[..6]);
        by.copy_from_slice(&frame[6..12]);
        if self.known.len() < MAX_KNOWN || self.known.contains_key(&by) {
            self.known.insert(by, from);
        }
        let frame: Arc<[u8]> = frame.into();
        match self.known.get(&to) {
            Some(port) if *port == from => {}
            Some(port) => self.send(*port, frame, now),
            None => {
                for port in (0..self.ports.len()).filter(|port| *port != from) {
                    self.send(port, frame.clone(), now);
                }
            }
        }
    }

    fn send(&mut self, port: usize, frame: Arc<[u8]>, now: Instant) {
        if self.dice.f64() < self.weather.loss {
            self.counters.lost += 1;
        } else if self.ports[port] == ROOM {
            self.counters.no_room += 1;
        } else {
            let more = self.weather.jitter.mul_f64(self.dice.f64());
            self.ports[port] += 1;
            self.serial += 1;
            self.waiting.push(Reverse(Waiting {
                due: now + self.weather.delay + more,
                serial: self.serial,
                port,
                frame,
            }));
        }
    }

    /// When the next frame is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse(waiting)| waiting.due)
    }

    /// A frame that is due by now, and its port.
    pub fn due(&mut self, now: Instant) -> Option<(usize, Arc<[u8]>)> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse(waiting) = self.waiting.pop()?;
        self.ports[waiting.port] -= 1;
        self.counters.forwarded += 1;
        Some((waiting.port, waiting.frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYBODY: u8 = 0xff;

    fn frame(to: u8, by: u8) -> Vec<u8> {
        [&[to; 6][..], &[by; 6], &[8, 0, by]].concat()
    }

    fn of_three(weather: Weather) -> Switch {
        let mut switch = Switch::new(weather);
        (0..3).for_each(|_| switch.plug());
        switch
    }

    fn ports(switch: &mut Switch, now: Instant) -> Vec<usize> {
        std::iter::from_fn(|| switch.due(now).map(|(port, _)| port)).collect()
    }

    #[test]
    fn it_learns_who_is_where() {
        let (mut switch, now) = (of_three(Weather::calm()), Instant::now());
        let mut sent = |from, to, by| {
            switch.take(from, &frame(to, by), now);
            ports(&mut switch, now)
        };
        assert_eq!(sent(0, EVERYBODY, 2), [1, 2]);
        assert_eq!(sent(1, 2, 4), [0], "2 is at the first port");
        assert_eq!(sent(2, 4, 6), [1]);
        assert_eq!(sent(2, 8, 6), [0, 1], "nobody knows 8");
        assert_eq!(sent(0, 2, 10), [0; 0], "both are at the first port");
    }

    #[test]
    fn frames_take_their_time_and_overtake_each_other() {
        let (delay, jitter) = (Duration::from_millis(50), Duration::from_millis(30));
        let mut switch = of_three(Weather {
            delay,
            jitter,
            ..Weather::calm()
        });
        let now = Instant::now();
        switch.take(1, &frame(EVERYBODY, 4), now);
        let _ = ports(&mut switch, now + delay + jitter);
        for by in 100..200 {
            switch.take(0, &frame(4, by), now);
        }
        assert!(switch.due(now + delay - Duration::from_micros(1)).is_none());
        let half = ports(&mut switch, now + delay + jitter / 2).len();
        assert!((25..75).contains(&half), "{half}");
        let rest: Vec<u8> =
            std::iter::from_fn(|| Some(switch.due(now + delay + jitter)?.1[14])).collect();
        assert_eq!(rest.len() + half, 100);
        assert!(!rest.is_sorted(), "none overtook another");
    }

    #[test]
    fn it_loses_as_many_as_it_should_and_says_so() {
        let loss = 0.2;
        let mut switch = of_three(Weather {
            loss,
            ..Weather::calm()
        });
        let now = Instant::now();
        for _ in 0..5000 {
            switch.take(0, &frame(EVERYBODY, 2), now);
            let _ = ports(&mut switch, now);
        }
        let Counters {
            forwarded,
            lost,
            no_room,
        } = switch.counters;
        assert_eq!((forwarded + lost, no_room), (10_000, 0));
        assert!((1900..2100).contains(&lost), "{lost}");
    }

    #[test]
    fn a_port_has_room_for_so_many() {
        let (mut switch, now) = (of_three(Weather::calm()), Instant::now());
        for _ in 0..ROOM + 10 {
            switch.take(0, &frame(EVERYBODY, 2), now);
        }
        assert_eq!(switch.counters.no_room, 20);
        assert_eq!(ports(&mut switch, now).len(), 2 * ROOM);
        switch.take(0, &frame(EVERYBODY, 2), now);
        assert_eq!(ports(&mut switch, now), [1, 2], "there is room again");
    }

    #[test]
    fn what_is_told_is_understood() -> Result<()> {
        let weather = Weather {
            loss: 0.05,
            delay: Duration::from_millis(50),
            jitter: Duration::from_micros(1500),
            seed: 7,
        };
        assert_eq!(Weather::parse(weather.args().into_iter())?, weather);
        assert!(Weather::parse(["2".to_owned()].into_iter()).is_err());
        Ok(())
    }
}
