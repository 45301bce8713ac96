//! livestation
fn main() {}
