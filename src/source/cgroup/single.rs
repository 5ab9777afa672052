//! Files of one figure: `memory.current`, `memory.peak`, `memory.swap.current`, `pids.current`,
//! `cpu.weight`, and of one limit: `memory.max`, `memory.min`, `memory.swap.max`, `pids.max`.

use crate::quantity::Limit;
use crate::source::Malformed;
use crate::source::text::figure_or;

// 1245184
pub fn parse_figure(text: &[u8]) -> Result<u64, Malformed> {
    figure_or(Some(text.strip_suffix(b"\n").unwrap_or(text)), "one figure")
}

// max
// 33554432
pub fn parse_limit(text: &[u8]) -> Result<Limit<u64>, Malformed> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    if text == b"max" {
        return Ok(Limit::Max);
    }
    figure_or(Some(text), "max or one figure").map(Limit::At)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_figure_and_nothing_else() {
        assert_eq!(parse_figure(b"42\n"), Ok(42));
        assert_eq!(parse_figure(b"42"), Ok(42));
        for bad in [&b""[..], b"\n", b"-3\n", b"18446744073709543424\n", b"max\n", b"42\n43\n"] {
            assert!(parse_figure(bad).is_err());
        }
        assert_eq!(parse_limit(b"max\n"), Ok(Limit::Max));
        assert_eq!(parse_limit(b"max"), Ok(Limit::Max));
        assert_eq!(parse_limit(b"7\n"), Ok(Limit::At(7)));
    }
}
