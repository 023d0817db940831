//! Properties that hold for every text.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use handlebars::Context;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use serde_json::{Value, json};

use super::{CANARY, data, render, render_with};
use crate::template::Template;

/// Texts with characters that formats have problems with.
fn text() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "\n",
        "\r",
        "\t",
        "'",
        "\"",
        "\\",
        "$(",
        "`",
        ": ",
        "#",
        "- ",
        "{{",
        "}}",
        "%",
        "&",
        " ",
        "~",
        "yes",
        "0123",
        "1e3",
        "null",
        "2001-01-01",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "\u{7f}",
        "\u{1}",
        "é",
        "😀",
        "---",
        "...",
        "a",
    ]);
    prop_oneof![any::<String>(), prop::collection::vec(odd, 0..8).prop_map(|parts| parts.concat())]
}

fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        text().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    scalar.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(text(), inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Texts that look like templates.
fn template() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{{",
        "}}",
        "{{{",
        "}}}",
        "{{{{",
        "}}}}",
        "{{#",
        "{{/",
        "{{>",
        "{{#>",
        "{{#*inline ",
        "{{!",
        "{{!--",
        "--}}",
        "{{else",
        "{{^",
        "{{&",
        "{{~",
        "~}}",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "'",
        "\\",
        "|",
        " as |",
        "=",
        "@",
        "@root.",
        "../",
        "./",
        "this",
        ".",
        "/",
        " ",
        "\n",
        "if",
        "each",
        "with",
        "raw",
        "inline",
        "json",
        "lookup",
        "default",
        "env",
        "db",
        "db.canary",
        "x",
        "1",
        "1.",
        "-",
        "é",
        "{{#if db}}",
        "{{/if}}",
        "{{else}}",
        "{{#each db}}",
        "{{/each}}",
        "{{db.canary}}",
        "{{> p}}",
        "{{#*inline \"p\"}}",
        "{{/inline}}",
        "{{#with db as |d|}}",
        "{{/with}}",
        "{{json (lookup db \"canary\")}}",
        "{{*",
        "{{#if (",
        "{{else if db.x}}",
        "{{shell db.canary}}",
        "{{indent db.canary 2}}",
        "{{toml db}}",
        "{{{{raw}}}}",
        "{{{{/raw}}}}",
    ]);
    prop_oneof![prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat()), any::<String>(),]
}

/// Templates that usually compile, with paths that mean different things in different scopes.
fn nested_template() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "{{default db.port 1}}",
        "{{default port 2}}",
        "{{default name 3}}",
        "{{default d.port 4}}",
        "{{default d.key 5}}",
        "{{default ../db.port 6}}",
        "{{default ../port 7}}",
        "{{default ../../web.key 8}}",
        "{{default @root.web.key 9}}",
        "{{default ../web.key 10}}",
        "{{json this}}",
        "{{json ../this}}",
        "{{json d}}",
        "{{json key}}",
        "{{#if web}}y{{/if}}",
        "{{#if ../web.key}}y{{/if}}",
        "{{default (lookup ../web \"key\") 11}}",
        "{{default (lookup this \"db\") 12}}",
        "{{> p}}",
        "{{> p ../db}}",
        "{{> p d=@root.web}}",
        "{{> p ../web d=@root.db.users}}",
        "{{> p @root.db key=@root.web.key}}",
    ]);
    let wrap = |(kind, body, other): (usize, String, String)| match kind {
        0 => format!("{{{{#with db}}}}{body}{{{{else}}}}{other}{{{{/with}}}}"),
        1 => format!("{{{{#with @root.web as |d|}}}}{body}{{{{/with}}}}{other}"),
        2 => format!("{{{{#each @root.db.users as |d key|}}}}{body}{{{{else}}}}{other}{{{{/each}}}}"),
        3 => format!("{{{{#each nowhere}}}}{body}{{{{else}}}}{other}{{{{/each}}}}"),
        4 => format!("{{{{#if db.port}}}}{body}{{{{else if key}}}}{other}{{{{/if}}}}"),
        5 => format!("{{{{#each (split \"a,b\" \",\") as |d|}}}}{body}{{{{/each}}}}{other}"),
        6 => format!("{{{{#with ../web}}}}{body}{{{{else}}}}{other}{{{{/with}}}}"),
        _ => format!("{body}{other}"),
    };
    let tree = leaf
        .prop_map(str::to_owned)
        .prop_recursive(5, 24, 2, move |inner| (0_usize..8, inner.clone(), inner).prop_map(wrap));
    (tree.clone(), tree).prop_map(|(partial, body)| {
        format!("{{{{#*inline \"p\"}}}}{partial}{{{{/inline}}}}{{{{#with db}}}}{body}{{{{/with}}}}")
    })
}

fn written(helper: &str, value: &Value) -> Result<String, String> {
    render_with(&format!("{{{{{helper} s.v}}}}"), &data(json!({"s": {"v": value}})))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_json_writes_reads_back(value in value()) {
        prop_assert_eq!(&serde_json::from_str::<Value>(&written("json", &value).unwrap()).unwrap(), &value);
        prop_assert_eq!(&serde_json::from_str::<Value>(&written("json_pretty", &value).unwrap()).unwrap(), &value);
    }

    #[test]
    fn what_yaml_writes_reads_back(value in value()) {
        let yaml = written("yaml", &value).unwrap();
        prop_assert_eq!(&serde_norway::from_str::<Value>(&yaml).unwrap(), &value, "{}", yaml);
    }

    #[test]
    fn what_yaml_writes_of_text_fits_any_place(text in text()) {
        let yaml = written("yaml", &Value::from(text.as_str())).unwrap();
        let document = format!("a:\n  b: {yaml}\n  c: [{yaml}]\n");
        let read = serde_norway::from_str::<Value>(&document).unwrap();
        prop_assert_eq!(&read, &json!({"a": {"b": text, "c": [text]}}), "{}", document);
    }

    #[test]
    fn what_toml_writes_reads_back(value in value()) {
        if let Ok(toml) = written("toml", &value) {
            let read: Value = toml::from_str::<toml::Table>(&format!("v = {toml}\nw = 1")).unwrap()["v"]
                .clone().try_into().unwrap();
            prop_assert_eq!(&read, &value, "{}", toml);
        } else {
            prop_assert!(value.to_string().contains("null"));
        }
    }

    #[test]
    fn what_url_writes_is_unreserved_and_decodes(text in text()) {
        let text = text.replace('\0', "");
        let url = written("url", &Value::from(text.as_str())).unwrap();
        prop_assert!(url.chars().all(|c| c.is_ascii_alphanumeric() || "-._~%".contains(c)));
        prop_assert_eq!(percent_encoding::percent_decode_str(&url).decode_utf8().unwrap(), text);
    }

    #[test]
    fn what_base64_writes_decodes(text in text()) {
        let encoded = written("base64", &Value::from(text.as_str())).unwrap();
        prop_assert_eq!(STANDARD.decode(&encoded).unwrap(), text.as_bytes());
        prop_assert_eq!(written("base64_decode", &Value::from(encoded)).unwrap(), text);
    }

    #[test]
    fn every_text_renders_as_itself(text in text()) {
        prop_assert_eq!(render_with("{{s.v}}", &data(json!({"s": {"v": text}}))), Ok(text));
    }

    #[test]
    fn what_is_written_as_yaml_or_json_is_parsed_again(value in value()) {
        let all = data(json!({"s": {"v": value}}));
        let expected = render_with("{{json s.v}}", &all);
        for text in ["{{json (parse_json (json s.v))}}", "{{json (parse_yaml (yaml s.v))}}"] {
            prop_assert_eq!(&render_with(text, &all), &expected, "{}", text);
        }
    }

    #[test]
    fn joining_what_was_split_gives_the_text(text in text()) {
        let all = data(json!({"s": {"v": text}}));
        prop_assert_eq!(render_with("{{join (split s.v \"a\") \"a\"}}", &all), Ok(text));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn no_text_makes_it_panic_or_tell_a_value(text in template()) {
        if let Err(error) = render(&text) {
            prop_assert!(!error.contains(CANARY), "{}", error);
            prop_assert!(!error.contains('\n'), "{}", error);
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_template_touches_only_the_fields_that_its_references_list(text in nested_template()) {
        if let Ok(template) = Template::compile("t", &text) {
            let data = super::secrets();
            let all = data.secrets.iter().map(|(name, packed)| (name.clone(), Value::Object(packed.expose())));
            let all = Context::from(Value::Object(all.collect()));
            let engine = super::engine();
            let render = |context| engine.render_in(context, &template).map(|text| text.expose().to_owned());
            prop_assert_eq!(render(&all), render(&data.narrowed_to(template.references())), "{}", text);
        }
    }
}

#[test]
fn a_shell_reads_every_text_back() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let texts: Vec<String> =
        (0..300).map(|_| text().new_tree(&mut runner).unwrap().current().replace('\0', "")).collect();
    let words: Vec<String> =
        texts.iter().map(|text| written("shell", &Value::from(text.as_str())).unwrap()).collect();
    let script = format!("printf '%s\\0' {}", words.join(" "));
    let output = Command::new("/bin/sh").arg("-c").arg(script).output().unwrap();
    let read: Vec<&[u8]> = output.stdout.split(|&byte| byte == 0).collect();
    let expected: Vec<&[u8]> = texts.iter().map(String::as_bytes).chain([&[][..]]).collect();
    assert_eq!(read, expected);
}
