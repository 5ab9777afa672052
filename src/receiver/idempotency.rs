//! Idempotency keys of accepted posts, so that a replay is not counted again.
//!
//! A client that got no answer cannot know whether its post was accepted, and sends it once more. The
//! `Idempotency-Key` identifies the post:
//!
//! - The first accepted post (2xx) of a path and a key is remembered. A refused post is not: it may be
//!   sent again under its key, and is judged anew.
//! - A replay with the same body changes nothing. The answer has the status of the first, a body of
//!   the same shape with current values, and `Idempotency-Replayed: true`.
//! - A post with another body under the same key is answered 422.
//! - A key is forgotten after [`super::ReceiverBounds::post_keys_age_max`], or when too many newer
//!   ones are known. A later replay is a new post: it counts once more, at the time of its arrival.
//! - The keys are in the store, so a file keeps them over a restart.

use axum::http::HeaderMap;
use ring::digest::{Context, SHA256};

use super::answer::Refusal;
use super::store::PostId;

/// The header with the key (draft-ietf-httpapi-idempotency-key-header).
const KEY: &str = "idempotency-key";

/// The header in the answer to a replay.
pub(super) const REPLAYED: &str = "idempotency-replayed";

/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 255;

/// The key of a post, without the quotes that it may have; `None` where there is no such header.
///
/// # Errors
/// There is more than one key, or it is not a text of 1 to 255 visible ASCII characters.
pub(super) fn key_of(headers: &HeaderMap) -> Result<Option<Vec<u8>>, Refusal> {
    let mut values = headers.get_all(KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = if values.next().is_none() { text_of(value.as_bytes()) } else { None };
    let fits = |key: &Vec<u8>| {
        (1..=KEY_BYTES_MAX).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic)
    };
    key.filter(fits).map(Some).ok_or_else(|| {
        Refusal::bad_request(format!(
            "Idempotency-Key must be one text of 1 to {KEY_BYTES_MAX} visible ASCII characters, \
             in double quotes or without"
        ))
    })
}

/// A string of RFC 8941, or the text unchanged; `None` where the quotes do not close at the end.
fn text_of(value: &[u8]) -> Option<Vec<u8>> {
    let Some(quoted) = value.strip_prefix(b"\"") else { return Some(value.to_owned()) };
    let mut text = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    loop {
        match bytes.next()? {
            b'"' => return bytes.as_slice().is_empty().then_some(text),
            b'\\' => text.push(*bytes.next().filter(|byte| matches!(byte, b'"' | b'\\'))?),
            byte => text.push(*byte),
        }
    }
}

/// The hashes that identify a post. SHA-256, so that no client can choose posts that collide. The keys
/// of each token are apart, so that none can use up those of another.
pub(super) fn id_of(path: &str, key: &[u8], token_name: Option<&str>, body: &[u8]) -> PostId {
    let mut of_key = Context::new(&SHA256);
    of_key.update(path.as_bytes());
    // No path has one.
    of_key.update(b"\n");
    of_key.update(key);
    if let Some(name) = token_name {
        // No key has one either.
        of_key.update(b"\n");
        of_key.update(name.as_bytes());
    }
    let mut of_body = Context::new(&SHA256);
    of_body.update(body);
    PostId { key: first_of(of_key), body: first_of(of_body) }
}

fn first_of<const N: usize>(context: Context) -> [u8; N] {
    let digest = context.finish();
    let mut first = [0; N];
    for (slot, byte) in first.iter_mut().zip(digest.as_ref()) {
        *slot = *byte;
    }
    first
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn key(value: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(KEY, HeaderValue::from_bytes(value).unwrap());
        key_of(&headers)
    }

    #[test]
    fn a_key_is_the_same_with_quotes_and_without() {
        let quoted = key(b"\"boot:central:7:0\"").unwrap();
        assert_eq!(quoted.as_deref(), Some(&b"boot:central:7:0"[..]));
        assert_eq!(key(b"boot:central:7:0").unwrap(), quoted);
        assert_eq!(key(br#""a\"b\\c""#).unwrap().as_deref(), Some(&br#"a"b\c"#[..]));
        assert_eq!(key_of(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn a_text_that_is_no_key_is_refused() {
        let (longest, longer) = ([b'x'; 255], [b'x'; 256]);
        assert_eq!(key(&longest).unwrap().unwrap().len(), 255);
        for bad in [
            &b""[..],
            b"\"\"",
            b"\"open",
            b"\"",
            b"\"a\"b",
            b"\"a\";q=1",
            br#""a\n""#,
            br#""a\"#,
            b"a b",
            b"\"a b\"",
            b"\xc3\xa9",
            &longer,
        ] {
            let refusal = key(bad).unwrap_err();
            assert_eq!(refusal.status, 400, "{}", String::from_utf8_lossy(bad));
            assert!(refusal.message.contains("1 to 255 visible ASCII"), "{}", refusal.message);
        }
        let mut two = HeaderMap::new();
        two.append(KEY, HeaderValue::from_static("a"));
        two.append(KEY, HeaderValue::from_static("a"));
        assert!(key_of(&two).is_err());
    }

    #[test]
    fn another_path_or_key_is_another_post_and_another_body_is_not() {
        let known = id_of("/a", b"k", None, b"1");
        assert_eq!(id_of("/a", b"k", None, b"1"), known);
        let other = id_of("/a", b"k", None, b"2");
        let names = [None, Some("a"), Some("b")].map(|name| id_of("/a", b"k", name, b"1").key);
        assert!(names[0] != names[1] && names[1] != names[2], "each token has its own keys");
        assert_eq!(other.key, known.key);
        assert_ne!(other.body, known.body);
        for (path, key) in [("/b", &b"k"[..]), ("/a", b"K"), ("/ak", b"")] {
            assert_ne!(id_of(path, key, None, b"1").key, known.key, "{path}");
        }
    }
}
