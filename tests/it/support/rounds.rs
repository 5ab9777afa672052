//! The length of loops over kills, damage and random histories: short in CI, long by hand.

use std::time::Duration;

use proptest::test_runner::Config;

/// A factor for all such loops; absent it is 1. `tests/skipped.rs` prints it at the end of a run.
pub const VARIABLE: &str = "NODETALLY_TEST_ROUNDS";

fn factor() -> u32 {
    let Ok(text) = std::env::var(VARIABLE) else { return 1 };
    let factor = text.parse().ok().filter(|factor| *factor > 0);
    factor.unwrap_or_else(|| panic!("{VARIABLE}={text} is no number above 0"))
}

/// The seconds of an outage of a database; absent they are those of the test.
pub const OUTAGE_VARIABLE: &str = "NODETALLY_TEST_OUTAGE_SECONDS";

/// The length of an outage that takes `least` where nothing else is asked for.
pub fn outage(least: Duration) -> Duration {
    let seconds = std::env::var(OUTAGE_VARIABLE).ok().map(|text| {
        let seconds = text.parse().ok().filter(|seconds| *seconds > 0);
        seconds
            .unwrap_or_else(|| panic!("{OUTAGE_VARIABLE}={text} is no number of seconds above 0"))
    });
    let outage = seconds.map_or(least, Duration::from_secs).max(least);
    println!("an outage of {outage:?} ({OUTAGE_VARIABLE}, default {})", least.as_secs());
    outage
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
