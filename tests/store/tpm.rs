//! An emulated TPM: `swtpm`, with a state and a socket of its own.
//!
//! *Invariant:* it ends with the test that started it.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A TPM of its own, made quickly.
pub(crate) struct Tpm {
    process: Child,
    device: String,
    directory: TempDir,
}

impl Tpm {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let device = directory.path().join("tpm").to_str().unwrap().to_owned();
        let process = launch(&directory, &device);
        Self { process, device, directory }
    }

    /// The argument of `--tpm`.
    pub(crate) fn device(&self) -> &str {
        &self.device
    }

    /// Switches it off and on again.
    pub(crate) fn restart(&mut self) {
        self.end();
        std::fs::remove_file(&self.device).ok();
        self.process = launch(&self.directory, &self.device);
    }

    /// From now on its owner has a password.
    pub(crate) fn set_owner_password(&self) {
        let command = [
            &[0x80, 2, 0, 0, 0, 34, 0, 0, 1, 0x29][..], // with a session, HierarchyChangeAuth
            &[0x40, 0, 0, 1],                           // of the owner
            &[0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0],
            &[0, 5, b'x', b'x', b'x', b'x', b'x'],
        ];
        let mut socket = UnixStream::connect(&self.device).unwrap();
        socket.write_all(&command.concat()).unwrap();
        let mut answer = [0; 10];
        socket.read_exact(&mut answer).unwrap();
        assert_eq!(answer[6..], [0; 4], "{answer:?}");
    }

    fn end(&mut self) {
        self.process.kill().ok();
        self.process.wait().unwrap();
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        self.end();
    }
}

fn launch(directory: &TempDir, device: &str) -> Child {
    // The test's own thread starts it, so it ends with that thread.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "swtpm", "socket", "--tpm2"]);
    command.args(["--flags", "not-need-init,startup-clear"]);
    command.arg("--tpmstate").arg(format!("dir={}", directory.path().display()));
    command.arg("--server").arg(format!("type=unixio,path={device}"));
    let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let process = process.unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while UnixStream::connect(device).is_err() {
        assert!(Instant::now() < end, "swtpm did not start: start the tests with tests/run");
        thread::sleep(Duration::from_millis(10));
    }
    process
}

/// A socket that answers every request with this, once.
pub(crate) fn impostor(directory: &Path, answer: &[u8]) -> PathBuf {
    let socket = directory.join("impostor");
    std::fs::remove_file(&socket).ok();
    let (listener, answer) = (UnixListener::bind(&socket).unwrap(), answer.to_vec());
    thread::spawn(move || {
        let (mut caller, _) = listener.accept().unwrap();
        assert_ne!(caller.read(&mut [0; 4096]).unwrap(), 0);
        // The client may have closed.
        caller.write_all(&answer).ok();
    });
    socket
}
