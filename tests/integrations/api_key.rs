//! An API key for a shell script. The API is OpenBao's own, whose keys can be made and revoked: its tokens.

use serde_json::json;

use crate::setup::record_arguments;
use crate::shop::Shop;
use crate::support::Bao;

#[test]
fn a_script_goes_over_to_the_new_key_without_a_failed_request() {
    let bao = Bao::shared();
    let key = || {
        let answer = bao.api().post("auth/token/create", &json!({"policies": ["default"], "ttl": "1h"}));
        answer["auth"]["client_token"].as_str().unwrap().to_owned()
    };
    let (first, second) = (key(), key());
    let shop = Shop::new("api_key", bao, None, &["secret.api"], &json!({"api": {"key": first}}));
    // What every user of the machine can see of curl. When Squire ends, the keys are searched for in it, as in all of the rig's directory.
    record_arguments(&shop.rig.path("programs"), "curl", &shop.rig.path("arguments"));
    let url = format!("{}/v1/auth/token/lookup-self", bao.address());
    let mut squire =
        shop.open(&[("https://api.internal/v1/orders", &url), ("PAUSE = \"5\"", "PAUSE = \"0.02\"")]);
    shop.wait_for_lines(&mut squire, 3, "ok");
    shop.put("api", &json!({"key": second}));
    squire.wait_until("the new key is in the file", || shop.rig.read("out/api-header").contains(&second));
    // One request may have begun with the file of before.
    shop.wait_for_lines(&mut squire, 2, "ok");
    bao.api().post("auth/token/revoke", &json!({"token": first}));
    shop.wait_for_lines(&mut squire, 10, "ok");
    shop.all_went_well();
    // And a key that the API refuses is seen: the script does not say `ok` to everything.
    bao.api().post("auth/token/revoke", &json!({"token": second}));
    shop.wait_for_lines(&mut squire, 1, "failed: 403");
    squire.stop();
    assert!(shop.rig.read("arguments").contains("-H @"), "{}", shop.rig.read("arguments"));
}
