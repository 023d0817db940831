//! The audit: what stands in it, what happens while it cannot be written, and what `squire audit` finds of what somebody did to it.
//!
//! The adversary can write the audit and its directory, and not the anchor.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    Bao, CHILD, Outcome, Postgres, Rig, SOON, Squire, Tenant, Tmpfs, database_file, fresh, kv_file, skipped,
    status, stays_true, wait_until, works,
};

const AUDIT: &str = "\n[audit]\nfile = \"@dir@/log/audit.jsonl\"\nanchor = \"@dir@/state/audit.anchor\"\n";

/// A rig with a secret `app` that is re-read each second, more files, and an audit with these settings.
fn rig(tenant: &Tenant<'_>, more: &str, settings: &str) -> Rig {
    tenant.write("app", &json!({"password": fresh("app")}));
    let rig = Rig::new(tenant);
    rig.config(&format!("{}{more}{AUDIT}{settings}", kv_file("app")));
    rig
}

fn audit(rig: &Rig, arguments: &[&str]) -> Outcome {
    let configuration = rig.path("squire.toml");
    let end = ["-c", configuration.to_str().unwrap()];
    rig.start(&[&["audit"], arguments, &end].concat()).outcome(SOON)
}

#[track_caller]
fn is_whole(rig: &Rig) {
    let verified = audit(rig, &["verify"]);
    assert_eq!(verified.code, 0, "{}", verified.stdout);
}

/// Every line, as JSON; the full files first.
fn lines(rig: &Rig) -> Vec<Value> {
    let mut files: Vec<PathBuf> = full(rig);
    files.push(rig.path("log/audit.jsonl"));
    let text: String = files.iter().map(|file| fs::read_to_string(file).unwrap_or_default()).collect();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn full(rig: &Rig) -> Vec<PathBuf> {
    let number = |path: &PathBuf| path.extension()?.to_str()?.parse::<u64>().ok();
    let Ok(entries) = fs::read_dir(rig.path("log")) else { return Vec::new() };
    let mut files: Vec<_> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| number(path).is_some()).collect();
    files.sort_by_key(number);
    files
}

/// The lines about this.
fn about(rig: &Rig, what: &str, outcome: &str) -> Vec<Value> {
    let is = |line: &Value| line["what"] == what && line["outcome"] == outcome;
    lines(rig).into_iter().filter(is).collect()
}

fn password(rig: &Rig, tenant: &Tenant<'_>) -> String {
    let password = fresh("next");
    rig.canaries().add(&password);
    tenant.write("app", &json!({ "password": password }));
    password
}

#[test]
fn who_asked_whom_for_what_and_what_came_of_it_is_written_down() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    bao.connect_database(Postgres::shared(), "audited", 60, 3600);
    let files = format!("{}{CHILD}", database_file(Postgres::shared(), "audited"));
    let rig = rig(&tenant, &files, "");
    let mut squire = rig.run();
    squire.wait_until("everything is there", || {
        rig.read("seen/starts") == "start\n" && works(&rig, "out/audited")
    });
    squire.wait_until("it is written down", || !about(&rig, "start", "done").is_empty());
    is_whole(&rig);
    assert_eq!(squire.stop(), 128 + 15);
    is_whole(&rig);

    let path = format!("secret/{}/app", tenant.name());
    let login = about(&rig, "login", "done");
    assert_eq!((login.len(), &login[0]["source"]), (1, &json!("vault")), "{login:?}");
    assert_eq!(login[0]["login"], format!("approle {}", tenant.role_id()));
    let fetches = about(&rig, "fetch", "done");
    let fetch = fetches.iter().find(|line| line["path"] == path).unwrap();
    assert_eq!(fetch["secrets"], json!(["app"]));
    assert_eq!(
        (fetch["request_id"].as_str().unwrap().len(), &fetch["accessor"]),
        (36, &login[0]["accessor"])
    );
    assert!(fetch["accessor"].is_string(), "{fetch}");
    assert!(fetches.iter().any(|line| line["path"] == "database/creds/audited"));
    for (what, generation) in
        [("publish", json!(1)), ("commit", json!(1)), ("start", Value::Null), ("revoke", Value::Null)]
    {
        let lines = about(&rig, what, "done");
        assert_eq!(lines.len(), 1, "{what}: {lines:?}");
        assert_eq!(lines[0]["generation"], generation);
        let of_a_rollout = matches!(what, "publish" | "commit");
        assert_eq!(lines[0]["trace"].as_str().map(str::len), of_a_rollout.then_some(32), "{what}: {lines:?}");
    }
    let numbers: Vec<_> = lines(&rig).iter().map(|line| line["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());

    let report = audit(&rig, &["report", "--since", "1h"]);
    assert!(
        report.stdout.contains("database/creds/audited")
            && report.stdout.contains("nothing is known of the time before")
    );
    let report: Value = serde_json::from_str(&audit(&rig, &["report", "--json"]).stdout).unwrap();
    let rows = report["uses"].as_array().unwrap();
    let row = rows.iter().find(|row| row["use"]["path"] == path).unwrap();
    assert!(row["counts"]["reads"].as_u64() >= Some(1) && row["counts"]["refused"] == 0, "{row}");
}

#[test]
fn a_refusal_is_written_down_and_reported() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let denied = "[secret.other]\npath = \"elsewhere/nothing/of/ours\"\n[[file]]\npath = \"o\"\ninline = \"{{other.a}}\"\n";
    let rig = rig(&tenant, denied, "");
    assert_eq!(rig.render().code, 1);
    let refused = about(&rig, "fetch", "denied");
    assert!(!refused.is_empty() && refused[0]["path"] == "elsewhere/nothing/of/ours", "{:?}", lines(&rig));
    let report: Value = serde_json::from_str(&audit(&rig, &["report", "--json"]).stdout).unwrap();
    let is_it = |row: &&Value| row["use"]["path"] == "elsewhere/nothing/of/ours";
    let row = report["uses"].as_array().unwrap().iter().find(is_it).unwrap();
    assert_eq!((row["counts"]["refused"].as_u64() > Some(0), &row["counts"]["reads"]), (true, &json!(0)));
}

/// What somebody does to the text of the audit.
type Attack = fn(&str) -> Option<String>;

fn without(text: &str, lines: std::ops::Range<usize>) -> String {
    let kept = text.lines().enumerate().filter(|(at, _)| !lines.contains(at));
    kept.flat_map(|(_, line)| [line, "\n"]).collect()
}

#[test]
fn what_somebody_did_to_it_is_found_and_the_next_run_says_it() {
    let attacks: [(&str, Attack); 6] = [
        ("audit.jsonl:3: ", |text| Some(text.replacen("\"n\":3", "\"n\":4", 1))),
        ("missing", |text| Some(without(text, text.lines().count() - 2..usize::MAX))),
        ("audit.jsonl:3: entries 3 to 4 are missing before it", |text| Some(without(text, 2..4))),
        ("stands in the place of another one", |text| {
            let mut lines: Vec<_> = text.lines().collect();
            lines.swap(2, 4);
            Some(lines.join("\n") + "\n")
        }),
        ("missing", |_| None),
        ("audit.jsonl:1: is no line of the audit", |_| Some("another file\n".to_owned())),
    ];
    let bao = Bao::start();
    let tenant = bao.tenant();
    let rig = rig(&tenant, "", "");
    for (expected, attack) in attacks {
        for name in ["log", "state", "out"] {
            fs::remove_dir_all(rig.path(name)).ok();
        }
        assert_eq!(rig.render().code, 0);
        is_whole(&rig);
        let tip: Value = serde_json::from_str(&audit(&rig, &["verify", "--json"]).stdout).unwrap();
        let tip = tip["end"].as_str().unwrap();
        assert_eq!(audit(&rig, &["verify", "--since", tip]).code, 0);
        match attack(&rig.read("log/audit.jsonl")) {
            Some(text) => fs::write(rig.path("log/audit.jsonl"), text).unwrap(),
            None => fs::remove_file(rig.path("log/audit.jsonl")).unwrap(),
        }
        let verified = audit(&rig, &["verify"]);
        assert_eq!(verified.code, 1, "{expected}: {}", verified.stdout);
        assert!(verified.stdout.contains(expected), "{expected}: {}", verified.stdout);
        let rendered = rig.render();
        assert_eq!(rendered.code, 0, "{}", rendered.stderr);
        assert!(
            rendered.stderr.contains("the audit is not as squire left it"),
            "{expected}: {}",
            rendered.stderr
        );
        let noted = audit(&rig, &["verify"]);
        assert!(noted.code == 1 && noted.stdout.contains("squire noted in entry"), "{}", noted.stdout);
    }
    // Who removes the anchor, too, is found by whoever noted a point.
    let tip = rig.read("log/audit.jsonl").lines().count();
    assert!(tip > 0);
    let noted = format!("1:{}", "0".repeat(64));
    assert_eq!(audit(&rig, &["verify", "--since", &noted]).code, 1);
    fs::remove_file(rig.path("state/audit.anchor")).unwrap();
    assert!(audit(&rig, &["verify"]).stderr.contains("there is no anchor"));
}

#[test]
fn with_a_full_disk_leases_are_renewed_and_nothing_new_is_fetched_until_there_is_room() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    bao.connect_database(Postgres::shared(), "fullfull", 6, 3600);
    let rig = rig(&tenant, &database_file(Postgres::shared(), "fullfull"), "");
    let disk = Tmpfs::mount(&rig.path("log"));
    let mut squire = rig.run();
    squire.wait_until("everything is there", || works(&rig, "out/fullfull"));
    let before = rig.read("out/app");
    disk.fill();
    squire.wait_until("it is said", || !squire_says(&rig, "the audit cannot be written").is_empty());
    // One that is refused says that no read of the same secret is out any more.
    squire.wait_until("a read is refused", || {
        let status = status(&rig);
        let app = status["secrets"].as_array().unwrap().iter().find(|secret| secret["name"] == "app");
        app.is_some_and(|app| app["trouble"].to_string().contains("audit"))
    });
    let next = password(&rig, &tenant);
    let renewed = bao.count("update sys/leases/renew");
    squire.wait_at_most(Duration::from_secs(15), "the lease is renewed meanwhile", || {
        bao.count("update sys/leases/renew") > renewed + 1
    });
    assert_eq!(rig.read("out/app"), before, "nothing new is fetched");
    assert!(works(&rig, "out/fullfull"));
    disk.make_room();
    squire.wait_at_most(Duration::from_secs(70), "the new value is fetched", || rig.read("out/app") == next);
    assert_eq!(squire_says(&rig, "the audit can be written again").len(), 1);
    assert!(!about(&rig, "renew", "done").is_empty(), "what was done meanwhile is written down, too");
    squire.stop();
    is_whole(&rig);
}

/// What the runs of this rig logged, in order.
fn squire_says(rig: &Rig, message: &str) -> Vec<Value> {
    let runs = (1..).map(|run| rig.path(&format!("stderr.{run}"))).take_while(|file| file.exists());
    let logs: Vec<_> = runs.map(|file| fs::read_to_string(file).unwrap()).collect();
    let lines =
        logs.iter().flat_map(|log| log.lines()).filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == message).collect()
}

#[test]
fn whoever_chose_it_goes_on_without_the_audit_and_shouts() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let rig = rig(&tenant, "", "on_failure = \"go_on\"");
    let disk = Tmpfs::mount(&rig.path("log"));
    disk.fill();
    let mut squire = rig.run();
    squire.wait_until("the first value is there", || !rig.read("out/app").is_empty());
    let next = password(&rig, &tenant);
    squire.wait_until("the next value is there", || rig.read("out/app") == next);
    let said = squire.events("the audit cannot be written");
    assert_eq!((said.len(), &said[0]["level"]), (1, &json!("ERROR")), "once a minute");
    disk.make_room();
    squire.wait_until("what waited is written", || about(&rig, "fetch", "done").len() > 1);
    squire.stop();
    is_whole(&rig);
}

#[test]
fn whoever_chose_it_stops_when_the_audit_cannot_be_written() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let rig = rig(&tenant, CHILD, "on_failure = \"stop\"");
    let disk = Tmpfs::mount(&rig.path("log"));
    let mut squire = rig.run();
    squire.wait_until("the process runs", || rig.read("seen/starts") == "start\n");
    disk.fill();
    assert_eq!(squire.wait_for_end(SOON), 125);
    drop(squire);
    wait_until(SOON, "no token is left", || tenant.living_tokens() == 0);
    assert_eq!(rig.run().wait_for_end(SOON), 125, "nor does it start");
}

const SAID: &str = "the audit cannot be written";

#[test]
fn a_place_that_is_not_ours_is_not_written_to_and_nothing_is_fetched() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let rig = rig(&tenant, "", "");
    fs::create_dir(rig.path("log")).unwrap();
    let file = rig.path("log/audit.jsonl");
    fs::write(rig.path("victim"), "").unwrap();
    for (count, why) in [(1, "is a symbolic link"), (2, "belongs to another user")] {
        if count == 1 {
            symlink(rig.path("victim"), &file).unwrap();
        } else {
            fs::write(&file, "").unwrap();
            chown(&file, Some(65_534), None).unwrap();
        }
        let mut squire = rig.run();
        squire.wait_until("it is said", || squire_says(&rig, SAID).len() == count);
        let error = squire_says(&rig, SAID)[count - 1]["error"].to_string();
        assert!(error.contains(why), "{error}");
        stays_true(Duration::from_secs(1), "nothing is fetched", || !rig.path("out/app").exists());
        squire.stop();
        assert_eq!(fs::read_to_string(&file).unwrap(), "");
        fs::remove_file(&file).unwrap();
    }
    let disk = Tmpfs::mount(&rig.path("log"));
    disk.turn_read_only();
    let mut squire = rig.run();
    squire.wait_until("it is said", || squire_says(&rig, SAID).len() == 3);
    disk.turn_writable();
    squire.wait_at_most(Duration::from_secs(70), "it goes on by itself", || !rig.read("out/app").is_empty());
    squire.stop();
    is_whole(&rig);
}

/// Many secrets that are re-read each second, so that there is always something to write.
fn busy(tenant: &Tenant<'_>, settings: &str) -> Rig {
    let names: Vec<String> = (0..20).map(|number| format!("s{number}")).collect();
    for name in &names {
        tenant.write(name, &json!({"password": fresh(name)}));
    }
    let files: String = names.iter().map(|name| kv_file(name)).collect();
    rig(tenant, &files, settings)
}

#[test]
fn a_kill_at_any_moment_is_no_forgery() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let rig = busy(&tenant, "max_size = \"16KiB\"\nkeep = 1000");
    for round in 0..12 {
        let before = lines(&rig).len();
        let mut squire: Squire<'_> = rig.run();
        squire.wait_until("it writes", || lines(&rig).len() > before + 25);
        std::thread::sleep(Duration::from_millis(37 * round));
        squire.kill();
        is_whole(&rig);
    }
    let found: Vec<_> = lines(&rig).into_iter().filter(|line| line.get("found").is_some()).collect();
    assert!(found.is_empty(), "{found:?}");
    assert!(about(&rig, "audit", "resumed").len() + about(&rig, "audit", "begun").len() > 1);
}

#[test]
fn it_is_verified_while_squire_writes_and_begins_new_files() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let rig = busy(&tenant, "max_size = \"8KiB\"\nkeep = 3");
    let mut squire = rig.run();
    squire.wait_until("it writes", || full(&rig).len() > 1);
    for _ in 0..25 {
        is_whole(&rig);
    }
    squire.wait_until("old files are removed", || lines(&rig)[0]["n"] != 1);
    assert!(full(&rig).len() <= 4, "{:?}", full(&rig));
    assert_eq!(audit(&rig, &["report"]).code, 0);
    squire.stop();
    is_whole(&rig);
}

#[test]
fn a_new_file_is_begun_when_it_is_asked_for() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let rig = rig(&tenant, "", "");
    let mut squire = rig.run();
    squire.wait_until("it writes", || !about(&rig, "fetch", "done").is_empty());
    let asked = audit(&rig, &["rotate"]);
    assert!(asked.code == 0 && asked.stdout.contains("with its next line"), "{}", asked.stdout);
    squire.wait_until("there are two", || full(&rig).len() == 1);
    squire.stop();
    let asked = audit(&rig, &["rotate"]);
    assert!(asked.code == 0 && asked.stdout.contains("a new file begins"), "{}", asked.stdout);
    assert_eq!(full(&rig).len(), 2);
    is_whole(&rig);
}

/// Another user, who may write where the anchor is: each new file would throw an old one away.
#[test]
fn a_stranger_cannot_ask_for_a_new_file() {
    if !nix::unistd::geteuid().is_root() {
        skipped("a stranger at the audit: only root can act as another user");
        return;
    }
    let bao = Bao::start();
    let tenant = bao.tenant();
    let rig = rig(&tenant, "", "");
    let mut squire = rig.run();
    squire.wait_until("it writes", || !about(&rig, "fetch", "done").is_empty());
    let request = rig.path("state/audit.anchor.rotate");
    fs::write(&request, "").unwrap();
    chown(&request, Some(65534), Some(65534)).unwrap();
    let before = about(&rig, "fetch", "done").len();
    tenant.write("app", &json!({ "password": fresh("next") }));
    squire.wait_until("it writes on", || about(&rig, "fetch", "done").len() > before);
    assert!(full(&rig).is_empty() && request.exists());
    squire.stop();
    is_whole(&rig);
}

/// An operator in a hurry, who mistakes a name: nothing is begun, and nobody's file is taken away.
#[test]
fn a_new_file_is_begun_only_where_there_is_an_audit() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let rig = rig(&tenant, "", "");
    let asked = audit(&rig, &["rotate"]);
    assert!(asked.code == 1 && asked.stderr.contains("there is no anchor at"), "{}", asked.stderr);
    assert!(!rig.path("state").exists(), "the squire of another user could not begin it any more");
    let mut squire = rig.run();
    squire.wait_until("it writes", || !about(&rig, "fetch", "done").is_empty());
    let [file, anchor] = [rig.path("log/audit.jsonl"), rig.path("state/audit.ancor")];
    let named = ["--file", file.to_str().unwrap(), "--anchor", anchor.to_str().unwrap()];
    let asked = rig.start(&[&["audit", "rotate"], &named[..]].concat()).outcome(SOON);
    assert!(asked.code == 1 && asked.stderr.contains("there is no anchor at"), "{}", asked.stderr);
    squire.stop();
    is_whole(&rig);
}
