//! The conditions under which a receiver answers, from its settings: TLS, tokens, or neither.

use std::net::SocketAddr;
use std::sync::Arc;

use super::certificate::{self, CertificateKeys};
use super::error::{AccessError, AgentError};
use super::handshakes::HandshakeLog;
use super::sources;
use crate::clock;
use crate::config::{ReceiverSettings, Settings};
use crate::directory::kubernetes::TokenReviewer;
use crate::endpoint::client::seed;
use crate::receiver::{
    AUDIENCE, FrontProxy, OnFailedHandshake, ReceiverAccess, ReviewedUser, TokenReviews, TokensFile,
};

/// Reads the files of `[receiver]`.
///
/// # Errors
/// A file cannot be used, or other hosts reach the address and something is missing that keeps them out.
pub fn open(settings: &Settings) -> Result<ReceiverAccess, AgentError> {
    let receiver = &settings.receiver;
    if let Some(missing) = missing(receiver).filter(|_| !receiver.insecure) {
        return Err(AgentError::Exposed { address: receiver.listen, missing });
    }
    let reviewer = receiver.token_review.then(|| token_reviews(settings));
    Ok(ReceiverAccess { token_reviews: reviewer, ..of_files(receiver)? })
}

/// The API server that the directory's settings name, as it is asked for tokens.
fn token_reviews(settings: &Settings) -> TokenReviews {
    let access = sources::api_access(settings);
    let (clock, wall_clock) = (clock::boot_time, clock::wall_time);
    let reviewer = TokenReviewer::new(access, clock, wall_clock, seed(&settings.node.name));
    let reviewer = Arc::new(reviewer);
    TokenReviews::new(Arc::new(move |token| {
        let reviewer = Arc::clone(&reviewer);
        Box::pin(async move {
            let answer = reviewer.review(&token, AUDIENCE).await;
            let user = answer.map_err(|error| error.to_string())?;
            Ok(user.map(|user| ReviewedUser { name: user.name, node_name: user.node_name }))
        })
    }))
}

fn of_files(receiver: &ReceiverSettings) -> Result<ReceiverAccess, AccessError> {
    let front_proxy = receiver
        .front_proxy
        .as_ref()
        .map(|settings| FrontProxy::open(&settings.client_ca_file, settings.allowed_names.clone()));
    let front_proxy = front_proxy.transpose()?;
    let clients = front_proxy.as_ref().map(FrontProxy::of_handshake);
    let of_tls =
        |files| certificate::server_config(CertificateKeys::RECEIVER, files, clients.clone());
    let tls = receiver.tls.as_ref().map(of_tls).transpose()?;
    let tokens = receiver.tokens_file.as_deref().map(TokensFile::open).transpose()?;
    Ok(ReceiverAccess { tls, tokens, front_proxy, token_reviews: None })
}

/// The reason why the receiver cannot answer as configured, for `check`; `None`: there is none.
#[must_use]
pub fn fault(settings: &Settings) -> Option<AgentError> {
    open(settings).err()
}

/// The keys that are not set and would keep strangers out; `None`: no stranger reaches the address, or
/// all are set.
fn missing(receiver: &ReceiverSettings) -> Option<&'static str> {
    if !receiver.is_exposed() {
        return None;
    }
    match (receiver.tls.is_some(), receiver.tokens_file.is_some()) {
        (true, true) => None,
        (true, false) => Some("receiver.tokens_file"),
        (false, true) => Some("receiver.tls_certificate_file and receiver.tls_key_file"),
        (false, false) => {
            Some("receiver.tls_certificate_file, receiver.tls_key_file and receiver.tokens_file")
        }
    }
}

/// The sentence on a receiver that strangers reach; `None`: there is nothing to say.
#[must_use]
pub fn exposure(receiver: &ReceiverSettings) -> Option<&'static str> {
    missing(receiver)?;
    Some(match (receiver.tls.is_some(), receiver.tokens_file.is_some()) {
        (false, true) => {
            "it has no TLS: whoever is on the way reads tokens and figures, and can use the tokens"
        }
        (true, _) => "it asks for no token: whoever reaches it reads and writes",
        (false, false) => {
            "it has no TLS and asks for no token: whoever reaches it reads and writes"
        }
    })
}

/// Logs the first failed handshakes.
#[must_use]
pub fn on_failed_handshake() -> OnFailedHandshake {
    let log = HandshakeLog::of_receiver();
    Arc::new(move |peer, reason| log.failed(peer, reason))
}

/// `https` with TLS, else `http`.
#[must_use]
pub fn url(receiver: &ReceiverSettings, reached: SocketAddr) -> String {
    let scheme = if receiver.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{reached}/")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::ServerCertificateFiles;

    fn settings(address: &str, has_tls: bool, has_tokens: bool) -> ReceiverSettings {
        let files = || ServerCertificateFiles { certificate: "/c".into(), key: "/k".into() };
        ReceiverSettings {
            listen: address.parse().unwrap(),
            tls: has_tls.then(files),
            tokens_file: has_tokens.then(|| "/t".into()),
            front_proxy: None,
            token_review: false,
            insecure: true,
            store: None,
            retention: Duration::from_secs(3600),
            stale_after: Duration::from_secs(60),
        }
    }

    #[test]
    fn an_address_that_others_reach_needs_tls_and_tokens() {
        for (address, is_exposed) in [
            ("127.0.0.1:7643", false),
            ("127.8.8.8:7643", false),
            ("[::1]:7643", false),
            ("[::ffff:127.0.0.1]:7643", false),
            ("0.0.0.0:7643", true),
            ("[::]:7643", true),
            ("192.0.2.1:7643", true),
        ] {
            assert_eq!(
                missing(&settings(address, false, false)).is_some(),
                is_exposed,
                "{address}"
            );
        }
        let named = |has_tls, has_tokens| {
            let settings = settings("0.0.0.0:1", has_tls, has_tokens);
            assert_eq!(exposure(&settings).is_some(), missing(&settings).is_some());
            let keys = missing(&settings).unwrap_or_default();
            (keys.contains("receiver.tls_key_file"), keys.contains("receiver.tokens_file"))
        };
        assert_eq!(named(false, false), (true, true));
        assert_eq!(named(true, false), (false, true));
        assert_eq!(named(false, true), (true, false));
        assert_eq!(named(true, true), (false, false));
    }
}
