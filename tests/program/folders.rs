//! A folder as one secret, with all three sources and both versions of KV: what is added, changed and removed is in the next release.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{
    Aws, Bao, Keys, Rig, SOON, STORE_SOURCE, Tenant, make_role, make_store, store, write_profile,
};

/// A folder that tests write into, and a rig that may read it.
struct Shelf {
    rig: Rig,
    kind: Kind,
    path: String,
}

enum Kind {
    Vault(Tenant<'static>),
    /// The first version of KV.
    First(Tenant<'static>),
    Store,
    Aws(&'static Aws),
}

impl Shelf {
    fn vault() -> Self {
        let tenant = Bao::shared().tenant();
        let path = format!("secret/{}/team", tenant.name());
        let below = tenant.name();
        tenant.set_policy(&format!(
            "path \"secret/metadata/{below}/team/*\" {{ capabilities = [\"list\"] }}\npath \"secret/data/{below}/team/*\" {{ capabilities = \
             [\"read\"] }}\n"
        ));
        Self { rig: rig_of(&tenant), kind: Kind::Vault(tenant), path }
    }

    fn first() -> Self {
        let tenant = Bao::shared().tenant();
        let path = format!("kv1/{}/team", tenant.name());
        tenant.set_policy(&format!("path \"{path}/*\" {{ capabilities = [\"list\", \"read\"] }}\n"));
        Self { rig: rig_of(&tenant), kind: Kind::First(tenant), path }
    }

    fn store() -> Self {
        let rig = Rig::at("http://127.0.0.1:1");
        make_store(&rig);
        store(&rig, &["put", "prod/other"], "x");
        make_role(&rig, &["--read", "prod/team/**"]);
        Self { rig, kind: Kind::Store, path: "prod/team".to_owned() }
    }

    fn aws() -> Self {
        let aws = Aws::shared();
        Self { rig: aws.rig(), kind: Kind::Aws(aws), path: format!("team/{:016x}", fastrand::u64(..)) }
    }

    /// Writes an entry, or a new version of it.
    fn put(&self, name: &str, password: &str) {
        self.rig.canaries().add(password);
        let (path, fields) = (format!("{}/{name}", self.path), json!({ "password": password }));
        match &self.kind {
            Kind::Vault(tenant) => tenant.write(&format!("team/{name}"), &fields),
            Kind::First(tenant) => tenant.write_kv1(&format!("team/{name}"), &fields),
            Kind::Store => drop(store(&self.rig, &["put", &path], &fields.to_string())),
            Kind::Aws(aws) => {
                let page = aws.ask(
                    "secretsmanager",
                    "list_secrets",
                    &json!({"Filters": [{"Key": "name", "Values": [path]}]}),
                );
                match page["SecretList"].as_array().unwrap().as_slice() {
                    [] => aws.again(&path, &fields.to_string()),
                    _ => aws.rotate(&path, &fields.to_string()),
                }
            }
        }
    }

    fn remove(&self, name: &str) {
        let path = format!("{}/{name}", self.path);
        match &self.kind {
            Kind::Vault(tenant) => tenant.delete(&format!("team/{name}")),
            Kind::First(tenant) => tenant.bao().api().delete(&path),
            Kind::Store => drop(store(&self.rig, &["rm", &path], "")),
            Kind::Aws(aws) => drop(aws.ask("secretsmanager", "delete_secret", &json!({ "SecretId": path }))),
        }
    }

    fn configure(&self, list: &str) {
        self.configure_with(
            list,
            "[[file]]\npath = \"all\"\non_change = \"none\"\ninline = \"{{#each team}}{{@key}}={{password}};{{/each}}\"\n",
        );
    }

    fn configure_with(&self, list: &str, rest: &str) {
        let source = match &self.kind {
            Kind::Vault(_) | Kind::First(_) => "[source.vault]\nrefresh = \"300ms\"\n".to_owned(),
            Kind::Aws(_) => "[source.aws]\nrefresh = \"300ms\"\n".to_owned(),
            Kind::Store => STORE_SOURCE.to_owned(),
        };
        self.rig.whole_config(&format!(
            "{source}\n[secret.team]\npath = \"{}\"\nlist = {list}\n[output]\ndir = \"@dir@/out\"\n{rest}",
            self.path
        ));
    }

    fn all(&self) -> String {
        self.rig.read("out/all")
    }

    fn check(&self) -> crate::support::Outcome {
        let file = self.rig.path("squire.toml");
        self.rig.start(&["check", "--online", "-c", file.to_str().unwrap()]).outcome(SOON * 2)
    }
}

/// A rig whose environment has the address of the server and the login of the tenant.
fn rig_of(tenant: &Tenant<'_>) -> Rig {
    let rig = Rig::new(tenant);
    rig.set("VAULT_ADDR", tenant.bao().address());
    rig.set("VAULT_ROLE_ID", tenant.role_id());
    rig.set("VAULT_SECRET_ID_FILE", rig.path("secret-id").to_str().unwrap());
    rig
}

macro_rules! over_all_sources {
    ($($test:ident),* $(,)?) => {
        mod vault { $(#[test] fn $test() { super::$test(&super::Shelf::vault()); })* }
        mod first { $(#[test] fn $test() { super::$test(&super::Shelf::first()); })* }
        mod store { $(#[test] fn $test() { super::$test(&super::Shelf::store()); })* }
        mod aws { $(#[test] fn $test() { super::$test(&super::Shelf::aws()); })* }
    };
}

over_all_sources!(
    what_is_added_changed_and_removed_is_in_the_next_release,
    a_tree_has_what_is_below_it_and_an_empty_folder_is_empty,
    a_check_says_that_all_is_allowed,
    each_entry_is_a_directory_that_comes_and_goes,
);

fn what_is_added_changed_and_removed_is_in_the_next_release(shelf: &Shelf) {
    shelf.put("bob", "b-first");
    shelf.put("alice", "a-first");
    shelf.put("deeper/carol", "c-first");
    shelf.configure("true");
    let mut squire = shelf.rig.run();
    for (act, expected) in [
        (&(|| ()) as &dyn Fn(), "alice=a-first;bob=b-first;"),
        (&|| shelf.put("dan", "d-first"), "alice=a-first;bob=b-first;dan=d-first;"),
        (&|| shelf.put("bob", "b-second"), "alice=a-first;bob=b-second;dan=d-first;"),
        (&|| shelf.remove("alice"), "bob=b-second;dan=d-first;"),
    ] {
        act();
        squire.wait_until(expected, || shelf.all() == expected);
    }
    assert_eq!(squire.stop(), 0);
}

fn a_tree_has_what_is_below_it_and_an_empty_folder_is_empty(shelf: &Shelf) {
    shelf.configure("\"tree\"");
    let mut squire = shelf.rig.run();
    squire.wait_until("it is published", || shelf.rig.path("out/all").exists());
    assert_eq!(shelf.all(), "");
    shelf.put("deeper/carol", "c-first");
    shelf.put("bob", "b-first");
    let expected = "bob=b-first;deeper/carol=c-first;";
    squire.wait_until("both are there", || shelf.all() == expected);
    assert_eq!(squire.stop(), 0);
}

fn a_check_says_that_all_is_allowed(shelf: &Shelf) {
    shelf.put("bob", "b-first");
    shelf.configure("\"tree\"");
    let outcome = shelf.check();
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(outcome.stdout.contains("the secret team"), "{outcome:?}");
    if let Kind::Vault(tenant) = &shelf.kind {
        assert!(!outcome.stdout.contains("review   secret/"), "{outcome:?}");
        tenant.set_policy(&tenant.policy());
        let outcome = shelf.check();
        assert_eq!(outcome.code, 1, "{outcome:?}");
        assert!(outcome.stdout.contains("MISSING  list secret/metadata/"), "{outcome:?}");
    }
}

/// The directories of the entries are of one release with a list of them, and the process is told of each change.
fn each_entry_is_a_directory_that_comes_and_goes(shelf: &Shelf) {
    shelf.put("bob", "b-first");
    shelf.put("alice", "a-first");
    shelf.configure_with(
        "true",
        "[[file]]\npath = \"people\"\neach = \"team\"\nmode = \"0440\"\non_change = \"SIGHUP\"\n[[file]]\npath = \"all\"\non_change = \
         \"none\"\ninline = \"{{#each team}}{{@key}}={{password}};{{/each}}\"\n[process]\ncommand = [\"sh\", \"-c\", \"trap 'echo heard \
         >>@dir@/seen/heard' HUP; echo up >@dir@/seen/up; while :; do sleep 0.02; done\"]\n",
    );
    // What the directories hold, in the form of `all`: there is nothing else in them.
    let found = |name: &str| {
        let names = |directory: &Path| {
            let entries = fs::read_dir(directory).unwrap();
            let mut names: Vec<String> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        // One release to its end, whatever is published meanwhile.
        let release = fs::canonicalize(shelf.rig.path("out").join(name)).unwrap();
        let entries = names(&release).into_iter().map(|entry| {
            assert_eq!(names(&release.join(&entry)), ["password"], "{entry}");
            let file = release.join(&entry).join("password");
            assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o440);
            format!("{entry}={};", fs::read_to_string(file).unwrap())
        });
        entries.collect::<String>()
    };
    let mut squire = shelf.rig.run();
    squire.wait_until("the process runs", || shelf.rig.path("seen/up").exists());
    assert_eq!(found("people"), "alice=a-first;bob=b-first;");
    let heard = || fs::read_to_string(shelf.rig.path("seen/heard")).unwrap_or_default().lines().count();
    for (number, (act, expected)) in [
        (&(|| shelf.put("dan", "d-first")) as &dyn Fn(), "alice=a-first;bob=b-first;dan=d-first;"),
        (&|| shelf.put("bob", "b-second"), "alice=a-first;bob=b-second;dan=d-first;"),
        (&|| shelf.remove("alice"), "bob=b-second;dan=d-first;"),
    ]
    .into_iter()
    .enumerate()
    {
        act();
        squire.wait_until(expected, || shelf.all() == expected);
        assert_eq!(found("people"), expected);
        squire.wait_until("the process was told", || heard() == number + 1);
    }
    assert_eq!(squire.stop(), 143);
}

#[test]
fn the_least_policy_of_a_server_and_of_aws_is_enough() {
    for shelf in [Shelf::vault(), Shelf::first(), Shelf::aws()] {
        shelf.put("bob", "b-first");
        shelf.put("deeper/carol", "c-first");
        for (list, expected) in [("true", "bob=b-first;"), ("\"tree\"", "bob=b-first;deeper/carol=c-first;")]
        {
            shelf.configure(list);
            let file = shelf.rig.path("squire.toml");
            let printed = shelf.rig.start(&["policy", "-c", file.to_str().unwrap()]).outcome(SOON);
            assert_eq!(printed.code, 0, "{printed:?}");
            match &shelf.kind {
                Kind::Vault(tenant) | Kind::First(tenant) => tenant.set_policy(&printed.stdout),
                Kind::Aws(aws) => {
                    let policy: Value = serde_json::from_str(&printed.stdout).unwrap();
                    let (id, key) = aws.user(&policy["Statement"]);
                    write_profile(&shelf.rig, Keys { id: &id, key: &key });
                }
                Kind::Store => unreachable!("its role is tested below"),
            }
            let outcome = shelf.rig.render();
            assert_eq!((outcome.code, shelf.all().as_str()), (0, expected), "{outcome:?}");
        }
    }
}

#[test]
fn a_role_of_a_store_gets_what_it_may_read_and_is_denied_where_that_is_nothing() {
    let rig = Rig::at("http://127.0.0.1:1");
    make_store(&rig);
    for name in ["a", "b", "deeper/c"] {
        store(&rig, &["put", &format!("prod/team/{name}")], &json!({ "password": name }).to_string());
    }
    store(&rig, &["put", "prod/theirs/x"], "x");
    make_role(&rig, &["--read", "prod/team/a", "--read", "prod/team/deeper/*", "--read", "prod/none/*"]);
    let shelf = |path: &str, list: &str| {
        rig.whole_config(&format!(
            "{STORE_SOURCE}\n[secret.team]\npath = \"{path}\"\nlist = {list}\n[output]\ndir = \"@dir@/out\"\n[[file]]\npath = \
             \"all\"\ninline = \"{{{{#each team}}}}{{{{@key}}}};{{{{/each}}}}\"\n"
        ));
    };
    for (path, list, expected) in [
        ("prod/team", "true", "a;"),
        ("prod/team", "\"tree\"", "a;deeper/c;"),
        ("prod", "\"tree\"", "team/a;team/deeper/c;"),
        ("prod/none", "true", ""),
    ] {
        shelf(path, list);
        let outcome = rig.render();
        assert_eq!((outcome.code, rig.read("out/all").as_str()), (0, expected), "{path} {list} {outcome:?}");
    }
    shelf("prod/theirs", "true");
    rig.render_says("permission denied on prod/theirs/: needs read");
    // What did not change is not read again.
    let reads = store(&rig, &["audit", "prod/team/a", "--who", "web", "--action", "read", "--json"], "");
    assert_eq!(reads.lines().count(), 3, "{reads}");
}

/// Tags that the list of AWS finds for the filters of `team=…` too: a longer name or value, and the two in different tags.
#[test]
fn a_folder_of_aws_is_what_has_all_its_tags_with_the_least_policy_and_follows_them() {
    let aws = Aws::shared();
    let rig = aws.rig_of_nobody();
    let team = format!("shop-{:016x}", fastrand::u64(..));
    let path = format!("tagged/{team}");
    let secrets: [(&str, &[(&str, &str)]); 6] = [
        ("b/mine", &[("team", &team), ("stage", "live")]),
        ("a/mine", &[("stage", "live"), ("team", &team)]),
        ("a/longer", &[("team", &format!("{team}-2")), ("stage", "live")]),
        ("a/crossed", &[("owner", &team), ("team", "other"), ("stage", "live")]),
        ("a/half", &[("team", &team)]),
        ("a/plain", &[]),
    ];
    for (name, tags) in secrets {
        let tags: Vec<Value> = tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
        let body = json!({"password": name}).to_string();
        let asked = json!({"Name": format!("{path}/{name}"), "SecretString": body, "Tags": tags});
        aws.ask("secretsmanager", "create_secret", &asked);
    }
    let configure = |folder: &str| {
        rig.whole_config(&format!(
            "[source.aws]\nrefresh = \"300ms\"\n[secret.team]\n{folder}\ntags = {{ team = \"{team}\", stage = \"live\" \
             }}\n[output]\ndir = \"@dir@/out\"\n[[file]]\npath = \"all\"\non_change = \"none\"\ninline = \
             \"{{{{#each team}}}}{{{{@key}}}}={{{{password}}}};{{{{/each}}}}\"\n"
        ));
        let file = rig.path("squire.toml");
        let printed = rig.start(&["policy", "-c", file.to_str().unwrap()]).outcome(SOON);
        assert_eq!(printed.code, 0, "{printed:?}");
        let mut policy: Value = serde_json::from_str(&printed.stdout).unwrap();
        // What serves as AWS here knows no tags of a resource in a policy: everything else counts as it is printed.
        for statement in policy["Statement"].as_array_mut().unwrap() {
            if let Some(condition) = statement.as_object_mut().unwrap().remove("Condition") {
                let expected = json!({"aws:ResourceTag/team": team, "aws:ResourceTag/stage": "live"});
                assert_eq!(condition, json!({ "StringEquals": expected }));
            }
        }
        let (id, key) = aws.user(&policy["Statement"]);
        write_profile(&rig, Keys { id: &id, key: &key });
    };
    configure("list = true");
    let whole = format!("{path}/a/mine=a/mine;{path}/b/mine=b/mine;");
    let mut squire = rig.run();
    squire.wait_until("by tags alone", || rig.read("out/all") == whole);
    let name = format!("{path}/b/mine");
    aws.ask("secretsmanager", "untag_resource", &json!({"SecretId": name, "TagKeys": ["stage"]}));
    let fewer = format!("{path}/a/mine=a/mine;");
    squire.wait_until("a tag that is gone", || rig.read("out/all") == fewer);
    let live = json!({"SecretId": format!("{path}/a/half"), "Tags": [{"Key": "stage", "Value": "live"}]});
    aws.ask("secretsmanager", "tag_resource", &live);
    let more = format!("{path}/a/half=a/half;{fewer}");
    squire.wait_until("a tag that is new", || rig.read("out/all") == more);
    assert_eq!(squire.stop(), 0);
    configure(&format!("list = true\npath = \"{path}/a\""));
    let outcome = rig.render();
    assert_eq!((outcome.code, rig.read("out/all").as_str()), (0, "half=a/half;mine=a/mine;"), "{outcome:?}");
    let file = rig.path("squire.toml");
    let checked = rig.start(&["check", "--online", "-c", file.to_str().unwrap()]).outcome(SOON * 2);
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(checked.stdout.contains(&format!("{path}/a/* tagged stage=live, team={team}")), "{checked:?}");
}

#[test]
fn an_entry_of_aws_that_may_not_be_read_is_denied_and_so_is_a_list() {
    let aws = Aws::shared();
    let rig = aws.rig_of_nobody();
    let path = format!("team/{:016x}", fastrand::u64(..));
    for name in ["mine", "theirs"] {
        aws.again(&format!("{path}/{name}"), &json!({ "password": name }).to_string());
    }
    rig.whole_config(&format!(
        "[source.aws]\n[secret.team]\npath = \"{path}/\"\nlist = true\n[output]\ndir = \"@dir@/out\"\n[[file]]\npath = \"all\"\ninline = \
         \"{{{{#each team}}}}{{{{@key}}}}={{{{password}}}};{{{{/each}}}}{{{{team.mine.password}}}}\"\n"
    ));
    let allow = |action: &str, resource: &str| json!({"Effect": "Allow", "Action": format!("secretsmanager:{action}"), "Resource": resource});
    let user = |statements: &[Value]| {
        let (id, key) = aws.user(&json!(statements));
        write_profile(&rig, Keys { id: &id, key: &key });
    };
    let read =
        |name: &str| allow("GetSecretValue", &format!("arn:aws:secretsmanager:*:*:secret:{path}/{name}*"));
    user(&[read("")]);
    rig.render_says("needs secretsmanager:ListSecrets");
    user(&[allow("ListSecrets", "*"), read("mine")]);
    rig.render_says(&format!("permission denied on {path}/theirs: needs secretsmanager:GetSecretValue"));
    user(&[allow("ListSecrets", "*"), read("")]);
    let outcome = rig.render();
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert_eq!(rig.read("out/all"), "mine=mine;theirs=theirs;mine");
}
