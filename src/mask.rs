//! Removal of secrets from texts of a server, which may repeat the token or all headers of a request.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The replacement of a secret.
const HIDDEN: &str = "(hidden)";

/// The least length at which a secret is found inside a word: `v=1` in a query must not remove
/// every 1. A shorter part at the end of a cut text is no secret.
const PART_BYTES_MIN: usize = 4;

/// The characters that browsers and most libraries do not encode.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Secrets in all forms that an answer may have.
#[derive(Clone, Default)]
pub(crate) struct Mask {
    /// Longest first, since one may be the beginning of another.
    secrets: Vec<String>,
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mask")
    }
}

impl Mask {
    /// The mask of these secrets.
    pub(crate) fn new(plain: impl IntoIterator<Item = String>) -> Self {
        let mut secrets: Vec<String> =
            plain.into_iter().flat_map(|secret| forms(&secret)).collect();
        secrets.retain(|secret| !secret.is_empty());
        secrets.sort_unstable_by(|one, other| (other.len(), other).cmp(&(one.len(), one)));
        secrets.dedup();
        Self { secrets }
    }

    /// The text without secrets.
    pub(crate) fn apply(&self, text: &str) -> String {
        let mut masked = String::with_capacity(text.len());
        let (mut rest, mut before) = (text, None);
        while let Some(c) = rest.chars().next() {
            let found = self.found(before, rest);
            match found {
                Some(_) => masked.push_str(HIDDEN),
                None => masked.push(c),
            }
            rest = rest.get(found.unwrap_or(c.len_utf8())..).unwrap_or_default();
            before = Some(c);
        }
        masked
    }

    /// The length of the secret at the start of `rest`, in any case, as servers change the case of
    /// header lines.
    fn found(&self, before: Option<char>, rest: &str) -> Option<usize> {
        let in_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        self.secrets.iter().find_map(|secret| {
            let Some(start) = rest.as_bytes().get(..secret.len()) else {
                // The text ends within it.
                let begins = secret.as_bytes().get(..rest.len())?;
                let breaks_off = rest.len() >= PART_BYTES_MIN;
                return (breaks_off && rest.as_bytes().eq_ignore_ascii_case(begins))
                    .then_some(rest.len());
            };
            let behind = || rest.get(secret.len()..)?.chars().next();
            let is_found = start.eq_ignore_ascii_case(secret.as_bytes())
                && (secret.len() >= PART_BYTES_MIN || !in_word(before) && !in_word(behind()));
            is_found.then_some(secret.len())
        })
    }
}

/// The secret as it is, and as JSON, HTML and URLs write it.
fn forms(secret: &str) -> [String; 6] {
    let json = secret.replace('\\', "\\\\").replace('"', "\\\"");
    let html = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    [
        secret.to_owned(),
        json.replace('/', "\\/"),
        json,
        html.replace('"', "&quot;").replace('\'', "&#39;"),
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        utf8_percent_encode(secret, UNRESERVED).to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mask(secrets: &[&str]) -> Mask {
        Mask::new(secrets.iter().map(|&secret| secret.to_owned()))
    }

    #[test]
    fn a_secret_is_hidden_in_every_form_in_which_a_server_repeats_it() {
        let mask = mask(&["hunter2/\"&+", "hunter2"]);
        for (text, masked) in [
            ("invalid API key hunter2!", "invalid API key (hidden)!"),
            ("AUTHORIZATION: BEARER HUNTER2", "AUTHORIZATION: BEARER (hidden)"),
            ("hunter2hunter2", "(hidden)(hidden)"),
            (r#"{"key":"hunter2/\"&+"}"#, r#"{"key":"(hidden)"}"#),
            (r#"{"key":"hunter2\/\"&+"}"#, r#"{"key":"(hidden)"}"#),
            ("<b>hunter2/&quot;&amp;+</b>", "<b>(hidden)</b>"),
            ("?key=hunter2%2F%22%26%2b&x", "?key=(hidden)&x"),
            ("it breaks off in hunt", "it breaks off in (hidden)"),
            ("hun", "hun"),
            ("é", "é"),
            ("", ""),
        ] {
            assert_eq!(mask.apply(text), masked);
        }
    }

    #[test]
    fn what_is_short_is_hidden_where_it_stands_by_itself() {
        assert_eq!(mask(&["1"]).apply("?v=1 is not v11"), "?v=(hidden) is not v11");
        assert_eq!(mask(&[""]).apply("text"), "text");
    }

    proptest! {
        #[test]
        fn no_text_panics_and_none_holds_the_secret_behind_it(text in "\\PC{0,40}", cut: usize) {
            let text = format!("{text}s3cret-t0ken{text}");
            let cut: String = text.chars().take(cut % (text.chars().count() + 1)).collect();
            let masked = mask(&["s3cret-t0ken", "é"]).apply(&cut);
            prop_assert!(!masked.contains("s3cr"), "{masked}");
        }
    }
}
