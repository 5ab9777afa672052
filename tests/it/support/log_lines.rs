//! The log lines of the library, for tests to search.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// The lines of all threads that have no subscriber of their own.
static ALL: LazyLock<Lines> = LazyLock::new(Lines::default);

/// Collects the lines that are logged while it is the default of the test's thread.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub fn containing(&self, part: &str) -> Vec<String> {
        self.0.lock().unwrap().iter().filter(|line| line.contains(part)).cloned().collect()
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    let _ = write!(self.0, "{value:?}");
                }
            }
        }
        if event.metadata().target().starts_with("nodetally") {
            let mut message = Message(format!("{} ", event.metadata().level()));
            event.record(&mut message);
            self.0.lock().unwrap().push(message.0);
        }
    }
}

/// Collects the lines of all threads from now on, for [`about`].
///
/// It also serves the tests that [`listen`] on their own thread: where the threads of others listened to
/// nothing, tracing could decide for all threads that nobody wants a line.
pub fn hear_all() {
    let subscriber = tracing_subscriber::registry().with(ALL.clone());
    // An error means that another test has been here.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// The lines of all threads that contain `part`.
pub fn containing(part: &str) -> Vec<String> {
    ALL.containing(part)
}

/// The lines of all threads that name `path`.
pub fn about(path: &Path) -> Vec<String> {
    ALL.containing(path.to_str().unwrap())
}

pub fn listen() -> (Lines, tracing::subscriber::DefaultGuard) {
    hear_all();
    let lines = Lines::default();
    let subscriber = tracing_subscriber::registry().with(lines.clone());
    (lines, tracing::subscriber::set_default(subscriber))
}
