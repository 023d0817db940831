//! The commands that people write, from a census of public files, rewritten.

use proptest::prelude::*;

use super::*;

fn file(signal: &str, pid_file: &str) -> Reaction {
    Reaction::PidFile { signal: signal.to_owned(), pid_file: pid_file.to_owned() }
}

fn by_name(signal: &str, process: &str) -> Reaction {
    Reaction::Named { signal: signal.to_owned(), process: process.to_owned() }
}

fn runs(words: &[&str]) -> Reaction {
    run(words.iter().map(ToString::to_string).collect())
}

#[test]
fn a_line_becomes_what_it_means() {
    let cases = [
        ("kill -HUP $(cat /run/nginx.pid)", file("SIGHUP", "/run/nginx.pid")),
        ("kill -s HUP `cat /run/nginx.pid`", file("SIGHUP", "/run/nginx.pid")),
        ("kill -1 \"$(cat /run/nginx.pid)\" || true", file("SIGHUP", "/run/nginx.pid")),
        ("/bin/kill -USR1 $(</run/app.pid) 2>/dev/null || true", file("SIGUSR1", "/run/app.pid")),
        ("sh -c 'kill -HUP $(cat /run/nginx.pid)'", file("SIGHUP", "/run/nginx.pid")),
        ("kill $(cat /run/app.pid)", file("SIGTERM", "/run/app.pid")),
        ("kill -HUP $(pidof app)", by_name("SIGHUP", "app")),
        ("kill -TERM $(pgrep app)", by_name("SIGTERM", "app")),
        ("pkill -HUP nginx", by_name("SIGHUP", "nginx")),
        ("pkill -HUP nginx || true", by_name("SIGHUP", "nginx")),
        ("pkill --signal=SIGUSR2 -x haproxy >/dev/null 2>&1 || true", by_name("SIGUSR2", "haproxy")),
        ("killall -HUP app", by_name("SIGHUP", "app")),
        ("killall app", by_name("SIGTERM", "app")),
        ("systemctl reload nginx", runs(&["systemctl", "reload", "nginx"])),
        ("systemctl reload nginx || true", runs(&["systemctl", "reload", "nginx"])),
        ("/usr/sbin/nginx -s reload", runs(&["/usr/sbin/nginx", "-s", "reload"])),
        ("sh -c \"service 'a b' reload\"", runs(&["service", "a b", "reload"])),
        ("kill -HUP 1", runs(&["kill", "-HUP", "1"])),
    ];
    for (line, expected) in cases {
        assert_eq!(of_line(line, "/run/x").reaction, Some(expected), "{line}");
    }
    assert_eq!(of_line("", "/run/x"), Meant::default());
}

#[test]
fn what_needs_a_shell_stays_in_one_and_is_told() {
    let cases = [
        "kill -9 $(cat /run/app.pid)",
        "kill -HUP $(pgrep -f 'java -jar')",
        "pkill -f -HUP gunicorn; echo done > /tmp/x",
        "systemctl reload nginx && systemctl reload haproxy",
        "cat /run/a /run/b > /run/c",
        "echo $HOME",
        "curl -s http://localhost/-/reload | grep ok",
        ". /run/env && app",
        "if true; then x; fi",
        "FOO=1 app",
        "kill -HUP $(cat $PIDFILE)",
        "touch 'unclosed",
        "(a; b)",
        "systemctl reload nginx &",
    ];
    for line in cases {
        let meant = of_line(line, "/run/x");
        assert_eq!(meant.reaction, Some(runs(&["sh", "-c", line])), "{line}");
        assert!(meant.told.is_some());
    }
}

#[test]
fn chmod_and_chown_of_the_file_are_its_mode_and_owner() {
    let meant = of_line("chown app:web /run/x && chmod 640 /run/x", "/run/x");
    let expected = Meant {
        mode: Some("0640".to_owned()),
        owner: Some("app".to_owned()),
        group: Some("web".to_owned()),
        ..Meant::default()
    };
    assert_eq!(meant, expected);
    let meant = of_line("chown 100 /run/x && systemctl reload nginx", "/run/x");
    assert_eq!(meant.owner.as_deref(), Some("100"));
    assert_eq!(meant.reaction, Some(runs(&["systemctl", "reload", "nginx"])));
    for other in ["chown app /run/y", "chmod u+r /run/x", "chown -R app /run/x"] {
        let meant = of_line(other, "/run/x");
        assert_eq!((meant.mode, meant.owner), (None, None), "{other}");
        assert!(meant.reaction.is_some());
    }
}

#[test]
fn a_list_needs_no_shell() {
    let list = |words: &[&str]| {
        of_list(&words.iter().map(ToString::to_string).collect::<Vec<_>>(), "/run/x").reaction
    };
    assert_eq!(list(&["pkill", "-HUP", "nginx"]), Some(by_name("SIGHUP", "nginx")));
    assert_eq!(list(&["sh", "-c", "kill -HUP $(pidof app)"]), Some(by_name("SIGHUP", "app")));
    assert_eq!(list(&["kill -HUP $(pidof app)"]), Some(by_name("SIGHUP", "app")));
    assert_eq!(list(&["app", "a $b"]), Some(runs(&["app", "a $b"])));
    assert_eq!(list(&[]), None);
}

proptest! {
    #[test]
    fn no_line_panics_and_none_is_lost(line in "([a-z /$()`\"'\\\\|&;<>#=-]|kill |-HUP |\\$\\(cat /a\\)|chmod |/run/x| && ){0,20}") {
        let meant = of_line(&line, "/run/x");
        let is_taken = meant.reaction.is_some() || meant.mode.is_some() || meant.owner.is_some() || meant.group.is_some();
        prop_assert!(is_taken || line.trim().is_empty());
    }
}
