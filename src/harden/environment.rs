//! Overwrites the values that were read from Squire's own environment, where every process of the same user could see them in `/proc`.
//!
//! *Invariant:* called before any other thread is started, since the environment has no lock.

use std::ffi::CString;

use nix::libc;

/// Overwrites the values of these variables in place. Code that needs them later has to read them before.
#[expect(unsafe_code, reason = "the block that the kernel shows has no owner in Rust")]
pub fn forget(names: &[&str]) {
    for name in names.iter().filter_map(|name| CString::new(*name).ok()) {
        // SAFETY: the name ends in NUL, and no other thread changes the environment.
        let value = unsafe { libc::getenv(name.as_ptr()) };
        if value.is_null() {
            continue;
        }
        // SAFETY: the result of getenv ends in NUL.
        for at in 0..unsafe { libc::strlen(value) } {
            // SAFETY: within the text, which nothing else refers to; volatile, so that the write is not optimized away.
            unsafe { value.add(at).write_volatile(0) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    /// Not a test of its own: the test below runs it in a process with such a variable.
    #[test]
    fn child() {
        if std::env::var_os("SQUIRE_TEST_FORGET").is_none() {
            return;
        }
        super::forget(&["SQUIRE_TEST_FORGET", "SQUIRE_TEST_NOT_THERE"]);
        let shown = std::fs::read("/proc/self/environ").unwrap();
        let shown = String::from_utf8_lossy(&shown);
        assert!(!shown.contains("canary-of-the-environment"), "{shown:?}");
        assert!(shown.contains("SQUIRE_TEST_KEPT=kept"), "{shown:?}");
    }

    #[test]
    fn what_is_forgotten_is_no_longer_shown() {
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "harden::environment::tests::child"]);
        again.env("SQUIRE_TEST_FORGET", "canary-of-the-environment").env("SQUIRE_TEST_KEPT", "kept");
        let output = again.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
    }
}
