//! Which edits of a configuration are which differences.

use std::io;
use std::path::Path;

use super::super::{Surroundings, compile};
use super::*;

/// A configuration that has something of everything.
const BEFORE: &str = r#"
[source.vault]
address = "https://vault:8200"
[source.vault.auth.token]
file = "/run/token"
[source.other]
type = "vault"
address = "https://other:8200"
[source.other.auth.token]
file = "/run/other"
[secret.db]
source = "vault"
path = "database/creds/app"
[secret.web]
source = "other"
path = "secret/web"
[output]
dir = "/run/out"
[[file]]
path = "a"
inline = "{{db.password}}"
[[file]]
path = "b"
inline = "{{web.key}}"
on_change = "SIGHUP"
[process]
command = ["app", "--port", "1"]
env = { TOKEN = "{{web.token}}" }
[rollout]
probe = { tcp = "127.0.0.1:1" }
[agent]
confine = true
"#;

fn asked(text: &str) -> (Config, Plan) {
    let config = crate::config::parse(Path::new("/etc/squire.toml"), text, &|_| None).unwrap();
    let surroundings = Surroundings {
        read: &|_| Err(io::ErrorKind::NotFound.into()),
        user: &|_| Some(7),
        group: &|_| Some(7),
        person: &|_| None,
        own: (0, 0),
    };
    let plan = compile(&config, None, &surroundings).unwrap();
    (config, plan)
}

fn differences(old: &(Config, Plan), new: &(Config, Plan)) -> Diff {
    let asked = |(config, plan): &'_ (Config, Plan)| -> (*const Config, *const Plan) { (config, plan) };
    assert_ne!(asked(old), asked(new));
    diff(Asked { config: &old.0, plan: &old.1 }, Asked { config: &new.0, plan: &new.1 })
}

/// One line: what differs after this edit.
fn said(edit: impl Fn(&str) -> String) -> String {
    let (old, new) = (asked(BEFORE), asked(&edit(BEFORE)));
    let (diff, back) = (differences(&old, &new), differences(&new, &old));
    assert_eq!(diff.sources.added, back.sources.removed, "the way back is the opposite");
    assert_eq!(diff.files.removed, back.files.added, "the way back is the opposite");
    assert_eq!((&diff.settings, &diff.fixed), (&back.settings, &back.fixed), "the way back is the opposite");
    let mut words = Vec::new();
    words.extend(lines("source", &diff.sources, ToString::to_string));
    words.extend(lines("secret", &diff.secrets, ToString::to_string));
    words.extend(diff.fresh.iter().map(|name| format!("fetch {name}")));
    words.extend(lines("file", &diff.files, |path| path.display().to_string()));
    words.extend(lines("variable", &diff.variables, ToString::to_string));
    words.extend(diff.settings.iter().map(ToString::to_string));
    words.extend(diff.relaunches.then(|| "relaunch".to_owned()));
    words.extend(diff.fixed.iter().map(|key| format!("!{key}")));
    words.join(", ")
}

fn lines<T>(kind: &str, changes: &Changes<T>, name: impl Fn(&T) -> String) -> Vec<String> {
    let signs = [("+", &changes.added), ("-", &changes.removed), ("~", &changes.changed)];
    let lines = signs.into_iter().flat_map(|(sign, names)| names.iter().map(move |name| (sign, name)));
    lines.map(|(sign, of)| format!("{sign}{kind} {}", name(of))).collect()
}

#[test]
fn each_edit_is_what_it_is() {
    let cases: [(&str, &str, &str); 32] = [
        ("[secret.db]", "\n\n# a remark moves every line\n[secret.db]", ""),
        ("database/creds/app", "database/creds/next", "~secret db, fetch db"),
        ("path = \"secret/web\"", "path = \"secret/web\"\nrefresh = \"7s\"", "~secret web"),
        ("path = \"secret/web\"", "path = \"secret/web\"\nmax_size = \"2m\"", "~secret web"),
        (
            "address = \"https://other:8200\"",
            "address = \"https://other:8200\"\nrefresh = \"7s\"",
            "~secret web",
        ),
        ("https://other:8200", "https://another:8200", "~source other, fetch web"),
        ("/run/other", "/run/another", "~source other, fetch web"),
        ("source = \"other\"", "source = \"vault\"", "-source other, ~secret web, fetch web"),
        ("{{db.password}}", "{{db.username}}", "~file a"),
        ("path = \"b\"", "path = \"c\"", "+file c, -file b"),
        ("path = \"b\"", "path = \"b\"\nmode = \"0440\"", "~file b"),
        ("path = \"b\"", "path = \"b\"\nowner = \"app\"", "~file b"),
        ("on_change = \"SIGHUP\"", "on_change = \"SIGUSR1\"", "~file b"),
        ("{{web.token}}", "x{{web.token}}", "~variable TOKEN"),
        ("TOKEN =", "TOKENS =", "+variable TOKENS, -variable TOKEN"),
        ("{{db.password}}", "fixed", "-source vault, -secret db, ~file a"),
        ("\"--port\", \"1\"", "\"--port\", \"2\"", "process, relaunch"),
        ("[process]", "[process]\numask = \"077\"", "process, relaunch"),
        ("[process]", "[process]\nstop_signal = \"SIGINT\"", "process.stop_signal"),
        ("[process]", "[process]\nstop_timeout = \"7s\"", "!process.stop_timeout"),
        ("[process]", "[process]\nrestart_mode = \"overlap\"", "!process.restart_mode"),
        ("[process]", "[process]\nlisten = [\"tcp://127.0.0.1:80\"]", "!process.listen"),
        ("[process]", "[process]\nvault_token = \"vault\"", "!process.vault_token"),
        ("[output]", "[[source.vault.token_file]]\npath = \"/run/t\"\n[output]", "!source.token_file"),
        ("127.0.0.1:1", "127.0.0.1:2", "rollout.probe"),
        ("[rollout]", "[rollout]\ngrace = \"7s\"\nsettle = \"7s\"", "rollout.grace, rollout.settle"),
        (
            "confine = true",
            "listen = \"127.0.0.1:1\"\n[webhook]\nkey = \"{{web.hook}}\"",
            "webhook, !agent.listen",
        ),
        ("/run/out", "/run/elsewhere", "!output.dir"),
        (
            "[rollout]",
            "[audit]\nfile = \"/var/log/audit.jsonl\"\nanchor = \"/run/anchor/audit\"\n[rollout]",
            "!audit",
        ),
        (
            "[rollout]",
            "[[credential]]\nname = \"a\"\nunits = [\"b.service\"]\ninline = \"{{db.password}}\"\n[rollout]",
            "credential",
        ),
        ("[rollout]", "[proxy]\nlisten = \"127.0.0.1:1\"\nsource = \"other\"\n[rollout]", "!proxy"),
        (
            "confine = true",
            "confine = false\nmlock = true\non_stop = \"leave\"\nreload = \"watch\"\nledger = \"/run/ledger\"",
            "!agent.confine, !agent.ledger, !agent.mlock, !agent.on_stop, !agent.reload",
        ),
    ];
    for (old, new, expected) in cases {
        assert_eq!(said(|text| text.replacen(old, new, 1)), expected, "{old} → {new}");
    }
}

#[test]
fn a_process_that_comes_or_goes_needs_another_squire() {
    let without = |text: &str| {
        let (before, after) = text.split_once("[process]").unwrap();
        let (_, after) = after.split_once("[rollout]").unwrap();
        let text = format!("{before}{after}").replace("probe = { tcp = \"127.0.0.1:1\" }", "");
        text.replace("on_change = \"SIGHUP\"", "")
    };
    assert!(said(without).contains("!process.command"), "{}", said(without));
}
