//! Clocks for Squire that a test can set: the wall clock, and the one that counts the time that the machine was suspended. The monotonic
//! clock is not changed.
//!
//! The test's Squire is linked dynamically, so a small library before libc can return other times. It adds the numbers of seconds in a
//! file.
//!
//! *Invariant:* only a process that runs in a rig with these clocks sees them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Command;

use tempfile::TempDir;

use super::{Rig, scratch};

const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *ahead;
static int (*real)(clockid_t, struct timespec *);

__attribute__((constructor)) static void start(void) {
    real = dlsym(RTLD_NEXT, "clock_gettime");
    const char *path = getenv("TEST_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *map = mmap(0, 2 * sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (map != MAP_FAILED) ahead = map;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    if (result == 0 && clock == CLOCK_REALTIME && ahead) time->tv_sec += ahead[0];
    if (result == 0 && clock == CLOCK_BOOTTIME && ahead) time->tv_sec += ahead[1];
    return result;
}
"#;

/// The clocks of one rig.
pub(crate) struct Clock {
    ahead: File,
    directory: TempDir,
}

impl Clock {
    /// Clocks that are right until they are set.
    pub(crate) fn new() -> Self {
        let directory = scratch::on_disk("clock");
        let file = |name: &str| directory.path().join(name);
        std::fs::write(file("clock.c"), LIBRARY).unwrap();
        let mut compiler = Command::new("cc");
        compiler
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(file("clock.so"))
            .arg(file("clock.c"))
            .arg("-ldl");
        let output = compiler.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let ahead = File::options().write(true).create_new(true).open(file("ahead")).unwrap();
        let clock = Self { ahead, directory };
        clock.set(0, 0);
        clock
    }

    /// Somebody sets the wall clock this many seconds ahead of the real time; behind if negative.
    pub(crate) fn set_wall_ahead(&self, seconds: i64) {
        self.set(seconds, 0);
    }

    /// The machine wakes up after this many seconds.
    pub(crate) fn sleep_for(&self, seconds: i64) {
        self.set(seconds, seconds);
    }

    fn set(&self, wall: i64, asleep: i64) {
        let both = [wall.to_ne_bytes(), asleep.to_ne_bytes()].concat();
        self.ahead.write_all_at(&both, 0).unwrap();
    }

    /// Gives them to the processes of a rig.
    pub(crate) fn give_to(&self, rig: &Rig) {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        rig.set("LD_PRELOAD", &path("clock.so"));
        rig.set("TEST_CLOCK", &path("ahead"));
    }
}
