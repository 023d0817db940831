//! PostgreSQL with users that are made for the process, and a pool of connections that goes from one to the next.

use std::collections::BTreeSet;

use serde_json::json;

use crate::load::{Load, get, wait_for_service};
use crate::setup::LONG;
use crate::shop::Shop;
use crate::support::{Bao, Postgres, free_port, wait_until};

#[test]
fn a_pool_survives_its_users_without_a_failed_request() {
    let (bao, postgres) = (Bao::shared(), Postgres::shared());
    let tables = ["database.main", "role.readwrite"];
    let shop = Shop::new("postgres_pool", bao, Some(postgres), &tables, &json!({}));
    // Each user lives six seconds, and cannot be renewed for longer.
    shop.change_settings("ttl = \"2h\"", "ttl = \"6s\"");
    shop.change_settings("max_ttl = \"8h\"", "max_ttl = \"6s\"");
    let (port, address) = (free_port().to_string(), postgres.address());
    let changes = [
        ("127.0.0.1:5432", address.as_str()),
        ("PORT = \"8080\"", &format!("PORT = \"{port}\"")),
        ("grace = \"30s\"", "grace = \"1s\""),
    ];
    let mut squire = shop.open(&changes);
    let url = format!("http://127.0.0.1:{port}/");
    wait_for_service(&url);
    let asked = url.clone();
    let load = Load::start(move || get(&asked));
    load.wait_for(3, "three answers", |_| true);
    let users = |load: &Load| load.answers().into_iter().map(|answer| answer.1).collect::<BTreeSet<_>>();
    wait_until(LONG, "three users have served", || users(&load).len() >= 3);
    load.nothing_was_lost();
    // The first ones are gone from the database, and the newest one serves.
    let now = get(&url).1;
    let former = users(&load).into_iter().filter(|user| *user != now).take(2).collect::<Vec<_>>();
    wait_until(LONG, "the users before are gone", || {
        let there = postgres.roles("v-");
        former.iter().filter(|user| there.contains(user)).count() < 2
    });
    load.wait_for(10, "ten further answers", |answer| answer.0 == 200);
    load.nothing_was_lost();
    shop.was_never_restarted();
    drop(load);
    squire.stop();
}
