//! The conditions under which the metrics server answers: a token, and TLS.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, header};
use rustls::ServerConfig;
use tracing::{info, warn};

use crate::config::MetricsSettings;
use crate::runtime::certificate::{self, CertificateKeys};
use crate::runtime::error::AccessError;
use crate::small_file::{self, Stamp, TokenError};

/// The TLS and the token of the metrics server. A reload replaces them.
#[derive(Debug, Default)]
pub(super) struct MetricsAccess {
    /// `None`: connections are plain.
    pub tls: Option<Arc<ServerConfig>>,
    /// `None`: everybody may ask.
    token: Option<ServedToken>,
}

impl MetricsAccess {
    /// Reads the configured files.
    ///
    /// # Errors
    /// A file cannot be read or used.
    pub fn of(settings: &MetricsSettings) -> Result<Self, AccessError> {
        let of_tls = |files| certificate::server_config(CertificateKeys::METRICS, files, None);
        let tls = settings.tls.as_ref().map(of_tls).transpose()?;
        let token = settings.bearer_token_file.as_deref().map(ServedToken::read).transpose()?;
        Ok(Self { tls, token })
    }

    /// True if the request may be answered.
    pub fn admits(&self, headers: &HeaderMap) -> bool {
        self.token.as_ref().is_none_or(|token| token.is_in(headers))
    }

    /// The reason why the token is not safe on its way; `None` if it is.
    pub fn exposes_token(&self, settings: &MetricsSettings) -> Option<String> {
        let address = settings.listen.filter(|address| !address.ip().is_loopback())?;
        (self.token.is_some() && self.tls.is_none()).then(|| {
            format!(
                "metrics: the token goes over {address} unencrypted, and others on the network can \
                 read it; metrics.tls_certificate_file and metrics.tls_key_file encrypt it"
            )
        })
    }
}

/// The token that a request must carry, from a file that is read again when it changes.
struct ServedToken {
    path: PathBuf,
    known: Mutex<KnownToken>,
}

struct KnownToken {
    token: String,
    /// The stamp of the file when it was read last.
    stamp: Option<Stamp>,
    /// The log has the error of the last read.
    logged: bool,
}

impl fmt::Debug for ServedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServedToken").field("path", &self.path).finish_non_exhaustive()
    }
}

impl ServedToken {
    fn read(path: &Path) -> Result<Self, TokenError> {
        // Taken before the read: a later change shows at the next request.
        let stamp = Stamp::read(path).ok();
        let token = small_file::read_token(path)?;
        let known = Mutex::new(KnownToken { token, stamp, logged: false });
        Ok(Self { path: path.to_owned(), known })
    }

    /// True if the request carries the token that the file holds now. Without a valid one in it, the
    /// last one counts.
    fn is_in(&self, headers: &HeaderMap) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = Stamp::read(&self.path).ok();
        if stamp != known.stamp {
            known.stamp = stamp;
            match small_file::read_token(&self.path) {
                Ok(token) => {
                    info!("metrics: the token file {} is read again", self.path.display());
                    (known.token, known.logged) = (token, false);
                }
                Err(reason) if !known.logged => {
                    known.logged = true;
                    warn!("metrics.bearer_token_file: {reason}; the last token stays in use");
                }
                Err(_) => {}
            }
        }
        carried(headers).is_some_and(|carried| is_same(carried, known.token.as_bytes()))
    }
}

/// The token that a request carries. The name of the scheme has no case (RFC 9110, 11.1).
fn carried(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// Compares in a time that does not depend on the place of a difference.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    let differing = a.iter().zip(b).fold(0, |all, (a, b)| std::hint::black_box(all | (a ^ b)));
    a.len() == b.len() && differing == 0
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        headers
    }

    #[test]
    fn only_the_token_of_the_file_opens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "hunter2\n").unwrap();
        let token = ServedToken::read(&path).unwrap();
        for good in ["Bearer hunter2", "bearer hunter2", "BEARER  hunter2 "] {
            assert!(token.is_in(&headers(good)), "{good}");
        }
        let others = [
            "hunter2",
            "Basic hunter2",
            "Bearer",
            "Bearer ",
            "Bearer hunter",
            "Bearer hunter22",
            "",
        ];
        for bad in others.into_iter().chain(["Bearer hunter3", "Bearerhunter2"]) {
            assert!(!token.is_in(&headers(bad)), "{bad}");
        }
        assert!(!token.is_in(&HeaderMap::new()));
        assert!(!format!("{token:?}").contains("hunter2"));
    }

    #[test]
    fn a_changed_file_counts_at_once_and_a_bad_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "first").unwrap();
        let token = ServedToken::read(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        assert!(token.is_in(&headers("Bearer first")));
        assert!(token.known.lock().unwrap().logged);
        std::fs::remove_file(&path).unwrap();
        assert!(token.is_in(&headers("Bearer first")));
        std::fs::write(&path, "the second").unwrap();
        assert!(token.is_in(&headers("Bearer first")), "white space inside is no token");
        std::fs::write(&path, "second").unwrap();
        assert!(token.is_in(&headers("Bearer second")));
        assert!(!token.is_in(&headers("Bearer first")));
    }
}
