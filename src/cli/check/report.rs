//! The report of `check`: a table for people, JSON for programs, and the exit status.

use std::fmt::Write as _;

use serde::Serialize;

use super::findings::{Finding, Group, State};
use crate::quantity::counted;
use crate::runtime::startup::hierarchy_words;
use crate::snapshot::roots::Hierarchy;

/// The version of the JSON form. It goes up when a key changes its meaning or is removed.
const SCHEMA_VERSION: u32 = 1;

/// The findings over one host.
pub struct CheckReport {
    node: String,
    /// `None`: procfs cannot be read.
    hierarchy: Option<Hierarchy>,
    findings: Vec<Finding>,
}

/// The outcome, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CheckVerdict {
    /// The agent cannot work here.
    Unusable,
    /// An endpoint does not answer, or its samples would be lost.
    Undelivered,
    /// Something else is missing, so that figures or names are.
    Partial,
    Complete,
}

impl CheckVerdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Unusable => "unusable",
            Self::Undelivered => "undelivered",
            Self::Partial => "partial",
            Self::Complete => "complete",
        }
    }

    const fn exit_status(self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::Partial => 1,
            Self::Unusable => 2,
            Self::Undelivered => 3,
        }
    }
}

impl CheckReport {
    pub(super) fn new(node: String, hierarchy: Option<Hierarchy>, findings: Vec<Finding>) -> Self {
        Self { node, hierarchy, findings }
    }

    fn missing(&self, is_wanted: impl Fn(Group) -> bool) -> usize {
        let is_missing = |finding: &&Finding| finding.state > State::Noted;
        self.findings.iter().filter(is_missing).filter(|one| is_wanted(one.group)).count()
    }

    fn verdict(&self) -> CheckVerdict {
        let is_vital = |finding: &Finding| finding.vital && finding.state > State::Noted;
        if self.findings.iter().any(is_vital) {
            CheckVerdict::Unusable
        } else if self.missing(|group| group == Group::Endpoints) > 0 {
            CheckVerdict::Undelivered
        } else if self.missing(|_| true) > 0 {
            CheckVerdict::Partial
        } else {
            CheckVerdict::Complete
        }
    }

    /// The exit status: 0 nothing is missing, 1 something is, 2 the agent cannot work here, 3 an
    /// endpoint does not accept samples.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        self.verdict().exit_status()
    }

    /// The findings as a table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        let hierarchy = self.hierarchy.map_or("", hierarchy_words);
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "nodetally {} on {}: {hierarchy}", VERSION, self.node);
        let width = self.findings.iter().map(|finding| finding.source.chars().count()).max();
        let width = width.unwrap_or(0).min(48);
        for group in Group::ALL {
            let mut of_group = self.findings.iter().filter(|one| one.group == group).peekable();
            if of_group.peek().is_some() {
                let _ = writeln!(text, "\n{}", group.word().to_uppercase());
            }
            for finding in of_group {
                add_row(&mut text, finding, width);
            }
        }
        let _ = writeln!(text, "\n{}", self.verdict_words());
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        lines.join("\n") + "\n"
    }

    fn verdict_words(&self) -> String {
        if self.verdict() == CheckVerdict::Unusable {
            return "the agent cannot work here".to_owned();
        }
        let counts = [
            (Group::Sources, "source is missing", "sources are missing"),
            (Group::Names, "source of names does not answer", "sources of names do not answer"),
            (Group::Agent, "file or address cannot be used", "files or addresses cannot be used"),
            (Group::Endpoints, "endpoint accepts no samples", "endpoints accept no samples"),
        ];
        let counts: Vec<String> = counts
            .into_iter()
            .map(|(of, one, many)| (self.missing(|group| group == of), one, many))
            .filter(|(count, ..)| *count > 0)
            .map(|(count, one, many)| counted(count, one, many))
            .collect();
        if counts.is_empty() {
            return "nothing is missing".to_owned();
        }
        format!("the agent works; {}", counts.join("; "))
    }

    /// The findings as one JSON document.
    #[must_use]
    pub fn json(&self) -> String {
        let verdict = self.verdict();
        let finding = |finding: &Finding| JsonFinding {
            group: finding.group.word(),
            state: finding.state.word(),
            name: finding.source.clone(),
            text: finding.consequence.clone(),
            help: if finding.state == State::Present {
                String::new()
            } else {
                finding.help.to_string()
            },
            vital: finding.vital,
        };
        let document = JsonReport {
            schema_version: SCHEMA_VERSION,
            version: VERSION,
            node: &self.node,
            cgroups: self.hierarchy.map(|hierarchy| match hierarchy {
                Hierarchy::Unified => "v2",
                Hierarchy::Hybrid => "hybrid",
                Hierarchy::V1Only => "v1",
                Hierarchy::None => "none",
            }),
            verdict: verdict.word(),
            exit_status: verdict.exit_status(),
            findings: self.findings.iter().map(finding).collect(),
        };
        // Texts and numbers can always be written.
        serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn add_row(text: &mut String, finding: &Finding, width: usize) {
    let _ = write!(text, "{:<8} {:<width$}", finding.state.word(), finding.source);
    let _ = writeln!(
        text,
        "{}{}",
        if finding.consequence.is_empty() { "" } else { "  " },
        finding.consequence
    );
    if finding.state != State::Present && !finding.help.is_empty() {
        let _ = writeln!(text, "{:<8} {:<width$}  would help: {}", "", "", finding.help);
    }
}

#[derive(Serialize)]
struct JsonReport<'a> {
    schema_version: u32,
    version: &'static str,
    node: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroups: Option<&'static str>,
    verdict: &'static str,
    exit_status: u8,
    findings: Vec<JsonFinding>,
}

#[derive(Serialize)]
struct JsonFinding {
    group: &'static str,
    state: &'static str,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    help: String,
    vital: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(group: Group, state: State, vital: bool) -> Finding {
        let (source, consequence) = ("it".to_owned(), "gone".to_owned());
        Finding { group, state, source, consequence, help: "this".into(), vital }
    }

    #[test]
    fn the_exit_status_is_that_of_the_worst_finding() {
        let fine = || finding(Group::Sources, State::Present, true);
        let note = || finding(Group::Endpoints, State::Noted, true);
        let source = || finding(Group::Sources, State::Absent, false);
        let name = || finding(Group::Names, State::Failed, false);
        let own = || finding(Group::Agent, State::Denied, false);
        let endpoint = || finding(Group::Endpoints, State::Failed, false);
        let vital = || finding(Group::Endpoints, State::Failed, true);
        for (findings, status, words) in [
            (vec![], 0, "nothing is missing"),
            (vec![fine(), note()], 0, "nothing is missing"),
            (vec![fine(), source()], 1, "the agent works; 1 source is missing"),
            (vec![source(), source(), name()], 1, "2 sources are missing; 1 source of names does"),
            (vec![own()], 1, "1 file or address cannot be used"),
            (vec![source(), endpoint()], 3, "1 source is missing; 1 endpoint accepts no samples"),
            (vec![endpoint(), vital()], 2, "the agent cannot work here"),
        ] {
            let report = CheckReport::new("n1".to_owned(), Some(Hierarchy::Unified), findings);
            assert_eq!(report.exit_status(), status, "{words}");
            let table = report.table();
            assert!(table.lines().last().unwrap().contains(words), "{table}");
            let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
            assert_eq!(json["exit_status"], status);
        }
    }
}
