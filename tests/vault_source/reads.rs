//! Reading secrets: KV in both versions, certificates, denied paths and missing paths.

use std::time::Duration;

use serde_json::json;
use squire::config::{EngineKind, Version};
use squire::source::heard::listening;
use squire::source::vault::Vault;
use squire::source::{Fault, Fetched, Life, Source as _};
use tokio::task::JoinSet;

use crate::bao::Bao;
use crate::fake::Fake;
use crate::{config, fields, grant, want};

fn vault(bao: &Bao) -> Vault {
    Vault::new(&config(&[&bao.address], bao.home.path())).unwrap()
}

fn gone(outcome: Result<Fetched, Fault>) -> String {
    match outcome {
        Err(Fault::Gone { why }) => why,
        other => panic!("{other:?}"),
    }
}

fn malformed(outcome: Result<Fetched, Fault>) -> String {
    match outcome {
        Err(Fault::Malformed { why }) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_server_tells_what_it_calls_a_request_and_the_token() {
    let bao = Bao::dev().await;
    let (vault, root) = (vault(&bao), grant(&bao.token));
    bao.post("secret/data/team/app", json!({ "data": { "password": "one" } })).await;
    let wanted = want("secret/team/app");
    let (first, heard) = listening(vault.fetch(&root, &wanted)).await;
    let (_, again) = listening(vault.fetch(&root, &wanted)).await;
    assert!(first.is_ok() && heard.request.is_some() && heard.accessor.is_none(), "{heard:?}");
    assert_ne!(heard.request, again.request);
    let (_, looked) = listening(vault.look_up_grant(&root)).await;
    assert!(looked.request.is_some() && looked.accessor.is_some(), "{looked:?}");
    let (_, nothing) = listening(vault.fetch(&root, &want("secret/never"))).await;
    assert_eq!(nothing.request, None, "{nothing:?}");
}

#[tokio::test]
async fn a_versioned_secret_is_read_pinned_deleted_and_destroyed() {
    let bao = Bao::dev().await;
    let (vault, root) = (vault(&bao), grant(&bao.token));
    for password in ["one", "two"] {
        bao.post("secret/data/team/app", json!({ "data": { "password": password, "port": 5432 } })).await;
    }
    let newest = vault.fetch(&root, &want("secret/team/app")).await.unwrap();
    assert_eq!(newest.fields.expose(), fields(json!({ "password": "two", "port": 5432 })));
    assert_eq!(newest.life, Life::Versioned { within: None });
    let mut pinned = want("secret/team/app");
    pinned.version = Some(Version::Number(1));
    assert_eq!(vault.fetch(&root, &pinned).await.unwrap().fields.expose()["password"], "one");

    bao.delete("secret/data/team/app").await;
    let why = gone(vault.fetch(&root, &want("secret/team/app")).await);
    assert!(why.starts_with("secret/team/app: version 2 was deleted at 20"), "{why}");
    bao.post("secret/destroy/team/app", json!({ "versions": [1] })).await;
    assert_eq!(gone(vault.fetch(&root, &pinned).await), "secret/team/app: version 1 was destroyed");
    assert_eq!(gone(vault.fetch(&root, &want("secret/never")).await), "there is nothing at secret/never");

    let mut written = want("secret/team/app");
    written.params = Some(fields(json!({ "password": "lost" })));
    assert!(malformed(vault.fetch(&root, &written).await).contains("`params` would overwrite it"));
    assert!(malformed(vault.fetch(&root, &want("secret")).await).contains("the name of a secret"));
}

#[tokio::test]
async fn a_versioned_secret_is_read_by_the_path_of_the_api_too() {
    let bao = Bao::dev().await;
    let proxy = Fake::before(&bao.address).await;
    let vault = Vault::new(&config(&[&proxy.address], bao.home.path())).unwrap();
    let root = grant(&bao.token);
    bao.post("secret/data/team/app", json!({ "data": { "is": "plain" } })).await;
    bao.post("secret/data/data/odd", json!({ "data": { "is": "called data/odd" } })).await;
    bao.post("secret/data/data", json!({ "data": { "is": "called data" } })).await;
    for (path, is) in [
        ("secret/team/app", "plain"),
        ("secret/data/team/app", "plain"),
        ("secret/data/data/odd", "called data/odd"),
        ("secret/data", "called data"),
        ("secret/data/data", "called data"),
    ] {
        assert_eq!(vault.fetch(&root, &want(path)).await.unwrap().fields.expose()["is"], is, "{path}");
    }
    assert_eq!(
        gone(vault.fetch(&root, &want("secret/data/odd")).await),
        "there is nothing at secret/data/odd"
    );
    let token = bao.token_for("mine", &[("secret/data/mine", "read")], json!({})).await;
    let fault = vault.fetch(&grant(&token), &want("secret/data/team/app")).await.unwrap_err();
    assert_eq!(fault, Fault::Denied { path: "secret/data/team/app".into(), capability: "read" });
    assert_eq!(proxy.asked("/v1/secret/data/data/team"), 0, "that is nobody's path");
    // Version 1 has no such form: there `data/x` is a name.
    bao.post("sys/mounts/kv", json!({ "type": "kv" })).await;
    bao.post("kv/data/x", json!({ "is": "called data/x" })).await;
    assert_eq!(vault.fetch(&root, &want("kv/data/x")).await.unwrap().fields.expose()["is"], "called data/x");
}

/// A proxy or a gateway that allows only the path of the secret.
#[tokio::test]
async fn where_nobody_may_ask_for_the_mount_a_path_is_taken_as_it_is_written() {
    let bao = Bao::dev().await;
    let root = grant(&bao.token);
    bao.post("sys/mounts/kv", json!({ "type": "kv" })).await;
    bao.post("secret/data/team/app", json!({ "data": { "is": "of version 2" } })).await;
    bao.post("kv/app", json!({ "is": "of version 1" })).await;
    bao.delete("secret/data/team/app").await;
    bao.post("secret/data/team/app", json!({ "data": { "is": "the second" } })).await;
    for status in ["403 Forbidden", "404 Not Found", "405 Method Not Allowed", "400 Bad Request"] {
        let proxy = Fake::refusing(&bao.address, "sys/internal/ui/mounts", status).await;
        let vault = Vault::new(&config(&[&proxy.address], bao.home.path())).unwrap();
        let read = async |want: squire::plan::Want| vault.fetch(&root, &want).await;
        let is = |fetched: Result<Fetched, Fault>| fetched.unwrap().fields.expose()["is"].clone();
        for _ in 0..3 {
            assert_eq!(is(read(want("secret/data/team/app")).await), "the second", "{status}");
            assert_eq!(is(read(want("kv/app")).await), "of version 1");
        }
        assert_eq!(proxy.asked("ui/mounts"), 2, "once a mount");
        let mut pin = want("secret/data/team/app");
        pin.version = Some(Version::Number(1));
        assert!(gone(read(pin.clone()).await).contains("version 1 was deleted"));
        pin.path = "kv/app".to_owned();
        assert!(malformed(read(pin).await).contains("has no versions"));

        let why = gone(read(want("secret/team/app")).await);
        assert!(why.contains("write MOUNT/data/NAME, or kind = \"kv2\""), "{why}");
        let mut said = want("secret/team/app");
        said.kind = Some(EngineKind::Kv2);
        assert_eq!(is(read(said).await), "the second");
        let mut said = want("kv/app");
        said.kind = Some(EngineKind::Kv1);
        assert_eq!(is(read(said).await), "of version 1");

        // A path that is allowed is requested each time, even if nothing is there.
        for _ in 0..3 {
            assert!(gone(read(want("kv/nothing")).await).starts_with("there is nothing at kv/nothing"));
        }
        let mut write = want("kv/app");
        write.params = Some(fields(json!({ "is": "lost" })));
        assert!(malformed(read(write).await).contains("write kind = \"other\""));
    }
}

#[tokio::test]
async fn a_coming_deletion_tells_when_to_look_again() {
    let bao = Bao::dev().await;
    bao.post("secret/metadata/short", json!({ "delete_version_after": "1h" })).await;
    bao.post("secret/data/short", json!({ "data": { "a": 1 } })).await;
    let fetched = vault(&bao).fetch(&grant(&bao.token), &want("secret/short")).await.unwrap();
    let Life::Versioned { within: Some(within) } = fetched.life else { panic!("{:?}", fetched.life) };
    assert!((Duration::from_secs(3590)..Duration::from_secs(3602)).contains(&within), "{within:?}");
}

#[tokio::test]
async fn names_with_odd_characters_and_nested_mounts_are_found() {
    let bao = Bao::dev().await;
    let (vault, root) = (vault(&bao), grant(&bao.token));
    bao.post("sys/mounts/team/a/kv", json!({ "type": "kv" })).await;
    bao.post("sys/mounts/team/b/kv", json!({ "type": "kv" })).await;
    bao.post("team/a/kv/x%20y%3F%C3%A4", json!({ "is": "a" })).await;
    bao.post("team/b/kv/x", json!({ "is": "b", "ttl": 1, "expiration": 1 })).await;
    let read = async |path: &str| vault.fetch(&root, &want(path)).await.unwrap();
    assert_eq!(read("team/a/kv/x y?ä").await.fields.expose()["is"], "a");
    let b = read("team/b/kv/x").await;
    assert_eq!(b.fields.expose()["is"], "b");
    assert!(matches!(b.life, Life::Versioned { .. }), "{:?}", b.life);

    let mut versioned = want("team/b/kv/x");
    versioned.version = Some(Version::Number(1));
    let why = malformed(vault.fetch(&root, &versioned).await);
    assert_eq!(
        why,
        "team/b/kv/x has no versions, since team/b/kv/ is not KV v2: remove `version` from the configuration"
    );
}

#[tokio::test]
async fn a_mount_is_asked_for_once_and_again_when_it_has_changed() {
    let bao = Bao::dev().await;
    let proxy = Fake::before(&bao.address).await;
    let vault = std::sync::Arc::new(Vault::new(&config(&[&proxy.address], bao.home.path())).unwrap());
    for number in 0..100 {
        bao.post(&format!("secret/data/{number}"), json!({ "data": { "number": number } })).await;
    }
    let mut all = JoinSet::new();
    for number in 0..100 {
        let (vault, root) = (vault.clone(), grant(&bao.token));
        all.spawn(async move {
            let fetched = vault.fetch(&root, &want(&format!("secret/{number}"))).await.unwrap();
            assert_eq!(fetched.fields.expose()["number"], number);
        });
    }
    all.join_all().await;
    let question = "GET /v1/sys/internal/ui/mounts/secret/";
    assert_eq!((proxy.asked(question), proxy.asked("GET /v1/secret/data/")), (1, 100));

    bao.delete("sys/mounts/secret").await;
    bao.post("sys/mounts/secret", json!({ "type": "kv" })).await;
    bao.post("secret/1", json!({ "number": "of version 1" })).await;
    let root = grant(&bao.token);
    gone(vault.fetch(&root, &want("secret/1")).await);
    let fetched = vault.fetch(&root, &want("secret/1")).await.unwrap();
    assert_eq!(fetched.fields.expose()["number"], "of version 1");
    assert_eq!(proxy.asked(question), 2);
}

#[tokio::test]
async fn what_the_policy_does_not_allow_is_denied_with_the_path_that_it_has_to_name() {
    let bao = Bao::dev().await;
    let vault = vault(&bao);
    let token = bao.token_for("narrow", &[("secret/data/mine", "read")], json!({})).await;
    let cases = [
        ("secret/other", "secret/data/other"),
        ("unknown/mount", "unknown/mount"),
        ("sys/mounts", "sys/mounts"),
    ];
    for (path, named) in cases {
        let fault = vault.fetch(&grant(&token), &want(path)).await.unwrap_err();
        assert_eq!(fault, Fault::Denied { path: named.into(), capability: "read" });
    }
    let mut write = want("cubbyhole/a");
    write.params = Some(fields(json!({ "a": 1 })));
    assert!(malformed(vault.fetch(&grant(&token), &write).await).contains("params"));
}

#[tokio::test]
async fn a_certificate_ends_by_its_own_date_or_by_its_lease() {
    let bao = Bao::dev().await;
    let (vault, root) = (vault(&bao), grant(&bao.token));
    bao.post("sys/mounts/pki", json!({ "type": "pki", "config": { "max_lease_ttl": "87600h" } })).await;
    bao.post("pki/root/generate/internal", json!({ "common_name": "root", "ttl": "87600h" })).await;
    let role = |generate_lease: bool| json!({ "allow_any_name": true, "generate_lease": generate_lease });
    bao.post("pki/roles/plain", role(false)).await;
    bao.post("pki/roles/leased", role(true)).await;
    let issue = async |role: &str| {
        let mut want = want(&format!("pki/issue/{role}"));
        want.params = Some(fields(json!({ "common_name": "web.internal", "ttl": "1h" })));
        vault.fetch(&root, &want).await
    };
    let plain = issue("plain").await.unwrap();
    assert!(plain.fields.expose()["private_key"].as_str().unwrap().starts_with("-----BEGIN"));
    let Life::Expiring { lease: None, ttl } = plain.life else { panic!("{:?}", plain.life) };
    assert!((Duration::from_secs(3580)..=Duration::from_hours(1)).contains(&ttl), "{ttl:?}");
    let leased = issue("leased").await.unwrap();
    let Life::Expiring { lease: Some(lease), .. } = leased.life else { panic!("{:?}", leased.life) };
    assert!(lease.as_str().starts_with("pki/issue/leased/"), "{lease}");
    let unknown = issue("unknown").await;
    assert!(matches!(&unknown, Err(Fault::Failing { why }) if why.contains("unknown role")), "{unknown:?}");
}

#[tokio::test]
async fn a_token_that_is_made_ends_without_a_lease() {
    let bao = Bao::dev().await;
    let mut token = want("auth/token/create");
    token.params = Some(fields(json!({ "ttl": "60s", "policies": ["default"] })));
    let made = vault(&bao).fetch(&grant(&bao.token), &token).await.unwrap();
    assert!(made.fields.expose()["client_token"].is_string());
    assert_eq!(made.life, Life::Expiring { lease: None, ttl: Duration::from_mins(1) });
}

#[tokio::test]
async fn a_namespace_goes_with_every_request() {
    let bao = Bao::dev().await;
    bao.post("sys/namespaces/team", json!({})).await;
    let mut inside = config(&[&bao.address], bao.home.path());
    inside.namespace = Some("team".into());
    let vault = Vault::new(&inside).unwrap();
    bao.post("team/sys/mounts/kv", json!({ "type": "kv" })).await;
    bao.post("team/kv/a", json!({ "is": "inside" })).await;
    let fetched = vault.fetch(&grant(&bao.token), &want("kv/a")).await.unwrap();
    assert_eq!(fetched.fields.expose()["is"], "inside");

    inside.namespace = Some("wrong".into());
    let why = malformed(Vault::new(&inside).unwrap().fetch(&grant(&bao.token), &want("kv/a")).await);
    assert!(why.contains("namespace not found"), "{why}");
}
