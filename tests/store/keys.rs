//! A store's key that is not in a plain file beside it: in shares, passed by systemd, or sealed by a TPM.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::bench::{Bench, code, stderr, stdout};
use crate::tpm::{Tpm, impostor};

const KEY: &str = "squire.store.key";

/// A store whose key was split, three of five, and removed; and the key.
fn split() -> (Bench, String) {
    let bench = Bench::new();
    bench.put("prod/app/db", "sesame");
    let key = fs::read_to_string(bench.path(KEY)).unwrap();
    let output = bench.store(&["key", "split", "3-of-5", "--to-prefix", "share"]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(!stdout(&output).contains(key.trim()) && stdout(&output).contains("any 3 of them"), "{output:?}");
    fs::remove_file(bench.path(KEY)).unwrap();
    (bench, key)
}

fn read(bench: &Bench, number: usize) -> String {
    fs::read_to_string(bench.path(&format!("share-{number}"))).unwrap()
}

#[test]
fn any_three_of_five_shares_are_the_key_and_no_two() {
    let (bench, key) = split();
    let names: Vec<_> = (1..=5).map(|number| format!("share-{number}")).collect();
    for name in &names {
        assert_eq!(fs::metadata(bench.path(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        assert_eq!(fs::read_to_string(bench.path(name)).unwrap().lines().count(), 1, "{name}");
    }
    for mask in 1_u32..32 {
        let chosen: Vec<_> =
            (0..5).filter(|bit| mask & (1 << bit) != 0).map(|bit| names[bit].as_str()).collect();
        let output = bench.store(&[&["key", "combine"], &chosen[..], &["--to", KEY]].concat());
        if chosen.len() < 3 {
            let reason = format!(
                "3 shares are needed, and here are {}: ask for {} more",
                chosen.len(),
                3 - chosen.len()
            );
            assert!(code(&output) == 1 && stderr(&output).contains(&reason), "{chosen:?}: {output:?}");
            assert!(!bench.path(KEY).exists(), "{chosen:?}");
            continue;
        }
        assert_eq!(code(&output), 0, "{chosen:?}: {output:?}");
        assert!(!stdout(&output).contains(key.trim()), "{output:?}");
        assert_eq!(fs::read_to_string(bench.path(KEY)).unwrap(), key, "{chosen:?}");
        assert_eq!(fs::metadata(bench.path(KEY)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(bench.get("prod/app/db"), "sesame");
        fs::remove_file(bench.path(KEY)).unwrap();
    }
}

#[test]
fn what_is_wrong_with_a_share_is_named_with_its_file() {
    let (bench, key) = split();
    let (other, _) = split();
    fs::copy(other.path("share-3"), bench.path("other")).unwrap();
    let typed = read(&bench, 3);
    let at = typed.rfind(':').unwrap() - 1;
    let wrong = if typed[at..=at] == *"0" { "1" } else { "0" };
    fs::write(bench.path("mistyped"), format!("{}{wrong}{}", &typed[..at], &typed[at + 1..])).unwrap();
    fs::write(bench.path("cut"), &typed[..60]).unwrap();
    fs::write(bench.path("key"), &key).unwrap();
    fs::write(bench.path("binary"), [0, 159, 146, 150]).unwrap();
    fs::write(bench.path("loud"), typed.to_uppercase().replace(':', ": \n")).unwrap();
    for (third, reason) in [
        ("other", "other is of the set"),
        ("mistyped", "mistyped is not as it was written"),
        ("cut", "cut is not a whole share"),
        ("key", "key is no share"),
        ("binary", "binary is no share"),
        ("share-2", "share-2 is share 2, which is there already"),
        ("nothing", "cannot read the share nothing"),
    ] {
        let output = bench.store(&["key", "combine", "share-1", "share-2", third, "--to", KEY]);
        assert!(code(&output) == 1 && stderr(&output).contains(reason), "{third}: {output:?}");
        assert!(!stderr(&output).contains(key.trim()), "{output:?}");
        assert!(!bench.path(KEY).exists(), "{third}");
    }
    // It is still the same when it is typed from paper.
    let combine = ["key", "combine", "share-1", "share-2", "loud", "--to", KEY];
    assert_eq!(code(&bench.store(&combine)), 0);
    assert_eq!(bench.get("prod/app/db"), "sesame");
    let again = bench.store(&combine);
    assert!(code(&again) == 1 && stderr(&again).contains("cannot write the owner's key to"), "{again:?}");
}

#[test]
fn a_key_is_split_only_if_it_is_the_stores_and_over_nothing() {
    let bench = Bench::new();
    let split = |arguments: &[&str]| bench.store(&[&["key", "split"], arguments].concat());
    for bad in ["1-of-3", "4-of-3", "3", "3-of-256"] {
        assert_eq!(code(&split(&[bad])), 2, "{bad}");
    }
    fs::write(bench.path("share-4"), "here already").unwrap();
    let output = split(&["3-of-5", "--to-prefix", "share"]);
    assert!(code(&output) == 1 && stderr(&output).contains("share-4 already"), "{output:?}");
    assert!(!bench.path("share-1").exists());
    fs::write(bench.path("no-key"), "a passphrase of some words").unwrap();
    let output = split(&["2-of-3", "--key-file", "no-key"]);
    assert!(code(&output) == 1 && stderr(&output).contains("no-key is no owner's key"), "{output:?}");
    fs::write(bench.path("other-key"), "a".repeat(64)).unwrap();
    let output = split(&["2-of-3", "--key-file", "other-key"]);
    assert!(code(&output) == 1 && stderr(&output).contains("does not open with this"), "{output:?}");
    assert!(!bench.path("other-key.share-1").exists());
    assert_eq!(code(&split(&["2-of-3"])), 0);
    assert!(bench.path("squire.store.key.share-3").exists());
}

/// `squire store …`, as in a unit of systemd with these credentials.
fn as_unit(bench: &Bench, arguments: &[&str]) -> Output {
    let passed = bench.path("credentials");
    bench.command(arguments).env("CREDENTIALS_DIRECTORY", passed).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn what_systemd_passed_to_the_unit_opens_the_store() {
    let bench = Bench::new();
    bench.put("prod/app/db", "sesame");
    fs::create_dir(bench.path("credentials")).unwrap();
    let get = ["get", "prod/app/db", "--field", "value"];
    // A unit with other credentials finds the key in the usual place.
    assert_eq!(stdout(&as_unit(&bench, &get)), "sesame\n");
    fs::rename(bench.path(KEY), bench.path("credentials/squire-store-key")).unwrap();
    assert_eq!(code(&bench.store(&get)), 1);
    assert_eq!(stdout(&as_unit(&bench, &get)), "sesame\n");
    // An option wins.
    fs::write(bench.path("other-key"), "a".repeat(64)).unwrap();
    assert_eq!(code(&as_unit(&bench, &[&get[..], &["--key-file", "other-key"]].concat())), 1);

    let made = ["role", "add", "web", "--read", "prod/**", "--secret-id-to", "credentials/squire-secret-id"];
    let output = as_unit(&bench, &[&made[..], &["--json"]].concat());
    let made: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let role = made["role_id"].as_str().unwrap();
    let output = as_unit(&bench, &[&get[..], &["--role-id", role]].concat());
    assert_eq!(stdout(&output), "sesame\n", "{output:?}");
    let output = as_unit(&bench, &["role", "list", "--role-id", role]);
    assert!(stderr(&output).contains("only the owner may"), "{output:?}");

    // Nobody can write where systemd passes credentials: a new key goes to a file.
    let output = as_unit(&bench, &["rekey"]);
    assert!(code(&output) == 0 && stdout(&output).contains("pass it anew"), "{output:?}");
    assert_eq!(code(&as_unit(&bench, &get)), 1);
    assert_eq!(stdout(&bench.store(&get)), "sesame\n");
}

const SEALED: [&str; 6] = ["get", "prod/app/db", "--field", "value", "--key-file", "sealed"];

/// A store whose key exists only sealed by this TPM.
fn sealed_by(tpm: &Tpm) -> Bench {
    let bench = Bench::new();
    bench.put("prod/app/db", "sesame");
    let key = fs::read_to_string(bench.path(KEY)).unwrap();
    let output = bench.store(&["key", "wrap", KEY, "--tpm", tpm.device(), "--to", "sealed"]);
    assert!(
        code(&output) == 0 && stdout(&output).contains("squire.store.key can be removed now"),
        "{output:?}"
    );
    assert!(!fs::read_to_string(bench.path("sealed")).unwrap().contains(key.trim()));
    assert_eq!(fs::metadata(bench.path("sealed")).unwrap().permissions().mode() & 0o777, 0o600);
    fs::remove_file(bench.path(KEY)).unwrap();
    bench
}

#[test]
fn a_key_that_a_tpm_sealed_opens_with_it_and_with_no_other() {
    let mut tpm = Tpm::start();
    let bench = sealed_by(&tpm);
    // Nothing stays in the TPM: it has room for three objects.
    for _ in 0..10 {
        let output = bench.store(&SEALED);
        assert_eq!(stdout(&output), "sesame\n", "{output:?}");
    }
    tpm.restart();
    assert_eq!(stdout(&bench.store(&SEALED)), "sesame\n", "after a restart");

    // A wrapped key can be split, and a new key is plain.
    let output = bench.store(&["key", "split", "2-of-3", "--key-file", "sealed", "--to-prefix", "share"]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!(code(&bench.store(&["key", "combine", "share-3", "share-1", "--to", KEY])), 0);
    assert_eq!(bench.get("prod/app/db"), "sesame");
    fs::copy(bench.path("sealed"), bench.path("rekeyed")).unwrap();
    let output = bench.store(&["rekey", "--key-file", "rekeyed"]);
    assert!(code(&output) == 0 && stdout(&output).contains("It is plain text: wrap it again"), "{output:?}");
    assert_eq!(code(&bench.store(&SEALED)), 1, "the key before opens it still");
    assert_eq!(stdout(&bench.store(&[&SEALED[..5], &["rekeyed"]].concat())), "sesame\n");

    let other = Tpm::start();
    let document = fs::read_to_string(bench.path("sealed")).unwrap();
    fs::write(bench.path("moved"), document.replace(tpm.device(), other.device())).unwrap();
    let output = bench.store(&[&SEALED[..5], &["moved"]].concat());
    assert!(code(&output) == 1 && stderr(&output).contains("was not sealed by this TPM"), "{output:?}");
    let private = document.find("\"private\": \"").unwrap() + 60;
    let wrong = if &document[private..=private] == "A" { "B" } else { "A" };
    let edited = format!("{}{wrong}{}", &document[..private], &document[private + 1..]);
    fs::write(bench.path("edited"), edited).unwrap();
    let output = bench.store(&[&SEALED[..5], &["edited"]].concat());
    assert!(code(&output) == 1 && stderr(&output).contains("or the document was edited"), "{output:?}");
    fs::write(bench.path("away"), document.replace(tpm.device(), "/dev/there-is-none")).unwrap();
    let output = bench.store(&[&SEALED[..5], &["away"]].concat());
    let reason = "away cannot be unwrapped: there is no TPM at /dev/there-is-none";
    assert!(code(&output) == 1 && stderr(&output).contains(reason), "{output:?}");
    assert!(stderr(&output).contains("combine the shares"), "{output:?}");
}

#[test]
fn what_a_tpm_cannot_seal_is_said() {
    let tpm = Tpm::start();
    let bench = Bench::new();
    let wrap =
        |file: &str, device: &str| bench.store(&["key", "wrap", file, "--tpm", device, "--to", "sealed"]);
    fs::write(bench.path("passphrase"), "many words ".repeat(20)).unwrap();
    let output = wrap("passphrase", tpm.device());
    assert!(code(&output) == 1 && stderr(&output).contains("219 bytes are too many for a TPM"), "{output:?}");
    fs::write(bench.path("empty"), "").unwrap();
    assert!(stderr(&wrap("empty", tpm.device())).contains("empty is empty"));
    let output = wrap(KEY, "/dev/there-is-none");
    assert!(code(&output) == 1 && stderr(&output).contains("--transit"), "{output:?}");
    fs::write(bench.path("file"), "stays as it is").unwrap();
    let output = wrap(KEY, "file");
    assert!(code(&output) == 1 && stderr(&output).contains("neither a device nor the socket"), "{output:?}");
    assert_eq!(fs::read_to_string(bench.path("file")).unwrap(), "stays as it is");
    let output = wrap(KEY, "/dev/null");
    assert!(code(&output) == 1 && stderr(&output).contains("the TPM's answer is none"), "{output:?}");
    tpm.set_owner_password();
    let output = wrap(KEY, tpm.device());
    assert!(code(&output) == 1 && stderr(&output).contains("owner has a password"), "{output:?}");
    assert!(!bench.path("sealed").exists());
    let both = ["key", "wrap", KEY, "--transit", "x", "--tpm", tpm.device(), "--to", "sealed"];
    assert_eq!(code(&bench.store(&both)), 2);
    assert_eq!(code(&bench.store(&["key", "wrap", KEY, "--to", "sealed"])), 2);
}

#[test]
fn what_only_looks_like_a_tpm_is_no_more_than_an_error() {
    let bench = Bench::new();
    let long = [&[0x80, 1, 0, 0, 0x40, 0, 0, 0, 0, 0][..], &[7; 0x4000]].concat();
    for answer in [
        &b""[..],
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        &[0x80, 1, 0, 0, 0, 10, 0, 0, 0, 0],
        &[0x80, 1, 0, 0, 0, 2, 0, 0, 0, 0],
        &[0x80, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
        &long,
    ] {
        let device = impostor(bench.directory.path(), answer);
        let output = bench.store(&["key", "wrap", KEY, "--tpm", device.to_str().unwrap(), "--to", "sealed"]);
        assert!(code(&output) == 1 && stderr(&output).contains("the TPM"), "{answer:?}: {output:?}");
        assert!(!bench.path("sealed").exists());
    }
}

#[test]
fn a_passphrase_may_be_sealed_too() {
    let tpm = Tpm::start();
    let bench = Bench::at(tempfile::tempdir().unwrap());
    fs::write(bench.path("words"), "several words nobody guesses\n").unwrap();
    let of_words = |arguments: &[&str], file: &str| {
        bench.store(&[arguments, &["--store", "words.store", "--passphrase-file", file]].concat())
    };
    assert_eq!(code(&of_words(&["init", "--passphrase"], "words")), 0);
    let wrap = ["key", "wrap", "words", "--tpm", tpm.device(), "--to", "sealed"];
    assert_eq!(code(&bench.store(&wrap)), 0);
    fs::remove_file(bench.path("words")).unwrap();
    let output = of_words(&["verify"], "sealed");
    assert_eq!(code(&output), 0, "{output:?}");
}
