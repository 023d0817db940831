//! Names and certificate authorities in the image: the static program resolves names without libraries, and trusts the bundle that is in the image.

use crate::machine::{Machine, SQUIRE};
use crate::site::{Site, tenant};
use crate::support::certificates::signed;
use crate::support::{Bao, Front};

#[test]
fn a_name_is_resolved() {
    let Some(machine) = Machine::shared() else { return };
    let (tenant, password) = tenant();
    let site = Site::new(&tenant);
    let port = Bao::shared().address().rsplit_once(':').unwrap().1.to_owned();
    let known = "--add-host=vault.example:127.0.0.1";
    for (name, options, works) in [
        ("localhost", &[][..], true),
        ("vault.example", &[known][..], true),
        ("unknown.example", &[known][..], false),
    ] {
        std::fs::remove_dir_all(site.rig.path("secrets/app")).ok();
        site.config(&format!("http://{name}:{port}"), "");
        let text = site.rig.read("etc/squire.toml");
        site.rig.write("etc/squire.toml", &format!("startup_timeout = \"5s\"\n{text}"));
        let ended = site.render(machine, options);
        assert_eq!(ended.code, i32::from(!works), "{name}: {}", ended.stderr);
        assert_eq!(site.rig.read("secrets/app/secret"), if works { &*password } else { "" });
        if !works {
            let said = ended.stderr.to_lowercase();
            assert!(said.contains("unknown.example") && said.contains("name"), "{}", ended.stderr);
        }
    }
}

/// A server whose certificate is of an authority that is in the image's bundle, of one that is not, and where there is no bundle.
#[test]
fn the_bundle_of_the_image_is_what_is_trusted() {
    let Some(machine) = Machine::shared() else { return };
    let (tenant, password) = tenant();
    let site = Site::new(&tenant);
    let (authority, shown) = signed("localhost");
    let front = Front::before(Bao::shared().address(), &shown);
    site.config(&front.address(), "");
    let text = site.rig.read("etc/squire.toml");
    site.rig.write("etc/squire.toml", &format!("startup_timeout = \"5s\"\n{text}"));
    let bundle = machine.must(&["image", "mount", SQUIRE]) + "/etc/ssl/certs/ca-certificates.crt";
    let bundle = std::fs::read_to_string(machine.path(&bundle)).unwrap();
    machine.must(&["image", "umount", SQUIRE]);
    assert!(bundle.matches("BEGIN CERTIFICATE").count() > 100, "{}", bundle.len());
    let at = "/etc/ssl/certs/ca-certificates.crt:ro";
    site.rig.write("etc/more.pem", &(bundle + &authority.pem()));
    site.rig.write("etc/none.pem", "");
    let (more, none) = (site.volume("etc/more.pem", at), site.volume("etc/none.pem", at));

    let trusted = site.render(machine, &[&more]);
    assert_eq!((trusted.code, site.rig.read("secrets/app/secret")), (0, password), "{}", trusted.stderr);
    let unknown = site.render(machine, &[]);
    assert!(unknown.code == 1 && unknown.stderr.contains("certificate"), "{}", unknown.stderr);
    assert!(!unknown.stderr.contains(NO_ROOTS), "{}", unknown.stderr);
    let rootless = site.render(machine, &[&none]);
    assert!(rootless.code != 0 && rootless.stderr.contains(NO_ROOTS), "{}", rootless.stderr);
}

/// What Squire says if there is no authority at all.
const NO_ROOTS: &str = "this system has no certificate authorities";
