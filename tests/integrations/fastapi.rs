//! `FastAPI`: callers with the former key and with the new one are let in while the key changes.

use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::load::{Load, ask, wait_for_service};
use crate::setup::LONG;
use crate::shop::Shop;
use crate::support::{Bao, free_port, fresh, wait_until};

#[test]
fn callers_are_let_in_with_both_keys_until_the_former_is_gone() {
    let keys = [fresh("key"), fresh("key")];
    let shop = Shop::new("fastapi", Bao::shared(), None, &["secret.api"], &json!({"api": {"key": keys[0]}}));
    let port = free_port().to_string();
    let mut squire = shop.open(&[("8080", &port)]);
    let url = format!("http://127.0.0.1:{port}/orders");
    wait_for_service(&url);
    let in_use = Arc::new(Mutex::new(keys[0].clone()));
    let (asked, key) = (url.clone(), Arc::clone(&in_use));
    let load = Load::start(move || {
        let key = key.lock().unwrap().clone();
        ask(&asked, ("x-api-key", &key), "content-type")
    });
    load.wait_for(5, "five answers", |answer| answer.0 == 200);
    assert_eq!(ask(&url, ("x-api-key", &keys[1]), "").0, 401, "the new key is not there yet");

    shop.put("api", &json!({"key": keys[1], "previous": keys[0]}));
    shop.wait_for_commit(2);
    load.wait_for(5, "five answers with the former key", |answer| answer.0 == 200);
    let with_new = || ask(&url, ("x-api-key", &keys[1]), "").0 == 200;
    wait_until(LONG, "the new key is good", with_new);
    in_use.lock().unwrap().clone_from(&keys[1]);
    load.wait_for(5, "five answers with the new key", |answer| answer.0 == 200);

    shop.put("api", &json!({"key": keys[1]}));
    let former_is_refused = || ask(&url, ("x-api-key", &keys[0]), "").0 == 401;
    wait_until(LONG, "the former key is refused", former_is_refused);
    load.wait_for(5, "five further answers", |answer| answer.0 == 200);
    load.nothing_was_lost();
    shop.was_never_restarted();
    drop(load);
    squire.stop();
}
