//! No file that Squire wrote is left after it, however it ended, and no file of others is taken for its own.
//!
//! The adversaries: somebody who reads a disk or a volume later, another user of the machine who may write to a directory of the path, and
//! an operator whose own file has the path of a secret.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{Rig, SOON, Tmpfs, configure_store, fresh, rig_of_store, store};

const NOBODY: u32 = 65534;

/// Both kinds of files, and the process; then these lines.
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

/// Whether any run of Squire logged this.
fn said(rig: &Rig, words: &str) -> bool {
    (1..=9).any(|run| rig.read(&format!("stderr.{run}")).contains(words))
}

/// Lists what is below these directories of the rig: no name and no value of Squire's is left.
#[track_caller]
fn assert_empty(rig: &Rig, directories: &[&str]) {
    for directory in directories {
        let left: Vec<_> =
            fs::read_dir(rig.path(directory)).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

/// A check that fails for a value that begins with `bad`; for `slow` it reports that it runs and then takes long.
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
    // Once with Squire removing what it published, and once without.
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
    // The roster beside the output, and in the ledger, where the output may change too.
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

/// As another user: makes the directory first, and waits for Squire to publish in it.
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

/// Everything that another user can make or hold in a directory like `/dev/shm` before Squire comes.
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
    // The next generation numbers, the last possible number, and a lock on every file that they can open.
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

    // A `..data` link to one of their directories, and a lock file of theirs: refused, never followed.
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

/// As the other user: renames or makes what they like in a directory that everybody may write to.
fn as_nobody(rig: &Rig, script: &str) {
    let mut shell = Command::new("setpriv");
    shell.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--", "sh", "-c", script]);
    let output = shell.current_dir(rig.directory()).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A rig whose output is such a directory.
fn shared(mode: u32, rest: &str) -> (Rig, String) {
    let (rig, first) = rig(rest);
    fs::create_dir(rig.path("out")).unwrap();
    fs::set_permissions(rig.path("out"), Permissions::from_mode(mode)).unwrap();
    fs::set_permissions(rig.directory(), Permissions::from_mode(0o755)).unwrap();
    (rig, first)
}

#[test]
fn what_is_renamed_to_a_generation_is_not_squires_to_remove() {
    let (rig, first) = shared(0o777, "");
    // Root's own, that nobody could not remove.
    fs::create_dir(rig.path("out/rootdata")).unwrap();
    rig.write("out/rootdata/precious", "kept");
    fs::set_permissions(rig.path("out/rootdata"), Permissions::from_mode(0o700)).unwrap();
    fs::create_dir(rig.path("out/other")).unwrap();
    as_nobody(&rig, "mv out/rootdata out/..gen-9 && mv out/other out/..gen-18446744073709551615");
    let mut squire = rig.run();
    squire.wait_until("it is published", || rig.read("out/relative") == first);
    let second = put(&rig, "second");
    squire.wait_until("it is followed", || rig.read("out/relative") == second);
    assert_eq!(squire.stop(), 143);
    assert_eq!(rig.read("out/..gen-9/precious"), "kept");
    assert!(!rig.path("out/..data").exists());
    // After a kill too, a restart goes on.
    let mut squire = rig.run();
    squire.wait_until("it is published", || rig.read("out/relative") == second);
    squire.kill();
    let mut squire = rig.run();
    let again = crate::support::holds_within(SOON, || squire.log().contains("process started"));
    assert!(again, "{}", squire.log());
    assert_eq!(squire.stop(), 143);
    assert_eq!(rig.read("out/..gen-9/precious"), "kept");
}

/// The directory of a generation is exchanged for one of theirs, with their group, while Squire writes into it.
#[test]
fn a_generation_that_is_exchanged_gets_no_secret_and_is_not_shown() {
    let (rig, first) = shared(0o777, "");
    rig.write("squire.toml", &rig.read("squire.toml").replace("dir = ", "mode = \"0440\"\ndir = "));
    rig.write(
        "exchange.py",
        r#"
import ctypes, os, sys
libc = ctypes.CDLL(None)
os.chdir("out")
os.makedirs("evil", exist_ok=True); os.chmod("evil", 0o2777)
print("ready", flush=True)
while os.getppid() != 1:
    for number in range(1, 40):
        libc.renameat2(-100, b"..gen-%d" % number, -100, b"evil", 2)
"#,
    );
    let mut attacker = Command::new("setpriv")
        .args([
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
            "--pdeathsig",
            "KILL",
            "--",
            "python3",
            "exchange.py",
        ])
        .current_dir(rig.directory())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut squire = rig.run();
    let mut values = vec![first];
    for turn in 0..12 {
        values.push(put(&rig, &format!("turn{turn}")));
        let until = Instant::now() + Duration::from_millis(300);
        while Instant::now() < until {
            // Whoever reads as the other user finds no value, wherever it is.
            let read = Command::new("setpriv")
                .args([
                    "--reuid",
                    "65534",
                    "--regid",
                    "65534",
                    "--clear-groups",
                    "--",
                    "grep",
                    "-rhs",
                    "",
                    "out",
                ])
                .current_dir(rig.directory())
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&read.stdout).into_owned();
            assert!(!values.iter().any(|value| text.contains(value)), "somebody else reads a value");
        }
    }
    attacker.kill().unwrap();
    attacker.wait().unwrap();
    squire.signal(Signal::SIGTERM);
    squire.wait_for_end(SOON);
}

#[test]
fn a_directory_below_somebody_elses_is_refused_and_so_is_their_link() {
    // Made first, in a directory like /dev/shm, with a group of theirs to inherit.
    let (rig, _) = rig("");
    let text = rig.read("squire.toml").replace("/out\"", "/theirs/out\"");
    rig.write("squire.toml", &text);
    made_by_nobody(&rig, "theirs", 0o2755);
    let outcome = rig.run().outcome(SOON);
    assert!(
        outcome.code == 125 && outcome.stderr.contains("/theirs belongs to user 65534"),
        "{}",
        outcome.stderr
    );
    assert_empty(&rig, &["theirs"]);
    // A link leads wherever they like.
    fs::remove_dir(rig.path("theirs")).unwrap();
    fs::create_dir(rig.path("real")).unwrap();
    symlink("real", rig.path("theirs")).unwrap();
    std::os::unix::fs::lchown(rig.path("theirs"), Some(NOBODY), Some(NOBODY)).unwrap();
    let outcome = rig.run().outcome(SOON);
    assert!(
        outcome.code == 125 && outcome.stderr.contains("/theirs belongs to user 65534"),
        "{}",
        outcome.stderr
    );
    assert_empty(&rig, &["real"]);
}

/// They cannot remove what is in it, and they can exchange the link that leads to it.
#[test]
fn what_somebody_hides_by_a_link_of_theirs_is_removed_all_the_same() {
    let (rig, first) = shared(0o777, "");
    let mut squire = rig.run();
    squire.wait_until("it is published", || rig.read("out/relative") == first);
    as_nobody(&rig, "cd out && mv ..data hidden && ln -s elsewhere ..data");
    assert_eq!(squire.stop(), 143);
    let generations = fs::read_dir(rig.path("out")).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = generations.filter(|name| name.to_string_lossy().starts_with("..gen-")).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    let hunt = rig.canaries().hunt();
    assert!(hunt.find_below(&rig.path("out"), &[]).is_none(), "a value is left");
}

/// Names that Squire will need later, taken by somebody else while it runs.
#[test]
fn a_name_that_is_taken_while_squire_runs_stops_no_rotation() {
    let (rig, first) = shared(0o1777, "");
    let mut squire = rig.run();
    squire.wait_until("it is published", || rig.read("out/relative") == first);
    as_nobody(
        &rig,
        "cd out && ln -s x ..data_next && ln -s x ..data_spare && mkdir ..gen-2 ..gen-3 ..published-next ..generations-next",
    );
    for _ in 0..3 {
        let next = put(&rig, "next");
        squire.wait_until("it is followed", || {
            rig.read("out/relative") == next && rig.read("elsewhere/app.key") == next
        });
    }
    assert_eq!(squire.stop(), 143);
    assert!(!rig.path("out/..data").exists() && !rig.path("elsewhere/app.key").exists());
}

#[test]
fn a_full_volume_does_not_keep_squire_from_starting_again() {
    let (rig, _) = rig("");
    let small = Tmpfs::mount(&rig.path("out"));
    rig.allow_secrets_in("out");
    let large = fresh("large").repeat(600);
    store(&rig, &["put", "prod/app/db"], &json!({ "password": large }).to_string());
    let mut squire = rig.run();
    squire.wait_until("it is published", || rig.read("out/relative") == large);
    squire.kill();
    small.fill();
    let mut squire = rig.run();
    let again = crate::support::holds_within(SOON, || squire.log().contains("process started"));
    assert!(again, "{}", squire.log());
    assert_eq!(squire.stop(), 143);
    assert!(!rig.path("out/..data").exists());
}

#[test]
fn what_an_operator_put_in_the_place_of_squires_file_is_refused_at_the_next_start() {
    let (rig, first) = rig("");
    let mut squire = rig.run();
    squire.wait_until("the first release is there", || rig.read("elsewhere/app.key") == first);
    squire.kill();
    rig.write("elsewhere/app.key", "the operator's");
    let outcome = rig.run().outcome(SOON);
    assert!(outcome.stderr.contains("app.key is there already and is not Squire's"), "{}", outcome.stderr);
    assert_eq!(rig.read("elsewhere/app.key"), "the operator's");
}

#[test]
fn what_could_not_be_removed_is_remembered_until_it_can() {
    let (rig, first) = rig("");
    fs::remove_dir(rig.path("elsewhere")).unwrap();
    let volume = Tmpfs::mount(&rig.path("elsewhere"));
    let mut squire = rig.run();
    squire.wait_until("the first release is there", || rig.read("elsewhere/app.key") == first);
    squire.kill();
    volume.turn_read_only();
    fs::create_dir(rig.path("second")).unwrap();
    rig.allow_secrets_in("second");
    configure_store(&rig, &configuration("@dir@/second/app.key", ""));
    let mut squire = rig.run();
    squire.wait_until("the file has its new path", || rig.read("second/app.key") == first);
    squire.wait_until("it is said", || said(&rig, "published files not removed"));
    squire.kill();
    volume.turn_writable();
    // With a ledger by now, which knows nothing yet.
    rig.allow_secrets_in("ledger");
    configure_store(&rig, &configuration("@dir@/second/app.key", "[agent]\nledger = \"@dir@/ledger\""));
    let mut squire = rig.run();
    squire.wait_until("what was left is removed", || !rig.path("elsewhere/app.key").exists());
    assert_eq!(squire.stop(), 143);
    assert_empty(&rig, &["elsewhere", "second", "out"]);
}

#[test]
fn an_output_directory_that_is_exchanged_while_squire_runs_is_not_written_to() {
    let (rig, first) = rig("");
    let mut squire = rig.run();
    squire.wait_until("it is published", || rig.read("out/relative") == first);
    fs::rename(rig.path("out"), rig.path("elsewhere/out")).unwrap();
    fs::create_dir(rig.path("out")).unwrap();
    put(&rig, "second");
    squire.wait_until("it is said", || said(&rig, "is another directory than when Squire started"));
    assert_empty(&rig, &["out"]);
    // Where the former one is put back, it goes on.
    fs::remove_dir(rig.path("out")).unwrap();
    fs::rename(rig.path("elsewhere/out"), rig.path("out")).unwrap();
    let third = put(&rig, "third");
    squire.wait_until("it is followed again", || rig.read("out/relative") == third);
    assert_eq!(squire.stop(), 143);
}

#[test]
fn a_stop_says_that_its_output_directory_was_moved_away() {
    let (rig, first) = rig("");
    let mut squire = rig.run();
    squire.wait_until("it is published", || rig.read("out/relative") == first);
    fs::rename(rig.path("out"), rig.path("elsewhere/out")).unwrap();
    fs::create_dir(rig.path("out")).unwrap();
    assert_eq!(squire.stop(), 143);
    let log = squire.log();
    assert!(log.contains("published files not removed") && log.contains("is another directory"), "{log}");
}

/// Nor is the former release put there, when its process is not well with the new one.
#[test]
fn a_way_back_does_not_lead_into_a_directory_that_was_exchanged() {
    let (rig, first) = rig("");
    configure_store(
        &rig,
        r#"
        [output]
        dir = "@dir@/out"
        [[file]]
        path   = "relative"
        inline = "{{db.password}}"
        [process]
        command = ["sh", "-c", "case $P in bad*) touch @dir@/seen/bad;; esac; exec sleep 600"]
        env     = { P = "{{db.password}}" }
        [rollout]
        probe = { command = ["sh", "-c", "case $P in bad*) until [ -e seen/go ]; do sleep 0.02; done; exit 1;; esac"], attempt_timeout = "60s", timeout = "90s", failures = 1 }
        "#,
    );
    let mut squire = rig.run();
    squire.wait_until("the process runs", || {
        rig.read("out/relative") == first && said(&rig, "process started")
    });
    put(&rig, "bad");
    squire.wait_until("the process has the new value", || rig.path("seen/bad").exists());
    fs::rename(rig.path("out"), rig.path("elsewhere/out")).unwrap();
    fs::create_dir(rig.path("out")).unwrap();
    rig.write("seen/go", "");
    squire.wait_until("it is said", || said(&rig, "is another directory than when Squire started"));
    assert_empty(&rig, &["out"]);
    squire.stop();
}
