//! Notifications to systemd (sd_notify(3)), where `NOTIFY_SOCKET` is set.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::clock;
use crate::quantity::BootTime;

// A notification that fails changes nothing: systemd notices a service that is silent.

/// Reports the end of the start or of a reload (`READY=1`).
pub fn ready() {
    let _ = sd_notify::notify(&[NotifyState::Ready]);
}

/// Reports the start of a reload (`RELOADING=1`); [`ready`] ends it, also after a failure.
pub fn reloading() {
    // Type=notify-reload needs the time beside it.
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        let _ = sd_notify::notify(&[NotifyState::Reloading, now]);
    }
}

/// Reports that the agent stops (`STOPPING=1`).
pub fn stopping() {
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
}

/// The watchdog notifications of the sampling thread. Only that thread sends them, so that a hang of
/// it is seen.
#[derive(Debug)]
pub struct Watchdog {
    /// `None`: systemd asked for no watchdog.
    every: Option<Duration>,
    next: BootTime,
}

impl Watchdog {
    /// Notifies at half of the unit's `WatchdogSec=`.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::every(sd_notify::watchdog_enabled().map(|timeout| timeout / 2))
    }

    fn every(every: Option<Duration>) -> Self {
        Self { every: every.filter(|every| !every.is_zero()), next: BootTime::default() }
    }

    /// Sends a notification if one is due.
    pub fn notify_if_due(&mut self) {
        if self.is_due(clock::boot_time()) {
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        }
    }

    fn is_due(&mut self, now: BootTime) -> bool {
        let Some(every) = self.every.filter(|_| now >= self.next) else { return false };
        self.next = now.plus(every);
        true
    }

    /// The time of the next notification, or `due` if that is sooner.
    #[must_use]
    pub fn or_sooner(&self, due: BootTime) -> BootTime {
        if self.every.is_some() { due.min(self.next) } else { due }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_longer_than_the_watchdog_is_cut_into_notifications() {
        let at = |secs: u64| BootTime::from_nanos(secs * 1_000_000_000);
        let mut watchdog = Watchdog::every(Some(Duration::from_secs(15)));
        assert!(watchdog.is_due(at(100)));
        assert_eq!(watchdog.or_sooner(at(3700)), at(115));
        assert_eq!(watchdog.or_sooner(at(107)), at(107));
        assert!(!watchdog.is_due(at(107)));
        assert!(watchdog.is_due(at(115)));
        assert_eq!(watchdog.or_sooner(at(3700)), at(130));
    }

    #[test]
    fn without_a_watchdog_nothing_is_due() {
        for mut watchdog in [Watchdog::every(None), Watchdog::every(Some(Duration::ZERO))] {
            let due = BootTime::from_nanos(9);
            assert!(!watchdog.is_due(due));
            assert_eq!(watchdog.or_sooner(due), due);
        }
    }
}
