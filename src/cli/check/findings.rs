//! The findings of `check`, one line each.

use std::borrow::Cow;

use crate::source::root::ReadFailure;

/// The state of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Present,
    /// A remark; nothing is missing.
    Noted,
    Absent,
    Denied,
    Failed,
}

impl State {
    pub(super) fn of_failure(failure: ReadFailure) -> Self {
        match failure {
            ReadFailure::Absent | ReadFailure::Gone => Self::Absent,
            ReadFailure::Denied => Self::Denied,
            ReadFailure::TooLarge | ReadFailure::Failed(_) => Self::Failed,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Noted => "note",
            Self::Absent => "absent",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// The part of the report that a finding is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    /// Where figures come from.
    Sources,
    /// Where names come from.
    Names,
    /// The agent's own files and addresses.
    Agent,
    /// Where samples go.
    Endpoints,
}

impl Group {
    pub(super) const ALL: [Self; 4] = [Self::Sources, Self::Names, Self::Agent, Self::Endpoints];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Sources => "sources",
            Self::Names => "names",
            Self::Agent => "agent",
            Self::Endpoints => "endpoints",
        }
    }
}

/// One line of the report, with a hint.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) group: Group,
    pub(super) state: State,
    pub(super) source: String,
    pub(super) consequence: String,
    /// The hint behind `would help:`; empty if there is none.
    pub(super) help: Cow<'static, str>,
    /// The agent cannot work without this source.
    pub(super) vital: bool,
}

/// The findings so far, and the part of the report that the next ones are in.
pub(super) struct Findings {
    pub(super) all: Vec<Finding>,
    pub(super) group: Group,
}

impl Default for Findings {
    fn default() -> Self {
        Self { all: Vec::new(), group: Group::Sources }
    }
}

impl Findings {
    pub(super) fn add(
        &mut self,
        state: State,
        source: &str,
        consequence: impl ToString,
    ) -> &mut Finding {
        self.all.push(Finding {
            group: self.group,
            state,
            source: source.to_owned(),
            consequence: consequence.to_string(),
            help: Cow::Borrowed(""),
            vital: false,
        });
        let last = self.all.len() - 1;
        &mut self.all[last]
    }
}
