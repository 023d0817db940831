//! What renders, and to what.

use std::fmt::Write as _;

use serde_json::json;

use super::{data, render, render_with, secrets};
use crate::template::{Engine, Template};

#[track_caller]
fn assert_renders(table: &[(&str, &str)]) {
    for (text, expected) in table {
        assert_eq!(render(text).as_deref(), Ok(*expected), "{text}");
    }
}

#[test]
fn values_render_as_they_are() {
    assert_renders(&[
        ("", ""),
        ("no tags, { } ( [ \" ' }}", "no tags, { } ( [ \" ' }}"),
        ("{{db.username}}", "app"),
        ("{{db.password}}", "p'a\"s$(s)\n<&>é"),
        ("{{{db.password}}}{{&db.username}}", "p'a\"s$(s)\n<&>éapp"),
        ("{{db.port}} {{db.tls}} {{db.ratio}} {{db.zero}}", "5432 true 0.5 0"),
        ("{{db.big}} {{db.small}}", "18446744073709551615 -9223372036854775808"),
        ("[{{db.empty}}]", "[]"),
        ("{{db.hosts.0}} {{db.hosts.[1]}} {{db.users.x.name}}", "a b ann"),
        ("{{db.odd-key}} {{db.[odd-key]}} {{db.[odd key]}} {{db/username}}", "odd odd spaced app"),
        ("{{@root.db.username}} {{this.db.username}} {{./db.username}}", "app app app"),
        (r"\{{db.username}} \\{{db.username}}", r"{{db.username}} \app"),
        ("{{{{raw}}}}{{ $labels.x }} \"{{{{/raw}}}}", "{{ $labels.x }} \""),
        ("a{{! one \" }}{{!-- two {{#if}} \" }} --}}b", "ab"),
    ]);
}

#[test]
fn the_fields_of_a_folder_are_its_entries() {
    let team = data(
        json!({"team": {"bob": {"password": "b"}, "eu/alice": {"password": "a", "port": 1}}, "none": {}}),
    );
    for (text, expected) in [
        ("{{#each team}}{{@key}}={{password}};{{/each}}", "bob=b;eu/alice=a;"),
        ("{{#each team as |entry name|}}{{name}}={{entry.password}};{{/each}}", "bob=b;eu/alice=a;"),
        ("{{team.bob.password}} {{team.[eu/alice].password}}", "b a"),
        ("{{#with team.[eu/alice]}}{{password}}:{{port}}{{/with}}", "a:1"),
        ("{{#each team.bob}}{{@key}}={{this}}{{/each}}", "password=b"),
        ("{{lookup (lookup team \"bob\") \"password\"}} {{len team}}", "b 2"),
        ("[{{#each none}}{{password}}{{/each}}]", "[]"),
        ("{{#each team}}{{#if port}}{{@key}}{{/if}}{{/each}}", "eu/alice"),
    ] {
        assert_eq!(render_with(text, &team).as_deref(), Ok(expected), "{text}");
    }
    let missing = "1:1: `team` has no field `eve`; it has `bob`, `eu/alice`";
    assert_eq!(render_with("{{team.eve.password}}", &team).unwrap_err(), missing);
}

#[test]
fn what_is_known_of_a_secret_is_beside_its_fields() {
    assert_renders(&[
        ("{{meta db \"version\"}} {{meta db \"arrived\"}}", "3 2026-11-30T12:00:00Z"),
        ("{{db.port}} {{timestamp}} {{upper (timestamp)}}", "5432 2026-11-30T12:00:00Z 2026-11-30T12:00:00Z"),
        ("{{meta db \"version\"}} {{timestamp}}", "3 2026-11-30T12:00:00Z"),
        ("{{#each db.hosts}}{{timestamp}} {{/each}}", "2026-11-30T12:00:00Z 2026-11-30T12:00:00Z "),
        ("{{lookup (meta db \"custom_metadata\") \"owner\"}}", "ann"),
        ("{{#each (meta db \"custom_metadata\")}}{{@key}} {{/each}}", "canary owner "),
        (
            "{{#with db}}{{username}} {{meta this \"version\"}} {{meta @root.db \"version\"}}{{/with}}",
            "app 3 3",
        ),
        ("{{#with db as |d|}}{{meta d \"version\"}}{{/with}}", "3"),
        ("{{#each db.hosts}}{{meta @root.db \"version\"}}{{/each}}", "33"),
        ("{{default (meta db \"lease_id\") \"none\"}}", "none"),
        ("{{default (meta web \"version\") \"none\"}}", "none"),
        ("{{#if (eq (meta db \"version\") 3)}}third{{/if}}", "third"),
        ("{{#if (meta db \"lease_id\")}}leased{{else}}not{{/if}}", "not"),
        ("{{#*inline \"p\"}}{{v}}{{/inline}}{{> p v=(meta db \"version\")}}", "3"),
        ("{{json (meta db \"version\")}}", "3"),
    ]);
}

#[test]
fn blocks_move_the_context() {
    assert_renders(&[
        ("{{#with db}}{{username}}@{{../web.key}}{{/with}}", "app@k"),
        ("{{#with db as |d|}}{{d.username}}{{/with}}", "app"),
        ("{{#with db.empty}}x{{else}}{{db.username}}{{/with}}", "app"),
        ("{{#with db.nothing}}x{{else}}none{{/with}}", "none"),
        ("{{#each db.hosts}}{{@index}}={{this}}{{#unless @last}},{{/unless}}{{/each}}", "0=a,1=b"),
        ("{{#each db.users}}{{@key}}:{{name}} {{/each}}", "x:ann y:bob "),
        ("{{#each db.users as |user key|}}{{key}}:{{user.name}} {{/each}}", "x:ann y:bob "),
        ("{{#each db.users}}{{#with this}}{{@../key}}{{../../db.port}}{{/with}}{{/each}}", "x5432y5432"),
        ("{{#each db.users}}{{@root.web.key}}{{/each}}", "kk"),
        ("{{#each db.nothing}}x{{else}}none{{/each}}", "none"),
        ("{{#each db.none}}x{{else}}none{{/each}}", "none"),
        ("{{#each web.empty}}x{{/each}}", ""),
        ("{{#each (split \"a,b\" \",\")}}<{{this}}>{{/each}}", "<a><b>"),
        ("{{#each (lookup db \"users\")}}{{name}}{{../web.key}} {{/each}}", "annk bobk "),
    ]);
}

#[test]
fn conditions_may_ask_for_what_is_not_there() {
    assert_renders(&[
        ("{{#if db.port}}{{db.port}}{{/if}}", "5432"),
        ("{{#if db.nothing}}x{{else}}no{{/if}}", "no"),
        ("{{#unless db.nothing}}no{{/unless}}", "no"),
        ("{{#if db.none}}x{{else if db.empty}}y{{else if db.tls}}z{{/if}}", "z"),
        ("{{#if db.zero}}x{{/if}}{{#if db.zero includeZero=true}}y{{/if}}", "y"),
        ("{{#if (and db.port db.nothing)}}x{{else}}no{{/if}}", "no"),
        ("{{#if (or db.nothing db.port)}}yes{{/if}}", "yes"),
        ("{{#if (not db.nothing)}}yes{{/if}}", "yes"),
        ("{{#if (env \"UNSET\")}}x{{else}}no{{/if}}{{#if (env \"SET\")}}yes{{/if}}", "noyes"),
        ("{{#if (eq db.username \"app\")}}yes{{/if}}{{#eq db.port 5432}}yes{{/eq}}", "yesyes"),
        ("{{ne db.port 1}} {{gt db.port 1}} {{lte db.port 1}} {{len db.hosts}}", "true true false 2"),
    ]);
}

#[test]
fn a_number_is_printed_as_it_was_written() {
    for number in ["123456789012345678901234567890", "1.10", "-0.50", "1e+400", "18446744073709551616"] {
        let secrets: serde_json::Value =
            serde_json::from_str(&format!("{{\"db\": {{\"n\": {number}}}}}")).unwrap();
        let data = data(secrets);
        let template = "{{db.n}} {{json db.n}} {{yaml db.n}} {{#if (eq db.n db.n)}}same{{/if}}";
        assert_eq!(render_with(template, &data).unwrap(), format!("{number} {number} {number} same"));
        let is_in_toml = number.contains(['.', 'e']);
        assert_eq!(render_with("{{toml db.n}}", &data).ok(), is_in_toml.then(|| number.to_owned()));
    }
}

#[test]
fn every_helper_writes_what_its_format_reads() {
    assert_renders(&[
        ("{{json db.password}}", r#""p'a\"s$(s)\n<&>é""#),
        (
            "{{json db.users}} {{json db.none}} {{json db.big}}",
            r#"{"x":{"name":"ann"},"y":{"name":"bob"}} null 18446744073709551615"#,
        ),
        ("{{json_pretty db.users.x}}", "{\n  \"name\": \"ann\"\n}"),
        ("p: {{yaml db.password}}", "p: \"p'a\\\"s$(s)\\n<&>é\""),
        ("{{yaml db.users}}", "x:\n  name: \"ann\"\n\"y\":\n  name: \"bob\""),
        ("{{yaml db.hosts}} {{yaml web.empty}} {{yaml db.port}}", "- \"a\"\n- \"b\" {} 5432"),
        (
            "p = {{toml db.username}}, {{toml db.port}}, {{toml db.hosts}}",
            "p = \"app\", 5432, [\"a\", \"b\"]",
        ),
        ("{{toml db.users}}", "{ x = { name = \"ann\" }, y = { name = \"bob\" } }"),
        ("{{shell db.password}} {{shell db.empty}}", "'p'\\''a\"s$(s)\n<&>é' ''"),
        ("{{url db.password}}", "p%27a%22s%24%28s%29%0A%3C%26%3E%C3%A9"),
        ("{{url \"aZ09-._~/ \"}}", "aZ09-._~%2F%20"),
        ("{{base64 db.nul}} {{base64 db.empty}} {{base64 db.port}}", "YQBi  NTQzMg=="),
        (
            "{{base64_decode db.encoded}} {{base64_decode \"aGk\"}} {{base64_decode \" aG\\nk= \"}}",
            "hi hi hi",
        ),
        ("{{sha256 db.empty}}", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("    {{indent db.lines 4}}|", "    one\n\n    two\n|"),
        ("[{{trim \" a \"}}] {{upper db.username}} {{lower \"É\"}}", "[a] APP é"),
        ("{{replace db.username \"p\" \"-$1-\"}}", "a-$1--$1-"),
        ("{{join db.hosts \", \"}} {{join (split \"a,,b\" \",\") \"|\"}}", "a, b a||b"),
        ("{{concat \"a\" db.port db.tls \"\"}} {{upper (concat \"x-\" web.key)}}", "a5432true X-K"),
        (
            "{{default db.port 1}} {{default db.nothing 5432}} {{default db.none \"x\"}} {{default db.empty \"y\"}}",
            "5432 5432 x y",
        ),
        ("{{default db.zero 1}} {{default (lookup db \"nothing\") db.port}}", "0 5432"),
        (
            "{{env \"SET\"}} {{default (env \"UNSET\") \"y\"}} {{default (env \"SET\") \"y\"}}",
            "from-env y from-env",
        ),
        ("{{file \"/etc/ca.pem\"}}{{default (file \"/nowhere\") \"y\"}}", "PEM\ny"),
        (
            "{{lookup db \"username\"}} {{lookup db.hosts 1}} {{lookup db (lookup (split \"port\" \",\") 0)}}",
            "app b 5432",
        ),
        ("{{base64 (json db.users.x)}} {{(upper db.username)}}", "eyJuYW1lIjoiYW5uIn0= APP"),
    ]);
}

#[test]
fn helpers_for_files_write_what_their_readers_read() {
    assert_renders(&[
        ("{{compose_env db.password}}", r#""p'a\"s$$(s)\n<&>é""#),
        ("{{systemd_env db.password}} {{systemd_env db.empty}}", "\"p'a\\\"s\\$(s)\n<&>é\" \"\""),
        ("{{env_name \"_A1\"}} {{line db.canary}} {{word \"a:b\" \"/\"}}", "_A1 canary-7f3a a:b"),
        ("{{properties \" a=b:c#!😀\"}} {{properties db.nul}}", "\\ a\\=b\\:c\\#\\!\\ud83d\\ude00 a\\u0000b"),
        ("{{ini \"50% ;\"}} {{configparser \"50%\"}}", "50% ; 50%%"),
        ("{{pgpass \"*a:b#\"}} {{pgpass db.port}}", "\\*a\\:b\\# 5432"),
        ("{{my_cnf db.password}}", "\"p'a\\\"s$(s)\\n<&>é\""),
        ("{{netrc db.username}} {{netrc \"a b\"}} {{netrc db.empty}}", "app \"a b\" \"\""),
        ("{{npmrc \"a;b\"}} {{jaas \"a=b\"}}", "\"a;b\" \"a=b\""),
        ("{{basic_auth \"Aladdin\" \"open sesame\"}}", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
    ]);
}

#[test]
fn a_backslash_before_the_quote_that_ends_a_value_for_compose_is_a_number() {
    for (text, expected) in
        [("\\", r#""\0134""#), ("\\x\\\\", r#""\\x\\\0134""#), ("\\\"\\", r#""\0134\"\0134""#)]
    {
        let data = data(json!({"s": {"v": text}}));
        assert_eq!(render_with("{{compose_env s.v}}", &data).as_deref(), Ok(expected));
    }
}

#[test]
fn a_secret_may_have_the_name_of_a_later_helper() {
    let data = data(json!({"pgpass": {"password": "a:b"}, "ini": {"x": 1}}));
    let text =
        "{{pgpass.password}} {{pgpass pgpass.password}} {{only ini}} {{#each ini}}{{ini this}}{{/each}}";
    assert_eq!(render_with(text, &data).as_deref(), Ok("a:b a\\:b 1 1"));
}

#[test]
fn pem_has_the_line_breaks_of_unix() {
    let data = data(json!({"s": {
        "written": "-----BEGIN A-----\\nx\\n-----END A-----\\n", "windows": " \r\n-----BEGIN A-----\r\nx  \r\n-----END A-----\r\n\r\n",
        "after": "-----BEGIN A-----\nx\n-----END A-----\nx",
    }}));
    for field in ["written", "windows"] {
        let block = "-----BEGIN A-----\nx\n-----END A-----";
        assert_eq!(render_with(&format!("{{{{pem s.{field}}}}}"), &data).as_deref(), Ok(block));
    }
    assert!(render_with("{{pem s.after}}", &data).is_err());
}

#[test]
fn a_bcrypt_hash_is_the_same_until_the_password_or_the_name_is_another() {
    let hash = |text: &str| render(text).unwrap();
    let first = hash("{{bcrypt db.password \"web\" db.username}}");
    assert!(
        bcrypt::verify("p'a\"s$(s)\n<&>é", &first).unwrap() && !bcrypt::verify("another", &first).unwrap()
    );
    assert!(first.starts_with("$2y$10$") && first.len() == 60, "{first}");
    assert_eq!(first, hash("{{bcrypt db.password \"web\" \"app\"}}"));
    let salt = |hash: &str| hash[7..29].to_owned();
    assert_eq!(
        salt(&first),
        salt(&hash("{{bcrypt db.canary \"web\" \"app\"}}")),
        "the salt tells nothing of the password"
    );
    for other in ["\"we\" \"bapp\"", "\"app\" \"web\"", "\"webapp\"", "\"web\" \"app\" \"app\""] {
        assert_ne!(salt(&first), salt(&hash(&format!("{{{{bcrypt db.password {other}}}}}"))), "{other}");
    }
    let long = |bytes: usize| render(&format!("{{{{bcrypt \"{}\" \"x\"}}}}", "a".repeat(bytes)));
    assert!(long(72).is_ok() && long(73).is_err());
}

#[test]
fn partials_see_their_context_their_names_and_their_callers() {
    assert_renders(&[
        ("{{#*inline \"p\"}}{{db.username}}{{/inline}}{{> p}}", "app"),
        ("{{#*inline \"p\"}}{{username}}{{/inline}}{{> p db}}{{#with db}}{{> p}}{{/with}}", "appapp"),
        (
            "{{#*inline \"p\"}}{{name}}:{{x}}:{{../../web.key}} {{/inline}}{{#each db.users}}{{> p x=@key}}{{/each}}",
            "ann:x:k bob:y:k ",
        ),
        ("{{#*inline \"a\"}}{{db.port}}{{/inline}}{{#*inline \"b\"}}<{{> a}}>{{/inline}}{{> b}}", "<5432>"),
    ]);
}

#[test]
fn fields_are_walked_in_the_order_of_their_names() {
    let shuffled = data(serde_json::from_str(r#"{"s": {"b": 2, "c": 3, "a": 1}}"#).unwrap());
    let text = "{{#each s}}{{@key}}{{this}} {{/each}}";
    assert_eq!(render_with(text, &shuffled).as_deref(), Ok("a1 b2 c3 "));
}

#[test]
fn a_thousand_templates_share_the_data_of_a_thousand_secrets() {
    let mut all = json!({});
    for number in 0..1000 {
        all[format!("s{number}")] = json!({"value": format!("v{number}")});
    }
    let (engine, data): (Engine, _) = (super::engine(), data(all));
    for number in 0..1000 {
        let mut text = String::new();
        write!(text, "{{{{s{number}.value}}}}").unwrap();
        let template = Template::compile("t", &text).unwrap();
        assert_eq!(engine.render(&template, &data).unwrap().expose(), format!("v{number}"));
    }
}

#[test]
fn nothing_prints_the_data() {
    let template = Template::compile("t", "{{db.canary}}").unwrap();
    assert_eq!(format!("{:?} {template:?}", secrets()), "Data(…) Template { origin: \"t\", .. }");
}
