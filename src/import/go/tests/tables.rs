//! Texts, and what is read of them.

use super::print::shape;
use crate::import::go::{DEEPEST, Delimiters, parse};

#[track_caller]
fn reads(table: &[(&str, &str)]) {
    for (text, expected) in table {
        let tree = parse(text, &Delimiters::default());
        assert_eq!(
            tree.as_ref().map(shape).map_err(ToString::to_string),
            Ok((*expected).to_owned()),
            "{text}"
        );
    }
}

#[track_caller]
fn fails(table: &[(&str, usize, &str)]) {
    for (text, at, message) in table {
        let error = parse(text, &Delimiters::default()).expect_err(text);
        assert_eq!((error.at, error.message.contains(message)), (*at, true), "{text}: {error:?}");
    }
}

#[test]
fn a_trim_marker_trims_what_is_beside_it() {
    reads(&[
        ("a \n {{- .x -}} \n b", "a{{.x}}b"),
        ("a {{-  .x  -}} b", "a{{.x}}b"),
        ("a {{.x -}}\n\n{{- .y}}", "a {{.x}}{{.y}}"),
        ("{{-3}} {{- 3}}", "{{-3}}{{3}}"),
        ("a {{- /* c */ -}} b", "a{{/* c */}}b"),
        ("a {{/* c */ -}} b", "a {{/* c */}}b"),
        ("a\u{a0}{{- .x -}}\u{a0}b", "a\u{a0}{{.x}}\u{a0}b"),
        ("\u{b} {{- .x}}", "\u{b}{{.x}}"),
        ("{{\"a -}}\"}}", "{{\"a -}}\"}}"),
        ("{{.x\n-}}\n", "{{.x}}"),
        ("{{ .x \t -}} \r\n b", "{{.x}}b"),
    ]);
}

#[test]
fn constants_are_read_as_go_reads_them() {
    reads(&[
        (
            "{{0x1F}} {{0b11}} {{0o17}} {{017}} {{1_000}} {{-7}} {{+7}}",
            "{{31}} {{3}} {{15}} {{15}} {{1000}} {{-7}} {{7}}",
        ),
        ("{{1.50}} {{1e3}} {{.5}} {{1e-3}}", "{{1.50}} {{1e3}} {{.5}} {{1e-3}}"),
        ("{{'a'}} {{'\\n'}} {{'é'}} {{'\\''}}", "{{97}} {{10}} {{233}} {{39}}"),
        (r#"{{"a\tb\"\\\x41\u00e9\101"}}"#, "{{\"a\\u0009b\\\"\\\\AéA\"}}"),
        ("{{`a\r\n\\\"`}}", "{{\"a\\n\\\\\\\"\"}}"),
        ("{{true}} {{false}} {{print nil}}", "{{true}} {{false}} {{print nil}}"),
    ]);
}

#[test]
fn pipelines_and_fields() {
    reads(&[
        ("{{.}} {{.a.b}} {{$}} {{$.a.b}}", "{{.}} {{.a.b}} {{$}} {{$.a.b}}"),
        ("{{ f  .a \"b\" 1|g |  h }}", "{{f .a \"b\" 1 | g | h}}"),
        ("{{(f .a).b.c}} {{((f))}} {{f.a}}", "{{(f .a).b.c}} {{((f))}} {{f.a}}"),
        ("{{f (g (h 1) 2)}}", "{{f (g (h 1) 2)}}"),
        ("{{$x := .a}}{{$x = f $x.b}}", "{{$x := .a}}{{$x = f $x.b}}"),
        ("{{with $x := .a -}} {{$x}} {{end}}", "{{with $x := .a}}{{$x}} {{end}}"),
        ("{{\n  with\n  .a\n}}{{\n.\n}}{{end}}", "{{with .a}}{{.}}{{end}}"),
        ("{{printf `%s` .a | f}}", "{{printf \"%s\" .a | f}}"),
    ]);
}

#[test]
fn blocks() {
    reads(&[
        ("{{if .a}}x{{else if .b}}y{{else}}z{{end}}", "{{if .a}}x{{else}}{{if .b}}y{{else}}z{{end}}{{end}}"),
        ("{{with .a}}x{{else with .b}}y{{end}}", "{{with .a}}x{{else}}{{with .b}}y{{end}}{{end}}"),
        (
            "{{range .}}{{break}}{{continue}}{{else}}z{{end}}",
            "{{range .}}{{break}}{{continue}}{{else}}z{{end}}",
        ),
        ("{{range $v := .}}{{$v}}{{end}}", "{{range $v := .}}{{$v}}{{end}}"),
        ("{{range $k,$v := .}}{{$k}}{{end}}", "{{range $k, $v := .}}{{$k}}{{end}}"),
        ("{{- define \"x\" -}} {{.}} {{- end -}} a {{template \"x\" .a}}", "a {{template \"x\" .a}}"),
        ("{{block \"x\" .a}}b{{end}}{{template `x`}}", "{{template \"x\" .a}}{{template \"x\"}}"),
        ("{{ifx}}{{end_}}{{wither}}", "{{ifx}}{{end_}}{{wither}}"),
    ]);
    let tree = parse("{{define \"a\"}}1{{end}}{{block \"b\" .}}2{{end}}", &Delimiters::default()).unwrap();
    assert_eq!(tree.defined.keys().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn other_delimiters() {
    let table = [
        ("[[ .a ]] {{ .b }}", "[[", "]]", "{{.a}} {{ .b }}"),
        ("a [[- .a -]] b", "[[", "]]", "a{{.a}}b"),
        ("<% \"%>\" %>", "<%", "%>", "{{\"%>\"}}"),
        ("a{{.x}}", "", "", "a{{.x}}"),
    ];
    for (text, left, right, expected) in table {
        let tree = parse(text, &Delimiters::new(Some(left), Some(right)));
        assert_eq!(tree.as_ref().map(shape).map_err(ToString::to_string), Ok(expected.to_owned()), "{text}");
    }
}

#[test]
fn what_go_refuses_is_refused_with_its_place() {
    fails(&[
        ("a {{ .x", 7, "never closed"),
        ("{{ .x }", 6, "`}` has no meaning"),
        ("{{if .a}}x", 10, "`end` is missing"),
        ("{{if .a}}x{{else}}y", 19, "`end` is missing"),
        ("x{{end}}", 6, "closes nothing"),
        ("{{else}}", 2, "closes nothing"),
        ("{{if}}{{end}}", 4, "has no value"),
        ("{{$x}}", 2, "no variable `$x`"),
        ("{{if $x := .a}}{{end}}{{$x}}", 24, "no variable `$x`"),
        ("{{define \"a\"}}{{$x}}{{end}}{{$x := 1}}", 16, "no variable `$x`"),
        ("{{.a | \"b\"}}", 10, "no function"),
        ("{{\"a\".b}}", 5, "no fields"),
        ("{{f (g}}", 6, "`(` is never closed"),
        ("{{f)}}", 3, "closes nothing"),
        ("{{/* a }}", 0, "never closed"),
        ("{{/* a */ }}", 0, "a comment ends right before"),
        ("{{ /* a */ }}", 3, "`/` has no meaning"),
        ("{{\"a\nb\"}}", 2, "never closed on its line"),
        (r#"{{"\q"}}"#, 2, "escape"),
        ("{{`a}}", 2, "backquote"),
        ("{{1x}}", 2, "no number"),
        ("{{a#}}", 3, "cannot follow a name"),
        ("{{range $a, $b, $c := .}}{{end}}", 14, "too many variables"),
        ("{{if $a, $b := .}}{{end}}", 7, "too many variables"),
        ("{{break}}", 2, "stand in a `range`"),
        ("{{if .a}}{{define \"x\"}}{{end}}{{end}}", 11, "outside of blocks"),
        ("{{template x}}", 11, "name in quotes"),
        ("{{if .a}}{{else}}{{else}}{{end}}", 19, "second"),
        ("{{range .a}}{{else if .b}}{{end}}", 19, "unexpected"),
        ("{{a :b}}", 4, "`:=`"),
    ]);
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| "{{if .a}}".repeat(depth) + &"{{end}}".repeat(depth);
    assert!(parse(&nested(DEEPEST), &Delimiters::default()).is_ok());
    assert!(parse(&nested(DEEPEST + 1), &Delimiters::default()).is_err());
    let parentheses = format!("{{{{{}1{}}}}}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(parse(&parentheses, &Delimiters::default()).is_err());
}
