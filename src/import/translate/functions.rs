//! The functions that a template may call: Go's own, consul-template's, and the common ones of sprig.
//!
//! *Invariant:* a function is either translated to the same bytes, or left with what to do; none is unknown without a word.

use super::condition::{combined, compared, negated, with_length};
use super::hb::Hb;
use super::value::{Const, Logic, Piece, Type, Value, Valued, left};
use super::walk::Translator;
use super::{fields, printf, request};

/// How deep helpers may be nested: less than Squire's own bound, since a condition adds some.
const CALLS: usize = 20;

impl Translator<'_> {
    /// A call.
    pub(super) fn call(&mut self, name: &str, values: &[Value]) -> Valued {
        let value = self.called_with(name, values)?;
        let is_too_deep = matches!(&value, Value::Expr(hb, _) | Value::Count(hb, _) if hb.depth() > CALLS);
        if is_too_deep {
            return left(format!(
                "calls are nested more than {CALLS} deep; write the result of some of them out"
            ));
        }
        Ok(value)
    }

    fn called_with(&mut self, name: &str, values: &[Value]) -> Valued {
        if let Some(Value::Unknown(why)) = values.iter().find(|value| matches!(value, Value::Unknown(_))) {
            return left(why.clone());
        }
        match name {
            "secret" => {
                if self.conditions > self.depth() {
                    let advice = "Squire fetches every secret that a template names, also where a condition does not \
                                  hold; so the role needs the rights for all of them";
                    self.tell("fetched", advice);
                }
                request::secret(values, &self.entries, self.wants)
            }
            "secrets" => request::listing(values),
            "pkiCert" => {
                let certificate = request::certificate(values, self.wants)?;
                if let Value::Cert(Hb::Root(name, _)) = &certificate
                    && self.wants.was_there(self.before, name)
                {
                    let advice = "there each file gets a certificate of its own, so a certificate and a key in two files do not match; here equal requests \
                                  are one certificate";
                    self.tell("pkiCert", advice);
                }
                Ok(certificate)
            }
            "and" => combined(Logic::And, values),
            "or" => combined(Logic::Or, values),
            "eq" | "ne" | "lt" | "le" | "gt" | "ge" => self.comparison(name, values),
            "len" => self.length(values),
            "toJSON"
            | "toJSONPretty"
            | "toUnescapedJSON"
            | "toUnescapedJSONPretty"
            | "toYAML"
            | "toTOML"
            | "sprig_toJson"
            | "sprig_toPrettyJson"
            | "sprig_toRawJson" => self.format(name, values),
            "timestamp" => self.timestamp(values),
            "indent" => {
                let advice = "Squire's `indent` leaves the first line to the blanks before it; so an empty value has them too";
                self.tell("indent", advice);
                simple(None, name, values)
            }
            "parseJSON" | "parseYAML" | "sprig_fromJson" => {
                let advice =
                    "Go prints a number of a million and more as 1e+06, and Squire as it is written there";
                self.tell("parse", advice);
                simple(name.strip_prefix("sprig_"), name, values)
            }
            _ => simple(name.strip_prefix("sprig_"), name, values),
        }
    }

    fn comparison(&mut self, name: &str, values: &[Value]) -> Valued {
        let helper = |turned: bool| match (name, turned) {
            ("lt", false) | ("gt", true) => "lt",
            ("gt", false) | ("lt", true) => "gt",
            ("le", false) | ("ge", true) => "lte",
            ("ge", false) | ("le", true) => "gte",
            ("eq", _) => "eq",
            _ => "ne",
        };
        let known = match values {
            [Value::Counter(level, more), Value::Count(of, less)] if self.walks(*level, of) => {
                with_length(helper(false), *level, *more, *less)
            }
            [Value::Count(of, less), Value::Counter(level, more)] if self.walks(*level, of) => {
                with_length(helper(true), *level, *more, *less)
            }
            _ => None,
        };
        known.map_or_else(|| compared(name, values), Ok)
    }

    fn length(&mut self, values: &[Value]) -> Valued {
        match values {
            [Value::Const(Const::Text(text))] => {
                Ok(Value::Const(Const::Int(i64::try_from(text.len()).unwrap_or(i64::MAX))))
            }
            [Value::Listing(path)] => Ok(Value::Count(request::folder(path, self.wants), 0)),
            [value] => Ok(Value::Count(value.hb()?, 0)),
            _ => left("`len` takes one value"),
        }
    }

    /// A value in a data format.
    fn format(&mut self, name: &str, values: &[Value]) -> Valued {
        let [value] = values else { return left(format!("`{name}` takes one value")) };
        if name == "toTOML" && value.kind() == Type::Map {
            return left(
                "a whole document of TOML; write {{#each …}}{{key}} = {{toml value}}, a line for each field",
            );
        }
        self.tell_of_data(value);
        let plain = name.trim_start_matches("sprig_");
        match plain {
            "toJSON" | "toJSONPretty" | "toJson" | "toPrettyJson" => self.tell(
                "json",
                "Go writes `<`, `>` and `&` in JSON as `\\u003c` and so on, and Squire as they are; a \
                    reader of JSON gets the same",
            ),
            "toYAML" => self.tell(
                "yaml",
                "Squire puts every text of YAML in quotes; a reader of YAML \
                gets the same",
            ),
            "toTOML" => self.tell(
                "toml",
                "Squire may choose other quotes of TOML; a reader of TOML \
                gets the same",
            ),
            _ => {}
        }
        let helper = match plain {
            "toJSON" | "toUnescapedJSON" | "toJson" | "toRawJson" => "json",
            "toYAML" => "yaml",
            "toTOML" => "toml",
            _ => "json_pretty",
        };
        Ok(Value::call(helper, vec![value.hb()?], Type::Text))
    }

    fn timestamp(&mut self, values: &[Value]) -> Valued {
        if !values.is_empty() {
            return left("Squire's `timestamp` has one form, that of RFC 3339; {{timestamp}} gives it");
        }
        self.tell(
            "timestamp",
            "the time stands still until a value changes, so that it causes no rotation by itself",
        );
        Ok(Value::call("timestamp", Vec::new(), Type::Text))
    }
}

/// The functions that need nothing but their values. `sprig` is the name without its prefix.
fn simple(sprig: Option<&str>, name: &str, values: &[Value]) -> Valued {
    match sprig {
        Some(name) => of_sprig(name, values),
        None => of_go(name, values)
            .or_else(|| of_text(name, values))
            .or_else(|| of_numbers(name, values))
            .unwrap_or_else(|| left(advice(name))),
    }
}

/// Go's own, and those of the environment.
fn of_go(name: &str, values: &[Value]) -> Option<Valued> {
    Some(match (name, values) {
        ("print", _) => printf::printed(values),
        ("println", _) => printf::line(values),
        ("printf", _) => printf::formatted(values),
        ("not", [value]) => negated(value),
        ("index", [value, keys @ ..]) => keys.iter().try_fold(value.clone(), indexed),
        ("env", [name]) => call("env", &[name], Type::Text).and_then(|env| or_empty(&env)),
        ("mustEnv", [name]) => call("env", &[name], Type::Text),
        ("envOrDefault", [name, fallback]) => {
            call("env", &[name], Type::Text).and_then(|env| call("default", &[&env, fallback], Type::Text))
        }
        ("file", [path]) => call("file", &[path], Type::Text),
        ("contains", [item, of]) | ("in", [of, item]) => call("contains", &[of, item], Type::Bool),
        ("parseJSON", [text]) => call("parse_json", &[text], Type::Any),
        ("parseYAML", [text]) => call("parse_yaml", &[text], Type::Any),
        ("parseInt" | "parseUint", [text]) => call("parse_json", &[text], Type::Int),
        _ => return None,
    })
}

/// Those that change texts.
fn of_text(name: &str, values: &[Value]) -> Option<Valued> {
    Some(match (name, values) {
        ("toUpper", [text]) => cased(text, "upper", str::to_uppercase),
        ("toLower", [text]) => cased(text, "lower", str::to_lowercase),
        ("toTitle", [text]) => call("title", &[text], Type::Text),
        ("trimSpace", [text]) => trimmed(text),
        ("trim", [set, text]) => trim_of(set, text),
        ("trimPrefix", [prefix, text]) => call("trim_prefix", &[text, prefix], Type::Text),
        ("trimSuffix", [suffix, text]) => call("trim_suffix", &[text, suffix], Type::Text),
        ("split", [separator, text]) => {
            trimmed(text).and_then(|text| call("split", &[&text, separator], Type::List))
        }
        ("join", [separator, list]) => call("join", &[list, separator], Type::Text),
        ("replaceAll", [from, to, text]) => replaced(from, to, text),
        ("regexReplaceAll", [pattern, to, text]) => call("regex_replace", &[text, pattern, to], Type::Text),
        ("regexMatch", [pattern, text]) => call("regex_match", &[text, pattern], Type::Bool),
        ("base64Encode", [text]) => encoded(text),
        ("base64Decode", [text]) => call("base64_decode", &[text], Type::Text),
        ("base64URLEncode", [text]) => call("base64_url", &[text], Type::Text),
        ("base64URLDecode", [text]) => call("base64_url_decode", &[text], Type::Text),
        ("sha256Hex", [text]) => call("sha256", &[text], Type::Text),
        ("hmacSHA256Hex", [message, key]) => call("hmac_sha256", &[message, key], Type::Text),
        ("indent", [Value::Const(Const::Int(width)), text]) => indented(*width, text),
        _ => return None,
    })
}

/// Those that reckon. The last value is the one that something is added to, taken from, and so on.
fn of_numbers(name: &str, values: &[Value]) -> Option<Valued> {
    let [b, a] = values else { return loops(name, values) };
    let helper = match name {
        "add" => "add",
        "subtract" => "subtract",
        "multiply" => "multiply",
        "divide" => "divide",
        "modulo" => "modulo",
        _ => return loops(name, values),
    };
    Some(match (helper, a, b) {
        (_, Value::Const(Const::Int(a)), Value::Const(Const::Int(b))) => reckoned(helper, *a, *b),
        ("add", Value::Counter(level, more), Value::Const(Const::Int(number)))
        | ("add", Value::Const(Const::Int(number)), Value::Counter(level, more)) => {
            Ok(Value::Counter(*level, more.saturating_add(*number)))
        }
        ("subtract", Value::Counter(level, more), Value::Const(Const::Int(number))) => {
            Ok(Value::Counter(*level, more.saturating_sub(*number)))
        }
        ("subtract", Value::Count(of, less), Value::Const(Const::Int(number))) => {
            Ok(Value::Count(of.clone(), less.saturating_add(*number)))
        }
        ("add", Value::Count(of, less), Value::Const(Const::Int(number)))
        | ("add", Value::Const(Const::Int(number)), Value::Count(of, less)) => {
            Ok(Value::Count(of.clone(), less.saturating_sub(*number)))
        }
        _ => call(helper, &[a, b], Type::Int),
    })
}

fn loops(name: &str, values: &[Value]) -> Option<Valued> {
    match (name, values) {
        ("loop", [end]) => Some(call("range", &[&Value::Const(Const::Int(0)), end], Type::List)),
        ("loop", [start, end]) => Some(call("range", &[start, end], Type::List)),
        _ => None,
    }
}

fn reckoned(helper: &str, a: i64, b: i64) -> Valued {
    let result = match helper {
        "add" => a.checked_add(b),
        "subtract" => a.checked_sub(b),
        "multiply" => a.checked_mul(b),
        "divide" => a.checked_div(b),
        _ => a.checked_rem(b),
    };
    result.map_or_else(|| left("this cannot be reckoned"), |result| Ok(Value::Const(Const::Int(result))))
}

/// The common functions of sprig, whose arguments stand in another order.
fn of_sprig(name: &str, values: &[Value]) -> Valued {
    let again = |name: &str, values: &[&Value]| {
        let values: Vec<Value> = values.iter().map(|value| (*value).clone()).collect();
        simple(None, name, &values)
    };
    match (name, values) {
        ("b64enc", [text]) => again("base64Encode", &[text]),
        ("b64dec", [text]) => again("base64Decode", &[text]),
        ("upper", [text]) => again("toUpper", &[text]),
        ("lower", [text]) => again("toLower", &[text]),
        ("trim", [text]) => again("trimSpace", &[text]),
        ("trimAll", [set, text]) => again("trim", &[set, text]),
        ("trimPrefix" | "trimSuffix", [part, text]) => again(name, &[part, text]),
        ("replace", [from, to, text]) => again("replaceAll", &[from, to, text]),
        ("contains", [part, text]) => call("contains", &[text, part], Type::Bool),
        ("sha256sum", [text]) => again("sha256Hex", &[text]),
        ("join", [separator, list]) => again("join", &[separator, list]),
        ("splitList", [separator, text]) => call("split", &[text, separator], Type::List),
        ("default", [fallback, value]) => combined(Logic::Or, &[value.clone(), fallback.clone()]),
        ("coalesce", [_, ..]) => combined(Logic::Or, values),
        ("env", [variable]) => again("env", &[variable]),
        ("toString", [value]) => printf::printed(std::slice::from_ref(value)),
        ("quote", [text]) => printf::formatted(&[Value::text("%q"), text.clone()]),
        ("squote", [text]) => printf::formatted(&[Value::text("'%v'"), text.clone()]),
        ("cat", [_, ..]) => printf::line(values).map(without_end),
        ("indent", [Value::Const(Const::Int(width)), text]) => evenly_indented("", *width, text),
        ("nindent", [Value::Const(Const::Int(width)), text]) => evenly_indented("\n", *width, text),
        ("title", [text]) => again("toTitle", &[text]),
        ("hasPrefix", [part, text]) => beside("\\A", part, "", text),
        ("hasSuffix", [part, text]) => beside("", part, "\\z", text),
        ("add1", [number]) => again("add", &[&Value::Const(Const::Int(1)), number]),
        ("sub", [a, b]) => again("subtract", &[b, a]),
        ("add", [a, b]) => again("add", &[a, b]),
        ("fromJson", [text]) => again("parseJSON", &[text]),
        _ => left(format!("Squire has no equivalent of sprig's `{name}`; docs/templates.md has its helpers")),
    }
}

/// Whether a text has this constant at one of its ends.
fn beside(start: &str, part: &Value, end: &str, text: &Value) -> Valued {
    let Some(part) = part.as_text() else {
        return left("what a text begins or ends with has to be a constant");
    };
    let pattern = format!("{start}{}{end}", part.chars().map(literally).collect::<Vec<_>>().concat());
    call("regex_match", &[text, &Value::text(pattern)], Type::Bool)
}

/// A character of a regular expression that means itself.
fn literally(c: char) -> String {
    if c.is_ascii_punctuation() { format!("\\{c}") } else { c.to_string() }
}

fn call(helper: &'static str, values: &[&Value], kind: Type) -> Valued {
    let arguments = values.iter().map(|value| value.hb()).collect::<Result<Vec<_>, _>>()?;
    Ok(Value::call(helper, arguments, kind))
}

fn or_empty(value: &Value) -> Valued {
    call("default", &[value, &Value::text("")], Type::Text)
}

fn indexed(value: Value, key: &Value) -> Valued {
    match (&value, key) {
        (_, Value::Const(Const::Text(name))) => fields::field(value, name),
        (Value::Secret(..) | Value::Cert(_) | Value::Metadata(_), _) => {
            left("an answer is asked for its fields by constant names")
        }
        (_, key) => {
            let kind = if value.kind() == Type::Any { Type::Any } else { Type::Raw };
            call("lookup", &[&value, key], kind)
        }
    }
}

fn cased(text: &Value, helper: &'static str, change: fn(&str) -> String) -> Valued {
    match text.as_text() {
        Some(text) if text.is_ascii() => Ok(Value::text(change(text))),
        _ => call(helper, &[text], Type::Text),
    }
}

fn trimmed(text: &Value) -> Valued {
    match text.as_text() {
        Some(text) => Ok(Value::text(text.trim())),
        None => call("trim", &[text], Type::Text),
    }
}

/// Without these characters at both ends.
fn trim_of(set: &Value, text: &Value) -> Valued {
    let Some(set) = set.as_text() else {
        return left("which characters `trim` takes away has to be a constant");
    };
    if set.is_empty() {
        return Ok(text.clone());
    }
    let class: String = set.chars().map(literally).collect();
    let pattern = Value::text(format!("\\A[{class}]+|[{class}]+\\z"));
    call("regex_replace", &[text, &pattern, &Value::text("")], Type::Text)
}

fn replaced(from: &Value, to: &Value, text: &Value) -> Valued {
    match (from.as_text(), to.as_text(), text.as_text()) {
        (Some(""), _, _) => {
            left("an empty text is replaced between all characters; `regex_replace` can do that")
        }
        (Some(from), Some(to), Some(text)) => Ok(Value::text(text.replace(from, to))),
        _ => call("replace", &[text, from, to], Type::Text),
    }
}

/// In base64; `user:password` by the helper for it.
fn encoded(text: &Value) -> Valued {
    if let Value::Joined(pieces) = text
        && let [Piece::Expr(user), Piece::Text(colon), Piece::Expr(password)] = pieces.as_slice()
        && colon == ":"
    {
        return Ok(Value::call("basic_auth", vec![user.clone(), password.clone()], Type::Text));
    }
    call("base64", &[text], Type::Text)
}

/// consul-template's: every line that is not empty. Squire's leaves the first one to the text before.
fn indented(width: i64, text: &Value) -> Valued {
    let Ok(count) = usize::try_from(width) else { return left("the width of `indent` is not negative") };
    if count > 1000 {
        return left("the width of `indent` is too large");
    }
    let indent = Hb::Call("indent", vec![text.hb()?, Hb::Int(width)]);
    Ok(printf::joined(vec![Piece::Text(" ".repeat(count)), Piece::Expr(indent)]))
}

/// sprig's: every line, also an empty one.
fn evenly_indented(lead: &str, width: i64, text: &Value) -> Valued {
    let Some(count) = usize::try_from(width).ok().filter(|count| *count <= 1000) else {
        return left("the width of `indent` is a small number");
    };
    let spaces = " ".repeat(count);
    let lines = Hb::Call("replace", vec![text.hb()?, Hb::text("\n"), Hb::Text(format!("\n{spaces}"))]);
    Ok(printf::joined(vec![Piece::Text(format!("{lead}{spaces}")), Piece::Expr(lines)]))
}

fn without_end(line: Value) -> Value {
    if let Some(text) = line.as_text() {
        return Value::text(text.trim_end_matches('\n'));
    }
    let Value::Joined(mut pieces) = line else { return line };
    if let Some(Piece::Text(last)) = pieces.last_mut() {
        *last = last.trim_end_matches('\n').to_owned();
    }
    Value::Joined(pieces)
}

/// What to do in place of a function that has no equivalent.
pub(super) fn advice(name: &str) -> String {
    match name {
        "service" | "services" | "connect" | "node" | "nodes" | "datacenters" | "partitions" | "peerings"
        | "caRoots" | "caLeaf" | "byMeta" | "byTag" | "byPort" => {
            "Squire asks no Consul for services; let the program find them by DNS, or keep \
                consul-template for this file"
                .to_owned()
        }
        "key" | "keyOrDefault" | "keyExists" | "keyExistsGet" | "ls" | "safeLs" | "tree" | "safeTree"
        | "byKey" | "explode" => {
            "Squire asks no Consul for keys; put the value into a KV of Vault or OpenBao, or write it \
                here"
                .to_owned()
        }
        "nomadService" | "nomadServices" | "nomadVar" | "nomadVarList" | "nomadVarExists" => {
            "Squire asks no Nomad; a variable of Nomad can be passed in the environment, {{env \
                \"NAME\"}}"
                .to_owned()
        }
        "plugin" => "Squire runs no program while it renders; run it before, and read its result by \
            {{file \"/path\"}}"
            .to_owned(),
        "scratch" => "Squire has no scratch pad; write the value where it is used".to_owned(),
        "md5sum" | "sprig_md5sum" => "Squire has no MD5; {{sha256 …}} is there".to_owned(),
        "pkiSign" => "Squire makes no key by itself; let the server make it: `pkiCert`, or `secret` \
            with `pki/issue/…`"
            .to_owned(),
        "writeToFile" => "another file is a [[file]] of its own".to_owned(),
        "explodeMap" | "mergeMap" | "mergeMapWithOverride" | "splitToMap" => {
            format!("Squire has no `{name}`; walk the fields by {{{{#each …}}}} and write the result out")
        }
        "html" | "js" | "urlquery" => format!(
            "Squire has no `{name}`; {{{{url …}}}} encodes for a URL, \
            {{{{json …}}}} quotes for JavaScript"
        ),
        "minimum" | "maximum" | "parseBool" | "parseFloat" | "sockaddr" | "call" | "slice" | "denied" => {
            format!("Squire has no `{name}`; write the result out, or let the program do it")
        }
        "containsAll" | "containsAny" | "containsNone" | "containsNotAll" => {
            format!("Squire has no `{name}`; write several `contains` with `and`, `or` and `not`")
        }
        _ => format!("`{name}` with these values is unknown here; docs/templates.md has Squire's helpers"),
    }
}
