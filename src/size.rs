//! How large a secret may be: what it costs to read it, known before it is read.
//!
//! *Invariant:* pure.

/// What a secret may have where nothing is said: what the servers themselves take at most.
pub const USUAL: usize = 1 << 20;

/// Each value costs that much at least, however few bytes it is written in. With twice the memory for it a list of zeros takes no more than
/// text of the same weight by much; and no secret of AWS, which may have 64 KiB, is too large for its many values alone.
const A_VALUE: usize = 32;

/// What this JSON weighs: its bytes, or 32 for each value and each name if that is more. `[0,0,…]` takes twenty times its bytes and more when
/// it is read.
///
/// It need not be JSON: of anything else this is a number too.
pub fn weight(json: &[u8]) -> usize {
    json.len().max(values(json).saturating_mul(A_VALUE))
}

/// How many values and names this JSON has.
pub fn values(json: &[u8]) -> usize {
    let (mut values, mut in_text, mut is_escaped) = (1_usize, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_text => is_escaped = true,
            b'"' => in_text = !in_text,
            b',' | b':' | b'[' | b'{' if !in_text => values += 1,
            _ => {}
        }
    }
    values
}

/// Why a secret that weighs more than it may is not taken.
pub fn too_large(limit: usize) -> String {
    format!(
        "is larger than {}, counted with {A_VALUE} bytes for each value in it: raise `max_size` of the secret or of its source",
        words(limit)
    )
}

/// A number of bytes for people: in the largest unit that has no fraction.
pub fn words(bytes: usize) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = units.into_iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{bytes} bytes"), |(name, unit)| format!("{} {name}", bytes / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_weighs_its_bytes_and_what_is_many_values_weighs_them() {
        let long = format!("{{\"key\": \"{}\"}}", ",:[{\\\"".repeat(1000));
        assert_eq!(weight(long.as_bytes()), long.len(), "what stands in text is no value");
        for (json, values) in [("0", 1), ("[0,0,0]", 4), (r#"{"a":1,"b":[]}"#, 6), ("[[[[", 5), ("", 1)] {
            assert_eq!(weight(json.as_bytes()), values * A_VALUE, "{json}");
        }
        let zeros = format!("{{\"a\":[{}0]}}", "0,".repeat((64 << 10) / 2 - 5));
        assert!(zeros.len() < 64 << 10 && weight(zeros.as_bytes()) <= USUAL, "AWS has no larger ones");
    }

    #[test]
    fn sizes_are_said_in_their_largest_unit() {
        for (bytes, said) in [
            (1 << 20, "1 MiB"),
            (1 << 30, "1 GiB"),
            (1536 << 10, "1536 KiB"),
            (1000, "1000 bytes"),
            (0, "0 bytes"),
        ] {
            assert_eq!(words(bytes), said);
        }
    }
}
