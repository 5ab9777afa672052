//! Kubernetes quantities: `100m`, `1.5`, `128Mi`, `1e3`, `12345678n`.
//!
//! ```text
//! quantity = [+|-] number [suffix]        number = digits [. digits] | . digits
//! suffix   = Ki Mi Gi Ti Pi Ei            powers of 1024
//!          | n u m k M G T P E            powers of 1000
//!          | (e|E) [+|-] digits           a power of 10
//! ```
//!
//! `1E` is an exa, `1E3` a thousand. The API server rewrites some texts (`0.5` comes back as `500m`),
//! but returns `1e9` and `200e-3` unchanged. Described with `resource.Quantity` in
//! k8s.io/apimachinery.

/// An amount of a resource: cores, bytes, pods.
///
/// It is kept in billionths, the finest step of the API server. Finer values are rounded up, and
/// values beyond the server's greatest number (2^63 − 1) become that number, as the server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ResourceQuantity {
    billionths: i128,
}

const BILLION: i128 = 1_000_000_000;
const GREATEST: i128 = i64::MAX as i128 * BILLION;

/// The longest text, in bytes. The server writes at most 19 digits and a suffix.
const TEXT_BYTES_MAX: usize = 64;

impl ResourceQuantity {
    pub const ZERO: Self = Self { billionths: 0 };

    /// Parses a quantity; `None` if the text is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let (negative, unsigned) = match text.as_bytes() {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let end = unsigned.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b'.'));
        let (number, suffix) = unsigned.split_at_checked(end.unwrap_or(unsigned.len()))?;
        let mut digits = Digits::parse(number)?;
        match suffix {
            b"Ki" => digits.times_1024(1),
            b"Mi" => digits.times_1024(2),
            b"Gi" => digits.times_1024(3),
            b"Ti" => digits.times_1024(4),
            b"Pi" => digits.times_1024(5),
            b"Ei" => digits.times_1024(6),
            b"n" => digits.exponent -= 9,
            b"u" => digits.exponent -= 6,
            b"m" => digits.exponent -= 3,
            b"" => {}
            b"k" => digits.exponent += 3,
            b"M" => digits.exponent += 6,
            b"G" => digits.exponent += 9,
            b"T" => digits.exponent += 12,
            b"P" => digits.exponent += 15,
            b"E" => digits.exponent += 18,
            [b'e' | b'E', exponent @ ..] => digits.exponent += exponent_of(exponent)?,
            _ => return None,
        }
        let billionths = digits.in_billionths();
        Some(Self { billionths: if negative { -billionths } else { billionths } })
    }

    /// Whole units, rounded up as the API server does; at least 0.
    #[must_use]
    pub fn units(self) -> u64 {
        u64::try_from(self.in_steps_of(BILLION)).unwrap_or(0)
    }

    /// Thousandths (millicores of CPU), rounded up; at least 0.
    #[must_use]
    pub fn milli_units(self) -> u64 {
        u64::try_from(self.in_steps_of(BILLION / 1000).clamp(0, i128::from(u64::MAX)))
            .unwrap_or(u64::MAX)
    }

    /// The number of units, such as cores.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        // Whole and part are converted apart, so that the division loses no digit that is in use.
        #[expect(clippy::cast_precision_loss, reason = "beyond 2^53 units nobody counts singly")]
        let (whole, part) =
            ((self.billionths / BILLION) as f64, (self.billionths % BILLION) as f64);
        whole + part / 1e9
    }

    fn in_steps_of(self, step: i128) -> i128 {
        let whole = self.billionths.div_euclid(step);
        whole + i128::from(self.billionths.rem_euclid(step) != 0)
    }

    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let sum = self.billionths.saturating_add(other.billionths);
        Self { billionths: sum.clamp(-GREATEST, GREATEST) }
    }
}

/// digits × 10^exponent
struct Digits {
    digits: u128,
    exponent: i32,
}

impl Digits {
    fn parse(number: &[u8]) -> Option<Self> {
        let mut digits: u128 = 0;
        let mut exponent: i32 = 0;
        let (mut any, mut behind_point) = (false, false);
        for byte in number {
            if *byte == b'.' {
                if behind_point {
                    return None;
                }
                behind_point = true;
                continue;
            }
            any = true;
            match digits.checked_mul(10).and_then(|d| d.checked_add(u128::from(byte - b'0'))) {
                Some(more) if more < 1 << 100 => {
                    digits = more;
                    exponent -= i32::from(behind_point);
                }
                // The digit is too small to count. Before the point it still multiplies the others by
                // ten. The lost digits are rounded up at the end.
                _ => {
                    digits |= 1;
                    exponent += i32::from(!behind_point);
                }
            }
        }
        any.then_some(Self { digits, exponent })
    }

    fn times_1024(&mut self, times: u32) {
        self.digits = self.digits.saturating_mul(1024_u128.pow(times));
    }

    fn in_billionths(&self) -> i128 {
        let greatest = GREATEST.unsigned_abs();
        let exponent = self.exponent + 9;
        let power = 10_u128.checked_pow(exponent.unsigned_abs());
        let billionths = match (power, exponent >= 0) {
            (_, _) if self.digits == 0 => 0,
            (Some(power), true) => self.digits.saturating_mul(power),
            (None, true) => greatest,
            (Some(power), false) => self.digits.div_ceil(power),
            (None, false) => 1,
        };
        i128::try_from(billionths.min(greatest)).unwrap_or(GREATEST)
    }
}

fn exponent_of(text: &[u8]) -> Option<i32> {
    let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    if digits.is_empty() || digits.len() > 4 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn billionths(text: &str) -> Option<i128> {
        ResourceQuantity::parse(text).map(|quantity| quantity.billionths)
    }

    #[test]
    fn every_form_that_the_api_has_is_read() {
        for (text, expected) in [
            ("0", 0),
            ("1", BILLION),
            ("500m", BILLION / 2),
            ("0.5", BILLION / 2),
            (".5", BILLION / 2),
            ("5.", 5 * BILLION),
            ("+1", BILLION),
            ("-1", -BILLION),
            ("12345678n", 12_345_678),
            ("7u", 7_000),
            ("2k", 2_000 * BILLION),
            ("129M", 129_000_000 * BILLION),
            ("1G", 1_000_000_000 * BILLION),
            ("1e9", 1_000_000_000 * BILLION),
            ("200e-3", BILLION / 5),
            ("1E3", 1_000 * BILLION),
            ("1E", 1_000_000_000_000_000_000 * BILLION),
            ("512Mi", (512 << 20) * BILLION),
            ("0.5Gi", (512 << 20) * BILLION),
            ("1Ei", (1 << 60) * BILLION),
            ("1T", 1_000_000_000_000 * BILLION),
            ("3P", 3_000_000_000_000_000 * BILLION),
            ("1Ti", (1 << 40) * BILLION),
            ("1Pi", (1 << 50) * BILLION),
            ("1Ki", 1024 * BILLION),
        ] {
            assert_eq!(billionths(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_the_api_refuses_is_none() {
        for text in [
            "", "-", "m", ".", "1..5", "1.5.2", "1 ", " 1", "1mi", "1KI", "1K", "1e", "1e3M",
            "1e3m",
        ] {
            assert_eq!(billionths(text), None, "{text}");
        }
        assert_eq!(billionths(&"1".repeat(65)), None);
    }

    #[test]
    fn what_is_too_fine_is_rounded_up_and_what_is_too_great_is_held() {
        assert_eq!(billionths("0.1n"), Some(1));
        assert_eq!(billionths("1e-400"), Some(1));
        assert_eq!(billionths("0e-400"), Some(0));
        assert_eq!(billionths("1e400"), Some(GREATEST));
        assert_eq!(billionths("16Ei"), Some(GREATEST));
        assert_eq!(billionths(&"9".repeat(60)), Some(GREATEST));
        assert_eq!(ResourceQuantity::parse("100n").unwrap().units(), 1);
        assert_eq!(ResourceQuantity::parse("100n").unwrap().milli_units(), 1);
        assert_eq!(ResourceQuantity::parse("-3").unwrap().units(), 0);
        assert_eq!(ResourceQuantity::parse("250m").unwrap().milli_units(), 250);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,80}") {
            let _ = ResourceQuantity::parse(&text);
        }

        #[test]
        fn a_decimal_of_whole_milli_units_comes_back(milli in 0_u64..1_000_000_000_000) {
            let text = format!("{}.{:03}", milli / 1000, milli % 1000);
            prop_assert_eq!(ResourceQuantity::parse(&text).unwrap().milli_units(), milli);
            let text = format!("{milli}m");
            prop_assert_eq!(ResourceQuantity::parse(&text).unwrap().milli_units(), milli);
            prop_assert_eq!(
                ResourceQuantity::parse(&format!("{milli}Ki")).unwrap().units(), milli * 1024
            );
        }
    }
}
