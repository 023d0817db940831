//! What the kernel says of Squire's own process.

use std::fs;
use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::{SysconfVar, sysconf};

/// The figures, as far as the kernel tells.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::admin) struct Figures {
    /// The time that processors spent on it.
    pub(super) cpu: Duration,
    /// Its memory that is in RAM, in bytes.
    pub(super) resident: Option<u64>,
    /// Its open file descriptors.
    pub(super) descriptors: Option<u64>,
    /// Their limit.
    pub(super) most_descriptors: Option<u64>,
}

impl Figures {
    /// The figures of now.
    pub(in crate::admin) fn read() -> Self {
        let descriptors = fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
        Self {
            cpu: cpu().unwrap_or_default(),
            resident: resident(),
            // One of them is the directory that is being read.
            descriptors: descriptors.and_then(|count| u64::try_from(count.saturating_sub(1)).ok()),
            most_descriptors: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
        }
    }
}

fn cpu() -> Option<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    u64::try_from(micros).ok().map(Duration::from_micros)
}

/// The second number of `/proc/self/statm`, in pages.
fn resident() -> Option<u64> {
    let pages: u64 = fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten()?;
    Some(pages * u64::try_from(size).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_all_of_them() {
        let before = Figures::read();
        let held: Vec<_> = (0..10).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        let after = Figures::read();
        assert!(after.descriptors.unwrap() >= 10, "{before:?} {after:?}");
        assert!(after.most_descriptors.unwrap() >= after.descriptors.unwrap());
        assert!((1 << 20..1 << 40).contains(&after.resident.unwrap()), "{after:?}");
        assert!(after.cpu > Duration::ZERO && after.cpu >= before.cpu);
        drop(held);
    }
}
