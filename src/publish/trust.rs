//! Whose a directory is: who else could put something of their own in the place of what is published there.
//!
//! The adversary is another user of the machine, or another container with the same volume. Modes of files keep them from reading; only
//! the directory keeps them from exchanging what others read.
//!
//! *Invariant:* pure.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Who may change the names in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tenancy {
    /// Whom we trust, and nobody else.
    Ours,
    /// Others may add names, and not change ours: the sticky bit is set, as on `/tmp` and `/dev/shm`.
    Sticky,
    /// Others may exchange our names for theirs.
    Shared(Writer),
    /// It belongs to a user whom we do not trust.
    Theirs(u32),
}

/// Who else writes to a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// The members of a group.
    Group(u32),
    /// Every user.
    Everybody,
    /// Its owner.
    User(u32),
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(group) => write!(f, "the members of group {group}"),
            Self::Everybody => f.write_str("every user"),
            Self::User(user) => write!(f, "user {user}"),
        }
    }
}

/// What `stat` says of a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) owner: u32,
    pub(super) group: u32,
    pub(super) mode: u32,
}

/// Judges a directory. Root is trusted in any case: it can do everything anyway.
pub(super) fn judge(found: Found, trusted: &BTreeSet<u32>) -> Tenancy {
    if found.owner != 0 && !trusted.contains(&found.owner) {
        return Tenancy::Theirs(found.owner);
    }
    let writes = |bit| found.mode & bit != 0;
    match (writes(OTHERS_WRITE), writes(GROUP_WRITES)) {
        (false, false) => Tenancy::Ours,
        _ if writes(STICKY) => Tenancy::Sticky,
        (true, _) => Tenancy::Shared(Writer::Everybody),
        // The group of root has no other member, or they are as good as root.
        (false, true) if found.group == 0 => Tenancy::Ours,
        (false, true) => Tenancy::Shared(Writer::Group(found.group)),
    }
}

/// A directory in which others could exchange what is published. It is used all the same: a volume of a pod has to be so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// The directory.
    pub directory: PathBuf,
    /// Who could.
    pub writer: Writer,
}

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { directory, writer } = self;
        write!(
            f,
            "{writer} may write to {}, and so put files of their own in the place of these",
            directory.display()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_else_may_write_decides() {
        let cases = [
            // Ours or root's, and nobody else writes.
            ((0, 0, 0o755), Tenancy::Ours),
            ((500, 7, 0o700), Tenancy::Ours),
            ((600, 7, 0o755), Tenancy::Ours),
            ((0, 0, 0o775), Tenancy::Ours),
            // What platforms make: an emptyDir, one with an fsGroup, /dev/shm.
            ((0, 0, 0o777), Tenancy::Shared(Writer::Everybody)),
            ((0, 1234, 0o2770), Tenancy::Shared(Writer::Group(1234))),
            ((0, 0, 0o1777), Tenancy::Sticky),
            ((500, 7, 0o1770), Tenancy::Sticky),
            // Somebody made it before us; no mode makes up for it.
            ((65534, 7, 0o700), Tenancy::Theirs(65534)),
            ((65534, 7, 0o1777), Tenancy::Theirs(65534)),
        ];
        for ((owner, group, mode), expected) in cases {
            let trusted = BTreeSet::from([500, 600]);
            assert_eq!(judge(Found { owner, group, mode }, &trusted), expected, "{owner}:{group} {mode:o}");
        }
    }
}
