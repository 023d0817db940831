//! Secret-ids that are wrapped, that are deleted after use, and that are refused while they are new.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::json;
use squire::config::{AuthConfig, CredentialFrom, VaultConfig};
use squire::source::vault::Vault;
use squire::source::{Fault, Source as _};

use crate::bao::Bao;
use crate::config;
use crate::fake::{Fake, json as reply};
use crate::login::{approle, refused};

const MAKE: &str = "auth/approle/role/app/secret-id";

/// A source whose secret-id file holds a wrapping token.
async fn wrapped(bao: &Bao) -> (VaultConfig, PathBuf) {
    let mut config = approle(bao, "approle").await;
    let file = secret_id(&mut config, true, true);
    bao.file("secret-id", &bao.wrapped(MAKE, json!({})).await);
    (config, file)
}

fn secret_id(config: &mut VaultConfig, unwrap: bool, delete: bool) -> PathBuf {
    let AuthConfig::AppRole(role) = &mut config.auth else { panic!("{:?}", config.auth) };
    let secret_id = role.secret_id.as_mut().unwrap();
    (secret_id.unwrap, secret_id.delete) = (unwrap, delete);
    secret_id.from.file().unwrap().to_owned()
}

fn made_long_ago(file: &Path) {
    let file = std::fs::File::options().write(true).open(file).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_mins(1)).unwrap();
}

#[tokio::test]
async fn a_wrapped_secret_id_is_unwrapped_once_deleted_and_remembered() {
    let bao = Bao::dev().await;
    let (config, file) = wrapped(&bao).await;
    let vault = Vault::new(&config).unwrap();
    vault.log_in().await.unwrap();
    assert!(!file.exists());
    vault.log_in().await.unwrap();

    // A new file wins, even over a secret-id that still works.
    bao.file("secret-id", "canary-of-nothing");
    refused(&vault.log_in().await, "was used already, has expired, or is none");
    assert!(file.exists());
    bao.file("secret-id", &bao.wrapped(MAKE, json!({})).await);
    vault.log_in().await.unwrap();
    assert!(!file.exists());

    let another = Vault::new(&config).unwrap().log_in().await;
    assert!(matches!(another, Err(Fault::Awaiting { file: awaited, .. }) if awaited == file));
}

#[tokio::test]
async fn a_wrapped_secret_id_that_is_kept_in_its_file_is_unwrapped_once() {
    let bao = Bao::dev().await;
    let (mut config, file) = wrapped(&bao).await;
    secret_id(&mut config, true, false);
    let vault = Vault::new(&config).unwrap();
    for _ in 0..2 {
        vault.log_in().await.unwrap();
        assert!(file.exists());
    }
    let stolen = Vault::new(&config).unwrap().log_in().await;
    refused(&stolen, "if it was used, somebody else may hold the secret-id");
}

#[tokio::test]
async fn only_a_wrapping_token_of_the_role_is_unwrapped() {
    let bao = Bao::dev().await;
    let (config, file) = wrapped(&bao).await;
    approle(&bao, "other").await;
    let good = bao.post(MAKE, json!({})).await["data"]["secret_id"].clone();
    let forged = [
        ("sys/wrapping/wrap", json!({ "secret_id": good })),
        ("auth/other/role/app/secret-id", json!({})),
        ("auth/token/create", json!({})),
    ];
    for (path, body) in forged {
        let token = bao.wrapped(path, body).await;
        bao.file("secret-id", &token);
        let outcome = Vault::new(&config).unwrap().log_in().await;
        refused(&outcome, &format!("was made at {path:?}, not at auth/approle/role/*/secret-id"));
        let shown = format!("{outcome:?}");
        assert!(!shown.contains(&token) && !shown.contains(good.as_str().unwrap()), "{shown}");
        // It was looked up, but not used.
        bao.post("sys/wrapping/lookup", json!({ "token": token })).await;
        assert!(file.exists());
    }
    let custom = bao.wrapped("auth/approle/role/app/custom-secret-id", json!({ "secret_id": "abc" })).await;
    bao.file("secret-id", &custom);
    Vault::new(&config).unwrap().log_in().await.unwrap();
}

#[tokio::test]
async fn in_a_namespace_the_wrapping_path_is_the_same() {
    let bao = Bao::dev().await;
    bao.post("sys/namespaces/team", json!({})).await;
    bao.post("team/sys/auth/approle", json!({ "type": "approle" })).await;
    bao.post("team/auth/approle/role/app", json!({})).await;
    bao.post("team/auth/approle/role/app/role-id", json!({ "role_id": "role-of-the-app" })).await;
    let (mut config, _file) = wrapped(&bao).await;
    config.namespace = Some("team".into());
    bao.file("secret-id", &bao.wrapped(&format!("team/{MAKE}"), json!({})).await);
    Vault::new(&config).unwrap().log_in().await.unwrap();
}

#[tokio::test]
async fn a_missing_role_id_uses_no_wrapping_token_up() {
    let bao = Bao::dev().await;
    let (config, _file) = wrapped(&bao).await;
    let vault = Vault::new(&config).unwrap();
    let role_id = bao.file("role-id", "");
    assert!(matches!(vault.log_in().await, Err(Fault::Awaiting { file, .. }) if file == role_id));
    bao.file("role-id", "wrong");
    refused(&vault.log_in().await, "check role id and secret-id");
    bao.file("role-id", "role-of-the-app");
    vault.log_in().await.unwrap();
}

#[tokio::test]
async fn a_plain_secret_id_is_deleted_where_that_is_asked_for_and_used_up_ones_are_not_sent_for_ever() {
    let bao = Bao::dev().await;
    let mut config = approle(&bao, "approle").await;
    let file = secret_id(&mut config, false, true);
    let made = bao.post(MAKE, json!({ "num_uses": 2 })).await;
    bao.file("secret-id", made["data"]["secret_id"].as_str().unwrap());
    made_long_ago(&file);
    let vault = Vault::new(&config).unwrap();
    for _ in 0..2 {
        vault.log_in().await.unwrap();
        assert!(!file.exists());
    }
    refused(&vault.log_in().await, "invalid role or secret ID");
    let next = vault.log_in().await;
    assert!(matches!(&next, Err(Fault::Awaiting { file: awaited, .. }) if *awaited == file), "{next:?}");
}

#[tokio::test]
async fn a_file_that_was_replaced_during_the_login_is_not_deleted() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("secret-id");
    let replaced = path.clone();
    let fake = Fake::new(move |_| {
        std::fs::write(&replaced, "the next one").unwrap();
        let auth = r#"{"auth":{"client_token":"t","lease_duration":60,"renewable":true}}"#;
        reply("200 OK", &[], auth)
    })
    .await;
    let mut config = config(&[&fake.address], Path::new(""));
    let role = squire::config::AppRoleConfig {
        mount: "approle".into(),
        role_id: squire::config::RoleId::Inline("r".into()),
        secret_id: Some(squire::config::SecretIdConfig {
            from: CredentialFrom::File(path.clone()),
            unwrap: false,
            delete: true,
            keep: false,
        }),
    };
    config.auth = AuthConfig::AppRole(role);
    std::fs::write(&path, "this one").unwrap();
    Vault::new(&config).unwrap().log_in().await.unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "the next one");
}

#[tokio::test]
async fn a_young_refused_secret_id_may_be_sent_once_more() {
    let bao = Bao::dev().await;
    let vault = Vault::new(&approle(&bao, "approle").await).unwrap();
    let wrong = |contents: &str| bao.file("secret-id", contents);
    wrong("wrong");
    let again_in = async || match vault.log_in().await {
        Err(Fault::Refused { again_in, .. }) => again_in,
        other => panic!("{other:?}"),
    };
    assert_eq!(again_in().await, Some(Duration::from_secs(3)));
    assert_eq!(again_in().await, None);
    made_long_ago(&wrong("also wrong"));
    assert_eq!(again_in().await, None);
}
