use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::Value;

use super::*;

const SHORTEST: usize = 4;

fn secret(value: &str) -> Fields {
    Fields::from_iter([("password".to_owned(), Value::from(value))])
}

fn hides(value: &str, text: &str) -> String {
    masked(text.as_bytes(), &[secret(value)], [])
}

#[test]
fn a_value_is_masked_in_every_form() {
    let cases = [
        ("hunter2", "login failed for hunter2!", "login failed for ***!"),
        ("hunter2", "hunter2hunter2", "***"),
        ("hunter2", "HUNTER2 Hunter2", "*** ***"),
        ("größe-7", "GRÖSSE-7 Größe-7", "*** ***"),
        ("hunter2", "0x68756e74657232, 68756E74657232", "0x***, ***"),
        ("it's", r"PASSWORD='it'\''s'", "PASSWORD='***'"),
        ("a b$c!", r"export P=a\ b\$c\!", "export P=***"),
        ("<p&'\">", "<td>&lt;p&amp;&#39;&quot;&gt;</td>", "<td>***</td>"),
        ("a-b/c d", "GET /?p=a-b%2Fc+d and a-b/c%20d", "GET /?p=*** and ***"),
        // user:password and what a header has before and after it, at each place modulo three.
        ("hunter2", "Authorization: Basic dTpodW50ZXIy", "Authorization: Basic ***"),
        ("hunter2", "Authorization: Basic dXM6aHVudGVyMg==", "Authorization: Basic ***"),
        ("hunter2", "Authorization: Basic dXNlOmh1bnRlcjI=", "Authorization: Basic ***"),
        ("hunter2", "token dXNlOmh1bnRlcjI6eHh4eHh4 refused", "token *** refused"),
        ("p\"w\n1", r#"{"p": "p\"w\n1"}"#, r#"{"p": "***"}"#),
        ("p/w 12", "postgres://app:p%2Fw%2012@db", "postgres://app:***@db"),
        ("hunter2", "aHVudGVyMg== aHVudGVyMg", "*** ***"),
        ("-----BEGIN-----\nMIIEvQIBADANBg\n", "in MIIEvQIBADANBg: bad key", "in ***: bad key"),
        ("abc", "abc is too short to be told from words", "abc is too short to be told from words"),
        ("hunter2", "one\n\n  two\u{7}\n", "one | two\\u{7}"),
        // JSON: Python's, with a character of two codes, and Go's; within JSON, once and twice; PHP's.
        ("sü\u{1f511}ß", r#"{"p": "s\u00fc\ud83d\udd11\u00DF"}"#, r#"{"p": "***"}"#),
        ("a&b<c", r#"{"p":"a\u0026b\u003cc"}"#, r#"{"p":"***"}"#),
        ("p\"w\\1", r#"{"body":"{\"p\":\"p\\\"w\\\\1\"}"}"#, r#"{"body":"{\"p\":\"***\"}"}"#),
        (
            "p\"w1",
            r#""{\"b\":\"{\\\"p\\\":\\\"p\\\\\\\"w1\\\"}\"}""#,
            r#""{\"b\":\"{\\\"p\\\":\\\"***\\\"}\"}""#,
        ),
        ("a/b/c", r#"{"p":"a\/b\/c"}"#, r#"{"p":"***"}"#),
        ("é-42\u{1}", r"b'\xc3\xa9-42\x01' '\xe9-42\x01' $'\303\251-42\001'", "b'***' '***' $'***'"),
        ("é-42", r#""\u{e9}-42" "\U000000e9-42""#, r#""***" "***""#),
        // Who escapes a quote and not a backslash.
        (r#"a\new"b"#, r#"say "a\new\"b""#, r#"say "***""#),
        // A URL: JavaScript's URLSearchParams, Go's userinfo, JavaScript's escape.
        ("a~b*c_d e", "?p=a%7Eb*c_d+e", "?p=***"),
        ("p:w@1/$&+", "https://u:p%3Aw%401%2F$&+@db", "https://u:***@db"),
        ("s € 12", "s%20%u20AC%2012", "***"),
        ("100%41 sure", "100%2541%20sure", "***"),
        // A shell: Python's shlex.quote, bash's printf %q.
        ("it's 'so' now", r#"P='it'"'"'s '"'"'so'"'"' now'"#, "P='***'"),
        ("a#b~c d", r"P=a#b~c\ d", "P=***"),
        ("it's", "P='it''s'", "P='***'"),
        ("<'\"&>", "&#60;&#x27;&#34;&amp;&#x3E; &lt;&apos;&#x22;&#38;&gt;", "*** ***"),
        // Hexadecimal: wrapped, separated, dumped.
        ("hunter2!", "68756e\n7465\n7232\n21", "***"),
        ("hunter2!", "68:75:6e:74:65:72:32:21", "***"),
        ("hunter2!", "68-75-6E-74-65-72-32-21.", "***."),
        ("hunter2!", r"\x68\x75\x6e\x74\x65\x72\x32\x21", "***"),
        ("hunter2!", "[0x68, 0x75, 0x6e, 0x74, 0x65, 0x72, 0x32, 0x21]", "[0x***]"),
        ("hunter2!", "de 68 75 6e 74 65 72 32 21", "de ***"),
        ("hunter2!", "d 68 75 6e 74 65 72 32 21", "d ***"),
        ("hunter2!", "[104 117 110 116 101 114 50 33] [104, 117, 110, 116, 101, 114, 50, 33]", "[***] [***]"),
        (
            "hunter2-hunter3-hunter4",
            "a:\n00000000: 6875 6e74 6572 322d 6875 6e74 6572 332d  hunter2-hunter3-\n00000010: 6875 6e74 6572 34                        hunter4\n.",
            "a: | *** | .",
        ),
        (
            "abcdef-hunter3-hunter4",
            "00000000  61 62 63 64 65 66 2d 68  75 6e 74 65 72 33 2d 68  |abcdef-hunter3-h|\n00000010  75 6e 74 65 72 34  |unter4|\n00000016",
            "*** | 00000016",
        ),
        ("hunter2!", "0000000 7568 746e 7265 2132\n0000010", "*** | 0000010"),
        // Base64 with an escaped value in it: {"p": "p\"w\n12"}; within base64, and in a URL.
        ("p\"w\n12", "eyJwIjogInBcIndcbjEyIn0=", "***"),
        ("hunter2", "WVVoV2RXUkhWbmxOWnowOQ== YUhWdWRHVnlNZz09", "*** ***"),
        ("hunter2", "?auth=dXM6aHVudGVyMg%3D%3D&x", "?auth=***&x"),
        // Folded: by whom there was no room, between words, and with an indentation.
        ("correct horse battery", "key: correct\n  horse\n  battery", "key: ***"),
        ("hunter2", "hun\nter2 is hu\r\n\t nter2", "*** is ***"),
    ];
    for (value, text, expected) in cases {
        assert_eq!(hides(value, text), expected, "{text}");
    }
}

/// Of two values that overlap neither leaves an end.
#[test]
fn what_overlaps_is_masked_whole() {
    let secrets = |values: &[&str]| values.iter().map(|value| secret(value)).collect::<Vec<_>>();
    for (values, text, expected) in [
        (&["ZxABCD", "CDsecretZx99"][..], "a ZxABCDsecretZx99 b", "a *** b"),
        (&["hunter2", "hunter2and3"], "hunter2and3", "***"),
        (&["unter", "hunter2", "r2and"], "hunter2and", "***"),
        (&["abab"], "xabababay", "x***ay"),
        // One is written in hexadecimal digits, which are another.
        (&["hunter2", "6e7465"], "68756e74657232", "***"),
    ] {
        assert_eq!(masked(text.as_bytes(), &secrets(values), []), expected, "{text}");
    }
}

#[test]
fn what_was_rendered_is_masked_line_by_line() {
    let rendered = ["db = postgres://app:x@db\n  sha = 1f2e3d4c5b6a", "short"].map(str::as_bytes);
    for (said, expected) in [
        ("line 2: sha = 1f2e3d4c5b6a: not allowed, short", "line 2: ***: not allowed, short"),
        (r#"{"line": "db = postgres:\/\/app:x@db"}"#, r#"{"line": "***"}"#),
        ("db = postgres://app is not there", "db = postgres://app is not there"),
        ("c2hhID0gMWYyZTNkNGM1YjZh", "***"),
    ] {
        assert_eq!(masked(said.as_bytes(), &[], rendered), expected, "{said}");
    }
}

/// Of a keystore any sixteen bytes are masked, and what is left of a dump that does not fit into the log.
#[test]
fn bytes_that_are_no_text_are_masked_in_stretches() {
    let keystore: Vec<u8> = (0..400u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    assert!(str::from_utf8(&keystore).is_err());
    let said = |text: &[u8]| masked(text, &[], [&keystore[..]]);
    assert_eq!(said(&[b"in ", &keystore[..], b"."].concat()), "in ***.");
    assert_eq!(said(&[b"in ", &keystore[77..101], b"."].concat()), "in ***.");
    for part in [&keystore[..], &keystore[57..], &keystore[..303]] {
        assert_eq!(
            said(format!("at\n{}\nend", wrapped(&STANDARD.encode(part), 76)).as_bytes()),
            "at | *** | end"
        );
        assert_eq!(said(format!("at\n{}\nend", wrapped(&hex(part, ""), 60)).as_bytes()), "at | *** | end");
        assert_eq!(said(format!("at\n{}.", xxd(part)).as_bytes()), "at | *** | .");
    }
}

#[test]
fn a_long_value_is_masked_where_only_a_part_of_it_is_written() {
    let token = "eyJhbGciOiJIUzI1NiJ9.c3ViamVjdA.Rq8IxrgFZ2pGbfJnyb9zS8";
    for (text, expected) in [
        (format!("token {} and more", &token[..20]), "token *** and more"),
        (format!("-{}: no token", &token[20..]), "-***: no token"),
        (format!("\"{}\"", &token[9..33]), "\"***\""),
    ] {
        assert_eq!(hides(token, &text), expected);
    }
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIBmnQoXL8LpWv1yQO4J9rb0pN3\n1q5w==\n-----END PRIVATE KEY-----\n";
    for joint in ["", " ", "\r\n", "\\n", "\\r\\n"] {
        let text = format!("key: [{}]", pem.trim().replace('\n', joint));
        assert_eq!(hides(pem, &text), "key: [***]");
    }
    // Rows of blanks and dashes are nobody's secret.
    let table = "host            a\n---------------------------\nport            b";
    assert_eq!(hides(&format!("key:\n{0}{0}x\n", " ".repeat(20)), table), table.replace('\n', " | "));
}

#[test]
fn what_may_be_the_half_of_a_value_is_left_out() {
    assert_eq!(finished_lines(b"one\ntwo\nhun"), b"one\ntwo\n");
    assert_eq!(finished_lines(b"hun"), b"");
    assert_eq!(last_lines(b"one\ntwo", 7), b"one\ntwo");
    assert_eq!(last_lines(b"hunter2\ntwo", 7), b"two");
    assert_eq!(last_lines(b"hunter2", 3), b"");
    let long = format!("hunter2 {}\nend", "x".repeat(LONGEST));
    assert_eq!(hides("hunter2", &long), "end");
}

/// What takes long to read is not shown, and no text takes long.
#[test]
fn the_work_is_bounded() {
    let log = "level=info msg=\"listening\" addr=10.1.2.3:8080 took=1.5ms path=/a%20b+c {\"a\":\"b\\\"c\", \"d\": [1, 2]} it's &amp; 100%% \\x41\n";
    let texts = [
        log.repeat(LONGEST / log.len()),
        "\\\\%25&amp;''+".repeat(LONGEST / 14),
        "\\u0041%41&#65;41 QUFB".repeat(LONGEST / 23),
        "a".repeat(LONGEST),
        " ".repeat(LONGEST),
        "\n ".repeat(LONGEST / 2),
        "00 ".repeat(LONGEST / 3),
        "&#".repeat(LONGEST / 2),
        "\\".repeat(LONGEST),
    ];
    let values = [
        "a".repeat(100_000),
        "hunter2".repeat(10_000),
        "\n".repeat(70_000) + "x\n1234",
        " ".repeat(1000) + "9999 9",
    ];
    let secrets = values.map(|value| secret(&value));
    for text in texts {
        let began = Instant::now();
        let said = masked(text.as_bytes(), &secrets, []);
        println!("{:?}: {} of {:?}", began.elapsed(), said.len(), &text[..20]);
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    }
    assert!(!hides("hunter2", &log.repeat(LONGEST / log.len())).is_empty(), "an ordinary log is shown");
}

fn wrapped(text: &str, columns: usize) -> String {
    let lines: Vec<_> = text.as_bytes().chunks(columns).map(|line| str::from_utf8(line).unwrap()).collect();
    lines.join("\n")
}

fn hex(bytes: &[u8], between: &str) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(between)
}

fn xxd(bytes: &[u8]) -> String {
    let lines = bytes.chunks(16).enumerate().map(|(number, line)| {
        let words: Vec<_> = line.chunks(2).map(|word| hex(word, "")).collect();
        let shown: String = line
            .iter()
            .map(|byte| if (b' '..=b'~').contains(byte) { char::from(*byte) } else { '.' })
            .collect();
        format!("{:08x}: {:<39}  {shown}\n", number * 16, words.join(" "))
    });
    lines.collect()
}

/// Each ASCII character that is not kept, as UTF-8 in percents.
fn percent(text: &str, kept: &str, blank: &str) -> String {
    let is_kept = |c: char| c.is_ascii_alphanumeric() || kept.contains(c);
    let write = |c: char| match c {
        ' ' => blank.to_owned(),
        c if is_kept(c) => c.to_string(),
        c => format!("%{}", hex(c.encode_utf8(&mut [0; 4]).as_bytes(), "%").to_uppercase()),
    };
    text.chars().map(write).collect()
}

fn json(text: &str) -> String {
    Value::from(text).to_string()
}

fn json_of_python(text: &str) -> String {
    let write = |c: char| match c {
        c if c.is_ascii() => c.to_string(),
        c => c
            .encode_utf16(&mut [0; 2])
            .iter()
            .fold(String::new(), |text, unit| format!("{text}\\u{unit:04x}")),
    };
    json(text).chars().map(write).collect()
}

fn escaped(text: &str, special: &str, write: impl Fn(char) -> String) -> String {
    text.chars().map(|c| if special.contains(c) { write(c) } else { c.to_string() }).collect()
}

fn folded(text: &str, columns: usize, indentation: &str) -> String {
    let chars: Vec<_> = text.chars().collect();
    let lines: Vec<String> = chars.chunks(columns).map(|line| line.iter().collect()).collect();
    lines.join(&format!("\n{indentation}"))
}

/// The value as programs write it, by who does.
fn written(value: &str) -> Vec<(&'static str, String)> {
    let inner = json(&format!("{{\"p\":{}}}", json_of_python(value)));
    let document = format!("{{\"p\":{}}}", json(value));
    let in_html = |quote: &str| {
        escaped(value, "&<>\"'", |c| match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => quote.to_owned(),
            c => format!("&#{};", u32::from(c)),
        })
    };
    let apart = !value.contains("  ");
    let mut forms = vec![
        ("as it is", value.to_owned()),
        ("upper case", value.to_ascii_uppercase()),
        ("JSON", json(value)),
        ("JSON of Python", json_of_python(value)),
        ("JSON of Go", escaped(&json(value), "&<>", |c| format!("\\u{:04x}", u32::from(c)))),
        ("JSON of PHP", json_of_python(value).replace('/', "\\/")),
        ("JSON within JSON", inner.clone()),
        ("JSON within JSON within JSON", json(&inner)),
        ("URL of Python", percent(value, "_.-~/", "%20")),
        ("form of Python", percent(value, "_.-~", "+")),
        ("form of JavaScript", percent(value, "*-._", "+")),
        ("component of JavaScript", percent(value, "-_.!~*'()", "%20")),
        ("userinfo of Go", percent(value, "-_.~$&+,;=", "%20")),
        ("JSON in a URL", percent(&document, "", "%20")),
        ("JSON of a URL of JSON", json(&percent(&document, "", "+"))),
        ("shlex", format!("'{}'", value.replace('\'', r#"'"'"'"#))),
        ("single quotes", format!("'{}'", value.replace('\'', r"'\''"))),
        ("SQL", format!("'{}'", value.replace('\'', "''"))),
        ("printf %q", escaped(value, " !\"$&'()*,;<>?[\\]^`{|}", |c| format!("\\{c}"))),
        ("double quotes", format!("\"{}\"", escaped(value, "\"$`\\", |c| format!("\\{c}")))),
        ("HTML", in_html("&quot;")),
        ("HTML of Go", in_html("&#34;")),
        (
            "HTML of JSON",
            format!("&#34;{}&#34;", escaped(&json(value), "&<>\"'", |c| format!("&#{};", u32::from(c)))),
        ),
        ("hexadecimal", hex(value.as_bytes(), "")),
        ("hexadecimal with colons", hex(value.as_bytes(), ":")),
        ("hexadecimal with blanks", hex(value.as_bytes(), " ").to_uppercase()),
        ("a list of hexadecimals", format!("0x{}", hex(value.as_bytes(), ", 0x"))),
        ("xxd -p", wrapped(&hex(value.as_bytes(), ""), 60)),
        ("xxd", format!("\n{}", xxd(value.as_bytes()))),
        ("a list", format!("{:?}", value.as_bytes())),
        ("base64", STANDARD.encode(value)),
        ("base64 for a URL", URL_SAFE_NO_PAD.encode(value)),
        ("base64 in lines", wrapped(&STANDARD.encode(value), 76)),
        ("base64 in short lines", wrapped(&STANDARD.encode(value), 4)),
        ("base64 of more in lines", wrapped(&STANDARD.encode(format!("app:{value}")), 76)),
        ("base64 of JSON", STANDARD.encode(&document)),
        ("base64 of JSON of Python", STANDARD.encode(&inner)),
        ("JSON of base64 in lines", json(&wrapped(&STANDARD.encode(value), 20))),
        ("base64 within base64", STANDARD.encode(URL_SAFE_NO_PAD.encode(value))),
    ];
    if apart {
        forms.extend([("folded", folded(value, 12, "")), ("folded and indented", folded(value, 12, "    "))]);
    }
    forms
}

/// What is left of the form, where nothing of it should be: less than four bytes in a row, but for what is not of the value.
fn left(form: &str, shown: &str) -> Option<String> {
    let inside = shown.strip_prefix("(").unwrap_or(shown);
    let inside = inside.strip_suffix(")").unwrap_or(inside);
    let windows = form.as_bytes().windows(SHORTEST);
    let parts = inside.split("***").flat_map(|part| part.as_bytes().windows(SHORTEST));
    let parts: Vec<_> = parts.collect();
    windows
        .into_iter()
        .find(|window| parts.contains(window))
        .map(|window| String::from_utf8_lossy(window).into_owned())
}

/// How the lines of what is shown are joined, and the members and quotes of documents, are no part of a value.
fn is_around(part: &str) -> bool {
    part.bytes().all(|byte| b"{}\"\\p:|() ,[]'0x&#34;%72B5Cquot".contains(&byte))
}

fn value_of_any_kind() -> impl Strategy<Value = String> {
    let kinds = prop_oneof![
        "[ -~]{4,20}",
        "[ -~]{20,90}",
        "[a-zA-Z0-9+/_-]{8,60}",
        "[ -~äéß€ł日\u{1f511}]{6,40}",
        "[!-/:-@\\[-`{-~]{6,30}",
        "[ -~]{8,30}\n[ -~]{8,30}",
    ];
    kinds.prop_filter("blanks around are no part of a value", |value| value.trim() == value)
}

proptest! {
    #[test]
    fn nothing_of_a_value_remains_however_it_is_written(value in value_of_any_kind()) {
        for (who, form) in written(&value) {
            let shown = hides(&value, &format!("({form})"));
            let left = left(&form, &shown).filter(|part| !is_around(part));
            prop_assert!(shown.contains("***") && left.is_none(), "{who}: {value:?} written {form:?} shown {shown:?}: {left:?}");
        }
    }

    #[test]
    fn no_value_remains_whatever_is_beside_it(value in "[ -)+-~]{4,20}", before in "[ -)+-~]{0,20}", after in "[ -)+-~]{0,20}") {
        prop_assume!(value.trim().len() >= SHORTEST);
        let text = format!("{before}\n{value}\n{after}");
        prop_assert!(!hides(&value, &text).contains(value.trim()));
    }

    /// A header for every user and whatever follows: of base64 with a value in it nothing is left.
    #[test]
    fn no_base64_of_more_than_a_value_remains(value in "[ -~]{5,20}", before in "[ -~]{0,9}", after in "[ -~]{0,9}") {
        prop_assume!(value.trim().len() >= 5);
        let header = STANDARD_NO_PAD.encode(format!("{before}{value}{after}"));
        prop_assert_eq!(hides(&value, &format!("Basic {header}, refused")), "Basic ***, refused");
    }

    /// Whatever is read, and whatever for: no panic, and what is shown is one line.
    #[test]
    fn any_bytes_can_be_masked(text in proptest::collection::vec(any::<u8>(), 0..200), value in ".{0,9}") {
        let shown = masked(&text, &[secret(&value)], [&text[..]]);
        prop_assert!(!shown.contains('\n'));
    }
}
