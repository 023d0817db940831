//! The secrets that imported templates read: each request once, under a name of its own.
//!
//! *Invariant:* a name can be used as a variable in a template, and the same requests in the same order get the same names.

use std::collections::BTreeMap;

/// One thing that is asked of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// As the template has it, without a slash at its ends: `secret/data/app/db`. It is a string of the configuration: `${NAME}` is a
    /// variable of the environment, and `$${` stands for `${`.
    pub path: String,
    /// What makes it a write: `common_name=web.internal`. The values are strings of the configuration too.
    pub params: BTreeMap<String, String>,
    /// A version of KV v2 that is asked for.
    pub version: Option<u64>,
    /// Whether all secrets below the path are wanted.
    pub folder: bool,
    /// Set where equal requests must stay apart: consul-template gives each `pkiCert` of another destination a certificate of its own.
    pub apart: Option<String>,
}

/// A file that a template writes beside its own, by `writeToFile`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Where it goes.
    pub path: String,
    /// Its template, in Handlebars.
    pub template: String,
    /// As it was written: `0600`. Empty where nothing was said.
    pub mode: String,
    /// A user's name or number; empty where nothing was said.
    pub owner: String,
    /// A group's name or number; empty where nothing was said.
    pub group: String,
}

/// The requests, and what each is called.
#[derive(Clone, Debug, Default)]
pub struct Wants {
    names: Vec<(String, Request)>,
    written: Vec<Written>,
}

impl Wants {
    /// The name of a request: a new one from the end of its path, or the one that it has already.
    pub fn name(&mut self, request: Request) -> String {
        if let Some((name, _)) = self.names.iter().find(|(_, known)| *known == request) {
            return name.clone();
        }
        let name = self.free_name(&request.path);
        self.names.push((name.clone(), request));
        name
    }

    /// The requests by their names, in the order in which they were first made.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Request)> {
        self.names.iter().map(|(name, request)| (name.as_str(), request))
    }

    /// The files that the templates write beside their own.
    pub fn written(&self) -> &[Written] {
        &self.written
    }

    /// Adds a file that a template writes beside its own.
    pub(super) fn write(&mut self, file: Written) {
        self.written.push(file);
    }

    /// The last segment of the path; where that is taken the last two, and so on; and then a number.
    fn free_name(&self, path: &str) -> String {
        let segments: Vec<String> = path.split('/').map(word).filter(|word| !word.is_empty()).collect();
        let from = |start: usize| name_of(&segments.get(start..).unwrap_or_default().join("_"));
        let by_path = (0..segments.len().max(1)).rev().map(from);
        let numbered =
            (2..).map(|number: u64| format!("{}_{number}", from(segments.len().saturating_sub(1))));
        by_path.chain(numbered).find(|name| self.is_free(name)).unwrap_or_default()
    }

    fn is_free(&self, name: &str) -> bool {
        !is_word(name) && self.names.iter().all(|(known, _)| known != name)
    }
}

/// A segment of a path as part of a name. `${NAME}` becomes `name`.
fn word(segment: &str) -> String {
    let is_variable = segment.starts_with("${");
    let plain: String =
        segment.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect::<String>();
    let plain = plain.trim_matches('_');
    if is_variable { plain.to_ascii_lowercase() } else { plain.to_owned() }
}

/// A name does not begin with a digit.
fn name_of(words: &str) -> String {
    match words.chars().next() {
        None => "secret".to_owned(),
        Some(first) if first.is_ascii_digit() => format!("s{words}"),
        Some(_) => words.to_owned(),
    }
}

/// Whether a name means something else in a template: to Handlebars, or to Squire's helpers.
pub(super) fn is_word(name: &str) -> bool {
    WORDS.split_whitespace().any(|word| word == name)
}

const WORDS: &str = "
    this root true false null else as if unless each with lookup log raw inline
    json json_pretty yaml toml shell url base64 base64_decode base64_url base64_url_decode indent trim upper lower title
    replace split join default sha256 hmac_sha256 env file eq ne gt gte lt lte and or not len only meta
    line word env_name compose_env systemd_env properties ini configparser pgpass my_cnf netrc npmrc jaas basic_auth bcrypt
    pem pem_cert parse_json parse_yaml regex_replace regex_match contains trim_prefix trim_suffix add subtract multiply
    divide modulo range timestamp index keys values first last sort uniq concat
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_one_that_the_configuration_refuses() {
        for word in crate::config::TEMPLATE_WORDS {
            assert!(is_word(word), "{word}");
        }
    }

    #[test]
    fn names_come_from_the_end_of_the_path() {
        let table = [
            ("secret/data/app/db", "db"),
            ("secret/data/web/db", "web_db"),
            ("secret/data/web/db", "web_db"),
            ("kv/web/db", "kv_web_db"),
            ("kv1/web-db", "kv1_web_db"),
            ("web/db", "db_2"),
            ("database/creds/read-only", "read_only"),
            ("secret/data/json", "data_json"),
            ("secret/data/${APP}", "app"),
            ("secret/data/2fa", "s2fa"),
            ("secret/data/é", "data"),
            ("", "secret"),
            ("é", "secret_2"),
            ("ü", "secret_3"),
            ("json", "json_2"),
        ];
        let mut wants = Wants::default();
        for (path, name) in table {
            let request = Request { path: path.to_owned(), ..Request::default() };
            assert_eq!(wants.name(request), name, "{path}");
        }
        let first: Vec<_> = wants.all().map(|(name, _)| name).take(3).collect();
        assert_eq!(first, ["db", "web_db", "kv_web_db"]);
    }

    #[test]
    fn requests_that_differ_have_names_of_their_own() {
        let mut wants = Wants::default();
        let request = |apart: &str| Request {
            path: "pki/issue/web".to_owned(),
            apart: Some(apart.to_owned()),
            ..Request::default()
        };
        assert_eq!(wants.name(request("/a.pem")), "web");
        assert_eq!(wants.name(request("/b.pem")), "issue_web");
        assert_eq!(wants.name(request("/a.pem")), "web");
    }
}
