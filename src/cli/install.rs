//! `squire install`: this program as a file elsewhere, for an init container that brings it into the image of an app.
//!
//! Our image has no shell and no `cp`. The file appears whole, by a rename, so that nobody executes a half of it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::load::complain;

/// Everybody may execute it, and nobody has a reason to write to it.
const MODE: u32 = 0o555;

/// Copies this program to the path, or into the directory that is there; answers with the exit code.
pub(super) fn install(to: &Path) -> u8 {
    let to = if to.is_dir() { to.join("squire") } else { to.to_owned() };
    match copy(&to) {
        Ok(()) => 0,
        Err(error) => {
            complain(&[format!("cannot install this program as {}: {error}", to.display())]);
            1
        }
    }
}

fn copy(to: &Path) -> io::Result<()> {
    let mut program = File::open("/proc/self/exe")?;
    let mut beside = to.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let copied = fill(file, &mut program).and_then(|()| fs::rename(&beside, to));
    if copied.is_err() {
        // The half of a program is of no use. If it cannot be removed either, the first error is the one to tell.
        drop(fs::remove_file(&beside));
    }
    copied
}

fn fill(mut file: File, program: &mut File) -> io::Result<()> {
    io::copy(program, &mut file)?;
    // After the content, and whatever the umask is.
    file.set_permissions(Permissions::from_mode(MODE))
}
