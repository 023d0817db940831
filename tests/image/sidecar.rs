//! Two containers that share a volume and a process namespace, as `docs/images.md` starts them.

use crate::machine::{Container, Machine};
use crate::site::{Site, borrowed, rotate, tenant};
use crate::support::Gate;

const RUN: [&str; 3] = ["run", "-c", "/etc/squire/squire.toml"];

/// How Squire finds the app. A file never names process 1, so there the app has an init above it.
const BY_FILE: &str = "on_change = { signal = \"HUP\", pid_file = \"/seen/pid\" }";
const BY_NAME: &str = "on_change = { signal = \"HUP\", process = \"shop\" }";

#[test]
fn the_app_in_another_container_is_signalled_at_a_rotation() {
    let Some(machine) = Machine::shared() else { return };
    for (reaction, init) in [(BY_FILE, "true"), (BY_NAME, "false")] {
        let (tenant, first) = tenant();
        let site = Site::new(&tenant);
        site.config(tenant.bao().address(), &format!("{reaction}\n[agent]\non_stop = \"give_back\""));
        let app = Container::start(machine, "shop", &borrowed(&site.app(&[&format!("--init={init}")])));
        app.until("it is there", || site.rig.path("seen/pid").exists());
        let (pid, seen) = (format!("--pid=container:{}", app.name()), site.volume("seen", "/seen:ro"));
        let squire = site.squire(machine, &[&pid, &seen], &RUN);
        let squire = Container::start(machine, "squire", &borrowed(&squire));
        squire.until("the first release is told", || site.notes().contains(&format!("HUP {first}")));
        let second = rotate(&tenant);
        squire.until("the second is told", || site.notes().contains(&format!("HUP {second}")));
        // Both run as the same user, and see each other's processes: the app, and whoever took it over, reads nothing of Squire's all the same.
        app.until("it has looked", || site.notes().iter().any(|note| note == "squire is there"));
        let (peak, own) = (squire.kibibytes("VmHWM:"), squire.kibibytes("RssAnon:"));
        eprintln!("Squire in its container: {peak} KiB at most, {own} KiB of its own");
        // The memory that the kernel cannot drop, of the 32 MiB that it has.
        assert!(own < 16 * 1024, "{own} KiB");
        assert_eq!(squire.stop(), 0);
        assert!(!site.rig.path("secrets/app/secret").exists(), "a secret is left");
        assert_eq!(app.stop(), 0);
        let notes = site.notes();
        assert!(!notes.iter().any(|note| note.starts_with("FORBIDDEN")), "{notes:?}");
        site.assert_says_no_secret(&squire.log());
    }
}

/// Nothing to see and nobody to signal, which is said; the files are there all the same.
#[test]
fn without_a_shared_namespace_the_app_is_not_found_and_squire_goes_on() {
    let Some(machine) = Machine::shared() else { return };
    let (tenant, first) = tenant();
    let site = Site::new(&tenant);
    site.config(tenant.bao().address(), BY_NAME);
    let app = Container::start(machine, "shop", &borrowed(&site.app(&[])));
    app.until("it is there", || site.rig.path("seen/pid").exists());
    let squire = Container::start(machine, "squire", &borrowed(&site.squire(machine, &[], &RUN)));
    squire.until("it is said", || squire.log().contains("reaction failed"));
    assert_eq!(site.rig.read("secrets/app/secret"), first);
    let second = rotate(&tenant);
    squire.until("the next one is published", || site.rig.read("secrets/app/secret") == second);
    assert!(site.notes().is_empty(), "{:?}", site.notes());
    assert!(squire.runs());
    site.assert_says_no_secret(&squire.log());
}

#[test]
fn a_container_whose_server_is_down_waits_for_it() {
    let Some(machine) = Machine::shared() else { return };
    let (tenant, password) = tenant();
    let site = Site::new(&tenant);
    let gate = Gate::before(tenant.bao().address());
    gate.shut();
    site.config(&gate.address(), "");
    let squire = Container::start(machine, "squire", &borrowed(&site.squire(machine, &[], &RUN)));
    squire.until("it says so", || squire.log().contains("refused"));
    assert!(squire.runs() && !site.rig.path("secrets/app/secret").exists());
    gate.open();
    squire.until("it has its secret", || site.rig.read("secrets/app/secret") == password);
    assert_eq!(squire.stop(), 0);
    site.assert_says_no_secret(&squire.log());
}
