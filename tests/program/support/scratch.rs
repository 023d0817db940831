//! Temporary directories that are removed with the tests, also when the test process is killed or never drops a static.
//!
//! All are below two directories of this test process, on disk and on tmpfs. A shell waits for the end of its standard input, which comes
//! when the test process ends in any way, and then removes both.
//!
//! *Invariant:* no file of the tests outlives the test process by more than two seconds.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

struct Scratch {
    disk: PathBuf,
    tmpfs: PathBuf,
    _janitor: Child,
}

/// A new directory on disk, or wherever temporary files are.
pub(crate) fn on_disk(name: &str) -> TempDir {
    new_in(&scratch().disk, name)
}

/// A new directory on tmpfs.
pub(crate) fn on_tmpfs(name: &str) -> TempDir {
    new_in(&scratch().tmpfs, name)
}

fn scratch() -> &'static Scratch {
    static SCRATCH: OnceLock<Scratch> = OnceLock::new();
    SCRATCH.get_or_init(|| {
        let [disk, tmpfs] = [std::env::temp_dir(), PathBuf::from("/dev/shm")].map(|parent| {
            let directory = new_in(&parent, "tests").keep();
            // The database's user has to be able to enter.
            std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o711)).unwrap();
            directory
        });
        let mut janitor = Command::new("sh");
        // Twice, since servers may still write while they end.
        janitor.args(["-c", "cat > /dev/null; rm -rf \"$@\"; sleep 1; rm -rf \"$@\"", "janitor"]);
        janitor.arg(&disk).arg(&tmpfs).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // In a group of its own, so that Ctrl-C at the terminal does not end it too.
        let janitor = janitor.process_group(0).spawn().unwrap();
        Scratch { disk, tmpfs, _janitor: janitor }
    })
}

fn new_in(parent: &Path, name: &str) -> TempDir {
    tempfile::Builder::new().prefix(&format!("squire-{name}-")).tempdir_in(parent).unwrap()
}
