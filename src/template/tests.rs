//! What templates render to, refer to and refuse, as tables.

mod errors;
mod fuzz;
mod properties;
mod references;
mod rendering;
mod shipped;
mod transforming;

use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::{Data, Engine, Surroundings, Template};
use crate::names::SecretName;
use crate::secret::{Meta, Packed};

/// A part of every value of [`secrets`] that no error may contain.
const CANARY: &str = "canary-7f3a";

fn engine() -> Engine {
    let env = |name: &str| (name == "SET").then(|| "from-env".to_owned());
    let file = |path: &Path| match path.to_str() {
        Some("/etc/ca.pem") => Ok("PEM\n".to_owned()),
        Some("/etc/private") => Err(io::ErrorKind::PermissionDenied.into()),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    Engine::new(Surroundings { env: Box::new(env), file: Box::new(file) })
}

fn data(secrets: Value) -> Data {
    let Value::Object(secrets) = secrets else { panic!("secrets are a map") };
    let secrets: Vec<(SecretName, Packed)> = secrets
        .into_iter()
        .map(|(name, fields)| {
            let Value::Object(fields) = fields else { panic!("a secret is a map") };
            (SecretName::new(name), Packed::of(&fields))
        })
        .collect();
    let metas: Vec<(SecretName, Meta)> = secrets
        .iter()
        .filter(|(name, _)| name.as_str() == "db")
        .map(|(name, _)| {
            let about = json!({"owner": "ann", "canary": CANARY});
            let about = Packed::of(about.as_object().expect("a map"));
            let known = Meta::of([("version", 3.into()), ("arrived", "2026-11-30T12:00:00Z".into())]);
            (name.clone(), known.and(&Meta::of_map("custom_metadata", about)))
        })
        .collect();
    Data::new(secrets.iter().map(|(name, fields)| (name, fields)))
        .with_meta(metas.iter().map(|(name, meta)| (name, meta)))
}

fn secrets() -> Data {
    data(json!({
        "db": {
            "username": "app", "password": "p'a\"s$(s)\n<&>é", "port": 5432, "tls": true, "ratio": 0.5,
            "big": u64::MAX, "small": i64::MIN, "empty": "", "none": null, "zero": 0,
            "hosts": ["a", "b"], "odd-key": "odd", "odd key": "spaced",
            "users": {"x": {"name": "ann"}, "y": {"name": "bob"}},
            "canary": CANARY, "nul": "a\0b", "encoded": "aGk=", "binary": "/w==", "lines": "one\n\ntwo\n",
        },
        "web": {"key": "k", "empty": {}},
    }))
}

/// The rendered text, or the error as a user sees it, without the origin.
fn render(text: &str) -> Result<String, String> {
    render_with(text, &secrets())
}

fn render_with(text: &str, data: &Data) -> Result<String, String> {
    let plain = |error: super::TemplateError| error.to_string().replacen("t:", "", 1);
    let template = Template::compile("t", text).map_err(plain)?;
    engine().render(&template, data).map(|rendered| rendered.expose().to_owned()).map_err(plain)
}
