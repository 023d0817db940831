//! A control group for the child, if Squire may make one: its kill reaches every process that the child started, however often they forked.
//!
//! *Invariant:* without a control group everything else still works. A group is removed when its last process is gone.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::unistd::getpid;

/// The directory in which groups are made: the group that Squire itself is in.
#[derive(Debug)]
pub(super) struct Cgroups {
    own: Option<PathBuf>,
}

/// One child's group.
#[derive(Debug)]
pub(super) struct Cgroup {
    path: PathBuf,
    /// A process that writes 0 to it enters the group.
    procs: File,
}

impl Cgroups {
    /// Finds the group that Squire is in.
    pub(super) fn find() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let own = own_group(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"));
        let own = own.filter(|own| own.join("cgroup.procs").exists() && may_divide(own));
        if let Some(own) = &own {
            sweep(own);
        }
        Self { own }
    }

    /// Makes a group for a child; `None` if that is not possible.
    pub(super) fn make(&self, number: u64) -> Option<Cgroup> {
        let path = self.own.as_ref()?.join(format!("squire-{}-{number}", getpid()));
        let made = fs::create_dir(&path).and_then(|()| {
            // `cgroup.kill` needs Linux 5.14; without it a group is of no use.
            fs::metadata(path.join("cgroup.kill"))?;
            OpenOptions::new().write(true).open(path.join("cgroup.procs"))
        });
        match made {
            Ok(procs) => Some(Cgroup { path, procs }),
            Err(error) => {
                tracing::debug!(%error, group = %path.display(), "no control group for the process");
                fs::remove_dir(&path).ok();
                None
            }
        }
    }
}

impl Cgroup {
    /// The file to which a child writes `0`.
    pub(super) fn procs(&self) -> BorrowedFd<'_> {
        self.procs.as_fd()
    }

    /// Sends SIGKILL to every process in it, at once.
    pub(super) fn kill(&self) {
        if let Err(error) = fs::write(self.path.join("cgroup.kill"), "1") {
            tracing::warn!(%error, group = %self.path.display(), "cannot kill a control group");
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process that cannot be killed may still be in it.
        if let Err(error) = fs::remove_dir(&self.path) {
            tracing::debug!(%error, group = %self.path.display(), "control group not removed");
        }
    }
}

/// Removes the groups of a Squire that was killed. Only empty groups can be removed.
fn sweep(own: &Path) {
    for entry in fs::read_dir(own).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix("squire-")?.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            fs::remove_dir(entry.path()).ok();
        }
    }
}

/// systemd owns the groups of its services, and marks those that it handed over by an attribute (`Delegate=yes`).
fn may_divide(own: &Path) -> bool {
    let mut value = [0; 8];
    let mut is_delegated = |name: &str| {
        rustix::fs::getxattr(own, name, &mut value[..]).is_ok_and(|length| value.get(..length) == Some(b"1"))
    };
    std::env::var_os("INVOCATION_ID").is_none()
        || is_delegated("user.delegate")
        || is_delegated("trusted.delegate")
}

/// From `/proc/self/cgroup` and `/proc/self/mountinfo` to the directory of the group in version 2 of the hierarchy.
fn own_group(groups: &str, mounts: &str) -> Option<PathBuf> {
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let (root, point) = mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        kind.starts_with("cgroup2 ").then_some((root, point))
    })?;
    // A container may see only a part of the hierarchy.
    let below = Path::new(group).strip_prefix(root).ok()?;
    Some(Path::new(OsStr::from_bytes(point.as_bytes())).join(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_where_the_second_hierarchy_is_mounted() {
        let hybrid = "30 25 0:26 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw\n";
        let pure = "29 23 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let part = "29 23 0:25 /kubepods/pod1 /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
        let first = "31 25 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        for (groups, mounts, expected) in [
            ("9:name=systemd:/\n0::/\n", hybrid, Some("/sys/fs/cgroup/unified/")),
            ("0::/system.slice/app.service\n", pure, Some("/sys/fs/cgroup/system.slice/app.service")),
            ("0::/kubepods/pod1/app\n", part, Some("/sys/fs/cgroup/app")),
            ("0::/elsewhere\n", part, None),
            ("4:memory:/app\n", first, None),
            ("0::/\n", first, None),
        ] {
            assert_eq!(own_group(groups, mounts).as_deref(), expected.map(Path::new), "{groups} {mounts}");
        }
    }
}
