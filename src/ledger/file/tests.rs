//! Ledgers on a real tmpfs.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::super::tests::{CANARY, credential, identity, page, said, told};
use super::*;
use crate::memory::MemoryError;

/// A directory on tmpfs, for a ledger below it.
struct Place {
    root: TempDir,
    config: LedgerConfig,
}

impl Place {
    fn new() -> Self {
        Self::at(tempfile::tempdir_in("/dev/shm").unwrap())
    }

    fn at(root: TempDir) -> Self {
        let config = LedgerConfig { directory: root.path().join("squire/ledger"), key_file: None };
        Self { root, config }
    }

    /// Once nobody else has it: a child that another test is just forking has our descriptors until its `exec`.
    fn open(&self) -> Result<Ledger, LedgerError> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match self.open_now() {
                Err(LedgerError::InUse { .. }) if Instant::now() < deadline => std::thread::yield_now(),
                opened => return opened,
            }
        }
    }

    fn open_now(&self) -> Result<Ledger, LedgerError> {
        Ledger::open(&self.config, false)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.config.directory.join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.config.directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn source() -> SourceName {
    SourceName::new("vault")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_page_outlives_its_ledger_and_can_be_forgotten() {
    let place = Place::new();
    let ledger = place.open().unwrap();
    assert!(ledger.page(&source(), &identity()).unwrap().is_none());
    ledger.write(&source(), &page(), &identity()).unwrap();
    ledger.write(&SourceName::new("other"), &page(), &identity()).unwrap();
    drop(ledger);

    let ledger = place.open().unwrap();
    assert_eq!(said(&ledger.read(&source(), &identity()).unwrap()), said(&page()));
    let mut newer = page();
    newer.leases.clear();
    ledger.write(&source(), &newer, &identity()).unwrap();
    assert_eq!(said(&ledger.read(&source(), &identity()).unwrap()), said(&newer));
    assert_eq!(place.names(), ["key", "other.sealed", "vault.sealed"]);

    ledger.remove(&source()).unwrap();
    ledger.remove(&source()).unwrap();
    assert!(ledger.page(&source(), &identity()).unwrap().is_none());
    assert_eq!(said(&ledger.read(&SourceName::new("other"), &identity()).unwrap()), said(&page()));
}

#[test]
fn a_credential_stands_beside_the_page_of_its_source_and_is_forgotten_alone() {
    let place = Place::new();
    let ledger = place.open().unwrap();
    assert!(ledger.credential(&source(), &identity()).is_none());
    ledger.keep(&source(), &credential(), &identity()).unwrap();
    ledger.write(&source(), &page(), &identity()).unwrap();
    drop(ledger);

    let ledger = place.open().unwrap();
    assert_eq!(told(&ledger.credential(&source(), &identity()).unwrap()), told(&credential()));
    assert_eq!(place.names(), ["key", "vault.credential.sealed", "vault.sealed"]);
    assert_eq!(mode(&place.path("vault.credential.sealed")), 0o600);
    let bytes = fs::read(place.path("vault.credential.sealed")).unwrap();
    assert!(!bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()));

    ledger.discard(&source()).unwrap();
    ledger.discard(&source()).unwrap();
    assert!(ledger.credential(&source(), &identity()).is_none());
    assert_eq!(said(&ledger.read(&source(), &identity()).unwrap()), said(&page()));
    ledger.keep(&source(), &credential(), &identity()).unwrap();
    ledger.remove(&source()).unwrap();
    assert!(ledger.credential(&source(), &identity()).is_some());
    // Another login's is not ours.
    let other = Identity { role: None, ..identity() };
    assert!(ledger.credential(&source(), &other).is_none());
}

#[test]
fn only_we_can_enter_the_ledger_and_others_the_directories_above_it() {
    let place = Place::new();
    let ledger = place.open().unwrap();
    ledger.write(&source(), &page(), &identity()).unwrap();
    assert_eq!(mode(&place.config.directory), 0o700);
    assert_eq!(mode(place.config.directory.parent().unwrap()) & 0o500, 0o500);
    assert_eq!(mode(place.config.directory.parent().unwrap()) & 0o022, 0);
    assert_eq!((mode(&place.path("key")), mode(&place.path("vault.sealed"))), (0o400, 0o600));
}

#[test]
fn nothing_of_a_page_is_in_any_file() {
    let place = Place::new();
    place.open().unwrap().write(&source(), &page(), &identity()).unwrap();
    for name in place.names() {
        let bytes = fs::read(place.path(&name)).unwrap();
        assert!(!bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()), "{name}");
    }
}

#[test]
fn no_two_pages_have_one_nonce() {
    let place = Place::new();
    let ledger = place.open().unwrap();
    let mut nonces = std::collections::BTreeSet::new();
    for _ in 0..100 {
        ledger.write(&source(), &page(), &identity()).unwrap();
        let bytes = fs::read(place.path("vault.sealed")).unwrap();
        assert!(nonces.insert(bytes[8..8 + NONCE].to_vec()));
    }
}

#[test]
fn a_page_that_does_not_open_is_ignored_and_replaced() {
    let place = Place::new();
    let ledger = place.open().unwrap();
    ledger.write(&source(), &page(), &identity()).unwrap();
    let whole = fs::read(place.path("vault.sealed")).unwrap();
    let mut edited = whole.clone();
    *edited.last_mut().unwrap() ^= 1;
    for bytes in [&whole[..whole.len() / 2], &edited, &[], b"something else"] {
        fs::write(place.path("vault.sealed"), bytes).unwrap();
        let error = ledger.page(&source(), &identity()).map(drop).unwrap_err();
        assert!(
            chain(&error).starts_with(&format!("{}: this", place.path("vault.sealed").display())),
            "{error}"
        );
        assert!(chain(&error).ends_with("it is ignored"), "{error}");
        assert!(ledger.read(&source(), &identity()).is_none());
    }
    let foreign = Identity { role: None, ..identity() };
    ledger.write(&source(), &page(), &foreign).unwrap();
    assert!(ledger.read(&source(), &identity()).is_none(), "another login's");
    ledger.write(&source(), &page(), &identity()).unwrap();
    assert!(ledger.read(&source(), &identity()).is_some());
}

#[test]
fn what_is_not_a_file_of_a_page_is_ignored() {
    let place = Place::new();
    let ledger = place.open().unwrap();
    let path = place.path("vault.sealed");
    ledger.write(&SourceName::new("other"), &page(), &identity()).unwrap();
    symlink(place.path("other.sealed"), &path).unwrap();
    assert!(matches!(ledger.page(&source(), &identity()), Err(LedgerError::System { .. })));
    fs::remove_file(&path).unwrap();
    let made = Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    assert!(
        matches!(ledger.page(&source(), &identity()), Err(LedgerError::Page { .. })),
        "does not wait for a writer"
    );
    fs::remove_file(&path).unwrap();
    File::create(&path).unwrap().set_len(LARGEST as u64 + 1).unwrap();
    assert!(matches!(ledger.page(&source(), &identity()), Err(LedgerError::Page { .. })), "does not read it");
    ledger.write(&source(), &page(), &identity()).unwrap();
    assert!(ledger.read(&source(), &identity()).is_some());
}

#[test]
fn a_page_that_was_left_half_written_is_not_read_and_not_in_the_way() {
    let place = Place::new();
    let ledger = place.open().unwrap();
    ledger.write(&source(), &page(), &identity()).unwrap();
    let whole = fs::read(place.path("vault.sealed")).unwrap();
    fs::write(place.path("vault.sealed.new"), &whole[..40]).unwrap();
    fs::write(place.path("key.new-0123456789abcdef"), [1; 7]).unwrap();
    drop(ledger);

    let ledger = place.open().unwrap();
    assert_eq!(said(&ledger.read(&source(), &identity()).unwrap()), said(&page()));
    ledger.write(&source(), &page(), &identity()).unwrap();
    assert!(ledger.read(&source(), &identity()).is_some());
    assert!(!place.names().contains(&"vault.sealed.new".to_owned()));
}

#[test]
fn a_page_that_cannot_be_written_leaves_the_one_before() {
    let place = Place::new();
    let ledger = place.open().unwrap();
    ledger.write(&source(), &page(), &identity()).unwrap();
    let mut large = page();
    large.token = crate::secret::Secret::new("x".repeat(LARGEST));
    let error = ledger.write(&source(), &large, &identity()).unwrap_err();
    assert!(chain(&error).contains("larger than 16 MiB"), "{}", chain(&error));
    fs::create_dir(place.path("vault.sealed.new")).unwrap();
    assert!(ledger.write(&source(), &page(), &identity()).is_err());
    assert!(ledger.read(&source(), &identity()).is_some());

    fs::remove_dir_all(&place.config.directory).unwrap();
    assert!(matches!(ledger.write(&source(), &page(), &identity()), Err(LedgerError::System { .. })));
    assert!(ledger.read(&source(), &identity()).is_none());
}

#[test]
fn a_second_agent_gets_no_ledger_until_the_first_is_gone() {
    let place = Place::new();
    let first = place.open().unwrap();
    let error = place.open_now().unwrap_err();
    assert!(matches!(&error, LedgerError::InUse { path } if *path == place.config.directory), "{error}");
    drop(first);
    place.open().unwrap();
}

/// The test runs itself as the agent that is going to be killed.
#[test]
fn the_lock_does_not_outlive_a_killed_agent_though_its_child_does() {
    const HELD: &str = "SQUIRE_TEST_HELD_LEDGER";
    if let Some(directory) = std::env::var_os(HELD) {
        let config = LedgerConfig { directory: directory.into(), key_file: None };
        let _ledger = Ledger::open(&config, false).unwrap();
        let mut child = Command::new("sleep").arg("60").stdout(Stdio::null()).spawn().unwrap();
        println!("\nheld beside {}", child.id());
        child.wait().unwrap();
        return;
    }
    let place = Place::new();
    let mut agent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("ledger::file::tests::the_lock_does_not_outlive_a_killed_agent_though_its_child_does")
        .env(HELD, &place.config.directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(agent.stdout.take().unwrap()).lines().map(Result::unwrap);
    let child = lines.find_map(|line| line.strip_prefix("held beside ").map(str::to_owned)).unwrap();
    let held = place.open_now();
    agent.kill().unwrap();
    agent.wait().unwrap();
    let after = place.open();
    let killed = kill(Pid::from_raw(child.parse().unwrap()), Signal::SIGKILL);
    assert!(matches!(held, Err(LedgerError::InUse { .. })));
    after.unwrap();
    killed.expect("the child lived on");
}

#[test]
fn a_key_elsewhere_is_made_there_and_opens_what_it_sealed() {
    let mut place = Place::new();
    let key_file = place.root.path().join("elsewhere.key");
    place.config.key_file = Some(key_file.clone());
    place.open().unwrap().write(&source(), &page(), &identity()).unwrap();
    assert_eq!(place.names(), ["vault.sealed"]);
    let first = fs::read(&key_file).unwrap();
    assert_eq!((first.len(), mode(&key_file)), (KEY_LENGTH, 0o400));
    assert!(place.open().unwrap().read(&source(), &identity()).is_some());
    assert_eq!(fs::read(&key_file).unwrap(), first, "not made anew");

    let link = place.root.path().join("link");
    symlink(&key_file, &link).unwrap();
    place.config.key_file = Some(link);
    assert!(place.open().unwrap().read(&source(), &identity()).is_some(), "as mounted into a container");

    fs::remove_file(&key_file).unwrap();
    place.config.key_file = Some(key_file);
    assert!(place.open().unwrap().read(&source(), &identity()).is_none(), "another key");
}

const KEY_LENGTH: usize = 32;

#[test]
fn who_makes_a_key_at_the_same_time_gets_the_same() {
    let place = Place::new();
    let key_file = place.root.path().join("shared.key");
    let threads = [0, 1, 2, 3].map(|_| {
        let key_file = key_file.clone();
        std::thread::spawn(move || key_file::read_or_make(CWD, &key_file, &key_file).unwrap())
    });
    let keys = threads.map(|thread| thread.join().unwrap());
    let sealed = page().seal(&keys[0], [0; NONCE], &identity()).unwrap();
    for key in keys {
        Page::open(&sealed, &key, &identity()).unwrap();
    }
    assert_eq!(fs::read_dir(place.root.path()).unwrap().count(), 1, "nothing is left of the others");
}

#[test]
fn a_key_that_is_none_or_that_others_have_is_refused() {
    let place = Place::new();
    drop(place.open().unwrap());
    let path = place.path("key");
    let with = |bytes: &[u8], mode: u32| {
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        set_mode(&path, mode);
        place.open()
    };
    for length in [0, 1, KEY_LENGTH - 1, KEY_LENGTH + 1, 4096] {
        let error = with(&vec![1; length], 0o400).unwrap_err();
        assert!(matches!(error, LedgerError::NotAKey { .. }), "{length}: {error}");
    }
    for mode in [0o404, 0o444, 0o402, 0o401, 0o420, 0o660, 0o777] {
        let error = with(&[1; KEY_LENGTH], mode).unwrap_err();
        assert!(matches!(error, LedgerError::Exposed { .. }), "{mode:o}: {error}");
    }
    for mode in [0o400, 0o600, 0o440] {
        with(&[1; KEY_LENGTH], mode).unwrap();
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    set_mode(&path, 0o700);
    assert!(matches!(place.open(), Err(LedgerError::NotAKey { .. })));
}

#[test]
fn a_directory_that_others_may_enter_is_refused() {
    let place = Place::new();
    drop(place.open().unwrap());
    for mode in [0o701, 0o750, 0o755, 0o777, 0o1777] {
        set_mode(&place.config.directory, mode);
        let error = place.open().unwrap_err();
        assert!(matches!(error, LedgerError::Exposed { .. }), "{mode:o}: {error}");
    }
    set_mode(&place.config.directory, 0o2700);
    place.open().unwrap();
}

#[test]
fn a_directory_or_a_key_of_somebody_else_is_refused() {
    if !geteuid().is_root() {
        println!("skipped: only root may give files away");
        return;
    }
    let place = Place::new();
    drop(place.open().unwrap());
    std::os::unix::fs::chown(place.path("key"), Some(12345), None).unwrap();
    assert!(matches!(place.open(), Err(LedgerError::Exposed { .. })));
    std::os::unix::fs::chown(place.path("key"), Some(0), None).unwrap();
    std::os::unix::fs::chown(&place.config.directory, Some(12345), None).unwrap();
    assert!(matches!(place.open(), Err(LedgerError::Exposed { .. })));
}

#[test]
fn what_is_not_a_directory_of_ours_is_refused() {
    let place = Place::new();
    drop(place.open().unwrap());
    let moved = place.root.path().join("moved");
    fs::rename(&place.config.directory, &moved).unwrap();
    symlink(&moved, &place.config.directory).unwrap();
    assert!(matches!(place.open(), Err(LedgerError::System { .. })), "a symlink");
    fs::remove_file(&place.config.directory).unwrap();
    fs::write(&place.config.directory, "").unwrap();
    assert!(matches!(place.open(), Err(LedgerError::System { .. })), "a file");
}

#[test]
fn a_disk_is_refused_unless_it_is_allowed() {
    let beside = std::env::current_exe().unwrap();
    let place = Place::at(tempfile::tempdir_in(beside.parent().unwrap()).unwrap());
    if memory::require(place.root.path(), false).is_ok() {
        println!("skipped: {} is in memory", place.root.path().display());
        return;
    }
    let error = place.open().unwrap_err();
    assert!(matches!(error, LedgerError::Memory(MemoryError::Disk { .. })), "{error}");
    assert_eq!(fs::read_dir(place.root.path()).unwrap().count(), 0, "nothing was made");

    let ledger = Ledger::open(&place.config, true).unwrap();
    ledger.write(&source(), &page(), &identity()).unwrap();
    assert!(ledger.read(&source(), &identity()).is_some());
}
