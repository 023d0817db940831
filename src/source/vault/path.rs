//! Paths of the API in a request line.
//!
//! *Invariant:* a slash separates segments; every character that is not plain is percent-encoded.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// RFC 3986, section 2.3: the unreserved characters, and the slash.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The request path of an API path.
pub(super) fn encoded(path: &str, query: Option<&str>) -> String {
    let path = utf8_percent_encode(path, ENCODED);
    match query {
        None => format!("/v1/{path}"),
        Some(query) => format!("/v1/{path}?{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_slashes_and_plain_characters_is_encoded() {
        let cases = [
            ("secret/data/a-b_c.d~e", None, "/v1/secret/data/a-b_c.d~e"),
            ("secret/data/a b?c#d%e", None, "/v1/secret/data/a%20b%3Fc%23d%25e"),
            ("secret/data/ä", Some("version=2"), "/v1/secret/data/%C3%A4?version=2"),
            ("secret/a@b:c\r\n", None, "/v1/secret/a%40b%3Ac%0D%0A"),
        ];
        for (path, query, expected) in cases {
            assert_eq!(encoded(path, query), expected);
        }
    }
}
