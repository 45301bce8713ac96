//! stub
use overlay_core::{Instant, tracker::{Input, Output, stats::{Stats, Picture}}};
#[derive(Clone, Debug, Default)]
pub struct Config;
pub(crate) struct Tracker(Instant);
impl Tracker {
    pub(crate) fn new(_: Config, _: u64) -> Self { Self(Instant::default()) }
    pub(crate) fn handle(&mut self, now: Instant, _: Input) { self.0 = now; }
    pub(crate) fn poll(&mut self) -> Output { Output::Timeout(self.0 + std::time::Duration::from_secs(100)) }
    pub(crate) fn stats(&self) -> Stats { Stats::default() }
    pub(crate) fn swarm(&self) -> Picture { Picture::default() }
}
