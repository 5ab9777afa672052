//! The token of an endpoint.

use std::fmt;
use std::path::{Path, PathBuf};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tracing::{info, warn};

use super::error::HttpError;
use crate::small_file::{self, Stamp};

/// A text that `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// The source of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// A file with only the token; read again when it changes.
    File(PathBuf),
    /// A file with the whole value of the header, which may have spaces; read again when it changes.
    Whole(PathBuf),
    /// A variable of the environment, read at the start.
    Held { variable: String, token: SecretText },
}

impl TokenSource {
    fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) | Self::Whole(path) => Some(path),
            Self::Held { .. } => None,
        }
    }
}

/// A token and its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// `Authorization` has it as `Bearer`, any other header bare.
    pub header: String,
    pub token: TokenSource,
}

/// Adds a header whose value `Debug` does not show.
///
/// # Errors
/// Name or value is not allowed in an HTTP header; the message does not have the value.
pub fn secret_header(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), HttpError> {
    let (name, value) = secret(name, value)?;
    headers.insert(name, value);
    Ok(())
}

fn secret(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), HttpError> {
    let name = HeaderName::try_from(name)
        .map_err(|source| HttpError::HeaderName { name: name.to_owned(), source })?;
    let mut value = HeaderValue::try_from(value)
        .map_err(|source| HttpError::HeaderValue { name: name.clone(), source })?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// A token, or another header's value, as read last.
#[derive(Debug)]
pub(super) struct SecretHeader {
    credential: Credential,
    header: (HeaderName, HeaderValue),
    /// The stamp of its file at the last check.
    stamp: Option<Stamp>,
    /// The log has the error of the last read.
    logged: bool,
}

impl SecretHeader {
    /// Reads the token.
    ///
    /// # Errors
    /// It cannot be read or sent; in one line, without the token.
    pub(super) fn read(credential: &Credential) -> Result<Self, HttpError> {
        let (stamp, token) = match &credential.token {
            TokenSource::File(path) => {
                // Taken before the read: a later change shows at the next check.
                let stamp = Stamp::read(path).ok();
                (stamp, small_file::read_token(path)?)
            }
            TokenSource::Whole(path) => {
                (Stamp::read(path).ok(), small_file::read_header_value(path)?)
            }
            TokenSource::Held { variable, token: SecretText(text) } => {
                let token = small_file::trimmed_token(text).map_err(|fault| {
                    HttpError::TokenVariable { variable: variable.clone(), fault }
                })?;
                (None, token.to_owned())
            }
        };
        let name = &credential.header;
        let is_whole = matches!(credential.token, TokenSource::Whole(_));
        let value = if name.eq_ignore_ascii_case("authorization") && !is_whole {
            format!("Bearer {token}")
        } else {
            token
        };
        let header = secret(name, &value)?;
        Ok(Self { credential: credential.clone(), header, stamp, logged: false })
    }

    /// The header that is sent.
    pub(super) fn header(&self) -> (HeaderName, HeaderValue) {
        self.header.clone()
    }

    /// Reads the file again if it has changed.
    pub(super) fn look(&mut self, endpoint: &str) {
        let Some(path) = self.credential.token.path() else { return };
        if Stamp::read(path).ok() != self.stamp {
            self.read_again(endpoint);
        }
    }

    /// Reads the file again. Without a valid token in it, the last one stays in use.
    pub(super) fn read_again(&mut self, endpoint: &str) {
        let Some(path) = self.credential.token.path() else { return };
        match Self::read(&self.credential) {
            Ok(read) => {
                if self.logged {
                    info!("endpoint {endpoint}: the token file {} is read again", path.display());
                }
                *self = read;
            }
            Err(reason) => {
                self.stamp = Stamp::read(path).ok();
                if !self.logged {
                    self.logged = true;
                    warn!("endpoint {endpoint}: {reason}; the last token stays in use");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_stays_out_of_debug_and_out_of_errors() {
        let mut headers = HeaderMap::new();
        secret_header(&mut headers, "Authorization", "Bearer hunter2").unwrap();
        assert!(!format!("{headers:?}").contains("hunter2"));
        let error = secret_header(&mut headers, "X-API-Key", "hunter2\n");
        let error = error.unwrap_err().to_string();
        assert!(error.contains("x-api-key") && !error.contains("hunter2"), "{error}");

        let retained = |token: &str| Credential {
            header: "Authorization".to_owned(),
            token: TokenSource::Held {
                variable: "KEY".to_owned(),
                token: SecretText::new(token.to_owned()),
            },
        };
        assert!(!format!("{:?}", retained("hunter2")).contains("hunter2"));
        let token = SecretHeader::read(&retained("hunter2\n")).unwrap();
        assert_eq!(token.header().1.to_str().unwrap(), "Bearer hunter2");
        assert!(!format!("{token:?}").contains("hunter2"));
        for (text, fault) in [
            ("", "it is empty"),
            (" ", "it is empty"),
            ("hunter2\nhunter2", "it has a line break inside"),
            ("hunter2 hunter2", "it has white space inside"),
            ("hunter2\u{e9}", "it has a character that is not ASCII"),
        ] {
            let error = SecretHeader::read(&retained(text)).unwrap_err();
            assert_eq!(error.to_string(), format!("the variable KEY holds no token: {fault}"));
        }
    }

    #[test]
    fn a_file_is_read_when_it_changes_and_the_last_token_outlives_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "first\n").unwrap();
        let source = TokenSource::File(path.clone());
        let credential = Credential { header: "X-API-Key".to_owned(), token: source };
        let mut token = SecretHeader::read(&credential).unwrap();
        let sent = |token: &SecretHeader| token.header().1.to_str().unwrap().to_owned();
        assert_eq!(sent(&token), "first");
        for gone in [true, false] {
            if gone {
                std::fs::remove_file(&path).unwrap();
            } else {
                std::fs::write(&path, "\n").unwrap();
            }
            token.look("central");
            assert_eq!(sent(&token), "first");
            assert!(token.logged);
        }
        let other = dir.path().join("other");
        std::fs::write(&other, "second").unwrap();
        std::fs::rename(&other, &path).unwrap();
        token.look("central");
        assert_eq!(sent(&token), "second");
        assert!(!token.logged);
    }
}
