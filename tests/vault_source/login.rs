//! Logging in, and the life of the token.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use squire::config::{AppRoleConfig, AuthConfig, CredentialFrom, RoleId, SecretIdConfig, VaultConfig};
use squire::source::vault::Vault;
use squire::source::{Fault, Grant, GrantLife, Source as _};

use crate::bao::Bao;
use crate::{config, grant};

/// A role whose tokens live 20 seconds, and the credentials to log in to it.
pub(crate) async fn approle(bao: &Bao, mount: &str) -> VaultConfig {
    bao.post(&format!("sys/auth/{mount}"), json!({ "type": "approle" })).await;
    let role = json!({ "token_ttl": "20s", "token_max_ttl": "1h" });
    bao.post(&format!("auth/{mount}/role/app"), role).await;
    bao.post(&format!("auth/{mount}/role/app/role-id"), json!({ "role_id": "role-of-the-app" })).await;
    let made = bao.post(&format!("auth/{mount}/role/app/secret-id"), json!({})).await;
    let file = bao.file("secret-id", &format!("{}\n", made["data"]["secret_id"].as_str().unwrap()));
    let mut config = config(&[&bao.address], bao.home.path());
    config.auth = AuthConfig::AppRole(AppRoleConfig {
        mount: mount.into(),
        role_id: RoleId::File(bao.file("role-id", "role-of-the-app\n")),
        secret_id: Some(SecretIdConfig {
            from: CredentialFrom::File(file),
            unwrap: false,
            delete: false,
            keep: false,
        }),
    });
    config
}

pub(crate) async fn log_in(config: &VaultConfig) -> Result<Grant, Fault> {
    Vault::new(config).unwrap().log_in().await
}

#[track_caller]
pub(crate) fn refused(outcome: &Result<Grant, Fault>, part: &str) {
    assert!(matches!(outcome, Err(Fault::Refused { why, .. }) if why.contains(part)), "{part}: {outcome:?}");
}

#[tokio::test]
async fn a_role_logs_in_renews_looks_itself_up_and_is_revoked() {
    let bao = Bao::dev().await;
    let vault = Vault::new(&approle(&bao, "machines").await).unwrap();
    let files: Vec<PathBuf> = ["role-id", "secret-id"].map(|name| bao.home.path().join(name)).into();
    assert_eq!(vault.credential_files(), files);

    let grant = vault.log_in().await.unwrap();
    let life = GrantLife { ttl: Some(Duration::from_secs(20)), renewable: true };
    assert_eq!(grant.life, life);
    assert_eq!(vault.renew_grant(&grant).await.unwrap(), life);
    assert_eq!(grant.uses, None);
    let looked_up = vault.look_up_grant(&grant).await.unwrap();
    assert!(looked_up.ttl.unwrap() > Duration::from_secs(10), "{looked_up:?}");
    vault.revoke_grant(&grant).await.unwrap();
    assert_eq!(vault.look_up_grant(&grant).await.unwrap_err(), Fault::Dead);
    assert_eq!(vault.renew_grant(&grant).await.unwrap_err(), Fault::Dead);
}

#[tokio::test]
async fn wrong_missing_and_empty_credentials_are_told_apart() {
    let bao = Bao::dev().await;
    let config = approle(&bao, "approle").await;
    let vault = Vault::new(&config).unwrap();
    let secret_id = bao.file("secret-id", "canary-secret-id");
    let outcome = vault.log_in().await;
    assert!(!format!("{outcome:?}").contains("canary"), "{outcome:?}");
    refused(&outcome, "invalid role or secret ID");

    bao.file("secret-id", "\n");
    let awaiting = Fault::Awaiting { file: secret_id.clone(), why: "it is empty".into() };
    assert_eq!(vault.log_in().await.unwrap_err(), awaiting);
    std::fs::remove_file(&secret_id).unwrap();
    let missing = vault.log_in().await.unwrap_err();
    assert!(matches!(&missing, Fault::Awaiting { file, .. } if *file == secret_id), "{missing:?}");

    let mut elsewhere = config.clone();
    elsewhere.auth = AuthConfig::AppRole(AppRoleConfig {
        mount: "nowhere".into(),
        role_id: RoleId::Inline("role-of-the-app".into()),
        secret_id: None,
    });
    refused(&log_in(&elsewhere).await, "nothing is mounted there");
}

#[tokio::test]
async fn a_token_file_gives_a_grant_with_the_life_that_the_token_has() {
    let bao = Bao::dev().await;
    let with = |contents: &str| config(&[&bao.address], &bao.file("token", contents));
    let root = log_in(&with(&format!("{}\n", bao.token))).await.unwrap();
    assert_eq!(root.life, GrantLife { ttl: None, renewable: false });

    let token = bao.token_for("none", &[("nothing", "deny")], json!({ "ttl": "1h" })).await;
    let short = log_in(&with(&token)).await.unwrap();
    assert!(short.life.renewable && short.life.ttl.unwrap() > Duration::from_secs(3500), "{:?}", short.life);

    refused(&log_in(&with("s.canary")).await, "not valid, or it may not look itself up");
    let silent = bao.token_for("none", &[("nothing", "deny")], json!({ "no_default_policy": true })).await;
    refused(&log_in(&with(&silent)).await, "not valid, or it may not look itself up");
}

#[tokio::test]
async fn a_limited_number_of_uses_is_told() {
    let bao = Bao::dev().await;
    let config = approle(&bao, "approle").await;
    bao.post("auth/approle/role/app", json!({ "token_num_uses": 5 })).await;
    assert_eq!(log_in(&config).await.unwrap().uses, Some(5));

    let token = bao.token_for("none", &[("nothing", "deny")], json!({ "num_uses": 5 })).await;
    let given = log_in(&crate::config(&[&bao.address], &bao.file("token", &token))).await.unwrap();
    // The look-up was its first use.
    assert_eq!(given.uses, Some(4));
}

#[tokio::test]
async fn a_batch_token_can_be_neither_renewed_nor_revoked() {
    let bao = Bao::dev().await;
    let token = bao.token_for("none", &[("nothing", "deny")], json!({ "type": "batch", "ttl": "1h" })).await;
    let vault = Vault::new(&config(&[&bao.address], bao.home.path())).unwrap();
    let batch = grant(&token);
    assert!(matches!(vault.renew_grant(&batch).await, Err(Fault::Failing { .. })));
    assert!(matches!(vault.revoke_grant(&batch).await, Err(Fault::Failing { .. })));
    let life = vault.look_up_grant(&batch).await.unwrap();
    assert!(!life.renewable && life.ttl.is_some(), "{life:?}");
}
