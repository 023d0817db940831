//! The secrets that templates refer to.

use crate::template::Template;

/// `secret.field` or `secret`, once for each place, in the order of the places.
fn references(text: &str) -> Vec<String> {
    let template = Template::compile("t", text).unwrap();
    let name = |reference: &crate::template::Reference| match &reference.field {
        None if reference.meta => format!("{} itself", reference.secret),
        Some(field) => format!("{}.{field}", reference.secret),
        None => reference.secret.clone(),
    };
    template.references().iter().map(name).collect()
}

#[test]
fn every_path_is_attributed_to_its_secret() {
    let table: &[(&str, &[&str])] = &[
        ("none", &[]),
        ("{{db.password}}", &["db.password"]),
        ("{{db}}", &["db"]),
        ("{{db.tls.key}}", &["db.tls"]),
        ("{{db.[odd-key]}}", &["db.odd-key"]),
        ("{{this.db.x}}{{./web.y}}", &["db.x", "web.y"]),
        ("{{@root.db.x}}", &["db.x"]),
        ("{{{db.x}}}{{&web.y}}", &["db.x", "web.y"]),
        ("{{json db.x}}", &["db.x"]),
        ("{{base64 (json db)}}", &["db"]),
        ("{{(json db.x)}}", &["db.x"]),
        ("{{lookup db \"key\"}}", &["db.key"]),
        ("{{lookup db web.name}}", &["db", "web.name"]),
        ("{{lookup (lookup db \"a\") \"b\"}}", &["db.a"]),
        ("{{default db.port web.port}}", &["db.port", "web.port"]),
        ("{{#if db.port}}{{db.x}}{{else}}{{web.y}}{{/if}}", &["db.port", "db.x", "web.y"]),
        ("{{#if a.x includeZero=b.y}}{{/if}}", &["a.x", "b.y"]),
        ("{{#if a.x}}{{else if b.y}}{{else}}{{c.z}}{{/if}}", &["a.x", "b.y", "c.z"]),
        ("{{#each db}}{{this}}{{x}}{{@key}}{{/each}}", &["db", "db", "db"]),
        ("{{#each db.users}}{{name}}{{/each}}", &["db.users", "db.users"]),
        ("{{#each db}}{{../web.x}}{{@root.c.y}}{{/each}}", &["db", "web.x", "c.y"]),
        ("{{#each db}}{{else}}{{web.x}}{{/each}}", &["db", "web.x"]),
        ("{{#each db as |value key|}}{{value}}{{key}}{{/each}}", &["db", "db"]),
        ("{{#each (split db.x \",\")}}{{this}}{{y}}{{../web.z}}{{/each}}", &["db.x", "web.z"]),
        ("{{#with db}}{{x}}{{else}}{{web.y}}{{/with}}", &["db", "db.x", "web.y"]),
        (
            "{{#with db as |d|}}{{d.x}}{{#with web}}{{../d.y}}{{z}}{{/with}}{{/with}}",
            &["db", "db.x", "db.web", "db.y", "db.web"],
        ),
        ("{{#with db}}{{#if x}}{{y}}{{../web.z}}{{/if}}{{/with}}", &["db", "db.x", "db.y", "web.z"]),
        ("{{#*inline \"p\"}}{{x}}{{/inline}}", &[]),
        (
            "{{#*inline \"p\"}}{{x}}{{y}}{{/inline}}{{> p db y=web.y}}{{> p c}}",
            &["c.x", "db.x", "c.y", "web.y", "db", "web.y", "c"],
        ),
        ("{{#*inline \"p\"}}{{../web.x}}{{/inline}}{{#with db}}{{> p}}{{/with}}", &["db.web", "db"]),
        ("{{env \"X\"}}{{json \"db.x\"}}{{! db.x }}\\{{db.x}}", &[]),
        ("{{meta db \"version\"}}", &["db itself"]),
        ("{{meta db (lookup web \"key\")}}", &["db itself", "web.key"]),
        (
            "{{#with db}}{{meta this \"version\"}}{{meta ../web \"version\"}}{{/with}}",
            &["db", "db itself", "web itself"],
        ),
        ("{{lookup (meta @root.db \"custom_metadata\") db.x}}", &["db itself", "db.x"]),
        ("{{meta.x}}", &["meta.x"]),
        ("{{trim.x}}", &["trim.x"]),
        ("{{elsewhere.x}}", &["elsewhere.x"]),
    ];
    for (text, expected) in table {
        assert_eq!(references(text), *expected, "{text}");
    }
}

#[test]
fn a_reference_tells_its_place_in_characters() {
    let template = Template::compile("t", "é\r\n é {{db.x}}\n{{#if a}}\n  {{b.y}}{{/if}}").unwrap();
    let places: Vec<_> =
        template.references().iter().map(|at| (at.secret.as_str(), at.line, at.column)).collect();
    assert_eq!(places, [("db", 2, 4), ("a", 3, 1), ("b", 4, 3)]);
}
