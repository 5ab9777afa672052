//! The log on standard error: its format, its levels, and changes of both while the agent runs.

mod damping;
mod line;

use std::ffi::OsStr;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::{Event, Subscriber, warn};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

use crate::clock;
use crate::config::{LogFormat, LogLevel, Origin, Settings, keys};
use crate::printable::printable;
use crate::quantity::BootTime;
use damping::Damping;
use line::{LineFormat, LogLine};

/// The variable that many programs read their levels from.
const RUST_LOG: &str = "RUST_LOG";

/// The running log, whose settings can change.
pub(super) struct Log {
    levels: reload::Handle<Targets, Registry>,
    shared: Arc<Mutex<SharedLog>>,
}

/// State that the lines of all threads share.
struct SharedLog {
    format: LineFormat,
    damping: Damping,
    /// A thread waits to write lines that are held back.
    is_waiting: bool,
}

impl Log {
    /// Starts logging to standard error.
    pub(super) fn start(settings: &Settings) -> Self {
        let (levels, fault) = levels_of(settings, std::env::var(RUST_LOG).ok().as_deref());
        let (filter, levels) = reload::Layer::new(levels);
        let format = format_of(settings.log.format);
        let damping = Damping::default();
        let shared = Arc::new(Mutex::new(SharedLog { format, damping, is_waiting: false }));
        let lines = Lines { shared: Arc::clone(&shared) };
        tracing_subscriber::registry().with(filter).with(lines).init();
        if let Some(fault) = fault {
            warn!("{fault}");
        }
        Self { levels, shared }
    }

    /// Logs from here on as these settings say.
    pub(super) fn change(&self, settings: &Settings) {
        let (levels, _) = levels_of(settings, std::env::var(RUST_LOG).ok().as_deref());
        // An error means that logging has ended.
        let _ = self.levels.modify(|filter| *filter = levels);
        locked(&self.shared).format = format_of(settings.log.format);
    }

    /// True if a line is for people who look at a terminal or a file.
    pub(super) fn is_text(&self) -> bool {
        matches!(locked(&self.shared).format, LineFormat::Text { .. })
    }

    /// Writes the lines that are held back, as the log ends.
    pub(super) fn end(&self) {
        locked(&self.shared).write_due(clock::boot_time(), true);
    }
}

/// The levels, and what is wrong with `RUST_LOG`. It counts only where no setting names a level.
fn levels_of(settings: &Settings, rust_log: Option<&str>) -> (Targets, Option<String>) {
    let by_setting = Targets::new().with_default(level_filter(settings.log.level));
    if *settings.origins.of(&keys::LOG_LEVEL) != Origin::Default {
        return (by_setting, None);
    }
    match rust_log.map(str::trim).filter(|text| !text.is_empty()) {
        None => (by_setting, None),
        Some(text) => match text.parse::<Targets>() {
            Ok(levels) => (levels, None),
            Err(error) => {
                let fault = format!(
                    "{RUST_LOG}={}: {error}; log.level is used; allowed: levels such as \
                     info,nodetally::delivery=debug",
                    printable(text)
                );
                (by_setting, Some(fault))
            }
        },
    }
}

fn level_filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

fn format_of(wanted: LogFormat) -> LineFormat {
    let text = || LineFormat::Text { colour: io::stderr().is_terminal() };
    match wanted {
        LogFormat::Auto if stderr_is_journal() => LineFormat::Journal,
        LogFormat::Auto | LogFormat::Text => text(),
        LogFormat::Json => LineFormat::Json,
        LogFormat::Logfmt => LineFormat::Logfmt,
    }
}

/// True if standard error is the stream that systemd connected to the journal (systemd.exec(5),
/// `JOURNAL_STREAM`), and not one that was redirected since.
pub(super) fn stderr_is_journal() -> bool {
    let file = rustix::fs::fstat(io::stderr().as_fd());
    file.is_ok_and(|file| {
        is_stream(std::env::var_os("JOURNAL_STREAM").as_deref(), (file.st_dev, file.st_ino))
    })
}

/// True if the variable names this device and inode: `8:12345`.
fn is_stream(variable: Option<&OsStr>, (device, inode): (u64, u64)) -> bool {
    let numbers = variable.and_then(OsStr::to_str).and_then(|text| text.split_once(':'));
    numbers.is_some_and(|(of_device, of_inode)| {
        of_device.parse() == Ok(device) && of_inode.parse() == Ok(inode)
    })
}

/// Writes each event as a line, unless it is held back.
struct Lines {
    shared: Arc<Mutex<SharedLog>>,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let now = clock::boot_time();
        let line = LogLine::of_event(event, clock::wall_time());
        let mut log = locked(&self.shared);
        log.write_due(now, false);
        match log.damping.admit(line, now) {
            Some(line) => log.write(&line),
            None if log.is_waiting => {}
            None => {
                log.is_waiting = true;
                let shared = Arc::clone(&self.shared);
                let waiting = thread::Builder::new().name("log".to_owned());
                // Without a thread they are written with the next line.
                log.is_waiting = waiting.spawn(move || wait_for_due(&shared)).is_ok();
            }
        }
    }
}

impl SharedLog {
    fn write(&self, line: &LogLine) {
        // The log itself fails: there is no other place for the error.
        let _ = io::stderr().lock().write_all(line.rendered(self.format).as_bytes());
    }

    fn write_due(&mut self, now: BootTime, log_ends: bool) {
        for line in self.damping.due(now, log_ends) {
            self.write(&line);
        }
    }
}

/// Writes lines that are held back when they are due, until there are none.
fn wait_for_due(shared: &Mutex<SharedLog>) {
    loop {
        let wait = {
            let mut log = locked(shared);
            let now = clock::boot_time();
            log.write_due(now, false);
            let wait = log.damping.wait(now);
            log.is_waiting = wait.is_some();
            wait
        };
        let Some(wait) = wait else { return };
        thread::sleep(wait.max(Duration::from_millis(100)));
    }
}

fn locked(shared: &Mutex<SharedLog>) -> MutexGuard<'_, SharedLog> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flags, Inputs};

    #[test]
    fn the_journal_is_known_by_device_and_inode() {
        for (variable, is_it) in [
            (Some("9:77"), true),
            (Some("9:78"), false),
            (Some("8:77"), false),
            (Some("9"), false),
            (Some("9:77:1"), false),
            (Some(""), false),
            (None, false),
        ] {
            assert_eq!(is_stream(variable.map(OsStr::new), (9, 77)), is_it, "{variable:?}");
        }
    }

    #[test]
    fn rust_log_counts_where_no_setting_names_a_level() {
        let settings = |level: Option<&str>| {
            let mut flags = Flags::default();
            if let Some(level) = level {
                flags.set(&keys::LOG_LEVEL, level);
            }
            let environment = Vec::new();
            let host_name = "box".to_owned();
            let inputs = Inputs { flags, environment, host_name, ..Inputs::default() };
            Settings::resolve(inputs).unwrap()
        };
        let default = |level| Targets::new().with_default(level);
        let modules =
            default(LevelFilter::WARN).with_target("nodetally::spool", LevelFilter::TRACE);
        for (level, rust_log, expected, is_faulty) in [
            (None, None, default(LevelFilter::INFO), false),
            (None, Some(""), default(LevelFilter::INFO), false),
            (None, Some("debug"), default(LevelFilter::DEBUG), false),
            (None, Some("warn,nodetally::spool=trace"), modules, false),
            (Some("error"), Some("debug"), default(LevelFilter::ERROR), false),
            (None, Some("a=b=c"), default(LevelFilter::INFO), true),
            (Some("error"), Some("a=b=c"), default(LevelFilter::ERROR), false),
        ] {
            let (levels, fault) = levels_of(&settings(level), rust_log);
            assert_eq!(levels, expected, "{level:?} {rust_log:?}");
            assert_eq!(fault.is_some(), is_faulty, "{fault:?}");
        }
    }
}
