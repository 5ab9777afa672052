//! The event counters of a cgroup, each declared once.
//!
//! The declaration gives a counter its place in the state file, its delta, its sum and its key in
//! `dump`. A new counter is one line here, beside its parser and its row in docs/dump-schema.md.

use serde::{Deserialize, Serialize};

use super::delta::{CounterBounds, Gains};
use crate::snapshot::CgroupReading;

macro_rules! event_counts {
    ($($(#[$doc:meta])* $name:ident: $read:expr;)*) => {
        /// Event counters of one cgroup and everything below it: the kernel's counts in
        /// [`super::CgroupCounters`], the counts of an interval in a usage.
        ///
        /// `None`: the kernel does not have the file, or it could not be read.
        // Serde is here for the state file alone; a field's name is its key there.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct EventCounts {
            $($(#[$doc])* pub $name: Option<u64>,)*
        }

        impl EventCounts {
            /// The counts of a cgroup that was just created.
            pub(super) const ZERO: Self = Self { $($name: Some(0),)* };

            /// The counts that a reading has.
            pub(super) fn of(reading: &CgroupReading) -> Self {
                $(let $name: fn(&CgroupReading) -> Option<u64> = $read;)*
                Self { $($name: $name(reading),)* }
            }

            fn zip(
                self,
                other: Self,
                mut f: impl FnMut(Option<u64>, Option<u64>) -> Option<u64>,
            ) -> Self {
                Self { $($name: f(self.$name, other.$name),)* }
            }

            /// Each count with its name, in the order of declaration.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, Option<u64>)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

event_counts! {
    /// Processes that the OOM killer killed.
    oom_kills: |reading| reading.memory.events.and_then(|events| events.oom_kill);
    /// Allocations that met the memory limit, so that memory had to be reclaimed.
    memory_limit_hits: |reading| reading.memory.events.and_then(|events| events.max);
    /// Page faults, major ones included.
    page_faults: |reading| reading.memory.stat.and_then(|stat| stat.page_faults);
    /// Page faults that waited for a disk.
    major_page_faults: |reading| reading.memory.stat.and_then(|stat| stat.major_faults);
}

impl EventCounts {
    /// The events between `before` and this; a count that either lacks is `None`.
    pub(super) fn since(self, before: Self, gains: &mut Gains) -> Self {
        self.zip(before, |now, before| Some(gains.of(before?, now?, CounterBounds::NONE)))
    }

    /// The sum; a count that one lacks is the other's.
    pub(super) fn plus(self, other: Self) -> Self {
        self.zip(other, |a, b| match (a, b) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (a, b) => a.or(b),
        })
    }
}
