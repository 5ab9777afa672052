//! Pages for people, which a proxy or another server answers instead of the one that was meant.

/// The type of a `Content-Type` without parameters, in lower case.
pub(super) fn kind_of(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// True if an answer is HTML.
pub(super) fn is_page(content_type: &str, body: &[u8]) -> bool {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    kind_of(content_type) == "text/html" || first == Some(&b'<')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_known_by_its_type_or_its_first_character() {
        for (content_type, body, is_one) in [
            ("text/html", "Sign in", true),
            ("Text/HTML; charset=utf-8", "", true),
            ("", "  <!doctype html>", true),
            ("text/plain", "ok", false),
            ("", "", false),
            ("application/json", "{}", false),
        ] {
            assert_eq!(is_page(content_type, body.as_bytes()), is_one, "{content_type} {body}");
        }
    }
}
