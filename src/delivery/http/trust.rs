//! The trust between the agent and an endpoint: token, certificates and proxy.

use super::base_url::BaseUrl;
use super::error::HttpError;
use super::proxy::{Proxies, Proxy};
use super::tls::{Tls, TlsMaterial};
use super::token::{Credential, SecretHeader};
use crate::small_file::Stamp;

/// The credentials, TLS settings and proxies of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointTrust {
    /// `None`: requests have no token.
    pub credential: Option<Credential>,
    /// Further headers whose values are in files.
    pub header_files: Vec<Credential>,
    pub tls: Tls,
    pub proxies: Proxies,
}

impl EndpointTrust {
    /// Reads all files that an endpoint at `url` needs, as a check.
    ///
    /// # Errors
    /// The first thing that cannot be read or used, in one line without secrets.
    pub fn check(&self, url: &BaseUrl) -> Result<(), HttpError> {
        ConnectionParts::read(self, url).map(|_| ())
    }

    /// The proxy for `url`, without its credentials; `None`: there is none, or none that can be
    /// used.
    #[must_use]
    pub fn proxy_for(&self, url: &BaseUrl) -> Option<String> {
        let proxy = self.proxies.for_base(url).ok().flatten()?;
        Some(proxy.to_string())
    }
}

/// The values read from files and variables for one client.
pub(super) struct ConnectionParts {
    pub(super) secrets: Vec<SecretHeader>,
    pub(super) material: TlsMaterial,
    /// The stamps of the TLS files before they were read.
    pub(super) stamps: Vec<Option<Stamp>>,
    pub(super) proxy: Option<Proxy>,
    /// With the name that the server goes by.
    pub(super) base: BaseUrl,
}

impl ConnectionParts {
    /// Reads them.
    ///
    /// # Errors
    /// The first one that cannot be read or used.
    pub(super) fn read(trust: &EndpointTrust, url: &BaseUrl) -> Result<Self, HttpError> {
        // An error means that a provider is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let credentials = trust.credential.iter().chain(&trust.header_files);
        let secrets = credentials.map(SecretHeader::read).collect::<Result<_, _>>()?;
        let stamps = trust.tls.stamps();
        let material = trust.tls.read(url)?;
        let base = trust.tls.named(url)?;
        let proxy = trust.proxies.for_base(url)?;
        if proxy.is_some() && trust.tls.server_name.is_some() {
            // The proxy would be asked for the server by that name.
            return Err(HttpError::ServerNameThroughProxy);
        }
        Ok(Self { secrets, material, stamps, proxy, base })
    }
}
