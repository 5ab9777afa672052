//! `nodetally config`: the settings as resolved, as TOML, each line with the origin of its value.
//!
//! The output reads again as the same settings, but for the query of an endpoint's URL, which may
//! hold a key and is hidden.

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use crate::config::keys::{self, ENDPOINT};
use crate::config::{Key, Origins, Settings, is_credential_elsewhere, one_line};

/// The state of a token's file, without the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenState {
    Set,
    Empty,
    /// Not readable, for this reason.
    Unreadable(String),
    /// In the directory of credentials of the service, which this process does not have.
    Elsewhere,
}

impl TokenState {
    /// The state of the file at `path`, of which only the beginning is read.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "a token's file is no file of the kernel's")]
    pub fn of_file(path: &Path) -> Self {
        if is_credential_elsewhere(path) {
            return Self::Elsewhere;
        }
        // Opening a FIFO would wait for a writer.
        let opened = fs::metadata(path).and_then(|metadata| {
            if metadata.is_file() {
                fs::File::open(path)
            } else {
                Err(std::io::Error::other("not a regular file"))
            }
        });
        let mut start = Vec::new();
        match opened.and_then(|file| file.take(4096).read_to_end(&mut start)) {
            Err(reason) => Self::Unreadable(reason.to_string()),
            Ok(_) if start.trim_ascii().is_empty() => Self::Empty,
            Ok(_) => Self::Set,
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Set => "token: set (hidden)".to_owned(),
            Self::Empty => "token: empty".to_owned(),
            Self::Unreadable(reason) => format!("token: unreadable ({reason})"),
            Self::Elsewhere => "token: a credential of the service, not readable here".to_owned(),
        }
    }
}

/// The settings as TOML. `token_state` describes a token's file, usually
/// [`TokenState::of_file`].
#[must_use]
pub fn render(settings: &Settings, token_state: impl Fn(&Path) -> TokenState) -> String {
    let mut page = ConfigPage::default();
    for section in keys::sections() {
        if section != ENDPOINT {
            let note = if section == "receiver" && !settings.uses_embedded_receiver() {
                "  # off while an endpoint is configured"
            } else {
                ""
            };
            page.header(&format!("[{section}]{note}"));
            page.section(section, &settings.origins, |_| None);
            continue;
        }
        if settings.uses_embedded_receiver() {
            page.header("# no [[endpoint]]: `run` starts the receiver below and sends to it");
        }
        for endpoint in &settings.endpoints {
            page.header("[[endpoint]]");
            page.section(section, &endpoint.origins, |key| {
                let file = endpoint.bearer_token_file.as_deref()?;
                (*key == keys::ENDPOINT_BEARER_TOKEN_FILE).then(|| token_state(file).shown())
            });
        }
    }
    page.text
}

#[derive(Default)]
struct ConfigPage {
    text: String,
}

impl ConfigPage {
    fn header(&mut self, header: &str) {
        let blank = if self.text.is_empty() { "" } else { "\n" };
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(self.text, "{blank}{header}");
    }

    /// The keys of a section, each with its value and origin. `remark` adds to the comment of one.
    fn section(
        &mut self,
        section: &str,
        origins: &Origins,
        remark: impl Fn(&Key) -> Option<String>,
    ) {
        for key in keys::in_section(section) {
            let Some(value) = origins.value_of(key) else {
                let _ = writeln!(self.text, "# {}: {}", key.name, key.default_text());
                continue;
            };
            let assignment = format!("{} = {value}", key.name);
            let remark = remark(key).map_or(String::new(), |remark| format!("; {remark}"));
            let comment = one_line(&format!("{}{remark}", origins.of(key)));
            let _ = writeln!(self.text, "{assignment:<36}  # {comment}");
        }
    }
}
