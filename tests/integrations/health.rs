//! The state of the secrets in the service's own health: well through a rotation, failing when a credential has ended, well again.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::load::{Load, get, wait_for_service};
use crate::setup::LONG;
use crate::shop::Shop;
use crate::support::{Bao, Postgres, free_port, wait_until};

#[test]
fn health_follows_the_secrets_while_the_service_goes_on() {
    // A server of its own, since it is halted.
    let (bao, postgres) = (Bao::start(), Postgres::shared());
    let shop = Shop::new("health", &bao, Some(postgres), &["database.main", "role.readwrite"], &json!({}));
    shop.change_settings("\nttl = \"2h\"\nmax_ttl = \"8h\"", "\nttl = \"6s\"\nmax_ttl = \"6s\"");
    let (port, ready) = (free_port().to_string(), free_port().to_string());
    let mut squire = shop.open(&[("8080", &port), ("9790", &ready)]);
    let (url, health) = (format!("http://127.0.0.1:{port}/"), format!("http://127.0.0.1:{port}/health"));
    wait_for_service(&url);
    wait_until(LONG, "healthy", || get(&health).0 == 200);
    let asked = url.clone();
    let load = Load::start(move || get(&asked));
    let asked = health.clone();
    let healthy = Load::start(move || get(&asked));
    let users = || load.answers().into_iter().map(|answer| answer.1).collect::<BTreeSet<_>>();
    wait_until(LONG, "a rotation", || users().len() >= 2);
    healthy.nothing_was_lost();
    drop(healthy);

    bao.halt();
    wait_until(LONG, "failing, since the credential has ended", || get(&health).0 == 503);
    let answer: Value = serde_json::from_str(&get(&health).1).unwrap();
    assert!(answer["secrets"]["reasons"].to_string().contains("db"), "{answer}");
    load.nothing_was_lost();
    bao.go_on();
    wait_until(LONG, "healthy again", || get(&health).0 == 200);
    load.nothing_was_lost();
    shop.was_never_restarted();
    drop(load);
    squire.stop();
}
