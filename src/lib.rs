//! Squire: a secrets sidecar.
pub mod config;
pub mod names;
pub mod render;
pub mod secret;
