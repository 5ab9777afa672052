//! Limits for names, labels and annotations from outside.

use super::pod::Labels;

/// The longest name, in bytes. Names of Kubernetes and Docker and image references are shorter.
pub(super) const NAME_BYTES_MAX: usize = 512;

/// The most labels of one object, and the most annotations.
pub(super) const LABELS_MAX: usize = 256;

/// The longest label value, in bytes. Kubernetes allows 63 bytes, Docker has no limit.
const LABEL_VALUE_BYTES_MAX: usize = 1024;

/// The longest key, in bytes: `prefix/name`, a DNS subdomain and 63 bytes.
const KEY_BYTES_MAX: usize = 253 + 1 + 63;

/// A name that can be sent; `None` if it is empty, too long or not one line of text.
pub(super) fn name(text: &str) -> Option<&str> {
    let fits = !text.is_empty() && text.len() <= NAME_BYTES_MAX;
    (fits && !text.chars().any(breaks_the_line)).then_some(text)
}

/// The beginning of a foreign text, as one line that cannot control a terminal.
pub(super) fn line(text: &str, chars_max: usize) -> String {
    let mut shown: String =
        text.chars().take(chars_max).map(|c| if breaks_the_line(c) { ' ' } else { c }).collect();
    shown.truncate(shown.trim_end().len());
    shown
}

/// `true` for line breaks, escape sequences and marks that turn the direction of text.
fn breaks_the_line(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Labels by key, without those that are too long.
pub(super) fn labels(labels: impl IntoIterator<Item = (String, String)>) -> Labels {
    kept(labels, LABEL_VALUE_BYTES_MAX)
}

/// The annotation of `kubectl apply`: the whole specification with its `env`.
pub(super) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Annotations by key, without values longer than `bytes_max` and without [`LAST_APPLIED`].
pub(super) fn annotations(
    annotations: impl IntoIterator<Item = (String, String)>,
    bytes_max: usize,
) -> Labels {
    kept(annotations.into_iter().filter(|(key, _)| key != LAST_APPLIED), bytes_max)
}

fn kept(pairs: impl IntoIterator<Item = (String, String)>, value_bytes_max: usize) -> Labels {
    let mut kept: Labels = pairs
        .into_iter()
        .filter(|(key, value)| {
            !key.is_empty() && key.len() <= KEY_BYTES_MAX && value.len() <= value_bytes_max
        })
        .map(|(key, value)| (key.into(), value.into()))
        .collect();
    // Sorted first, so that the same ones are always kept.
    kept.sort_unstable();
    kept.truncate(LABELS_MAX);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_or_too_many_is_left_out_and_the_rest_is_in_order() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let long = "x".repeat(LABEL_VALUE_BYTES_MAX + 1);
        let found = labels([pair("b", "2"), pair("a", "1"), pair("c", &long), pair("", "4")]);
        assert_eq!(found, [("a".into(), "1".into()), ("b".into(), "2".into())]);
        assert_eq!(annotations([pair("a", "123"), pair("b", "1234")], 3).len(), 1);
        let many = (0..1000).map(|n| pair(&format!("{n:04}"), ""));
        let many = labels(many);
        assert_eq!((many.len(), &*many[255].0), (256, "0255"));
    }

    #[test]
    fn a_name_is_one_line() {
        assert_eq!(name("web-0"), Some("web-0"));
        for bad in ["", "a\nb", "a\u{1b}[2J", &"x".repeat(513)] {
            assert_eq!(name(bad), None);
        }
    }
}
