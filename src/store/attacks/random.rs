//! Whatever a role does with all its keys: either it is found, or it changes only what the role may change.
//!
//! The adversary is a role that may read, one that may write, or one that administers. It has copies of the file, seals and signs with
//! every key that it was given, and writes the end of the audit. Changes that its rights allow and that it records do no harm, and are not
//! tried.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use proptest::prelude::*;
use rusqlite::Connection;

use super::world::{Adversary, DB, World, as_role, fields, path, policy};
use crate::store::access::{Credential, Past, Store};
use crate::store::audit::{About, Action};
use crate::store::charter::charter;
use crate::store::file::File;
use crate::store::head::Head;
use crate::store::keys::Tip;
use crate::store::query::Query;
use crate::store::role::Right;
use crate::store::seal::Key;
use crate::store::values::With;
use crate::store::witness::Witness;

const TABLES: [&str; 8] =
    ["meta", "environments", "roles", "writers", "secrets", "folders", "versions", "audit"];

/// A store with a history, and three roles that may attack it.
struct Stage {
    world: World,
    roles: Vec<(String, Key)>,
    copies: Vec<PathBuf>,
    witness: Witness,
    says: Vec<String>,
}

/// The attacks of the role.
#[derive(Clone, Debug)]
enum Deed {
    /// Puts an earlier table in place of the present one.
    Table { table: usize, copy: usize },
    /// Writes the head of a secret anew, with a change.
    Plant { what: usize },
    /// Drops its own entries and writes the chain anew, as far as it can.
    Drop,
    /// Drops the end of the audit.
    Cut { entries: usize },
    /// Writes an entry of an action that it did not do.
    Claim { what: usize },
    /// Binds the rows that hold keys, as they are, to the end of the audit.
    Bind,
    /// Writes another end.
    End { era: u64, number: u64 },
    /// Changes the number of log-ins of roles.
    Uses { uses: i64 },
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        (0..TABLES.len(), 0..2_usize).prop_map(|(table, copy)| Deed::Table { table, copy }),
        (0..6_usize).prop_map(|what| Deed::Plant { what }),
        Just(Deed::Drop),
        (1..6_usize).prop_map(|entries| Deed::Cut { entries }),
        (0..4_usize).prop_map(|what| Deed::Claim { what }),
        Just(Deed::Bind),
        (0..2_u64, 0..60_u64).prop_map(|(era, number)| Deed::End { era, number }),
        (0..3_i64).prop_map(|uses| Deed::Uses { uses }),
    ]
}

impl Stage {
    fn shared() -> &'static Self {
        static STAGE: OnceLock<Stage> = OnceLock::new();
        STAGE.get_or_init(Self::make)
    }

    fn make() -> Self {
        let world = World::new();
        let copy = |number: usize| {
            let copy = world.directory.path().join(format!("copy-{number}"));
            Store::back_up(&world.file(), &copy).unwrap();
            copy
        };
        let kinds: [(&str, &[Right]); 3] = [
            ("reader", &[Right::Read]),
            ("writer", &[Right::Read, Right::Write, Right::Rotate]),
            ("admin", &[Right::Read, Right::Admin]),
        ];
        let pairs = kinds.map(|(name, rights)| world.role(name, rights));
        let roles = pairs.iter().map(|pair| (pair.id.clone(), world.adversary(pair).key)).collect();
        let mut store = world.open();
        store.set_policy(&path(DB), Some(&policy()), false).unwrap();
        let first = copy(0);
        Store::open(&world.file(), &as_role(&pairs[0])).unwrap().get(&path(DB), None).unwrap();
        store.put(&path(DB), &fields("second"), With::default()).unwrap();
        store.put(&path("prod/app/db"), &fields("other"), With::default()).unwrap();
        let second = copy(1);
        Store::open(&world.file(), &as_role(&pairs[1])).unwrap().get(&path(DB), None).unwrap();
        store.put(&path(DB), &fields("third"), With::default()).unwrap();
        let says = says(&mut store);
        let witness = store.witness().unwrap();
        drop(store);
        let now = copy(2);
        Self { world, roles, copies: vec![first, second, now], witness, says }
    }

    fn adversary(&self, which: usize, file: &Path) -> Adversary {
        let (id, key) = &self.roles[which];
        Adversary {
            db: Connection::open(file).unwrap(),
            store: self.witness.store,
            role: crate::hex::unhex(id).unwrap(),
            key: key.clone(),
        }
    }

    /// What the owner reads, who has a witness of the store as it was; `None` if the store is refused, or `verify` finds something.
    fn believed(&self, file: &Path) -> Option<Vec<String>> {
        let credential: Credential = self.world.credential();
        let mut store = Store::open_after(file, &credential, Past::Seen(Some(&self.witness))).ok()?;
        let report = store.verify(None).ok()?;
        report.findings.is_empty().then(|| says(&mut store))
    }
}

/// Everything that a store tells its owner, except what looking itself adds and what roles write about themselves.
fn says(store: &mut Store) -> Vec<String> {
    let mut says = Vec::new();
    for head in store.list("").unwrap() {
        let value = store.get(&path(&head.path), None).unwrap().fields;
        says.push(format!("{} {:?} {head:?}", head.path, value.expose()));
    }
    says.extend(store.roles().unwrap().into_iter().map(|role| format!("{role:?}")));
    let looks = [Action::List, Action::Read, Action::RoleList, Action::LogIn, Action::Verify, Action::Audit];
    let entries = store.query(&Query::default()).unwrap().into_iter();
    says.extend(
        entries
            .filter(|entry| entry.who == "owner" && !looks.contains(&entry.action))
            .map(|entry| format!("{entry:?}")),
    );
    says
}

impl Deed {
    /// Performs the attack. If the role's own keys no longer open what it changed before, the attack is left out.
    fn perform(&self, adversary: &Adversary, file: &Path, copies: &[PathBuf]) -> Option<()> {
        match self {
            Self::Table { table, copy } => {
                let (table, copy) = (TABLES[*table], copies[*copy].to_str()?);
                adversary.db.execute("ATTACH ?1 AS before", [copy]).ok()?;
                let sql = format!(
                    "DELETE FROM {table}; INSERT INTO {table} SELECT * FROM before.{table}; DETACH before"
                );
                adversary.db.execute_batch(&sql).unwrap();
            }
            Self::Plant { what } => {
                let mut head = adversary.try_head()?;
                change(&mut head, *what);
                adversary.plant(&head);
            }
            Self::Drop => {
                let mine = adversary.try_keys()?.writer;
                adversary.try_tip()?;
                let kept = adversary.entries().into_iter().filter(|(_, writer, _)| *writer != mine);
                adversary.rewrite(
                    kept.map(|(_, writer, sealed)| (writer, sealed)).collect::<Vec<_>>().into_iter(),
                );
            }
            Self::Cut { entries } => {
                adversary.try_tip()?;
                let mut all = adversary.entries();
                all.truncate(all.len().saturating_sub(*entries));
                adversary.rewrite(all.into_iter().map(|(_, writer, sealed)| (writer, sealed)));
            }
            Self::Claim { what } => {
                adversary.try_tip()?;
                let action = [Action::Verify, Action::RoleAdd, Action::AcceptRestore, Action::Rekey][*what];
                adversary.append(&adversary.try_keys()?.writer, action, About::Named("mine".to_owned()));
            }
            Self::Bind => {
                let tip = adversary.try_tip()?;
                let keys = charter(&File::open(file).ok()?.read().ok()?).ok()?;
                adversary.set_tip(&Tip { keys, ..tip });
            }
            Self::End { era, number } => {
                let tip = adversary.try_tip()?;
                adversary.set_tip(&Tip { era: *era, number: *number, ..tip });
            }
            Self::Uses { uses } => {
                adversary.db.execute("UPDATE roles SET uses = ?1", [uses]).unwrap();
            }
        }
        Some(())
    }
}

/// A head that the role had no right to write, or did not record.
fn change(head: &mut Head, what: usize) {
    match what {
        0 => head.policy = None,
        1 => head.current = 1,
        2 => head.note = Some("mine".to_owned()),
        3 => head.versions.truncate(1),
        4 => head.serial += 1,
        _ => head.versions[0].digest = [7; 32],
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_a_role_does_with_its_keys_is_found_or_changes_nothing(
        which in 0..3_usize,
        deeds in prop::collection::vec(deed(), 1..5),
    ) {
        let stage = Stage::shared();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("store");
        fs::copy(stage.copies.last().unwrap(), &file).unwrap();
        let adversary = stage.adversary(which, &file);
        for deed in &deeds {
            deed.perform(&adversary, &file, &stage.copies);
        }
        drop(adversary);
        if let Some(says) = stage.believed(&file) {
            prop_assert_eq!(&says, &stage.says);
        }
    }
}

#[test]
fn what_no_role_touched_is_believed() {
    let stage = Stage::shared();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("store");
    fs::copy(stage.copies.last().unwrap(), &file).unwrap();
    assert_eq!(stage.believed(&file).as_ref(), Some(&stage.says));
}
