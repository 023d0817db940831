//! Which paths go on: those of the configuration's secrets, or those that `proxy.paths` names.
//!
//! A pattern reads as in a policy of the server: `+` is any one part, `*` at the end whatever follows. A path with a slash at its end is
//! what a list asks for.
//!
//! *Invariant:* pure. What is not named is not allowed. A part `sys` or `auth`, of the root or of whatever may be a namespace, is allowed only
//! by a pattern that has this part itself.

use super::Verb;
use super::path::Path;

/// Where a server is asked what is mounted at a path. Its own tools ask that before they read KV.
const MOUNTS: &str = "sys/internal/ui/mounts/";

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Allowed(pub(crate) Vec<Entry>);

/// Some paths, and what may be asked of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// A path, or a pattern.
    pub(crate) path: String,
    /// `+` and `*` stand for others.
    pub(crate) is_pattern: bool,
    /// What may be asked.
    pub(crate) verbs: &'static [Verb],
}

/// What may be asked of a path that somebody named for the proxy.
pub(crate) const ALL: &[Verb] = &[Verb::Read, Verb::List, Verb::Write, Verb::Delete];

impl Allowed {
    /// Patterns that somebody wrote for the proxy.
    pub(crate) fn written(patterns: &[String]) -> Self {
        let entry = |pattern: &String| Entry { path: pattern.clone(), is_pattern: true, verbs: ALL };
        Self(patterns.iter().map(entry).collect())
    }

    /// Whether this may be asked of this path.
    pub(super) fn allows(&self, verb: Verb, path: &Path) -> bool {
        let path = path.as_str();
        match verb {
            Verb::List => self.has(verb, &format!("{}/", path.trim_end_matches('/'))),
            Verb::Read => self.has(verb, path) || self.tells_mount(path),
            Verb::Write | Verb::Delete => self.has(verb, path),
        }
    }

    fn has(&self, verb: Verb, path: &str) -> bool {
        self.0.iter().any(|entry| entry.verbs.contains(&verb) && entry.has(path))
    }

    /// Whether anything at all may be asked of it.
    fn knows(&self, path: &str) -> bool {
        self.0.iter().any(|entry| entry.has(path))
    }

    /// Whether something is allowed below it: it may be a mount.
    fn has_below(&self, beginning: &str) -> bool {
        let beginning = format!("{}/", beginning.trim_end_matches('/'));
        self.0.iter().any(|entry| entry.path.starts_with(&beginning))
    }

    /// Whether it asks for what is mounted where an allowed path is, in the form of the server's own tools or of the API.
    fn tells_mount(&self, path: &str) -> bool {
        let Some(about) = path.strip_prefix(MOUNTS) else { return false };
        let slashes = about.match_indices('/').map(|(at, _)| at);
        let forms = slashes.flat_map(|at| {
            let (mount, rest) = about.split_at(at);
            ["data", "metadata"].map(|form| format!("{mount}/{form}{rest}"))
        });
        self.has_below(about)
            || self.knows(about)
            || self.knows(&format!("{about}/"))
            || forms.into_iter().any(|form| self.knows(&form))
    }
}

impl Entry {
    fn has(&self, path: &str) -> bool {
        if self.is_pattern { matches(&self.path, path) } else { self.path == path }
    }
}

/// Whether the path is one of the pattern.
fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, is_open) = match pattern.strip_suffix('*') {
        Some(beginning) => (beginning, true),
        None => (pattern, false),
    };
    let wanted: Vec<&str> = pattern.split('/').collect();
    let parts: Vec<&str> = path.split('/').collect();
    let last = wanted.len() - 1;
    if parts.len() < wanted.len() || (parts.len() > wanted.len() && !is_open) {
        return false;
    }
    parts.iter().enumerate().all(|(place, found)| {
        let is_open = is_open && place >= last;
        let fits = match wanted.get(place) {
            Some(&"+") => !found.is_empty(),
            Some(part) if is_open => found.starts_with(part),
            Some(part) => part == found,
            None => true,
        };
        let is_written = !is_open && wanted.get(place) == Some(found);
        fits && (is_written || !is_guarded(&parts, place))
    })
}

/// Whether what follows this part is the system's or a login's. Whatever stands before it may be a namespace.
fn is_guarded(parts: &[&str], place: usize) -> bool {
    let is_one = parts.get(place).is_some_and(|part| matches!(*part, "sys" | "auth"));
    is_one && place + 1 < parts.len() && !is_in_kv(parts, place)
}

/// What follows a mount of KV v2 in a path.
const KV_FORMS: [&str; 6] = ["data", "metadata", "delete", "undelete", "destroy", "subkeys"];

/// Whether this part is behind a form of KV v2, where names of secrets stand.
pub(super) fn is_in_kv(parts: &[&str], place: usize) -> bool {
    parts.iter().take(place).skip(1).any(|part| KV_FORMS.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_reads_as_in_a_policy() {
        let cases = [
            ("secret/data/app", "secret/data/app", true),
            ("secret/data/app", "secret/data/app/x", false),
            ("secret/data/app", "secret/data/apple", false),
            ("secret/data/app*", "secret/data/apple/x", true),
            ("secret/data/*", "secret/data/", true),
            ("secret/data/*", "secret/data", false),
            ("secret/+/app", "secret/data/app", true),
            ("secret/+/app", "secret//app", false),
            ("secret/+/app", "secret/a/b/app", false),
            ("secret/data/+", "secret/data/", false),
            ("secret/+/team/*", "secret/data/team/a/b", true),
            ("*", "secret/data/app", true),
            ("*", "sys/seal", false),
            ("+/token/create", "auth/token/create", false),
            ("auth/token/lookup-self", "auth/token/lookup-self", true),
            ("sys/*", "sys/health", true),
            ("s*", "sys/health", false),
            ("*", "team/sys/seal", false),
            ("*", "a/b/auth/token/create", false),
            ("+/auth/token/lookup-self", "team/auth/token/lookup-self", true),
            ("+/+/token/create", "team/auth/token/create", false),
            ("secret/*", "secret/data/auth/app", true),
            ("secret/*", "secret/metadata/sys/", true),
            ("team/*", "team/auth/token/create", false),
            ("team/*", "team/sys/seal", false),
            ("team/+/seal", "team/sys/seal", false),
            ("team/au*", "team/auth/token/create", false),
            ("team/auth/token/*", "team/auth/token/create", true),
            ("secret/*", "secret/auth", true),
            ("secret/*", "secret/auth/app", false),
            ("secret/auth/*", "secret/auth/app", true),
            ("sys*", "sys/health", false),
            ("data/*", "data/auth/token/create", false),
            ("secret/+*", "secret/data/app", true),
            ("secret/+*", "secret/", false),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    fn allows(allowed: &Allowed, verb: Verb, path: &str) -> bool {
        allowed.allows(verb, &Path::read(&format!("/v1/{path}")).unwrap())
    }

    #[test]
    fn a_list_needs_a_folder_and_a_mount_is_told_where_something_is_allowed() {
        let entry = |path: &str, is_pattern, verbs| Entry { path: path.to_owned(), is_pattern, verbs };
        let allowed = Allowed(vec![
            entry("secret/data/app", false, &[Verb::Read]),
            entry("kv/team/", false, &[Verb::List]),
            entry("kv/team/+", true, &[Verb::Read]),
            entry("odd/+", false, ALL),
        ]);
        let cases = [
            (Verb::Read, "secret/data/app", true),
            (Verb::List, "secret/data/app", false),
            (Verb::Read, "secret/data/app2", false),
            (Verb::Write, "secret/data/app", false),
            (Verb::Write, "odd/+", true),
            (Verb::Read, "odd/x", false),
            (Verb::List, "kv/team", true),
            (Verb::List, "kv/team/", true),
            (Verb::List, "kv", false),
            (Verb::Read, "kv/team/a", true),
            (Verb::Read, "sys/internal/ui/mounts/secret/app", true),
            (Verb::Read, "sys/internal/ui/mounts/secret/data/app", true),
            (Verb::Read, "sys/internal/ui/mounts/kv/team", true),
            (Verb::Read, "sys/internal/ui/mounts/secret", true),
            (Verb::Read, "sys/internal/ui/mounts/sec", false),
            (Verb::Read, "sys/internal/ui/mounts/secret/other", false),
            (Verb::Read, "sys/internal/ui/mounts", false),
            (Verb::Write, "sys/internal/ui/mounts/secret/app", false),
            (Verb::Read, "auth/token/lookup-self", false),
        ];
        for (verb, path, expected) in cases {
            assert_eq!(allows(&allowed, verb, path), expected, "{verb:?} {path}");
        }
    }
}
