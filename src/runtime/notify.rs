//! What systemd is told, where there is one (`NOTIFY_SOCKET`).

use std::time::Duration;

use sd_notify::NotifyState;

use crate::clock;
use crate::quantity::BootTime;

// Whether the words arrive is systemd's to see: an agent that is not heard goes on all the same.

/// Started, or done with a reload.
pub fn ready() {
    let _ = sd_notify::notify(&[NotifyState::Ready]);
}

/// A reload has begun; [`ready`] ends it, whatever came of it.
pub fn reloading() {
    // A unit of Type=notify-reload takes the word only with the time beside it.
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        let _ = sd_notify::notify(&[NotifyState::Reloading, now]);
    }
}

pub fn stopping() {
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
}

/// The sampling thread's signs of life. Only the thread that they vouch for may give them.
#[derive(Debug)]
pub struct Pulse {
    /// `None`: nobody waits for them.
    every: Option<Duration>,
    next: BootTime,
}

impl Pulse {
    /// As often as systemd asks for (WatchdogSec=), with half of the time to spare.
    #[must_use]
    pub fn asked_for() -> Self {
        Self::every(sd_notify::watchdog_enabled().map(|timeout| timeout / 2))
    }

    fn every(every: Option<Duration>) -> Self {
        Self { every: every.filter(|every| !every.is_zero()), next: BootTime::default() }
    }

    /// Gives one if it is time for it.
    pub fn beat(&mut self) {
        if self.is_due(clock::boot_time()) {
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        }
    }

    fn is_due(&mut self, now: BootTime) -> bool {
        let Some(every) = self.every.filter(|_| now >= self.next) else { return false };
        self.next = now.plus(every);
        true
    }

    /// The next sign of life, or `due` if that is sooner.
    #[must_use]
    pub fn or_sooner(&self, due: BootTime) -> BootTime {
        if self.every.is_some() { due.min(self.next) } else { due }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_longer_than_the_watchdog_is_cut_into_signs_of_life() {
        let at = |secs: u64| BootTime::from_nanos(secs * 1_000_000_000);
        let mut pulse = Pulse::every(Some(Duration::from_secs(15)));
        assert!(pulse.is_due(at(100)));
        assert_eq!(pulse.or_sooner(at(3700)), at(115));
        assert_eq!(pulse.or_sooner(at(107)), at(107));
        assert!(!pulse.is_due(at(107)));
        assert!(pulse.is_due(at(115)));
        assert_eq!(pulse.or_sooner(at(3700)), at(130));
    }

    #[test]
    fn without_a_watchdog_nothing_is_due() {
        for mut pulse in [Pulse::every(None), Pulse::every(Some(Duration::ZERO))] {
            let due = BootTime::from_nanos(9);
            assert!(!pulse.is_due(due));
            assert_eq!(pulse.or_sooner(due), due);
        }
    }
}
