//! The OpenMetrics text format, in which the agent exposes its own metrics.
//!
//! ```text
//! # TYPE nodetally_samples counter
//! # HELP nodetally_samples Samples taken.
//! nodetally_samples_total 42
//! # TYPE nodetally_queue_posts gauge
//! # HELP nodetally_queue_posts Posts that wait.
//! nodetally_queue_posts{endpoint="central"} 3
//! # EOF
//! ```
//!
//! OpenMetrics 1.0 wants a family's samples together, counters' names to end in `_total`, and the
//! end to be said.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};

/// The text format of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TextFormat {
    /// OpenMetrics 1.0.
    #[default]
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Prometheus,
}

impl TextFormat {
    /// The value of `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// The format that a request prefers, by its header `Accept`. Whoever does not name one gets
    /// `otherwise`.
    #[must_use]
    pub fn accepted(accept: Option<&str>, otherwise: Self) -> Self {
        let mut best: Option<(f32, Self)> = None;
        for range in accept.unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let format = match parts.next() {
                Some("application/openmetrics-text") => Self::OpenMetrics,
                Some("text/plain") => Self::Prometheus,
                _ => continue,
            };
            let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
            let quality: f32 = quality.unwrap_or(1.0);
            if quality > 0.0 && best.is_none_or(|(most, _)| quality > most) {
                best = Some((quality, format));
            }
        }
        best.map_or(otherwise, |(_, format)| format)
    }

    /// The end of a text.
    #[must_use]
    pub const fn end(self) -> &'static str {
        match self {
            Self::OpenMetrics => "# EOF\n",
            Self::Prometheus => "",
        }
    }
}

/// The value of a label with backslashes, quotes and line breaks escaped.
#[must_use]
pub fn escaped(value: &str) -> Cow<'_, str> {
    if !value.contains(['\\', '"', '\n']) {
        return Cow::Borrowed(value);
    }
    Cow::Owned(value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// A text in the making.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
    format: TextFormat,
}

/// A family whose samples follow.
#[derive(Debug)]
pub struct Family<'e> {
    text: &'e mut String,
    name: &'static str,
    suffix: &'static str,
}

impl Exposition {
    #[must_use]
    pub fn new(format: TextFormat) -> Self {
        Self { text: String::new(), format }
    }

    /// A family that only grows; `name` without `_total`.
    pub fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "counter", "_total", help)
    }

    pub fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "gauge", "", help)
    }

    /// Facts that stand in labels.
    pub fn info(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "info", "_info", help)
    }

    fn family(
        &mut self,
        name: &'static str,
        kind: &str,
        suffix: &'static str,
        help: &str,
    ) -> Family<'_> {
        let (shown, kind) = match self.format {
            TextFormat::OpenMetrics => ("", kind),
            // There are no infos, and a family has the name of its samples.
            TextFormat::Prometheus if kind == "info" => (suffix, "gauge"),
            TextFormat::Prometheus => (suffix, kind),
        };
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(self.text, "# TYPE {name}{shown} {kind}\n# HELP {name}{shown} {help}");
        Family { text: &mut self.text, name, suffix }
    }

    /// The whole text, with its end.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.text.push_str(self.format.end());
        self.text
    }
}

impl Family<'_> {
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        let _ = write!(self.text, "{}{}", self.name, self.suffix);
        for (at, (name, value)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{before}{name}=\"{}\"", escaped(value));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{end} {value}");
        self
    }
}

#[cfg(test)]
mod tests {
    use super::Exposition;

    #[test]
    fn families_stand_together_and_labels_are_escaped() {
        let mut exposition = Exposition::default();
        exposition.counter("a", "A thing.").sample(&[], 42);
        exposition
            .gauge("b_seconds", "Another.")
            .sample(&[("x", "1"), ("y", "q\"\\\n")], 0.5)
            .sample(&[("x", "2"), ("y", "")], 7);
        exposition.info("build", "What it is.").sample(&[("version", "1")], 1);
        assert_eq!(
            exposition.finish(),
            "# TYPE a counter\n# HELP a A thing.\na_total 42\n\
             # TYPE b_seconds gauge\n# HELP b_seconds Another.\n\
             b_seconds{x=\"1\",y=\"q\\\"\\\\\\n\"} 0.5\nb_seconds{x=\"2\",y=\"\"} 7\n\
             # TYPE build info\n# HELP build What it is.\nbuild_info{version=\"1\"} 1\n# EOF\n"
        );
    }
}
