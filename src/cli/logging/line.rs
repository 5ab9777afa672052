//! A log event as one line, in each of the formats.

use std::fmt::{self, Write as _};
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use crate::printable::printable;
use crate::quantity::WallTime;

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineFormat {
    /// For people: time, level, message, fields. Colour on a terminal.
    Text { colour: bool },
    /// For journald: a priority (sd-daemon(3)), message, fields. The journal has the time.
    Journal,
    /// A JSON object.
    Json,
    /// Pairs `key=value`.
    Logfmt,
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum FieldValue {
    Unsigned(u64),
    Signed(i64),
    Bool(bool),
    Text(String),
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LogLine {
    pub(super) at: WallTime,
    pub(super) level: Level,
    /// The module that logged it.
    pub(super) target: String,
    pub(super) message: String,
    pub(super) fields: Vec<(&'static str, FieldValue)>,
}

impl LogLine {
    pub(super) fn of_event(event: &Event<'_>, at: WallTime) -> Self {
        let metadata = event.metadata();
        let mut seen = LogFields::default();
        event.record(&mut seen);
        Self {
            at,
            level: *metadata.level(),
            target: metadata.target().to_owned(),
            message: seen.message,
            fields: seen.fields,
        }
    }

    /// The line with its line break.
    pub(super) fn rendered(&self, format: LineFormat) -> String {
        let mut line = match format {
            LineFormat::Text { colour } => self.text(colour),
            LineFormat::Journal => self.journal(),
            LineFormat::Json => self.json(),
            LineFormat::Logfmt => self.logfmt(),
        };
        line.push('\n');
        line
    }

    fn text(&self, colour: bool) -> String {
        let (at, level) = (self.timestamp(), self.level.as_str());
        let mut line = if colour {
            let code = match self.level {
                Level::ERROR => 31,
                Level::WARN => 33,
                Level::INFO => 32,
                Level::DEBUG => 34,
                Level::TRACE => 35,
            };
            format!("\x1b[2m{at}\x1b[0m \x1b[{code}m{level:>5}\x1b[0m ")
        } else {
            format!("{at} {level:>5} ")
        };
        self.add_words(&mut line);
        line
    }

    fn journal(&self) -> String {
        // The numbers of syslog(3).
        let priority = match self.level {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        let mut line = format!("<{priority}>");
        self.add_words(&mut line);
        line
    }

    /// Message and fields, as people read them. Texts in them may be from outside.
    fn add_words(&self, line: &mut String) {
        line.push_str(&printable(&self.message));
        for (name, value) in &self.fields {
            // Writing to a String cannot fail.
            let _ = write!(line, " {name}={}", printable(&value.to_string()));
        }
    }

    fn json(&self) -> String {
        let line = JsonLine {
            timestamp: self.timestamp(),
            level: self.level.as_str(),
            target: &self.target,
            message: &self.message,
            fields: self.fields.iter().map(|(name, value)| (*name, value)).collect(),
        };
        // Texts and numbers can always be written.
        serde_json::to_string(&line).unwrap_or_default()
    }

    fn logfmt(&self) -> String {
        let mut line = format!(
            "timestamp={} level={} target={} message={}",
            self.timestamp(),
            self.level.as_str().to_ascii_lowercase(),
            logfmt_value(&self.target),
            logfmt_value(&self.message)
        );
        for (name, value) in &self.fields {
            let mark = if LOGFMT_KEYS.contains(name) { "field." } else { "" };
            let _ = write!(line, " {mark}{name}={}", logfmt_value(&value.to_string()));
        }
        line
    }

    fn timestamp(&self) -> String {
        let since_1970 = Duration::from_millis(self.at.as_unix_millis());
        match UNIX_EPOCH.checked_add(since_1970) {
            Some(at) => humantime::format_rfc3339_millis(at).to_string(),
            None => "-".to_owned(),
        }
    }
}

const LOGFMT_KEYS: [&str; 4] = ["timestamp", "level", "target", "message"];

/// The object of the format `json`.
#[derive(Serialize)]
struct JsonLine<'a> {
    timestamp: String,
    level: &'static str,
    target: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    fields: std::collections::BTreeMap<&'static str, &'a FieldValue>,
}

/// The value of a pair: in quotes, with the escapes of JSON, unless it is a plain word.
fn logfmt_value(text: &str) -> String {
    let is_plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | '=' | '\\') && is_shown(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    let mut value = String::with_capacity(text.len() + 2);
    value.push('"');
    for c in text.chars() {
        match c {
            '"' => value.push_str("\\\""),
            '\\' => value.push_str("\\\\"),
            '\n' => value.push_str("\\n"),
            '\r' => value.push_str("\\r"),
            '\t' => value.push_str("\\t"),
            c if is_shown(c) => value.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(value, "\\u{unit:04x}");
                }
            }
        }
    }
    value.push('"');
    value
}

/// False for a character that steers a terminal.
fn is_shown(c: char) -> bool {
    let mut bytes = [0; 4];
    let text: &str = c.encode_utf8(&mut bytes);
    c.is_ascii_graphic() || c == ' ' || !c.is_ascii() && printable(text) == text
}

impl fmt::Display for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(value) => value.fmt(f),
            Self::Signed(value) => value.fmt(f),
            Self::Bool(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

/// Collects the fields of an event.
#[derive(Default)]
struct LogFields {
    message: String,
    fields: Vec<(&'static str, FieldValue)>,
}

impl LogFields {
    fn add(&mut self, field: &Field, value: FieldValue) {
        match (field.name(), value) {
            ("message", value) => self.message = value.to_string(),
            (name, value) => self.fields.push((name.trim_start_matches("r#"), value)),
        }
    }
}

impl Visit for LogFields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, FieldValue::Unsigned(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, FieldValue::Signed(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, FieldValue::Bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, FieldValue::Text(value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, FieldValue::Text(format!("{value:?}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(level: Level, message: &str, fields: &[(&'static str, FieldValue)]) -> LogLine {
        LogLine {
            // date -u -d @1764483275.5: 2025-11-30T06:14:35.500Z
            at: WallTime::from_unix_millis(1_764_483_275_500),
            level,
            target: "nodetally::delivery".to_owned(),
            message: message.to_owned(),
            fields: fields.to_vec(),
        }
    }

    #[test]
    fn each_format_has_its_line() {
        let fields = [
            ("took_usec", FieldValue::Unsigned(5)),
            ("change", FieldValue::Signed(-1)),
            ("level", FieldValue::Text("a \"b\"=c\\d".to_owned())),
            ("ok", FieldValue::Bool(true)),
        ];
        let line = line(Level::WARN, "endpoint a\nis \u{202e}down", &fields);
        for (format, expected) in [
            (
                LineFormat::Text { colour: false },
                "2025-11-30T06:14:35.500Z  WARN endpoint a\\nis \\u{202e}down took_usec=5 change=-1 \
                 level=a \"b\"=c\\d ok=true\n",
            ),
            (
                LineFormat::Text { colour: true },
                "\x1b[2m2025-11-30T06:14:35.500Z\x1b[0m \x1b[33m WARN\x1b[0m endpoint a\\nis \
                 \\u{202e}down took_usec=5 change=-1 level=a \"b\"=c\\d ok=true\n",
            ),
            (
                LineFormat::Journal,
                "<4>endpoint a\\nis \\u{202e}down took_usec=5 change=-1 level=a \"b\"=c\\d ok=true\n",
            ),
            (
                LineFormat::Logfmt,
                "timestamp=2025-11-30T06:14:35.500Z level=warn target=nodetally::delivery \
                 message=\"endpoint a\\nis \\u202edown\" took_usec=5 change=-1 \
                 field.level=\"a \\\"b\\\"=c\\\\d\" ok=true\n",
            ),
            (
                LineFormat::Json,
                "{\"timestamp\":\"2025-11-30T06:14:35.500Z\",\"level\":\"WARN\",\"target\":\
                 \"nodetally::delivery\",\"message\":\"endpoint a\\nis \u{202e}down\",\"fields\":{\
                 \"change\":-1,\"level\":\"a \\\"b\\\"=c\\\\d\",\"ok\":true,\"took_usec\":5}}\n",
            ),
        ] {
            assert_eq!(line.rendered(format), expected, "{format:?}");
        }
    }

    #[test]
    fn the_journal_gets_the_priorities_of_syslog() {
        for (level, priority) in [
            (Level::ERROR, "<3>x\n"),
            (Level::WARN, "<4>x\n"),
            (Level::INFO, "<6>x\n"),
            (Level::DEBUG, "<7>x\n"),
            (Level::TRACE, "<7>x\n"),
        ] {
            assert_eq!(line(level, "x", &[]).rendered(LineFormat::Journal), priority);
        }
    }

    #[test]
    fn a_value_of_logfmt_is_one_word_or_quoted() {
        for (text, value) in [
            ("plain-word_1.5/x", "plain-word_1.5/x"),
            ("grün", "grün"),
            ("", "\"\""),
            ("two words", "\"two words\""),
            ("a=b", "\"a=b\""),
            ("say \"x\"", "\"say \\\"x\\\"\""),
            ("C:\\x", "\"C:\\\\x\""),
            ("tab\there\r\n", "\"tab\\there\\r\\n\""),
            ("\u{1b}[2J", "\"\\u001b[2J\""),
            ("\u{7f}", "\"\\u007f\""),
            ("\u{e0001}", "\"\\udb40\\udc01\""),
            ("a\u{a0}b", "\"a\u{a0}b\""),
        ] {
            assert_eq!(logfmt_value(text), value, "{text:?}");
        }
    }

    /// Whatever a message holds, a line is one line; and JSON gives it back.
    #[test]
    fn no_text_breaks_a_line() {
        let texts = ["\n", "\r\n", "\u{85}", "\u{2028}", "\0", "\"}\n{\"level\":\"x\"", "a\u{b}b"];
        for text in texts {
            let fields = [("text", FieldValue::Text(text.to_owned()))];
            let line = line(Level::INFO, text, &fields);
            for format in [
                LineFormat::Text { colour: false },
                LineFormat::Journal,
                LineFormat::Json,
                LineFormat::Logfmt,
            ] {
                let rendered = line.rendered(format);
                assert_eq!(rendered.find('\n'), Some(rendered.len() - 1), "{rendered:?}");
                assert!(!rendered.contains('\r') && !rendered.contains('\0'), "{rendered:?}");
            }
            let json = line.rendered(LineFormat::Json);
            let json: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!((&json["message"], &json["fields"]["text"]), (&text.into(), &text.into()));
        }
    }
}
