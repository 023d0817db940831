//! Bytes as text, and back.
//!
//! *Invariant:* pure.

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.trim();
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; N];
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let &[high, low] = digits else { return None };
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(bytes)
}

/// The form of digests in sealed data: half as long as a list of numbers, and quicker to read. For `#[serde(with = "…")]`.
pub(crate) mod as_hex {
    use std::borrow::Cow;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<const N: usize, S: Serializer>(
        bytes: &[u8; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        super::hex(bytes).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, const N: usize, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; N], D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        super::unhex(&text).ok_or_else(|| D::Error::custom("these are no hexadecimal digits of that length"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        assert_eq!(hex(&[0, 0x1f, 0xa0, 0xff]), "001fa0ff");
        assert_eq!(unhex(" 001fa0FF\n"), Some([0, 0x1f, 0xa0, 0xff]));
        for text in ["", "001fa0f", "001fa0ff0", "001fa0fg", "+01fa0ff", "001fa0é"] {
            assert_eq!(unhex::<4>(text), None, "{text}");
        }
    }
}
