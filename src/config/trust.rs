//! How an endpoint is known and what it is shown, as set and as resolved.

use std::path::PathBuf;

use super::choices::Compression;
use super::endpoint_url::EndpointUrl;
use super::error::ConfigError;
use super::keys::trust as keys;
use super::keys::{ENDPOINT_BEARER_TOKEN_FILE, Key};
use super::layer::{Layers, Origins, refused};
use super::value::{self, Raw};
use crate::payload::dialect::Dialect;

/// The part of `[[endpoint]]` that says who it must be, what it is shown besides a token's file,
/// and in which form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustSettings {
    /// The variable that holds the token, where no file does.
    pub bearer_token_env: Option<String>,
    /// Whose CAs are trusted; `None`: the system's.
    pub ca_file: Option<PathBuf>,
    pub client_certificate: Option<ClientCertificateFiles>,
    /// A DNS name; `None`: the URL's host.
    pub server_name: Option<String>,
    pub compression: Compression,
}

/// Two files that only mean something together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificateFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Of the endpoint at `url`; `credentials` is the directory that systemd hands them over in.
pub(super) fn trust(
    layers: &Layers,
    origins: &mut Origins,
    (dialect, url): (Dialect, &EndpointUrl),
    credentials: Option<&str>,
) -> Result<TrustSettings, ConfigError> {
    let bearer_token_env = layers.get(&keys::BEARER_TOKEN_ENV, origins, value::foreign_variable)?;
    let mut file = |key| layers.get(key, origins, |raw: &Raw| value::secret_path(raw, credentials));
    let ca_file = file(&keys::CA_FILE)?;
    let certificate = file(&keys::CLIENT_CERTIFICATE_FILE)?;
    let key = file(&keys::CLIENT_KEY_FILE)?;
    let server_name = layers.get(&keys::SERVER_NAME, origins, value::dns_name)?;
    let compression = layers.get_or(&keys::COMPRESSION, origins, Compression::None, |raw| {
        value::choice(raw, Compression::from_word)
    })?;

    let refused = |key: &Key, value: &str, reason: &str| {
        Err(refused(key, value, origins.of(key).clone(), reason))
    };
    if let Some(name) = &bearer_token_env
        && layers.is_set(&ENDPOINT_BEARER_TOKEN_FILE)
    {
        let file = &ENDPOINT_BEARER_TOKEN_FILE;
        let reason = format!("{} is set too ({})", file.path(), origins.of(file));
        return refused(&keys::BEARER_TOKEN_ENV, name, &reason);
    }
    let shown = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let of_tls = [
        (&keys::CA_FILE, shown(&ca_file)),
        (&keys::CLIENT_CERTIFICATE_FILE, shown(&certificate)),
        (&keys::CLIENT_KEY_FILE, shown(&key)),
        (&keys::SERVER_NAME, server_name.clone()),
    ];
    if url.as_url().scheme() != "https" {
        for (key, value) in of_tls {
            if let Some(value) = value {
                return refused(key, &value, "the URL is none of TLS");
            }
        }
    }
    let client_certificate = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(ClientCertificateFiles { certificate, key }),
        (None, None) => None,
        (Some(certificate), None) => {
            let value = certificate.display().to_string();
            return refused(&keys::CLIENT_CERTIFICATE_FILE, &value, "its key is missing");
        }
        (None, Some(key)) => {
            let value = key.display().to_string();
            return refused(&keys::CLIENT_KEY_FILE, &value, "its certificate is missing");
        }
    };
    if let Some(reason) = dialect.profile().uncompressed_because
        && compression != Compression::None
    {
        return refused(&keys::COMPRESSION, compression.as_str(), reason);
    }
    Ok(TrustSettings { bearer_token_env, ca_file, client_certificate, server_name, compression })
}
