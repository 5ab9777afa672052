//! The certificate of a server, read again when its files change.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tracing::{info, warn};

use super::error::CertificateError;
use crate::config::ServerCertificateFiles;
use crate::small_file::{self, Stamp};

/// The largest file: a chain of certificates has some kilobytes.
const FILE_BYTES_MAX: usize = 1 << 20;

/// The words for the settings of a server's certificate.
#[derive(Debug, Clone, Copy)]
pub struct CertificateKeys {
    section: &'static str,
    certificate: &'static str,
    key: &'static str,
}

impl CertificateKeys {
    pub const METRICS: Self = Self {
        section: "metrics",
        certificate: "metrics.tls_certificate_file",
        key: "metrics.tls_key_file",
    };
    pub const RECEIVER: Self = Self {
        section: "receiver",
        certificate: "receiver.tls_certificate_file",
        key: "receiver.tls_key_file",
    };
}

/// The TLS of a server that shows the certificate in `files`. `clients` checks certificates of clients;
/// `None`: they are asked for none.
///
/// # Errors
/// A file cannot be read or used; in one line, with the key of the setting.
pub fn server_config(
    keys: CertificateKeys,
    files: &ServerCertificateFiles,
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<Arc<ServerConfig>, CertificateError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let stamps = stamps(files);
    let certificate = read(keys, files, &provider)?;
    let shown = Shown { certificate, stamps, logged: false };
    let reader = CertificateReader {
        keys,
        files: files.clone(),
        provider: Arc::clone(&provider),
        shown: shown.into(),
    };
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.map_err(|source| CertificateError::Unusable {
        key: keys.key,
        path: files.key.clone(),
        fault: "cannot be used",
        source: Some(source),
    })?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => builder.with_client_cert_verifier(clients),
    };
    let mut config = builder.with_cert_resolver(Arc::new(reader));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A session that is kept to be resumed would keep the client's certificates.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Shows the certificate that the files held at the last handshake.
struct CertificateReader {
    keys: CertificateKeys,
    files: ServerCertificateFiles,
    provider: Arc<CryptoProvider>,
    shown: Mutex<Shown>,
}

struct Shown {
    certificate: Arc<CertifiedKey>,
    /// The stamps of the files when they were read last.
    stamps: [Option<Stamp>; 2],
    /// The log has the error of the last read.
    logged: bool,
}

impl fmt::Debug for CertificateReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateReader").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for CertificateReader {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = stamps(&self.files);
        if stamps != shown.stamps {
            shown.stamps = stamps;
            match read(self.keys, &self.files, &self.provider) {
                Ok(certificate) => {
                    info!(
                        "{}: the certificate {} is read again",
                        self.keys.section,
                        self.files.certificate.display()
                    );
                    (shown.certificate, shown.logged) = (certificate, false);
                }
                Err(reason) if !shown.logged => {
                    shown.logged = true;
                    warn!("{reason}; the last certificate stays in use");
                }
                Err(_) => {}
            }
        }
        Some(Arc::clone(&shown.certificate))
    }
}

fn stamps(files: &ServerCertificateFiles) -> [Option<Stamp>; 2] {
    [&files.certificate, &files.key].map(|path| Stamp::read(path).ok())
}

fn read(
    keys: CertificateKeys,
    files: &ServerCertificateFiles,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, CertificateError> {
    let pem = read_file(keys.certificate, &files.certificate)?;
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| CertificateError::Unusable {
        key: keys.certificate,
        path: files.certificate.clone(),
        fault: "holds no certificate; allowed: PEM",
        source: None,
    })?;
    let unusable = |fault, source| CertificateError::Unusable {
        key: keys.key,
        path: files.key.clone(),
        fault,
        source,
    };
    let pem = read_file(keys.key, &files.key)?;
    let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        // An encrypted key is PEM of another kind, and skipped.
        let is_encrypted = pem.windows(9).any(|word| word == b"ENCRYPTED");
        let fault = if is_encrypted {
            "is encrypted; allowed: a key without a passphrase"
        } else {
            "holds no private key; allowed: PEM"
        };
        unusable(fault, None)
    })?;
    let certified = CertifiedKey::from_der(chain, private, provider);
    certified.map(Arc::new).map_err(|error| {
        if matches!(error, rustls::Error::InconsistentKeys(_)) {
            unusable("is the key of another certificate", None)
        } else {
            unusable("cannot be used with the certificate", Some(error))
        }
    })
}

fn read_file(key: &'static str, path: &Path) -> Result<Vec<u8>, CertificateError> {
    match small_file::read(path, FILE_BYTES_MAX) {
        Ok((bytes, _)) => Ok(bytes),
        Err(source) => Err(CertificateError::Unreadable { key, path: path.to_owned(), source }),
    }
}
