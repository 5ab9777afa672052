//! Certificates as tests need them: good ones, and those with one thing wrong.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::delivery_trust::write;

/// A certificate authority.
pub struct Ca {
    pub pem: String,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate signed by the authority, with its key.
pub struct Signed {
    pub certificate: String,
    pub key: String,
    der: (CertificateDer<'static>, PrivateKeyDer<'static>),
}

impl Ca {
    pub fn called(name: &str) -> Self {
        // An error means that one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let signed = params.self_signed(&key).unwrap();
        let (pem, certificate) = (signed.pem(), signed.der().clone());
        Self { pem, certificate, issuer: Issuer::new(params, key) }
    }

    pub fn signs(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Signed {
        self.signs_key(&KeyPair::generate().unwrap(), name, change)
    }

    /// For a key that may have other certificates.
    pub fn signs_key(
        &self,
        key: &KeyPair,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Signed {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(key, &self.issuer).unwrap();
        let der = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Signed {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: (certificate.der().clone(), der),
        }
    }

    /// A server's side of TLS with a certificate for this name.
    pub fn serves(&self, name: &str) -> ServerConfig {
        self.signs(name, |_| {}).serves(None)
    }

    pub fn file(&self, dir: &Path) -> PathBuf {
        let path = dir.join("ca.pem");
        write(&path, &self.pem);
        path
    }
}

impl Signed {
    /// A certificate that has signed itself, as a CA's or a server's.
    pub fn by_itself(name: &str, is_ca: bool) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        } else {
            params.is_ca = IsCa::ExplicitNoCa;
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let der = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Self {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: (certificate.der().clone(), der),
        }
    }

    /// `clients`: who must have signed what clients show.
    pub fn serves(&self, clients: Option<&Ca>) -> ServerConfig {
        let builder = match clients {
            None => ServerConfig::builder().with_no_client_auth(),
            Some(ca) => {
                let mut roots = RootCertStore::empty();
                roots.add(ca.certificate.clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
                ServerConfig::builder().with_client_cert_verifier(verifier)
            }
        };
        let (certificate, key) = (self.der.0.clone(), self.der.1.clone_key());
        builder.with_single_cert(vec![certificate], key).unwrap()
    }
}
