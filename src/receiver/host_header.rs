//! The check of the `Host` header.
//!
//! A page in a browser on this host can resolve its own name to 127.0.0.1, and read and write what is
//! served there (DNS rebinding). Its requests carry that name.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::header::HOST;
use axum::http::{HeaderMap, StatusCode};

/// Why a request is refused by its `Host` header; `None`: it is not. `is_loopback`: it came to a
/// loopback address, where only `localhost` and addresses are this host.
#[must_use]
pub fn host_fault(headers: &HeaderMap, is_loopback: bool) -> Option<(StatusCode, &'static str)> {
    let mut hosts = headers.get_all(HOST).iter();
    // HTTP/1.0 has none, and no browser speaks that.
    let host = hosts.next()?;
    if hosts.next().is_some() {
        return Some((StatusCode::BAD_REQUEST, "there are two Host headers; send one"));
    }
    (is_loopback && !is_own(host.as_bytes())).then_some((
        StatusCode::FORBIDDEN,
        "the Host header names another host: ask for an IP address or localhost",
    ))
}

fn is_own(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    if let Some(address) = host.strip_prefix('[') {
        let address = address.split_once(']').map(|(address, _)| address);
        return address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(hosts: &[&str], is_loopback: bool) -> Option<u16> {
        let hosts = hosts.iter().map(|host| (HOST, host.parse().unwrap()));
        host_fault(&hosts.collect(), is_loopback).map(|(status, _)| status.as_u16())
    }

    #[test]
    fn only_addresses_and_localhost_are_this_host() {
        for own in ["127.0.0.1", "127.0.0.1:7644", "localhost:7644", "LocalHost", "[::1]:7644"] {
            assert_eq!(status(&[own], true), None, "{own}");
        }
        let others = ["evil.example", "127.0.0.1.evil.example:7644", "localhost.evil.example", ""];
        for other in others.into_iter().chain(["[::1", "[evil.example]", "\u{e9}"]) {
            assert_eq!(status(&[other], true), Some(403), "{other}");
            assert_eq!(status(&[other], false), None, "{other}, to an address of the network");
        }
    }

    #[test]
    fn two_hosts_are_refused_everywhere_and_none_is_not() {
        for is_loopback in [true, false] {
            assert_eq!(status(&["localhost", "localhost"], is_loopback), Some(400));
            assert_eq!(status(&[], is_loopback), None);
        }
    }
}
