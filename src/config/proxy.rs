//! `[proxy]`: programs that speak the API of Vault ask Squire instead of the server.
//!
//! *Invariant:* it listens on this machine alone, and its source is a server with that API.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::reader::{Table, Value, every};
use super::value::{Account, DURATION, Form, WORD};
use super::{Place, SourceConfig, output};
use crate::names::SourceName;

/// `[proxy]`
#[derive(Clone, Debug, PartialEq)]
pub struct ProxyConfig {
    /// `listen`
    pub listen: ProxyListen,
    /// `source`; may be left out where only one is a server with this API.
    pub source: SourceName,
    /// `paths`: patterns as in a policy; `None` is what the secrets of the source ask for.
    pub paths: Option<Vec<String>>,
    /// `users`: who may connect to the socket beside root and Squire's own user; `None` is the user of the process.
    pub users: Option<Vec<Account>>,
    /// `auto_auth`. Default `always`.
    pub auto_auth: AutoAuth,
    /// `rate`: requests a second for each client. Default 50.
    pub rate: u32,
    /// `cache`: how long a static value may be given to others who ask for it. Default not at all.
    pub cache: Duration,
    /// `stale`: how much longer it may be given while the server cannot be reached. Default not at all.
    pub stale: Duration,
    /// Where it stands in the configuration.
    pub place: Place,
}

/// Where the proxy listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyListen {
    /// `unix:PATH`
    Socket(PathBuf),
    /// An address of this machine, with a port.
    Loopback(SocketAddr),
}

/// Whose token counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoAuth {
    /// Squire's: what a client sends is dropped.
    Always,
    /// The client's if it sends one, else Squire's.
    IfMissing,
}

/// A client may ask no more often than this.
const FASTEST: u32 = 100_000;

/// What a client may ask a second, if nothing is said.
const USUAL_RATE: u32 = 50;

/// Reads `[proxy]`.
pub(super) fn proxy(
    table: Option<Table<'_>>,
    sources: &BTreeMap<SourceName, SourceConfig>,
) -> Option<ProxyConfig> {
    let mut table = table?;
    let listen = table.require("listen", "listen = \"unix:/run/squire/vault.sock\"");
    let listen = listen.and_then(|listen| listen.read(&LISTEN));
    let source = source(&mut table, sources);
    let paths = table.take("paths").map(|value| paths(&value));
    let users = table.take("users");
    if let (Some(users), Some(ProxyListen::Loopback(_))) = (&users, &listen) {
        users.report("over TCP nobody can tell whose program asks; listen at a socket: listen = \"unix:/run/squire/vault.sock\"");
    }
    let users = users.map(|value| {
        let items = value.list("a list of users, such as [\"app\", 1000]");
        items.and_then(|items| every(items.iter().map(output::account))).unwrap_or_default()
    });
    let auto_auth = table.read("auto_auth", &AUTO_AUTH).unwrap_or(AutoAuth::Always);
    let rate = table.take("rate").and_then(|value| rate(&value)).unwrap_or(USUAL_RATE);
    let cache = table.read("cache", &DURATION).unwrap_or_default();
    let stale = table.read("stale", &DURATION).unwrap_or_default();
    let place = table.place().clone();
    table.finish();
    Some(ProxyConfig {
        listen: listen?,
        source: source?,
        paths: paths.map(Option::unwrap_or_default),
        users,
        auto_auth,
        rate,
        cache,
        stale,
        place,
    })
}

fn source(table: &mut Table<'_>, sources: &BTreeMap<SourceName, SourceConfig>) -> Option<SourceName> {
    let is_server = |source: &SourceConfig| matches!(source, SourceConfig::Vault(_));
    let servers: Vec<_> =
        sources.iter().filter(|(_, source)| is_server(source)).map(|(name, _)| name).collect();
    if let Some(value) = table.take("source") {
        let name = SourceName::new(value.read(&WORD)?);
        return match sources.get(&name) {
            Some(source) if is_server(source) => Some(name),
            Some(_) => {
                value.report(
                    "is no server with the API of Vault; the proxy needs a source of type = \"vault\"",
                );
                None
            }
            None => {
                value.report("there is no source of this name; add [source.NAME], or name one that there is");
                None
            }
        };
    }
    match servers.as_slice() {
        [one] => Some((*one).clone()),
        [] => {
            table.report("there is no server to ask; add [source.vault]");
            None
        }
        _ => {
            table.report("there are several servers; write source = \"NAME\"");
            None
        }
    }
}

fn paths(value: &Value<'_>) -> Option<Vec<String>> {
    let items = value.list("a list of paths, such as [\"secret/data/app/*\"]")?;
    if items.is_empty() {
        value.report("allows nothing; leave it out to allow what the secrets of the source ask for");
    }
    every(items.iter().map(|item| item.read(&PATTERN)))
}

fn rate(value: &Value<'_>) -> Option<u32> {
    let rate = value.integer().and_then(|number| u32::try_from(number).ok());
    let rate = rate.filter(|rate| (1..=FASTEST).contains(rate));
    if rate.is_none() {
        value.report(format!(
            "takes a number from 1 to {FASTEST}: how many requests a second each client may send"
        ));
    }
    rate
}

const LISTEN: Form<ProxyListen> = Form {
    expected: "a socket such as \"unix:/run/squire/vault.sock\", or an address of this machine such as \"127.0.0.1:8200\"",
    shown: true,
    read: |text| {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if Path::new(path).is_absolute() {
                Ok(ProxyListen::Socket(path.into()))
            } else {
                Err("is no absolute path; write for example \"unix:/run/squire/vault.sock\"".to_owned())
            };
        }
        let address = text.parse::<SocketAddr>().map_err(|_| {
            "is neither a socket nor an address with a port; write for example \"unix:/run/squire/vault.sock\" or \"127.0.0.1:8200\""
                .to_owned()
        })?;
        if !address.ip().to_canonical().is_loopback() {
            return Err("is not of this machine alone: whoever reaches it would have Squire's rights; write \"unix:/run/squire/vault.sock\" or \"127.0.0.1:8200\"".to_owned());
        }
        Ok(ProxyListen::Loopback(address))
    },
};

const AUTO_AUTH: Form<AutoAuth> = Form {
    expected: "\"always\" or \"if_missing\"",
    shown: true,
    read: |text| match text {
        "always" => Ok(AutoAuth::Always),
        "if_missing" => Ok(AutoAuth::IfMissing),
        _ => Err(
            "is unknown; write \"always\" to drop a client's own token, or \"if_missing\" to let it count"
                .to_owned(),
        ),
    },
};

const PATTERN: Form<String> = Form {
    expected: "a path in quotes, such as \"secret/data/app/*\"",
    shown: true,
    read: |text| {
        let bare = text.strip_prefix("/v1/").or(text.strip_prefix("v1/")).unwrap_or(text);
        let odd_star = bare.find('*').is_some_and(|at| at + 1 < bare.len());
        let odd_plus = bare.split('/').any(|part| part.contains('+') && part != "+" && part != "+*");
        let odd_part = bare.split('/').any(|part| matches!(part, "." | ".."));
        if bare.is_empty() || bare.starts_with('/') || bare.contains("//") || odd_part {
            return Err(
                "is no path of the API; write for example \"secret/data/app\" or \"secret/data/app/*\""
                    .to_owned(),
            );
        }
        if odd_star || odd_plus {
            return Err("reads as in a policy: `*` only at its end, `+` only as a whole part; write for example \"secret/+/app/*\"".to_owned());
        }
        Ok(bare.to_owned())
    },
};

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{AutoAuth, Config, ProxyListen, parse};

    fn read(lines: &str) -> Result<Config, String> {
        let source = "[source.vault]\naddress = 'https://a'\nauth.token.file = '/t'\n[source.own]\ntype = 'store'\nfile = '/s'\nkey_file = '/k'\n";
        let problems = |problems: Vec<crate::config::Problem>| {
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        parse(Path::new("/squire.toml"), &format!("{source}[proxy]\n{lines}"), &|_| None).map_err(problems)
    }

    #[test]
    fn what_is_left_out_is_the_careful_choice() {
        let proxy = read("listen = 'unix:/run/v.sock'").unwrap().proxy.unwrap();
        assert_eq!(proxy.listen, ProxyListen::Socket("/run/v.sock".into()));
        assert_eq!((proxy.source.as_str(), proxy.auto_auth, proxy.rate), ("vault", AutoAuth::Always, 50));
        assert!(
            proxy.paths.is_none() && proxy.users.is_none() && proxy.cache.is_zero() && proxy.stale.is_zero()
        );
        let proxy =
            read("listen = 'unix:///run/v.sock'\npaths = ['/v1/a/+/b*', 'c']").unwrap().proxy.unwrap();
        assert_eq!(proxy.listen, ProxyListen::Socket("/run/v.sock".into()));
        assert_eq!(proxy.paths.unwrap(), ["a/+/b*", "c"]);
    }

    #[test]
    fn what_makes_no_sense_or_opens_too_much_is_a_problem() {
        for (lines, problem) in [
            ("", "`listen` is missing"),
            ("listen = '0.0.0.0:8200'", "is not of this machine alone"),
            ("listen = '[::]:8200'", "is not of this machine alone"),
            ("listen = '[::ffff:10.0.0.1]:8200'", "is not of this machine alone"),
            ("listen = 'unix:v.sock'", "is no absolute path"),
            ("listen = 'localhost:8200'", "is neither a socket nor an address"),
            ("listen = '127.0.0.1:8200'\nusers = ['app']", "nobody can tell whose program asks"),
            ("listen = 'unix:/v'\nsource = 'own'", "is no server with the API of Vault"),
            ("listen = 'unix:/v'\nsource = 'none'", "there is no source of this name"),
            ("listen = 'unix:/v'\npaths = []", "allows nothing"),
            ("listen = 'unix:/v'\npaths = ['a/*/b']", "reads as in a policy"),
            ("listen = 'unix:/v'\npaths = ['a/x+']", "reads as in a policy"),
            ("listen = 'unix:/v'\npaths = ['a//b']", "is no path of the API"),
            ("listen = 'unix:/v'\npaths = ['a/../b']", "is no path of the API"),
            ("listen = 'unix:/v'\nrate = 0", "takes a number from 1"),
            ("listen = 'unix:/v'\nrate = 'many'", "takes a number from 1"),
            ("listen = 'unix:/v'\nauto_auth = 'never'", "is unknown"),
            ("listen = 'unix:/v'\ncach = '1s'", "cach"),
        ] {
            let said = read(lines).unwrap_err();
            assert!(said.contains(problem), "{lines}: {said}");
        }
    }
}
