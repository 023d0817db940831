//! `deploy/server/setup` and whoever is in the place of the server: it has the token of an administrator.

use std::io::{Read, Write};
use std::net::TcpListener;

use tempfile::TempDir;

use crate::setup::Setup;
use crate::support::certificates::signed;
use crate::support::{Bao, Front, Impostor, Manners, scratch};

/// A set-up without a database.
fn light(bao: &Bao, app: &str) -> (TempDir, Setup) {
    let directory = scratch::on_tmpfs("setup");
    let setup = Setup::new(directory.path(), bao, None, app, &["approle.app", "secret.api"]);
    (directory, setup)
}

#[test]
fn tls_is_verified_by_the_authorities_that_are_named() {
    let (_directory, setup) = light(Bao::shared(), "secure");
    let (authority, shown) = signed("localhost");
    let front = Front::before(Bao::shared().address(), &shown);
    let setup = setup.at(&front.address());
    let refused = setup.run(&[]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("certificate verify failed"), "{refused:?}");
    let file = scratch::on_disk("authority");
    let path = file.path().join("ca.pem");
    std::fs::write(&path, authority.pem()).unwrap();
    let said = setup.with("VAULT_CACERT", path.to_str().unwrap()).succeed(&[]);
    assert!(said.contains("changed       secret/secure/api: made"), "{said}");
    let none = setup.with("VAULT_CACERT", "/nowhere/ca.pem").run(&[]);
    assert!(none.code == 2 && none.stderr.contains("cannot read the authorities"), "{none:?}");
}

#[test]
fn what_is_in_the_place_of_the_server_is_told_from_it_and_gets_nothing_to_a_terminal() {
    let (_directory, setup) = light(Bao::shared(), "nobody");
    for (manners, why) in [
        (Manners::Html, "no Vault and no OpenBao"),
        (Manners::OtherJson, "no Vault and no OpenBao"),
        (Manners::Endless, "no Vault and no OpenBao"),
        (Manners::HangsUp, "does not answer"),
        (Manners::Insults("\u{1b}[2Jgo away"), "?[2Jgo away"),
    ] {
        let impostor = Impostor::start(manners);
        let ended = setup.at(&impostor.address()).run(&[]);
        assert_eq!(ended.code, 2, "{why}: {ended:?}");
        assert!(ended.stderr.contains(why) && !ended.stderr.contains('\u{1b}'), "{why}: {ended:?}");
        assert!(ended.stderr.ends_with("nothing was changed\n"), "{why}: {ended:?}");
    }
}

/// A server that sends its visitors elsewhere would have the token sent there.
#[test]
fn a_redirect_is_not_followed() {
    let (_directory, setup) = light(Bao::shared(), "elsewhere");
    let thief = Impostor::start(Manners::OtherJson);
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let location = thief.address();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 4096];
        assert!(stream.read(&mut buffer).unwrap() > 0);
        write!(stream, "HTTP/1.1 307 Elsewhere\r\nLocation: {location}/v1/x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    });
    let ended = setup.at(&address).run(&[]);
    server.join().unwrap();
    assert!(ended.code == 2 && ended.stderr.contains("HTTP status 307"), "{ended:?}");
    assert_eq!(thief.visitors(), 0);
}
