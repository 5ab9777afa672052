//! `/proc/uptime`.

use crate::source::Malformed;
use crate::source::text::{fields, hundredths, lines};

/// Hundredths of a second since boot.
// 89.73 30.05
pub fn parse(text: &[u8]) -> Result<u64, Malformed> {
    fields(lines(text)?.next().unwrap_or_default())
        .next()
        .and_then(hundredths)
        .ok_or(Malformed::expected("seconds with two decimals"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_first_figure_is_the_uptime() {
        assert_eq!(super::parse(b"89.73 30.05\n"), Ok(8973));
    }
}
