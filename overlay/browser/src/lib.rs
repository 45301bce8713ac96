//! The browser's host of the core, compiled to WebAssembly: what JavaScript calls to code,
//! sign, check and decode generations, by the same code as every other peer. It imports
//! nothing: neither time nor randomness nor a bindings generator. `check` runs it in node.
//!
//! The one rule: JavaScript holds numbers of objects, never addresses to free, and whatever
//! it passes is checked as a stranger's bytes are.

pub mod exports;
mod objects;

pub use objects::{MAX_BUFFER_LEN, MAX_OBJECTS};
