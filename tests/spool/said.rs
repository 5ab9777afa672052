//! What was logged, by the path that it is about.

use std::io;
use std::path::Path;
use std::sync::{Mutex, Once, PoisonError};

static START: Once = Once::new();
static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// To be called before what is to be heard.
pub fn listen() {
    START.call_once(|| tracing_subscriber::fmt().with_ansi(false).with_writer(|| Log).init());
}

pub fn about(path: &Path) -> Vec<String> {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let path = path.to_str().unwrap();
    let text = String::from_utf8_lossy(&lines);
    text.lines().filter(|line| line.contains(path)).map(str::to_owned).collect()
}
