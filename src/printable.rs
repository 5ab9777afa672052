//! Text from outside on a terminal: characters that steer it or hide other text are escaped.
//!
//! A process, cgroup, label or server chooses its text, and a person reads it. U+202E turns the text
//! behind it around, U+200B is not seen, an escape sequence moves the cursor. JSON has the text as it is.

/// The format characters (Cf) of Unicode 17, as ranges, beside the line and paragraph separators (Zl,
/// Zp).
const FORMAT: [(char, char); 22] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{180e}', '\u{180e}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{2064}'),
    ('\u{2066}', '\u{206f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{fff9}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0001}', '\u{e0001}'),
    ('\u{e0020}', '\u{e007f}'),
    // Unassigned, and ignored by terminals as the others are.
    ('\u{2065}', '\u{2065}'),
];

fn is_unprintable(c: char) -> bool {
    c.is_control()
        || !c.is_ascii() && FORMAT.iter().any(|(first, last)| (*first..=*last).contains(&c))
}

/// The text on one line, with control and format characters escaped as in Rust (`\n`, `\u{202e}`).
pub(crate) fn printable(text: &str) -> String {
    escaped(text, is_unprintable)
}

/// The same for a text of several lines.
pub(crate) fn printable_lines(text: &str) -> String {
    escaped(text, |c| c != '\n' && is_unprintable(c))
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_escaped(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        for (text, shown) in [
            ("a\u{1b}[31mb\n", "a\\u{1b}[31mb\\n"),
            ("evil\u{202e}dop", "evil\\u{202e}dop"),
            ("a\u{200b}b\u{2028}c\u{2029}d", "a\\u{200b}b\\u{2028}c\\u{2029}d"),
            ("\u{9b}31m\u{7f}\t\r", "\\u{9b}31m\\u{7f}\\t\\r"),
            (
                "\u{2066}\u{2069}\u{feff}\u{ad}\u{e0041}",
                "\\u{2066}\\u{2069}\\u{feff}\\u{ad}\\u{e0041}",
            ),
            ("Grüße, 世界, e\u{301}, 👍 · …", "Grüße, 世界, e\u{301}, 👍 · …"),
        ] {
            assert_eq!(printable(text), shown);
        }
        assert_eq!(printable_lines("a\nb\r\n\u{202e}"), "a\nb\\r\n\\u{202e}");
    }

    #[test]
    fn every_format_character_is_one_that_rust_escapes_too() {
        for (first, last) in FORMAT {
            for c in first..=last {
                assert_ne!(c.escape_debug().to_string(), c.to_string(), "{:x}", u32::from(c));
            }
        }
        // Of those that Rust escapes, the ones that end or turn a line are all here.
        let marks =
            ['\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202d}', '\u{2067}', '\u{2068}'];
        assert!(marks.iter().all(|c| is_unprintable(*c)));
    }
}
