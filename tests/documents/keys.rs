//! docs/configuration.md has a line for each key that the configuration's reader knows, and no other; its types and defaults are the reader's.

use std::collections::BTreeMap;
use std::path::Path;

use squire::config::parse;
use toml::{Table, Value};

use super::explore::{Keys, Step, Way, document, name, problems, tables};
use super::listed;
use super::page::{Page, Row, codes, only_code, page};

/// What the reader says to a date, which no key takes, for each type of the page that begins so; `|` stands between several forms.
const TYPES: [(&str, &str); 25] = [
    ("text", "in quotes|such as \"|expected \""),
    ("table", "a table"),
    ("duration", "a duration in quotes"),
    ("size", "a size in quotes, such as \"1MiB\""),
    ("size of a mount", "a size in quotes, such as \"16m\""),
    ("mode", "a mode in quotes"),
    ("mask", "a mask in quotes"),
    ("boolean", "true or false"),
    ("boolean or table", "true, or a table"),
    ("boolean or `\"tree\"`", "true or false, or \"tree\""),
    ("user", "a name in quotes or a number"),
    ("group", "a name in quotes or a number"),
    ("path to read", "a path in quotes"),
    ("absolute path", "a path in quotes"),
    ("template", "a template in quotes"),
    ("command", "a list of the program and each argument"),
    ("signal", "a signal in quotes"),
    ("number", "number|how many"),
    ("number or `\"unlimited\"`", "a number from 0 up, or \"unlimited\""),
    ("limit in", "a number from 0 up, or \"unlimited\""),
    ("list of", "a list"),
    ("text or list of text", "a list"),
    ("table or text", "or a table"),
    ("[reaction](#reactions)", "a signal such as \"SIGHUP\""),
    ("list of tables", "[[file]]|[[source.NAME.token_file]]|[[credential]]"),
];

fn the_page() -> Page {
    page(Path::new("docs/configuration.md"))
}

/// The name of the table that a section is about.
fn section(page: &Page, row: &Row) -> String {
    let heading = page.above(row);
    let table = heading.codes.first().map_or("", |code| code.trim_matches(['[', ']']));
    match heading.codes.get(1).and_then(|code| code.strip_prefix("type = ")) {
        Some(kind) => format!("source.{}", kind.trim_matches('"')),
        None => table.to_owned(),
    }
}

/// Each line of the page about a key, by table and key.
fn lines(page: &Page) -> BTreeMap<(String, String), &Row> {
    let rows = page.rows.iter().filter(|row| row.head == "key");
    rows.map(|row| {
        let key = only_code(&row.cells[0])
            .unwrap_or_else(|| panic!("{}: the key is not in back quotes", row.place));
        ((section(page, row), key.to_owned()), row)
    })
    .collect()
}

/// Each key of the reader, with a way to its table.
fn keys_of_the_reader() -> BTreeMap<(String, String), Way> {
    let keys_of =
        |(way, keys): (Way, Keys)| keys.into_iter().map(move |key| ((name(&way), key), way.clone()));
    tables().into_iter().flat_map(keys_of).collect()
}

#[test]
fn every_key_has_a_line_and_every_line_a_key() {
    let page = the_page();
    let (lines, keys) = (lines(&page), keys_of_the_reader());
    let missing: Vec<_> = keys.keys().filter(|key| !lines.contains_key(*key)).collect();
    assert!(missing.is_empty(), "keys without a line in docs/configuration.md: {missing:?}");
    let unknown: Vec<_> = lines
        .iter()
        .filter(|(key, _)| !keys.contains_key(*key))
        .map(|(key, row)| (key, &row.place))
        .collect();
    assert!(unknown.is_empty(), "lines of docs/configuration.md for keys that nobody knows: {unknown:?}");
    let mut places: Vec<_> = lines.values().map(|row| &row.place).collect();
    places.dedup();
    assert_eq!(places.len(), page.rows.iter().filter(|row| row.head == "key").count(), "a key has two lines");
    for row in lines.values() {
        assert!(
            row.cells.len() == 4 && row.cells.iter().all(|cell| !cell.is_empty()),
            "{}: type, default and meaning: {:?}",
            row.place,
            row.cells
        );
    }
}

/// What the reader says to a date as the value of this key, alone or beside another one.
fn said_to_a_date(way: &[Step], key: &str, other: Option<&String>) -> String {
    let mut table: Table = other.into_iter().map(|key| (key.clone(), Value::String(String::new()))).collect();
    table.insert(key.to_owned(), Value::Datetime("1979-05-27".parse().unwrap()));
    let problems = problems(&document(way, table));
    let about = problems.iter().filter(|problem| problem.place.key.rsplit('.').next() == Some(key));
    listed(about.map(|problem| &problem.message))
}

#[test]
fn every_type_is_what_the_reader_expects() {
    let page = the_page();
    let lines = lines(&page);
    let keys = keys_of_the_reader();
    for ((table, key), way) in &keys {
        let Some(row) = lines.get(&(table.clone(), key.clone())) else { continue };
        let kind = row.cells[1].as_str();
        let fitting = TYPES.iter().filter(|(name, _)| kind.starts_with(name));
        let (_, words) = fitting.max_by_key(|(name, _)| name.len()).unwrap_or_else(|| {
            panic!("{}: {key}: a type that the test does not know: {kind}", row.place);
        });
        let beside = keys.keys().filter(|(other, _)| other == table).map(|(_, key)| Some(key));
        let said = beside.chain([None]).map(|other| said_to_a_date(way, key, other));
        let said = listed(said);
        let fits = words.split('|').any(|words| said.contains(words));
        assert!(
            fits,
            "{}: {key} is said to be of the type {kind:?}, and the reader says:\n{said}",
            row.place
        );
    }
}

/// A configuration with everything in it that other keys need.
const WHOLE: &str = r#"
[source.vault]
address = "https://vault.internal:8200"
auth.approle = { role_id = "r", secret_id_file = "/s" }
[source.store]
file = "/store"
key_file = "/key"
[source.aws]
assume_role = { arn = "arn:aws:iam::123456789012:role/app" }
[secret.NAME]
source = "vault"
path = "a/b"
[output]
dir = "/run/app"
mount = "tmpfs"
[[file]]
path = "/run/a/b"
inline = "x"
make_dir = {}
on_change = { run = ["a"] }
[[credential]]
name = "a"
units = ["b.service"]
inline = "x"
[process]
command = ["a"]
env_from = [{ secret = "NAME" }]
vault_token = "vault"
[rollout]
check = [{ run = ["a"] }]
probe = { tcp = "a:1" }
[agent]
ledger = "/run/ledger"
[audit]
file = "/var/log/audit"
anchor = "/var/lib/anchor"
[webhook]
key = "{{NAME.key}}"
[proxy]
listen = "unix:/run/vault.sock"
"#;

/// [`WHOLE`], with what this key needs in its table.
fn around(table: &str, key: &str) -> Table {
    let mut whole: Table = WHOLE.parse().unwrap();
    let auth = match table.strip_prefix("source.NAME.auth.") {
        Some("token") => "token = { file = '/t' }",
        Some("jwt") => "jwt = { role = 'r', jwt_file = '/j' }",
        Some("kubernetes") => "kubernetes = { role = 'r' }",
        Some("cert") => "cert = {}",
        Some("userpass") => "userpass = { username = 'u', password_file = '/p' }",
        Some("ldap") => "ldap = { username = 'u', password_file = '/p' }",
        Some("aws") => "aws = { role = 'r' }",
        Some("gcp") => "gcp = { role = 'r' }",
        Some("azure") => "azure = { role = 'r' }",
        _ => "approle = { role_id = 'r', secret_id_file = '/s' }",
    };
    let source = whole["source"]["vault"].as_table_mut().unwrap();
    source.insert("auth".to_owned(), Value::Table(auth.parse().unwrap()));
    if table.starts_with("source.NAME.token_file") {
        let file: Table = "token_file = [{ path = '/run/token/a', make_dir = {} }]".parse().unwrap();
        source.insert("token_file".to_owned(), file["token_file"].clone());
    }
    source.insert("client_cert_file".to_owned(), "/c".into());
    source.insert("client_key_file".to_owned(), "/k".into());
    if (table, key) == ("on_change", "method") {
        whole["file"][0]["on_change"] = Value::Table("http = 'http://a/'".parse().unwrap());
    }
    whole
}

/// The table at the end of the way.
fn at<'a>(whole: &'a mut Table, way: &[Step]) -> &'a mut Table {
    let mut steps = way.iter();
    let Some(Step::Key(first)) = steps.next() else { return whole };
    let start = whole.get_mut(first).unwrap_or_else(|| panic!("no {way:?}"));
    let end = steps.fold(start, |value, step| match step {
        Step::Key(key) => value.get_mut(key).unwrap_or_else(|| panic!("no {way:?}")),
        Step::Item => &mut value[0],
    });
    end.as_table_mut().unwrap()
}

/// What a document means, without the lines where it is said.
fn meaning(whole: &Table) -> String {
    let config = parse(Path::new("/squire.toml"), &whole.to_string(), &|_| None);
    let config = config.unwrap_or_else(|problems| panic!("{problems:?}\n{whole}"));
    let text = format!("{config:?}");
    let mut parts = text.split("line: ");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| text + "line: " + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}

#[test]
fn every_default_that_can_be_written_means_the_same_as_leaving_it_out() {
    let page = the_page();
    let lines = lines(&page);
    let mut tried = 0;
    for ((table, key), way) in keys_of_the_reader() {
        let Some(row) = lines.get(&(table.clone(), key.clone())) else { continue };
        let Some(value) =
            only_code(&row.cells[2]).and_then(|code| format!("x = {code}").parse::<Table>().ok())
        else {
            continue;
        };
        let way = if table == "on_change" {
            vec![Step::Key("file".to_owned()), Step::Item, Step::Key(table.clone())]
        } else {
            way
        };
        let mut without = around(&table, &key);
        at(&mut without, &way).remove(&key);
        let mut with = without.clone();
        at(&mut with, &way).insert(key.clone(), value["x"].clone());
        assert_eq!(meaning(&with), meaning(&without), "{}: {key} = {}", row.place, value["x"]);
        tried += 1;
    }
    assert!(tried > 30, "only {tried} defaults were tried");
}

#[test]
fn every_variable_that_stands_for_a_key_is_one_that_the_reader_asks_for() {
    let page = the_page();
    for row in page.rows.iter().filter(|row| row.head == "key") {
        let table = section(&page, row);
        let Some(kind) = table.strip_prefix("source.").filter(|kind| !kind.contains('.')) else { continue };
        let asked = std::cell::RefCell::new(Vec::new());
        let environment = |name: &str| {
            asked.borrow_mut().push(name.to_owned());
            None
        };
        drop(squire::config::survey(Path::new("squire.toml"), &format!("[source.{kind}]\n"), &environment));
        let is_variable =
            |code: &&str| code.contains('_') && code.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        for variable in codes(&row.cells[2]).filter(is_variable) {
            assert!(
                asked.borrow().iter().any(|name| name == variable),
                "{}: nobody asks for {variable}",
                row.place
            );
        }
    }
}
