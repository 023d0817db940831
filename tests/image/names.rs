//! Names and certificate authorities in the image: the static program resolves names without libraries, and trusts the bundle that is in the image.

use std::net::UdpSocket;

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
    // An address of its own, since others of the machine may listen at the port, such as another run of these tests.
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = format!("127.53.{high}.{low}");
    serve_names(&format!("{address}:53"));
    let dns = format!("--dns={address}");
    for (name, options, works) in [
        ("localhost", &[][..], true),
        ("vault.example", &[known][..], true),
        ("by-dns.example", &[dns.as_str()][..], true),
        ("unknown.example", &[dns.as_str()][..], false),
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

/// Answers DNS (RFC 1035) until the tests end: `by-dns.example` has the address 127.0.0.1 and no other, and no other name exists.
fn serve_names(address: &str) {
    let socket = UdpSocket::bind(address).unwrap();
    std::thread::spawn(move || {
        let mut asked = [0; 512];
        while let Ok((length, who)) = socket.recv_from(&mut asked) {
            // A header of 12 bytes, and one question: the name to its empty label, type and class.
            let name_end = 12 + asked[12..length].iter().position(|byte| *byte == 0).unwrap() + 1;
            let (name, kind) = (&asked[12..name_end], &asked[name_end..name_end + 2]);
            let is_known = name.eq_ignore_ascii_case(b"\x06by-dns\x07example\0");
            let has_address = is_known && kind == [0, 1];
            let mut answer = asked[..2].to_vec();
            answer.extend([
                0x85,
                if is_known { 0x80 } else { 0x83 },
                0,
                1,
                0,
                u8::from(has_address),
                0,
                0,
                0,
                0,
            ]);
            answer.extend(&asked[12..name_end + 4]);
            if has_address {
                // The name of the question, type A, class IN, no time to live, four bytes.
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
            }
            socket.send_to(&answer, who).unwrap();
        }
    });
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
