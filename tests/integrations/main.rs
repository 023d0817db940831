//! What is in `deploy/server`, `deploy/compose` and `deploy/integrations`, run against real servers.
//!
//! The programs of `deploy/integrations` run under a real Squire, with the configuration that is beside each. Its secrets are on an OpenBao
//! that `deploy/server/setup` has set up, and change while the program works. `tests/run` installs what the programs need.
//!
//! *Invariant:* the files that are tested are those that people copy; a test changes only addresses and places in them.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "helpers of tests are tests"
)]

#[expect(
    dead_code,
    unused_imports,
    reason = "it is shared with the tests of the whole program, which use all of it"
)]
mod support;

mod api_key;
mod aws_template;
mod compose;
mod fastapi;
mod health;
mod kafka;
mod load;
mod one_file;
mod pages;
mod postgres_pool;
mod postgres_static;
mod quickstarts;
mod redis;
mod server;
mod setup;
mod shop;
mod strangers;
