//! The secrets that imported templates read: each request once, under a name of its own.
//!
//! *Invariant:* a name can be used as a variable in a template, and the same requests in the same order get the same names.

use std::collections::{BTreeMap, BTreeSet};

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
}

/// A file that a template writes beside its own, by `writeToFile`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// The secret of which every field is a file, in the directory `path`; then there is no template.
    pub each: Option<String>,
}

/// The requests, and what each is called.
///
/// It cannot be copied: a part that is taken back is taken back by its `Mark`, so that an import costs what it adds.
#[derive(Debug, Default)]
pub struct Wants {
    names: Vec<(String, Request)>,
    by_request: BTreeMap<Request, usize>,
    taken: BTreeSet<String>,
    /// The next number for a name of which all longer forms are taken.
    numbers: BTreeMap<String, u64>,
    written: Vec<Written>,
    /// How many names were tried.
    tried: usize,
}

/// How much there was at some time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    names: usize,
    written: usize,
}

impl Wants {
    /// How much there is now.
    pub(super) fn mark(&self) -> Mark {
        Mark { names: self.names.len(), written: self.written.len() }
    }

    /// Takes back what came after the mark.
    pub(super) fn back_to(&mut self, mark: Mark) {
        for (name, request) in self.names.split_off(mark.names.min(self.names.len())) {
            self.by_request.remove(&request);
            // A number that is free again is the next one.
            if let Some((base, number)) = name.rsplit_once('_')
                && let Ok(number) = number.parse::<u64>()
                && let Some(next) = self.numbers.get_mut(base)
            {
                *next = number.min(*next);
            }
            self.taken.remove(&name);
        }
        self.written.truncate(mark.written);
    }

    /// The name of a request: a new one from the end of its path, or the one that it has already.
    pub fn name(&mut self, request: Request) -> String {
        if let Some((name, _)) = self.by_request.get(&request).and_then(|at| self.names.get(*at)) {
            return name.clone();
        }
        let name = self.free_name(&request.path);
        self.by_request.insert(request.clone(), self.names.len());
        self.taken.insert(name.clone());
        self.names.push((name.clone(), request));
        name
    }

    /// Whether this name was there at the mark.
    pub(super) fn was_there(&self, mark: Mark, name: &str) -> bool {
        self.names.iter().take(mark.names).any(|(known, _)| known == name)
    }

    /// The requests by their names, in the order in which they were first made.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Request)> {
        self.names.iter().map(|(name, request)| (name.as_str(), request))
    }

    /// The files that the templates write beside their own.
    pub fn written(&self) -> &[Written] {
        &self.written
    }

    /// Takes the files that templates wrote after the mark.
    pub(super) fn take_written(&mut self, since: Mark) -> Vec<Written> {
        self.written.split_off(since.written.min(self.written.len()))
    }

    /// Adds a file that a template writes beside its own.
    pub(super) fn write(&mut self, file: Written) {
        self.written.push(file);
    }

    /// Adds to a file that a template wrote after the mark; false if there is none of this path.
    pub(super) fn append(&mut self, since: Mark, path: &str, template: &str) -> bool {
        let mut files = self.written.iter_mut().skip(since.written);
        let file = files.rfind(|file| file.path == path && file.each.is_none());
        file.map(|file| file.template.push_str(template)).is_some()
    }

    /// The last segment of the path; where that is taken the last two, and so on; and then a number.
    fn free_name(&mut self, path: &str) -> String {
        let segments: Vec<String> = path.split('/').map(word).filter(|word| !word.is_empty()).collect();
        let from = |start: usize| name_of(&segments.get(start..).unwrap_or_default().join("_"));
        // A name of more than these would be no name for a reader.
        let longest = segments.len().saturating_sub(SEGMENTS);
        for name in (longest..segments.len().max(1)).rev().map(from) {
            if self.is_free(&name) {
                return name;
            }
        }
        let base = from(segments.len().saturating_sub(1));
        let mut number = self.numbers.get(&base).copied().unwrap_or(2);
        while !self.is_free(&format!("{base}_{number}")) {
            number += 1;
        }
        self.numbers.insert(base.clone(), number + 1);
        format!("{base}_{number}")
    }

    fn is_free(&mut self, name: &str) -> bool {
        self.tried += 1;
        !is_word(name) && !self.taken.contains(name)
    }
}

/// How many segments of a path a name may have.
const SEGMENTS: usize = 8;

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

    /// Counted in names that were tried: as many for each request, however many there are, and also where part is taken back.
    #[test]
    fn the_names_of_many_requests_cost_as_much_each_as_those_of_a_few() {
        let tried = |count: u64| {
            let mut wants = Wants::default();
            for number in 0..count {
                let same_end = Request { path: format!("kv/{number}/db"), ..Request::default() };
                let version =
                    Request { path: "kv/app".to_owned(), version: Some(number), ..Request::default() };
                let first = (wants.name(same_end.clone()), wants.name(version.clone()));
                let mark = wants.mark();
                wants.name(Request {
                    path: "kv/app".to_owned(),
                    version: Some(number + count),
                    ..Request::default()
                });
                wants.back_to(mark);
                assert_eq!((wants.name(same_end), wants.name(version)), first);
            }
            assert_eq!(wants.all().count() as u64, count * 2);
            wants.tried
        };
        let (few, many) = (tried(100), tried(10_000));
        assert!(many <= few * 101, "{few} tries for 100, {many} for 10,000");
    }

    #[test]
    fn what_is_taken_back_leaves_its_name_and_its_files() {
        let mut wants = Wants::default();
        let request =
            |version| Request { path: "kv/app".to_owned(), version: Some(version), ..Request::default() };
        let names: Vec<String> = (0..4).map(|version| wants.name(request(version))).collect();
        assert_eq!(names, ["app", "kv_app", "app_2", "app_3"]);
        let mark = wants.mark();
        assert_eq!(wants.name(request(5)), "app_4");
        wants.write(Written::default());
        wants.back_to(mark);
        assert!(wants.written().is_empty());
        assert_eq!(
            (wants.name(request(6)), wants.name(request(5))),
            ("app_4".to_owned(), "app_5".to_owned())
        );
    }
}
