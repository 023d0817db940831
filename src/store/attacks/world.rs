//! A store, and a role in it that has a program of its own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use rusqlite::{Connection, params};
use serde_json::json;
use tempfile::TempDir;

use crate::hex::unhex;
use crate::secret::{Fields, Secret};
use crate::store::access::{Credential, NewRole, Past, RoleKeyPair, Store};
use crate::store::audit::{About, Action, Entry, Outcome, Spot};
use crate::store::chance::nonce;
use crate::store::cost::Cost;
use crate::store::envelope;
use crate::store::generator::Generator;
use crate::store::head::Head;
use crate::store::keys::{self, Environment, Id, RoleKeys, Seed, Tip};
use crate::store::moment::Moment;
use crate::store::owner::OwnerSecret;
use crate::store::path::SecretPath;
use crate::store::policy::Policy;
use crate::store::power::TIP;
use crate::store::proof::{self, Proofs};
use crate::store::role::Right;
use crate::store::rows;
use crate::store::seal::{Key, place};
use crate::store::values::With;

pub(super) const DB: &str = "dev/app/db";

/// A store, and its owner.
pub(super) struct World {
    pub(super) directory: TempDir,
    pub(super) owner: OwnerSecret,
}

/// A role with a program of its own.
pub(super) struct Adversary {
    pub(super) db: Connection,
    pub(super) store: Id,
    pub(super) role: Id,
    pub(super) key: Key,
}

pub(super) fn path(text: &str) -> SecretPath {
    SecretPath::parse(text).unwrap()
}

pub(super) fn fields(value: &str) -> Secret<Fields> {
    Secret::new(json!({ "password": value }).as_object().unwrap().clone())
}

pub(super) fn policy() -> Policy {
    Policy {
        every: Some(Duration::from_millis(1)),
        generator: Generator::Uuid,
        field: None,
        windows: Vec::new(),
        grace: None,
        needs_approval: false,
        hook: None,
        timeout: Duration::from_secs(1),
    }
}

impl World {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let owner = OwnerSecret::Key(Store::new_key().unwrap());
        let world = Self { directory, owner };
        Store::init(&world.file(), &world.owner).unwrap();
        world.open().put(&path(DB), &fields("first"), With::default()).unwrap();
        world
    }

    pub(super) fn file(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    pub(super) fn credential(&self) -> Credential {
        Credential::Owner(self.owner.clone())
    }

    pub(super) fn open(&self) -> Store {
        Store::open(&self.file(), &self.credential()).unwrap()
    }

    pub(super) fn role(&self, name: &str, rights: &[Right]) -> RoleKeyPair {
        let grants =
            rights.iter().map(|right| (*right, vec!["dev/app/*".to_owned()])).collect::<BTreeMap<_, _>>();
        let new = NewRole { name: name.to_owned(), grants, expires: None, uses: None };
        self.open().add_role(&new, |_| Ok(())).unwrap()
    }

    pub(super) fn findings(&self) -> Vec<String> {
        let mut store = Store::open_after(&self.file(), &self.credential(), Past::Whatever).unwrap();
        let report = store.verify(None).unwrap();
        report.findings.into_iter().map(|finding| format!("{}: {}", finding.place, finding.why)).collect()
    }

    pub(super) fn adversary(&self, pair: &RoleKeyPair) -> Adversary {
        let db = Connection::open(self.file()).unwrap();
        let role: Id = unhex(&pair.id).unwrap();
        let salt: Vec<u8> =
            db.query_row("SELECT salt FROM roles WHERE id = ?1", [role], |row| row.get(0)).unwrap();
        let store = db.query_row("SELECT value FROM meta WHERE name = 'id'", [], |row| row.get(0)).unwrap();
        let key = Cost::SECRET_ID.key(pair.secret_id.expose(), &salt).unwrap();
        Adversary { db, store, role, key }
    }
}

pub(super) fn as_role(pair: &RoleKeyPair) -> Credential {
    Credential::Role { id: pair.id.clone(), secret_id: pair.secret_id.clone() }
}

impl Adversary {
    pub(super) fn keys(&self) -> RoleKeys {
        self.try_keys().unwrap()
    }

    /// Its keys, if its row is there.
    pub(super) fn try_keys(&self) -> Option<RoleKeys> {
        let sql = "SELECT sealed FROM roles WHERE id = ?1";
        let sealed: Vec<u8> = self.db.query_row(sql, [self.role], |row| row.get(0)).ok()?;
        let opened = envelope::open(&self.key, place("role", &[&self.store, &self.role]), &sealed)?;
        serde_json::from_slice(opened.expose()).ok()
    }

    pub(super) fn environment(&self) -> Environment {
        self.keys().environments.remove(0)
    }

    pub(super) fn head(&self) -> Head {
        self.try_head().unwrap()
    }

    /// The head of [`DB`], if it is there and opens.
    pub(super) fn try_head(&self) -> Option<Head> {
        let environment = self.try_keys()?.environments.into_iter().next()?;
        let row = environment.row(DB);
        let sql = "SELECT head FROM secrets WHERE row = ?1";
        let sealed: Vec<u8> = self.db.query_row(sql, [row], |row| row.get(0)).ok()?;
        Some(rows::open_head(&self.store, &environment, &row, &sealed)?.0)
    }

    /// Writes a head, with as many of the signatures as the role can make.
    pub(super) fn plant(&self, head: &Head) {
        let environment = self.environment();
        let text = serde_json::to_vec(head).unwrap();
        let mut proofs = head.proofs;
        if let Some(Seed(write)) = &environment.write {
            proofs.head = proof::written(&self.store, &environment, write, &text);
        }
        self.plant_with(&environment, &text, &proofs);
    }

    pub(super) fn plant_with(&self, environment: &Environment, text: &[u8], proofs: &Proofs) {
        let row = environment.row(DB);
        let sealed = rows::seal_head(&self.store, environment, &row, proofs, text).unwrap();
        self.db.execute("UPDATE secrets SET head = ?2 WHERE row = ?1", params![row, sealed]).unwrap();
    }

    pub(super) fn tip(&self) -> Tip {
        self.try_tip().unwrap()
    }

    /// The end of the audit, if the role's keys open it.
    pub(super) fn try_tip(&self) -> Option<Tip> {
        let sql = "SELECT value FROM meta WHERE name = ?1";
        let tip: Vec<u8> = self.db.query_row(sql, [TIP], |row| row.get(0)).ok()?;
        keys::open(&self.try_keys()?.tip, place(TIP, &[&self.store]), &tip)
    }

    pub(super) fn set_tip(&self, tip: &Tip) {
        let sealed = keys::seal(&self.keys().tip, nonce().unwrap(), place(TIP, &[&self.store]), tip).unwrap();
        self.db.execute("UPDATE meta SET value = ?2 WHERE name = ?1", params![TIP, sealed]).unwrap();
    }

    pub(super) fn entries(&self) -> Vec<(u64, Id, Vec<u8>)> {
        let mut rows = self.db.prepare("SELECT number, writer, sealed FROM audit ORDER BY number").unwrap();
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    /// Writes the chain anew from these entries, each sealed by its own writer or as it was, and a tip for it.
    pub(super) fn rewrite(&self, entries: impl Iterator<Item = (Id, Vec<u8>)>) {
        self.db.execute("DELETE FROM audit", []).unwrap();
        let mut tip = Tip { number: 0, link: Tip::NONE.link, ..self.tip() };
        for (writer, sealed) in entries {
            let number = tip.number + 1;
            self.db
                .execute("INSERT INTO audit VALUES (?1, ?2, ?3)", params![number, writer, sealed])
                .unwrap();
            let link = Spot { store: &self.store, number, before: &tip.link, writer: &writer }.link(&sealed);
            tip = Tip { number, link, ..tip };
        }
        self.set_tip(&tip);
    }

    /// Appends an entry in the name of any writer.
    pub(super) fn append(&self, writer: &Id, action: Action, about: About) {
        let tip = self.tip();
        let entry = Entry { at: Moment::from_millis(1), action, outcome: Outcome::Done, about };
        let spot = Spot { store: &self.store, number: tip.number + 1, before: &tip.link, writer };
        let (sealed, link) = spot.seal(&self.keys().writer_key, nonce().unwrap(), &entry).unwrap();
        self.db
            .execute("INSERT OR REPLACE INTO audit VALUES (?1, ?2, ?3)", params![spot.number, writer, sealed])
            .unwrap();
        self.set_tip(&Tip { number: spot.number, link, ..tip });
    }
}
