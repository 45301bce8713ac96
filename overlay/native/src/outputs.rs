//! Where a player's media goes: a file or pipe, and HTTP. The driver releases generations
//! when they are due; nothing here delays or reorders them.
//!
//! The one rule: a slow reader loses whole GOPs of its own and delays nobody.

pub mod file;
pub mod http;

pub mod hub;
