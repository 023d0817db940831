//! Helpers that calculate, take apart and put together.

use std::time::Duration;

use serde_json::json;

use super::{CANARY, data, engine, render, render_with};
use crate::template::{Engine, Template, effort};

#[track_caller]
fn assert_renders(table: &[(&str, &str)]) {
    for (text, expected) in table {
        assert_eq!(render(text).as_deref(), Ok(*expected), "{text}");
    }
}

#[test]
fn texts_are_changed() {
    assert_renders(&[
        ("{{trim_prefix \"refs/heads/a\" \"refs/\"}} {{trim_prefix \"a\" \"b\"}}", "heads/a a"),
        ("{{trim_suffix \"a.pem.pem\" \".pem\"}} {{trim_suffix db.empty \"x\"}}", "a.pem "),
        ("{{title \"ann o'hara, of é_a 1b x.y .z\"}}", "Ann O'hara, Of É_a 1B X.y .Z"),
        ("{{regex_replace db.username \"p+\" \"-\"}}", "a-"),
        ("{{regex_replace \"key=a, key=b\" \"key=(\\\\w)\" \"${1}1\"}}", "a1, b1"),
        ("{{regex_replace \"abc\" \"x*\" \"-\"}}", "-a-b-c-"),
        (
            "{{#if (regex_match db.username \"^a\")}}yes{{/if}}{{#if (regex_match \"b\" \"^a\")}}no{{/if}}",
            "yes",
        ),
        (
            "[{{join (split \"\" \",\") \"|\"}}] {{len (split \"\" \",\")}} {{len (split \",\" \",\")}}",
            "[] 0 2",
        ),
        (
            "{{base64_url \"a>?b\"}} {{base64_url_decode \"YT4_Yg==\"}} {{base64_url_decode \"YT4_Yg\"}}",
            "YT4_Yg== a>?b a>?b",
        ),
        (
            "{{hmac_sha256 \"what do ya want for nothing?\" \"Jefe\"}}",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
    ]);
}

#[test]
fn lists_and_maps_are_taken_apart() {
    assert_renders(&[
        ("{{first db.hosts}} {{last db.hosts}}", "a b"),
        ("{{join (keys db.users) \",\"}} {{#each (values db.users)}}{{name}} {{/each}}", "x,y ann bob "),
        ("{{join (sort (split \"b,B,a\" \",\")) \",\"}}", "B,a,b"),
        ("{{join (sort (parse_json \"[10, 9, -1.5]\")) \",\"}}", "-1.5,9,10"),
        ("{{join (uniq (split \"b,a,b\" \",\")) \",\"}}", "b,a"),
        (
            "{{index db \"users\" \"x\" \"name\"}} {{index db.hosts 1}} {{index db \"odd key\"}}",
            "ann b spaced",
        ),
        (
            "{{#if (contains db.hosts \"a\")}}1{{/if}}{{#if (contains db.username \"pp\")}}2{{/if}}\
             {{#if (contains db.users \"x\")}}3{{/if}}{{#if (contains db.hosts \"c\")}}4{{/if}}",
            "123",
        ),
    ]);
}

#[test]
fn numbers_are_calculated() {
    assert_renders(&[
        ("{{add db.port 1}} {{add 1 2 3}} {{subtract db.port 432}} {{multiply 2 3 7}}", "5433 6 5000 42"),
        ("{{divide 7 2}} {{divide -7 2}} {{modulo 7 3}} {{modulo -7 3}}", "3 -3 1 -1"),
        ("{{add \"5\" 1}}", "6"),
        ("{{join (range 3) \",\"}} {{join (range 2 4) \",\"}} [{{join (range 4 2) \",\"}}]", "0,1,2 2,3 []"),
        ("{{#each (range 2)}}{{this}}{{@root.db.port}} {{/each}}", "05432 15432 "),
    ]);
}

#[test]
fn other_languages_are_read() {
    let data = data(json!({"s": {
        "json": "{\"a\": [1.10, {\"b\": null}], \"c\": \"x\"}", "yaml": "a:\n  - 1.10\n  - b: ~\nc: x\n", "none": "", "two": "a\n---\nb\n",
        "broken": format!("{{\"{CANARY}\": "), "no_yaml": format!("a: [{CANARY}"),
    }}));
    let same = r#"{"a":[1.10,{"b":null}],"c":"x"}"#;
    for (text, expected) in [
        ("{{json (parse_json s.json)}}", Ok(same)),
        ("{{json (parse_yaml s.yaml)}}", Ok(same)),
        ("{{#with (parse_json s.json)}}{{c}}{{/with}} {{index (parse_yaml s.yaml) \"a\" 0}}", Ok("x 1.10")),
        ("{{json (parse_yaml s.none)}}", Ok("null")),
        (
            "{{json (parse_json s.none)}}",
            Err("1:1: `parse_json` cannot read `s.none`: its line 1, column 0, is no JSON"),
        ),
        (
            "{{json (parse_json s.broken)}}",
            Err("1:1: `parse_json` cannot read `s.broken`: its line 1, column 16, is no JSON"),
        ),
        (
            "{{json (parse_yaml s.no_yaml)}}",
            Err("1:1: `parse_yaml` cannot read `s.no_yaml`: its line 2, column 1, is no YAML"),
        ),
        (
            "{{json (parse_yaml s.two)}}",
            Err("1:1: `parse_yaml` cannot read `s.two`: its line 3, column 1, begins a second document"),
        ),
    ] {
        assert_eq!(render_with(text, &data).as_deref().map_err(String::as_str), expected, "{text}");
    }
}

#[test]
fn what_cannot_be_done_is_said_without_the_value() {
    for (text, expected) in [
        ("{{add db.canary 1}}", "`add` takes a whole number of at most 64 bits, and `db.canary` is text"),
        ("{{add db.ratio 1}}", "and `db.ratio` is a number"),
        ("{{add db.small -1}}", "what `add` yields has more than 64 bits"),
        ("{{divide 1 db.zero}}", "`divide` cannot divide by `db.zero`, which is 0"),
        ("{{modulo 1 0}}", "`modulo` cannot divide by the value, which is 0"),
        ("{{divide db.small -1}}", "what `divide` yields has more than 64 bits"),
        ("{{json (range 100001)}}", "`range` would yield more than 100000 numbers"),
        ("{{json (range db.small db.port)}}", "`range` would yield more than 100000 numbers"),
        ("{{first (split \"\" \",\")}}", "the value is an empty list, of which `first` can give nothing"),
        ("{{json (sort db.users)}}", "`sort` takes a list, and `db.users` is a map"),
        ("{{json (sort (parse_json \"[1, \\\"a\\\"]\"))}}", "`sort` takes a list of texts or one of numbers"),
        ("{{index db \"users\" \"z\"}}", "`users` has no field `z`; it has `x`, `y`"),
        ("{{index db db.canary}}", "`db` has no field; it has"),
        (
            "{{regex_replace \"a\" \"(\" \"b\"}}",
            "`regex_replace` takes a regular expression, and the value is none: error: unclosed group",
        ),
        ("{{regex_replace \"a\" (json db.canary) \"b\"}}", ""),
        ("{{regex_match \"a\" \"(a{1000}){1000}\"}}", "the value is none: it is too large"),
        ("{{base64_url_decode db.canary}}", "`db.canary` is not text in base64 with the alphabet of URLs"),
        (
            "{{certificate db.canary \"subject\"}}",
            "`certificate` takes 1 to 32 certificates in PEM, and `db.canary` is something else",
        ),
        (
            "{{timestamp}}",
            "`timestamp` is when the newest secret of this template came, and the template refers to none",
        ),
        ("{{timestamp db}}", "`timestamp` does not take 1 values; usage: {{timestamp}}"),
        ("{{chain db.hosts}}", "`chain` takes 1 to 32 certificates in PEM, and `db.hosts` is something else"),
    ] {
        let rendered = render(text);
        if expected.is_empty() {
            assert!(rendered.is_ok(), "{rendered:?}");
            continue;
        }
        let error = rendered.unwrap_err();
        assert!(error.contains(expected) && !error.contains(CANARY), "{text}: {error}");
    }
}

#[test]
fn a_certificate_tells_what_it_is_and_a_chain_is_put_in_order() {
    let [root, middle, leaf] = certificates();
    let data = data(json!({"s": {
        "leaf": leaf, "mixed": format!("{root}\n{leaf}{middle}"), "list": [middle, root, leaf], "strangers": [root, leaf],
        "one": leaf.trim_end(),
    }}));
    for (text, expected) in [
        ("{{certificate s.leaf \"subject\"}}", "CN=web.internal"),
        ("{{certificate s.leaf \"issuer\"}}", "CN=middle"),
        ("{{certificate s.leaf \"not_before\"}}", "2026-01-02T00:00:00Z"),
        ("{{certificate s.leaf \"not_after\"}}", "2036-01-02T00:00:00Z"),
        ("{{certificate s.leaf \"serial\"}}", "2a"),
        ("{{join (certificate s.leaf \"names\") \",\"}}", "web.internal,10.0.0.1,::1"),
        ("{{len (certificate s.leaf \"fingerprint\")}}", "64"),
        ("{{chain s.one}}", leaf.trim_end()),
    ] {
        assert_eq!(render_with(text, &data).as_deref(), Ok(expected), "{text}");
    }
    let whole = format!("{leaf}{middle}{root}");
    for field in ["mixed", "list"] {
        let chain = render_with(&format!("{{{{chain s.{field}}}}}"), &data);
        assert_eq!(chain.as_deref(), Ok(whole.trim_end()), "{field}");
    }
    let error = render_with("{{chain s.strangers}}", &data).unwrap_err();
    assert!(error.contains("the certificates in `s.strangers` are not one chain"), "{error}");
    let error = render_with("{{certificate s.leaf \"key\"}}", &data).unwrap_err();
    assert!(error.contains("`certificate` can give \"subject\", \"issuer\""), "{error}");
}

/// A root, what it signed, and what that signed, in PEM.
fn certificates() -> [String; 3] {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let params = |name: &str, is_authority: bool| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(2026, 1, 2);
        params.not_after = rcgen::date_time_ymd(2036, 1, 2);
        if is_authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params
    };
    let keys: Vec<KeyPair> = (0..3).map(|_| KeyPair::generate().unwrap()).collect();
    let unix = |pem: String| pem.replace('\r', "");
    let root = params("root", true).self_signed(&keys[0]).unwrap();
    let by_root = Issuer::new(params("root", true), &keys[0]);
    let middle = params("middle", true).signed_by(&keys[1], &by_root).unwrap();
    let by_middle = Issuer::new(params("middle", true), &keys[1]);
    let mut leaf = params("web.internal", false);
    leaf.serial_number = Some(42_u64.into());
    leaf.subject_alt_names =
        CertificateParams::new(vec!["web.internal".into(), "10.0.0.1".into(), "::1".into()])
            .unwrap()
            .subject_alt_names;
    let leaf = leaf.signed_by(&keys[2], &by_middle).unwrap();
    [root, middle, leaf].map(|certificate| unix(certificate.pem()))
}

#[test]
fn a_text_cannot_choose_how_long_an_expression_computes() {
    let texts = json!({"text": "a".repeat(1 << 20), "expression": "(?:a?){4000}b", "usual": "^a+"});
    let data = data(json!({"s": texts}));
    for (text, expected) in [
        ("{{regex_replace s.text \"a.*z|a\" \"b\"}}", "`regex_replace` needs more than 2 s for `s.text`"),
        (
            "{{regex_match s.text s.usual}}",
            "`regex_match` takes a text of at most 64 KiB where the expression is a value",
        ),
        ("{{regex_match \"a\" s.expression}}", "`s.expression` is none: it is too large"),
    ] {
        let error = render_with(text, &data).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(render_with("{{#if (regex_match \"aa\" s.usual)}}yes{{/if}}", &data).unwrap(), "yes");
}

#[test]
fn what_stands_for_a_match_is_bounded_before_it_is_written() {
    // Written at once, it would be 512 MiB.
    let texts = json!({"text": "a".repeat(1 << 18), "with": "$0".repeat(1 << 11)});
    let data = data(json!({"s": texts}));
    let error = render_with("{{regex_replace s.text \"(?s).+\" s.with}}", &data).unwrap_err();
    assert!(error.ends_with("what `regex_replace` yields is larger than 8 MiB"), "{error}");
    let usual = regex::Regex::new("(a)(b)").unwrap();
    for (with, expected) in [
        ("$1-$2", "a-b!"),
        ("${2}$1", "ba!"),
        ("$$1 $1x ${1}x $", "$1  ax $!"),
        ("x${none}y${1$2}z${1", "xyz${1!"),
        ("é$2é", "ébé!"),
        ("", "!"),
    ] {
        let text = format!("{{{{regex_replace \"ab!\" \"(a)(b)\" \"{with}\"}}}}");
        let whole = usual.replace_all("ab!", with).into_owned();
        assert_eq!((whole.as_str(), render(&text)), (expected, Ok(expected.to_owned())), "{with}");
    }
}

#[test]
fn the_longer_a_text_is_the_smaller_is_the_expression_for_it() {
    let data = data(json!({"s": {"short": "a".repeat(1 << 10), "long": "a".repeat(1 << 20)}}));
    let one = |expression: &str, text: &str| {
        render_with(&format!("{{{{#if (regex_match s.{text} \"{expression}\")}}}}yes{{{{/if}}}}"), &data)
    };
    // It looks at five hundred places of the text at each of its characters.
    let many = "(.{1,100}a){1,5}!";
    assert_eq!(one(many, "short").unwrap(), "");
    let error = one(many, "long").unwrap_err();
    assert!(error.ends_with("the value is none: it is too large for a text of this length"), "{error}");
    assert_eq!(one("^[a-z]+$", "long").unwrap(), "yes");
    // A class of Unicode is a large table and no more than one step.
    assert_eq!(one("(\\\\w+)@(\\\\w+)\\\\.(\\\\w+)", "long").unwrap(), "");
    assert_eq!(one("^\\\\w+$", "long").unwrap(), "yes");
}

#[test]
fn a_template_computes_for_a_while_and_no_longer() {
    let data = data(json!({"s": {"list": (0..2000).collect::<Vec<u32>>()}}));
    for text in [
        "{{#each (range 100000)}}{{#each (range 100000)}}{{/each}}{{/each}}",
        "{{#each s.list}}{{#each @root.s.list}}{{this}}{{/each}}{{/each}}",
        "{{#each s.list}}{{bcrypt this \"a\"}}{{/each}}",
        "{{#each s.list}}{{#each @root.s.list}}{{#if (contains @root.s.list -1)}}{{/if}}{{/each}}{{/each}}",
        "{{#*inline \"p\"}}.{{/inline}}{{#each s.list}}{{#each @root.s.list}}{{> p}}{{/each}}{{/each}}",
    ] {
        let template = Template::compile("t", text).unwrap();
        let engine = Engine { longest: Duration::from_millis(20), ..engine() };
        let error = engine.render(&template, &data).unwrap_err().to_string();
        assert!(error.contains("the template computes for more than 10 s here"), "{text}: {error}");
    }
    // The next one has its own time.
    assert_eq!(render_with("{{#each s.list}}{{#if this}}{{/if}}{{/each}}", &data).unwrap(), "");
}

#[test]
fn a_number_of_many_digits_is_read_once() {
    let mut numbers: Vec<String> = (0..20_000).map(|item| format!("0.{}", 100_000 + item)).collect();
    numbers.insert(10_000, format!("0.11{}", "0".repeat(200_000)));
    let data = data(json!({"s": {"numbers": format!("[{}]", numbers.join(","))}}));
    let began = effort::computed();
    assert_eq!(render_with("{{len (sort (parse_json s.numbers))}}", &data).unwrap(), "20001");
    let computed = effort::computed().saturating_sub(began);
    assert!(computed < Duration::from_millis(1500), "{computed:?}");
}

#[test]
fn numbers_that_one_fraction_cannot_tell_apart_are_sorted() {
    let many: Vec<String> = (0..300_u64)
        .map(|item| (1 << 53) + item * 7919 % 41)
        .enumerate()
        .map(|(at, number)| if at % 2 == 0 { number.to_string() } else { format!("{number}.0") })
        .collect();
    let many = format!("[{}]", many.join(", "));
    let wide = "[18446744073709551615, 18446744073709551614, 1e300, -1]";
    let data = data(json!({"s": {"many": many, "wide": wide}}));
    let sorted = render_with("{{join (sort (parse_json s.many)) \",\"}}", &data).unwrap();
    let whole: Vec<u64> = sorted.split(',').filter_map(|number| number.parse().ok()).collect();
    assert!(whole.len() == 150 && whole.is_sorted(), "{sorted}");
    assert_eq!(
        render_with("{{join (sort (parse_json s.wide)) \",\"}}", &data).unwrap(),
        "-1,18446744073709551614,18446744073709551615,1e+300"
    );
}

#[test]
fn names_in_a_text_that_was_read_are_a_part_of_its_value() {
    let data =
        data(json!({"s": {"json": json!({CANARY: {CANARY: 1}}).to_string(), "yaml": format!("{CANARY}:")}}));
    for text in [
        "{{index (parse_json s.json) \"x\"}}",
        "{{lookup (parse_yaml s.yaml) \"x\"}}",
        "{{#with (parse_json s.json)}}{{x}}{{/with}}",
        "{{#each (parse_json s.json)}}{{x}}{{/each}}",
        "{{#each (parse_json s.json) as |one|}}{{one.x}}{{/each}}",
        "{{parse_json s.json}}",
        "{{only (parse_json s.json)}}",
        "{{#with (parse_json s.json)}}{{lookup this \"x\"}}{{/with}}",
        "{{#with (parse_json s.json)}}{{#each this}}{{index this \"x\"}}{{/each}}{{/with}}",
        "{{only (parse_json \"{\\\"a\\\": 1, \\\"b\\\": 2}\")}}",
        "{{toml (parse_json s.json)}}{{add (parse_json s.json) 1}}",
    ] {
        let error = render_with(text, &data).unwrap_err();
        assert!(!error.contains(CANARY) && !error.contains("`b`"), "{text}: {error}");
    }
}

#[test]
fn a_text_of_json_is_bounded_also_where_it_hides_values() {
    let zeros = |count: usize| format!("[{}0]", "0,".repeat(count));
    let hidden = json!({"$serde_json::private::RawValue": zeros(200_000)}).to_string();
    let data = data(json!({"s": {"many": zeros(100_000), "hidden": hidden, "enough": zeros(99_000)}}));
    for (text, expected) in [
        ("{{len (parse_json s.many)}}", "`parse_json` takes at most 100000 values, and `s.many` has more"),
        ("{{len (parse_json s.hidden)}}", "`parse_json` cannot read `s.hidden`: its line 1"),
    ] {
        let error = render_with(text, &data).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(render_with("{{len (parse_json s.enough)}}", &data).unwrap(), "99001");
}
