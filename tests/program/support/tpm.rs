//! An emulated TPM: `swtpm`, with a state and a socket of its own.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::daemon::Daemon;
use super::{SOON, scratch, wait_until};

/// A running TPM.
pub(crate) struct Tpm {
    // Dropped in this order: the program ends before its directory goes.
    _daemon: Daemon,
    directory: TempDir,
}

impl Tpm {
    /// A TPM of the test's own.
    pub(crate) fn start() -> Self {
        let directory = scratch::on_disk("tpm");
        let path = |name: &str| directory.path().join(name);
        let mut command = Command::new("swtpm");
        command.args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"]);
        command.arg("--tpmstate").arg(format!("dir={}", directory.path().display()));
        command.arg("--server").arg(format!("type=unixio,path={}", path("tpm").display()));
        let daemon = Daemon::start(&command, &path("log"), Signal::SIGTERM);
        let tpm = Self { _daemon: daemon, directory };
        wait_until(SOON, "swtpm answers", || UnixStream::connect(tpm.device()).is_ok());
        tpm
    }

    /// Its socket, which takes the place of a device.
    pub(crate) fn device(&self) -> PathBuf {
        self.directory.path().join("tpm")
    }
}
