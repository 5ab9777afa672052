//! The place that an endpoint's samples go to.

use std::fmt;
use std::path::PathBuf;

use reqwest::Url;

use super::endpoint_url::{EndpointUrl, InvalidUrl};

/// A server, standard output or a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// An http or https URL.
    Http(EndpointUrl),
    /// `stdout:`
    Stdout,
    /// `file:///PATH`
    File(PathBuf),
}

impl Destination {
    /// # Errors
    /// The reason why the text is none of them; the text is not quoted.
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        if text == "stdout:" {
            return Ok(Self::Stdout);
        }
        match text.split_once(':') {
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("file") => file(text).map(Self::File),
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("stdout") => Err(InvalidUrl::Stdout),
            _ => EndpointUrl::parse(text).map(Self::Http),
        }
    }

    /// `true` for an https URL.
    #[must_use]
    pub fn is_https(&self) -> bool {
        matches!(self, Self::Http(url) if url.as_url().scheme() == "https")
    }
}

/// The path in a URL of a file.
fn file(text: &str) -> Result<PathBuf, InvalidUrl> {
    // The parser would drop line breaks and tabs, and encode spaces.
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(InvalidUrl::Space);
    }
    // The parser would also accept `file:path`, and a host.
    let Some((_, path)) = text.split_once("://") else { return Err(InvalidUrl::File) };
    if !path.starts_with('/') || path.ends_with('/') || path.contains(['?', '#', '\\']) {
        return Err(InvalidUrl::File);
    }
    let url = Url::parse(text).map_err(|error| InvalidUrl::Malformed(error.to_string()))?;
    let path = url.to_file_path().map_err(|()| InvalidUrl::File)?;
    // `/..` ends at the root, and `%00` is in no path.
    let is_named = path.file_name().is_some() && !path.as_os_str().as_encoded_bytes().contains(&0);
    if is_named { Ok(path) } else { Err(InvalidUrl::File) }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => url.fmt(f),
            Self::Stdout => f.write_str("stdout:"),
            Self::File(path) => match Url::from_file_path(path) {
                Ok(url) => f.write_str(url.as_str()),
                // It is absolute.
                Err(()) => write!(f, "file://{}", path.display()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_read_as_it_is_shown() {
        for text in [
            "stdout:",
            "file:///var/log/nodetally.ndjson",
            "file:///a%20b/c%25",
            "http://host:5000/base",
        ] {
            let destination = Destination::parse(text).unwrap();
            assert_eq!(destination.to_string(), text);
        }
        let path = |text: &str| match Destination::parse(text) {
            Ok(Destination::File(path)) => path.display().to_string(),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(path("file:///a%20b/c"), "/a b/c");
        assert_eq!(path("FILE:///a/../b"), "/b");
        assert!(Destination::parse("https://host").unwrap().is_https());
        assert!(!Destination::parse("http://host").unwrap().is_https());
    }

    #[test]
    fn what_is_near_a_destination_is_refused() {
        for text in [
            "file:/var/log/x",
            "file:x",
            "file://host/x",
            "file://localhost/x",
            "file:///",
            "file:///dir/",
            "file:///..",
            "file:///x?y",
            "file:///x#y",
            "file:///x%00y",
            "file://",
        ] {
            assert_eq!(Destination::parse(text), Err(InvalidUrl::File), "{text}");
        }
        for text in ["stdout:/x", "stdout://", "STDOUT:"] {
            assert_eq!(Destination::parse(text), Err(InvalidUrl::Stdout), "{text}");
        }
        assert_eq!(Destination::parse("file:///a b"), Err(InvalidUrl::Space));
        assert_eq!(Destination::parse("ftp://host"), Err(InvalidUrl::Scheme));
        assert_eq!(Destination::parse("stdout"), Err(InvalidUrl::NotAUrl));
    }
}
