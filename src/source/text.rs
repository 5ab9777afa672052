//! The common format of the kernel's text files: lines that end with a newline, fields between
//! blanks, decimal figures without a sign.

use super::Malformed;

/// The lines of a whole file, without their newlines. The last one may lack its own: a tool that
/// copies a file can strip it.
pub(crate) fn lines(text: &[u8]) -> Result<impl Iterator<Item = &[u8]>, Malformed> {
    if text.is_empty() {
        return Err(Malformed::expected("at least one line"));
    }
    Ok(TextLines { rest: text })
}

/// The lines of a whole file that may be empty, without their newlines; see [`lines`].
pub(crate) fn lines_or_none(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    TextLines { rest: text }
}

/// The remaining lines of a text.
struct TextLines<'t> {
    rest: &'t [u8],
}

impl<'t> Iterator for TextLines<'t> {
    type Item = &'t [u8];

    fn next(&mut self) -> Option<&'t [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len());
        let line = self.rest.get(..end)?;
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        Some(line)
    }
}

/// The fields of a line, separated by blanks and tabs.
pub(crate) fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|field| !field.is_empty())
}

/// A decimal figure below 2^63; nothing else, not even a sign. What is beyond was below 0 when the
/// kernel wrote it.
pub(crate) fn figure(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let mut value: u64 = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    i64::try_from(value).is_ok().then_some(value)
}

/// The rows and figures of a file that are not what the kernel writes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Odd(pub Option<Malformed>);

impl Odd {
    /// Notes what was expected and is not there.
    pub fn note(&mut self, expected: &'static str) {
        self.0.get_or_insert(Malformed::expected(expected));
    }

    /// The figure, or a note that one was expected.
    pub fn figure(&mut self, digits: Option<&[u8]>, expected: &'static str) -> Option<u64> {
        let found = digits.and_then(figure);
        if found.is_none() {
            self.note(expected);
        }
        found
    }
}

/// A figure, or the error that one was expected.
pub(crate) fn figure_or(digits: Option<&[u8]>, expected: &'static str) -> Result<u64, Malformed> {
    digits.and_then(figure).ok_or(Malformed::expected(expected))
}

/// A figure that fits u32, or the error that one was expected.
pub(crate) fn small_or(digits: Option<&[u8]>, expected: &'static str) -> Result<u32, Malformed> {
    figure_or(digits, expected)?.try_into().map_err(|_| Malformed::expected(expected))
}

/// A line's key and the text after the first blank.
pub(crate) fn key_and_rest(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = line.iter().position(|byte| *byte == b' ')?;
    Some((&line[..at], &line[at + 1..]))
}

/// A decimal with a fraction, in hundredths: `0.21` is 21 (as /proc/loadavg, PSI and /proc/uptime
/// write them, always two digits behind the point).
pub(crate) fn hundredths(text: &[u8]) -> Option<u64> {
    let point = text.iter().position(|byte| *byte == b'.')?;
    let (whole, fraction) = (&text[..point], &text[point + 1..]);
    if fraction.len() != 2 {
        return None;
    }
    figure(whole)?.checked_mul(100)?.checked_add(figure(fraction)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_digits_that_fit() {
        assert_eq!(figure(b"9223372036854775807"), Some(u64::MAX / 2));
        // 2^64 - 1 is what the kernel makes of -1.
        for bad in [
            &b"9223372036854775808"[..],
            b"18446744073709551615",
            b"18446744073709551616",
            b"",
            b"-1",
            b"+1",
            b"1 ",
            b"0x1",
        ] {
            assert_eq!(figure(bad), None);
        }
    }

    #[test]
    fn a_file_without_its_last_newline_is_read() {
        for text in [&b"a\nb\n"[..], b"a\nb"] {
            assert_eq!(lines(text).unwrap().collect::<Vec<_>>(), [b"a", b"b"]);
        }
        assert!(lines(b"").is_err());
        assert_eq!(lines_or_none(b"").count(), 0);
    }

    #[test]
    fn empty_lines_and_blanks_before_between_and_behind_fields() {
        let text = b"\n  a\t b  \n\n";
        let split: Vec<Vec<&[u8]>> =
            lines(text).unwrap().map(|line| fields(line).collect()).collect();
        assert_eq!(split, [vec![], vec![&b"a"[..], b"b"], vec![]]);
    }

    #[test]
    fn hundredths_want_two_digits() {
        assert_eq!(hundredths(b"69.21"), Some(6921));
        assert_eq!(hundredths(b"69.2"), None);
        assert_eq!(hundredths(b"69"), None);
    }
}
