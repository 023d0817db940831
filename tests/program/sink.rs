//! The token of a source as a file: whole, before the process starts, in place, and gone with the token.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use crate::support::{Bao, Rig, SOON, Tenant, fresh};

/// A process that notes the token that it finds at its start, and each start.
const READER: &str = r#"
    [process]
    command = ["sh", "-c", "cat @dir@/shared/token >> seen/first; echo start >> seen/starts; exec sleep 1000"]
    on_change = "none"
"#;

/// A rig that writes the token to `shared/token`, with these settings.
fn rig(tenant: &Tenant<'_>, settings: &str, rest: &str) -> Rig {
    let rig = Rig::new(tenant);
    rig.allow_secrets_in("shared");
    let file = format!("[[source.vault.token_file]]\npath = \"@dir@/shared/token\"\n{settings}\n");
    rig.config(&format!("{file}{rest}"));
    rig
}

/// The token in the file, which the canaries look for from now on.
fn token(rig: &Rig) -> String {
    let token = rig.read("shared/token");
    rig.canaries().add(&token);
    token
}

fn works(tenant: &Tenant<'_>, token: &str) -> bool {
    let api = tenant.bao().api().with_token(token);
    api.try_get("auth/token/lookup-self").is_some_and(|(status, _)| status == 200)
}

/// The names that are in the directory of the file.
fn names(rig: &Rig) -> Vec<String> {
    let entries = fs::read_dir(rig.path("shared")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_token_is_there_before_the_process_and_gone_with_squire() {
    let tenant = Bao::shared().tenant();
    let rig =
        rig(&tenant, "mode = \"0440\"\nowner = 65533\ngroup = 65534\nmake_dir = { mode = \"0750\" }", READER);
    let mut squire = rig.run();
    squire.wait_until("the process starts", || rig.read("seen/starts") == "start\n");
    let token = token(&rig);
    assert_eq!(rig.read("seen/first"), token);
    assert!(works(&tenant, &token), "it is no token");
    let found = fs::metadata(rig.path("shared/token")).unwrap();
    assert_eq!((found.mode() & 0o7777, found.uid(), found.gid()), (0o440, 65533, 65534));
    assert_eq!(fs::metadata(rig.path("shared")).unwrap().mode() & 0o7777, 0o750);
    assert_eq!(squire.events("token written").len(), 1);
    assert_eq!(squire.stop(), 143);
    assert_eq!(names(&rig), Vec::<String>::new());
    assert!(!works(&tenant, &token), "it was not revoked");
}

#[test]
fn a_new_login_replaces_it_and_does_not_touch_the_process() {
    let tenant = Bao::shared().tenant();
    tenant.write("db", &json!({"password": fresh("password")}));
    let settings = "make_dir = true";
    let with_secret = format!(
        "[secret.db]\npath = \"secret/@tenant@/db\"\n[[file]]\npath = \"password\"\ninline = \"{{{{db.password}}}}\"\n{READER}"
    );
    let rig = rig(&tenant, settings, &with_secret);
    let mut squire = rig.run();
    squire.wait_until("the process starts", || rig.read("seen/starts") == "start\n");
    let first = token(&rig);
    let inode = fs::metadata(rig.path("shared/token")).unwrap().ino();
    // What only looks at the file does not make Squire write it again.
    squire.wait_until("it was looked up", || squire_has_read(&rig));
    assert_eq!(fs::metadata(rig.path("shared/token")).unwrap().ino(), inode);
    tenant.revoke_tokens();
    squire.wait_until("there is another token", || rig.read("shared/token") != first);
    let second = token(&rig);
    assert!(works(&tenant, &second) && second != first);
    assert_eq!(rig.read("seen/starts"), "start\n");
    assert_eq!(rig.read("seen/first"), first);
    squire.wait_until("it is said", || rig.read("stderr.1").matches("\"token written\"").count() == 2);
    assert_eq!(squire.stop(), 143);
    assert_eq!(names(&rig), Vec::<String>::new());
}

fn squire_has_read(rig: &Rig) -> bool {
    !rig.read("out/password").is_empty()
}

#[test]
fn a_wrapped_token_is_written_as_agents_write_it_and_wrapped_anew_before_its_end() {
    let tenant = Bao::shared().tenant();
    let rig = rig(&tenant, "make_dir = true\nwrap_ttl = \"10s\"", READER);
    let mut squire = rig.run();
    squire.wait_until("the process starts", || rig.read("seen/starts") == "start\n");
    let document = |rig: &Rig| -> Value { serde_json::from_str(&rig.read("shared/token")).unwrap() };
    let first = document(&rig);
    let wrapping = first["token"].as_str().unwrap().to_owned();
    rig.canaries().add(&wrapping);
    assert_eq!((&first["ttl"], &first["creation_path"]), (&json!(10), &json!("sys/wrapping/wrap")));
    assert!(first["creation_time"].is_string() && first["accessor"].is_string(), "its words");
    let unwrapped = tenant.bao().api().with_token(&wrapping).post("sys/wrapping/unwrap", &json!({}));
    let inner = unwrapped["data"]["token"].as_str().unwrap().to_owned();
    rig.canaries().add(&inner);
    assert!(works(&tenant, &inner), "it wraps no token");
    squire.wait_until("it is wrapped anew", || document(&rig)["token"] != first["token"]);
    let second = document(&rig)["token"].as_str().unwrap().to_owned();
    rig.canaries().add(&second);
    // It fails if the wrapping token has ended.
    tenant.bao().api().post("sys/wrapping/lookup", &json!({"token": second}));
    assert_eq!(rig.read("seen/starts"), "start\n");
    let asked = rig.read("stderr.1").lines().filter(|line| line.contains("\"kind\":\"wrap\"")).count();
    assert!(asked >= 2, "{asked} wrappings were told");
    assert_eq!(squire.stop(), 143);
    assert_eq!(names(&rig), Vec::<String>::new());
}

/// A wrapped token is written every few seconds, so nobody has to revoke one.
#[test]
fn what_others_put_in_the_way_does_not_get_the_token_nor_keep_it_away() {
    let tenant = Bao::shared().tenant();
    let rig = rig(&tenant, "make_dir = true\nwrap_ttl = \"10s\"", READER);
    let mut squire = rig.run();
    squire.wait_until("the process starts", || rig.read("seen/starts") == "start\n");
    let (file, elsewhere) = (rig.path("shared/token"), rig.path("seen/elsewhere"));
    let is_written = || {
        let is_file = fs::symlink_metadata(&file).is_ok_and(|found| found.is_file());
        is_file && serde_json::from_str::<Value>(&rig.read("shared/token")).is_ok()
    };
    let not_written = || rig.read("stderr.1").matches("\"token not written\"").count();
    for what in ["link", "pipe", "directory"] {
        let before = not_written();
        fs::remove_file(&file).unwrap();
        match what {
            "link" => symlink(&elsewhere, &file).unwrap(),
            "pipe" => mkfifo(&file, Mode::S_IRUSR).unwrap(),
            _ => fs::create_dir(&file).unwrap(),
        }
        squire.wait_until("it is not written", || not_written() > before);
        assert!(!is_written() && !elsewhere.exists(), "the {what} was replaced, or followed");
        fs::remove_file(&file).or_else(|_| fs::remove_dir(&file)).unwrap();
        squire.wait_until("there is a token again", is_written);
    }
    let before = not_written();
    fs::rename(rig.path("shared"), rig.path("moved")).unwrap();
    squire.wait_until("there is no directory", || not_written() > before);
    fs::rename(rig.path("moved"), rig.path("shared")).unwrap();
    fs::remove_file(&file).unwrap();
    squire.wait_until("there is one again", is_written);
    assert_eq!(rig.read("seen/starts"), "start\n");
    assert_eq!(squire.stop(), 143);
    assert_eq!(names(&rig), Vec::<String>::new());
}

#[test]
fn a_process_waits_for_a_token_that_cannot_be_wrapped() {
    let tenant = Bao::shared().tenant_with(&json!({"token_ttl": "1h", "token_no_default_policy": true}));
    let rig = rig(&tenant, "make_dir = true\nwrap_ttl = \"5m\"", READER);
    let mut squire = rig.run();
    squire.wait_until("it says why", || {
        let log = rig.read("stderr.1");
        log.contains("token not wrapped") && log.contains("sys/wrapping/wrap")
    });
    squire.wait_until("it says what it waits for", || {
        rig.read("stderr.1").contains("the token of the source vault is not in")
    });
    assert_eq!(rig.read("seen/starts"), "");
    let policy = format!("{}path \"sys/wrapping/wrap\" {{ capabilities = [\"update\"] }}\n", tenant.policy());
    tenant.set_policy(&policy);
    squire.wait_until("the process starts", || rig.read("seen/starts") == "start\n");
    assert_eq!(squire.stop(), 143);
}

#[test]
fn render_does_not_wait_for_a_token_that_nobody_will_get() {
    let tenant = Bao::shared().tenant();
    let began = Instant::now();
    let refused = rig(&tenant, "make_dir = true", "");
    refused.write("secret-id", "of-nobody");
    let outcome = refused.render();
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    let last = outcome.stderr.lines().last().unwrap();
    assert!(last.contains("vault: ") && last.contains("check role id and secret-id"), "{last}");
    assert!(!refused.path("shared/token").exists());
    // Whoever may log in and not wrap has nothing to show either.
    let tenant = Bao::shared().tenant_with(&json!({"token_ttl": "1h", "token_no_default_policy": true}));
    let denied = rig(&tenant, "make_dir = true\nwrap_ttl = \"5m\"", "");
    let outcome = denied.render();
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    let last = outcome.stderr.lines().last().unwrap();
    assert!(last.contains("sys/wrapping/wrap"), "{last}");
    // Alone each would wait for a minute.
    assert!(began.elapsed() < Duration::from_mins(1), "{:?}", began.elapsed());
}

#[test]
fn render_leaves_the_token_for_whoever_comes_after_it() {
    let tenant = Bao::shared().tenant();
    let rig = rig(&tenant, "make_dir = true", "");
    let outcome = rig.render();
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let token = token(&rig);
    assert!(works(&tenant, &token), "it was given back");
    // The next run takes the place of what this one left.
    let outcome = rig.render();
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert_ne!(self::token(&rig), token);
}

#[test]
fn a_killed_run_leaves_a_token_that_the_next_one_replaces() {
    let tenant = Bao::shared().tenant();
    let rig = rig(&tenant, "make_dir = true", READER);
    let mut squire = rig.run();
    squire.wait_until("the process starts", || rig.read("seen/starts") == "start\n");
    let first = token(&rig);
    squire.kill();
    assert_eq!(rig.read("shared/token"), first);
    let mut squire = rig.run();
    squire.wait_until("the process starts again", || rig.read("seen/starts") == "start\nstart\n");
    let second = token(&rig);
    assert_ne!(second, first);
    assert_eq!(rig.read("seen/first"), format!("{first}{second}"));
    assert_eq!(squire.stop(), 143);
    assert_eq!(names(&rig), Vec::<String>::new());
}

#[test]
fn places_that_are_not_squires_are_refused_and_left_alone() {
    let tenant = Bao::shared().tenant();
    let refused = |settings: &str, words: &str, make: &dyn Fn(&Rig)| {
        let rig = Rig::new(&tenant);
        rig.allow_secrets_in("shared");
        fs::create_dir(rig.path("shared")).unwrap();
        make(&rig);
        rig.config(&format!("[[source.vault.token_file]]\n{settings}\n{READER}"));
        let checked = rig.check();
        assert!(checked.code != 0 && checked.stderr.contains(words), "{settings}: {}", checked.stderr);
        let outcome = rig.run().outcome(SOON);
        assert!(outcome.code != 0 && outcome.stderr.contains(words), "{settings}: {}", outcome.stderr);
        assert_eq!(rig.read("seen/starts"), "");
        rig
    };
    let inside = "path = \"@dir@/shared/token\"";
    let rig = refused(inside, "is not Squire's", &|rig| rig.write("shared/token", "theirs"));
    assert_eq!(rig.read("shared/token"), "theirs");
    refused("path = \"@dir@/out/token\"", "cannot be inside `output.dir`", &|_| {});
    refused("path = \"/var/tmp/squire-token\"", "may keep secrets on disk", &|_| {});
    refused(inside, "belongs to user 65534", &|rig| {
        fs::set_permissions(rig.path("shared"), fs::Permissions::from_mode(0o755)).unwrap();
        chown(rig.path("shared"), Some(65534), Some(65534)).unwrap();
    });
}

#[test]
fn a_token_that_a_command_prints_is_masked() {
    let tenant = Bao::shared().tenant();
    tenant.write("db", &json!({"password": fresh("password")}));
    let rest = format!(
        "[secret.db]\npath = \"secret/@tenant@/db\"\n[[file]]\npath = \"password\"\ninline = \"{{{{db.password}}}}\"\n{READER}
        [rollout]
        check = [{{ run = [\"sh\", \"-c\", \"echo the token is $(cat @dir@/shared/token); exit 1\"] }}]"
    );
    let rig = rig(&tenant, "make_dir = true", &rest);
    let mut squire = rig.run();
    squire.wait_until("the check fails", || rig.read("stderr.1").contains("the token is ***"));
    token(&rig);
    squire.wait_at_most(Duration::from_secs(1), "it runs", || true);
    squire.stop();
}
