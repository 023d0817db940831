//! Operations on text before it becomes a value: expanding variables, checking names, and guessing the word that was probably meant.
//!
//! *Invariant:* pure; the environment is an argument.

use super::Environment;

/// Expands every `${NAME}`; `$${` stands for the characters `${` themselves.
pub(super) fn expand(text: &str, environment: Environment<'_>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            expanded.push_str(before);
            expanded.push_str("${");
            rest = after;
            continue;
        }
        expanded.push_str(before);
        let name = after.split('}').next().filter(|name| name.len() < after.len() && is_identifier(name));
        let name = name.ok_or(
            "has a `${` without a variable's name and `}`; write `$${` for the characters themselves",
        )?;
        let value = environment(name).ok_or_else(|| {
            format!(
                "needs the environment variable {name}, which is not set; \
                 set it for squire, or write `$${{{name}}}` for the characters themselves"
            )
        })?;
        expanded.push_str(&value);
        rest = &after[name.len() + 1..];
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// A letter or `_`, then letters, digits and `_`: a variable for both a shell and a template.
pub(super) fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The candidate that was probably meant, if one is similar enough.
pub(super) fn nearest<'c>(text: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    /// Found by trial: accepts typing errors and shortened words (`addr`), and rejects words that only look similar.
    const NEAR: f64 = 0.85;
    let text = text.to_lowercase();
    // In a short word one mistake already makes it too different.
    let is_near = |likeness, candidate: &str| {
        likeness >= NEAR || (text.len() > 2 && strsim::osa_distance(&text, &candidate.to_lowercase()) == 1)
    };
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&text, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, candidate)| is_near(*likeness, candidate))
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate)
}

/// `a, b, c`
pub(super) fn listed<'c>(words: impl IntoIterator<Item = &'c str>) -> String {
    words.into_iter().collect::<Vec<_>>().join(", ")
}

/// A key, as TOML would write it.
pub(super) fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { name.to_owned() } else { format!("{name:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_offered_only_if_it_is_near() {
        let keys =
            ["address", "addresses", "namespace", "ca_file", "client_cert_file", "refresh", "run", "mode"];
        let table = [
            ("adress", Some("address")),
            ("Address", Some("address")),
            ("addr", Some("address")),
            ("name_space", Some("namespace")),
            ("rum", Some("run")),
            ("mdoe", Some("mode")),
            ("restart", None),
            ("unwrap", None),
            ("mount", None),
            ("x", None),
            ("", None),
        ];
        for (word, near) in table {
            assert_eq!(nearest(word, keys), near, "{word}");
        }
    }

    #[test]
    fn keys_are_shown_as_toml_would_write_them() {
        for (name, shown) in [("a-b_1", "a-b_1"), ("", "\"\""), ("a b", "\"a b\""), ("a\n", "\"a\\n\"")] {
            assert_eq!(key(name), shown);
        }
    }
}
