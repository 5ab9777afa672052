//! The `Authorization` header of requests to the API server, and the secrets that must not be shown.
//!
//! The client library gets no token: its own layers panic on one that no header may hold, and read a
//! rotated file only once a minute.

use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::header::HeaderValue;
use tracing::{info, warn};

use crate::mask::Mask;
use crate::quantity::WallTime;
use crate::small_file::{self, Stamp, TokenError, TokenFault};

/// Credentials of a plugin are renewed this long before they expire, in milliseconds.
const RENEWAL_MS: u64 = 60_000;

/// The credentials of a client.
#[derive(Debug, Default)]
pub(super) struct Credentials {
    header: Option<HeaderValue>,
    file: Option<TokenFile>,
    /// The time after which the plugin has to be asked again.
    expires_at: Option<WallTime>,
    /// The present token, then the one before: an answer may come late.
    secrets: [Option<String>; 2],
}

#[derive(Debug)]
struct TokenFile {
    path: PathBuf,
    stamp: Option<Stamp>,
    /// The log has the error of the last read.
    is_logged: bool,
}

impl Credentials {
    /// A token from a file, which is read again when it changes.
    ///
    /// # Errors
    /// The file cannot be read, or holds no token.
    pub(super) fn of_file(path: PathBuf) -> Result<Self, TokenError> {
        // Taken before the read: a later change shows at the next request.
        let stamp = Stamp::read(&path).ok();
        let token = small_file::read_token(&path)?;
        let file = Some(TokenFile { path, stamp, is_logged: false });
        Ok(Self { file, ..Self::bearer(token) })
    }

    /// A token that stays as it is.
    ///
    /// # Errors
    /// The text is no token.
    pub(super) fn of_text(text: &str) -> Result<Self, TokenFault> {
        Ok(Self::bearer(small_file::trimmed_token(text)?.to_owned()))
    }

    /// A user with a password.
    pub(super) fn basic(user: &str, password: &str) -> Self {
        let encoded = BASE64_STANDARD.encode(format!("{user}:{password}"));
        let secrets = [Some(encoded.clone()), Some(password.to_owned())];
        Self { header: sensitive(&format!("Basic {encoded}")), secrets, ..Self::default() }
    }

    fn bearer(token: String) -> Self {
        let header = sensitive(&format!("Bearer {token}"));
        Self { header, secrets: [Some(token), None], ..Self::default() }
    }

    pub(super) fn expiring_at(self, expires_at: Option<WallTime>) -> Self {
        Self { expires_at, ..self }
    }

    /// True if a new client with new credentials is due.
    pub(super) fn is_expired(&self, now: WallTime) -> bool {
        let now = now.as_unix_millis().saturating_add(RENEWAL_MS);
        self.expires_at.is_some_and(|at| at.as_unix_millis() <= now)
    }

    /// The header of the next request. A token file that has changed is read first; without a token
    /// in it, the last one stays in use.
    pub(super) fn header(&mut self) -> Option<HeaderValue> {
        self.look();
        self.header.clone()
    }

    fn look(&mut self) {
        let Some(file) = &mut self.file else { return };
        let stamp = Stamp::read(&file.path).ok();
        if stamp == file.stamp {
            return;
        }
        file.stamp = stamp;
        match small_file::read_token(&file.path) {
            Ok(token) => {
                if std::mem::take(&mut file.is_logged) {
                    let path = file.path.display();
                    info!("identity source kubernetes: the token file {path} is read again");
                }
                self.header = sensitive(&format!("Bearer {token}"));
                let [present, before] = &mut self.secrets;
                if present.as_ref() != Some(&token) {
                    *before = present.replace(token);
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut file.is_logged, true) {
                    warn!("identity source kubernetes: {error}; the last token stays in use");
                }
            }
        }
    }

    /// The secrets that an answer may repeat.
    pub(super) fn mask(&self) -> Mask {
        Mask::new(self.secrets.iter().flatten().cloned())
    }
}

/// A header that `Debug` does not show. `None` cannot happen: tokens and base64 are graphic ASCII.
fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotated_file_is_read_at_the_next_request_and_a_bad_one_leaves_the_last_token() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "first-token\n").unwrap();
        let mut credentials = Credentials::of_file(path.clone()).unwrap();
        let sent = |credentials: &mut Credentials| {
            credentials.header().unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(sent(&mut credentials), "Bearer first-token");
        let replace = |text: &str| {
            std::fs::write(dir.path().join("new"), text).unwrap();
            std::fs::rename(dir.path().join("new"), &path).unwrap();
        };
        replace("two\nlines");
        assert_eq!(sent(&mut credentials), "Bearer first-token");
        replace("second-token");
        assert_eq!(sent(&mut credentials), "Bearer second-token");
        let masked = credentials.mask().apply("first-token, second-token");
        assert_eq!(masked, "(hidden), (hidden)");
    }

    #[test]
    fn credentials_are_renewed_a_minute_before_they_expire() {
        let at = |secs: u64| WallTime::from_unix_millis(secs * 1000);
        let credentials = Credentials::of_text(" t0ken\r\n").unwrap().expiring_at(Some(at(1000)));
        assert!(!credentials.is_expired(at(939)));
        assert!(credentials.is_expired(at(940)));
        assert!(!Credentials::default().is_expired(at(u64::MAX / 1000)));
    }

    #[test]
    fn a_password_is_masked_plain_and_encoded() {
        // base64 of agent:hunter2, made with base64(1).
        let mut credentials = Credentials::basic("agent", "hunter2");
        let header = credentials.header().unwrap();
        assert_eq!(header.to_str().unwrap(), "Basic YWdlbnQ6aHVudGVyMg==");
        assert!(header.is_sensitive());
        let masked = credentials.mask().apply("no hunter2: YWdlbnQ6aHVudGVyMg==");
        assert_eq!(masked, "no (hidden): (hidden)");
    }
}
