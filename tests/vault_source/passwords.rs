//! Logins with a name and a password: `userpass` by OpenBao itself, `ldap`, which OpenBao lacks, by a server that checks the request.

use std::path::Path;

use serde_json::{Value, json};
use squire::config::{AuthConfig, PasswordConfig, PasswordKind, VaultConfig};
use squire::source::vault::Vault;
use squire::source::{Fault, Source as _};

use crate::bao::Bao;
use crate::config;
use crate::fake::{Fake, json as reply};
use crate::login::{log_in, refused};

/// What a server answers to a login.
pub(crate) fn token(name: &str) -> String {
    let auth = json!({ "client_token": name, "lease_duration": 20, "renewable": true, "accessor": "a" });
    json!({ "auth": auth }).to_string()
}

/// The first line of a request, and its body.
pub(crate) fn parts(request: &str) -> (String, Value) {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), serde_json::from_str(body).unwrap_or_default())
}

#[tokio::test]
async fn a_user_logs_in_with_what_the_file_holds_now() {
    let bao = Bao::dev().await;
    bao.post("sys/auth/people", json!({ "type": "userpass" })).await;
    let user = json!({ "password": "right word", "token_ttl": "20s" });
    bao.post("auth/people/users/app", user).await;
    let file = bao.file("password", "right word\n");
    let with = |mount: &str, username: &str| {
        let password = PasswordConfig {
            kind: PasswordKind::Userpass,
            mount: mount.into(),
            username: username.into(),
            file: file.clone(),
        };
        VaultConfig { auth: AuthConfig::Password(password), ..config(&[&bao.address], Path::new("")) }
    };
    let vault = Vault::new(&with("people", "app")).unwrap();
    assert_eq!(vault.credential_files(), std::slice::from_ref(&file));
    assert!(!vault.credential_is_grant());
    let grant = vault.log_in().await.unwrap();
    assert!(grant.revocable && grant.life.renewable, "{grant:?}");
    vault.revoke_grant(&grant).await.unwrap();

    // Nothing but the file, or the time after which no user is locked, makes it send the password again.
    bao.file("password", "canary of a password");
    let outcome = vault.log_in().await;
    refused(&outcome, "check username and password");
    assert!(matches!(outcome, Err(Fault::Refused { again_in: None, .. })), "{outcome:?}");
    assert!(!format!("{outcome:?}").contains("canary"), "{outcome:?}");
    bao.file("password", "right word");
    vault.log_in().await.unwrap();
    refused(&log_in(&with("nowhere", "app")).await, "nothing is mounted there");

    bao.file("password", "wrong");
    for _ in 0..5 {
        refused(&vault.log_in().await, "400");
    }
    refused(&vault.log_in().await, "the user is locked");
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(vault.log_in().await, Err(Fault::Awaiting { file: awaited, .. }) if awaited == file));
}

#[tokio::test]
async fn a_user_of_a_directory_is_asked_for_in_the_same_way() {
    let server = Fake::new(|request| {
        let (line, body) = parts(request);
        assert!(request.to_ascii_lowercase().contains("\r\nx-vault-request: true\r\n"), "{request}");
        match (line.as_str(), body == json!({ "password": "right" })) {
            ("POST /v1/auth/corp/ldap/login/app%40corp HTTP/1.1", true) => {
                reply("200 OK", &[], &token("s.t"))
            }
            ("POST /v1/auth/corp/ldap/login/app%40corp HTTP/1.1", false) => {
                reply("400 Bad Request", &[], &json!({ "errors": ["ldap operation failed"] }).to_string())
            }
            _ => reply("404 Not Found", &[], "{}"),
        }
    })
    .await;
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("password");
    let password = PasswordConfig {
        kind: PasswordKind::Ldap,
        mount: "corp/ldap".into(),
        username: "app@corp".into(),
        file: file.clone(),
    };
    let config =
        VaultConfig { auth: AuthConfig::Password(password), ..config(&[&server.address], Path::new("")) };
    std::fs::write(&file, "right\n").unwrap();
    assert_eq!(log_in(&config).await.unwrap().token.expose(), "s.t");
    std::fs::write(&file, "wrong\n").unwrap();
    refused(
        &log_in(&config).await,
        "ldap operation failed (check username and password, and that the server reaches",
    );
}

#[tokio::test]
async fn a_server_that_repeats_what_it_was_sent_shows_it_to_nobody() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("password");
    std::fs::write(&file, "canary \"of\" a password\n").unwrap();
    for status in ["400 Bad Request", "403 Forbidden", "500 Internal Server Error", "503 Service Unavailable"]
    {
        let server = Fake::new(move |request| {
            let (line, body) = parts(request);
            let errors = [format!("{line}: {body} for {}", body["password"].as_str().unwrap())];
            reply(status, &[], &json!({ "errors": errors }).to_string())
        })
        .await;
        let password = PasswordConfig {
            kind: PasswordKind::Userpass,
            mount: "userpass".into(),
            username: "app".into(),
            file: file.clone(),
        };
        let config =
            VaultConfig { auth: AuthConfig::Password(password), ..config(&[&server.address], Path::new("")) };
        let fault = log_in(&config).await.unwrap_err();
        let said = format!("{fault} {fault:?}");
        assert!(said.contains("***") && !said.contains("canary") && !said.contains("a password"), "{said}");
    }
}

#[tokio::test]
async fn what_is_no_token_is_not_taken_for_one() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("password");
    std::fs::write(&file, "right\n").unwrap();
    let login = async |auth: Value| {
        let answer = json!({ "auth": auth }).to_string();
        let server = Fake::new(move |_| reply("200 OK", &[], &answer)).await;
        let password = PasswordConfig {
            kind: PasswordKind::Userpass,
            mount: "userpass".into(),
            username: "app".into(),
            file: file.clone(),
        };
        let config =
            VaultConfig { auth: AuthConfig::Password(password), ..config(&[&server.address], Path::new("")) };
        log_in(&config).await
    };
    let mfa = json!({ "mfa_request_id": "a", "mfa_constraints": { "totp": {} } });
    let asked =
        json!({ "client_token": "", "lease_duration": 0, "renewable": false, "mfa_requirement": mfa });
    refused(&login(asked).await, "asks for a second factor");
    for token in ["", "canary\ns.forged", "canary\u{0}", "canary canary"] {
        let auth = json!({ "client_token": token, "lease_duration": 20, "renewable": true });
        let outcome = login(auth).await;
        assert!(matches!(outcome, Err(Fault::Malformed { .. })), "{token:?}: {outcome:?}");
        assert!(!format!("{outcome:?}").contains("canary"), "{outcome:?}");
    }
    let negative = json!({ "client_token": "s.canary", "lease_duration": -1, "renewable": true });
    let outcome = login(negative).await;
    assert!(matches!(outcome, Err(Fault::Malformed { .. })), "{outcome:?}");
    assert!(!format!("{outcome:?}").contains("canary"), "{outcome:?}");
}
