//! Leases of a real database: renewed, capped, looked up, revoked with and without the right to.

use std::time::Duration;

use serde_json::json;
use squire::names::LeaseId;
use squire::source::vault::Vault;
use squire::source::{Fault, Fetched, Life, Source as _};

use crate::bao::Bao;
use crate::postgres::Postgres;
use crate::{config, eventually, grant, want};

async fn database(bao: &Bao, postgres: &Postgres) {
    bao.post("sys/mounts/database", json!({ "type": "database" })).await;
    let url = format!("postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/postgres", postgres.port);
    let connection = json!({
        "plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "connection_url": url,
        "username": "postgres", "password": "unused",
    });
    bao.post("database/config/main", connection).await;
    let create = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";
    for (role, max_ttl) in [("app", "1h"), ("capped", "15s")] {
        let role = format!("database/roles/{role}");
        let body = json!({ "db_name": "main", "creation_statements": [create], "default_ttl": "10s", "max_ttl": max_ttl });
        bao.post(&role, body).await;
    }
    postgres.query("CREATE ROLE fixed LOGIN").unwrap();
    let body = json!({ "db_name": "main", "username": "fixed", "rotation_period": "1h" });
    bao.post("database/static-roles/fixed", body).await;
}

fn lease(fetched: &Fetched) -> LeaseId {
    let Life::Renewable { lease, ttl } = &fetched.life else { panic!("{:?}", fetched.life) };
    assert_eq!(*ttl, Duration::from_secs(10));
    lease.clone()
}

fn users(postgres: &Postgres, fetched: &Fetched) -> String {
    let fields = fetched.fields.expose();
    let name = fields["username"].as_str().unwrap();
    postgres.query(&format!("select count(*) from pg_roles where rolname = '{name}'")).unwrap()
}

#[tokio::test]
async fn a_database_lease_goes_through_its_whole_life() {
    let (mut postgres, bao) = tokio::join!(Postgres::start(), Bao::dev());
    database(&bao, &postgres).await;
    let vault = Vault::new(&config(&[&bao.address], bao.home.path())).unwrap();
    let root = grant(&bao.token);
    let seconds = Duration::from_secs;

    // Renewed in full; the server rounds up, so the true time is up to a second less.
    let user = vault.fetch(&root, &want("database/creds/app")).await.unwrap();
    let renewal = vault.renew(&root, &lease(&user), seconds(30)).await.unwrap();
    assert_eq!((renewal.ttl, renewal.capped), (seconds(29), false));
    let left = vault.look_up(&root, &lease(&user)).await.unwrap();
    assert!((seconds(25)..=seconds(30)).contains(&left), "{left:?}");

    // Renewed up to the maximum.
    let capped = vault.fetch(&root, &want("database/creds/capped")).await.unwrap();
    let renewal = vault.renew(&root, &lease(&capped), seconds(3600)).await.unwrap();
    assert!(renewal.capped && renewal.ttl <= seconds(14), "{renewal:?}");

    // Revoked by a token with the right to it.
    assert_eq!(users(&postgres, &user), "1");
    vault.revoke(&root, &lease(&user)).await.unwrap();
    assert_eq!(users(&postgres, &user), "0");
    vault.revoke(&root, &lease(&user)).await.unwrap();
    assert!(matches!(vault.look_up(&root, &lease(&user)).await, Err(Fault::Gone { .. })));
    assert!(matches!(vault.renew(&root, &lease(&user), seconds(10)).await, Err(Fault::Failing { .. })));

    // Ended by a token that may not revoke.
    let token = bao.token_for("app", &[("database/creds/app", "read")], json!({ "ttl": "1h" })).await;
    let app = grant(&token);
    let user = vault.fetch(&app, &want("database/creds/app")).await.unwrap();
    vault.revoke(&app, &lease(&user)).await.unwrap();
    eventually("the user is dropped", async || users(&postgres, &user) == "0").await;
    assert!(matches!(vault.look_up(&app, &lease(&user)).await, Err(Fault::Gone { .. })));
    vault.revoke(&app, &lease(&user)).await.unwrap();

    // A token that may neither revoke nor renew.
    let rules = [("database/creds/app", "read")];
    let token = bao.token_for("bare", &rules, json!({ "ttl": "1h", "no_default_policy": true })).await;
    let user = vault.fetch(&grant(&token), &want("database/creds/app")).await.unwrap();
    let denied = Fault::Denied { path: "sys/leases/revoke".into(), capability: "update" };
    assert_eq!(vault.revoke(&grant(&token), &lease(&user)).await.unwrap_err(), denied);

    // A role that the server rotates.
    let fixed = vault.fetch(&root, &want("database/static-creds/fixed")).await.unwrap();
    let Life::Rotating { ttl } = fixed.life else { panic!("{:?}", fixed.life) };
    assert!((seconds(3590)..=seconds(3600)).contains(&ttl), "{ttl:?}");

    // The database is down, but the server is not: the lease is not lost, but it cannot be ended either.
    let user = vault.fetch(&app, &want("database/creds/app")).await.unwrap();
    postgres.stop();
    let outcome = vault.fetch(&app, &want("database/creds/app")).await;
    assert!(matches!(outcome, Err(Fault::Failing { .. })), "{outcome:?}");
    assert!(matches!(vault.renew(&app, &lease(&user), seconds(10)).await, Err(Fault::Failing { .. })));
    vault.look_up(&app, &lease(&user)).await.unwrap();
    assert!(matches!(vault.revoke(&app, &lease(&user)).await, Err(Fault::Failing { .. })));
}
