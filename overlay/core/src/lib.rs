//! overlay-core
