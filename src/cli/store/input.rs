//! The input of a `put`: from stdin, a file, or a prompt without echo.
//!
//! *Invariant:* no error contains the input.

use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Read};
use std::path::Path;
use std::sync::OnceLock;

use serde_json::Value;

use super::Failed;
use crate::config::ServerVariables;
use crate::harden;
use crate::secret::{Fields, Secret};
use crate::source::Fault;
use crate::source::wrapped::{self, Closed, Wrapped, Written};
use crate::store::{LARGEST_VALUE, StoreError};

/// The field of a value without a field name.
const VALUE: &str = "value";

/// The shortest passphrase: a few words, so that nobody can try them all, even with a copy of the store.
const SHORTEST_PASSPHRASE: usize = 12;

/// The fields to store.
pub(super) fn fields(written: &[String], file: Option<&Path>) -> Result<Secret<Fields>, Failed> {
    match (written, file) {
        ([], Some(file)) => {
            let failed = |source| StoreError::Io { doing: "read", file: file.to_owned(), source };
            let opened = File::open(file).map_err(failed)?;
            whole(&text(opened).map_err(failed)?)
        }
        ([], None) if io::stdin().is_terminal() => Ok(one(prompt(VALUE)?)),
        ([], None) => whole(&text(io::stdin().lock()).map_err(stdin)?),
        (_, Some(_)) => Err(Failed::Usage("--file holds all fields: leave out the others, or it".to_owned())),
        (written, None) => named(written),
    }
}

/// A credential file: one line, or a document that says who unwraps it.
pub(super) fn credential(file: &Path) -> Result<Secret<str>, Failed> {
    match wrapped::read_patiently(file).map_err(|closed| not_opened(file, &closed))? {
        Written::Plain(credential) => Ok(credential),
        wrapped @ Written::Wrapped(_) => {
            let asks_server = matches!(wrapped, Written::Wrapped(Wrapped::Transit(_)));
            let opened = waited_for(wrapped::open(wrapped, server()))?;
            if asks_server {
                // The commands of a rotation inherit this environment, and must not get these variables.
                harden::forget(&server().credentials());
            }
            opened.map_err(|closed| not_opened(file, &closed))
        }
    }
}

/// The server that the variables name. They are read once, since they are blanked afterwards.
pub(super) fn server() -> &'static ServerVariables {
    static SERVER: OnceLock<ServerVariables> = OnceLock::new();
    SERVER.get_or_init(|| ServerVariables::of(&|name| std::env::var(name).ok()))
}

/// Blocks until the future is done: a command does only one thing.
pub(super) fn waited_for<T>(future: impl Future<Output = T>) -> Result<T, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failed::Usage(format!("cannot start the runtime: {error}")))?;
    Ok(runtime.block_on(future))
}

fn not_opened(file: &Path, closed: &Closed) -> Failed {
    let why = match closed {
        Closed::File(why) => why.clone(),
        Closed::Server(fault @ Fault::Unreachable { .. }) => format!(
            "cannot be unwrapped: the server {fault}; without it only the plain credential opens the store, which is perhaps in shares \
             (`squire store key combine`)"
        ),
        Closed::Server(_) | Closed::Way(_) => format!("cannot be unwrapped: {closed}"),
    };
    StoreError::Credential { what: file.display().to_string(), why }.into()
}

/// A JSON object gives its fields; any other text is one value, without the line end that editors and `echo` add.
fn whole(text: &str) -> Result<Secret<Fields>, Failed> {
    if let Ok(Value::Object(fields)) = serde_json::from_str(text) {
        return if fields.is_empty() {
            Err(Failed::Usage("the JSON object has no field".to_owned()))
        } else {
            Ok(Secret::new(fields))
        };
    }
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(Failed::Usage("there is nothing on stdin to store".to_owned()));
    }
    Ok(one(text.to_owned()))
}

fn one(text: String) -> Secret<Fields> {
    Secret::new(Fields::from_iter([(VALUE.to_owned(), Value::String(text))]))
}

fn named(written: &[String]) -> Result<Secret<Fields>, Failed> {
    let mut fields = Fields::new();
    for word in written {
        let Some((name, value)) = word.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(Failed::Usage(
                "a value is not taken from the command line, where every user of the machine sees it and the shell keeps it: pipe it in, \
                 name a file with --file, or write FIELD=- to be asked"
                    .to_owned(),
            ));
        };
        let value = if value == "-" { marked(name)? } else { value.to_owned() };
        if fields.insert(name.to_owned(), Value::String(value)).is_some() {
            return Err(Failed::Usage(format!("the field {name} is there twice")));
        }
    }
    Ok(Secret::new(fields))
}

/// A line of stdin, or text that is typed without echo.
fn marked(name: &str) -> Result<String, Failed> {
    if io::stdin().is_terminal() {
        return prompt(name);
    }
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line).map_err(stdin)?;
    if read == 0 {
        return Err(Failed::Usage(format!("stdin has no line for the field {name}")));
    }
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// Asked for at a prompt on the terminal.
pub(super) fn passphrase() -> Result<Secret<str>, Failed> {
    if !io::stdin().is_terminal() {
        return Err(Failed::Usage(
            "this store wants its passphrase: run it on a terminal, or name a file with --passphrase-file"
                .to_owned(),
        ));
    }
    prompt("passphrase").map(Secret::new)
}

/// Asked for twice, or read from a file.
pub(super) fn new_passphrase(file: Option<&Path>) -> Result<Secret<str>, Failed> {
    let passphrase = if let Some(file) = file {
        credential(file)?
    } else {
        let first = passphrase()?;
        if prompt("the same again")? != first.expose() {
            return Err(Failed::Usage("the two passphrases differ".to_owned()));
        }
        first
    };
    if passphrase.expose().chars().count() < SHORTEST_PASSPHRASE {
        return Err(Failed::Usage(format!(
            "a passphrase of less than {SHORTEST_PASSPHRASE} characters can be guessed: take several words"
        )));
    }
    Ok(passphrase)
}

fn prompt(name: &str) -> Result<String, Failed> {
    rpassword::prompt_password(format!("{name}: ")).map_err(stdin)
}

/// A text that is longer than any value may be is not read to its end.
fn text(from: impl Read) -> io::Result<String> {
    let mut text = String::new();
    from.take(2 * LARGEST_VALUE as u64).read_to_string(&mut text)?;
    Ok(text)
}

fn stdin(source: io::Error) -> Failed {
    StoreError::Io { doing: "read", file: "stdin".into(), source }.into()
}
