//! Volumes that are no place for secrets: each is refused with what is wrong and where, and holds nothing afterwards.

use serde_json::json;

use crate::machine::{Container, Machine};
use crate::pod::Pod;
use crate::site::{Site, borrowed, tenant};
use crate::support::{fresh, on_disk};

/// Podman makes a directory on the disk of an `emptyDir`, whatever its medium.
#[test]
fn an_empty_dir_on_a_disk_is_refused() {
    let Some(machine) = Machine::shared() else { return };
    let (tenant, _) = tenant();
    let site = Site::new(&tenant);
    site.config(tenant.bao().address(), "");
    for volume in [json!({}), json!({"medium": "Memory"})] {
        let pod = Pod::play(machine, &site, |spec| {
            spec["restartPolicy"] = "Never".into();
            spec.as_object_mut().unwrap().remove("initContainers");
            spec["volumes"][1] = json!({"name": "secrets", "emptyDir": volume});
            // Its own: Podman's volume belongs to root.
            let context = json!({"runAsUser": 0, "readOnlyRootFilesystem": true});
            spec["containers"][0]["securityContext"] = context;
            spec["securityContext"] = json!({});
            spec["containers"].as_array_mut().unwrap().truncate(1);
        });
        let squire = pod.container("squire");
        assert_eq!(squire.wait(), 125, "{}", squire.log());
        let log = squire.log();
        assert!(log.contains("/secrets is on") && log.contains("may keep secrets on disk"), "{log}");
        site.assert_says_no_secret(&squire.log());
    }
}

#[test]
fn a_directory_on_a_disk_is_refused_and_stays_empty() {
    let Some(machine) = Machine::shared() else { return };
    let (tenant, _) = tenant();
    let site = Site::new(&tenant);
    site.config(tenant.bao().address(), "");
    let disk = on_disk("volume");
    let volume = format!("--volume={}:/secrets", disk.path().display());
    let ended = site.render(machine, &["--user=0", &volume]);
    assert!(ended.stderr.contains("which may keep secrets on disk"), "{}", ended.stderr);
    assert_ne!(ended.code, 0);
    assert_eq!(std::fs::read_dir(disk.path()).unwrap().count(), 0);
}

#[test]
fn a_volume_of_another_owner_is_refused() {
    let Some(machine) = Machine::shared() else { return };
    let (tenant, _) = tenant();
    let site = Site::new(&tenant);
    site.config(tenant.bao().address(), "");
    site.give("secrets", 0);
    let ended = site.render(machine, &[]);
    assert_ne!(ended.code, 0, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("/secrets") && ended.stderr.contains("Permission denied"),
        "{}",
        ended.stderr
    );
    // Somebody else's directory at Squire's own place.
    std::fs::create_dir(site.rig.path("secrets/app")).unwrap();
    site.give("secrets/app", 1000);
    let ended = site.render(machine, &["--user=0"]);
    assert_ne!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("/secrets/app belongs to user 1000"), "{}", ended.stderr);
    assert_eq!(std::fs::read_dir(site.rig.path("secrets/app")).unwrap().count(), 0);
}

#[test]
fn a_full_volume_is_told_and_is_used_when_there_is_room() {
    let Some(machine) = Machine::shared() else { return };
    let (tenant, _) = tenant();
    let site = Site::new(&tenant);
    site.config(tenant.bao().address(), "");
    // Five pages of memory, of which Squire needs two or three, and the secret four.
    let large = fresh("password").repeat(400);
    tenant.write("db", &json!({ "password": large }));
    let tmpfs = "--mount=type=tmpfs,destination=/secrets,tmpfs-size=20k,tmpfs-mode=1777";
    let run = ["run", "-c", "/etc/squire/squire.toml"];
    let squire = Container::start(machine, "squire", &borrowed(&site.squire(machine, &[tmpfs], &run)));
    squire.until("it is said", || squire.log().contains("No space left on device"));
    tenant.write("db", &json!({ "password": fresh("small") }));
    squire.until("a release that fits is published", || {
        let status = ["exec", squire.name(), "squire", "status", "--ready", "-c", "/etc/squire/squire.toml"];
        machine.podman(&status).code == 0
    });
    site.assert_says_no_secret(&squire.log());
}
