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

/// One line of the report, with a hint.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) state: State,
    pub(super) source: String,
    pub(super) consequence: String,
    /// The hint behind `would help:`; empty if there is none.
    pub(super) help: Cow<'static, str>,
    /// The agent cannot work without this source.
    pub(super) vital: bool,
}

#[derive(Default)]
pub(super) struct Findings(pub(super) Vec<Finding>);

impl Findings {
    pub(super) fn add(
        &mut self,
        state: State,
        source: &str,
        consequence: impl ToString,
    ) -> &mut Finding {
        self.0.push(Finding {
            state,
            source: source.to_owned(),
            consequence: consequence.to_string(),
            help: Cow::Borrowed(""),
            vital: false,
        });
        let last = self.0.len() - 1;
        &mut self.0[last]
    }
}
