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

use std::fmt::{Display, Write as _};

/// The value of `Content-Type`.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A text in the making.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

/// A family whose samples follow.
#[derive(Debug)]
pub struct Family<'e> {
    text: &'e mut String,
    name: &'static str,
    suffix: &'static str,
}

impl Exposition {
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
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(self.text, "# TYPE {name} {kind}\n# HELP {name} {help}");
        Family { text: &mut self.text, name, suffix }
    }

    /// The whole text.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.text.push_str("# EOF\n");
        self.text
    }
}

impl Family<'_> {
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        let _ = write!(self.text, "{}{}", self.name, self.suffix);
        for (at, (name, value)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{before}{name}=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
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
