//! What is read, and what is refused, as tables.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Node, Wrong, Yaml, documents};

fn value(text: &str) -> Result<Value, Wrong> {
    documents(text)?.remove(0).value()
}

#[test]
fn scalars_are_what_the_core_schema_says() {
    for (text, expected) in [
        ("~", json!(null)),
        ("'~'", json!("~")),
        ("True", json!(true)),
        ("yes", json!("yes")),
        ("no", json!("no")),
        ("12", json!(12)),
        ("0x1f", json!(31)),
        ("0o17", json!(15)),
        ("017", json!(17)),
        ("+3", json!(3)),
        ("1_000", json!("1_000")),
        ("2026-11-30", json!("2026-11-30")),
        ("1.2.3", json!("1.2.3")),
        ("-", json!([null])),
        (".", json!(".")),
        (".inf", json!(".inf")),
        ("!!str 12", json!("12")),
        ("!other 12", json!(12)),
        ("\"a\\tb\"", json!("a\tb")),
        ("|\n  two\n  lines\n", json!("two\nlines\n")),
        ("{a: [1, 'x'], b: {}}", json!({"a": [1, "x"], "b": {}})),
        ("1: a\ntrue: b\n", json!({"1": "a", "true": "b"})),
        ("a: &x {k: 1}\nb: *x\n", json!({"a": {"k": 1}, "b": {"k": 1}})),
        ("a: &x {k: 1, l: 2}\nb:\n  <<: *x\n  k: 3\n", json!({"a": {"k": 1, "l": 2}, "b": {"k": 3, "l": 2}})),
    ] {
        assert_eq!(value(text), Ok(expected), "{text}");
    }
}

#[test]
fn numbers_stay_as_they_were_written() {
    for (text, expected) in
        [("1.10", "1.10"), ("-0.50", "-0.50"), ("1e400", "1e+400"), (".5", "0.5"), ("5.", "5")]
    {
        assert_eq!(value(text).unwrap().to_string(), expected, "{text}");
    }
    let digits = "123456789012345678901234567890";
    assert_eq!(value(digits).unwrap().to_string(), digits);
}

#[test]
fn each_node_has_its_place() {
    let read = documents("a: 1\nb:\n  - x\n  - c: y\n---\nz\n").unwrap();
    assert_eq!(read.len(), 2);
    let place = |node: &Node| (node.at.line, node.at.column);
    let Yaml::Map(pairs) = &read[0].is else { panic!("a map") };
    let Yaml::List(items) = &pairs[1].1.is else { panic!("a list") };
    let Yaml::Map(inner) = &items[1].is else { panic!("a map") };
    let places = [&pairs[0].0, &pairs[0].1, &items[0], &inner[0].1, &read[1]].map(place);
    assert_eq!(places, [(1, 1), (1, 4), (3, 5), (4, 8), (6, 1)]);
}

#[test]
fn what_is_not_read_is_said_with_its_place_and_without_its_text() {
    let bomb = (1..30).fold("a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, level| {
        let inner = level - 1;
        format!("{text}a{level}: &a{level} [*a{inner}, *a{inner}, *a{inner}, *a{inner}, *a{inner}]\n")
    });
    let aliases = |anchor: &str| format!("a: &a {anchor}\nb: [{}]\n", "*a, ".repeat(1000));
    let named = aliases(&format!("{{? {} : 1}}", "n".repeat(100_000)));
    let anchors = (0..100).map(|level| format!("&a{level} [")).collect::<Vec<_>>().concat();
    let anchors = format!("{anchors}{}{}", "1,".repeat(2000), "]".repeat(100));
    let deeper = |level: usize| format!("b{level}: &b{level} [*b{}]\n", level - 1);
    let deep = (1..200).map(deeper).fold("b0: &b0 []\n".to_owned(), |text, line| text + &line);
    let large = "makes it more than 100,000 values, or 8 MiB";
    for (text, line, why) in [
        (named, 2, large),
        (anchors, 1, large),
        (deep, 127, "is nested deeper than 127 levels"),
        (aliases(&"1".repeat(9000)), 2, large),
    ] {
        let wrong = value(&text).unwrap_err();
        assert_eq!((wrong.at.line, wrong.why), (line, why));
    }
    for (text, place, why) in [
        ("a: [1", (2, 1), "is no YAML"),
        ("a: 1\nb: *x\n", (2, 4), "is no YAML"),
        ("a: 1\na: 2\n", (2, 1), "has a key a second time"),
        ("? [a]\n: 1\n", (1, 3), "has a key that is a list or a map"),
        ("~: 1\n", (1, 1), "has a key that is null"),
        (&"[".repeat(200), (1, 128), "is nested deeper than 127 levels"),
        (&bomb, (7, 0), "makes it more than 100,000 values, or 8 MiB"),
    ] {
        let wrong = value(text).unwrap_err();
        assert_eq!(wrong.why, why, "{text}");
        assert_eq!(wrong.at.line, place.0, "{text}");
        assert!(place.1 == 0 || wrong.at.column == place.1, "{wrong:?} {text}");
    }
}

#[test]
fn the_time_for_a_map_is_no_square_of_its_names() {
    let names = (0..49_000).map(|name| format!("n{name}: \n")).collect::<Vec<_>>().concat();
    assert_eq!(value(&names).unwrap().as_object().unwrap().len(), 49_000);
    let merged = (0..24_000).map(|name| format!(" n{name}: \n")).collect::<Vec<_>>().concat();
    let merged = value(&format!("a: &a\n{merged}b:\n <<: *a\n n1: 1\n")).unwrap();
    assert_eq!(merged["b"].as_object().unwrap().len(), 24_000);
    assert_eq!(merged["b"]["n1"], 1);
}

#[test]
fn a_text_of_nothing_but_separators_is_not_read() {
    for text in [format!("[{}", ",".repeat(1 << 20)), format!("[{}", "a: ".repeat(1 << 19))] {
        let Wrong { at, why } = documents(&text).unwrap_err();
        assert_eq!((at.line, at.column), (1, 1));
        assert_eq!(why, "begins a text with more than 400,000 separators of values");
    }
    // A long text of one value has as many as it needs for most uses.
    let text = format!("a: |\n  {}\n", "1,2,".repeat(100_000));
    assert_eq!(value(&text).unwrap()["a"].as_str().map(str::len), Some(400_001));
}

proptest! {
    #[test]
    fn no_text_panics(text in "[-a-z0-9:{}\\[\\],&*!|>'\"\\\\ \n\t#?%@`<~.é]{0,60}") {
        if let Ok(documents) = documents(&text) {
            for node in documents {
                drop(node.value());
            }
        }
    }

    #[test]
    fn json_is_yaml(value in any_value()) {
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            prop_assert_eq!(documents(&text).unwrap().remove(0).value(), Ok(value.clone()), "{}", text);
        }
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~\n\té]{0,12}".prop_map(Value::from),
    ];
    scalar.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[ -~]{1,6}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
