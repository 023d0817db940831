//! Files for a neighbour: another user reads the files of Squire, in a volume that the platform made for both.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::{Rig, configure_store, fresh, rig_of_store, store};

/// The group of the volume: a pod's `fsGroup`.
const VOLUME: u32 = 1234;

/// A directory of the rig, like the volume that a kubelet makes for an `fsGroup`: of root, with the group, 2770.
fn volume(rig: &Rig, name: &str) {
    rig.allow_secrets_in(name);
    fs::create_dir(rig.path(name)).unwrap();
    chown(rig.path(name), Some(0), Some(VOLUME)).unwrap();
    fs::set_permissions(rig.path(name), Permissions::from_mode(0o2770)).unwrap();
}

/// Reads a file as a neighbour: another user, who is only in the volume's group. The directories above the volume are open to this user.
fn neighbour_reads(rig: &Rig, path: &str) -> String {
    let mut cat = Command::new("setpriv");
    cat.args(["--reuid", "4321", "--regid", "4321", "--groups", &VOLUME.to_string(), "--", "cat"]);
    let output = cat.arg(rig.path(path)).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_file_keeps_the_group_that_its_volume_gives() {
    // Squire as root, as in a container without a user, and as the user of a pod with an `fsGroup`.
    for person in [None, Some(["65532", "65532", "1234"])] {
        let password = fresh("password");
        let rig = rig_of_store(
            &json!({"password": password}),
            r#"
            [output]
            dir  = "@dir@/volume/app"
            mode = "0440"
            [[file]]
            path   = "deep/password"
            inline = "{{db.password}}"
            [[file]]
            path   = "@dir@/volume/absolute"
            inline = "{{db.password}}"
            [[file]]
            path   = "@dir@/volume/given"
            inline = "{{db.password}}"
            group  = 0
            "#,
        );
        if let Some(person) = person {
            rig.write("squire.toml", &rig.read("squire.toml").replace("group  = 0", "group  = 65532"));
            rig.become_person(person);
        }
        volume(&rig, "volume");
        fs::set_permissions(rig.directory(), Permissions::from_mode(0o755)).unwrap();
        // Twice, so that the existing file is recognized, and once with another value.
        let second = fresh("password");
        for expected in [&password, &password, &second] {
            if *expected == second {
                rig_put(&rig, &second, person);
            }
            let outcome = rig.render();
            assert_eq!(outcome.code, 0, "{}", outcome.stderr);
            for file in ["volume/app/deep/password", "volume/absolute"] {
                assert_eq!(neighbour_reads(&rig, file), **expected, "{file} for {person:?}");
                assert_eq!(fs::metadata(rig.path(file)).unwrap().gid(), VOLUME, "{file}");
            }
            let given = fs::metadata(rig.path("volume/given")).unwrap();
            assert_ne!(given.gid(), VOLUME, "it was said whose it is");
        }
        let generations = fs::read_dir(rig.path("volume/app")).unwrap().flatten();
        let generations =
            generations.filter(|entry| entry.file_name().to_string_lossy().starts_with("..gen-"));
        assert_eq!(generations.count(), 2, "the same release was published anew");
    }
}

fn rig_put(rig: &Rig, password: &str, person: Option<[&str; 3]>) {
    store(rig, &["put", "prod/app/db"], &json!({ "password": password }).to_string());
    if let Some([user, group, _]) = person {
        for file in ["app.store", "app.store-wal", "app.store-shm"].map(|file| rig.path(file)) {
            let owner = (user.parse().ok(), group.parse().ok());
            if file.exists() {
                chown(file, owner.0, owner.1).unwrap();
            }
        }
    }
}

#[test]
fn without_a_setgid_directory_a_file_is_of_its_process() {
    let rig = rig_of_store(
        &json!({"password": fresh("password")}),
        r#"
        [output]
        dir  = "@dir@/out"
        [[file]]
        path   = "password"
        inline = "{{db.password}}"
        [process]
        command = ["true"]
        user    = 4321
        group   = 4322
        "#,
    );
    assert_eq!(rig.render().code, 0);
    let found = fs::metadata(rig.path("out/password")).unwrap();
    assert_eq!((found.uid(), found.gid()), (4321, 4322));
}

#[test]
fn a_file_is_the_bytes_that_a_field_has_in_base64() {
    // Not text: every byte, as a keystore or a keytab has.
    let bytes: Vec<u8> = (0..=255).chain([0, 255, 254, 0]).collect();
    let (encoded, password) = (STANDARD.encode(&bytes), fresh("password"));
    // In lines, as `base64` of coreutils writes it.
    let lines = encoded.as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line).into_owned());
    let secret = json!({"keystore": lines.collect::<Vec<_>>().join("\n"), "password": password});
    let rig = rig_of_store(
        &secret,
        r#"
        [output]
        dir  = "@dir@/out"
        [[file]]
        path   = "app.jks"
        base64 = "{{db.keystore}}\n"
        [[file]]
        path   = "password"
        inline = "{{db.password}}"
        [rollout]
        check = [["sh", "-c", "test $(wc -c < {dir}/app.jks) = 260"]]
        [process]
        command = ["sleep", "600"]
        "#,
    );
    assert_eq!(rig.check().code, 0, "{}", rig.check().stderr);
    let mut squire = rig.run();
    squire.wait_until("both files are there", || rig.read("out/password") == password);
    assert_eq!(fs::read(rig.path("out/app.jks")).unwrap(), bytes);

    // A text that is no base64 fails its release, and no byte of it is logged; the password that came with it is not published either.
    let (canary, next) = (fresh("no base64!"), fresh("password"));
    rig.canaries().add(&canary);
    store(&rig, &["put", "prod/app/db"], &json!({"keystore": canary, "password": next}).to_string());
    squire.wait_until("the release fails", || rig.read("stderr.2").contains("is not base64"));
    assert_eq!(rig.read("out/password"), password);
    assert_eq!(fs::read(rig.path("out/app.jks")).unwrap(), bytes);
    store(&rig, &["put", "prod/app/db"], &json!({"keystore": encoded, "password": next}).to_string());
    squire.wait_until("the next release is whole", || rig.read("out/password") == next);
    assert_eq!(fs::read(rig.path("out/app.jks")).unwrap(), bytes);
    assert_eq!(squire.stop(), 143);
}

#[test]
fn the_directory_of_an_absolute_file_is_made_where_that_is_asked_for() {
    let password = fresh("password");
    let missing = r#"
        [[file]]
        path   = "@dir@/made/for/app/password"
        inline = "{{db.password}}"
        "#;
    let rig = rig_of_store(&json!({"password": password}), missing);
    rig.allow_secrets_in("made");
    for outcome in [rig.check(), rig.render()] {
        assert_ne!(outcome.code, 0);
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(said.contains("made/for/app of ") && said.contains("make_dir = true"), "{said}");
    }
    configure_store(
        &rig,
        &format!("{missing}\nmake_dir = {{ mode = \"0750\", owner = 4321, group = 1234 }}"),
    );
    assert_eq!(rig.check().code, 0, "{}", rig.check().stderr);
    assert!(!rig.path("made").exists(), "check changes nothing");
    let outcome = rig.render();
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert_eq!(rig.read("made/for/app/password"), password);
    for made in ["made", "made/for", "made/for/app"] {
        let found = fs::metadata(rig.path(made)).unwrap();
        assert_eq!((found.mode() & 0o7777, found.uid(), found.gid()), (0o750, 4321, 1234), "{made}");
    }
    // A directory that exists keeps its attributes.
    configure_store(&rig, &format!("{missing}\nmake_dir = {{ mode = \"0700\", owner = 4321 }}"));
    assert_eq!(rig.render().code, 0);
    assert_eq!(fs::metadata(rig.path("made/for/app")).unwrap().mode() & 0o7777, 0o750);
}

#[test]
fn a_directory_is_not_made_on_a_disk() {
    let disk = tempfile::tempdir().unwrap();
    let path = disk.path().join("app/password");
    let rig = rig_of_store(
        &json!({"password": fresh("password")}),
        &format!("[[file]]\npath = {path:?}\nmake_dir = true\ninline = \"{{{{db.password}}}}\"\n"),
    );
    for outcome in [rig.check(), rig.render()] {
        assert_ne!(outcome.code, 0);
        assert!(format!("{}{}", outcome.stdout, outcome.stderr).contains("allow_disk = true"));
    }
    assert!(!disk.path().join("app").exists());
}
