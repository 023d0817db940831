//! Redis, in Node. The server's users take turns; the first one is deleted, which ends its connections.

use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::setup::tests_venv;
use crate::shop::Shop;
use crate::support::daemon::Daemon;
use crate::support::{Bao, SOON, free_port, fresh, holds_within};

/// A Redis whose administrator is `root`.
struct Redis {
    port: u16,
    _daemon: Daemon,
}

const ROOT: &str = "root-of-redis";

impl Redis {
    fn start(directory: &Path) -> Self {
        let start = |port: u16| {
            // The password of its administrator is in a file, and in no argument.
            let configuration = directory.join("redis.conf");
            let lines = [
                "bind 127.0.0.1".to_owned(),
                format!("port {port}\ndir {}\nsave \"\"", directory.display()),
                format!("user default off\nuser root on >{ROOT} ~* &* +@all"),
            ];
            std::fs::write(&configuration, lines.join("\n")).unwrap();
            let mut command = Command::new(tests_venv("redis-server"));
            command.arg(&configuration);
            let mut daemon = Daemon::start(&command, &directory.join("redis.log"), Signal::SIGTERM);
            let mut ready = false;
            holds_within(SOON, || {
                ready = command_line(port, &["ping"]).as_deref() == Some("PONG\n");
                ready || daemon.ended().is_some()
            });
            ready.then_some(Self { port, _daemon: daemon })
        };
        (0..5).find_map(|_| start(free_port())).expect("redis did not start in five tries")
    }

    #[track_caller]
    fn do_as_root(&self, words: &[&str]) {
        let answer = command_line(self.port, words).unwrap();
        assert!(!answer.contains("ERR"), "{answer}");
    }
}

fn command_line(port: u16, words: &[&str]) -> Option<String> {
    let mut command = Command::new(tests_venv("redis-cli"));
    command.args(["-p", &port.to_string(), "--user", "root", "--no-auth-warning"]).args(words);
    let output = command.env("REDISCLI_AUTH", ROOT).output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_worker_logs_in_anew_on_its_connection_without_a_failed_command() {
    let bao = Bao::shared();
    let passwords = [fresh("redis"), fresh("redis")];
    let secret = |which: usize| json!({"username": format!("shop_{which}"), "password": passwords[which]});
    let shop = Shop::new("redis", bao, None, &["secret.redis"], &json!({"redis": secret(0)}));
    std::fs::create_dir(shop.rig.path("redis")).unwrap();
    shop.rig.allow_secrets_in("redis");
    let redis = Redis::start(&shop.rig.path("redis"));
    for (which, password) in passwords.iter().enumerate() {
        redis.do_as_root(&[
            "acl",
            "setuser",
            &format!("shop_{which}"),
            "on",
            &format!(">{password}"),
            "~shop:*",
            "+@all",
        ]);
    }
    let mut squire = shop.open(&[("6379", &redis.port.to_string()), ("PAUSE = \"1\"", "PAUSE = \"0.02\"")]);
    shop.wait_for_lines(&mut squire, 3, "shop_0");
    shop.put("redis", &secret(1));
    shop.wait_for_lines(&mut squire, 3, "shop_1");
    redis.do_as_root(&["acl", "deluser", "shop_0"]);
    shop.wait_for_lines(&mut squire, 10, "shop_1");
    shop.all_went_well();
    let counted: Vec<usize> =
        shop.lines().iter().map(|line| line.split(' ').nth(1).unwrap().parse().unwrap()).collect();
    assert!(counted.windows(2).all(|pair| pair[0] + 1 == pair[1]), "a command was lost: {counted:?}");
    // After an outage it connects again, with the credentials of now.
    redis.do_as_root(&["client", "kill", "type", "normal", "skipme", "yes"]);
    shop.wait_for_lines(&mut squire, 3, "shop_1");
    squire.stop();
}
