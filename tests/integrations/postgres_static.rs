//! PostgreSQL with a user of fixed name and password. Two such users take turns, as AWS and others rotate: the one is changed while the other
//! is in use.

use serde_json::json;

use crate::shop::Shop;
use crate::support::{Bao, Postgres, fresh};

#[test]
fn a_worker_goes_over_to_the_other_user_without_a_failed_connection() {
    let (bao, postgres) = (Bao::shared(), Postgres::shared());
    let passwords = [fresh("static").replace(['/', '+'], "-"), fresh("static").replace(['/', '+'], "-")];
    let user = |app: &str, which: usize| format!("{app}_static_{which}");
    let secret = json!({"postgres": {"username": "later", "password": passwords[0]}});
    let shop = Shop::new("postgres_static", bao, None, &["secret.postgres"], &secret);
    let app = shop.app();
    postgres.execute(&format!("CREATE DATABASE {app}"));
    for (which, password) in passwords.iter().enumerate() {
        postgres.execute(&format!("CREATE ROLE {} LOGIN PASSWORD '{password}'", user(app, which)));
    }
    shop.give_only(&json!({"postgres": {"username": user(app, 0), "password": passwords[0]}}));
    let port = postgres.address().split(':').nth(1).unwrap().to_owned();
    let mut squire = shop.open(&[("5432", &port), ("PAUSE = \"5\"", "PAUSE = \"0.02\"")]);
    shop.wait_for_lines(&mut squire, 3, &user(app, 0));
    shop.put("postgres", &json!({"username": user(app, 1), "password": passwords[1]}));
    shop.wait_for_lines(&mut squire, 2, &user(app, 1));
    // Whoever still came as the first one would fail from now on, and end.
    postgres.execute(&format!("DROP ROLE {}", user(app, 0)));
    shop.wait_for_lines(&mut squire, 10, &user(app, 1));
    shop.all_went_well();
    squire.stop();
}
