//! One POST over HTTP: where it goes, who vouches for whom on the way, and what its answer means.

mod answer;
mod base_url;
mod connection;
mod encoding;
mod failure;
mod mask;
mod proxy;
mod sender;
mod tls;
mod token;

pub use base_url::{BaseUrl, UrlError};
pub use encoding::BodyEncoding;
pub use proxy::Proxies;
pub use sender::Getter;
pub use tls::{ClientCertificate, Tls};
pub use token::{Credential, SecretText, TokenSource, secret_header};

pub(super) use answer::PostOutcome;
pub(super) use sender::{Sender, Sent};

/// The credentials, TLS settings and proxies of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointTrust {
    /// `None`: requests have no token.
    pub credential: Option<Credential>,
    pub tls: Tls,
    pub proxies: Proxies,
}

impl EndpointTrust {
    /// Reads all files that an endpoint at `url` needs, as a check.
    ///
    /// # Errors
    /// The first thing that cannot be read or used, in one line without secrets.
    pub fn check(&self, url: &BaseUrl) -> Result<(), String> {
        connection::ConnectionParts::read(self, url).map(|_| ())
    }

    /// The proxy for `url`, without its credentials; `None`: there is none, or none that can be
    /// used.
    #[must_use]
    pub fn proxy_for(&self, url: &BaseUrl) -> Option<String> {
        let proxy = self.proxies.for_base(url).ok().flatten()?;
        Some(proxy.to_string())
    }
}
