//! The base URL of an endpoint.

use reqwest::Url;
use thiserror::Error;

/// The base URL of an endpoint: scheme, host, port and an optional prefix of all paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(Url);

/// The error of an invalid base URL. The messages do not quote it, since it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UrlError {
    #[error("it is no URL: {0}; it must look like http://host:5000 or https://host/prefix")]
    NotUrl(String),
    #[error("the URL must begin with http:// or https://")]
    Scheme,
    #[error("the URL must not have a fragment (`#…`)")]
    Fragment,
    #[error("the URL must not hold a user name or password; give credentials as a header")]
    Credentials,
}

impl BaseUrl {
    /// Parses a base URL.
    ///
    /// # Errors
    /// The text is no http or https URL, or has a fragment or credentials.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let url = Url::parse(text).map_err(|error| UrlError::NotUrl(error.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError::Credentials);
        }
        if !matches!(url.scheme(), "http" | "https") {
            return Err(UrlError::Scheme);
        }
        if url.fragment().is_some() {
            return Err(UrlError::Fragment);
        }
        Ok(Self(url))
    }

    pub(super) fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The host as a name or address, IPv6 without brackets.
    pub(super) fn host(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        host.trim_start_matches('[').trim_end_matches(']').to_owned()
    }

    /// The same URL with another host; `None`: the name is no host.
    pub(super) fn with_host(&self, name: &str) -> Option<Self> {
        let mut url = self.0.clone();
        url.set_host(Some(name)).ok()?;
        Some(Self(url))
    }

    /// Scheme, host and port only.
    pub(super) fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// The values of its query, each as written and decoded.
    pub(super) fn query_values(&self) -> Vec<String> {
        let written = self.0.query().unwrap_or_default().split('&');
        let written = written.map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
        let meant = self.0.query_pairs().map(|(name, value)| {
            if value.is_empty() { name.into_owned() } else { value.into_owned() }
        });
        written.map(str::to_owned).chain(meant).collect()
    }

    /// The URL without `path`, if it ends in that.
    #[must_use]
    pub fn without_end(mut self, path: &str) -> Self {
        let base = self.0.path().trim_end_matches('/').strip_suffix(path).map(str::to_owned);
        if let Some(base) = base {
            self.0.set_path(&base);
        }
        self
    }

    /// The URL of a path; without one the base itself. The query of the base, which may hold a key,
    /// follows every path.
    pub(super) fn join(&self, path: &str) -> Url {
        if path.is_empty() {
            return self.0.clone();
        }
        let prefix = self.0.path().trim_end_matches('/');
        let slash = if path.starts_with('/') { "" } else { "/" };
        let joined = format!("{prefix}{slash}{path}");
        let mut url = self.0.clone();
        url.set_path(&joined);
        url
    }

    /// The URL of a path for people: without the query.
    pub(super) fn shown(&self, path: &str) -> String {
        Self(self.join(path)).to_string()
    }
}

impl std::fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = self.0.clone();
        if shown.query().is_some() {
            shown.set_query(Some("hidden"));
        }
        shown.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_posts_path_follows_the_bases_prefix() {
        let join = |base: &str, path: &str| BaseUrl::parse(base).unwrap().join(path).to_string();
        assert_eq!(
            join("http://host:5000", "/api/nodes/n/metrics"),
            "http://host:5000/api/nodes/n/metrics"
        );
        assert_eq!(join("http://host:5000/", "/api/x"), "http://host:5000/api/x");
        assert_eq!(join("https://host/in/take/", "/api/x"), "https://host/in/take/api/x");
        assert_eq!(join("http://host", "/api/a%2Fb%20c"), "http://host/api/a%2Fb%20c");
        for base in
            ["http://host/api/v1/write", "http://host/api/v1/push/?tenant=a", "http://host/"]
        {
            assert_eq!(join(base, ""), base);
        }
    }

    #[test]
    fn a_path_that_the_base_has_already_is_not_added_again() {
        for (base, expected) in [
            ("http://host:4318", "http://host:4318/v1/metrics"),
            ("http://host/v1/metrics", "http://host/v1/metrics"),
            ("http://host/otlp/v1/metrics/?key=k", "http://host/otlp/v1/metrics?key=k"),
            ("http://host/v1/metrics/x", "http://host/v1/metrics/x/v1/metrics"),
            ("http://host/xv1/metrics", "http://host/xv1/metrics/v1/metrics"),
        ] {
            let base = BaseUrl::parse(base).unwrap().without_end("/v1/metrics");
            assert_eq!(base.join("/v1/metrics").as_str(), expected);
        }
    }

    #[test]
    fn a_base_that_posts_cannot_go_to_is_refused_and_secrets_are_not_repeated() {
        for (text, part) in [
            ("host:5000", "http:// or https://"),
            ("central", "is no URL"),
            ("ftp://host", "http:// or https://"),
            ("http://host/#top", "fragment"),
            ("http://user:hunter2@host", "credentials"),
            ("http://user:hunter2@host:99999", "is no URL"),
            ("user:hunter2@host", "http:// or https://"),
        ] {
            let error = BaseUrl::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains("hunter2"));
        }
    }
}
