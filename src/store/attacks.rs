//! Attacks by a role that has its secret-id, the file and a program of its own: it seals and signs with every key that it was given.
//!
//! Attacks without a key are tested through the program, in `tests/store`.

mod random;
mod world;

use std::time::Duration;

use rusqlite::{Connection, params};

use super::access::{Past, Store};
use super::audit::{About, Action, Spot};
use super::chance::{nonce, random};
use super::error::StoreError;
use super::generator::Generator;
use super::head::Head;
use super::hooks::Hooks;
use super::keys::{self, Id, Tip};
use super::moment::Moment;
use super::owner::OwnerSecret;
use super::policy::{Approval, Policy};
use super::power::TIP;
use super::proof::{self, Proofs};
use super::role::Right;
use super::rotation::Rotated;
use super::seal::place;
use super::standing::How;
use super::values::With;
use world::{Adversary, DB, World, as_role, fields, path, policy};

#[test]
fn a_role_that_reads_plants_neither_a_value_nor_a_policy() {
    for what in 0..3 {
        let world = World::new();
        let reader = world.role("reader", &[Right::Read]);
        let adversary = world.adversary(&reader);
        assert!(adversary.environment().write.is_none() && adversary.environment().admin.is_none());
        let mut head = adversary.head();
        match what {
            0 => head.policy = Some(policy()),
            1 => head.versions[0].digest = [7; 32],
            _ => (head.serial, head.note) = (head.serial + 1, Some("mine".to_owned())),
        }
        adversary.plant(&head);
        let mut store = world.open();
        assert!(matches!(store.get(&path(DB), None), Err(StoreError::Forged { .. })), "{what}");
        assert_eq!(store.due().unwrap().now, [], "{what}");
        assert!(matches!(
            store.rotate(&path(DB), How::Asked, &Hooks::default()),
            Err(StoreError::Forged { .. } | StoreError::Unfit { .. })
        ));
        assert!(world.findings().iter().any(|found| found.starts_with(DB)), "{what}: {:?}", world.findings());
        // The attack does not keep the owner from revoking the role, and the renewal does not sign the planted head.
        store.revoke_role("reader").unwrap();
        assert!(matches!(world.open().get(&path(DB), None), Err(StoreError::Forged { .. })));
        assert!(world.findings().iter().any(|found| found.starts_with(DB)));
    }
}

#[test]
fn a_role_that_writes_makes_no_policy_no_window_and_no_approval() {
    type Forge = fn(&mut Head);
    let forgeries: [Forge; 5] = [
        |head| {
            head.policy =
                Some(Policy { generator: Generator::Hex { bytes: 1 }, ..head.policy.clone().unwrap() });
        },
        |head| head.policy = Some(Policy { windows: Vec::new(), ..head.policy.clone().unwrap() }),
        |head| head.policy = Some(Policy { needs_approval: false, ..head.policy.clone().unwrap() }),
        |head| head.policy = Some(Policy { grace: Some(Duration::MAX), ..head.policy.clone().unwrap() }),
        |head| head.rotation.approval = Some(Approval { by: "owner".to_owned(), version: 2 }),
    ];
    for (which, forge) in forgeries.into_iter().enumerate() {
        let world = World::new();
        let windows = vec!["Sun 03:00-03:01 UTC".to_owned()];
        let given = Policy { needs_approval: true, windows, ..policy() };
        world.open().set_policy(&path(DB), Some(&given), false).unwrap();
        let writer = world.role("writer", &[Right::Read, Right::Write, Right::Rotate]);
        let adversary = world.adversary(&writer);
        let mut head = adversary.head();
        forge(&mut head);
        head.serial += 1;
        adversary.plant(&head);
        let mut store = world.open();
        let rotated = store.rotate(&path(DB), How::Asked, &Hooks::default());
        assert!(matches!(rotated, Err(StoreError::Forged { .. })), "{which}: {rotated:?}");
        assert!(!store.due().unwrap().now.contains(&path(DB)));
        assert!(!world.findings().is_empty(), "{which}");
    }
}

#[test]
fn an_approval_is_for_one_version_and_a_policy_that_is_put_back_is_found() {
    let world = World::new();
    world.open().set_policy(&path(DB), Some(&Policy { needs_approval: true, ..policy() }), false).unwrap();
    let writer = world.role("writer", &[Right::Read, Right::Write, Right::Rotate]);
    let adversary = world.adversary(&writer);
    let mut store = world.open();
    store.approve(&path(DB)).unwrap();
    let approved = adversary.head();
    assert!(matches!(
        store.rotate(&path(DB), How::Asked, &Hooks::default()),
        Ok(Rotated::Done { version: 2 })
    ));
    // The old approval, in the present head.
    let mut head = adversary.head();
    (head.rotation.approval, head.proofs.approval) =
        (approved.rotation.approval.clone(), approved.proofs.approval);
    head.serial += 1;
    adversary.plant(&head);
    assert!(matches!(store.rotate(&path(DB), How::Asked, &Hooks::default()), Ok(Rotated::Not(_))));
    // The old policy, signed by a role that may administer, after a stricter policy.
    let mild = adversary.head();
    store
        .set_policy(&path(DB), Some(&Policy { needs_approval: true, every: None, ..policy() }), false)
        .unwrap();
    let mut head = adversary.head();
    (head.policy, head.proofs.policy) = (mild.policy.clone(), mild.proofs.policy);
    head.serial += 1;
    adversary.plant(&head);
    assert!(!world.findings().is_empty());
    // The same if the role records the change as its own.
    let mut store = Store::open(&world.file(), &as_role(&writer)).unwrap();
    store.put(&path(DB), &fields("x"), With::default()).unwrap();
    let found = world.findings();
    assert!(found.iter().any(|found| found.contains("has another policy since")), "{found:?}");
}

#[test]
fn a_role_reads_no_entry_of_another_and_writes_none_in_its_name() {
    let world = World::new();
    let reader = world.role("reader", &[Right::Read]);
    let mut store = Store::open(&world.file(), &as_role(&reader)).unwrap();
    store.get(&path(DB), None).unwrap();
    let adversary = world.adversary(&reader);
    let (keys, entries) = (adversary.keys(), adversary.entries());
    let mut link = Tip::NONE.link;
    let mut opened = 0;
    for (number, writer, sealed) in &entries {
        let spot = Spot { store: &adversary.store, number: *number, before: &link, writer };
        if spot.open(&keys.writer_key, sealed).is_some() {
            assert_eq!(*writer, keys.writer);
            opened += 1;
        }
        link = spot.link(sealed);
    }
    assert_eq!(opened, 2, "its log-in and its read");
    assert!(world.findings().is_empty());
    let owner = entries[0].1;
    let about = || About::Named("the store".to_owned());
    adversary.append(&owner, Action::Verify, about());
    let found = world.findings();
    assert!(found.iter().any(|found| found.contains("of somebody else")), "{found:?}");
}

/// The object of an entry.
type Claim = fn(&Adversary, Id) -> About;

#[test]
fn what_only_the_owner_does_is_found_when_a_role_writes_it() {
    let unknown: Id = random().unwrap();
    let role = |adversary: &Adversary| adversary.keys().role;
    let abouts: [(Action, Claim); 2] = [
        (Action::RoleRevoke, |_, id| About::Revoked { id, name: "x".to_owned(), environments: Vec::new() }),
        (Action::RoleAdd, |adversary, id| About::Role { id, writer: id, role: adversary.keys().role }),
    ];
    for (action, about) in abouts {
        let world = World::new();
        let adversary = world.adversary(&world.role("reader", &[Right::Read]));
        assert_eq!(role(&adversary).name, "reader");
        adversary.append(&adversary.keys().writer, action, about(&adversary, unknown));
        let found = world.findings();
        assert!(
            found.iter().any(|found| found.contains("what only the owner does")),
            "{action:?}: {found:?}"
        );
    }
    // An entry does not let the role change anything beyond its rights either.
    let world = World::new();
    let adversary = world.adversary(&world.role("reader", &[Right::Read]));
    let head = adversary.head();
    let change =
        super::audit::Change { serial: head.serial + 1, head: [1; 32], policy: proof::policy_digest(None) };
    let about = About::Secret { path: DB.to_owned(), version: None, change: Some(change) };
    adversary.append(&adversary.keys().writer, Action::Put, about);
    let found = world.findings();
    assert!(found.iter().any(|found| found.contains("which it may not")), "{found:?}");
}

/// The role drops its own entries and seals the end anew.
#[test]
fn a_role_that_drops_its_entries_is_found_by_whoever_saw_them_and_by_whoever_wrote_after_them() {
    for others_wrote_after in [true, false] {
        let world = World::new();
        let reader = world.role("reader", &[Right::Read]);
        let other = world.role("other", &[Right::Read]);
        let mut seen_by_other = Store::open(&world.file(), &as_role(&other)).unwrap();
        let mut store = Store::open(&world.file(), &as_role(&reader)).unwrap();
        for _ in 0..3 {
            store.get(&path(DB), None).unwrap();
        }
        drop(store);
        if others_wrote_after {
            world.open();
        } else {
            // An agent that runs beside it saw the entries, and keeps the latest.
            seen_by_other.peek(&path(DB), None).unwrap();
        }
        let adversary = world.adversary(&reader);
        let mine = adversary.keys().writer;
        let kept = adversary.entries().into_iter().filter(|(_, writer, _)| *writer != mine);
        adversary.rewrite(kept.map(|(_, writer, sealed)| (writer, sealed)).collect::<Vec<_>>().into_iter());
        if others_wrote_after {
            let found = world.findings();
            assert!(found.iter().any(|found| found.starts_with("audit entry")), "{found:?}");
        } else {
            let read = seen_by_other.get(&path(DB), None);
            assert!(matches!(read, Err(StoreError::RolledBack { .. })), "{read:?}");
        }
    }
}

#[test]
fn a_revoked_role_neither_opens_nor_writes_the_end_of_the_audit() {
    let world = World::new();
    let leaver = world.role("leaver", &[Right::Read, Right::Write, Right::Rotate, Right::Admin]);
    let other = world.role("other", &[Right::Read]);
    let adversary = world.adversary(&leaver);
    let (keys, tip, environment) = (adversary.keys(), adversary.tip(), adversary.environment());
    world.open().revoke_role("leaver").unwrap();
    let now: Vec<u8> =
        adversary.db.query_row("SELECT value FROM meta WHERE name = ?1", [TIP], |row| row.get(0)).unwrap();
    assert!(keys::open::<Tip>(&keys.tip, place(TIP, &[&adversary.store]), &now).is_none());
    // The role writes its own tip, with its own keys: nobody can open the store.
    let forged = keys::seal(&keys.tip, nonce().unwrap(), place(TIP, &[&adversary.store]), &tip).unwrap();
    adversary.db.execute("UPDATE meta SET value = ?2 WHERE name = ?1", params![TIP, forged]).unwrap();
    for credential in [world.credential(), as_role(&other)] {
        let opened = Store::open(&world.file(), &credential);
        assert!(matches!(opened, Err(StoreError::Damaged { .. })), "{opened:?}");
    }
    adversary.db.execute("UPDATE meta SET value = ?2 WHERE name = ?1", params![TIP, now]).unwrap();
    // A signature with the old keys does not count.
    world.open().put(&path(DB), &fields("new"), With::default()).unwrap();
    let text = serde_json::to_vec(&Head::new(DB, "owner", Moment::from_millis(1))).unwrap();
    let super::keys::Seed(write) = environment.write.as_ref().unwrap();
    let signature = proof::written(&adversary.store, &environment, write, &text);
    let other = world.adversary(&other);
    let now = other.environment();
    assert!(now.epoch > environment.epoch && now.data.expose() != environment.data.expose());
    other.plant_with(&now, &text, &Proofs { head: signature, ..Proofs::default() });
    assert!(matches!(world.open().get(&path(DB), None), Err(StoreError::Forged { .. })));
}

/// A thief with the owner's old key and an old copy of the file has every key of that time, and the record of every role.
#[test]
fn an_old_root_opens_nothing_of_what_a_rekey_made() {
    let world = World::new();
    let reader = world.role("reader", &[Right::Read]);
    let mut store = world.open();
    let mut role = Store::open(&world.file(), &as_role(&reader)).unwrap();
    let mut former = world.open();
    let old = store.root("").unwrap();
    let new = OwnerSecret::Key(Store::new_key().unwrap());
    store.rekey(&new, super::rekey::Rekey::Everything).unwrap();
    let db = Connection::open(world.file()).unwrap();
    let mut rows = Vec::new();
    for sql in [
        "SELECT 'environment', id, sealed FROM environments",
        "SELECT 'role record', id, record FROM roles",
        "SELECT 'writer', id, sealed FROM writers",
    ] {
        let mut statement = db.prepare(sql).unwrap();
        let found = statement.query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, Vec<u8>>(2)?))
        });
        rows.extend(found.unwrap().map(Result::unwrap));
    }
    assert!(rows.len() >= 5);
    for (kind, id, sealed) in rows {
        let kind: &'static str =
            ["environment", "role record", "writer"].into_iter().find(|known| *known == kind).unwrap();
        assert!(old.open(place(kind, &[&store.id, &id]), &sealed).is_none(), "{kind}");
    }
    // The role goes on with its secret-id, even if it has the store open, and its new keys were sealed to it alone.
    assert!(role.get(&path(DB), None).is_ok());
    assert!(Store::open(&world.file(), &as_role(&reader)).unwrap().get(&path(DB), None).is_ok());
    // The former owner has to open the store anew, and cannot.
    assert!(matches!(former.get(&path(DB), None), Err(StoreError::Refused)));
}

/// A look at the whole store blocks no writer, however long it takes.
#[test]
fn while_somebody_looks_at_all_of_it_others_write() {
    let world = World::new();
    let mut store = world.open();
    let looked = store.look_as_owner("look", (Action::Stats, "the store"), |reading, id, root, _| {
        world.open().put(&path(DB), &fields("meanwhile"), With::default())?;
        // The look sees the store as it was at its beginning.
        let environments = super::power::environments(reading, id, root)?;
        Ok(super::rows::all_heads(reading, id, &environments[0])?[0].1.current)
    });
    assert_eq!(looked.unwrap(), 1);
    assert_eq!(store.get(&path(DB), None).unwrap().version.number, 2);
    assert!(world.findings().is_empty());
}

/// Rows of secrets that nobody can open, or with numbers that nobody uses: only these rows cannot be used.
#[test]
fn hostile_rows_keep_nobody_from_rotating_and_taking_keys_away() {
    let world = World::new();
    let mut store = world.open();
    store.put(&path("dev/app/other"), &fields("x"), With::default()).unwrap();
    store.set_policy(&path("dev/app/other"), Some(&policy()), false).unwrap();
    let adversary = world.adversary(&world.role("reader", &[Right::Read]));
    let environment = adversary.environment();
    let hostile = |row: &[u8], number: i64| {
        let sealed =
            super::rows::seal_head(&adversary.store, &environment, &[7; 32], &Proofs::default(), b"{}")
                .unwrap();
        let head = params![environment.id, row, sealed];
        adversary.db.execute("INSERT OR REPLACE INTO secrets VALUES (?1, ?2, ?3)", head).unwrap();
        let version = params![environment.id, row, number, vec![1_u8; 3], Vec::<u8>::new()];
        adversary.db.execute("INSERT INTO versions VALUES (?1, ?2, ?3, ?4, ?5)", version).unwrap();
    };
    hostile(&[7; 32], i64::MAX);
    hostile(&[8; 5], -1);
    hostile(&[], i64::MIN);
    hostile(&environment.row(DB), -1);
    assert_eq!(store.due().unwrap().now, [path("dev/app/other")]);
    let rotated = store.rotate(&path("dev/app/other"), How::Due, &Hooks::default());
    assert!(matches!(rotated, Ok(Rotated::Done { version: 2 })), "{rotated:?}");
    store.revoke_role("reader").unwrap();
    assert!(store.get(&path("dev/app/other"), None).is_ok());
    assert!(world.findings().len() >= 4, "{:?}", world.findings());
}

#[test]
fn no_number_that_a_role_writes_is_too_large() {
    for number in [u64::MAX, u64::MAX - 1, i64::MAX.cast_unsigned()] {
        let world = World::new();
        let adversary = world.adversary(&world.role("writer", &[Right::Read, Right::Write]));
        let tip = adversary.tip();
        adversary.set_tip(&Tip { number, ..tip });
        for past in [Past::Seen(None), Past::Whatever] {
            let opened = Store::open_after(&world.file(), &world.credential(), past);
            assert!(matches!(opened, Err(StoreError::Damaged { .. })), "{number}: {opened:?}");
        }
        adversary.set_tip(&tip);
        let mut head = adversary.head();
        (head.serial, head.last, head.keep) = (number, number, 0);
        adversary.plant(&head);
        let put = world.open().put(&path(DB), &fields("x"), With::default());
        assert!(!matches!(put, Ok(0)), "{put:?}");
        assert!(!world.findings().is_empty());
    }
}
