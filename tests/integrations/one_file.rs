//! A whole service by one file: it signs by the key of before, then by the new one, and a bad file never reaches it.

use ring::hmac;
use serde_json::json;

use crate::load::{Load, ask, wait_for_service};
use crate::setup::LONG;
use crate::shop::Shop;
use crate::support::{Bao, free_port, fresh};

fn is_signed_by(key: &str, body: &str, signature: &str) -> bool {
    let signed = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), body.as_bytes());
    let digits = |byte: &u8| format!("{byte:02x}");
    signed.as_ref().iter().map(digits).collect::<Vec<_>>().concat() == signature
}

#[test]
fn a_service_takes_its_new_file_whole_and_never_a_bad_one() {
    let keys = [fresh("signing"), fresh("signing")];
    let tables = ["secret.api", "secret.redis"];
    let shop = Shop::new("one_file", Bao::shared(), None, &tables, &json!({"api": {"key": keys[0]}}));
    let port = free_port().to_string();
    let mut squire = shop.open(&[("8080", &port)]);
    let url = format!("http://127.0.0.1:{port}/");
    wait_for_service(&url);
    let asked = url.clone();
    let load = Load::start(move || ask(&asked, ("accept", "*/*"), "x-signature"));
    let signed_by =
        |key: &'static str| move |answer: &(u16, String, String)| is_signed_by(key, &answer.1, &answer.2);
    let [first, second] = keys.each_ref().map(|key| &*Box::leak(key.clone().into_boxed_str()));
    load.wait_for(5, "five answers, signed by the first key", signed_by(first));

    // A file that the service itself refuses is not published.
    shop.put("api", &json!({"key": "too short"}));
    squire.wait_at_most(LONG, "the bad key is refused", || {
        shop.rig.read("stderr.1").contains("signing_key has to have 16 letters at least")
    });
    load.wait_for(5, "five answers, still by the first key", signed_by(first));
    assert!(shop.rig.read("out/service.json").contains(first));

    shop.put("api", &json!({"key": second}));
    load.wait_for(5, "five answers, signed by the second key", signed_by(second));
    load.nothing_was_lost();
    let neither = |answer: &&(u16, String, String)| !signed_by(first)(answer) && !signed_by(second)(answer);
    assert!(load.answers().iter().find(neither).is_none());
    shop.was_never_restarted();
    drop(load);
    squire.stop();
}
