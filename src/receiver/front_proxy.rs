//! Requests that the cluster's API server passes on: it shows a certificate of the front-proxy CA, and
//! names the user whom it has authenticated and authorised in the header `X-Remote-User`.
//!
//! The handshake takes every client certificate, and checks only that the client has its key. Each request
//! checks the chain, the time and the name, as the files are now. So a CA that was taken out of the file
//! counts for open connections as well.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::http::HeaderMap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use thiserror::Error;
use tracing::{info, warn};
use webpki::EndEntityCert;

use super::common_name::decode_common_name;
use crate::quantity::WallTime;
use crate::small_file::{self, Stamp};

/// The largest file of CAs.
const FILE_BYTES_MAX: usize = 1 << 20;

/// The most bytes of a client's chain, and the most certificates beside its own. TLS keeps them with the
/// connection, and each request checks them.
const CHAIN_BYTES_MAX: usize = 16 << 10;
const INTERMEDIATES_MAX: usize = 4;

/// The header with the user's name. Groups and extra fields are not read: nothing depends on them.
const REMOTE_USER: &str = "x-remote-user";

/// A reason why a file gives no CA.
#[derive(Debug, Error)]
pub enum FrontProxyError {
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} {fault}", path.display())]
    Unusable { path: PathBuf, fault: String },
}

/// The reason why a request's `X-Remote-User` counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrontProxyFault {
    User,
    NoCertificate,
    Certificate,
    Name,
}

impl FrontProxyFault {
    /// The message of a request that has no other right.
    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::User => {
                "no valid token, and X-Remote-User counts for nothing: it must be there once and \
                 hold a name"
            }
            Self::NoCertificate => {
                "no valid token, and X-Remote-User counts for nothing: the client shows no \
                 certificate"
            }
            Self::Certificate => {
                "no valid token, and X-Remote-User counts for nothing: the client's certificate is \
                 not of receiver.requestheader_client_ca_file, or not valid now"
            }
            Self::Name => {
                "no valid token, and X-Remote-User counts for nothing: the common name of the \
                 client's certificate is not in receiver.requestheader_allowed_names"
            }
        }
    }
}

/// The CA of the front proxy, read again when its file changes, and the names that it may use.
#[derive(Debug)]
pub struct FrontProxy {
    ca_file: PathBuf,
    /// The common names of certificates that count; empty: all.
    allowed_names: Vec<String>,
    provider: Arc<CryptoProvider>,
    known: Mutex<KnownCa>,
}

#[derive(Debug)]
struct KnownCa {
    verifier: Arc<dyn ClientCertVerifier>,
    /// The stamp of the file when it was read last.
    stamp: Option<Stamp>,
    /// The log has the error of the last read.
    logged: bool,
}

impl FrontProxy {
    /// # Errors
    /// The file cannot be read or holds no certificate.
    pub fn open(ca_file: &Path, allowed_names: Vec<String>) -> Result<Self, FrontProxyError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let stamp = Stamp::read(ca_file).ok();
        let verifier = read(ca_file, &provider)?;
        let known = Mutex::new(KnownCa { verifier, stamp, logged: false });
        Ok(Self { ca_file: ca_file.to_owned(), allowed_names, provider, known })
    }

    /// The verifier for handshakes.
    #[must_use]
    pub fn of_handshake(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::new(OfferedCertificate(self.provider.signature_verification_algorithms))
    }

    /// The user of a request that the front proxy made; `None`: it names no user.
    pub(super) fn user(
        &self,
        certificates: &ClientCertificates,
        headers: &HeaderMap,
        now: WallTime,
    ) -> Result<Option<String>, FrontProxyFault> {
        let mut users = headers.get_all(REMOTE_USER).iter();
        let user = match (users.next(), users.next()) {
            (None, _) => return Ok(None),
            (Some(user), None) => user.to_str().ok().map(str::trim),
            _ => None,
        };
        let user = user.filter(|user| !user.is_empty()).ok_or(FrontProxyFault::User)?;
        let certificates = certificates.0.get().and_then(|all| all.split_first());
        let (own, others) = certificates.ok_or(FrontProxyFault::NoCertificate)?;
        let now =
            UnixTime::since_unix_epoch(std::time::Duration::from_millis(now.as_unix_millis()));
        let verified = self.verifier().verify_client_cert(own, others, now);
        verified.map_err(|_| FrontProxyFault::Certificate)?;
        if !self.allowed_names.is_empty() {
            let certificate = EndEntityCert::try_from(own).ok();
            let name = certificate.as_ref().and_then(|it| decode_common_name(it.subject()));
            let is_allowed = |name: &str| self.allowed_names.iter().any(|allowed| allowed == name);
            name.filter(|name| is_allowed(name)).ok_or(FrontProxyFault::Name)?;
        }
        Ok(Some(user.to_owned()))
    }

    /// The verifier of the CAs that the file holds now. If it cannot be used, the last ones count.
    fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = Stamp::read(&self.ca_file).ok();
        if stamp != known.stamp {
            known.stamp = stamp;
            match read(&self.ca_file, &self.provider) {
                Ok(verifier) => {
                    info!("receiver: {} is read again", self.ca_file.display());
                    (known.verifier, known.logged) = (verifier, false);
                }
                Err(reason) if !known.logged => {
                    known.logged = true;
                    warn!(
                        "receiver.requestheader_client_ca_file: {reason}; the last CA stays in use"
                    );
                }
                Err(_) => {}
            }
        }
        Arc::clone(&known.verifier)
    }
}

fn read(
    path: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, FrontProxyError> {
    let (pem, _) = small_file::read(path, FILE_BYTES_MAX)
        .map_err(|source| FrontProxyError::Unreadable { path: path.to_owned(), source })?;
    let unusable =
        |fault: &str| FrontProxyError::Unusable { path: path.to_owned(), fault: fault.to_owned() };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let added = certificate.ok().map(|certificate| roots.add(certificate));
        if !matches!(added, Some(Ok(()))) {
            return Err(unusable("holds a certificate that cannot be read"));
        }
    }
    if roots.is_empty() {
        return Err(unusable("holds no certificate; allowed: PEM"));
    }
    let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(provider));
    let verifier =
        builder.build().map_err(|error| unusable(&format!("cannot be used: {error}")))?;
    Ok(verifier)
}

/// The certificates that the client of a connection showed, its own first. They say nothing until they are
/// checked.
#[derive(Debug, Clone, Default)]
pub struct ClientCertificates(Arc<OnceLock<Vec<CertificateDer<'static>>>>);

impl ClientCertificates {
    /// Keeps the certificates of a handshake.
    pub(super) fn set(&self, certificates: &[CertificateDer<'static>]) {
        // The handshake is done once.
        let _ = self.0.set(certificates.to_vec());
    }
}

/// Asks each client for a certificate, and takes any or none.
#[derive(Debug)]
struct OfferedCertificate(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for OfferedCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None is named: an API server shows its certificate then too, also after its CA was replaced.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let bytes = own.len() + intermediates.iter().map(|one| one.len()).sum::<usize>();
        if intermediates.len() > INTERMEDIATES_MAX || bytes > CHAIN_BYTES_MAX {
            return Err(rustls::Error::General(format!(
                "the client's chain has {} certificates and {bytes} bytes; allowed: {} and \
                 {CHAIN_BYTES_MAX}",
                intermediates.len() + 1,
                INTERMEDIATES_MAX + 1
            )));
        }
        // It gives no right before `FrontProxy::user` has checked it.
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
