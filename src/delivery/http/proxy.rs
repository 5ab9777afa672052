//! The proxy of an endpoint.

use std::fmt;
use std::net::IpAddr;

use hyper_util::client::proxy::matcher::Matcher;
use percent_encoding::percent_decode_str;
use reqwest::header::HeaderValue;
use reqwest::{NoProxy, Url};

use super::base_url::BaseUrl;
use super::error::HttpError;

/// The usual variables for proxies; empty where they are not set.
///
/// The values may hold passwords, so `Debug` does not show them.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Proxies {
    /// `http_proxy`: for http:// URLs.
    pub http: String,
    /// `https_proxy`: for https:// URLs.
    pub https: String,
    /// `all_proxy`: for URLs of both kinds that have no proxy of their own.
    pub all: String,
    /// `no_proxy`: names (with their subdomains), addresses and networks that are reached directly.
    pub none_for: String,
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = |value: &str| if value.is_empty() { "not set" } else { "(hidden)" };
        f.debug_struct("Proxies")
            .field("http", &set(&self.http))
            .field("https", &set(&self.https))
            .field("all", &set(&self.all))
            .field("none_for", &self.none_for)
            .finish()
    }
}

impl Proxies {
    /// Reads the variables, lower case before upper case; `variable` returns the value of one.
    pub fn of_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |name: &str| {
            let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
            let value = set(name).or_else(|| set(&name.to_ascii_uppercase()));
            value.map_or(String::new(), |value| value.trim().to_owned())
        };
        Self {
            http: first("http_proxy"),
            https: first("https_proxy"),
            all: first("all_proxy"),
            none_for: first("no_proxy"),
        }
    }

    /// The proxy for `base`; `None`: it is reached directly, as this host always is.
    ///
    /// # Errors
    /// The variable names no usable proxy; its value is not repeated.
    pub(super) fn for_base(&self, base: &BaseUrl) -> Result<Option<Proxy>, HttpError> {
        let (variable, value) = match base.is_https() {
            true if !self.https.is_empty() => ("https_proxy", &self.https),
            false if !self.http.is_empty() => ("http_proxy", &self.http),
            _ => ("all_proxy", &self.all),
        };
        if value.is_empty() || is_own(&base.host()) {
            return Ok(None);
        }
        let unusable = || HttpError::ProxyVariable(variable);
        let destination = base.origin().parse().map_err(|_| unusable())?;
        // Without the list this checks the value, with it whether it applies.
        let usable = Matcher::builder().all(value).build().intercept(&destination);
        let usable = usable.ok_or_else(unusable)?;
        if !matches!(usable.uri().scheme_str(), Some("http" | "https")) {
            return Err(unusable());
        }
        let matcher = Matcher::builder().all(value).no(&self.none_for).build();
        if matcher.intercept(&destination).is_none() {
            return Ok(None);
        }
        let url = Url::parse(&usable.uri().to_string()).map_err(|_| unusable())?;
        let authorization = usable.basic_auth().cloned();
        Ok(Some(Proxy { url, authorization, password: password(value) }))
    }
}

/// True for this host itself, which no proxy could reach.
fn is_own(host: &str) -> bool {
    let name = host.trim_end_matches('.');
    let own_name =
        name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost");
    own_name || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// The password as written; empty where there is none.
fn password(proxy: &str) -> String {
    let behind_scheme = proxy.split_once("://").map_or(proxy, |(_, rest)| rest);
    let user = behind_scheme.rsplit_once('@').map_or("", |(user, _)| user);
    user.split_once(':').map_or("", |(_, password)| password).to_owned()
}

/// A proxy. `Display` and `Debug` do not show its credentials.
#[derive(Clone)]
pub(super) struct Proxy {
    url: Url,
    /// From the user and password of the variable.
    authorization: Option<HeaderValue>,
    password: String,
}

impl Proxy {
    pub(super) const fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// The password as written and decoded.
    pub(super) fn secrets(&self) -> Vec<String> {
        let meant = percent_decode_str(&self.password).decode_utf8_lossy().into_owned();
        vec![self.password.clone(), meant]
    }

    pub(super) fn for_client(&self) -> Result<reqwest::Proxy, HttpError> {
        let failed = |error: reqwest::Error| HttpError::ProxyUrl {
            proxy: self.to_string(),
            source: error.without_url(),
        };
        let mut proxy = reqwest::Proxy::all(self.url.clone()).map_err(failed)?;
        if let Some(authorization) = &self.authorization {
            proxy = proxy.custom_http_auth(authorization.clone());
        }
        // `for_base` has decided that it is used.
        Ok(proxy.no_proxy(None::<NoProxy>))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url.origin().ascii_serialization())
    }
}

/// The route to an endpoint.
#[derive(Clone, Copy)]
pub(super) struct Route<'a> {
    proxy: Option<&'a Proxy>,
    /// The proxy forwards encrypted bytes.
    is_tunnel: bool,
}

impl<'a> Route<'a> {
    pub(super) fn to(base: &BaseUrl, proxy: Option<&'a Proxy>) -> Self {
        Self { proxy, is_tunnel: base.is_https() }
    }

    /// An answer may be the proxy's own.
    pub(super) const fn ends_at_proxy(self) -> bool {
        self.proxy.is_some() && !self.is_tunnel
    }

    /// A text on an answer or failure, with the proxy that may be its cause.
    pub(super) fn describe(self, reason: String) -> String {
        match self.proxy {
            Some(proxy) if reason.is_empty() => {
                format!("no reason given (through the proxy {proxy})")
            }
            Some(proxy) => format!("{reason} (through the proxy {proxy})"),
            None => reason,
        }
    }

    /// The text on a proxy that wants credentials, as for a tunnel.
    pub(super) fn refused(self) -> String {
        self.describe("proxy authentication required".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(variables: &[(&str, &str)], base: &str) -> Result<Option<String>, String> {
        let of = |name: &str| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let base = BaseUrl::parse(base).unwrap();
        let proxy = Proxies::of_variables(of).for_base(&base);
        let proxy = proxy.map_err(|error| error.to_string())?;
        Ok(proxy.map(|proxy| proxy.to_string()))
    }

    fn some(text: &str) -> Result<Option<String>, String> {
        Ok(Some(text.to_owned()))
    }

    #[test]
    fn the_variable_for_the_scheme_comes_before_that_for_all() {
        let variables = [
            ("http_proxy", "http://plain:3128"),
            ("HTTP_PROXY", "http://capital:1"),
            ("HTTPS_PROXY", "secure:3129"),
            ("all_proxy", "https://any"),
        ];
        assert_eq!(proxy(&variables, "http://a"), some("http://plain:3128"));
        assert_eq!(proxy(&variables, "https://a"), some("http://secure:3129"));
        assert_eq!(proxy(&variables[3..], "http://a"), some("https://any"));
        // One that is set to nothing is not set.
        assert_eq!(
            proxy(&[("http_proxy", ""), variables[1]], "http://a"),
            some("http://capital:1")
        );
        assert_eq!(proxy(&[], "http://a"), Ok(None));
    }

    #[test]
    fn the_own_host_and_what_no_proxy_names_are_reached_directly() {
        for base in [
            "http://127.0.0.1:7643",
            "http://127.3.2.1",
            "http://[::1]:5000",
            "http://[::ffff:127.0.0.1]",
            "http://localhost:5000",
            "http://LOCALHOST.",
            "http://db.localhost",
        ] {
            assert_eq!(proxy(&[("all_proxy", "http://p:1")], base), Ok(None), "{base}");
        }
        let listed = [("all_proxy", "http://p:1"), ("NO_PROXY", "example.com, 10.0.0.0/8,.svc")];
        for base in
            ["http://example.com", "https://a.example.com", "http://10.2.3.4", "http://a.svc"]
        {
            assert_eq!(proxy(&listed, base), Ok(None), "{base}");
        }
        for base in ["http://notexample.com", "http://11.2.3.4", "http://localhost.example"] {
            assert_eq!(proxy(&listed, base), some("http://p:1"), "{base}");
        }
        let all = [("all_proxy", "http://p:1"), ("no_proxy", "*")];
        assert_eq!(proxy(&all, "http://example.com"), Ok(None));
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_its_password() {
        for value in ["socks5://u:hunter2@p:1", "ftp://u:hunter2@p", "http://u:hunter2@", "a b"] {
            let error = proxy(&[("https_proxy", value)], "https://a").unwrap_err();
            assert!(error.starts_with("the variable https_proxy names no proxy"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
            // Whoever has no use for it is not told.
            assert_eq!(proxy(&[("https_proxy", value)], "http://a"), Ok(None));
            assert_eq!(proxy(&[("https_proxy", value)], "https://127.0.0.1"), Ok(None));
        }
        let variables = [("https_proxy", "http://u:hunter2@p:3128")];
        assert_eq!(proxy(&variables, "https://a"), some("http://p:3128"));
        let proxies = Proxies { https: variables[0].1.to_owned(), ..Proxies::default() };
        assert!(!format!("{proxies:?}").contains("hunter2"));
    }
}
