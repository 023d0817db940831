//! Fuzzes sealed content of rows, as a holder of the keys might have written it, and texts that people write for a store.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::audit::{About, Action, Entry, Outcome};
use super::generator::Generator;
use super::head::Head;
use super::hooks::Hooks;
use super::keys::{Environment, Fresh, Id, RoleKeys, Tip};
use super::moment::Moment;
use super::path::SecretPath;
use super::policy::{Approval, Policy};
use super::proof::Proofs;
use super::replay::Replay;
use super::role::{Allowance, Right, Role};
use super::rows::open_head;
use super::seal::{Key, NONCE, place};
use super::standing::How;
use crate::config::Window;
use crate::fuzz::{CANARY, Reader};

const STORE: Id = [1; 16];
const WRITER: Id = [2; 16];
const ROW: [u8; 32] = [3; 32];

static ENVIRONMENT: LazyLock<Environment> = LazyLock::new(|| {
    let key = |byte| Key::new([byte; 32]);
    Environment::new([4; 16], "dev", Fresh { data: key(5), write: key(6), admin: key(7) })
});

fn head() -> Head {
    let now = Moment::from_millis(1_800_000_000_000);
    let mut head = Head::new("dev/app/db", "owner", now);
    head.add("owner", now);
    head.add("web", now);
    head.pend("web", now);
    head.note = Some("what it is for".to_owned());
    head.policy = Some(Policy {
        every: Some(Duration::from_hours(24)),
        generator: "password:length=24,classes=lower+digit".parse().unwrap(),
        field: Some("password".to_owned()),
        windows: vec!["Mon-Fri 02:00-04:00 UTC".to_owned()],
        grace: Some(Duration::from_mins(5)),
        needs_approval: true,
        hook: Some("postgres".to_owned()),
        timeout: Duration::from_mins(1),
    });
    head.rotation.failures = 3;
    head.rotation.trouble = Some("exit code 1".to_owned());
    head.rotation.rests_until = Some(now);
    head.rotation.approval = Some(Approval { by: "owner".to_owned(), version: 3 });
    head
}

fn role() -> Role {
    Role {
        name: "web".to_owned(),
        grants: [(Right::Read, vec!["dev/app/*".to_owned(), "dev/**".to_owned()])].into(),
        created: Moment::from_millis(0),
        expires: Some(Moment::from_millis(1 << 60)),
        uses: Some(5),
    }
}

fn same_again<T: Serialize + DeserializeOwned>(what: &T) -> T {
    let text = serde_json::to_vec(what).unwrap();
    let again: T = serde_json::from_slice(&text).unwrap();
    assert_eq!(serde_json::to_vec(&again).unwrap(), text, "what is read and written again is the same");
    again
}

fn of_row<T: Serialize + DeserializeOwned>(input: &[u8]) -> Option<T> {
    serde_json::from_slice(input).ok().map(|read| same_again(&read))
}

fn read(input: &[u8]) {
    let environment = &*ENVIRONMENT;
    // Bytes from somebody without the key, and a text that a holder of the key sealed.
    assert!(open_head(&STORE, environment, &ROW, input).is_none());
    let parts: [&[u8]; 3] = [&STORE, &environment.id, &ROW];
    let sealed = |text: &[u8]| environment.heads().seal([0; NONCE], place("head", &parts), text).unwrap();
    drop(open_head(&STORE, environment, &ROW, &sealed(input)));
    if let Some((head, _)) = open_head(&STORE, environment, &ROW, &sealed(&Proofs::default().before(input))) {
        for now in [0, 1_800_000_000_000, u64::MAX] {
            change(same_again(&head), Moment::from_millis(now));
        }
    }
    if let Some(entry) = of_row::<Entry>(input) {
        let mut replay = Replay::default();
        let first = Entry { action: Action::Init, ..entry.clone() };
        for (number, entry) in [(1, &first), (2, &entry), (u64::MAX, &entry)] {
            replay.apply(number, &WRITER, entry);
        }
        same_again(&replay);
    }
    if let Some(keys) = of_row::<RoleKeys>(input) {
        ask(&keys.role);
    }
    if let Some(role) = of_row::<Role>(input) {
        ask(&role);
    }
    let tip = of_row::<Tip>(input);
    assert!(tip.is_none_or(|tip| serde_json::to_vec(&tip).is_ok()));
    of_people(&String::from_utf8_lossy(input));
}

/// Every operation on a head works, whatever its numbers are.
fn change(mut head: Head, now: Moment) {
    let numbers: Vec<_> = head.versions.iter().map(|version| version.number).chain([0, u64::MAX]).collect();
    for number in &numbers {
        drop(head.readable(Some(*number), now).map_err(|why| why.to_string()));
    }
    if let Some(policy) = &head.policy {
        for how in [How::Due, How::Asked, How::Emergency] {
            policy.standing(&head, how, now);
        }
        policy.overdue(&head, now);
        policy.rest(head.rotation.failures);
        policy.claim();
        // An RSA key takes long to make.
        if !matches!(policy.generator, Generator::Rsa { .. }) {
            let made = policy.generator.generate(&mut StdRng::seed_from_u64(1), "field");
            assert!(serde_json::to_vec(&made).unwrap().len() < 64 << 10);
        }
    }
    head.promote(Some(Duration::MAX), now);
    head.pend("web", now);
    head.delete(&numbers, now);
    head.undelete(&[]);
    head.add("web", now);
    assert!(head.is_live() && head.versions.len() <= head.keep.max(1) as usize + 2, "{head:?}");
    head.destroy(&[], now);
    same_again(&head);
}

fn ask(role: &Role) {
    role.environments();
    if let Ok(allowance) = Allowance::compile(&role.grants) {
        allowance.allows_text(Right::Read, "dev/app/db");
    }
    _ = role.standing(u64::MAX, Moment::from_millis(u64::MAX));
}

/// Hooks, paths, windows and generators: an error is one line.
fn of_people(text: &str) {
    if let Err(why) = Hooks::parse(text) {
        assert!(!why.is_empty());
    }
    for line in text.lines().take(20) {
        if let Ok(path) = SecretPath::parse(line) {
            assert_eq!(path.as_str(), line);
            assert!(
                line.strip_prefix(path.environment()).is_some_and(|rest| rest.starts_with('/')),
                "{line}"
            );
        }
        if let Ok(window) = Window::parse(&[line.to_owned()]) {
            window.at(SystemTime::UNIX_EPOCH);
        }
        if let Ok(generator) = line.parse::<Generator>() {
            assert_eq!(generator.to_string().parse(), Ok(generator));
        }
    }
}

const WORDS: [&str; 22] = [
    "\"policy\":{",
    "\"rotation\":{",
    "\"pending\":",
    "\"is\":\"password\"",
    "\"is\":\"hex\",\"bytes\":",
    "\"classes\":[]",
    "\"length\":",
    "\"exclude\":\"0123456789\"",
    "\"every\":{\"secs\":",
    "\"nanos\":4294967295",
    "\"timeout\":{\"secs\":18446744073709551615,\"nanos\":0}",
    "\"keep\":0",
    "\"keep\":4294967295",
    "\"last\":",
    "\"current\":",
    "\"state\":{\"is\":\"unused\",\"at\":0}",
    "\"versions\":[]",
    "**",
    "[a-",
    "{a,b",
    "\"uses\":0",
    "canary-2b7e151628",
];

#[test]
fn fuzz() {
    let entry = |action, about| Entry { at: Moment::from_millis(7), action, outcome: Outcome::Done, about };
    let secret = About::Secret { path: "dev/app/db".to_owned(), version: Some(1), change: None };
    let hooks = "[hook.postgres]\npaths = [\"prod/app/*\"]\nset = [\"/usr/local/bin/alter-role\"]\nenv = [\"ADMIN_URL\"]\n";
    let lines = "dev/app/db\nMon-Fri 02:00-04:00 UTC\npassword:length=24,classes=lower+upper+digit,exclude=0O\nhex:bytes=16\nrsa:bits=2048\n";
    let texts = [
        serde_json::to_string(&head()),
        serde_json::to_string(&entry(Action::Read, secret)),
        serde_json::to_string(&entry(
            Action::RoleAdd,
            About::Role { id: STORE, writer: WRITER, role: role() },
        )),
        serde_json::to_string(&role()),
        serde_json::to_string(&Tip::NONE),
        Ok(hooks.to_owned()),
        Ok(lines.replace("24", CANARY)),
        Ok(lines.to_owned()),
    ];
    let documents = texts.into_iter().map(|text| text.unwrap().into_bytes()).collect();
    Reader { documents, words: &WORDS, read }.fuzz("a row of a store, and what people write for it");
}
