//! Services that know each other by certificates, over real sockets.

mod access;
mod files;
mod meeting;
mod renewal;
mod stage;
