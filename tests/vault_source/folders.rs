//! A folder of KV as one secret.

use std::path::Path;

use serde_json::{Value, json};
use squire::config::{EngineKind, Listing};
use squire::plan::Want;
use squire::source::vault::Vault;
use squire::source::{Fault, Grant, Life, Source as _};

use crate::bao::Bao;
use crate::fake::{Fake, json as reply};
use crate::{config, grant, want};

fn vault(bao: &Bao) -> Vault {
    Vault::new(&config(&[&bao.address], bao.home.path())).unwrap()
}

fn folder(path: &str, list: Listing) -> Want {
    Want { list: Some(list), ..want(path) }
}

async fn read(vault: &Vault, token: &str, wanted: &Want) -> Value {
    json!(vault.fetch(&grant(token), wanted).await.unwrap().fields)
}

async fn put(bao: &Bao, name: &str, password: &str) {
    bao.post(&format!("secret/data/{name}"), json!({ "data": { "password": password } })).await;
}

#[tokio::test]
async fn it_is_a_map_of_its_entries_or_of_all_below_it() {
    let bao = Bao::dev().await;
    let vault = vault(&bao);
    for name in ["team/bob", "team/alice", "team/deeper/carol", "team/deeper/still/dan", "team", "teams/eve"]
    {
        put(&bao, name, name).await;
    }
    let entry = |name: &str| json!({ "password": name });
    let level = json!({ "alice": entry("team/alice"), "bob": entry("team/bob") });
    let tree = json!({
        "alice": entry("team/alice"), "bob": entry("team/bob"),
        "deeper/carol": entry("team/deeper/carol"), "deeper/still/dan": entry("team/deeper/still/dan"),
    });
    for path in ["secret/team", "secret/data/team", "secret/metadata/team"] {
        assert_eq!(read(&vault, &bao.token, &folder(path, Listing::Level)).await, level, "{path}");
        assert_eq!(read(&vault, &bao.token, &folder(path, Listing::Tree)).await, tree, "{path}");
        let said = Want { kind: Some(EngineKind::Kv2), ..folder(path, Listing::Level) };
        assert_eq!(read(&vault, &bao.token, &said).await, level, "{path}");
    }
    let all = read(&vault, &bao.token, &folder("secret", Listing::Tree)).await;
    let names: Vec<&str> = all.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "ready",
            "team",
            "team/alice",
            "team/bob",
            "team/deeper/carol",
            "team/deeper/still/dan",
            "teams/eve"
        ]
    );
    assert_eq!(read(&vault, &bao.token, &folder("secret/nobody", Listing::Tree)).await, json!({}));

    // What was deleted is listed all the same, and left out; what has a date for it is looked at then.
    bao.delete("secret/data/team/alice").await;
    bao.post("secret/metadata/team/bob", json!({ "delete_version_after": "1h" })).await;
    put(&bao, "team/bob", "changed").await;
    let fetched = vault.fetch(&grant(&bao.token), &folder("secret/team", Listing::Level)).await.unwrap();
    assert_eq!(json!(fetched.fields), json!({ "bob": entry("changed") }));
    assert!(matches!(fetched.life, Life::Versioned { within: Some(_) }), "{:?}", fetched.life);
}

#[tokio::test]
async fn names_that_look_like_the_api_or_need_quotes_are_taken_to_the_letter() {
    let bao = Bao::dev().await;
    let vault = vault(&bao);
    for name in ["data/x", "metadata/y", "a b?c/d%2fe", "ü"] {
        let path =
            percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string();
        put(&bao, &path.replace("%2F", "/"), name).await;
    }
    let all = read(&vault, &bao.token, &folder("secret", Listing::Tree)).await;
    let expected: Value = ["data/x", "metadata/y", "a b?c/d%2fe", "ü"]
        .iter()
        .map(|name| ((*name).to_owned(), json!({ "password": name })))
        .collect::<serde_json::Map<_, _>>()
        .into();
    // What the server of the test itself has.
    let mut expected = expected;
    expected["ready"] = json!({ "ready": true });
    assert_eq!(all, expected);
}

#[tokio::test]
async fn a_folder_of_the_first_kv_is_one_too_and_nothing_else_is() {
    let bao = Bao::dev().await;
    let vault = vault(&bao);
    bao.post("sys/mounts/old", json!({ "type": "kv", "options": { "version": "1" } })).await;
    bao.post("old/team/alice", json!({ "password": "one" })).await;
    bao.post("old/team/deeper/bob", json!({ "password": "two" })).await;
    let level = json!({ "alice": { "password": "one" } });
    let tree = json!({ "alice": { "password": "one" }, "deeper/bob": { "password": "two" } });
    for kind in [None, Some(EngineKind::Kv1)] {
        let wanted = |list| Want { kind, ..folder("old/team", list) };
        assert_eq!(read(&vault, &bao.token, &wanted(Listing::Level)).await, level);
        assert_eq!(read(&vault, &bao.token, &wanted(Listing::Tree)).await, tree);
    }
    bao.post("sys/mounts/pki", json!({ "type": "pki" })).await;
    let fault = vault.fetch(&grant(&bao.token), &folder("pki/roles", Listing::Level)).await.unwrap_err();
    let why = "unexpected answer: pki/roles: pki/ is not KV, and nothing else can be listed";
    assert!(fault.to_string().starts_with(why), "{fault}");
    let nowhere = Want { kind: Some(EngineKind::Kv2), ..folder("nowhere/x", Listing::Level) };
    let fault = vault.fetch(&grant(&bao.token), &nowhere).await.unwrap_err();
    assert!(fault.to_string().contains("nowhere/metadata/x/"), "{fault}");
}

#[tokio::test]
async fn what_may_not_be_listed_or_read_is_denied_with_its_path() {
    let bao = Bao::dev().await;
    for name in ["team/alice", "team/bob"] {
        put(&bao, name, name).await;
    }
    let denied = async |rules: &[(&str, &str)], path: &str| {
        let token = bao.token_for("some", rules, json!({})).await;
        match vault(&bao).fetch(&grant(&token), &folder(path, Listing::Level)).await {
            Err(Fault::Denied { path, capability }) => format!("{capability} {path}"),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(denied(&[("secret/data/team/+", "read")], "secret/team").await, "list secret/metadata/team/");
    let some = [("secret/metadata/team/", "list"), ("secret/data/team/alice", "read")];
    assert_eq!(denied(&some, "secret/team").await, "read secret/data/team/bob");
    assert_eq!(denied(&[("elsewhere", "read")], "secret/team").await, "list secret/team");
    let counted = Grant { uses: Some(9), ..grant(&bao.token) };
    let fault = vault(&bao).fetch(&counted, &folder("secret/team", Listing::Level)).await.unwrap_err();
    assert!(fault.to_string().contains("the uses of the token are counted"), "{fault}");
    // The least policy is enough.
    let least = [("secret/metadata/team/", "list"), ("secret/data/team/+", "read")];
    let token = bao.token_for("least", &least, json!({})).await;
    let all = read(&vault(&bao), &token, &folder("secret/team", Listing::Level)).await;
    assert_eq!(all.as_object().unwrap().len(), 2);
}

#[tokio::test]
async fn all_entries_together_may_weigh_what_one_secret_may() {
    let bao = Bao::dev().await;
    for number in 0..10 {
        put(&bao, &format!("team/{number}"), &"x".repeat(200)).await;
    }
    let wanted = |max_size| Want { max_size, ..folder("secret/team", Listing::Level) };
    assert!(vault(&bao).fetch(&grant(&bao.token), &wanted(4000)).await.is_ok());
    let fault = vault(&bao).fetch(&grant(&bao.token), &wanted(1500)).await.unwrap_err();
    assert!(fault.to_string().contains("all that is in secret/team is larger than 1500 bytes"), "{fault}");
}

#[tokio::test]
async fn a_folder_with_too_much_in_it_is_left_as_soon_as_that_is_known() {
    let server = Fake::new(|request| {
        let is_first = request.lines().next().unwrap().contains("/metadata/team/?");
        let name = |number: u32| if is_first { format!("f{number}/") } else { format!("s{number}") };
        let names: Vec<String> = (0..500).map(name).collect();
        reply("200 OK", &[], &json!({ "data": { "keys": names } }).to_string())
    })
    .await;
    let vault = Vault::new(&config(&[&server.address], Path::new(""))).unwrap();
    let wanted = Want { kind: Some(EngineKind::Kv2), ..folder("secret/team", Listing::Tree) };
    let fault = vault.fetch(&grant("s.t"), &wanted).await.unwrap_err();
    assert!(fault.to_string().contains("secret/team has more than 1000 entries"), "{fault}");
    // Each list may have 16 MiB, and there may be a thousand of them.
    assert!(server.asked("list=true") < 12, "{} lists", server.asked("list=true"));
}
