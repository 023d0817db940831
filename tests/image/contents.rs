//! What is in the image, that it is the same each time, and that it runs with nothing around it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::machine::{Machine, SHOP, SQUIRE, built};
use crate::site::{BARE, Site, USER, repository};
use crate::support::{fresh, on_disk, rig_of_store};

#[test]
fn the_image_has_the_program_and_the_authorities_and_nothing_else() {
    let Some(machine) = Machine::shared() else { return };
    let inspected: Value = serde_json::from_str(&machine.must(&["image", "inspect", SQUIRE])).unwrap();
    let config = &inspected[0]["Config"];
    assert_eq!(
        (config["User"].as_str(), config["Env"][0].as_str()),
        (Some("65532:65532"), Some("PATH=/usr/bin"))
    );
    assert_eq!(config["Entrypoint"], serde_json::json!(["/usr/bin/squire"]));
    assert_eq!(config["Labels"]["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    let mounted = machine.must(&["image", "mount", SQUIRE]);
    let root = machine.path(&mounted);
    let mut files = files_below(&root);
    files.sort();
    let files: Vec<_> =
        files.iter().map(|file| file.strip_prefix(&root).unwrap().to_str().unwrap()).collect();
    assert_eq!(files, ["etc/ssl/certs/ca-certificates.crt", "usr/bin/squire"]);
    machine.must(&["image", "umount", SQUIRE]);
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() && !path.is_symlink() { files_below(&path) } else { vec![path] })
        .collect()
}

/// Runs `deploy/image/build` on the program of the tests' image; the image's id, and the bytes of the archive.
fn build(variables: &[(&str, &str)]) -> (String, Vec<u8>) {
    let to = on_disk("image");
    let mut command = Command::new(repository("deploy/image/build"));
    command.args(["--quick", "--binary"]).arg(built("squire")).arg("--to").arg(to.path());
    let output = command.envs(variables.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let id = String::from_utf8(output.stdout).unwrap().trim().trim_start_matches("sha256:").to_owned();
    (id, std::fs::read(to.path().join("squire.tar")).unwrap())
}

#[test]
fn two_images_of_one_program_are_the_same_bytes() {
    // buildah needs what Podman does.
    let Some(_) = Machine::shared() else { return };
    let (first, second) = (build(&[]), build(&[]));
    assert_eq!(first.0, second.0);
    assert!(first.1 == second.1, "the archives differ");
    // And the id says what is in it.
    assert_ne!(build(&[("SOURCE_DATE_EPOCH", "86400")]).0, first.0);
}

#[test]
fn a_program_that_needs_libraries_is_no_image() {
    let output = Command::new(repository("deploy/image/build"))
        .args(["--quick", "--binary", env!("CARGO_BIN_EXE_squire"), "--to"])
        .arg(on_disk("image").path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("needs a dynamic linker, and the image has none"), "{said}");
}

/// The program of the tests is not optimized, so it is too large for a release.
#[test]
fn a_release_that_is_too_large_is_no_image() {
    let Some(_) = Machine::shared() else { return };
    let to = on_disk("image");
    let mut command = Command::new(repository("deploy/image/build"));
    command.arg("--binary").arg(built("squire")).arg("--to").arg(to.path());
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("bytes, and may have"), "{said}");
    assert_eq!(std::fs::read_dir(to.path()).unwrap().count(), 0, "it left something");
}

/// `podman run` of an image without a network, and with the least of everything.
fn bare(machine: &Machine, options: &[&str], command: &[&str]) -> crate::support::Outcome {
    let fixed = ["run", "--rm", "--network=none", "--no-hosts"];
    machine.podman(&[&fixed, &BARE[..], machine.memory(), options, command].concat())
}

#[test]
fn it_runs_with_nothing_around_it() {
    let Some(machine) = Machine::shared() else { return };
    // Such a container really has none of it, and Podman's filter of system calls.
    let look = "for path in /tmp /etc/passwd /etc/hosts /proc/sys/kernel; do [ -e $path ] && echo FORBIDDEN $path; done
        busybox touch /x 2>/dev/null && echo FORBIDDEN: it writes
        busybox grep -E 'Seccomp:|CapEff|NoNewPrivs' /proc/self/status";
    let seen = bare(machine, &["--user=65532"], &[SHOP, "/bin/busybox", "sh", "-c", look]);
    let words: Vec<_> = seen.stdout.split_whitespace().collect();
    assert_eq!(
        words,
        ["CapEff:", "0000000000000000", "NoNewPrivs:", "1", "Seccomp:", "2"],
        "{}",
        seen.stderr
    );
    for user in [USER.to_string(), "1000:1000".to_owned(), "0".to_owned()] {
        let version = bare(machine, &[&format!("--user={user}")], &[SQUIRE, "--version"]);
        let expected = concat!("squire ", env!("CARGO_PKG_VERSION"));
        assert!(version.code == 0 && version.stdout.starts_with(expected), "{}", version.stderr);
    }
    let shell = bare(machine, &["--entrypoint=/bin/sh"], &[SQUIRE]);
    assert_eq!(shell.code, 127, "there is a shell");
}

/// The store needs no server: a volume is enough.
#[test]
fn a_store_in_a_volume_is_opened_without_a_network() {
    let Some(machine) = Machine::shared() else { return };
    let password = fresh("password");
    let rig = rig_of_store(&serde_json::json!({ "password": password }), "");
    let config = rig.read("squire.toml").replace(rig.directory().to_str().unwrap(), "/store");
    let config = config
        + "[output]\ndir = \"/secrets/app\"\n[[file]]\npath = \"secret\"\ninline = \"{{db.password}}\"\n";
    rig.write("store/squire.toml", &config);
    for file in ["app.store", "role-id", "web.secret-id"] {
        std::fs::rename(rig.path(file), rig.path(&format!("store/{file}"))).unwrap();
    }
    rig.allow_secrets_in("store");
    let site = Site::of(rig);
    site.give("store", USER);
    let volumes = [site.volume("store", "/store"), site.volume("secrets", "/secrets")];
    let ended = bare(machine, &[&volumes[0], &volumes[1]], &[SQUIRE, "render", "-c", "/store/squire.toml"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(site.rig.read("secrets/app/secret"), password);
    site.assert_says_no_secret(&ended.stderr);
}
