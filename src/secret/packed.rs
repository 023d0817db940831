//! The fields of one secret as they are held on the way from a source to a template: text, shared and compact.
//!
//! A tree of JSON values takes up to forty times its text (a list of small numbers does), so there is one only for a moment: where a
//! template uses a field, of that field.
//!
//! *Invariant:* pure. What is packed is given back the same, numbers to the letter.

use crate::ordered::Order as _;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::ser::{self, SerializeMap};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Number, Value};

use super::{Digest, DigestKey, Fields, Secret};

/// Fields of a secret, held once however many generations have them.
#[derive(Clone, Debug)]
pub struct Packed(Secret<Layout>);

/// Every name, and behind it its value as JSON, in the order of the names.
struct Layout {
    text: String,
    ends: Vec<End>,
}

/// Where a name ends in the text, and its value.
struct End {
    name: usize,
    value: usize,
}

impl Packed {
    /// Packs these fields.
    pub fn of(fields: &Fields) -> Self {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name, value.to_string())).collect();
        Self(Secret::new(Layout::of(fields.iter().map(|(name, json)| (name.as_str(), json.as_str())))))
    }

    /// One of many: a field for each, whose value is the map of its fields.
    pub fn of_all(entries: &BTreeMap<String, Self>) -> Self {
        // What is packed can always be written.
        let written = |(name, packed): (&String, &Self)| {
            (name.clone(), serde_json::to_string(packed).unwrap_or_else(|_| "null".to_owned()))
        };
        let fields: Vec<(String, String)> = entries.iter().map(written).collect();
        Self(Secret::new(Layout::of(fields.iter().map(|(name, json)| (name.as_str(), json.as_str())))))
    }

    /// These fields, and those of another; of two of a name the other's.
    #[must_use]
    pub fn joined(&self, other: &Self) -> Self {
        let fields: BTreeMap<&str, &str> = self.layout().fields().chain(other.layout().fields()).ordered();
        Self(Secret::new(Layout::of(fields.iter().map(|(name, json)| (*name, *json)))))
    }

    /// The door: a tree of all fields.
    pub fn expose(&self) -> Fields {
        self.layout().fields().map(|(name, json)| (name.to_owned(), parsed(json))).collect()
    }

    /// The same of these fields alone. The others are null, so that they can still be named.
    pub fn expose_only(&self, wanted: &BTreeSet<&str>) -> Fields {
        let field = |(name, json): (&str, &str)| {
            let value = if wanted.contains(name) { parsed(json) } else { Value::Null };
            (name.to_owned(), value)
        };
        self.layout().fields().map(field).collect()
    }

    /// One of the fields.
    pub fn expose_field(&self, name: &str) -> Option<Value> {
        self.layout().fields().find(|(known, _)| *known == name).map(|(_, json)| parsed(json))
    }

    /// The names of the fields.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.layout().fields().map(|(name, _)| name)
    }

    /// How many bytes of JSON it is, a little less.
    pub fn size(&self) -> usize {
        self.layout().text.len()
    }

    /// Tells whether it differs from another. Equal fields have equal digests whatever order the source sent them in.
    pub(super) fn digest(&self, key: &DigestKey) -> Digest {
        let mut hasher = blake3::Hasher::new_keyed(&key.0);
        for (name, json) in self.layout().fields() {
            for text in [name, json] {
                // With its length, so that no two can look alike.
                hasher.update(&text.len().to_le_bytes()).update(text.as_bytes());
            }
        }
        Digest(*hasher.finalize().as_bytes())
    }

    fn layout(&self) -> &Layout {
        self.0.expose()
    }
}

impl Layout {
    /// Of names and values in the order of the names, in exactly as much memory as they take.
    fn of<'a>(fields: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Self {
        let text = String::with_capacity(fields.clone().map(|(name, json)| name.len() + json.len()).sum());
        let ends = Vec::with_capacity(fields.clone().count());
        fields.fold(Self { text, ends }, |mut layout, (name, json)| {
            layout.text.push_str(name);
            let name = layout.text.len();
            layout.text.push_str(json);
            layout.ends.push(End { name, value: layout.text.len() });
            layout
        })
    }

    /// Each name, with its value as JSON.
    fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let begins = std::iter::once(0).chain(self.ends.iter().map(|end| end.value));
        let part = |from: usize, to: usize| self.text.get(from..to).unwrap_or_default();
        begins.zip(&self.ends).map(move |(begin, end)| (part(begin, end.name), part(end.name, end.value)))
    }
}

/// What was written here can be read here.
fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_default()
}

/// As the map that it is.
impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.layout().ends.len()))?;
        for (name, json) in self.layout().fields() {
            let raw: &RawValue = serde_json::from_str(json).map_err(ser::Error::custom)?;
            map.serialize_entry(name, raw)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fieldwise)
    }
}

/// Packs fields as they are read, without a tree of them.
struct Fieldwise;

impl<'de> Visitor<'de> for Fieldwise {
    type Value = Packed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Packed, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some((name, json)) = map.next_entry::<String, Box<RawValue>>()? {
            // A raw value is not read to its letters, and what cannot be read is to be known now.
            readable(json.get()).map_err(|_| de::Error::custom("a value that cannot be read"))?;
            fields.insert(name, json);
        }
        let layout = Layout::of(fields.iter().map(|(name, json)| (name.as_str(), json.get())));
        Ok(Packed(Secret::new(layout)))
    }
}

/// Any value that a tree can be made of, none of which is kept.
struct Readable;

impl<'de> Deserialize<'de> for Readable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Readable {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    /// A number too, if it is none of a machine's.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                HIDDEN => return Err(de::Error::custom("a name that the library takes for its own")),
                NUMBER => {
                    map.next_value::<String>()?.parse::<Number>().map_err(de::Error::custom)?;
                }
                _ => {
                    map.next_value::<Self>()?;
                }
            }
        }
        Ok(self)
    }
}

/// Whether a tree can be made of this JSON, and would be what stands there. A map with a certain name would be what its text reads as: more
/// values than were counted, at any depth.
///
/// # Errors
/// Where it is no JSON, or has that name.
pub(crate) fn readable(json: &str) -> serde_json::Result<()> {
    serde_json::from_str::<Readable>(json).map(drop)
}

/// The name by which the library marks a text of JSON.
const HIDDEN: &str = "$serde_json::private::RawValue";
/// The name by which it marks a number.
const NUMBER: &str = "$serde_json::private::Number";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_what_stands_there_and_no_text_of_it_is_read_as_more() {
        for hidden in ["$serde_json::private::RawValue", "\\u0024serde_json::private::RawValue"] {
            for value in
                [format!("{{\"{hidden}\": \"[0,0]\"}}"), format!("[{{\"x\": 1, \"{hidden}\": \"0\"}}]")]
            {
                assert!(serde_json::from_str::<Packed>(&format!("{{\"a\": {value}}}")).is_err(), "{value}");
            }
        }
        for (number, is_read) in [("\"17\"", true), ("\"x\"", false), ("[0]", false)] {
            let value = format!("{{\"a\": {{\"$serde_json::private::Number\": {number}}}}}");
            assert_eq!(serde_json::from_str::<Packed>(&value).is_ok(), is_read, "{value}");
        }
        assert!(serde_json::from_str::<Packed>("{\"a\": [1, 1.50, 1e400, {\"b\": -0}]}").is_ok());
    }

    fn fields(value: Value) -> Fields {
        let Value::Object(fields) = value else { panic!("fields are a map") };
        fields
    }

    fn read(text: &str) -> Packed {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn it_shows_nothing_and_gives_back_what_it_was_given() {
        let text = r#"{"a":1.10,"b":["x",null,{"c":123456789012345678901234567890}],"ü\n":"\u0000é"}"#;
        let packed = read(text);
        assert_eq!(format!("{packed:?}"), "Packed(Secret(…))");
        assert_eq!(packed.expose(), serde_json::from_str::<Fields>(text).unwrap());
        assert_eq!(packed.expose()["a"].to_string(), "1.10", "to the letter");
        assert_eq!(serde_json::to_string(&packed).unwrap(), serde_json::to_string(&packed.expose()).unwrap());
        assert_eq!(json!(packed), Value::Object(packed.expose()));
        let spaced = " { \"b\" : [ 1 , { \"x\" : 2 } ] , \"a\" : \"\\u0041\" } ";
        assert_eq!(read(spaced).expose(), fields(json!({"a": "A", "b": [1, {"x": 2}]})));
        assert_eq!(
            packed.expose_only(&BTreeSet::from(["a"])),
            fields(json!({"a": packed.expose()["a"], "b": null, "ü\n": null}))
        );
    }

    #[test]
    fn many_are_one_whose_fields_are_theirs() {
        let texts = [("b", r#"{"x":1.10}"#), ("a/c", r#"{"y":["ü"],"z":null}"#), ("none", "{}")];
        let all = texts.iter().map(|(name, text)| ((*name).to_owned(), read(text))).collect();
        let packed = Packed::of_all(&all);
        let text = r#"{"a/c":{"y":["ü"],"z":null},"b":{"x":1.10},"none":{}}"#;
        assert_eq!(serde_json::to_string(&packed).unwrap(), text);
        assert_eq!(packed.expose(), read(text).expose());
        assert_eq!(json!(Packed::of_all(&BTreeMap::new())), json!({}));
    }

    #[test]
    fn the_order_of_fields_and_of_two_of_a_name_is_that_of_a_map() {
        let key = DigestKey::new([7; 32]);
        let one = read(r#"{"a":1,"b":"x"}"#);
        assert_eq!(one.digest(&key), read(r#"{"b":"x","a":1}"#).digest(&key));
        assert_eq!(one.digest(&key), read(r#"{"b":"y","b":"x","a":2,"a":1}"#).digest(&key));
        assert_ne!(one.digest(&key), read(r#"{"a":1,"bx":""}"#).digest(&key));
        assert_ne!(one.digest(&key), read(r#"{"b":"x","a":2}"#).digest(&key));
        assert_ne!(one.digest(&key), one.digest(&DigestKey::new([8; 32])));
    }

    #[test]
    fn what_no_tree_can_be_made_of_is_refused_at_once() {
        let deep = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(serde_json::from_str::<Packed>(&deep(100)).is_ok());
        for text in
            [deep(200).as_str(), r#"{"a":"\ud800"}"#, r#"{"a":{"\ud800":1}}"#, r#"{"a":[1,}"#, "[]", "1"]
        {
            assert!(serde_json::from_str::<Packed>(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_packed_comes_back(names in prop::collection::btree_map(".{0,6}", ".{0,12}", 0..6)) {
            let fields: Fields = names.into_iter().map(|(name, text)| (name, json!([text, {"n": text}]))).collect();
            prop_assert_eq!(Packed::of(&fields).expose(), fields.clone());
            let written = serde_json::to_string(&fields).unwrap();
            prop_assert_eq!(read(&written).expose(), fields);
        }
    }
}
