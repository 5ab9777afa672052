//! Prints requests instead of sending them.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::Arc;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::watch;

/// The JSON form of a body, for people; `None`: it is none of the dialect.
#[derive(Debug, Clone, Copy)]
pub struct BodyAsJson(pub fn(&[u8]) -> Option<Vec<u8>>);

impl PartialEq for BodyAsJson {
    /// The function depends on the dialect alone.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for BodyAsJson {}

/// Standard output, to which requests are printed, one JSON object a line. Clones are the same.
#[derive(Debug, Clone)]
pub struct DryRun(Arc<watch::Sender<bool>>);

impl PartialEq for DryRun {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for DryRun {}

impl Default for DryRun {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

/// A request or a write that is not made.
#[derive(Serialize)]
pub(super) struct ShownRequest<'a> {
    pub(super) endpoint: &'a str,
    /// Absent for a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) method: Option<&'a str>,
    /// Without a query, which may hold a key.
    pub(super) url: String,
    /// Secret values are hidden.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Box<RawValue>,
}

impl DryRun {
    /// Prints a line. A failure counts as the end of the output.
    pub(super) fn print(&self, request: &ShownRequest<'_>) {
        if let Err(error) = write(request) {
            if error.kind() != io::ErrorKind::BrokenPipe {
                tracing::error!("standard output: {error}; the dry run ends");
            }
            self.0.send_replace(true);
        }
    }

    /// Returns once nothing can be printed any more, because the reader has left.
    pub async fn closed(&self) {
        // The sender lives as long as this.
        let _ = self.0.subscribe().wait_for(|is_closed| *is_closed).await;
    }
}

fn write(request: &ShownRequest<'_>) -> io::Result<()> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line).and_then(|()| out.flush())
}

/// A body for people: as JSON, and as text where it has no such form.
pub(super) fn readable(body: &[u8], as_json: Option<BodyAsJson>) -> Box<RawValue> {
    let json = match as_json {
        Some(BodyAsJson(as_json)) => as_json(body),
        None => Some(body.to_vec()),
    };
    let raw = json.and_then(|json| RawValue::from_string(String::from_utf8(json).ok()?).ok());
    // A line break between values would be a second line of the output.
    let raw = raw.filter(|raw| !raw.get().contains(['\n', '\r']));
    raw.or_else(|| to_raw_value(&String::from_utf8_lossy(body)).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_shown_as_json_or_as_text() {
        let shown = |body: &[u8], as_json| readable(body, as_json).get().to_owned();
        assert_eq!(shown(b"{\"a\":1.50}", None), "{\"a\":1.50}");
        assert_eq!(shown(b"a\nb\xff", None), "\"a\\nb\u{fffd}\"");
        let length = BodyAsJson(|body| Some(body.len().to_string().into_bytes()));
        assert_eq!(shown(b"four", Some(length)), "4");
        assert_eq!(shown(b"x", Some(BodyAsJson(|_| None))), "\"x\"");
        // A line break inside would be a second line of the output.
        assert_eq!(shown(b"{\n}", None).lines().count(), 1);
    }
}
