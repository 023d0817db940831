//! The restrictions of Squire and of others: where it mounts, what it may write, and who may look into it.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use serde_json::json;

use crate::support::{Bao, Rig, SOON, Tenant, fresh, mount, unmount, wait_until};

fn rig(tenant: &Tenant<'_>, output: &str, rest: &str) -> (Rig, String) {
    let first = fresh("first");
    tenant.write("db", &json!({"password": first}));
    let rig = Rig::new(tenant);
    rig.whole_config(&format!(
        r#"
        [source.vault]
        address = "@address@"
        refresh = "300ms"
        [source.vault.auth.approle]
        role_id_file   = "@dir@/role-id"
        secret_id_file = "@dir@/secret-id"
        [secret.db]
        path = "secret/@tenant@/db"
        [output]
        dir = "@dir@/out"
        {output}
        [[file]]
        path   = "password"
        inline = "{{{{db.password}}}}"
        on_change = "none"
        {rest}
        "#
    ));
    (rig, first)
}

/// A child that copies the file, as the child sees it, to a place where the test can read it.
const COPIES: &str = r#"
    [process]
    command = ["sh", "-c", "while :; do cat out/password > seen/new 2>/dev/null && mv seen/new seen/password; sleep 0.05; done"]
"#;

fn mounts_of(process: u32) -> String {
    fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap_or_default()
}

#[test]
fn a_tmpfs_is_mounted_where_secrets_are_published_and_goes_with_them() {
    let tenant = Bao::shared().tenant();
    let (rig, first) = rig(&tenant, "mount = \"tmpfs\"\nmount_size = \"1m\"", COPIES);
    let out = rig.path("out").to_str().unwrap().to_owned();
    let mut squire = rig.run();
    squire.wait_until("it is published", || rig.read("out/password") == first);
    let line = mounts_of(std::process::id()).lines().find(|line| line.contains(&out)).unwrap().to_owned();
    for option in ["nosuid", "nodev", "noexec", "tmpfs", "size=1024k"] {
        assert!(line.contains(option), "no {option} in {line}");
    }
    assert!(line.contains("noswap") || squire.log().contains("noswap"), "{line}");
    squire.wait_until("the child sees it", || rig.read("seen/password") == first);
    // A run that was killed leaves the mount, and the next one takes it over.
    squire.kill();
    drop(squire);
    let mut squire = rig.run();
    squire.wait_until("it is published again", || rig.read("out/password") == first);
    let mounted = mounts_of(std::process::id()).lines().filter(|line| line.contains(&out)).count();
    assert_eq!((mounted, squire.stop()), (1, 143));
    // This run did not mount it, so it stays.
    assert!(mounts_of(std::process::id()).contains(&out));
    unmount(out.as_ref());
    let mut squire = rig.run();
    squire.wait_until("once more", || rig.read("out/password") == first);
    squire.stop();
    assert!(!mounts_of(std::process::id()).contains(&out), "what it mounted is unmounted");
}

#[test]
fn a_private_mount_is_seen_by_squire_and_its_child_and_by_nobody_else() {
    let tenant = Bao::shared().tenant();
    let (rig, first) = rig(&tenant, "mount = \"private\"", COPIES);
    // Only mounts on a shared mount propagate.
    fs::create_dir(rig.path("host")).unwrap();
    let host = rig.path("host").to_str().unwrap().to_owned();
    mount(&["-t", "tmpfs", "none", &host]);
    mount(&["--make-shared", &host]);
    let mut squire = rig.run();
    squire.wait_until("the child sees it", || rig.read("seen/password") == first);
    assert!(!rig.path("out/password").exists(), "the host sees it");
    assert!(!mounts_of(std::process::id()).contains(rig.path("out").to_str().unwrap()));
    let second = fresh("second");
    tenant.write("db", &json!({"password": second}));
    squire.wait_until("the child sees the next", || rig.read("seen/password") == second);
    // Later mounts of the host are still seen.
    let later = format!("{host}/later");
    fs::create_dir(&later).unwrap();
    mount(&["-t", "tmpfs", "none", &later]);
    let sees = mounts_of(squire.id()).contains(&later);
    unmount(host.as_ref());
    assert!(sees, "{}", mounts_of(squire.id()));
    assert_eq!(squire.stop(), 143);
    let outcome = rig.render();
    assert!(outcome.stderr.contains("nobody could see the files"), "{}", outcome.stderr);
    assert_eq!(outcome.code, 1);
}

#[test]
fn without_the_right_to_mount_the_error_says_what_to_do() {
    let tenant = Bao::shared().tenant();
    let (rig, _) = rig(&tenant, "mount = \"tmpfs\"", COPIES);
    let config = rig.path("squire.toml");
    let output = Command::new("setpriv")
        .args([
            "--bounding-set",
            "-sys_admin",
            "--inh-caps",
            "-sys_admin",
            env!("CARGO_BIN_EXE_squire"),
            "run",
            "-c",
        ])
        .arg(&config)
        .env_clear()
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    assert!(stderr.contains("CAP_SYS_ADMIN") && stderr.contains("emptyDir"), "{stderr}");
}

/// Somebody replaces the directory of an absolute file by a link to another one. As root, Squire could write there.
#[test]
fn the_agent_cannot_be_led_to_write_elsewhere_and_the_child_writes_where_it_likes() {
    let tenant = Bao::shared().tenant();
    let first = fresh("first");
    tenant.write("db", &json!({"password": first}));
    let rig = Rig::new(&tenant);
    rig.config(
        r#"
        [secret.db]
        path = "secret/@tenant@/db"
        refresh = "300ms"
        [[file]]
        path   = "@dir@/place/password"
        inline = "{{db.password}}"
        on_change = "none"
        [process]
        command = ["sh", "-c", "echo x > elsewhere/by-child; exec sleep 1000"]
        "#,
    );
    for directory in ["place", "elsewhere"] {
        fs::create_dir(rig.path(directory)).unwrap();
        rig.allow_secrets_in(directory);
    }
    let mut squire = rig.run();
    squire.wait_until("it is published", || rig.read("place/password") == first);
    squire.wait_until("the child writes elsewhere", || rig.path("elsewhere/by-child").exists());
    fs::rename(rig.path("place"), rig.path("moved")).unwrap();
    rig.allow_secrets_in("moved");
    symlink(rig.path("elsewhere"), rig.path("place")).unwrap();
    tenant.write("db", &json!({"password": fresh("second")}));
    squire.wait_until("it is refused", || squire_says(&rig, "Permission denied"));
    assert!(!rig.path("elsewhere/password").exists());
    assert_eq!(squire.stop(), 143);
}

fn squire_says(rig: &Rig, words: &str) -> bool {
    rig.read("stderr.1").contains(words)
}

#[test]
fn it_is_not_dumped_nor_looked_into_and_its_child_is_as_others_are() {
    let tenant = Bao::shared().tenant();
    let (rig, first) = rig(&tenant, "", &format!("{COPIES}\n[agent]\nmlock = true"));
    let mut squire = rig.run();
    squire.wait_until("the child runs", || rig.read("seen/password") == first);
    let limits = |process: u32| fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let core = |process: u32| {
        let limits = limits(process);
        let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        line.split_whitespace().nth(4).unwrap().to_owned()
    };
    let child = *rig.processes().iter().find(|process| **process != squire.id()).unwrap();
    assert_eq!(core(squire.id()), "0");
    assert_eq!(core(child), core(std::process::id()));
    let status = fs::read_to_string(format!("/proc/{}/status", squire.id())).unwrap();
    let locked = status.lines().find(|line| line.starts_with("VmLck")).unwrap();
    assert!(!locked.contains(" 0 kB"), "{locked}");
    assert_eq!(squire.stop(), 143);
    wait_until(SOON, "it is gone", || rig.processes().is_empty());
}
