//! Real broadcasters push to a real ingest and encoder; accounts and the seeder are stood
//! in for by the smallest servers that keep their contracts.

mod by_srt;
mod cost;
mod exact;
mod hostile;
mod refused;
mod refused_by_srt;
mod returning;
mod stage;
