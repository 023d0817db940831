//! Kafka's client properties, in librdkafka. The broker is tansu, which speaks Kafka's protocol; Kafka itself is not to be had from the
//! registries that the tests use. What asks for the password stands before it: `kafka_broker.py`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::setup::{LONG, path, tests_venv};
use crate::shop::Shop;
use crate::support::daemon::{Daemon, bound_to_this_process};
use crate::support::{Bao, SOON, free_port, fresh, holds_within, wait_until};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integrations/kafka_broker.py");

fn start_broker(directory: &Path) -> (u16, Daemon) {
    let start = |port: u16| {
        let mut command = Command::new(tests_venv("bin/python"));
        command.args([SCRIPT, "serve"]).arg(tests_venv("tansu")).arg(port.to_string()).arg(directory);
        let log = directory.join("broker.log");
        let mut daemon = Daemon::start(&command, &log, Signal::SIGTERM);
        let mut ready = false;
        holds_within(SOON, || {
            ready = std::fs::read_to_string(&log).is_ok_and(|text| text.contains("ready\n"));
            ready || daemon.ended().is_some()
        });
        ready.then_some((port, daemon))
    };
    (0..5).find_map(|_| start(free_port())).expect("the broker did not start in five tries")
}

/// By a rename, since the broker reads it at any time.
fn let_in(directory: &Path, users: &[(&str, &str)]) {
    let users: Value = users.iter().map(|(name, password)| ((*name).to_owned(), json!(password))).collect();
    std::fs::write(directory.join("users.new"), users.to_string()).unwrap();
    std::fs::rename(directory.join("users.new"), directory.join("users.json")).unwrap();
}

#[test]
fn a_producer_takes_new_properties_and_loses_no_message() {
    let passwords = [fresh("kafka"), fresh("kafka")];
    let secret = |which: usize| json!({"username": format!("shop_{which}"), "password": passwords[which]});
    let shop = Shop::new("kafka", Bao::shared(), None, &["secret.kafka"], &json!({"kafka": secret(0)}));
    let directory = shop.rig.path("broker");
    std::fs::create_dir(&directory).unwrap();
    shop.rig.allow_secrets_in("broker");
    let (first, second) = (("shop_0", passwords[0].as_str()), ("shop_1", passwords[1].as_str()));
    let_in(&directory, &[first]);
    let (port, _broker) = start_broker(&directory);
    let mut squire = shop.open(&[("9092", &port.to_string()), ("PAUSE = \"1\"", "PAUSE = \"0.02\"")]);
    shop.wait_for_lines(&mut squire, 3, "ok");
    let_in(&directory, &[first, second]);
    shop.put("kafka", &secret(1));
    shop.wait_for_commit(2);
    // Python handles a signal between two steps of the program: after these it has.
    shop.wait_for_lines(&mut squire, 5, "ok");
    // This ends the connections of the first one. Until the new ones have logged in, messages wait in the client.
    let_in(&directory, &[second]);
    wait_until(LONG, "the second user logs in", || {
        shop.rig.read("broker/broker.log").contains("logged in shop_1")
    });
    shop.wait_for_lines(&mut squire, 10, "ok");
    shop.all_went_well();
    let log = shop.rig.read("broker/broker.log");
    assert!(!log.contains("refused"), "{log}");
    check_messages(&shop);
    // Java's clients have the same in their own words.
    let java = shop.rig.read("out/java.properties");
    let login = format!("PlainLoginModule required username=\"shop_1\" password=\"{}\";", passwords[1]);
    assert!(java.contains(&login), "{}", java.len());
    squire.stop();
}

/// Everything that the producer calls delivered is in the topic, once.
fn check_messages(shop: &Shop<'_>) {
    let delivered: BTreeSet<usize> =
        shop.lines().iter().map(|line| line.trim_start_matches("ok ").parse().unwrap()).collect();
    let mut command = Command::new(tests_venv("bin/python"));
    let last = *delivered.last().unwrap();
    command.args([SCRIPT, "read"]).arg(shop.rig.path("out/client.properties"));
    command.args(["orders", &last.to_string()]);
    let output = bound_to_this_process(&command).env("PATH", path()).output().unwrap();
    let read: Vec<usize> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    let distinct: BTreeSet<usize> = read.iter().copied().collect();
    assert_eq!(distinct.len(), read.len(), "a message is there twice");
    assert!(delivered.is_subset(&distinct), "{delivered:?} {distinct:?}");
    assert!((0..=last).all(|number| distinct.contains(&number)), "a message is missing before {last}");
}
