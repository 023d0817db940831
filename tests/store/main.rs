//! The embedded store through the real binary, and attacks on its file.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod attacks;
mod bench;
mod harm;
mod keeping;
mod keys;
mod killed;
mod rotations;
mod source;
mod terminal;
mod tpm;
mod transfer;
