//! Real broadcasters push to a real ingest and encoder; accounts and the seeder are stood
//! in for by the smallest servers that keep their contracts.

mod cost;
mod exact;
mod hostile;
mod refused;
mod returning;
mod stage;
