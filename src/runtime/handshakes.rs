//! The log lines of clients that a server of this process cannot speak TLS with.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::warn;

/// Failed handshakes of one server, of which the first of each kind is logged.
#[derive(Debug)]
pub struct HandshakeLog {
    /// The section of the server's settings, and the first word of a line.
    section: &'static str,
    /// Its clients, as in "the scraper".
    client: &'static str,
    /// Added to `https://`, for a client that is known.
    hint: &'static str,
    plain: AtomicBool,
    refused: AtomicBool,
}

impl HandshakeLog {
    #[must_use]
    pub const fn of_metrics() -> Self {
        Self::of("metrics", "the scraper", " (in Prometheus scheme: https)")
    }

    #[must_use]
    pub const fn of_receiver() -> Self {
        Self::of("receiver", "the client", " (an agent in the url of its endpoint)")
    }

    const fn of(section: &'static str, client: &'static str, hint: &'static str) -> Self {
        let (plain, refused) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { section, client, hint, plain, refused }
    }

    /// Notes that the handshake with `peer` failed.
    pub fn failed(&self, peer: IpAddr, reason: &rustls::Error) {
        let Self { section, client, hint, .. } = self;
        match reason {
            rustls::Error::InvalidMessage(_) if !self.plain.swap(true, Ordering::Relaxed) => warn!(
                "{section}: {peer} speaks plain HTTP or another protocol to the port of \
                 {section}.listen, which speaks TLS, and gets no answer; {client} must use \
                 https://{hint} (logged once)"
            ),
            rustls::Error::AlertReceived(alert) if !self.refused.swap(true, Ordering::Relaxed) => {
                warn!(
                    "{section}: {peer} ends the TLS handshake ({alert:?}) and gets no answer; {client} \
                     must trust the certificate of {section}.tls_certificate_file, under the name by \
                     which it asks (logged once)"
                );
            }
            _ => {}
        }
    }
}
