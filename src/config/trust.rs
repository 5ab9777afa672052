//! The part of `[[endpoint]]` about TLS, tokens from the environment and compression.

use std::path::PathBuf;

use super::choices::Compression;
use super::destination::Destination;
use super::error::ConfigError;
use super::headers::{Header, HeaderFile};
use super::keys::{self, Key};
use super::layer::Resolver;
use crate::payload::dialect::Dialect;

/// The identity that an endpoint must have, the credentials that it is shown beside a token's file,
/// and the encoding of bodies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustSettings {
    /// The variable that holds the token, where no file does.
    pub bearer_token_env: Option<String>,
    /// The CAs that are trusted; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    pub client_certificate: Option<ClientCertificateFiles>,
    /// A DNS name; `None`: the URL's host.
    pub server_name: Option<String>,
    pub compression: Compression,
    /// Headers of every request.
    pub headers: Vec<Header>,
    /// The same with values in files.
    pub header_files: Vec<HeaderFile>,
}

/// The files of a client certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificateFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl TrustSettings {
    /// The names of the headers of each key.
    pub(super) fn header_names(&self) -> [(&'static Key, Vec<&str>); 2] {
        let of_files = self.header_files.iter().map(|header| header.name.as_str());
        [
            (
                &keys::ENDPOINT_HEADERS,
                self.headers.iter().map(|header| header.name.as_str()).collect(),
            ),
            (&keys::ENDPOINT_HEADER_FILES, of_files.collect()),
        ]
    }

    /// `url` is the endpoint's.
    pub(super) fn resolve(
        resolver: &mut Resolver<'_>,
        dialect: Dialect,
        url: &Destination,
    ) -> Result<Self, ConfigError> {
        let bearer_token_env = resolver.find(&keys::ENDPOINT_BEARER_TOKEN_ENV)?;
        let ca_file = resolver.find(&keys::ENDPOINT_CA_FILE)?;
        let certificate = resolver.find(&keys::ENDPOINT_CLIENT_CERTIFICATE_FILE)?;
        let key = resolver.find(&keys::ENDPOINT_CLIENT_KEY_FILE)?;
        let server_name = resolver.find(&keys::ENDPOINT_SERVER_NAME)?;
        let usual =
            if dialect.profile().gzip_by_default { Compression::Gzip } else { Compression::None };
        let compression = resolver.get_or(&keys::ENDPOINT_COMPRESSION, usual)?;
        let headers: Option<Vec<Header>> = resolver.find(&keys::ENDPOINT_HEADERS)?;
        let header_files: Option<Vec<HeaderFile>> = resolver.find(&keys::ENDPOINT_HEADER_FILES)?;
        let (headers, header_files) =
            (headers.unwrap_or_default(), header_files.unwrap_or_default());
        let is_in_headers = |file: &HeaderFile| {
            headers.iter().any(|header| header.name.eq_ignore_ascii_case(&file.name))
        };
        if header_files.iter().any(is_in_headers) {
            let reason = "one of them is in headers too";
            return Err(resolver.conflict(&keys::ENDPOINT_HEADER_FILES, reason));
        }

        let file = &keys::ENDPOINT_BEARER_TOKEN_FILE;
        if bearer_token_env.is_some() && resolver.is_set(file) {
            let reason = format!("{} is set too ({})", file.path(), resolver.origins.of(file));
            return Err(resolver.conflict(&keys::ENDPOINT_BEARER_TOKEN_ENV, &reason));
        }
        let of_tls = [
            &keys::ENDPOINT_CA_FILE,
            &keys::ENDPOINT_CLIENT_CERTIFICATE_FILE,
            &keys::ENDPOINT_CLIENT_KEY_FILE,
            &keys::ENDPOINT_SERVER_NAME,
        ];
        if !url.is_https()
            && let Some(key) = of_tls.into_iter().find(|key| resolver.is_set(key))
        {
            return Err(resolver.conflict(key, "the URL is none of TLS"));
        }
        let client_certificate = match (certificate, key) {
            (Some(certificate), Some(key)) => Some(ClientCertificateFiles { certificate, key }),
            (None, None) => None,
            (Some(_), None) => {
                let key = &keys::ENDPOINT_CLIENT_CERTIFICATE_FILE;
                return Err(resolver.conflict(key, "its key is missing"));
            }
            (None, Some(_)) => {
                let key = &keys::ENDPOINT_CLIENT_KEY_FILE;
                return Err(resolver.conflict(key, "its certificate is missing"));
            }
        };
        if let Some(reason) = dialect.profile().uncompressed_because
            && compression != Compression::None
        {
            return Err(resolver.conflict(&keys::ENDPOINT_COMPRESSION, reason));
        }
        Ok(Self {
            bearer_token_env,
            ca_file,
            client_certificate,
            server_name,
            compression,
            headers,
            header_files,
        })
    }
}
