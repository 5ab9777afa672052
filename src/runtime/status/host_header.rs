//! The check of the `Host` header on a loopback address.
//!
//! A page in a browser on this host can resolve its own name to 127.0.0.1 and read what is served
//! there (DNS rebinding). Its requests carry that name.

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Answers 403 to a request for any other host than this one: a name that is not `localhost`.
pub(super) async fn check(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).map(|host| host.as_bytes());
    // HTTP/1.0 has none, and no browser speaks that.
    if host.is_none_or(is_own) {
        return next.run(request).await;
    }
    let text = "the Host header names another host: ask for an IP address or localhost\n";
    (StatusCode::FORBIDDEN, text).into_response()
}

fn is_own(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    if let Some(address) = host.strip_prefix('[') {
        let address = address.split_once(']').map(|(address, _)| address);
        return address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_are_this_host() {
        for own in ["127.0.0.1", "127.0.0.1:7644", "localhost:7644", "LocalHost", "[::1]:7644"] {
            assert!(is_own(own.as_bytes()), "{own}");
        }
        let others = ["evil.example", "127.0.0.1.evil.example:7644", "localhost.evil.example", ""];
        for other in others.into_iter().chain(["[::1", "[evil.example]", "\u{e9}"]) {
            assert!(!is_own(other.as_bytes()), "{other}");
        }
    }
}
