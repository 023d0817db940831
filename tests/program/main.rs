//! The whole program against real servers, real processes, real signals and real tmpfs files.
//!
//! There is one test binary, because each one links the whole of Squire. `tests/run` installs what these tests start: OpenBao,
//! PostgreSQL, Prometheus. Every run of Squire logs at trace level, and when it ends its canary check searches for the secrets of the test.
//!
//! *Invariant:* nothing is left behind, however a test ends: no process, no file, no port.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "helpers of tests are tests"
)]

mod support;

mod admin;
mod answers;
mod audit;
mod aws;
mod bad_configuration;
mod bad_leases;
mod bad_servers;
mod bad_tokens;
mod clock;
mod cluster;
mod credentials;
mod crowd;
mod database;
mod description;
mod folders;
mod hanging;
mod hardening;
mod import;
mod kubernetes;
mod leaks;
mod left_behind;
mod load;
mod locked;
mod logs;
mod manual;
mod meta;
mod metrics;
mod neighbours;
mod nomad;
mod one_time;
mod online;
#[cfg(feature = "otlp")]
mod otlp;
mod outages;
mod page;
mod passwords;
mod policy;
mod process;
mod process_token;
mod proxies;
mod proxy;
mod publishing;
mod reactions;
mod references;
mod refused_starts;
mod reload;
mod requests;
mod restarts;
mod revoked;
mod rollouts;
mod rotating;
mod rotation;
mod serve_credentials;
mod sink;
mod sizes;
mod soak;
mod sources;
mod starts;
mod store_watch;
mod stores;
mod support_works;
mod switching;
mod systemd;
mod templates;
mod three_sources;
mod tls;
mod unit;
mod unseal;
mod values;
mod webhook;
#[cfg(not(feature = "otlp"))]
mod without_otlp;
mod words;
