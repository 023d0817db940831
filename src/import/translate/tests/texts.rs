//! Text and tags render as they are meant, whatever stands beside what.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use crate::import::translate::write::{Token, comment, text};
use crate::names::SecretName;
use crate::secret::Packed;
use crate::template::{Data, Engine, Surroundings, Template};

/// Renders with `a.t` being true.
fn rendered(template: &str) -> String {
    let env = |_: &str| None;
    let file = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
    let engine = Engine::new(Surroundings { env: Box::new(env), file: Box::new(file) });
    let fields = json!({"t": true, "x": "X"});
    let secrets = BTreeMap::from([(SecretName::new("a"), Packed::of(fields.as_object().unwrap()))]);
    let template =
        Template::compile("test", template).unwrap_or_else(|error| panic!("{error}: {template:?}"));
    engine.render(&template, &Data::new(secrets.iter())).unwrap().expose().to_owned()
}

/// A part of a template, and what it renders to.
fn part() -> impl Strategy<Value = (Vec<Token>, String)> {
    let block = |inside: &str| Token::Block(inside.to_owned());
    let plain = "[ \t\r\n{}\\\\a~!-]{0,5}".prop_map(|text| (vec![Token::Text(text.clone())], text));
    let print = Just((vec![Token::Print("a.x".to_owned())], "X".to_owned()));
    let remark = "[ a{}-]{0,5}".prop_map(|inside| (vec![comment(&inside)], String::new()));
    prop_oneof![3 => plain, 1 => print, 1 => remark].boxed().prop_recursive(3, 12, 3, move |inner| {
        let list = proptest::collection::vec(inner, 0..4).prop_map(joined).boxed();
        (list.clone(), list, any::<bool>()).prop_map(move |((body, shown), (otherwise, hidden), is)| {
            let tokens = if is {
                [vec![block("#if a.t")], body, vec![block("else")], otherwise, vec![block("/if")]].concat()
            } else {
                [vec![block("#unless a.t")], otherwise, vec![block("/unless")], body].concat()
            };
            drop(hidden);
            (tokens, shown)
        })
    })
}

fn joined(parts: Vec<(Vec<Token>, String)>) -> (Vec<Token>, String) {
    parts.into_iter().fold((Vec::new(), String::new()), |(mut tokens, mut text), (more, rendered)| {
        tokens.extend(more);
        text.push_str(&rendered);
        (tokens, text)
    })
}

proptest! {
    #[test]
    fn text_renders_as_it_is((tokens, expected) in proptest::collection::vec(part(), 0..6).prop_map(joined)) {
        let template = text(&tokens);
        prop_assert_eq!(rendered(&template), expected, "{}", template);
    }
}

#[test]
fn an_empty_comment_stands_only_where_a_line_would_be_lost() {
    let block = |inside: &str| Token::Block(inside.to_owned());
    let plain = |text: &str| Token::Text(text.to_owned());
    let table = [
        (vec![block("#if a.t"), plain("x\n"), block("/if"), plain("y")], "{{#if a.t}}x\n{{/if}}y"),
        (
            vec![block("#if a.t"), plain("\nx\n"), block("/if"), plain("\n")],
            "{{#if a.t}}{{!}}\nx\n{{/if}}{{!}}\n",
        ),
        (vec![plain("  "), block("#if a.t"), plain(" "), block("/if")], "  {{#if a.t}} {{/if}}"),
        (vec![plain("{"), Token::Print("a.x".to_owned())], "{{default \"{\" \"\"}}{{a.x}}"),
        (vec![plain("a\\"), Token::Print("a.x".to_owned())], "a\\\\{{a.x}}"),
        (vec![plain("a {{ b }}")], "a \\{{ b }}"),
    ];
    for (tokens, expected) in table {
        assert_eq!(text(&tokens), expected);
    }
}
