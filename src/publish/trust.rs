//! The owner of a directory, and who else could replace what is published there.
//!
//! The adversary is another user of the machine, or another container with the same volume. File modes keep them from reading; only the
//! directory keeps them from replacing files.
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
    /// Only users whom Squire trusts.
    Ours,
    /// Others may add names, but not change Squire's: the sticky bit is set, as on `/tmp` and `/dev/shm`.
    Sticky,
    /// Others may replace Squire's names.
    Shared(Writer),
    /// It belongs to a user whom Squire does not trust.
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

/// The result of `stat` for a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) owner: u32,
    pub(super) group: u32,
    pub(super) mode: u32,
}

/// Judges a directory. Root is always trusted, since it can do everything anyway.
pub(super) fn judge(found: Found, trusted: &BTreeSet<u32>) -> Tenancy {
    if found.owner != 0 && !trusted.contains(&found.owner) {
        return Tenancy::Theirs(found.owner);
    }
    let writes = |bit| found.mode & bit != 0;
    match (writes(OTHERS_WRITE), writes(GROUP_WRITES)) {
        (false, false) => Tenancy::Ours,
        _ if writes(STICKY) => Tenancy::Sticky,
        (true, _) => Tenancy::Shared(Writer::Everybody),
        // The group of root has no other members, or they have root's rights.
        (false, true) if found.group == 0 => Tenancy::Ours,
        (false, true) => Tenancy::Shared(Writer::Group(found.group)),
    }
}

/// A directory in which others could replace what is published. It is still used: a volume of a pod has to be like that.
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
            // Squire's or root's, and nobody else may write.
            ((0, 0, 0o755), Tenancy::Ours),
            ((500, 7, 0o700), Tenancy::Ours),
            ((600, 7, 0o755), Tenancy::Ours),
            ((0, 0, 0o775), Tenancy::Ours),
            // Directories that platforms make: an emptyDir, one with an fsGroup, /dev/shm.
            ((0, 0, 0o777), Tenancy::Shared(Writer::Everybody)),
            ((0, 1234, 0o2770), Tenancy::Shared(Writer::Group(1234))),
            ((0, 0, 0o1777), Tenancy::Sticky),
            ((500, 7, 0o1770), Tenancy::Sticky),
            // Another user made it first; no mode can make it safe.
            ((65534, 7, 0o700), Tenancy::Theirs(65534)),
            ((65534, 7, 0o1777), Tenancy::Theirs(65534)),
        ];
        for ((owner, group, mode), expected) in cases {
            let trusted = BTreeSet::from([500, 600]);
            assert_eq!(judge(Found { owner, group, mode }, &trusted), expected, "{owner}:{group} {mode:o}");
        }
    }
}
