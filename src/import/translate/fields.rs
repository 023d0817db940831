//! Fields: what a name behind a point leads to.

use super::hb::Hb;
use super::value::{Origin, Piece, Type, Value, Valued, left};

/// What `names` lead to, one after the other.
pub(super) fn walk(value: Value, names: &[String]) -> Valued {
    names.iter().try_fold(value, |value, name| field(value, name))
}

/// What a name leads to.
pub(super) fn field(value: Value, name: &str) -> Valued {
    match value {
        Value::Secret(hb, origin) => of_secret(hb, origin, name),
        Value::Data(hb, Origin::Versioned | Origin::Other) if name == "data" => {
            Ok(Value::Data(hb, Origin::Fields))
        }
        Value::Data(hb, Origin::Versioned | Origin::Other) if name == "metadata" => Ok(Value::Metadata(hb)),
        Value::Metadata(hb) => of_metadata(hb, name),
        Value::Cert(hb) => of_cert(hb, name),
        Value::Data(hb, _) | Value::Expr(hb, Type::Raw) => Ok(Value::Expr(hb.step(name), Type::Raw)),
        Value::Expr(hb, Type::Map | Type::Any) => Ok(Value::Expr(hb.step(name), Type::Any)),
        Value::Unknown(why) => left(why),
        Value::Const(_)
        | Value::Expr(_, Type::Text | Type::Int | Type::Bool | Type::List)
        | Value::Listing(_)
        | Value::Joined(_)
        | Value::Counter(..)
        | Value::Count(..)
        | Value::Once(..)
        | Value::Either(..)
        | Value::Logic(..) => left(format!("there is no field `.{name}` here that Squire knows of")),
    }
}

/// The fields of an answer of the server.
fn of_secret(hb: Hb, origin: Origin, name: &str) -> Valued {
    let about = |key: &str, kind| about(hb.clone(), key, kind);
    match name {
        "Data" => Ok(Value::Data(hb, origin)),
        "LeaseID" => about("lease_id", Type::Text),
        "LeaseDuration" => about("lease_duration", Type::Int),
        "Renewable" => about("renewable", Type::Bool),
        _ => left(format!(
            "an answer has no `.{name}` in Squire; there are its fields, and `lease_id`, \
                `lease_duration` and `renewable` by {{{{meta …}}}}"
        )),
    }
}

/// Something about a secret that is no field of it.
fn about(hb: Hb, key: &str, kind: Type) -> Valued {
    if matches!(hb, Hb::Local(..)) {
        return left(
            "Squire knows this of a secret of its own, and not of an entry of a folder; give the entry \
                a [secret.…]",
        );
    }
    Ok(Value::call("meta", vec![hb, Hb::text(key)], kind))
}

fn of_metadata(hb: Hb, name: &str) -> Valued {
    let kind = match name {
        "version" | "created_time" => Type::Raw,
        "custom_metadata" => Type::Map,
        _ => {
            return left(format!(
                "Squire has no `{name}` of a secret; {{{{meta …}}}} has `version`, `created_time` and \
                    `custom_metadata`"
            ));
        }
    };
    about(hb, name, kind)
}

/// A certificate's parts. Each ends with a line break where `pkiCert` gives it, and without one where the server does.
fn of_cert(hb: Hb, name: &str) -> Valued {
    let field = match name {
        "Data" => return Ok(Value::Cert(hb)),
        "Cert" => "certificate",
        "Key" => "private_key",
        "CA" => "issuing_ca",
        _ => {
            return left(format!(
                "`pkiCert` has no `.{name}` that Squire knows of: `.Cert`, `.Key` and `.CA`; the \
                    server's own fields are `certificate`, `private_key`, `issuing_ca` and `ca_chain`"
            ));
        }
    };
    Ok(Value::Joined(vec![Piece::Expr(hb.step(field)), Piece::Text("\n".to_owned())]))
}
