//! What chance chooses for a whole world: the configuration, how long things live on the server, and what happens to Squire.

use std::path::Path;
use std::time::Duration;

use squire::config::{self, Config};

/// What chance does to a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Everything works, in its time.
    Calm,
    /// A server is down now and then, and checks, tries, publications, processes and errands fail; no answer is wrong.
    Trouble,
    /// Everything that can fail does now and then.
    Storm,
    /// The server refuses the login.
    WrongCredential,
}

impl Weather {
    /// Whether anything may fail.
    pub(crate) fn is_rough(self) -> bool {
        matches!(self, Self::Trouble | Self::Storm)
    }
}

/// What happens to Squire as a whole, at random times.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fates {
    /// It is killed with everything that it started, as a container is, and begins anew.
    pub crashes: bool,
    /// The machine is suspended.
    pub suspensions: bool,
    /// Somebody asks for everything anew, so that there are new leases though the old ones would live on.
    pub refreshes: bool,
}

/// How long what the server gives out lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lives {
    pub token: Duration,
    /// Renewals included.
    pub token_at_most: Duration,
    pub lease: Duration,
    pub lease_at_most: Duration,
}

impl Lives {
    /// Everything is replaced many times in a world.
    const SHORT: Self = Self {
        token: Duration::from_secs(40),
        token_at_most: Duration::from_mins(2),
        lease: Duration::from_secs(10),
        lease_at_most: Duration::from_secs(30),
    };
    /// What is forgotten stays for longer than a world lasts.
    pub(crate) const LONG: Self = Self {
        token: Duration::from_hours(48),
        token_at_most: Duration::from_hours(480),
        lease: Duration::from_hours(24),
        lease_at_most: Duration::from_hours(240),
    };
}

/// Whether there is a second source, without leases, that asks for errands, and where what it has is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreUse {
    None,
    InFile,
    /// So that it restarts the process.
    InEnvironment,
}

/// One world's own choices.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variant {
    /// The successor of a process proves itself beside it.
    pub overlaps: bool,
    pub store: StoreUse,
    /// A process that ends by itself is started again, and not the end of Squire.
    pub restarts: bool,
    pub lives: Lives,
}

impl Variant {
    pub(crate) fn of(seed: u64) -> Self {
        let mut chance = fastrand::Rng::with_seed(seed ^ 0x00c0_ffee);
        Self {
            overlaps: chance.bool(),
            store: [StoreUse::None, StoreUse::InFile, StoreUse::InEnvironment][chance.usize(..3)],
            restarts: chance.bool(),
            lives: Lives::SHORT,
        }
    }

    pub(crate) fn config(&self) -> Config {
        let text = self.text();
        config::parse(Path::new("squire.toml"), &text, &|_| None).expect("the configuration is good")
    }

    /// How many files and variables a whole release has.
    pub(crate) fn size(&self) -> (usize, usize) {
        match self.store {
            StoreUse::None => (2, 1),
            StoreUse::InFile => (3, 1),
            StoreUse::InEnvironment => (3, 2),
        }
    }

    fn text(&self) -> String {
        let mode = if self.overlaps { "overlap" } else { "replace" };
        let restart = if self.restarts { "on-failure" } else { "never" };
        let store = if self.store == StoreUse::None { "" } else { STORE };
        let variable = if self.store == StoreUse::InEnvironment { VARIABLE } else { "" };
        let process = PROCESS.replace("MODE", mode).replace("POLICY", restart).replace("MORE", variable);
        format!("{VAULT}{store}{process}")
    }
}

const VAULT: &str = r#"
[source.vault]
address = "http://127.0.0.1:8200"
auth.approle = { role_id = "web" }
[secret.db]
source = "vault"
path = "database/creds/app"
[secret.other]
source = "vault"
path = "database/creds/other"
[secret.kv]
source = "vault"
path = "secret/app"
refresh = "5s"
[output]
dir = "/run/world"
[[file]]
path = "db"
inline = "{{db.username}}:{{db.password}}"
on_change = "SIGHUP"
[[file]]
path = "both"
inline = "{{other.username}}:{{other.password}} {{kv.value}}"
on_change = "none"
"#;

const STORE: &str = r#"
[source.store]
type = "store"
file = "/srv/app.store"
key_file = "/run/owner.key"
[secret.stored]
source = "store"
path = "dev/app/rotating"
[secret.written]
source = "store"
path = "dev/app/written"
[[file]]
path = "stored"
inline = "{{stored.value}} {{written.value}}"
on_change = "SIGHUP"
"#;

const VARIABLE: &str = ", STORED = \"{{stored.value}}\"";

const PROCESS: &str = r#"
[process]
command = ["app"]
env = { DB = "{{other.username}}:{{other.password}}"MORE }
restart_mode = "MODE"
restart = "POLICY"
[rollout]
grace = "2s"
check = [["check", "{dir}"]]
probe = { command = ["probe"], period = "200ms", timeout = "3s" }
"#;
