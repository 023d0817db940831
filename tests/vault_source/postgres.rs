//! A real PostgreSQL on a free loopback port, ended when dropped.

use std::fs::File;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};

use crate::bao::free_port;
use crate::eventually;

pub(crate) struct Postgres {
    pub(crate) port: u16,
    server: Child,
    _home: tempfile::TempDir,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Postgres {
    pub(crate) async fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        if let Some(user) = account() {
            chown(home.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        }
        let data = home.path().join("data");
        let made =
            tool("initdb").args(["-U", "postgres", "--auth=trust", "-N", "-D"]).arg(&data).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let port = free_port();
        let log = File::create(home.path().join("server.log")).unwrap();
        let server = tool("postgres")
            .args([
                "-p",
                &port.to_string(),
                "-k",
                "",
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "fsync=off",
                "-D",
            ])
            .arg(&data)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let postgres = Self { port, server, _home: home };
        eventually("PostgreSQL", async || postgres.query("select 1").is_some()).await;
        postgres
    }

    /// The first value of the first row; `None` if the server does not answer.
    pub(crate) fn query(&self, sql: &str) -> Option<String> {
        let port = self.port.to_string();
        let output = tool("psql")
            .args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-tAc", sql])
            .output()
            .unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }

    /// SIGINT is PostgreSQL's fast shutdown: it ends the connections too.
    pub(crate) fn stop(&mut self) {
        if let Ok(None) = self.server.try_wait() {
            let server = Pid::from_raw(self.server.id().try_into().unwrap());
            kill(server, Signal::SIGINT).ok();
            self.server.wait().ok();
        }
    }
}

/// PostgreSQL refuses to run as root.
fn account() -> Option<User> {
    geteuid()
        .is_root()
        .then(|| User::from_name("postgres").unwrap().expect("root needs the account `postgres`"))
}

fn tool(name: &str) -> Command {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let installed = versions.map(|version| version.path().join("bin").join(name)).find(|path| path.exists());
    let mut command = Command::new(installed.unwrap_or_else(|| PathBuf::from(name)));
    if let Some(user) = account() {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command.current_dir("/");
    command
}
