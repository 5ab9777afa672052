//! The log lines of scrapers that the metrics server cannot speak TLS with.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::warn;

/// Failed handshakes, of which the first of each kind is logged.
#[derive(Debug, Default)]
pub(super) struct HandshakeLog {
    plain: AtomicBool,
    refused: AtomicBool,
}

impl HandshakeLog {
    /// Notes that the handshake with `peer` failed.
    pub fn failed(&self, peer: IpAddr, reason: &rustls::Error) {
        match reason {
            rustls::Error::InvalidMessage(_) if !self.plain.swap(true, Ordering::Relaxed) => warn!(
                "metrics: {peer} speaks plain HTTP or another protocol to the port of metrics.listen, \
                 which speaks TLS, and gets no answer; the scraper must use https:// (in Prometheus \
                 scheme: https) (logged once)"
            ),
            rustls::Error::AlertReceived(alert) if !self.refused.swap(true, Ordering::Relaxed) => {
                warn!(
                    "metrics: {peer} ends the TLS handshake ({alert:?}) and gets no answer; the scraper \
                     must trust the certificate of metrics.tls_certificate_file, under the name by which \
                     it asks (logged once)"
                );
            }
            _ => {}
        }
    }
}
