//! Texts in a given width. Widths are those of a terminal: a Chinese character has two columns.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::payload::size::size;
use crate::quantity::Bytes;

pub fn width(text: &str) -> usize {
    text.width()
}

/// `text` in at most `columns`, without its middle: names differ at either end.
pub fn shortened(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let Some(room) = columns.checked_sub(1) else { return String::new() };
    let tail = room / 2;
    let (mut shown, mut left) = (String::new(), room - tail);
    for c in text.chars() {
        let Some(rest) = left.checked_sub(c.width().unwrap_or(0)) else { break };
        left = rest;
        shown.push(c);
    }
    shown.push('…');
    let (mut end, mut left) = (Vec::new(), tail);
    for c in text.chars().rev() {
        // What is behind a full end belongs to a character that has no place.
        let Some(rest) = left.checked_sub(c.width().unwrap_or(0)).filter(|_| left > 0) else {
            break;
        };
        left = rest;
        end.push(c);
    }
    shown.extend(end.into_iter().rev());
    shown
}

/// CPUs, in hundredths; below that as such.
pub fn cores(millicores: u64) -> String {
    format!("{:.2}", millicores as f64 / 1000.0)
}

pub fn bytes(bytes: u64) -> String {
    size(Bytes::from_bytes(bytes))
}

/// The cell of a value that may not be known.
pub fn cell(value: Option<u64>, show: impl Fn(u64) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}

/// The time of day in `2026-11-30T02:33:50.120Z`; the whole text if it is none.
pub fn time_of_day(stamp: &str) -> String {
    match (stamp.get(10..11), stamp.get(11..19)) {
        (Some("T"), Some(time)) => format!("{time} UTC"),
        _ => shortened(stamp, 30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_keeps_both_ends_in_its_columns() {
        for (text, columns, shown) in [
            ("kubepods-burstable", 9, "kube…able"),
            ("kubepods", 8, "kubepods"),
            ("kubepods", 1, "…"),
            ("kubepods", 0, ""),
            ("世界你好", 8, "世界你好"),
            // Half a character has no place.
            ("世界你好", 7, "世…好"),
            ("e\u{301}e\u{301}e\u{301}e\u{301}", 3, "e\u{301}…e\u{301}"),
        ] {
            assert_eq!(shortened(text, columns), shown, "{text} in {columns}");
            assert!(width(&shortened(text, columns)) <= columns);
        }
    }

    #[test]
    fn a_stamp_becomes_the_time_of_day() {
        assert_eq!(time_of_day("2026-11-30T02:33:50.120Z"), "02:33:50 UTC");
        assert_eq!(time_of_day("a\u{301}bc"), "a\u{301}bc");
        assert_eq!(time_of_day(""), "");
    }
}
