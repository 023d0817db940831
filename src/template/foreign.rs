//! Recognizes Go templates, which Vault Agent, OpenBao Agent and consul-template use.
//!
//! *Invariant:* used only for a text that is no valid template, so a wrong guess only makes an error less clear.

use super::{Place, Problem};

/// The message for the first tag that only Go templates have.
pub(super) fn go_template(text: &str) -> Option<Problem> {
    let (at, tag) = tags(text).find(|(_, tag)| is_go(tag) || is_action(tag))?;
    if !tags(text).any(|(_, tag)| is_go(tag)) {
        return None;
    }
    Some(Problem::new(
        Place::of(text, at),
        format!(
            "`{{{{{}}}}}` is of Go's template language, as in Vault Agent and consul-template; Squire's templates are Handlebars: \
             {{{{ with secret \"secret/data/app/db\" }}}}{{{{ .Data.data.password }}}}{{{{ end }}}} is {{{{db.password}}}}, with [secret.db] path = \
             \"secret/data/app/db\" in the configuration; `x | toJSON` is {{{{json x}}}}, `if … end` is {{{{#if …}}}}…{{{{/if}}}}, `range` is \
             {{{{#each}}}}; `squire import FILE` translates it",
            super::catalogue::plain(tag)
        ),
    ))
}

/// The text between `{{` and `}}`, with its position. What stands in a comment counts for nothing: an imported template keeps there what
/// could not be translated.
fn tags(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let start = at + text.get(at..)?.find("{{")?;
            let inside = text.get(start + 2..)?;
            let is_comment = inside.starts_with('!');
            let end = if inside.starts_with("!--") { "--}}" } else { "}}" };
            let length = inside.find(end)?;
            // What is no comment may have a tag within itself, as `{{{` has.
            at = if is_comment { start + 2 + length + end.len() } else { start + 2 };
            if !is_comment {
                return Some((start, inside.get(..length)?));
            }
        }
    })
}

/// A block without `#`, which in Handlebars is a mistake.
fn is_action(tag: &str) -> bool {
    let first = tag.trim_matches('-').split_whitespace().next();
    matches!(first, Some("with" | "if" | "block" | "template" | "break"))
}

/// Go's own syntax: its other actions, fields that begin with a point, variables, pipelines, and the functions that ask for secrets.
fn is_go(tag: &str) -> bool {
    const ACTIONS: [&str; 3] = ["range", "end", "define"];
    const FUNCTIONS: [&str; 8] =
        ["secret", "secrets", "key", "keyOrDefault", "pkiCert", "service", "services", "ls"];
    let tag = tag.trim_matches('-').trim();
    let (first, rest) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
    let is_field = first.strip_prefix('.').is_some_and(|name| name.starts_with(char::is_alphabetic));
    ACTIONS.contains(&first)
        || is_field
        || first.starts_with('$')
        || (FUNCTIONS.contains(&first) && rest.trim_start().starts_with('"'))
        || tag.contains(" | ")
        || tag.contains(":=")
}
