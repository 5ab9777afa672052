//! Lines that come again and again: the first few are written, then one a minute with a count.
//!
//! Two lines are alike if one place in the program logs them with the same beginning, which names the
//! endpoint, source or file. Lines of debugging are never held back.

use std::time::Duration;

use tracing::Level;

use super::line::LogLine;
use crate::quantity::{BootTime, counted};

/// The time in which lines are counted.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// The lines of one kind that are written at once within [`WINDOW`].
const SHOWN_MAX: u32 = 5;

/// The characters of the message in which two lines of one kind agree.
const BEGINNING_CHARS: usize = 48;

/// The most kinds that are counted. Beyond them nothing is held back.
const KINDS_MAX: usize = 128;

/// The kinds of lines of the last minute.
#[derive(Debug, Default)]
pub(super) struct Damping {
    kinds: Vec<LineKind>,
}

#[derive(Debug)]
struct LineKind {
    target: String,
    beginning: String,
    began: BootTime,
    shown: u32,
    /// The last line that was held back.
    held: Option<LogLine>,
    held_count: u64,
}

impl Damping {
    /// The line, if it is to be written now; else it is held back.
    pub(super) fn admit(&mut self, line: LogLine, now: BootTime) -> Option<LogLine> {
        if line.level > Level::INFO {
            return Some(line);
        }
        let is_over = |kind: &LineKind| now.since(kind.began) >= WINDOW && kind.held.is_none();
        self.kinds.retain(|kind| !is_over(kind));
        let beginning: String = line.message.chars().take(BEGINNING_CHARS).collect();
        let is_its =
            |kind: &&mut LineKind| kind.beginning == beginning && kind.target == line.target;
        let Some(kind) = self.kinds.iter_mut().find(is_its) else {
            if self.kinds.len() < KINDS_MAX {
                let target = line.target.clone();
                let (shown, held_count) = (1, 0);
                let kind =
                    LineKind { target, beginning, began: now, shown, held: None, held_count };
                self.kinds.push(kind);
            }
            return Some(line);
        };
        if kind.shown < SHOWN_MAX {
            kind.shown += 1;
            return Some(line);
        }
        kind.held = Some(line);
        kind.held_count += 1;
        None
    }

    /// The time until a line that is held back is due; `None`: there is none.
    pub(super) fn wait(&self, now: BootTime) -> Option<Duration> {
        let held = self.kinds.iter().filter(|kind| kind.held.is_some());
        held.map(|kind| WINDOW.saturating_sub(now.since(kind.began))).min()
    }

    /// The last line of each kind that was held back, if one of them is due or the log ends: in their
    /// order, so that the last state is the last line.
    pub(super) fn due(&mut self, now: BootTime, log_ends: bool) -> Vec<LogLine> {
        if !log_ends && self.wait(now).is_none_or(|wait| !wait.is_zero()) {
            return Vec::new();
        }
        let mut lines: Vec<LogLine> = Vec::new();
        for kind in &mut self.kinds {
            let Some(mut line) = kind.held.take() else { continue };
            let others = std::mem::take(&mut kind.held_count) - 1;
            if others > 0 {
                let seconds = now.since(kind.began).as_secs();
                let others = counted(others, "line like this was", "lines like this were");
                line.message.push_str(&format!(" ({others} not logged in the last {seconds} s)"));
            }
            // From now on one a minute, until a minute passes without any.
            (kind.began, kind.shown) = (now, SHOWN_MAX);
            lines.push(line);
        }
        lines.sort_by_key(|line| line.at);
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::WallTime;

    fn at(millis: u64) -> BootTime {
        BootTime::from_nanos(millis * 1_000_000)
    }

    fn line(message: &str, level: Level, millis: u64) -> LogLine {
        LogLine {
            at: WallTime::from_unix_millis(millis),
            level,
            target: "nodetally".to_owned(),
            message: message.to_owned(),
            fields: Vec::new(),
        }
    }

    /// The messages that are written when each is logged at its millisecond, and the log is looked at
    /// every 100 ms until `end`.
    fn written(logged: &[(u64, String)], end: u64) -> Vec<(u64, String)> {
        let mut damping = Damping::default();
        let mut written = Vec::new();
        for now in (0..=end).step_by(100) {
            for due in damping.due(at(now), false) {
                written.push((now, due.message));
            }
            for (_, message) in logged.iter().filter(|(when, _)| *when == now) {
                if let Some(line) = damping.admit(line(message, Level::INFO, now), at(now)) {
                    written.push((now, line.message));
                }
            }
        }
        written
    }

    #[test]
    fn a_flapping_state_is_five_lines_and_then_one_a_minute_and_the_last_is_true() {
        // Thirteen times bad and good within 25 s, and bad at the end.
        let mut logged: Vec<(u64, String)> = Vec::new();
        for flap in 0..13 {
            logged.push((flap * 1900, "sampling: failed".to_owned()));
            logged.push((flap * 1900 + 900, "sampling: good again".to_owned()));
        }
        logged.push((24_700, "sampling: failed".to_owned()));
        let written = written(&logged, 200_000);
        let (at_once, later) = written.split_at(10);
        assert!(at_once.iter().all(|(_, message)| !message.contains("not logged")), "{at_once:?}");
        assert_eq!(
            later,
            [
                (
                    60_000,
                    "sampling: good again (7 lines like this were not logged in the last 59 s)"
                        .to_owned()
                ),
                (
                    60_000,
                    "sampling: failed (8 lines like this were not logged in the last 60 s)"
                        .to_owned()
                ),
            ]
        );
    }

    #[test]
    fn steady_flapping_is_one_line_a_minute_and_a_quiet_minute_ends_it() {
        let logged: Vec<_> = (0..600).map(|second| (second * 1000, "x".to_owned())).collect();
        assert_eq!(written(&logged, 660_000).len(), 5 + 10);
        let mut logged: Vec<_> = (0..6).map(|second| (second * 1000, "x".to_owned())).collect();
        // Held back at 5 s, written at 60 s without a count, and forgotten by 120 s.
        logged.extend((0..5).map(|second| (130_000 + second * 1000, "x".to_owned())));
        let written = written(&logged, 300_000);
        assert_eq!(written.len(), 11);
        assert_eq!(written[5], (60_000, "x".to_owned()));
    }

    #[test]
    fn other_kinds_and_debugging_are_never_held_back_and_the_kinds_are_bounded() {
        let mut damping = Damping::default();
        for number in 0..1000 {
            for _ in 0..2 {
                let one = line(&format!("endpoint {number}: a"), Level::WARN, 0);
                assert!(damping.admit(one, at(number)).is_some());
            }
            assert!(damping.admit(line("sampled", Level::DEBUG, 0), at(number)).is_some());
        }
        assert!(damping.kinds.len() <= KINDS_MAX);
        // After their minute there is room again.
        damping.admit(line("later", Level::INFO, 0), at(100_000));
        assert_eq!(damping.kinds.len(), 1);
    }

    #[test]
    fn what_is_held_back_at_the_end_is_written_then() {
        let mut damping = Damping::default();
        for number in 0..7 {
            damping.admit(line("x", Level::ERROR, number), at(number));
        }
        assert_eq!(damping.wait(at(10)), Some(WINDOW - Duration::from_millis(10)));
        assert_eq!(damping.due(at(10), false), []);
        let [last] = &damping.due(at(10), true)[..] else { panic!("one line") };
        assert_eq!(last.message, "x (1 line like this was not logged in the last 0 s)");
        assert_eq!(damping.due(at(10), true), []);
    }
}
