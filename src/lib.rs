//! Squire: a secrets sidecar.
//!
//! It logs in to a secret source, keeps every configured secret valid, renders the secrets through Handlebars templates into files and
//! environment variables, and moves the process that uses them from one consistent set of secrets to the next.
//!
//! # The flow: data goes one way
//!
//! ```text
//! text ─parse─▶ Config ─compile─▶ Plan ─want─▶ Source ─keep─▶ Update ─settle─▶ Snapshot ─render─▶ Release
//!                                                                                                    │
//! process ◀──────────────── react ◀──────────────── Manifest ◀──────────────── publish ◀─────────────┘
//!    └─ done: commit, then revoke the leases that only the previous generation used
//! ```
//!
//! # The order of the modules
//!
//! A module uses only those above it in this list; `agent` uses all of them, `cli` stands on top. In each, `x.rs` decides and
//! `x/` acts: the root files are pure, without clock, randomness, files or sockets.
//!
//! Every state machine ([`session`], [`snapshot`], [`rollout`], [`supervise`], [`agent`]) has the same shape: `step(event, now) -> effects`
//! and `deadline()`, events in the past tense, effects imperative.
//!
//! # What always holds
//!
//! - A release is whole: every file and every variable rendered, or nothing is published.
//! - Generation numbers only grow; a reader of `..data` sees one generation, whole.
//! - No process is started before the first release is published; there is at most one, and with
//!   `restart_mode = "overlap"` its successor on trial.
//! - An outage of a source changes no published file, and ends no process.
//! - Plaintext is in [`secret::Secret`], which cannot be printed.

pub mod names;
pub mod secret;
pub mod size;

mod ordered;
mod yaml;

pub mod plain;

pub mod mask;

pub mod memory;

pub mod files;

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod explore;

pub mod status;

pub mod fact;

pub mod config;
pub mod template;

#[cfg(feature = "import")]
pub mod import;

pub mod plan;

pub mod ledger;
pub mod links;
pub mod locked;

pub mod shares;

mod hex;

pub mod chain;

pub mod audit;

pub mod store;

pub mod source;

pub mod policy;

pub mod lease;

pub mod session;

pub mod snapshot;

pub mod webhook;

pub mod credential;

pub mod render;

mod serving;

pub mod proxy;
pub mod publish;

pub mod rollout;

pub mod supervise;

pub mod harden;

pub mod agent;

pub mod admin;

pub mod systemd;

#[cfg(feature = "otlp")]
pub mod otlp;

pub mod cli;
