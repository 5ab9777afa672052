//! Amounts of bytes as text for people.

use crate::quantity::Bytes;

/// `bytes` in three digits and a binary unit.
#[must_use]
pub fn size(bytes: Bytes) -> String {
    let mut value = bytes.as_bytes() as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        // A value that would be shown as 1000 gets the next unit.
        if value < 999.5 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    match value {
        _ if unit == "B" => format!("{value:.0} {unit}"),
        ..9.995 => format!("{value:.2} {unit}"),
        ..99.95 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_keep_three_digits() {
        let shown = |bytes| size(Bytes::from_bytes(bytes));
        assert_eq!(shown(0), "0 B");
        assert_eq!(shown(999), "999 B");
        assert_eq!(shown(1000), "0.98 KiB");
        assert_eq!(shown(1536), "1.50 KiB");
        assert_eq!(shown(12 << 20), "12.0 MiB");
        assert_eq!(shown(200 << 20), "200 MiB");
        assert_eq!(shown(u64::MAX), "16.0 EiB");
    }
}
