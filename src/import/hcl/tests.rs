//! What the agents themselves make of these texts was tried with OpenBao Agent 2.7.

use proptest::prelude::*;

use super::*;

/// The text of `contents` in the only block.
fn contents(text: &str) -> Result<String, String> {
    let body = parse(text, Dialect::First).map_err(|flaw| flaw.message)?;
    let item = body.items.into_iter().next().ok_or("nothing")?;
    let Is::Object(body) = item.value.is else { return Err("no block".to_owned()) };
    let last = body.items.into_iter().rfind(|item| item.keys[0].name == "contents").ok_or("no contents")?;
    let Is::Text(text, _) = last.value.is else { return Err("no text".to_owned()) };
    Ok(text)
}

#[test]
fn heredocs_and_texts_are_what_the_agent_makes_of_them() {
    let cases = [
        ("<<EOF\nA\n B\nEOF", "A\n B\n"),
        ("<<EOF\n  A\n   B\n  EOF", "  A\n   B\n  "),
        ("<<-EOF\n  A\n   B\n  EOF", "A\n B\n"),
        ("<<-EOF\n  A\n\n   B\n  EOF", "  A\n\n   B\n"),
        ("<<-EOF\n  A\n B\n  EOF", "  A\n B\n"),
        ("<<-EOF\n    A  \n B\n\t EOF", "    A  \n B\n"),
        ("<<EOF\r\nA\r\n  B\r\n  EOF\r", "A\n  B\n  "),
        ("<<EOF\nEOF", ""),
        ("<<EOF\nEOFX\n${not \"closed\nEOF", "EOFX\n${not \"closed\n"),
        (
            "\"a\\tb\\\"c\\n${x \"y\"} \\u00e9 \\x41 \\101 $${z} {{ \\\"q\\\" }}\"",
            "a\tb\"c\n${x \"y\"} é A A $${z} {{ \"q\" }}",
        ),
        ("\"one\"\ncontents = \"two\"", "two"),
        ("\"x\" // y\n # z", "x"),
    ];
    for (written, expected) in cases {
        let text = format!("template {{\n  /* c */ contents = {written}\n}}\n");
        assert_eq!(contents(&text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_the_agent_refuses_is_refused_with_its_place() {
    let cases = [
        ("a = <<-EOF\n  A\nEOF\n", (1, 5)),
        ("a = <<EOF\nA\nEOF \n", (1, 5)),
        ("a = <<EOF\nA\nEOF", (1, 5)),
        ("a = \"x\ny\"\n", (1, 5)),
        ("a = 'x'\n", (1, 5)),
        ("a = \"\\'\"\n", (1, 6)),
        ("\n a = word\n", (2, 6)),
        ("a {\n", (2, 1)),
        ("a {\n}\n}\n", (3, 1)),
        ("a /* b", (1, 3)),
        ("a = [1 2]\n", (1, 8)),
        ("= 1", (1, 1)),
    ];
    for (text, (line, column)) in cases {
        let flaw = parse(text, Dialect::First).unwrap_err();
        assert_eq!(flaw.at, Spot { line, column }, "{text:?}: {}", flaw.message);
    }
}

#[test]
fn blocks_are_found_in_every_spelling() {
    let spellings = [
        "sink \"file\" { path = \"x\" }",
        "sink \"file\" = { path = \"x\", }",
        "sink { file { path = \"x\" } }",
        "sink = { file = { path = \"x\" } }",
        "sink = [{ file = { path = \"x\" } }]",
        "{\"sink\": [{\"file\": {\"path\": \"x\"}}]}",
        "{\"sink\": {\"file\": [{\"path\": \"\\u0078\"}]}}",
    ];
    for text in spellings {
        let body = parse(text, Dialect::of(text)).unwrap();
        let mut notes = super::super::Notes::default();
        let mut fields = Fields::new("agent.hcl", &body);
        let blocks: Vec<_> =
            fields.blocks("sink").into_iter().flat_map(|block| block.labelled(&["type", "config"])).collect();
        let [block] = blocks.as_slice() else { panic!("{text}: {blocks:?}") };
        assert_eq!(block.labels[0].name, "file", "{text}");
        assert_eq!(Fields::new("", block.body).text("path", &mut notes).as_deref(), Some("x"), "{text}");
        assert!(fields.rest().is_empty() && notes.all().is_empty());
    }
}

#[test]
fn nomad_writes_expressions_and_strips_what_lines_have_in_common() {
    let text = "job \"a\" {\n  count = var.count\n  d = <<-EOF\n    A\n\n      B\n  EOF\n  e = format(\"%s\", [1, 2])\n  f = true\n}";
    let body = parse(text, Dialect::Second).unwrap();
    let Is::Object(job) = &body.items[0].value.is else { panic!() };
    let is: Vec<&Is> = job.items.iter().map(|item| &item.value.is).collect();
    assert_eq!(is[0], &Is::Other("var.count".to_owned()));
    assert_eq!(is[1], &Is::Text("A\n\n  B\n".to_owned(), 4));
    assert_eq!(is[2], &Is::Other("format(\"%s\", [1, 2])".to_owned()));
    assert_eq!(is[3], &Is::Bool(true));
}

proptest! {
    #[test]
    fn no_text_panics(text in "([a-z]{1,3}|[ \n\t]|[{}\\[\\]=:,\"\\\\$#/*<>-]|<<-?EOF\n|EOF\n|\\$\\{|0644|é){0,40}") {
        for dialect in [Dialect::First, Dialect::Second, Dialect::Json] {
            if let Err(flaw) = parse(&text, dialect) {
                prop_assert!(flaw.at.line >= 1 && flaw.at.column >= 1);
            }
        }
    }

    #[test]
    fn quoted_text_comes_back(text in "[^$]{0,30}") {
        let json = serde_json::to_string(&serde_json::json!({ "a": text })).unwrap();
        let body = parse(&json, Dialect::Json).unwrap();
        prop_assert_eq!(&body.items[0].value.is, &Is::Text(text.clone(), 1));
    }
}
