//! Random texts: whatever a template is, its translation compiles.

use proptest::prelude::*;

use crate::import::{Delimiters, Notes, Text, Wants, template};
use crate::template::Template;

/// Helpers that templates may call and that this version of Squire may not have yet.
fn is_of_helper(message: &str) -> bool {
    message.contains("there is no helper")
}

fn compiles(text: &str) -> Result<(), String> {
    let (mut wants, mut notes) = (Wants::default(), Notes::default());
    let text = Text {
        origin: "a",
        text,
        first_line: 7,
        delimiters: Delimiters::default(),
        error_on_missing_key: false,
    };
    let output = template(&text, &mut wants, &mut notes);
    match Template::compile("output", &output) {
        Err(error) if !is_of_helper(&error.message) => Err(format!("{error}: {output}")),
        _ => Ok(()),
    }
}

/// An expression of a few words.
fn expression() -> impl Strategy<Value = String> {
    let simple = prop::sample::select(vec![
        ".",
        "$",
        "$x",
        ".Data",
        ".Data.data",
        ".Data.data.a",
        ".LeaseID",
        "1",
        "\"a\"",
        "`{{`",
        "true",
        "nil",
        "env \"A\"",
        "secret \"kv/a\"",
        "secrets \"kv\"",
        "$x.Data.data.b",
        ".a.b",
        "'x'",
        "1.5",
    ]);
    let call = prop::sample::select(vec![
        "len",
        "not",
        "and",
        "or",
        "eq",
        "ne",
        "lt",
        "print",
        "printf \"%s-%v\"",
        "toJSON",
        "toUpper",
        "split \",\"",
        "join \",\"",
        "index",
        "add 1",
        "base64Encode",
        "secret",
        "key",
        "indent 2",
        "trimSpace",
        "replaceAll \"a\" \"b\"",
        "sprig_default \"x\"",
    ]);
    simple.prop_map(str::to_owned).prop_recursive(3, 10, 2, move |inner| {
        let call = call.clone();
        prop_oneof![
            (call.clone(), inner.clone()).prop_map(|(call, value)| format!("{value} | {call}")),
            (call.clone(), inner.clone()).prop_map(|(call, value)| format!("{call} ({value})")),
            (call, inner.clone(), inner.clone()).prop_map(|(call, a, b)| format!("{call} ({a}) ({b})")),
            inner.prop_map(|value| format!("({value}).Data.data.c")),
        ]
    })
}

fn nodes() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "[ \t\n{}\\\\a\"<!-]{0,6}",
        expression().prop_map(|value| format!("{{{{ {value} }}}}")),
        expression().prop_map(|value| format!("{{{{- $x = {value} -}}}}")),
        Just("{{/* a --}} b */}}".to_owned()),
        Just("{{template \"t\" .}}".to_owned()),
        Just("{{continue}}".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let list = prop::collection::vec(inner, 0..4).prop_map(|parts| parts.concat());
        (
            prop::sample::select(vec!["if", "with", "range", "range $k, $v :=", "with $x :="]),
            expression(),
            list.clone(),
            list,
        )
            .prop_map(|(keyword, value, body, otherwise)| {
                format!("{{{{{keyword} {value}}}}}{body}{{{{else}}}}{otherwise}{{{{end}}}}")
            })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_translation_compiles(body in prop::collection::vec(nodes(), 0..4), defined in nodes()) {
        let text = format!("{{{{define \"t\"}}}}{{{{$x := 1}}}}{defined}{{{{end}}}}{{{{$x := 0}}}}{{{{range secrets \"kv\"}}}}{}{{{{end}}}}", body.concat());
        if let Err(error) = compiles(&text) {
            prop_assert!(false, "{} of {}", error, text);
        }
    }

    #[test]
    fn every_text_gives_a_text_that_compiles(text in "(\\{\\{|\\}\\}|-|[ -~\n]|é|\\\\|if|end|\\$x|range|with|else|/\\*|\\*/|--\\}\\}){0,20}") {
        if let Err(error) = compiles(&text) {
            prop_assert!(false, "{} of {}", error, text);
        }
    }
}

#[test]
fn what_is_nested_or_multiplied_beyond_measure_is_left() {
    let chain = "| toUpper ".repeat(200);
    let deep = "{{if .Data.data.a}}".repeat(60) + &"{{end}}".repeat(60);
    let define = |n: usize| {
        let calls = format!("{{{{template \"{}\" .}}}}", n - 1).repeat(8);
        format!("{{{{define \"{n}\"}}}}{calls}{{{{end}}}}")
    };
    let defined = (1..16).map(define).collect::<Vec<_>>().concat();
    let texts = [
        format!("{{{{with secret \"kv/a\"}}}}{{{{.Data.data.a {chain}}}}}{{{{end}}}}"),
        format!("{{{{with secret \"kv/a\"}}}}{deep}{{{{end}}}}"),
        format!("{defined}{{{{define \"0\"}}}}x{{{{end}}}}{{{{template \"15\" .}}}}"),
        "{{define \"a\"}}{{template \"a\" .}}{{end}}{{template \"a\" .}}".to_owned(),
    ];
    for text in texts {
        assert_eq!(compiles(&text), Ok(()));
    }
}
