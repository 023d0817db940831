//! The support for tests of the whole program: servers that end with the tests, and Squire itself, whose output is checked.
//!
//! *Invariant:* a test waits for a state with a deadline, and its failure prints the end of the log.

mod api;
mod asking;
mod aws;
mod bao;
mod browser;
mod canary;
pub(crate) mod certificates;
mod clock;
mod cluster;
pub(crate) mod daemon;
mod front;
mod gate;
mod hung;
mod impostor;
mod log_ins;
mod origin;
pub(crate) mod postgres;
mod prometheus;
mod proxy;
mod raft;
mod rig;
#[cfg(feature = "otlp")]
mod rotel;
pub(crate) mod scratch;
mod skipped;
mod squire;
mod table;
mod tmpfs;
mod tpm;

use std::time::{Duration, Instant};

pub(crate) use api::Api;
pub(crate) use asking::{ask, says, status};
pub(crate) use aws::{Aws, Keys, write_profile};
pub(crate) use bao::{Bao, Tenant, program as bao_program};
pub(crate) use browser::{Browser, Screen};
pub(crate) use canary::{Canaries, fresh};
pub(crate) use clock::Clock;
pub(crate) use cluster::Cluster;
pub(crate) use daemon::{Daemon, free_port};
pub(crate) use front::Front;
pub(crate) use gate::Gate;
pub(crate) use hung::Hung;
pub(crate) use impostor::{Impostor, Manners};
pub(crate) use log_ins::{LogIns, learn_password};
pub(crate) use origin::{
    Origin, STORE_SOURCE, configure_store, make_role, make_store, rig_of_store, store, store_at,
};
pub(crate) use postgres::{Postgres, log_in};
pub(crate) use prometheus::{Prometheus, prometheus_program};
pub(crate) use proxy::{Gateway, Proxy};
pub(crate) use raft::Raft;
pub(crate) use rig::Rig;
#[cfg(feature = "otlp")]
pub(crate) use rotel::{Rotel, field};
pub(crate) use scratch::{on_disk, on_tmpfs};
pub(crate) use skipped::skipped;
pub(crate) use squire::{Outcome, Squire};
pub(crate) use table::{record, recovered};
pub(crate) use tmpfs::{Tmpfs, mount, unmount};
pub(crate) use tpm::Tpm;

/// Long enough for any operation that should be quick, on a machine that is busy with other tests.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A process that records its starts in `seen/starts` and waits; it does not react to changes of files.
pub(crate) const CHILD: &str = r#"
    [process]
    command = ["sh", "-c", "echo start >> seen/starts; exec sleep 1000"]
    on_change = "none"
"#;

/// Records each start and each SIGHUP with the password in its file and in its environment.
pub(crate) const NOTING: &str = r#"
    note() { echo "$1 $(cat out/password) ${DB_PASSWORD-}" >> seen/notes; }
    trap 'note HUP' HUP
    trap 'exit 0' TERM
    note start
    while :; do sleep 0.05; done
"#;

/// Its records, as far as the lines are complete.
pub(crate) fn notes(rig: &Rig) -> Vec<String> {
    let text = rig.read("seen/notes");
    text[..text.rfind('\n').map_or(0, |end| end + 1)].lines().map(str::to_owned).collect()
}

/// The part of a configuration that puts a tenant's KV secret with a `password` into the file `out/NAME`.
pub(crate) fn kv_file(name: &str) -> String {
    format!(
        r#"
        [secret.{name}]
        path = "secret/@tenant@/{name}"
        [[file]]
        path   = "{name}"
        inline = "{{{{{name}.password}}}}"
        on_change = "none"
        "#
    )
}

/// The part of a configuration that puts the URL with the credentials of a database role into the file `out/ROLE`. The server shortens the
/// role's name to eight letters in the names of the users that it makes, so the name is no longer than that.
pub(crate) fn database_file(postgres: &Postgres, role: &str) -> String {
    format!(
        r#"
        [secret.{role}]
        path = "database/creds/{role}"
        [[file]]
        path   = "{role}"
        inline = "{}"
        on_change = "none"
        "#,
        postgres.url_template(role)
    )
}

/// Whether the credentials in a file can log in to the database; the canaries search for them from then on.
pub(crate) fn works(rig: &Rig, file: &str) -> bool {
    let url = rig.read(file);
    learn_password(&url, rig.canaries());
    log_in(&url).is_ok()
}

/// Whether the long forms of the tests are asked for, with `SQUIRE_LONG=1`.
pub(crate) fn long() -> bool {
    std::env::var_os("SQUIRE_LONG").is_some_and(|value| value == "1")
}

/// Asks every 20 ms until the condition holds; tells whether it did within the limit.
pub(crate) fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits for a condition; panics with its description when it does not hold in time.
#[track_caller]
pub(crate) fn wait_until(limit: Duration, what: &str, condition: impl FnMut() -> bool) {
    assert!(holds_within(limit, condition), "waited {limit:?} in vain for: {what}");
}

/// Checks for a while that something stays true: an event that must *not* happen has no state to wait for.
#[track_caller]
pub(crate) fn stays_true(span: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    assert!(!holds_within(span, || !condition()), "no longer true: {what}");
}
