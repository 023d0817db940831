//! Readers during rotations: no torn read, and files without a change are not touched.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use serde_json::json;

use crate::support::{Bao, Rig, Tenant, fresh};

const ROTATIONS: usize = 200;

/// Values that are long enough to show a partial one.
fn write(tenant: &Tenant<'_>, number: usize) {
    let user = format!("user-{number}-{}", "u".repeat(2000));
    let password = format!("canary-{number}-{}", "p".repeat(3000));
    tenant.write("db", &json!({"user": user, "password": password}));
}

/// The number in a complete value.
fn number(value: &str, length: usize) -> Option<usize> {
    let (number, padding) = value.split_once('-')?.1.split_once('-')?;
    (padding.len() == length).then(|| number.parse().ok())?
}

/// Reads both files through one resolution of the generation directory.
fn read_both(output: &Path) -> Result<usize, String> {
    let directory = open(&output.join("..data"), OFlag::O_DIRECTORY | OFlag::O_RDONLY, Mode::empty())
        .map_err(|error| format!("the generation directory: {error}"))?;
    let read = |name: &str, length| {
        let file = openat(&directory, name, OFlag::O_RDONLY, Mode::empty())
            .map_err(|error| format!("{name}: {error}"))?;
        let mut text = String::new();
        File::from(file).read_to_string(&mut text).map_err(|error| format!("{name}: {error}"))?;
        number(&text, length).ok_or_else(|| format!("{name}: {} bytes, torn", text.len()))
    };
    let (user, password) = (read("user", 2000)?, read("password", 3000)?);
    if user == password { Ok(user) } else { Err(format!("user of {user} with password of {password}")) }
}

/// Reads one file by its own path, like programs that do not know about generations.
fn read_one(output: &Path) -> Result<usize, String> {
    let text =
        std::fs::read_to_string(output.join("password")).map_err(|error| format!("password: {error}"))?;
    number(&text, 3000).ok_or_else(|| format!("password: {} bytes, torn", text.len()))
}

#[test]
fn a_reader_never_sees_a_torn_pair_in_two_hundred_rotations() {
    let tenant = Bao::shared().tenant();
    write(&tenant, 0);
    let rig = Rig::new(&tenant);
    rig.config(
        r#"
        [secret.db]
        path    = "secret/@tenant@/db"
        refresh = "50ms"
        [[file]]
        path   = "user"
        inline = "{{db.user}}"
        [[file]]
        path   = "password"
        inline = "{{db.password}}"
        [rollout]
        settle = "5ms"
        "#,
    );
    let mut squire = rig.run();
    let output = rig.path("out");
    squire.wait_until("the first pair is there", || read_both(&output) == Ok(0));
    let (done, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let hammer = |read: fn(&Path) -> Result<usize, String>| {
            let (done, reads, output) = (&done, &reads, &output);
            move || {
                let mut newest = 0;
                while !done.load(Ordering::Relaxed) {
                    let seen = read(output).map_err(|error| format!("after {newest}: {error}"))?;
                    if seen < newest {
                        return Err(format!("went back from {newest} to {seen}"));
                    }
                    newest = seen;
                    reads.fetch_add(1, Ordering::Relaxed);
                    std::thread::yield_now();
                }
                Ok(newest)
            }
        };
        let readers = [scope.spawn(hammer(read_both)), scope.spawn(hammer(read_one))];
        let stop = StopAtEnd(&done);
        for rotation in 1..=ROTATIONS {
            write(&tenant, rotation);
            squire.wait_until("the rotation arrives", || {
                readers.iter().any(std::thread::ScopedJoinHandle::is_finished)
                    || read_both(&output) == Ok(rotation)
            });
        }
        drop(stop);
        for reader in readers {
            reader.join().unwrap().unwrap();
        }
    });
    assert!(reads.load(Ordering::Relaxed) > 20 * ROTATIONS, "the readers hardly read: {reads:?}");
    assert_eq!(squire.stop(), 0);
}

/// Ends the readers even if the test fails; otherwise the scope would wait for them for ever.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn unchanged_files_keep_inode_and_mtime_when_another_changes() {
    let tenant = Bao::shared().tenant();
    tenant.write("stays", &json!({"password": fresh("stays")}));
    tenant.write("moves", &json!({"password": fresh("moves")}));
    let rig = Rig::new(&tenant);
    rig.allow_secrets_in("absolute");
    rig.config(
        r#"
        [secret.stays]
        path = "secret/@tenant@/stays"
        [secret.moves]
        path = "secret/@tenant@/moves"
        [[file]]
        path   = "stays"
        inline = "{{stays.password}}"
        [[file]]
        path   = "@dir@/absolute"
        inline = "{{stays.password}}"
        [[file]]
        path   = "moves"
        inline = "{{moves.password}}"
        "#,
    );
    let identity = |name: &str| {
        let metadata = std::fs::metadata(rig.path(name)).unwrap();
        (metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.mode())
    };
    let mut squire = rig.run();
    squire.wait_until("the files are there", || {
        !rig.read("out/moves").is_empty() && rig.path("absolute").exists()
    });
    let before = ["out/stays", "absolute"].map(identity);
    let moving = identity("out/moves");
    for _ in 0..3 {
        let next = fresh("next");
        tenant.write("moves", &json!({"password": next}));
        squire.wait_until("the other file is new", || rig.read("out/moves") == next);
        assert_eq!(["out/stays", "absolute"].map(identity), before);
    }
    assert_ne!(identity("out/moves").0, moving.0);
}

#[test]
fn a_pinned_version_stays_while_the_newest_moves() {
    let tenant = Bao::shared().tenant();
    let (first, second) = (fresh("first"), fresh("second"));
    tenant.write("db", &json!({"password": first}));
    let rig = Rig::new(&tenant);
    rig.config(
        r#"
        [secret.pinned]
        path    = "secret/@tenant@/db"
        version = 1
        [secret.newest]
        path = "secret/@tenant@/db"
        [[file]]
        path   = "pinned"
        inline = "{{pinned.password}}"
        [[file]]
        path   = "newest"
        inline = "{{newest.password}}"
        "#,
    );
    let mut squire = rig.run();
    squire.wait_until("the first is there", || rig.read("out/newest") == first);
    tenant.write("db", &json!({"password": second}));
    squire.wait_until("the second is there", || rig.read("out/newest") == second);
    assert_eq!(rig.read("out/pinned"), first);
}

#[test]
fn changes_that_come_together_make_one_rollout() {
    let tenant = Bao::shared().tenant();
    for name in ["one", "two"] {
        tenant.write(name, &json!({"password": fresh("before")}));
    }
    let rig = Rig::new(&tenant);
    rig.config(
        r#"
        [secret.one]
        path = "secret/@tenant@/one"
        [secret.two]
        path = "secret/@tenant@/two"
        [[file]]
        path   = "one"
        inline = "{{one.password}}"
        [[file]]
        path   = "two"
        inline = "{{two.password}}"
        [process]
        command = ["sh", "-c", "echo start >> seen/starts; exec sleep 1000"]
        [rollout]
        settle = "3s"
        "#,
    );
    let started = std::time::Instant::now();
    let mut squire = rig.run();
    squire.wait_until("the child starts", || rig.read("seen/starts") == "start\n");
    assert!(started.elapsed().as_secs() < 3, "the first start waited to settle");
    for name in ["one", "two"] {
        tenant.write(name, &json!({"password": fresh("after")}));
    }
    squire.wait_until("both are new", || {
        rig.read("out/one").starts_with("after") && rig.read("out/two").starts_with("after")
    });
    squire.wait_until("the child was started again", || rig.read("seen/starts").lines().count() >= 2);
    assert_eq!(rig.read("seen/starts").lines().count(), 2);
}
