//! Whatever somebody does to the rows of the file, it is found, or it changes nothing.
//!
//! The adversary may write the file and has earlier copies of it, but no key: a thief of the disk, a backup tool, another container. Edits,
//! swaps, cuts and earlier rows are drawn at random, several at once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use proptest::prelude::*;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use serde_json::json;
use squire::secret::Secret;
use squire::store::{
    Credential, Generator, NewRole, OwnerSecret, Past, Policy, Query, Right, SecretPath, Store, With, Witness,
};
use tempfile::TempDir;

/// The tables that matter. Nothing relies on `refused` and `changes`: they only count refused log-ins and changes.
const TABLES: [&str; 8] =
    ["meta", "environments", "roles", "writers", "secrets", "folders", "versions", "audit"];

/// A store with a history.
struct World {
    _directory: TempDir,
    owner: Credential,
    /// Copies of it, the last one in its present state.
    copies: Vec<PathBuf>,
    /// The last witness.
    witness: Witness,
    /// Its contents.
    says: Vec<String>,
}

/// The attacks.
#[derive(Clone, Debug)]
enum Harm {
    /// Removes a row.
    Cut { table: usize, row: prop::sample::Index },
    /// Changes a byte, or a number.
    Edit {
        table: usize,
        row: prop::sample::Index,
        column: prop::sample::Index,
        at: prop::sample::Index,
        flip: u8,
    },
    /// Copies a cell from one row to another.
    Swap { table: usize, rows: [prop::sample::Index; 2], column: prop::sample::Index },
    /// Replaces a whole table by an earlier one.
    Table { table: usize, copy: prop::sample::Index },
    /// Replaces one row by an earlier one, or adds it.
    Row { table: usize, copy: prop::sample::Index, row: prop::sample::Index },
    /// Removes the last entries of the audit.
    End { entries: usize },
    /// Replaces the whole file by an earlier one.
    File { copy: prop::sample::Index },
}

fn harm() -> impl Strategy<Value = Harm> {
    let (table, index) = (|| 0..TABLES.len(), any::<prop::sample::Index>);
    prop_oneof![
        (table(), index()).prop_map(|(table, row)| Harm::Cut { table, row }),
        (table(), index(), index(), index(), 1_u8..).prop_map(|(table, row, column, at, flip)| Harm::Edit {
            table,
            row,
            column,
            at,
            flip
        }),
        (table(), [index(), index()], index()).prop_map(|(table, rows, column)| Harm::Swap {
            table,
            rows,
            column
        }),
        (table(), index()).prop_map(|(table, copy)| Harm::Table { table, copy }),
        (table(), index(), index()).prop_map(|(table, copy, row)| Harm::Row { table, copy, row }),
        (1_usize..8).prop_map(|entries| Harm::End { entries }),
        index().prop_map(|copy| Harm::File { copy }),
    ]
}

impl World {
    fn shared() -> &'static Self {
        static WORLD: OnceLock<World> = OnceLock::new();
        WORLD.get_or_init(Self::make)
    }

    fn make() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("store");
        let secret = OwnerSecret::Key(Store::new_key().unwrap());
        Store::init(&file, &secret).unwrap();
        let owner = Credential::Owner(secret);
        let mut store = Store::open(&file, &owner).unwrap();
        let mut copies = Vec::new();
        let mut copy = || {
            let copy = directory.path().join(format!("copy-{}", copies.len()));
            let db = Connection::open(&file).unwrap();
            db.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
            copies.push(copy);
        };
        let path = |text: &str| SecretPath::parse(text).unwrap();
        let put = |store: &mut Store, at: &str, value: &str| {
            let fields = json!({ "password": value }).as_object().unwrap().clone();
            store.put(&path(at), &Secret::new(fields), With::default()).unwrap();
        };
        put(&mut store, "dev/app/db", "one");
        put(&mut store, "prod/app/db", "two");
        let grants = |right, glob: &str| BTreeMap::from([(right, vec![glob.to_owned()])]);
        let role = |name: &str, right, glob| NewRole {
            name: name.to_owned(),
            grants: grants(right, glob),
            expires: None,
            uses: Some(5),
        };
        let reader = store.add_role(&role("reader", Right::Read, "dev/**"), |_| Ok(())).unwrap();
        store.add_role(&role("leaver", Right::Write, "dev/**"), |_| Ok(())).unwrap();
        copy();
        let as_reader = Credential::Role { id: reader.id, secret_id: reader.secret_id };
        Store::open(&file, &as_reader).unwrap().get(&path("dev/app/db"), None).unwrap();
        put(&mut store, "dev/app/db", "three");
        put(&mut store, "dev/app/other", "four");
        let policy = Policy {
            every: Some(Duration::from_hours(24)),
            generator: Generator::Uuid,
            field: None,
            windows: Vec::new(),
            grace: None,
            needs_approval: true,
            hook: None,
            timeout: Duration::from_secs(1),
        };
        store.set_policy(&path("dev/app/db"), Some(&policy), false).unwrap();
        copy();
        store.destroy(&path("dev/app/db"), &[1], false).unwrap();
        store.revoke_role("leaver").unwrap();
        copy();
        put(&mut store, "prod/app/db", "five");
        store.approve(&path("dev/app/db")).unwrap();
        let says = says(&mut store);
        let witness = store.witness().unwrap();
        copy();
        Self { says, witness, _directory: directory, owner, copies }
    }

    fn now(&self) -> &Path {
        self.copies.last().unwrap()
    }
}

/// Everything that a store tells its owner: every value, every head, every role and every entry that others wrote.
fn says(store: &mut Store) -> Vec<String> {
    let mut says = Vec::new();
    for head in store.list("").unwrap() {
        for version in &head.versions {
            let value = store.get(&SecretPath::parse(&head.path).unwrap(), Some(version.number));
            says.push(format!("{} {:?}", head.path, value.map(|value| value.fields.expose().clone()).ok()));
        }
        says.push(format!("{head:?}"));
    }
    says.extend(store.roles().unwrap().into_iter().map(|role| format!("{role:?}")));
    // The entries of this look itself come later.
    let looks = ["list", "read", "role-list", "log-in", "verify", "audit"];
    let entries = store.query(&Query::default()).unwrap().into_iter();
    let others =
        entries.filter(|entry| entry.who != "owner" || !looks.contains(&entry.action.word().as_str()));
    says.extend(others.map(|entry| format!("{entry:?}")));
    says
}

/// What an owner reads who opens the store now; `None` if it is refused, or `verify` finds something.
fn believed(file: &Path, world: &World) -> Option<Vec<String>> {
    let mut store = Store::open_after(file, &world.owner, Past::Seen(Some(&world.witness))).ok()?;
    let report = store.verify(None).ok()?;
    report.findings.is_empty().then(|| says(&mut store))
}

impl Harm {
    /// Performs the attack, if it is possible.
    fn apply(&self, file: &Path, world: &World) {
        if let Self::File { copy } = self {
            fs::copy(copy.get(&world.copies), file).unwrap();
            return;
        }
        let db = Connection::open(file).unwrap();
        db.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        match self {
            Self::Cut { table, row } => {
                let rows = rows(&db, TABLES[*table]);
                if !rows.is_empty() {
                    let (kept, table) = (row.index(rows.len()), TABLES[*table]);
                    write(
                        &db,
                        table,
                        rows.into_iter().enumerate().filter(|(at, _)| *at != kept).map(|(_, row)| row),
                    );
                }
            }
            Self::Edit { table, row, column, at, flip } => {
                let mut rows = rows(&db, TABLES[*table]);
                if let Some(row) = pick(&mut rows, *row) {
                    let column = column.index(row.len());
                    edit(&mut row[column], *at, *flip);
                }
                write(&db, TABLES[*table], rows.into_iter());
            }
            Self::Swap { table, rows: [one, other], column } => {
                let mut rows = rows(&db, TABLES[*table]);
                if let Some(from) = pick(&mut rows, *other).cloned() {
                    let column = column.index(from.len());
                    pick(&mut rows, *one).unwrap()[column] = from[column].clone();
                }
                write(&db, TABLES[*table], rows.into_iter());
            }
            Self::Table { table, copy } => {
                let before = rows(&Connection::open(copy.get(&world.copies)).unwrap(), TABLES[*table]);
                write(&db, TABLES[*table], before.into_iter());
            }
            Self::Row { table, copy, row } => {
                let mut before = rows(&Connection::open(copy.get(&world.copies)).unwrap(), TABLES[*table]);
                let row = pick(&mut before, *row).cloned();
                let now = rows(&db, TABLES[*table]);
                write(&db, TABLES[*table], now.into_iter().chain(row));
            }
            Self::End { entries } => {
                let mut rows = rows(&db, "audit");
                rows.truncate(rows.len().saturating_sub(*entries));
                write(&db, "audit", rows.into_iter());
            }
            Self::File { .. } => {}
        }
    }
}

type Row = Vec<Value>;

fn pick(rows: &mut [Row], which: prop::sample::Index) -> Option<&mut Row> {
    if rows.is_empty() { None } else { Some(which.get_mut(rows)) }
}

fn edit(cell: &mut Value, at: prop::sample::Index, flip: u8) {
    match cell {
        Value::Blob(bytes) if !bytes.is_empty() && flip > 16 => *at.get_mut(bytes) ^= flip,
        Value::Blob(bytes) if !bytes.is_empty() && flip > 8 => bytes.truncate(at.index(bytes.len())),
        Value::Integer(number) => *number = number.wrapping_add(i64::from(flip) - 128),
        Value::Text(text) => text.push('x'),
        Value::Blob(bytes) => bytes.push(flip),
        Value::Null | Value::Real(_) => {}
    }
}

fn rows(db: &Connection, table: &str) -> Vec<Row> {
    let mut statement = db.prepare(&format!("SELECT * FROM {table}")).unwrap();
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| (0..columns).map(|column| row.get(column)).collect());
    rows.unwrap().map(Result::unwrap).collect()
}

fn write(db: &Connection, table: &str, rows: impl Iterator<Item = Row>) {
    db.execute(&format!("DELETE FROM {table}"), []).unwrap();
    for row in rows {
        let places = vec!["?"; row.len()].join(", ");
        let sql = format!("INSERT OR REPLACE INTO {table} VALUES ({places})");
        db.execute(&sql, params_from_iter(row)).ok();
    }
}

#[test]
fn what_nobody_touched_is_believed() {
    let world = World::shared();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("store");
    fs::copy(world.now(), &file).unwrap();
    assert_eq!(believed(&file, world).as_ref(), Some(&world.says));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_is_done_to_its_rows_is_found_or_changes_nothing(harms in prop::collection::vec(harm(), 1..5)) {
        let world = World::shared();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("store");
        fs::copy(world.now(), &file).unwrap();
        for harm in &harms {
            harm.apply(&file, world);
        }
        if let Some(says) = believed(&file, world) {
            prop_assert_eq!(&says, &world.says);
        }
    }
}
