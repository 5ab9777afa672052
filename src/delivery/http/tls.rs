//! TLS to an endpoint: the certificate it must have, and the client's own.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::dns::{Name, Resolve, Resolving};
use reqwest::{Certificate, ClientBuilder, Identity};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;

use super::base_url::BaseUrl;
use super::error::{HttpError, TlsCause};
use crate::small_file::{self, Stamp};

/// The largest file: a bundle of CAs has some hundred kilobytes.
const FILE_BYTES_MAX: usize = 1 << 20;

/// The TLS settings of an endpoint. By default the system's CAs and the host of the URL count, and
/// the client has no certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// PEM: only the CAs in it are trusted.
    pub ca_file: Option<PathBuf>,
    pub client_certificate: Option<ClientCertificate>,
    /// A DNS name that is asked for (SNI), expected in the certificate and sent as `Host`. The
    /// connection still goes to the URL's host.
    pub server_name: Option<String>,
}

/// The client's certificate and key, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The client's certificate, then intermediate ones.
    pub certificate_file: PathBuf,
    /// Not encrypted.
    pub key_file: PathBuf,
}

/// The contents of the files.
pub(super) struct TlsMaterial {
    roots: Option<Vec<Certificate>>,
    identity: Option<Identity>,
}

impl Tls {
    /// The stamps of the files.
    pub(super) fn stamps(&self) -> Vec<Option<Stamp>> {
        let client = self.client_certificate.iter();
        let client = client.flat_map(|client| [&client.certificate_file, &client.key_file]);
        self.ca_file.iter().chain(client).map(|path| Stamp::read(path).ok()).collect()
    }

    /// Reads the files.
    ///
    /// # Errors
    /// A file cannot be read or used, or a setting contradicts the URL; in one line.
    pub(super) fn read(&self, base: &BaseUrl) -> Result<TlsMaterial, HttpError> {
        if !base.is_https() && *self != Self::default() {
            return Err(HttpError::TlsUnused);
        }
        let roots = self.ca_file.as_deref().map(read_roots).transpose()?;
        let identity = self.client_certificate.as_ref().map(read_identity).transpose()?;
        Ok(TlsMaterial { roots, identity })
    }

    /// The base URL with `server_name` as its host.
    ///
    /// # Errors
    /// The name is no DNS name.
    pub(super) fn named(&self, base: &BaseUrl) -> Result<BaseUrl, HttpError> {
        let Some(name) = &self.server_name else { return Ok(base.clone()) };
        let is_name = matches!(ServerName::try_from(name.as_str()), Ok(ServerName::DnsName(_)));
        let named = base.with_host(name).filter(|named| {
            // The URL parser may read a name as an address (`0x7f.1`).
            is_name && named.host().parse::<IpAddr>().is_err()
        });
        named.ok_or(HttpError::ServerName)
    }

    /// Sets up `builder` for connections to `base`.
    pub(super) fn apply(
        &self,
        mut builder: ClientBuilder,
        base: &BaseUrl,
        material: TlsMaterial,
    ) -> ClientBuilder {
        let TlsMaterial { roots, identity } = material;
        if !base.is_https() {
            // Without redirects no TLS can follow, so the system's certificates are not read. This
            // saves memory, and works in an image without any.
            return builder.tls_certs_only([]);
        }
        if let Some(roots) = roots {
            builder = builder.tls_certs_only(roots);
        }
        if let Some(identity) = identity {
            builder = builder.identity(identity);
        }
        match &self.server_name {
            Some(_) => builder.dns_resolver(Arc::new(FixedHost(base.host()))),
            None => builder,
        }
    }
}

/// A resolver that returns the addresses of one host for any name.
struct FixedHost(String);

impl Resolve for FixedHost {
    fn resolve(&self, _: Name) -> Resolving {
        let host = self.0.clone();
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((host, 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Box<_>)
        })
    }
}

fn read_file(what: &'static str, path: &Path) -> Result<Vec<u8>, HttpError> {
    let read = small_file::read(path, FILE_BYTES_MAX);
    Ok(read.map_err(|error| unusable(what, path, "cannot be read", Some(error.into())))?.0)
}

fn unusable(
    what: &'static str,
    path: &Path,
    fault: impl Into<String>,
    source: Option<TlsCause>,
) -> HttpError {
    HttpError::TlsFile { what, path: path.to_owned(), fault: fault.into(), source }
}

fn certificates(
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    let pem = read_file(what, path)?;
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(what, path, "is no PEM", Some(error.into())))?;
    if certificates.is_empty() {
        return Err(unusable(what, path, "holds no certificate (PEM)", None));
    }
    Ok(certificates)
}

fn read_roots(path: &Path) -> Result<Vec<Certificate>, HttpError> {
    let mut store = RootCertStore::empty();
    let mut roots = Vec::new();
    for (at, root) in certificates("CA", path)?.into_iter().enumerate() {
        let invalid = |source: TlsCause| {
            let fault = format!("cannot be used, its certificate {} is none", at + 1);
            unusable("CA", path, fault, Some(source))
        };
        // The client's own error would not name the certificate.
        store.add(root.clone()).map_err(|error| invalid(error.into()))?;
        roots.push(Certificate::from_der(&root).map_err(|error| invalid(error.into()))?);
    }
    Ok(roots)
}

fn read_identity(client: &ClientCertificate) -> Result<Identity, HttpError> {
    let (chain_path, key_path) = (&client.certificate_file, &client.key_file);
    let chain = certificates("client certificate", chain_path)?;
    let pem = read_file("client key", key_path)?;
    let unusable = |fault: &str, source| unusable("client key", key_path, fault, source);
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        // An encrypted key is PEM of another kind, and skipped.
        let is_encrypted = pem.windows(9).any(|word| word == b"ENCRYPTED");
        let fault = if is_encrypted {
            "is encrypted; allowed: a key without a passphrase"
        } else {
            "holds no private key (PEM)"
        };
        unusable(fault, None)
    })?;
    let fault = format!("cannot be used with the certificate in {}", chain_path.display());
    if let Some(provider) = CryptoProvider::get_default() {
        CertifiedKey::from_der(chain.clone(), key.clone_key(), provider).map_err(|error| {
            if matches!(error, rustls::Error::InconsistentKeys(_)) {
                unusable(&format!("{fault}: it is the key of another one"), None)
            } else {
                unusable(&fault, Some(error.into()))
            }
        })?;
    }
    // Other sections of the two files would become part of the identity, such as a second key.
    let label = match &key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    let chain = chain.iter().map(|certificate| section("CERTIFICATE", certificate));
    let pem: String = std::iter::once(section(label, key.secret_der())).chain(chain).collect();
    Identity::from_pem(pem.as_bytes()).map_err(|error| unusable(&fault, Some(error.into())))
}

/// One section of a PEM file.
fn section(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}
