//! One counter against its earlier value.

/// What a counter gained. One that went back was reset and started again from 0, so its new value
/// is the gain: never negative, never a spike.
#[must_use]
pub(super) fn gained(before: u64, now: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::gained;

    #[test]
    fn a_reset_counts_from_zero() {
        assert_eq!(gained(10, 25), 15);
        assert_eq!(gained(10, 4), 4);
        assert_eq!(gained(0, 0), 0);
    }
}
