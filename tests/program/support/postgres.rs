//! A PostgreSQL cluster in a temporary directory, run by an unprivileged user.
//!
//! *Invariant:* the machine's own PostgreSQL is not touched.

use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};
use postgres::{Client, NoTls};
use tempfile::TempDir;

use super::daemon::{Daemon, free_port};
use super::{SOON, holds_within, scratch, wait_until};

/// The user who may create roles.
pub(crate) const SUPERUSER: &str = "keeper";

/// A running cluster.
pub(crate) struct Postgres {
    port: u16,
    password: String,
    // Dropped in this order: the server ends before its directory goes.
    daemon: Mutex<Daemon>,
    _directory: TempDir,
}

impl Postgres {
    /// The cluster that the tests share; each test has its own database roles.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A cluster of the test's own.
    pub(crate) fn start() -> Self {
        (0..5).find_map(|_| Self::try_start(free_port())).expect("postgres did not start in five tries")
    }

    /// Ends the server; its data stay.
    pub(crate) fn go_down(&self) {
        self.daemon.lock().unwrap().stop();
    }

    /// Starts it again and waits until it takes log-ins.
    pub(crate) fn come_back(&self) {
        self.daemon.lock().unwrap().start_again();
        let url = self.url_for(SUPERUSER, &self.password);
        wait_until(SOON, "postgres takes log-ins again", || log_in(&url).is_ok());
    }

    fn try_start(port: u16) -> Option<Self> {
        let directory = scratch::on_disk("postgres");
        let password = format!("{:032x}", fastrand::u128(..));
        std::fs::write(directory.path().join("password"), &password).unwrap();
        let user = unprivileged_user();
        if let Some(user) = &user {
            for path in [directory.path().to_owned(), directory.path().join("password")] {
                chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
            }
        }
        let data = directory.path().join("data");
        let mut initdb = run_as(user.as_ref(), "initdb");
        initdb.arg("-D").arg(&data).arg("--pwfile").arg(directory.path().join("password"));
        initdb.args(["-U", SUPERUSER, "-A", "password", "-E", "UTF8", "--no-locale", "--no-sync"]);
        let output = initdb.current_dir(directory.path()).output().unwrap();
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));

        let mut server = run_as(user.as_ref(), "postgres");
        server.arg("-D").arg(&data).arg("-k").arg(directory.path()).args(["-p", &port.to_string()]);
        // md5 makes the many log-ins of an unoptimized client cheap; validity is checked all the same.
        for setting in [
            "listen_addresses=127.0.0.1",
            "fsync=off",
            "password_encryption=md5",
            "max_connections=200",
            "dynamic_shared_memory_type=mmap",
        ] {
            server.args(["-c", setting]);
        }
        let log = directory.path().join("log");
        let mut daemon = Daemon::start(server.current_dir(directory.path()), &log, Signal::SIGINT);
        let url = url(port, SUPERUSER, &password);
        let mut ready = false;
        holds_within(SOON, || {
            ready = log_in(&url).is_ok();
            ready || daemon.ended().is_some()
        });
        ready.then_some(Self { port, password, daemon: Mutex::new(daemon), _directory: directory })
    }

    /// The password of the superuser.
    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    /// The URL for this user.
    pub(crate) fn url_for(&self, user: &str, password: &str) -> String {
        url(self.port, user, password)
    }

    /// The URL for the superuser.
    pub(crate) fn admin_url(&self) -> String {
        self.url_for(SUPERUSER, &self.password)
    }

    /// Host and port.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A template of the URL with the credentials of a secret.
    pub(crate) fn url_template(&self, secret: &str) -> String {
        url(self.port, &format!("{{{{{secret}.username}}}}"), &format!("{{{{url {secret}.password}}}}"))
    }

    /// Runs a statement as the superuser.
    pub(crate) fn execute(&self, statement: &str) {
        let mut client = Client::connect(&url(self.port, SUPERUSER, &self.password), NoTls).unwrap();
        client.batch_execute(statement).unwrap();
    }

    /// The names of the roles that can log in and contain this.
    pub(crate) fn roles(&self, part: &str) -> Vec<String> {
        let mut client = Client::connect(&url(self.port, SUPERUSER, &self.password), NoTls).unwrap();
        let query = "SELECT rolname FROM pg_roles WHERE rolcanlogin AND strpos(rolname, $1) > 0";
        client.query(query, &[&part]).unwrap().iter().map(|row| row.get(0)).collect()
    }
}

/// Logs in and returns the name of the user.
pub(crate) fn log_in(url: &str) -> Result<String, postgres::Error> {
    let mut config: postgres::Config = url.parse()?;
    let mut client = config.connect_timeout(Duration::from_secs(5)).connect(NoTls)?;
    Ok(client.query_one("SELECT current_user::text", &[])?.get(0))
}

fn url(port: u16, user: &str, password: &str) -> String {
    format!("postgres://{user}:{password}@127.0.0.1:{port}/postgres?sslmode=disable")
}

/// PostgreSQL refuses to run as root; Debian's package has a user of its own.
fn unprivileged_user() -> Option<User> {
    let named = |name| User::from_name(name).unwrap();
    geteuid()
        .is_root()
        .then(|| named("postgres").or_else(|| named("nobody")).expect("no user postgres or nobody"))
}

fn run_as(user: Option<&User>, program: &str) -> Command {
    let program = find(program);
    let Some(user) = user else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={}", user.uid)).arg(format!("--regid={}", user.gid)).arg("--clear-groups");
    // A change of the user clears the parent-death signal, so it is set again, to one that lets the server clean up.
    command.args(["setpriv", "--pdeathsig", "QUIT", "--"]).arg(program);
    command
}

/// Debian does not put the servers' programs into `PATH`.
fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let of_debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    of_debian
        .map(|version| version.path().join("bin"))
        .chain(std::env::split_paths(&path))
        .map(|directory| directory.join(program))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("there is no {program}: start the tests with tests/run"))
}
