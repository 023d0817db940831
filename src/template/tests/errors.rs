//! Which templates are refused, and with which messages.

use super::{CANARY, render};
use crate::template::catalogue::Form;
use crate::template::{OUTPUT_LIMIT, TEXT_LIMIT, Template, catalogue};

#[track_caller]
fn assert_refused(table: &[(&str, &str)]) {
    for (text, expected) in table {
        let error = render(text).expect_err(text);
        assert_eq!(error, *expected, "{text}");
        assert!(!error.contains(CANARY) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn what_is_never_closed_is_told_where_it_was_opened() {
    assert_refused(&[
        ("x\n {{#if db.x}}", "2:2: `{{#if}}` is never closed: `{{/if}}` is missing"),
        ("{{#if a}}\n{{/each}}", "2:1: `{{/each}}` cannot close `{{#if}}` of line 1"),
        ("{{/if}}", "1:1: `{{/if}}` closes nothing: no block is open here"),
        ("{{else}}", "1:1: `{{else}}` stands outside of a block"),
        ("a {{db.x\nb", "1:3: this tag is never closed: `}}` is missing"),
        ("a {{db.x}", "1:3: this tag is not closed as it was opened: `}}` is missing"),
        (
            "{{{db.x}}",
            "1:1: this tag is not closed as it was opened: `}}}` is missing (a `{` of the text needs a space before the tag)",
        ),
        ("{{json \"x}}", "1:8: this text is never closed: its second quote is missing"),
        ("{{! x", "1:1: this comment is never closed: `}}` is missing"),
        ("{{!-- x }}", "1:1: this comment is never closed: `--}}` is missing"),
        ("{{{{raw}}}} x", "1:1: this raw block is never closed: `{{{{/raw}}}}` is missing"),
        ("{{db.[x}}", "1:6: this bracket is never closed: `]` is missing"),
    ]);
}

#[test]
fn syntax_errors_are_one_line_of_plain_words() {
    assert_refused(&[
        ("{{}}", "1:3: this tag is not complete: expected a name"),
        ("{{json x=}}", "1:10: this tag is not complete: expected a value"),
        ("{{db..x}}", "1:6: this tag is not complete: expected a name"),
        ("x {{json 01}}", "1:10: `01` is not a value"),
        ("{{json {\"a\": 1} }}", "1:8: unexpected `{` in a tag"),
        (
            "{{join [\"a\"] \",\"}}",
            "1:8: brackets hold the plain name of a field; for one with quotes or brackets use `lookup`",
        ),
        ("{{> 'p'}}", "1:5: the name of a partial is written without quotes and brackets"),
    ]);
}

#[test]
fn unknown_helpers_and_wrong_calls_are_found_without_data() {
    assert_refused(&[
        ("{{jsn db.x}}", "1:1: there is no helper `jsn`; did you mean `json`?"),
        ("{{frobnicate db.x}}", "1:1: there is no helper `frobnicate`"),
        (
            "{{!-- {{ with secret \"a\" }} --}}{{jsn db.x}}",
            "1:33: there is no helper `jsn`; did you mean `json`?",
        ),
        ("{{! $x := .y | z }}{{frobnicate db.x}}", "1:20: there is no helper `frobnicate`"),
        ("{{json (bas64 db.x)}}", "1:1: there is no helper `bas64`; did you mean `base64`?"),
        ("{{(db.x)}}", "1:1: there is no helper `db.x`"),
        ("{{log db.x}}", "1:1: there is no helper `log`"),
        (
            "{{#log db.x}}{{/log}}",
            "1:1: there is no helper `log`; the fields of a secret are entered with `#with` or `#each`",
        ),
        (
            "{{#db}}{{/db}}",
            "1:1: there is no helper `db`; the fields of a secret are entered with `#with` or `#each`",
        ),
        ("{{trim}}", "1:1: `trim` does not take 0 values; usage: {{trim text}}"),
        (
            "{{replace db.x \"a\"}}",
            "1:1: `replace` does not take 2 values; usage: {{replace text \"from\" \"to\"}}",
        ),
        ("{{json db.x pretty=true}}", "1:1: `json` takes no `pretty=`; usage: {{json value}}"),
        ("{{if db.x}}", "1:1: `if` is a block: {{#if value}}…{{/if}}"),
        ("{{#json db}}{{/json}}", "1:1: `json` is not a block: {{json value}}"),
        ("{{#if}}{{/if}}", "1:1: `if` does not take 0 values; usage: {{#if value}}…{{/if}}"),
        ("{{#with db as |a b|}}{{/with}}", "1:1: `with` gives 1 names, not 2"),
        ("{{*log db.x}}", "1:1: there is no decorator `log`; there is `{{#*inline \"name\"}}`"),
        ("{{#*log db.x}}{{/log}}", "1:1: there is no decorator `log`; there is `{{#*inline \"name\"}}`"),
        ("{{@print db}}", "1:10: this tag is not complete: expected `}}`"),
    ]);
}

#[test]
fn partials_are_defined_once_before_use_and_end() {
    assert_refused(&[
        ("{{> p}}", "1:1: there is no partial `p` defined before this"),
        (
            "{{#*inline \"pat\"}}{{/inline}}{{> pta}}",
            "1:30: there is no partial `pta` defined before this; did you mean `pat`?",
        ),
        ("{{#*inline \"p\"}}{{> p}}{{/inline}}{{> p}}", "1:17: the partial `p` calls itself"),
        (
            "{{#*inline \"p\"}}{{> q}}{{/inline}}{{#*inline \"q\"}}{{> p}}{{/inline}}{{> q}}",
            "1:17: the partial `q` calls itself",
        ),
        (
            "{{#*inline \"p\"}}{{/inline}}{{#*inline \"p\"}}{{/inline}}",
            "1:28: the partial `p` is defined twice",
        ),
        (
            "{{#if db.x}}{{#*inline \"p\"}}{{/inline}}{{/if}}",
            "1:13: a partial is defined outside of blocks and other partials",
        ),
        (
            "{{#*inline db.x}}{{/inline}}",
            "1:1: a partial is defined with its name in quotes: {{#*inline \"name\"}}",
        ),
        ("{{> (lookup db \"x\")}}", "1:1: the name of a partial is written out, not computed"),
        ("{{#> p}}{{/p}}", "1:1: a partial cannot be called with a block: use `{{> name}}`"),
        (
            "{{#*inline \"p\"}}{{/inline}}{{> p db.pasword}}",
            "1:28: `db` has no field `pasword`; it has `big`, `binary`, `canary`, `empty`, `encoded`, `hosts`, `lines`, `none`, `nul`, `odd key`, `odd-key`, `password`, `port`, `ratio`, `small`, `tls`, `username`, `users`, `zero`",
        ),
    ]);
}

#[test]
fn what_could_reach_every_secret_is_refused() {
    let every = "1:1: this is every secret: name one";
    assert_refused(&[
        ("{{json this}}", every),
        ("{{this}}", every),
        ("{{#each this}}{{this}}{{/each}}", every),
        ("{{lookup this \"db\"}}", every),
        ("{{#with db}}{{json ../this}}{{/with}}", "1:13: this is every secret: name one"),
        ("{{json @root}}", "1:1: `@root` alone is every secret: name one, as in `@root.db.password`"),
        ("{{../db.x}}", "1:1: `../db.x` climbs out of the template"),
        ("{{#if db.x}}{{../db.x}}{{/if}}", "1:13: `../db.x` climbs out of the template"),
        (
            "{{@secret}}",
            "1:1: there is no `@secret`; there are `@index`, `@key`, `@first`, `@last` and `@root.…`",
        ),
    ]);
}

#[test]
fn what_is_missing_is_named_with_what_is_there() {
    assert_refused(&[
        ("{{web.kye}}", "1:1: `web` has no field `kye`; it has `empty`, `key`"),
        ("{{json web.kye}}", "1:1: `web` has no field `kye`; it has `empty`, `key`"),
        ("{{json (trim web.kye)}}", "1:1: `web` has no field `kye`; it has `empty`, `key`"),
        ("{{eq web.kye 1}}", "1:1: `web` has no field `kye`; it has `empty`, `key`"),
        ("{{#with web}}\n{{kye}}{{/with}}", "2:1: `web` has no field `kye`; it has `empty`, `key`"),
        (
            "{{#with web}}{{#if key}}{{../web.kye}}{{/if}}{{/with}}",
            "1:25: `web` has no field `kye`; it has `empty`, `key`",
        ),
        ("{{#each db.users}}{{nam}}{{/each}}", "1:19: `db.users.x` has no field `nam`; it has `name`"),
        (
            "{{#each db.users as |u|}}{{u.nam}}{{/each}}",
            "1:26: `db.users.x` has no field `nam`; it has `name`",
        ),
        ("{{@root.web.empty.x.y}}", "1:1: `web.empty` has no field `x`; it has none"),
        ("{{db.canary.x}}", "1:1: `db.canary` is text and has no field `x`"),
        ("{{db.hosts.7}}", "1:1: `db.hosts` is a list and has no item `7`"),
        ("{{db.hosts.first}}", "1:1: a list has no fields: its items are numbers, as in `db.hosts.0`"),
        ("{{wbe.key}}", "1:1: there is no secret `wbe`; did you mean `web`?"),
        ("{{lookup web \"kye\"}}", "1:1: `web` has no field `kye`; it has `empty`, `key`"),
        ("{{lookup web db.canary}}", "1:1: `web` has no field; it has `empty`, `key`"),
        ("{{default web.kye web.eky}}", "1:1: `web` has no field `eky`; it has `empty`, `key`"),
        ("{{#each web.kye}}{{/each}}", "1:1: `web` has no field `kye`; it has `empty`, `key`"),
        ("{{#with web.kye}}{{/with}}", "1:1: `web` has no field `kye`; it has `empty`, `key`"),
        ("{{@key}}", "1:1: `@key` has no value here"),
        ("{{#*inline \"p\"}}{{kye}}{{/inline}}\n{{> p web}}", "1:17: the value here has no field `kye`"),
        (
            "{{env \"UNSET\"}}",
            "1:1: the environment variable `UNSET` is not set; `default` gives a value to use then",
        ),
        (
            "{{env db.canary}}",
            "1:1: the environment variable is not set; `default` gives a value to use then",
        ),
        ("{{file \"/nowhere\"}}", "1:1: cannot read `/nowhere`: entity not found"),
        ("{{default (file \"/etc/private\") \"x\"}}", "1:1: cannot read `/etc/private`: permission denied"),
        ("{{file db.canary}}", "1:1: cannot read the file: entity not found"),
    ]);
}

#[test]
fn a_value_of_the_wrong_kind_is_told_with_the_usage() {
    assert_refused(&[
        ("{{web}}", "1:1: `web` is a map: name one of its fields (`empty`, `key`), or use `json`"),
        ("{{db.hosts}}", "1:1: `db.hosts` is a list: use `join`, `json` or `#each`"),
        ("{{split \"a\" \",\"}}", "1:1: the value is a list: use `join`, `json` or `#each`"),
        ("{{db.none}}", "1:1: `db.none` is null; `default` gives a value to use then"),
        ("{{base64 db.none}}", "1:1: `base64` takes text, and `db.none` is null; usage: {{base64 text}}"),
        ("{{shell db.users}}", "1:1: `shell` takes text, and `db.users` is a map; usage: {{shell text}}"),
        (
            "{{indent db.lines db.canary}}",
            "1:1: `indent` takes a whole number, and `db.canary` is text; usage: {{indent text 4}}",
        ),
        (
            "{{join db.canary \",\"}}",
            "1:1: `join` takes a list, and `db.canary` is text; usage: {{join list \",\"}}",
        ),
        (
            "{{replace db.canary \"\" \"x\"}}",
            "1:1: `replace` takes text that is not empty, and the value is empty; usage: {{replace text \"from\" \"to\"}}",
        ),
        ("{{shell db.nul}}", "1:1: `db.nul` has a NUL character, which `shell` cannot write"),
        ("{{url db.nul}}", "1:1: `db.nul` has a NUL character, which `url` cannot write"),
        ("{{pgpass db.lines}}", "1:1: `db.lines` has a line break, which `pgpass` cannot write"),
        ("{{json (line db.lines)}}", "1:1: `db.lines` has a line break, which `line` cannot write"),
        ("{{ini \" x\"}}", "1:1: the value has white space at an end, which `ini` cannot write"),
        ("{{npmrc \"${HOME}\"}}", "1:1: the value has `${`, which `npmrc` cannot write"),
        ("{{word db.empty}}", "1:1: `db.empty` has nothing in it, which `word` cannot write"),
        ("{{word \"a:b\" \"/:\"}}", "1:1: the value has `:` in it, which `word` cannot write"),
        (
            "{{systemd_env \"\u{fffe}\"}}",
            "1:1: the value has a code point that is no character, which `systemd_env` cannot write",
        ),
        ("{{basic_auth \"a:b\" db.canary}}", "1:1: the value has a colon, which `basic_auth` cannot write"),
        (
            "{{bcrypt db.canary db.empty}}",
            "1:1: `bcrypt` takes text that is not empty, and `db.empty` is empty; usage: {{bcrypt password \"what names the salt\" …}}",
        ),
        (
            "{{bcrypt db.canary}}",
            "1:1: `bcrypt` does not take 1 values; usage: {{bcrypt password \"what names the salt\" …}}",
        ),
        ("{{pem db.canary}}", "1:1: `db.canary` is no PEM: it does not go from -----BEGIN to -----END"),
        ("{{pem db.hosts}}", "1:1: `db.hosts` is no PEM: it does not go from -----BEGIN to -----END"),
        ("{{pem db.users}}", "1:1: `pem` takes text, and `db.users` is a map; usage: {{pem text}}"),
        ("{{base64_decode db.canary}}", "1:1: `db.canary` is not base64"),
        (
            "{{base64_decode db.binary}}",
            "1:1: `db.binary` is base64 of bytes that are no text; for a file of bytes write base64 = \"{{secret.field}}\" in its [[file]]",
        ),
        (
            "{{toml db.none}}",
            "1:1: `db.none` has no TOML: TOML knows no null and no whole number beyond 9223372036854775807",
        ),
        ("{{#each db.canary}}{{/each}}", "1:1: `db.canary` is text; `each` walks maps and lists"),
        ("{{#each db.canary}}{{else}}{{/each}}", "1:1: `db.canary` is text; `each` walks maps and lists"),
        (
            "{{#with db.zero}}{{/with}}",
            "1:1: `db.zero` is empty, null, false or 0; give `with` an `{{else}}` for that",
        ),
        ("{{#each (env \"SET\")}}{{/each}}", "1:1: there is nothing here to walk or to enter"),
    ]);
}

#[test]
fn what_is_not_known_of_a_secret_is_said_with_what_is() {
    for (text, expected) in [
        (
            "{{meta db \"lease_id\"}}",
            "1:1: nothing `lease_id` is known of `db`; known is `arrived`, `custom_metadata`, `version`",
        ),
        ("{{meta web \"version\"}}", "1:1: nothing is known of `web` beside its fields"),
        (
            "{{meta db (lookup db \"canary\")}}",
            "1:1: nothing is known of `db`; known is `arrived`, `custom_metadata`, `version`",
        ),
        ("{{meta db \"versoin\"}}", "1:1: `meta` has no `versoin`; did you mean `version`?"),
        (
            "{{meta db.username \"version\"}}",
            "1:1: `meta` is about a secret, as in `{{meta db \"version\"}}`, and not about a part of one",
        ),
        (
            "{{#each db}}{{meta this \"version\"}}{{/each}}",
            "1:13: `meta` is about a secret, as in `{{meta db \"version\"}}`, and not about a part of one",
        ),
        (
            "{{meta \"db\" \"version\"}}",
            "1:1: `meta` is about a secret, as in `{{meta db \"version\"}}`, and not about a part of one",
        ),
        (
            "{{#*inline \"p\"}}{{meta this \"version\"}}{{/inline}}{{> p db}}",
            "1:17: `meta` cannot be used in a partial: pass on what it gives, as in `{{> p version=(meta db \"version\")}}`",
        ),
        ("{{meta nobody \"version\"}}", "1:1: there is no secret `nobody`"),
        ("{{meta db}}", "1:1: `meta` does not take 1 values; usage: {{meta secret \"version\"}}"),
        (
            "{{meta db \"custom_metadata\"}}",
            "1:1: the value is a map: take a value out of it with `index`, or use `json`",
        ),
        ("{{db.[@meta]}}{{[@meta].db.version}}", "1:1: `db` has no field `@meta`"),
    ] {
        let found = render(text).unwrap_err();
        assert!(found.starts_with(expected), "{text}: {found}");
    }
}

#[test]
fn every_helper_of_the_catalogue_is_registered() {
    for helper in catalogue::HELPERS {
        let (name, values) = (helper.name, " \"1\"".repeat(*helper.values.start()));
        let text = match (helper.form, name) {
            (_, "raw") => "{{{{raw}}}}{{{{/raw}}}}".to_owned(),
            (Form::Block, _) => format!("{{{{#{name}{values}}}}}{{{{/{name}}}}}"),
            (Form::Inline | Form::Both, _) => format!("{{{{{name}{values}}}}}"),
        };
        let refusal = render(&text).err().unwrap_or_default();
        assert!(!refusal.ends_with("it cannot be rendered"), "{text}: {refusal}");
    }
}

#[test]
fn deep_nesting_is_refused_before_it_is_parsed() {
    let nested = |opening: &str, closing: &str, depth: usize| opening.repeat(depth) + &closing.repeat(depth);
    let error = |text: &str| Template::compile("t", text).map(drop).unwrap_err().to_string();
    assert_eq!(
        error(&nested("{{#if a}}", "{{/if}}", 10_000)),
        "t:1:577: blocks are nested more than 64 deep"
    );
    assert_eq!(error(&"{{#if a}}".repeat(10_000)), "t:1:577: blocks are nested more than 64 deep");
    let parentheses = format!("{{{{json {}}}}}", nested("(json ", ")", 10_000));
    assert_eq!(error(&parentheses), "t:1:1: parentheses are nested more than 32 deep");
    let hidden = "{{json \"}}\" ".to_owned() + &"(json \")\" ".repeat(10_000);
    assert_eq!(error(&hidden), "t:1:1: parentheses are nested more than 32 deep");
    let brackets = format!("{{{{json {}}}}}", "[".repeat(10_000));
    assert_eq!(error(&brackets), "t:1:8: this bracket is never closed: `]` is missing");
    assert!(error(&format!("{{{{json {}}}}}", "{".repeat(10_000))).contains("unexpected `{`"));
}

#[test]
fn the_deepest_nesting_that_is_allowed_renders_on_a_small_stack() {
    let value = "(trim ".repeat(32) + "@root.db.port" + &")".repeat(32);
    let blocks = "{{#with @root.db.users}}".repeat(64);
    let in_blocks = format!("{blocks}{{{{trim {value}}}}}{}", "{{/with}}".repeat(64));
    let mut in_partials = partial(0, &format!("{{{{trim {value}}}}}"));
    for level in 1..64 {
        in_partials += &partial(level, &format!("{{{{> p{}}}}}", level - 1));
    }
    in_partials += "{{> p63}}";
    for text in [in_blocks, in_partials] {
        let small = std::thread::Builder::new().stack_size(2 << 20);
        let rendered = small.spawn(move || render(&text)).unwrap().join().unwrap();
        assert_eq!(rendered.as_deref(), Ok("5432"));
    }
}

/// The definition of a partial `p{number}`.
fn partial(number: usize, body: &str) -> String {
    format!("{{{{#*inline \"p{number}\"}}}}{body}{{{{/inline}}}}")
}

#[test]
fn partials_that_multiply_are_refused() {
    let mut text = partial(0, "x");
    for level in 1..30 {
        let call = format!("{{{{> p{}}}}}", level - 1);
        text += &partial(level, &call.repeat(2));
    }
    text += "{{> p29}}";
    assert!(render(&text).unwrap_err().ends_with("partials call each other too often"));
    let calls = (0..100).map(|level| partial(level, &format!("{{{{> p{}}}}}", level + 1)));
    let chain = calls.collect::<String>();
    let error = render(&(chain + &partial(100, "x") + "{{> p0}}")).unwrap_err();
    assert!(error.ends_with("blocks and partials are nested more than 64 deep"), "{error}");
}

#[test]
fn sizes_are_limited() {
    assert_eq!(render(&"x".repeat(TEXT_LIMIT)).map(|text| text.len()), Ok(TEXT_LIMIT));
    assert_refused(&[(&"x".repeat(TEXT_LIMIT + 1), "1:1: the template is larger than 1 MiB")]);
    let many = render(&"{{db.port}}".repeat(8000)).unwrap_err();
    assert!(many.ends_with("the template has too many tags for its size: split it"), "{many}");
    let lines = "x".repeat(OUTPUT_LIMIT / 16);
    let data = super::data(serde_json::json!({"s": {"big": lines, "items": vec![1; 20]}}));
    let render = |text: &str| super::render_with(text, &data);
    assert_eq!(
        render("{{#each s.items}}{{@root.s.big}}{{/each}}").unwrap_err(),
        "1:18: the output is larger than 8 MiB"
    );
    for call in [
        "replace s.big \"x\" \"yyyyyyyyyyyyyyyyyyyyyyyy\"",
        "indent (replace s.big \"x\" \"\\n\") 100000000000",
        "json (json (json (json (replace s.big \"x\" \"\\\\\"))))",
    ] {
        let error = render(&format!("{{{{{call}}}}}")).unwrap_err();
        assert!(error.ends_with("yields is larger than 8 MiB"), "{call}: {error}");
    }
    assert_eq!(
        render("{{split s.big \"x\"}}").unwrap_err(),
        "1:1: `split` would yield more than 100000 parts"
    );
}
