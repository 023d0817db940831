//! Every helper that a template may call, with its usage: the only list for checks, errors and registration.
//!
//! *Invariant:* a helper that is not in [`HELPERS`] cannot be called. Handlebars' own `log` is not in it.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

pub(super) use crate::plain::short as plain;

/// A helper as templates know it.
#[derive(Debug)]
pub(super) struct Helper {
    pub(super) name: &'static str,
    /// How it is called, for errors.
    pub(super) usage: &'static str,
    /// The number of its arguments.
    pub(super) values: RangeInclusive<usize>,
    pub(super) form: Form,
    pub(super) absence: Absence,
}

/// Where a helper may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `{{name …}}` and `(name …)`
    Inline,
    /// `{{#name …}}…{{/name}}`
    Block,
    /// Either.
    Both,
}

/// What a missing value means to a helper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absence {
    /// The helper itself raises an error.
    Checked,
    /// Handlebars' own helper would raise an unclear error: so a helper of ours fetches the value.
    Guarded,
    /// No error: the helper asks whether the value is there.
    Null,
    /// Like `Null`, but only for the first value.
    FirstNull,
}

/// The helpers, in the order of the documentation.
pub(super) const HELPERS: &[Helper] = &[
    inline("json", "{{json value}}", 1..=1),
    inline("json_pretty", "{{json_pretty value}}", 1..=1),
    inline("yaml", "{{yaml value}}", 1..=1),
    inline("toml", "{{toml value}}", 1..=1),
    inline("shell", "{{shell text}}", 1..=1),
    inline("url", "{{url text}}", 1..=1),
    inline("base64", "{{base64 text}}", 1..=1),
    inline("base64_decode", "{{base64_decode text}}", 1..=1),
    inline("base64_url", "{{base64_url text}}", 1..=1),
    inline("base64_url_decode", "{{base64_url_decode text}}", 1..=1),
    inline("sha256", "{{sha256 text}}", 1..=1),
    inline("hmac_sha256", "{{hmac_sha256 text key}}", 2..=2),
    inline("parse_json", "(parse_json text)", 1..=1),
    inline("parse_yaml", "(parse_yaml text)", 1..=1),
    inline("indent", "{{indent text 4}}", 2..=2),
    inline("trim", "{{trim text}}", 1..=1),
    inline("upper", "{{upper text}}", 1..=1),
    inline("lower", "{{lower text}}", 1..=1),
    inline("title", "{{title text}}", 1..=1),
    inline("trim_prefix", "{{trim_prefix text \"prefix\"}}", 2..=2),
    inline("trim_suffix", "{{trim_suffix text \"suffix\"}}", 2..=2),
    inline("regex_replace", "{{regex_replace text \"expression\" \"with\"}}", 3..=3),
    inline("regex_match", "(regex_match text \"expression\")", 2..=2),
    inline("replace", "{{replace text \"from\" \"to\"}}", 3..=3),
    inline("split", "{{split text \",\"}}", 2..=2),
    inline("join", "{{join list \",\"}}", 2..=2),
    inline("contains", "(contains value \"part\")", 2..=2),
    inline("index", "{{index value \"name\" …}}", 2..=usize::MAX),
    inline("keys", "(keys map)", 1..=1),
    inline("values", "(values map)", 1..=1),
    inline("first", "{{first list}}", 1..=1),
    inline("last", "{{last list}}", 1..=1),
    inline("sort", "(sort list)", 1..=1),
    inline("uniq", "(uniq list)", 1..=1),
    inline("add", "{{add number number …}}", 2..=usize::MAX),
    inline("subtract", "{{subtract number number}}", 2..=2),
    inline("multiply", "{{multiply number number …}}", 2..=usize::MAX),
    inline("divide", "{{divide number number}}", 2..=2),
    inline("modulo", "{{modulo number number}}", 2..=2),
    inline("range", "(range number)", 1..=2),
    inline("concat", "{{concat a b …}}", 1..=usize::MAX),
    inline("line", "{{line text}}", 1..=1),
    inline("word", "{{word text \":\"}}", 1..=2),
    inline("env_name", "{{env_name text}}", 1..=1),
    inline("compose_env", "{{compose_env text}}", 1..=1),
    inline("systemd_env", "{{systemd_env text}}", 1..=1),
    inline("properties", "{{properties text}}", 1..=1),
    inline("ini", "{{ini text}}", 1..=1),
    inline("configparser", "{{configparser text}}", 1..=1),
    inline("pgpass", "{{pgpass text}}", 1..=1),
    inline("my_cnf", "{{my_cnf text}}", 1..=1),
    inline("netrc", "{{netrc text}}", 1..=1),
    inline("npmrc", "{{npmrc text}}", 1..=1),
    inline("jaas", "{{jaas text}}", 1..=1),
    inline("basic_auth", "{{basic_auth user password}}", 2..=2),
    inline("bcrypt", "{{bcrypt password \"what names the salt\" …}}", 2..=usize::MAX),
    inline("pem", "{{pem text}}", 1..=1),
    inline("certificate", "{{certificate pem \"not_after\"}}", 2..=2),
    inline("chain", "{{chain pem}}", 1..=1),
    Helper { absence: Absence::FirstNull, ..inline("default", "{{default value \"fallback\"}}", 2..=2) },
    inline("timestamp", "{{timestamp}}", 0..=0),
    inline("env", "{{env \"NAME\"}}", 1..=1),
    inline("file", "{{file \"/path\"}}", 1..=1),
    inline("lookup", "{{lookup fields \"name\"}}", 2..=2),
    inline("only", "{{only secret}}", 1..=1),
    inline("meta", "{{meta secret \"version\"}}", 2..=2),
    Helper { absence: Absence::Guarded, ..inline("len", "{{len value}}", 1..=1) },
    block("if", "{{#if value}}…{{/if}}", Absence::Null),
    block("unless", "{{#unless value}}…{{/unless}}", Absence::Null),
    block("each", "{{#each value}}…{{/each}}", Absence::Checked),
    block("with", "{{#with value}}…{{/with}}", Absence::Checked),
    Helper { values: 0..=0, ..block("raw", "{{{{raw}}}}…{{{{/raw}}}}", Absence::Checked) },
    condition("eq", "(eq a b)", 2..=2, Absence::Guarded),
    condition("ne", "(ne a b)", 2..=2, Absence::Guarded),
    condition("gt", "(gt a b)", 2..=2, Absence::Guarded),
    condition("gte", "(gte a b)", 2..=2, Absence::Guarded),
    condition("lt", "(lt a b)", 2..=2, Absence::Guarded),
    condition("lte", "(lte a b)", 2..=2, Absence::Guarded),
    condition("and", "(and a b …)", 1..=usize::MAX, Absence::Null),
    condition("or", "(or a b …)", 1..=usize::MAX, Absence::Null),
    condition("not", "(not a)", 1..=1, Absence::Null),
];

const fn inline(name: &'static str, usage: &'static str, values: RangeInclusive<usize>) -> Helper {
    Helper { name, usage, values, form: Form::Inline, absence: Absence::Checked }
}

const fn block(name: &'static str, usage: &'static str, absence: Absence) -> Helper {
    Helper { name, usage, values: 1..=1, form: Form::Block, absence }
}

const fn condition(
    name: &'static str,
    usage: &'static str,
    values: RangeInclusive<usize>,
    absence: Absence,
) -> Helper {
    Helper { name, usage, values, form: Form::Both, absence }
}

/// The helper of this name.
pub(super) fn find(name: &str) -> Option<&'static Helper> {
    HELPERS.iter().find(|helper| helper.name == name)
}

/// `, did you mean …?` for a name that is similar to one of these; otherwise nothing.
pub(super) fn suggestion<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let nearest = known
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min();
    nearest.map(|(_, candidate)| format!("; did you mean `{}`?", plain(candidate))).unwrap_or_default()
}

/// `a`, `b` and `c`: at most twenty of these names.
pub(super) fn list<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const MOST: usize = 20;
    let more = names.len().saturating_sub(MOST);
    let shown: Vec<String> = names.take(MOST).map(|name| format!("`{}`", plain(name))).collect();
    let mut text = shown.join(", ");
    if more > 0 {
        // Writing to a `String` cannot fail.
        write!(text, " and {more} more").unwrap_or_default();
    }
    text
}
