//! Templates of Go's, and the Handlebars that stands for them.

use crate::import::{Delimiters, Notes, Text, Wants, Weight, template};

fn of(text: &str) -> Text<'_> {
    Text {
        origin: "a.ctmpl",
        text,
        first_line: 1,
        delimiters: Delimiters::default(),
        error_on_missing_key: false,
    }
}

/// The translation, the names with their paths, and the constructs that were left.
fn translated(text: &str) -> (String, Vec<String>, Vec<String>) {
    let (mut wants, mut notes) = (Wants::default(), Notes::default());
    let output = template(&of(text), &mut wants, &mut notes);
    let left = notes.all().iter().filter(|note| note.weight == Weight::Left);
    let left =
        left.map(|note| format!("{}:{}: {}", note.place.line, note.place.column, note.construct)).collect();
    let wants = wants.all().map(|(name, request)| format!("{name}={}", request.path)).collect();
    (output, wants, left)
}

/// Each in a `with secret "secret/data/app/db"`.
#[track_caller]
fn becomes(table: &[(&str, &str)]) {
    for (inside, expected) in table {
        let text = format!("{{{{with secret \"secret/data/app/db\"}}}}{inside}{{{{end}}}}");
        let (output, _, left) = translated(&text);
        assert_eq!((output.as_str(), left), (*expected, Vec::new()), "{inside}");
    }
}

#[test]
fn fields_of_a_secret() {
    becomes(&[
        ("{{.Data.data.user}}:{{ .Data.data.pass }}", "{{db.user}}:{{db.pass}}"),
        ("{{.Data.user}}", "{{db.user}}"),
        ("{{.Data.data.data}}{{.Data.data.metadata.x}}", "{{db.data}}{{db.metadata.x}}"),
        ("{{index .Data.data \"a-b\"}}{{index .Data \"data\" \"a.b\"}}", "{{db.[a-b]}}{{db.[a.b]}}"),
        ("{{index .Data.data \"a]b\"}}", "{{lookup db \"a]b\"}}"),
        ("{{(.Data.data).a.b}}{{index .Data.data.list 0}}", "{{db.a.b}}{{lookup db.list 0}}"),
        ("{{.LeaseID}} {{.LeaseDuration}}", "{{meta db \"lease_id\"}} {{meta db \"lease_duration\"}}"),
        ("{{.Data.metadata.version}}", "{{meta db \"version\"}}"),
        ("{{.Data.metadata.custom_metadata.owner}}", "{{lookup (meta db \"custom_metadata\") \"owner\"}}"),
        (
            "{{$p := .Data.data}}{{$p.user}}{{with $p.user}}{{.}}{{end}}",
            "{{db.user}}{{#if db.user includeZero=true}}{{db.user}}{{/if}}",
        ),
    ]);
}

#[test]
fn conditions() {
    becomes(&[
        ("{{if .Data.data.a}}x{{end}}", "{{#if db.a includeZero=true}}x{{/if}}"),
        ("{{if not .Data.data.a}}x{{end}}", "{{#unless db.a}}x{{/unless}}"),
        (
            "{{if .Data.data.a}}x{{else if .Data.data.b}}y{{else}}z{{end}}",
            "{{#if db.a includeZero=true}}x{{else if db.b includeZero=true}}y{{else}}z{{/if}}",
        ),
        ("{{if and .Data.data.a .Data.data.b}}x{{end}}", "{{#if (and db.a db.b)}}x{{/if}}"),
        ("{{if eq .Data.data.a \"x\"}}y{{end}}", "{{#if (eq db.a \"x\")}}y{{/if}}"),
        ("{{if eq .Data.data.a \"5\"}}y{{end}}", "{{#if (or (eq db.a \"5\") (eq db.a 5))}}y{{/if}}"),
        (
            "{{if eq .Data.data.a \"x\" \"y\"}}y{{end}}",
            "{{#if (or (eq db.a \"x\") (eq db.a \"y\"))}}y{{/if}}",
        ),
        ("{{if eq \"v2\" \"v1\"}}{{.Data.x}}{{else}}{{.Data.data.x}}{{end}}", "{{db.x}}"),
        ("{{if gt (len .Data.data) 2}}y{{end}}", "{{#if (gt (len db) 2)}}y{{/if}}"),
        (
            "{{range $i, $v := .Data.data.l}}{{if gt $i 0}},{{end}}{{end}}",
            "{{#each db.l as |v i|}}{{#if (gt i 0)}},{{/if}}{{/each}}",
        ),
        ("{{if secrets \"kv/a\"}}x{{end}}", "{{#if a}}x{{/if}}"),
        (
            "{{if .Data.data.a | sprig_hasPrefix \"a.\"}}x{{end}}",
            "{{#if (regex_match db.a \"\\\\Aa\\\\.\")}}x{{/if}}",
        ),
        (
            "{{$a := \"x\"}}{{if .Data.data.q}}{{$a = \"y\"}}{{end}}{{$a}}",
            "{{#if db.q includeZero=true}}y{{else}}x{{/if}}",
        ),
        (
            "{{$a := \"x\"}}{{if .Data.data.q}}{{$a = \"y\"}}{{end}}{{if eq $a \"y\"}}z{{end}}",
            "{{#if db.q includeZero=true}}z{{/if}}",
        ),
        ("{{or .Data.data.a \"x\"}}", "{{default db.a \"x\"}}"),
        ("{{if or (env \"A\") .Data.data.b}}y{{end}}", "{{#if (or (env \"A\") db.b)}}y{{/if}}"),
    ]);
}

#[test]
fn loops() {
    becomes(&[
        (
            "{{range $k, $v := .Data.data}}{{$k}}={{$v}}\n{{end}}",
            "{{#each db as |v k|}}{{k}}={{v}}\n{{/each}}{{!}}",
        ),
        (
            "{{range .Data.data.list}}{{.}}{{else}}none{{end}}",
            "{{#each db.list as |item|}}{{item}}{{else}}none{{/each}}",
        ),
        (
            "{{range split \",\" .Data.data.a}}{{.}}{{end}}",
            "{{#each (split (trim db.a) \",\") as |item|}}{{item}}{{/each}}",
        ),
        (
            "{{range $i, $v := split \",\" .Data.data.a}}{{if $i}},{{end}}{{$v}}{{end}}",
            "{{#each (split (trim db.a) \",\") as |v i|}}{{#unless @first}},{{/unless}}{{v}}{{/each}}",
        ),
        (
            "{{$f := true}}{{range $k, $v := .Data.data}}{{if $f}}{{$f = false}}{{else}},{{end}}{{$k}}{{end}}",
            "{{#each db as |v k|}}{{#unless @first}},{{/unless}}{{k}}{{/each}}",
        ),
        (
            "{{$s := \"\"}}{{range $k, $v := .Data.data}}{{$s}}{{$k}}{{$s = \", \"}}{{end}}",
            "{{#each db as |v k|}}{{#unless @first}}, {{/unless}}{{k}}{{/each}}",
        ),
        (
            "{{$i := 0}}{{range $k, $v := .Data.data}}{{if gt $i 0}},{{end}}{{$k}}{{$i = add $i 1}}{{end}}",
            "{{#each db as |v k|}}{{#unless @first}},{{/unless}}{{k}}{{/each}}",
        ),
        (
            "{{$i := 0}}{{$n := len .Data.data}}{{range $k, $v := .Data.data}}{{$k}}{{$i = add 1 $i}}{{if lt $i $n}},{{end}}{{end}}",
            "{{#each db as |v k|}}{{k}}{{#unless @last}},{{/unless}}{{/each}}",
        ),
        (
            "{{range $k, $v := .Data.data}}{{range $k, $w := $v}}{{$k}}{{$w}}{{$v}}{{end}}{{end}}",
            "{{#each db as |v k|}}{{#each v as |w k2|}}{{k2}}{{w}}{{v}}{{/each}}{{/each}}",
        ),
        (
            "{{range $k, $v := .Data.data}}{{if eq $k \"x\"}}{{continue}}{{end}}{{$k}}{{end}}",
            "{{#each db as |v k|}}{{#unless (eq k \"x\")}}{{k}}{{/unless}}{{/each}}",
        ),
    ]);
}

#[test]
fn functions() {
    becomes(&[
        ("{{.Data.data | toJSON}}{{.Data.data.a | toJSONPretty}}", "{{json db}}{{json_pretty db.a}}"),
        ("{{.Data.data.a | base64Decode | trimSpace}}", "{{trim (base64_decode db.a)}}"),
        ("{{printf \"%s:%s\" .Data.data.a .Data.data.b}}", "{{db.a}}:{{db.b}}"),
        ("{{printf \"%s:%s\" .Data.data.a .Data.data.b | base64Encode}}", "{{basic_auth db.a db.b}}"),
        ("{{printf \"%q %d%%\" .Data.data.a 7}}", "{{json db.a}} 7%"),
        ("{{.Data.data.a | replaceAll \"x\" \"y\" | toUpper}}", "{{upper (replace db.a \"x\" \"y\")}}"),
        ("{{.Data.data.a | indent 2}}", "  {{indent db.a 2}}"),
        (
            "{{env \"A\"}}{{env \"A\" | toLower}}",
            "{{default (env \"A\") \"\"}}{{lower (default (env \"A\") \"\")}}",
        ),
        ("{{printf \"%05d|%-4s|%.1f|%x\" 7 \"a\" 1.25 255}}", "00007|a   |1.2|ff"),
        ("{{printf \"%+v\" .Data.data.a}}", "{{db.a}}"),
        ("{{\"a\" | toUpper | printf \"%s%s\" \"b\"}}", "bA"),
        ("{{.Data.data.a | regexReplaceAll \"x+\" \"$1\"}}", "{{regex_replace db.a \"x+\" \"$1\"}}"),
        ("{{add 1 2}}{{len \"abc\"}}{{print \"a\" 1 2 true}}", "33a1 2 true"),
        ("{{(parseJSON .Data.data.a).b.c}}", "{{lookup (lookup (parse_json db.a) \"b\") \"c\"}}"),
    ]);
}

#[test]
fn formats_and_the_environment() {
    becomes(&[
        ("{{.Data.data | toYAML}}{{.Data.data.a | toTOML}}", "{{yaml db}}{{toml db.a}}"),
        ("{{(parseYAML .Data.data.a).b}}", "{{lookup (parse_yaml db.a) \"b\"}}"),
        ("{{timestamp}}", "{{timestamp}}"),
        ("{{mustEnv \"A\"}}{{envOrDefault \"A\" \"x\"}}", "{{env \"A\"}}{{default (env \"A\") \"x\"}}"),
    ]);
}

#[test]
fn functions_of_sprig() {
    becomes(&[
        ("{{.Data.data.a | sprig_upper}}{{.Data.data.a | sprig_lower}}", "{{upper db.a}}{{lower db.a}}"),
        ("{{.Data.data.a | sprig_b64dec | sprig_trim}}", "{{trim (base64_decode db.a)}}"),
        ("{{.Data.data.a | sprig_replace \"x\" \"y\"}}", "{{replace db.a \"x\" \"y\"}}"),
        ("{{.Data.data.a | sprig_sha256sum}}", "{{sha256 db.a}}"),
        ("{{.Data.data.a | sprig_splitList \",\" | sprig_join \";\"}}", "{{join (split db.a \",\") \";\"}}"),
        ("{{.Data.data.a | sprig_default \"x\"}}", "{{default db.a \"x\"}}"),
        ("{{sprig_coalesce .Data.data.a .Data.data.b \"x\"}}", "{{default db.a (default db.b \"x\")}}"),
        ("{{.Data.data.a | sprig_squote}}", "'{{db.a}}'"),
        ("{{.Data.data | sprig_toJson}}", "{{json db}}"),
        ("{{(sprig_fromJson .Data.data.a).b}}", "{{lookup (parse_json db.a) \"b\"}}"),
        (
            "{{if .Data.data.a | sprig_hasSuffix \".b\"}}x{{end}}",
            "{{#if (regex_match db.a \"\\\\.b\\\\z\")}}x{{/if}}",
        ),
        ("{{if sprig_contains \"x\" .Data.data.a}}y{{end}}", "{{#if (contains db.a \"x\")}}y{{/if}}"),
        ("{{sprig_add1 1}}{{sprig_sub 5 2}}", "23"),
    ]);
}

#[test]
fn paths() {
    let table = [
        ("{{with secret \"/secret/data/a/\"}}{{.Data.data.x}}{{end}}", "{{a.x}}", "a=secret/data/a"),
        (
            "{{with printf \"secret/%s\" (env \"JOB\") | secret}}{{.Data.x}}{{end}}",
            "{{job.x}}",
            "job=secret/${JOB}",
        ),
        ("{{with secret (printf \"secret/%s\" \"x\")}}{{.Data.x}}{{end}}", "{{x.x}}", "x=secret/x"),
        ("{{with secret \"secret/${X}\"}}{{.Data.x}}{{end}}", "{{X.x}}", "X=secret/$${X}"),
        (
            "{{(secret \"kv/a\").Data.x}}{{with secret \"kv/a\"}}{{.Data.y}}{{end}}",
            "{{a.x}}{{a.y}}",
            "a=kv/a",
        ),
        ("{{with $s := secret \"kv/a\"}}{{$s.Data.x}}{{end}}", "{{a.x}}", "a=kv/a"),
        ("{{define \"x\"}}<{{.Data.x}}>{{end}}{{template \"x\" secret \"kv/a\"}}", "<{{a.x}}>", "a=kv/a"),
        (
            "{{range secrets \"secret/metadata/team/\"}}{{with secret (printf \"secret/data/team/%s\" .)}}{{.Data.data.p}}{{end}}{{end}}",
            "{{#each team as |entry key|}}{{entry.p}}{{/each}}",
            "team=secret/team",
        ),
        (
            "{{range $i, $e := secrets \"kv/team\"}}{{if $i}},{{end}}{{$e}}={{with printf \"kv/team/%s\" $e | secret}}{{.Data.p}}{{end}}{{end}}",
            "{{#each team as |entry e|}}{{#unless @first}},{{/unless}}{{e}}={{entry.p}}{{/each}}",
            "team=kv/team",
        ),
        (
            "{{with pkiCert \"pki/issue/web\" \"common_name=a\"}}{{.Cert}}{{.Data.Key}}{{end}}",
            "{{web.certificate}}\n{{web.private_key}}\n",
            "web=pki/issue/web",
        ),
    ];
    for (text, expected, want) in table {
        let (output, wants, left) = translated(text);
        assert_eq!((output.as_str(), wants, left), (expected, vec![want.to_owned()], Vec::new()), "{text}");
    }
}

#[test]
fn what_is_left_is_noted_and_kept() {
    let table = [
        (
            "a{{key \"x\"}}b",
            "1:4: key \"x\"",
            "a{{!-- squire import: line 1: key \"x\": Squire asks no Consul",
        ),
        (
            "\n{{range service \"db\"}}{{.Address}}{{end}}",
            "2:9: service \"db\"",
            "\n{{range service \"db\"}}{{.Address}}{{end}}\n --}}",
        ),
        ("{{with secret \"a/b\"}}{{printf \"%5s\" .Data.a}}{{end}}", "1:24: printf \"%5s\" .Data.a", "{{!--"),
        ("{{with secret \"a/b\"}}{{printf \"%x\" .Data.a}}{{end}}", "1:24: printf \"%x\" .Data.a", "{{!--"),
        ("{{with secret (printf \"%s\" .x)}}{{end}}", "1:8: secret (printf \"%s\" .x)", "{{!--"),
        ("{{if}}", "1:5: }}", "{{!-- squire import: line 1: an `if` has no value"),
        ("{{$x := key \"a\"}}{{$x}}", "1:3: $x := key \"a\"", "`$x` was not taken over, see line 1"),
        (
            "{{with nomadVar \"app\"}}{{.user}}{{end}}",
            "1:8: nomadVar \"app\"",
            "{{!-- squire import: line 1: Squire asks no Nomad",
        ),
        (
            "a{{pkiSign \"pki/sign/web\" \"common_name=a\"}}",
            "1:4: pkiSign \"pki/sign/web\" \"common_name=a\"",
            "Squire makes no key by itself",
        ),
        ("{{with secret \"a/b\"}}{{.Data | toTOML}}{{end}}", "1:24: .Data | toTOML", "{{!--"),
        ("{{timestamp \"2006\"}}", "1:3: timestamp \"2006\"", "{{!--"),
        ("{{sprig_uuidv4}}", "1:3: sprig_uuidv4", "sprig's `uuidv4`"),
        ("{{range secrets \"a/b\"}}{{break}}{{end}}", "1:9: secrets \"a/b\"", "{{!--"),
    ];
    for (text, construct, expected) in table {
        let (output, _, left) = translated(text);
        assert_eq!(left.first().map(String::as_str), Some(construct), "{text}");
        assert!(output.contains(expected), "{text}: {output}");
    }
}

#[test]
fn delimiters_may_be_others_and_places_are_those_of_the_file() {
    let (mut wants, mut notes) = (Wants::default(), Notes::default());
    let mut text = of("{{ .Values.x }}\n [[ key \"a\" ]][[ (secret \"kv/a\").Data.x -]] \n\\{{");
    text.delimiters = Delimiters::new(Some("[["), Some("]]"));
    text.first_line = 40;
    let output = template(&text, &mut wants, &mut notes);
    assert!(output.starts_with("\\{{ .Values.x }}\n {{!-- squire import: line 41: key \"a\":"), "{output}");
    assert!(output.ends_with("--}}{{a.x}}\\\\{{default \"{{\" \"\"}}"), "{output}");
    let place =
        notes.all().first().map(|note| (note.place.file.as_str(), note.place.line, note.place.column));
    assert_eq!(place, Some(("a.ctmpl", 41, 5)));
}

#[test]
fn what_differs_is_told_once() {
    let text = "{{with secret \"kv/a\"}}{{.Data | toJSON}}{{.Data.x | toJSON}}{{range $k, $v := .Data}}{{end}}{{else}}x{{end}}";
    let (mut wants, mut notes) = (Wants::default(), Notes::default());
    template(&of(text), &mut wants, &mut notes);
    let told: Vec<_> = notes.all().iter().map(|note| (note.place.column, note.weight)).collect();
    assert_eq!(told, [(8, Weight::Told), (25, Weight::Told), (25, Weight::Told)]);
}

#[test]
fn a_file_written_beside_is_a_file_of_its_own() {
    let (mut wants, mut notes) = (Wants::default(), Notes::default());
    let text = "{{with pkiCert \"pki/issue/web\" \"common_name=a\"}}\
                {{.Key | writeToFile \"/k\" \"app\" \"\" \"0400\"}}{{end}}";
    assert_eq!(template(&of(text), &mut wants, &mut notes), "");
    let [file] = wants.written() else { panic!("one file") };
    assert_eq!(
        (file.path.as_str(), file.template.as_str(), file.mode.as_str()),
        ("/k", "{{web.private_key}}\n", "0400")
    );
}
