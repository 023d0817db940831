//! Nothing that Squire wrote outlives it, whatever ended it, and nothing that others wrote is taken for its own.
//!
//! The adversaries: whoever reads a disk or a volume later, another user of the machine who may write to a directory on the way, and an
//! operator whose file stands where a secret is to be.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{Rig, SOON, configure_store, fresh, rig_of_store, store};

const NOBODY: u32 = 65534;

/// Both kinds of files, and the process; then this.
fn configuration(path: &str, rest: &str) -> String {
    format!(
        r#"
        [output]
        dir = "@dir@/out"
        [[file]]
        path   = "relative"
        inline = "{{{{db.password}}}}"
        [[file]]
        path   = "{path}"
        inline = "{{{{db.password}}}}"
        {rest}
        [process]
        command   = ["sleep", "600"]
        on_change = "none"
        "#
    )
}

const ABSOLUTE: &str = "@dir@/elsewhere/app.key";

fn rig(rest: &str) -> (Rig, String) {
    let password = fresh("first");
    let rig = rig_of_store(&json!({"password": password}), &configuration(ABSOLUTE, rest));
    rig.canaries().add(&password);
    fs::create_dir(rig.path("elsewhere")).unwrap();
    rig.allow_secrets_in("elsewhere");
    (rig, password)
}

fn put(rig: &Rig, word: &str) -> String {
    let password = fresh(word);
    rig.canaries().add(&password);
    store(rig, &["put", "prod/app/db"], &json!({ "password": password }).to_string());
    password
}

/// Whether any run of Squire said this.
fn said(rig: &Rig, words: &str) -> bool {
    (1..=9).any(|run| rig.read(&format!("stderr.{run}")).contains(words))
}

/// What is below these directories of the rig: no name and no value of Squire's is left.
#[track_caller]
fn assert_empty(rig: &Rig, directories: &[&str]) {
    for directory in directories {
        let left: Vec<_> =
            fs::read_dir(rig.path(directory)).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

/// A check that fails for a value that begins with `bad`, and one that says that it runs and then takes long for `slow`.
const CHECK: &str = r#"
    [rollout]
    check = [["sh", "-c", "case $(cat {dir}/relative) in bad*) exit 1;; slow*) touch @dir@/seen/checking; sleep 600;; esac"]]
"#;

#[test]
fn a_failed_check_is_no_reason_to_forget_an_absolute_file() {
    let (rig, first) = rig(CHECK);
    let mut squire = rig.run();
    squire.wait_until("the first release is there", || rig.read("elsewhere/app.key") == first);
    put(&rig, "bad");
    squire.wait_until("the check failed", || said(&rig, "failed its check"));
    assert_eq!(rig.read("elsewhere/app.key"), first);
    assert_eq!(squire.stop(), 143);
    assert_empty(&rig, &["out", "elsewhere"]);
}

#[test]
fn what_is_being_checked_is_gone_after_a_stop() {
    // Once where Squire removes what it published, and once where it leaves that to others.
    for on_stop in ["give_back", "leave"] {
        let (rig, first) = rig(&format!("{CHECK}\n[agent]\non_stop = \"{on_stop}\""));
        let mut squire = rig.run();
        squire.wait_until("the first release is there", || rig.read("elsewhere/app.key") == first);
        let slow = put(&rig, "slow");
        squire.wait_until("the check runs", || rig.path("seen/checking").exists());
        assert_eq!(squire.stop(), 143);
        if on_stop == "give_back" {
            assert_empty(&rig, &["out", "elsewhere"]);
            continue;
        }
        assert_eq!((rig.read("out/relative"), rig.read("elsewhere/app.key")), (first.clone(), first));
        let hunt = rig.canaries().hunt();
        assert!(
            hunt.find_below(&rig.path("elsewhere"), &[]).is_some(),
            "the hunt finds what is left on purpose"
        );
        for entry in fs::read_dir(rig.path("elsewhere")).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            assert!(!text.contains(&slow), "the value that was never published is left");
        }
    }
}

#[test]
fn what_a_killed_squire_left_is_removed_by_the_next_one_with_other_paths() {
    // Remembered beside the output, and beside the ledger, where the output may change too.
    for ledger in ["", "[agent]\nledger = \"@dir@/ledger\""] {
        let (rig, first) = rig(ledger);
        rig.allow_secrets_in("ledger");
        rig.allow_secrets_in("other");
        let mut squire = rig.run();
        squire.wait_until("the first release is there", || rig.read("elsewhere/app.key") == first);
        squire.kill();
        assert_eq!(rig.read("elsewhere/app.key"), first);

        let mut configured = configuration("@dir@/elsewhere/new.key", ledger);
        if !ledger.is_empty() {
            configured = configured.replace("@dir@/out", "@dir@/other");
        }
        configure_store(&rig, &configured);
        let mut squire = rig.run();
        squire.wait_until("the file has its new path", || rig.read("elsewhere/new.key") == first);
        assert!(!rig.path("elsewhere/app.key").exists(), "{}", squire.log());
        assert!(!rig.path("elsewhere/.app.key.squire").exists());
        squire.wait_until("it is said", || said(&rig, "files of an earlier run removed"));
        assert_eq!(squire.stop(), 143);
        assert_empty(
            &rig,
            if ledger.is_empty() { &["out", "elsewhere"] } else { &["out", "elsewhere", "other"] },
        );
    }
}

#[test]
fn what_was_left_on_purpose_is_not_removed_by_the_next_one() {
    let (rig, first) = rig("");
    assert_eq!(rig.render().code, 0);
    configure_store(&rig, &configuration("@dir@/elsewhere/new.key", ""));
    let mut squire = rig.run();
    squire.wait_until("the file has its new path", || rig.read("elsewhere/new.key") == first);
    assert_eq!(squire.stop(), 143);
    assert_eq!(rig.read("elsewhere/app.key"), first, "somebody may use it");
}

#[test]
fn a_restart_after_a_kill_knows_its_own_file() {
    let (rig, first) = rig("");
    let mut squire = rig.run();
    squire.wait_until("the first release is there", || rig.read("elsewhere/app.key") == first);
    squire.kill();
    let second = put(&rig, "second");
    let mut squire = rig.run();
    squire.wait_until("it is followed", || rig.read("elsewhere/app.key") == second);
    assert_eq!(squire.stop(), 143);
    assert_empty(&rig, &["out", "elsewhere"]);
}

#[test]
fn an_operators_own_file_is_refused_and_stays() {
    let (rig, _) = rig("");
    rig.write("elsewhere/app.key", "the operator's");
    for outcome in [rig.check(), rig.run().outcome(SOON)] {
        assert_ne!(outcome.code, 0);
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(said.contains("elsewhere/app.key is there already and is not Squire's: remove it"), "{said}");
    }
    assert_eq!(rig.read("elsewhere/app.key"), "the operator's");
    assert_empty(&rig, &["out"]);
}

#[test]
fn a_file_that_somebody_wrote_to_stays_and_is_named() {
    let (rig, first) = rig("");
    let mut squire = rig.run();
    squire.wait_until("the first release is there", || rig.read("elsewhere/app.key") == first);
    fs::remove_file(rig.path("elsewhere/app.key")).unwrap();
    rig.write("elsewhere/app.key", "somebody's");
    assert_eq!(squire.stop(), 143);
    assert_eq!(rig.read("elsewhere/app.key"), "somebody's");
    assert!(squire.log().contains("elsewhere/app.key stays: somebody else wrote to it"), "{}", squire.log());
}

/// As somebody else: makes the directory first, and waits for Squire to publish in it.
fn made_by_nobody(rig: &Rig, directory: &str, mode: u32) {
    fs::create_dir(rig.path(directory)).unwrap();
    fs::set_permissions(rig.path(directory), Permissions::from_mode(mode)).unwrap();
    chown(rig.path(directory), Some(NOBODY), Some(NOBODY)).unwrap();
}

#[test]
fn a_directory_of_somebody_else_is_refused() {
    for (directory, mode) in [("out", 0o755), ("out", 0o1777), ("elsewhere", 0o700)] {
        let (rig, _) = rig("");
        if directory == "elsewhere" {
            fs::remove_dir(rig.path("elsewhere")).unwrap();
        }
        made_by_nobody(&rig, directory, mode);
        let outcome = rig.run().outcome(SOON);
        assert_eq!(outcome.code, 125);
        let words = format!("/{directory} belongs to user 65534, who could put files of their own");
        assert!(outcome.stderr.contains(&words), "{}", outcome.stderr);
        assert!(rig.check().code != 0 && rig.check().stderr.contains(&words), "{}", rig.check().stderr);
        assert_empty(&rig, &[directory]);
    }
}

#[test]
fn a_directory_of_the_user_whom_the_files_are_for_is_taken() {
    let (rig, first) = rig("");
    configure_store(
        &rig,
        &rig_text(&rig).replace(
            "[[file]]\n        path   = \"relative\"",
            "owner = 65534\n[[file]]\npath = \"relative\"",
        ),
    );
    made_by_nobody(&rig, "out", 0o755);
    let mut squire = rig.run();
    squire.wait_until("it is published", || rig.read("out/relative") == first);
    assert_eq!(squire.stop(), 143);
}

fn rig_text(rig: &Rig) -> String {
    let text = rig.read("squire.toml");
    text[text.find("[output]").unwrap()..].to_owned()
}

#[test]
fn a_volume_that_others_may_write_to_is_used_and_said_to_be_so() {
    let (rig, first) = rig("");
    fs::create_dir(rig.path("out")).unwrap();
    // An emptyDir.
    fs::set_permissions(rig.path("out"), Permissions::from_mode(0o777)).unwrap();
    let words = "every user may write to ";
    let checked = rig.check();
    assert!(checked.code == 0 && checked.stderr.contains(words), "{}", checked.stderr);
    let mut squire = rig.run();
    squire.wait_until("it is published", || rig.read("out/relative") == first);
    squire.wait_until("it is said", || said(&rig, words));
    assert_eq!(squire.stop(), 143);
    assert_empty(&rig, &["out"]);
}

/// Everything that another user can make in a directory like `/dev/shm` before Squire comes, and hold.
#[test]
fn another_user_of_a_sticky_directory_takes_no_name_from_squire() {
    let (rig, first) = rig("");
    fs::create_dir(rig.path("out")).unwrap();
    fs::set_permissions(rig.path("out"), Permissions::from_mode(0o1777)).unwrap();
    let theirs = |path: &Path| {
        nix::unistd::fchownat(
            nix::fcntl::AT_FDCWD,
            path,
            Some(NOBODY.into()),
            Some(NOBODY.into()),
            nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW,
        )
        .unwrap();
    };
    // The numbers that come next, the last number there is, and a lock on what they can open.
    let taken = ["..gen-1", "..gen-2", "..gen-3", "..gen-18446744073709551615", "..gen-4611686018427387904"];
    for name in taken {
        fs::create_dir(rig.path("out").join(name)).unwrap();
        theirs(&rig.path("out").join(name));
    }
    let held = File::open(rig.path("out")).unwrap();
    let _held = Flock::lock(held, FlockArg::LockExclusiveNonblock).unwrap();
    let mut squire = rig.run();
    squire.wait_until("it is published", || rig.read("out/relative") == first);
    let second = put(&rig, "second");
    squire.wait_until("it is followed", || rig.read("out/relative") == second);
    let live = fs::read_link(rig.path("out/..data")).unwrap();
    assert_eq!(fs::metadata(rig.path("out").join(live)).unwrap().uid(), 0);
    assert_eq!(squire.stop(), 143);
    let mut left: Vec<_> =
        fs::read_dir(rig.path("out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left.len(), taken.len(), "only what is theirs is left: {left:?}");

    // A link that says where the live release is, to one of theirs, and a lock of theirs: refused, never followed.
    for (name, target) in [("..data", "..gen-1"), ("relative", "..data/relative"), ("..lock", "/etc/passwd")]
    {
        let link = rig.path("out").join(name);
        symlink(target, &link).unwrap();
        theirs(&link);
        let mut squire = rig.run();
        let words = format!("out/{name} is there already and is not Squire's");
        assert!(crate::support::holds_within(SOON, || said(&rig, &words)), "{}", squire.log());
        squire.signal(Signal::SIGTERM);
        squire.wait_for_end(SOON);
        fs::remove_file(link).unwrap();
    }
}
