//! The length of loops over kills, damage and random histories: short in CI, long by hand.

use proptest::test_runner::Config;

/// A factor for all such loops; absent it is 1. `tests/skipped.rs` prints it at the end of a run.
pub const VARIABLE: &str = "NODETALLY_TEST_ROUNDS";

fn factor() -> u32 {
    let Ok(text) = std::env::var(VARIABLE) else { return 1 };
    let factor = text.parse().ok().filter(|factor| *factor > 0);
    factor.unwrap_or_else(|| panic!("{VARIABLE}={text} is no number above 0"))
}

/// The rounds of a loop that takes `least` where nothing else is asked for.
pub fn rounds(least: u32) -> u32 {
    let rounds = least.saturating_mul(factor());
    println!("{rounds} rounds ({VARIABLE}={}, default 1)", factor());
    rounds
}

/// True if more than the short loops of CI is asked for.
pub fn is_long() -> bool {
    factor() > 1
}

/// A property's configuration with so many cases as [`rounds`] answers.
pub fn cases(least: u32) -> Config {
    Config::with_cases(rounds(least))
}
