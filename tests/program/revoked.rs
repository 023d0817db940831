//! An operator revokes a token or a lease: Squire notices it at the next use or look-up, not only when the renewal becomes due.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    Bao, CHILD, Postgres, Rig, SOON, Tenant, database_file, fresh, kv_file, record, recovered, wait_until,
    works,
};

/// Everything is valid for an hour and static secrets are re-read every ten minutes, so that only a look-up can notice.
const QUIET: &str = "address = \"@address@\"\nrefresh = \"10m\"\nlook_up_every = \"2s\"";

/// A look-up interval, and a second for what follows from it.
const NOTICED: Duration = Duration::from_secs(3);

fn rig<'a>(bao: &'a Bao, source: &str, role: &str) -> (Rig, Tenant<'a>) {
    bao.connect_database(Postgres::shared(), role, 3600, 7200);
    let tenant = bao.tenant();
    tenant.write("app", &json!({"password": fresh("password")}));
    let rig = Rig::new(&tenant);
    let files = [kv_file("app"), database_file(Postgres::shared(), role)];
    rig.config_of_source(source, &format!("{}{CHILD}", files.concat()));
    (rig, tenant)
}

fn users(role: &str) -> usize {
    Postgres::shared().roles(&format!("-{role}-")).len()
}

fn a_token_is_revoked(name: &str, source: &str, role: &str, bound: Duration) {
    let bao = Bao::start();
    let (rig, tenant) = rig(&bao, source, role);
    let mut squire = rig.run();
    let file = format!("out/{role}");
    squire.wait_until("everything is there", || rig.read("seen/starts") == "start\n" && works(&rig, &file));
    squire.wait_until("the token was looked up once", || bao.count("read auth/token/lookup-self") > 0);
    let (url, app) = (rig.read(&file), rig.read("out/app"));
    tenant.revoke_tokens();
    let revoked = Instant::now();
    let took = recovered(&mut squire, revoked, bound, "new credentials under a new token", || {
        rig.read(&file) != url && works(&rig, &file)
    });
    assert_eq!(bao.count("update auth/approle/login"), 2, "{:#?}", bao.requests());
    assert_eq!(bao.count(&format!("read database/creds/{role}")), 2, "{:#?}", bao.requests());
    assert_eq!(rig.read("out/app"), app);
    wait_until(SOON, "one user is left", || users(role) == 1);
    assert_eq!(rig.read("seen/starts"), "start\n");
    assert_eq!(squire.stop(), 128 + 15);
    wait_until(SOON, "no user is left behind", || users(role) == 0);
    record(
        name,
        Some(took),
        "static files and process untouched; the server drops the database user with the token",
        "one new login, one new database user",
    );
}

#[test]
fn a_revoked_token_is_noticed_by_a_look_up() {
    a_token_is_revoked("agent's token revoked, look_up_every 2 s", QUIET, "tokens", NOTICED);
}

#[test]
fn a_revoked_token_is_noticed_at_once_by_a_read() {
    let source = "address = \"@address@\"\nrefresh = \"1s\"\nlook_up_every = \"10m\"";
    // A re-read comes within 1.1 s.
    let bound = Duration::from_secs(2);
    a_token_is_revoked("agent's token revoked, a secret re-read each second", source, "read", bound);
}

/// A token that died before its first look-up cannot be told from one that may not look itself up. So a login is tried, at most once a
/// minute.
#[test]
fn a_token_that_is_revoked_at_once_is_replaced_within_about_a_minute() {
    let bao = Bao::start();
    let source = "address = \"@address@\"\nrefresh = \"1s\"\nlook_up_every = \"10m\"";
    let (rig, tenant) = rig(&bao, source, "youth");
    let mut squire = rig.run();
    squire.wait_until("everything is there", || {
        rig.read("seen/starts") == "start\n" && works(&rig, "out/youth")
    });
    let url = rig.read("out/youth");
    tenant.revoke_tokens();
    let bound = Duration::from_secs(65);
    let took = recovered(&mut squire, Instant::now(), bound, "new credentials under a new token", || {
        rig.read("out/youth") != url && works(&rig, "out/youth")
    });
    assert_eq!(bao.count("update auth/approle/login"), 2);
    record(
        "agent's token revoked within seconds of its login",
        Some(took),
        "the paths count as denied, said once",
        "one new login, one new database user",
    );
}

#[test]
fn a_revoked_lease_is_noticed_by_a_look_up() {
    let bao = Bao::start();
    let (rig, _tenant) = rig(&bao, QUIET, "leases");
    let mut squire = rig.run();
    squire.wait_until("everything is there", || {
        rig.read("seen/starts") == "start\n" && works(&rig, "out/leases")
    });
    let url = rig.read("out/leases");
    bao.api().post("sys/leases/revoke-prefix/database/creds/leases", &json!({}));
    let revoked = Instant::now();
    let took = recovered(&mut squire, revoked, NOTICED, "new credentials under the same token", || {
        rig.read("out/leases") != url && works(&rig, "out/leases")
    });
    assert_eq!(bao.count("update auth/approle/login"), 1, "{:#?}", bao.requests());
    assert_eq!((users("leases"), bao.leases("database/creds/leases").len()), (1, 1));
    assert_eq!(rig.read("seen/starts"), "start\n");
    assert_eq!(squire.stop(), 128 + 15);
    wait_until(SOON, "no user is left behind", || users("leases") == 0);
    record(
        "database lease revoked, look_up_every 2 s",
        Some(took),
        "all other files and the process untouched",
        "one new database user, same token",
    );
}
