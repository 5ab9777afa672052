//! The address of an endpoint.

use std::fmt;
use std::net::Ipv6Addr;

use reqwest::Url;

/// An http or https URL without a user, a password or a fragment.
///
/// Its query may hold a key, so `Display` and `Debug` hide it; only [`EndpointUrl::as_url`] has it.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointUrl(Url);

impl EndpointUrl {
    /// # Errors
    /// The reason why the text is no such URL; the text is not quoted.
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        // The parser would drop line breaks and tabs, and encode spaces.
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(InvalidUrl::Space);
        }
        // The parser would also accept `http:host` and `http:\host`.
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(InvalidUrl::NotAUrl);
        };
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(InvalidUrl::Scheme);
        }
        let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
        if authority.is_empty() {
            // The parser would treat the first part of the path as the host.
            return Err(InvalidUrl::NoHost);
        }
        if authority.contains('@') {
            return Err(InvalidUrl::User);
        }
        // The parser takes it for a name, and no lookup of that would tell why it fails.
        if authority.contains("$(") {
            return Err(InvalidUrl::Variable);
        }
        let in_brackets =
            with_brackets(authority).map(|bracketed| text.replacen(authority, &bracketed, 1));
        let text = in_brackets.as_deref().unwrap_or(text);
        let url = Url::parse(text).map_err(|error| InvalidUrl::Malformed(error.to_string()))?;
        if url.fragment().is_some() {
            return Err(InvalidUrl::Fragment);
        }
        Ok(Self(url))
    }

    /// The whole URL, query included: for sending, not for showing.
    #[must_use]
    pub fn as_url(&self) -> &Url {
        &self.0
    }
}

/// A bare IPv6 address in brackets, with its port. Kubernetes puts a node's address into a variable
/// without brackets, so `https://$(HOST_IP):10250` comes as `https://fd00::7:10250`. Behind the last
/// colon is a port where the rest is an address. `None`: the authority is no such address.
fn with_brackets(authority: &str) -> Option<String> {
    let is_address = |text: &str| text.parse::<Ipv6Addr>().is_ok();
    if let Some((host, port)) = authority.rsplit_once(':')
        && is_address(host)
        && port.parse::<u16>().is_ok()
    {
        return Some(format!("[{host}]:{port}"));
    }
    is_address(authority).then(|| format!("[{authority}]"))
}

/// The reason why a text is no URL of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    #[error("holds a space or control character")]
    Space,
    #[error("not a URL")]
    NotAUrl,
    #[error("not a URL ({0})")]
    Malformed(String),
    #[error("neither http nor https")]
    Scheme,
    #[error(
        "must be file:// and an absolute path without a host, such as file:///var/log/x.ndjson"
    )]
    File,
    #[error("must be \"stdout:\" alone")]
    Stdout,
    #[error("names no host")]
    NoHost,
    #[error(
        "has a variable `$(…)` that Kubernetes did not replace: define that one before the one with \
         this URL"
    )]
    Variable,
    #[error(
        "names a user or password, which belongs into a file: name that file in \
         endpoint.bearer_token_file"
    )]
    User,
    #[error("has a fragment, which is never sent")]
    Fragment,
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.query().is_none() {
            return f.write_str(self.0.as_str());
        }
        let mut shown = self.0.clone();
        shown.set_query(Some("hidden"));
        f.write_str(shown.as_str())
    }
}

impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EndpointUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_reaches_the_server_but_no_eye() {
        let url = EndpointUrl::parse("https://host/base?key=secret").unwrap();
        assert_eq!(url.to_string(), "https://host/base?hidden");
        assert_eq!(format!("{url:?}"), "EndpointUrl(https://host/base?hidden)");
        assert_eq!(url.as_url().query(), Some("key=secret"));
    }

    #[test]
    fn a_bare_ipv6_address_gets_its_brackets() {
        for (text, whole) in [
            ("https://fd00::7:10250", "https://[fd00::7]:10250/"),
            ("https://::1:10250", "https://[::1]:10250/"),
            ("https://2001:db8:1:2:3:4:5:6:10250", "https://[2001:db8:1:2:3:4:5:6]:10250/"),
            ("https://2001:db8:1:2:3:4:5:6", "https://[2001:db8:1:2:3:4:5:6]/"),
            ("https://fd00::a:b/pods?x=fd00::7:1", "https://[fd00::a:b]/pods?hidden"),
            ("https://::ffff:192.0.2.7:10250/x", "https://[::ffff:c000:207]:10250/x"),
            ("https://[fd00::7]:10250", "https://[fd00::7]:10250/"),
            ("https://192.0.2.7:10250", "https://192.0.2.7:10250/"),
            ("https://node-1:10250", "https://node-1:10250/"),
        ] {
            assert_eq!(EndpointUrl::parse(text).unwrap().to_string(), whole, "{text}");
        }
        for text in ["https://fd00::7:99999", "https://fd00:::b", "https://a::b::c:1"] {
            assert!(EndpointUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_the_url_parser_would_repair_is_refused() {
        for (text, reason) in [
            ("host:5000", "not a URL"),
            ("http:host", "not a URL"),
            ("http://ho st", "holds a space or control character"),
            ("http://host\n", "holds a space or control character"),
            ("ftp://host", "neither http nor https"),
            ("http://", "names no host"),
            ("http:///user:pw@host", "names no host"),
            ("http:\\\\user:pw@host", "not a URL"),
            ("http://:80", "not a URL (empty host)"),
            ("http://host:99999", "not a URL (invalid port number)"),
            ("http://host/#top", "has a fragment, which is never sent"),
        ] {
            assert_eq!(EndpointUrl::parse(text).unwrap_err().to_string(), reason, "{text}");
        }
        for text in ["https://$(HOST_IP):10250", "https://[$(HOST_IP)]:10250", "http://$(HOST)"] {
            assert_eq!(EndpointUrl::parse(text).unwrap_err(), InvalidUrl::Variable, "{text}");
        }
        for text in ["http://user:pw@host", "http://user@host", "http://@host/x"] {
            let reason = EndpointUrl::parse(text).unwrap_err().to_string();
            assert!(reason.starts_with("names a user or password"), "{text}: {reason}");
        }
        let url = EndpointUrl::parse("HTTP://[::1]:5000/@user").unwrap();
        assert_eq!(url.to_string(), "http://[::1]:5000/@user");
    }
}
