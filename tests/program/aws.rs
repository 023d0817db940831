//! Tests of what only AWS Secrets Manager has.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Aws, Keys, Rig, fresh, stays_true, write_profile};

/// The part of a configuration that puts a secret with a `value` into the file `out/NAME`.
fn file(name: &str, rest: &str) -> String {
    format!(
        "[secret.{name}]\nsource = \"aws\"\n{rest}\n[[file]]\npath = \"{name}\"\ninline = \"{{{{{name}.value}}}}\"\non_change = \"none\"\n"
    )
}

const SOURCE: &str = "[source.aws]\nrefresh = \"300ms\"\n[output]\ndir = \"@dir@/out\"\n";

fn messages(rig: &Rig, beginning: &str) -> Vec<Value> {
    let log = rig.read("stderr.1");
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|line| line["message"].as_str().is_some_and(|message| message.starts_with(beginning)))
        .collect()
}

/// All log lines except trace and debug.
fn loud(log: &str) -> String {
    let lines = log
        .lines()
        .filter(|line| !line.contains(r#""level":"TRACE""#) && !line.contains(r#""level":"DEBUG""#));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_variable_of_the_sdk_brings_no_value_into_the_log() {
    let aws = Aws::shared();
    let rig = aws.rig();
    let value = fresh("body");
    rig.canaries().add(&value);
    rig.set("LOG_SENSITIVE_BODIES", "true");
    rig.whole_config(&format!("{SOURCE}{}", file("db", &format!("path = \"{}\"", aws.secret(&value)))));
    let outcome = rig.render();
    assert_eq!(outcome.code, 0, "{}", loud(&outcome.stderr));
    assert_eq!(rig.read("out/db"), value);
    assert!(!outcome.stderr.contains(&value));
}

#[test]
fn a_secret_is_named_by_name_or_arn_and_a_version_by_stage_or_id() {
    let aws = Aws::shared();
    let rig = aws.rig();
    let name = aws.secret("first");
    aws.rotate(&name, "second");
    let manager = |operation: &str, arguments| aws.ask("secretsmanager", operation, &arguments);
    manager(
        "put_secret_value",
        json!({"SecretId": name, "SecretString": "pending", "VersionStages": ["AWSPENDING"]}),
    );
    let described = manager("describe_secret", json!({"SecretId": name}));
    let previous = manager("get_secret_value", json!({"SecretId": name, "VersionStage": "AWSPREVIOUS"}));
    let (arn, id) = (described["ARN"].as_str().unwrap(), previous["VersionId"].as_str().unwrap());
    let path = format!("path = \"{name}\"");
    rig.whole_config(&format!(
        "{SOURCE}{}{}{}{}{}",
        file("by_name", &path),
        file("by_arn", &format!("path = \"{arn}\"")),
        file("previous", &format!("{path}\nversion_stage = \"AWSPREVIOUS\"")),
        file("pending", &format!("{path}\nversion_stage = \"AWSPENDING\"")),
        file("by_id", &format!("{path}\nversion_id = \"{id}\"")),
    ));
    let outcome = rig.render();
    assert_eq!(outcome.code, 0, "{}", loud(&outcome.stderr));
    let values =
        ["by_name", "by_arn", "previous", "pending", "by_id"].map(|name| rig.read(&format!("out/{name}")));
    assert_eq!(values, ["second", "second", "first", "pending", "first"]);
}

#[test]
fn many_secrets_are_few_questions_and_bytes_are_base64() {
    let aws = Aws::shared();
    let rig = aws.rig();
    let mut config = SOURCE.to_owned();
    for number in 0..40 {
        let name = aws.secret(&format!("value {number}"));
        config.push_str(&file(&format!("s{number}"), &format!("path = \"{name}\"")));
    }
    let name = aws.secret("not yet");
    // The client sends JSON, and JSON has no bytes: botocore takes a text for them.
    aws.ask("secretsmanager", "put_secret_value", &json!({"SecretId": name, "SecretBinary": "bytes"}));
    config.push_str(&file("binary", &format!("path = \"{name}\"")));
    rig.whole_config(&config);
    let outcome = rig.render();
    assert_eq!(outcome.code, 0, "{}", loud(&outcome.stderr));
    for number in 0..40 {
        assert_eq!(rig.read(&format!("out/s{number}")), format!("value {number}"));
    }
    assert_eq!(rig.read("out/binary"), "Ynl0ZXM=");
    let asked = |what: &str| outcome.stderr.matches(what).count();
    assert!(asked("BatchGetSecretValue") > 0, "no batch at all");
    assert_eq!(asked("secretsmanager.GetSecretValue\""), 0, "each alone");
}

#[test]
fn what_a_policy_denies_is_denied_alone_and_without_the_right_to_batches_each_is_asked_for_alone() {
    let aws = Aws::shared();
    let rig = aws.rig_of_nobody();
    let (mine, theirs) = (aws.secret("mine"), aws.secret("theirs"));
    let resource = format!("arn:aws:secretsmanager:*:*:secret:{mine}*");
    let (id, key) = aws
        .user(&json!([{"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": resource}]));
    write_profile(&rig, Keys { id: &id, key: &key });
    let (mine, theirs) = (format!("path = \"{mine}\""), format!("path = \"{theirs}\""));
    rig.whole_config(&format!("{SOURCE}{}{}", file("mine", &mine), file("theirs", &theirs)));
    rig.render_says("needs secretsmanager:GetSecretValue");
    rig.whole_config(&format!("{SOURCE}{}{}", file("mine", &mine), file("again", &mine)));
    assert_eq!(rig.render().code, 0);
    assert_eq!([rig.read("out/mine"), rig.read("out/again")], ["mine", "mine"]);
}

#[test]
fn without_credentials_or_region_it_says_where_they_can_be() {
    let aws = Aws::shared();
    let rig = aws.rig_of_nobody();
    let name = aws.secret("x");
    let config = format!("{SOURCE}{}", file("x", &format!("path = \"{name}\"")));
    rig.whole_config(&config);
    rig.render_says("there are no credentials: not in the environment, a profile");

    let rig = Rig::at(aws.endpoint());
    rig.set("AWS_EC2_METADATA_DISABLED", "true");
    rig.whole_config(&config);
    rig.render_says("no region is known; write region");
}

#[test]
fn credentials_that_are_refused_are_said_and_not_sent_in_a_loop_and_new_ones_taken_at_once() {
    let aws = Aws::shared();
    let rig = aws.rig_of_nobody();
    let (first, name) = {
        let value = fresh("value");
        let name = aws.secret(&value);
        (value, name)
    };
    rig.canaries().add(&first);
    let allowed = json!([{"Effect": "Allow", "Action": "secretsmanager:*", "Resource": "*"}]);
    let (id, key) = aws.user(&allowed);
    write_profile(&rig, Keys { id: &id, key: &fresh("wrong") });
    rig.whole_config(&format!("{SOURCE}{}", file("x", &format!("path = \"{name}\""))));
    let mut squire = rig.run();
    squire.wait_until("it is said", || rig.read("stderr.1").contains("InvalidSignatureException"));
    let sent = || {
        rig.read("stderr.1").matches("BatchGetSecretValue").count()
            + rig.read("stderr.1").matches("GetSecretValue\"").count()
    };
    let before = sent();
    stays_true(Duration::from_secs(2), "it is not sent again", || sent() == before);
    write_profile(&rig, Keys { id: &id, key: &key });
    squire.wait_until("it is published", || rig.read("out/x") == first);
    // The key is replaced and revoked while the agent runs.
    let user = aws.ask("iam", "get_access_key_last_used", &json!({"AccessKeyId": id}))["UserName"].clone();
    aws.ask("iam", "delete_access_key", &json!({"UserName": user, "AccessKeyId": id}));
    squire.wait_until("that is noticed", || {
        !messages(&rig, "login failed").is_empty()
            && rig.read("stderr.1").contains("UnrecognizedClientException")
    });
    assert_eq!(rig.read("out/x"), first);
    let (id, key) = aws.user(&allowed);
    write_profile(&rig, Keys { id: &id, key: &key });
    let second = fresh("second");
    rig.canaries().add(&second);
    aws.rotate(&name, &second);
    squire.wait_until("the next value comes with the new key", || rig.read("out/x") == second);
    assert_eq!(squire.stop(), 0);
}

#[test]
fn a_session_that_ends_is_said_and_hurts_nobody() {
    let aws = Aws::shared();
    let rig = aws.rig_of_nobody();
    let name = aws.secret("x");
    let session = aws.ask("sts", "get_session_token", &json!({"DurationSeconds": 3}));
    let text = |name: &str| session["Credentials"][name].as_str().unwrap().to_owned();
    for (variable, field) in [
        ("AWS_ACCESS_KEY_ID", "AccessKeyId"),
        ("AWS_SECRET_ACCESS_KEY", "SecretAccessKey"),
        ("AWS_SESSION_TOKEN", "SessionToken"),
    ] {
        rig.set(variable, &text(field));
    }
    rig.whole_config(&format!("{SOURCE}{}", file("x", &format!("path = \"{name}\""))));
    let mut squire = rig.run();
    squire.wait_until("it is published", || rig.read("out/x") == "x");
    squire.wait_until("the end is said", || {
        messages(&rig, "login failed")
            .iter()
            .any(|line| line["error"].as_str().unwrap().contains("ExpiredTokenException"))
    });
    assert_eq!(rig.read("out/x"), "x");
    assert_eq!(squire.stop(), 0);
}

#[test]
fn in_another_region_it_says_where_it_looked() {
    let aws = Aws::shared();
    let rig = aws.rig();
    let name = aws.secret("x");
    let elsewhere = SOURCE.replace("refresh", "region = \"ap-south-1\"\nrefresh");
    rig.whole_config(&format!("{elsewhere}{}", file("x", &format!("path = \"{name}\""))));
    rig.render_says(&format!("{name} is not there"));
    assert!(rig.read("stderr.1").contains("looked in ap-south-1"));
}

#[test]
fn keys_of_the_environment_are_wiped_and_kept_back_from_the_process() {
    let aws = Aws::shared();
    let rig = aws.rig_of_nobody();
    let value = fresh("value");
    rig.canaries().add(&value);
    let name = aws.secret(&value);
    let (id, key) = aws.user(&json!([{"Effect": "Allow", "Action": "secretsmanager:*", "Resource": "*"}]));
    rig.canaries().add(&key);
    rig.start_with_secrets_in_environment();
    rig.set("AWS_ACCESS_KEY_ID", &id);
    rig.set("AWS_SECRET_ACCESS_KEY", &key);
    rig.whole_config(&format!(
        "{SOURCE}{}[process]\ncommand = [\"sh\", \"-c\", \"env > seen/new; mv seen/new seen/env; exec sleep 1000\"]\n",
        file("x", &format!("path = \"{name}\""))
    ));
    let mut squire = rig.run();
    squire.wait_until("the process has started", || !rig.read("seen/env").is_empty());
    assert_eq!(rig.read("out/x"), value);
    let shown = String::from_utf8_lossy(&std::fs::read(format!("/proc/{}/environ", squire.id())).unwrap())
        .into_owned();
    assert!(shown.contains("AWS_SECRET_ACCESS_KEY=") && !shown.contains(&key), "it is still shown");
    let given = rig.read("seen/env");
    assert!(
        given.contains("AWS_REGION=")
            && !given.contains("AWS_ACCESS_KEY_ID")
            && !given.contains("AWS_SECRET"),
        "{given}"
    );
    assert_eq!(squire.stop(), 143);
}

#[test]
fn an_answer_without_end_is_cut_off_and_said() {
    let aws = Aws::shared();
    let rig = aws.rig();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut visitor in listener.incoming().map_while(Result::ok) {
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\n\r\n{\"SecretString\":\"";
            assert_ne!(visitor.read(&mut [0; 1 << 13]).unwrap(), 0);
            // Until it closes the connection.
            let mut sent = visitor.write_all(head.as_bytes());
            while sent.is_ok() {
                sent = visitor.write_all(&[b'a'; 1 << 14]);
            }
        }
    });
    let source = SOURCE.replace("[source.aws]", &format!("[source.aws]\nendpoint = \"{endpoint}\""));
    rig.whole_config(&format!("{source}{}", file("x", "path = \"prod/x\"")));
    rig.render_says("unexpected answer: prod/x: dispatch failure: user error: ");
    assert!(rig.read("stderr.1").contains("the answer is longer than 4 MiB"));
}

#[test]
fn a_role_is_assumed() {
    let aws = Aws::shared();
    let rig = aws.rig();
    let name = aws.secret("for the role");
    let trusted = json!({
        "Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": "agreed"}},
    });
    let arn = role(aws, &trusted);
    let assumed = |external: &str| {
        let role = format!("[source.aws.assume_role]\narn = \"{arn}\"\nexternal_id = \"{external}\"\n");
        rig.whole_config(&format!("{SOURCE}{role}{}", file("x", &format!("path = \"{name}\""))));
    };
    assumed("agreed");
    let outcome = rig.render();
    assert_eq!(outcome.code, 0, "{}", loud(&outcome.stderr));
    assert_eq!(rig.read("out/x"), "for the role");
    assumed("not agreed");
    rig.render_says("login refused");
    assert!(rig.read("stderr.2").contains("AccessDenied"));
}

/// A role that the principals of this policy may assume, and that may read everything: its ARN.
fn role(aws: &Aws, trusted: &Value) -> String {
    let role = format!("app-{:08x}", fastrand::u32(..));
    let policy = |statement: &Value| json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
    let made = json!({"RoleName": role, "AssumeRolePolicyDocument": policy(trusted)});
    let made = aws.ask("iam", "create_role", &made);
    let may = policy(&json!({"Effect": "Allow", "Action": "secretsmanager:*", "Resource": "*"}));
    aws.ask("iam", "put_role_policy", &json!({"RoleName": role, "PolicyName": "may", "PolicyDocument": may}));
    made["Role"]["Arn"].as_str().unwrap().to_owned()
}

#[test]
fn a_web_identity_is_one_as_pods_have_it() {
    let aws = Aws::shared();
    let rig = aws.rig_of_nobody();
    let name = aws.secret("for the pod");
    let identity = aws.ask("sts", "get_caller_identity", &json!({}));
    let account = identity["Account"].as_str().unwrap();
    let provider = format!("arn:aws:iam::{account}:oidc-provider/oidc.example");
    let trusted = json!({"Effect": "Allow", "Principal": {"Federated": provider}, "Action": "sts:AssumeRoleWithWebIdentity"});
    let arn = role(aws, &trusted);
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({"iss": "https://oidc.example", "sub": "system:serviceaccount:app:app", "aud": "sts.amazonaws.com"});
    let token = format!("{}.{}.{}", part(json!({"alg": "RS256"})), part(claims), "c2lnbmVk");
    rig.canaries().add(&token);
    rig.allow_secrets_in("web-identity");
    rig.write("web-identity", &token);
    rig.set("AWS_WEB_IDENTITY_TOKEN_FILE", rig.path("web-identity").to_str().unwrap());
    rig.set("AWS_ROLE_ARN", &arn);
    rig.whole_config(&format!("{SOURCE}{}", file("x", &format!("path = \"{name}\""))));
    let outcome = rig.render();
    assert_eq!(outcome.code, 0, "{}", loud(&outcome.stderr));
    assert_eq!(rig.read("out/x"), "for the pod");
}

#[test]
fn a_container_has_credentials_from_its_agent() {
    let aws = Aws::shared();
    let rig = aws.rig_of_nobody();
    let name = aws.secret("for the container");
    let (id, key) = aws.user(&json!([{"Effect": "Allow", "Action": "secretsmanager:*", "Resource": "*"}]));
    rig.canaries().add(&key);
    rig.allow_secrets_in("container");
    let session = json!({
        "AccessKeyId": id, "SecretAccessKey": key, "Token": "", "Expiration": "2099-01-01T00:00:00Z",
    });
    rig.write("container", &session.to_string());
    let (_agent, address) = aws.beside(&rig.path("container"), Duration::from_hours(1));
    rig.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("{address}/credentials"));
    rig.whole_config(&format!("{SOURCE}{}", file("x", &format!("path = \"{name}\""))));
    let outcome = rig.render();
    assert_eq!(outcome.code, 0, "{}", loud(&outcome.stderr));
    assert_eq!(rig.read("out/x"), "for the container");
}

#[test]
fn a_planned_rotation_is_seen_when_it_happens_and_not_at_the_next_interval() {
    let aws = Aws::shared();
    let rig = aws.rig();
    let name = aws.secret("before");
    let planned = Duration::from_secs(4);
    let (_aws, address) = aws.beside(&rig.path("nothing"), planned);
    let since = Instant::now();
    rig.set("AWS_ENDPOINT_URL_SECRETS_MANAGER", &address);
    let source = SOURCE.replace("300ms", "1h");
    rig.whole_config(&format!("{source}{}", file("x", &format!("path = \"{name}\""))));
    let mut squire = rig.run();
    squire.wait_until("it is published", || rig.read("out/x") == "before");
    aws.rotate(&name, "after");
    // If that was too late for the plan, the next look comes fifteen seconds later.
    squire.wait_at_most(Duration::from_mins(1), "the next value comes", || rig.read("out/x") == "after");
    assert!(since.elapsed() >= planned, "it was not the plan that it followed");
    squire.signal(Signal::SIGTERM);
    assert_eq!(squire.wait_for_end(crate::support::SOON), 0);
}

#[test]
fn an_outage_hurts_nobody_and_ends_when_it_ends() {
    let aws = Aws::start();
    let rig = aws.rig();
    let name = aws.secret("first");
    rig.whole_config(&format!("{SOURCE}{}", file("x", &format!("path = \"{name}\""))));
    let mut squire = rig.run();
    squire.wait_until("it is published", || rig.read("out/x") == "first");
    aws.kill();
    squire.wait_until("it is noticed", || !messages(&rig, "secret not fetched").is_empty());
    assert_eq!(rig.read("out/x"), "first");
    aws.come_back();
    aws.again(&name, "second");
    let since = Instant::now();
    squire.wait_until("the next value comes", || rig.read("out/x") == "second");
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    squire.signal(Signal::SIGTERM);
    assert_eq!(squire.wait_for_end(crate::support::SOON), 0);
}
