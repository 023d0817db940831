//! Recognizes the language of another tool: the most common mistake of users who come from one.
//!
//! *Invariant:* used only for a text that is no TOML, so a wrong guess only makes an error less clear.

/// The language of the text, with what to write instead, and the line that shows it; `None` if it looks like TOML with mistakes.
pub(super) fn recognized(text: &str) -> Option<(usize, &'static str)> {
    let lines = || text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let mut meaningful =
        lines().filter(|(_, line)| !line.is_empty() && !line.starts_with('#') && !line.starts_with("//"));
    let (first, line) = meaningful.next()?;
    if line.starts_with('{') {
        return Some((first, JSON));
    }
    if let Some((at, _)) = lines().find(|(_, line)| opens_block(line)) {
        return Some((at, HCL));
    }
    (line == "---" || is_yaml_key(line)).then_some((first, YAML))
}

const JSON: &str = "this is JSON; Squire's configuration is TOML: write [source.vault] with address = \"https://…\", [secret.db] with \
                    path = \"secret/data/app/db\", and [[file]] with path and inline; `squire import FILE` translates an agent's";
const HCL: &str = "this is HCL, as Vault Agent, OpenBao Agent and consul-template have it; Squire's configuration is TOML: `vault { address = … }` \
                   is [source.vault] with address, `auto_auth` is [source.vault.auth.approle], `template { … }` is [[file]] with path and \
                   template, `exec` is [process] with command; `squire import FILE` translates it, and `squire run -c FILE` does so in memory";
const YAML: &str = "this is YAML; Squire's configuration is TOML: write [source.vault] with address = \"https://…\", [secret.db] with path = \
                    \"secret/data/app/db\", and [[file]] with path and inline; `squire import FILE` translates a manifest with an injector's annotations";

/// `vault {`, `template {`, `listener "tcp" {`, and `vault = {` over several lines, which our configuration never needs.
fn opens_block(line: &str) -> bool {
    let Some(head) = line.strip_suffix('{').map(str::trim) else { return false };
    let mut words = head.split_whitespace();
    let is_name =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    words.next().is_some_and(is_name) && words.all(|word| word.starts_with('"') && word.ends_with('"'))
}

/// `source:` or `address: https://…`.
fn is_yaml_key(line: &str) -> bool {
    let Some((key, value)) = line.split_once(':') else { return false };
    let is_key = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    !key.is_empty() && key.bytes().all(is_key) && (value.is_empty() || value.starts_with(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_language_is_known_by_its_first_words() {
        let cases = [
            (
                "# agent\n\npid_file = \"./pidfile\"\nvault {\n  address = \"https://v:8200\"\n}\n",
                Some((4, HCL)),
            ),
            ("listener \"tcp\" {\n}\n", Some((1, HCL))),
            ("{\"vault\": {\"address\": \"x\"}}", Some((1, JSON))),
            ("---\nvault:\n  address: x\n", Some((1, YAML))),
            ("# values\nsource:\n  vault:\n", Some((2, YAML))),
            ("[source.vault]\naddress = https://v\n", None),
            ("[secret.db]\nparams = { a = 1,\n", None),
            ("inline = '{'\n", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(recognized(text), expected, "{text}");
        }
    }
}
