//! One POST and what its answer means.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use thiserror::Error;

use super::Settings;

/// How much of an answer's body is read, in bytes. More of it costs the connection, not memory.
const ANSWER_BYTES_MAX: usize = 4096;

/// How much of a refusal's body the log shows, in characters.
const EXCERPT_CHARS_MAX: usize = 200;

/// An endpoint's base: scheme, host, port and an optional path that all posts' paths follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(Url);

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UrlError {
    #[error("`{0}` is no URL: {1}; it must look like http://host:5000 or https://host/prefix")]
    NotUrl(String, String),
    #[error("`{0}` must begin with http:// or https://")]
    Scheme(String),
    #[error("the URL must not have a fragment (`#…`)")]
    Fragment,
    /// The URL itself is left out of the message, which goes to logs.
    #[error("the URL must not hold a user name or password; give credentials as a header")]
    Credentials,
}

impl BaseUrl {
    /// # Errors
    /// The text is no http or https URL, or has a fragment or credentials.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let url = Url::parse(text)
            .map_err(|error| UrlError::NotUrl(text.to_owned(), error.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError::Credentials);
        }
        if !matches!(url.scheme(), "http" | "https") {
            return Err(UrlError::Scheme(text.to_owned()));
        }
        if url.fragment().is_some() {
            return Err(UrlError::Fragment);
        }
        Ok(Self(url))
    }

    /// A query of the base, which may hold a key, stays behind every path.
    fn join(&self, path: &str) -> Url {
        let prefix = self.0.path().trim_end_matches('/');
        let slash = if path.starts_with('/') { "" } else { "/" };
        let joined = format!("{prefix}{slash}{path}");
        let mut url = self.0.clone();
        url.set_path(&joined);
        url
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

/// Adds a header whose value `Debug` does not show.
///
/// # Errors
/// Name or value cannot stand in an HTTP header; the message does not hold the value.
pub fn secret_header(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), String> {
    let name = HeaderName::try_from(name).map_err(|_| format!("`{name}` is no header name"))?;
    let mut value = HeaderValue::try_from(value)
        .map_err(|_| format!("the value of header {name} holds a character that no header may"))?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

/// What became of one try of one post.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Accepted,
    /// Sending it again would not help: 3xx, and 4xx but for those of [`Answer::Later`].
    Refused {
        status: u16,
        excerpt: String,
    },
    /// 408, 425, 429 and 5xx.
    Later {
        status: u16,
        retry_after: Option<Duration>,
        excerpt: String,
    },
    /// No connection, or no whole answer in time.
    None {
        reason: String,
    },
}

#[derive(Debug, Clone)]
pub(super) struct Sender {
    client: Client,
    base: BaseUrl,
    request_timeout: Duration,
    retry_client_errors: bool,
}

/// Asks an endpoint for what it has, with the same client and the same headers as its posts.
#[derive(Debug, Clone)]
pub struct Getter(Sender);

impl Getter {
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        Sender::new(settings).map(Self)
    }

    /// The body of a 200 to a GET of `path`, of at most `bytes_max`.
    ///
    /// # Errors
    /// In a few words: no answer, another status, or a longer body.
    pub async fn get(&self, path: &str, bytes_max: usize) -> Result<Vec<u8>, String> {
        let sender = &self.0;
        let asked = sender.client.get(sender.base.join(path)).send().await;
        let mut answer = asked.map_err(|error| sender.why_none(&error))?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| sender.why_none(&error))? {
            if body.len() + chunk.len() > bytes_max {
                return Err(format!("an answer of more than {bytes_max} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        match status {
            StatusCode::OK => Ok(body),
            _ => Err(format!("status {}: {}", status.as_u16(), excerpt(&body))),
        }
    }
}

impl Sender {
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        // An error means that one is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut headers = settings.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut builder = Client::builder()
            .default_headers(headers)
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            // An agent's traffic goes where its configuration says; a proxy variable of the host
            // would catch even the posts to 127.0.0.1.
            .no_proxy()
            .timeout(settings.request_timeout)
            .connect_timeout(settings.request_timeout)
            .pool_max_idle_per_host(settings.concurrency_max)
            .tcp_nodelay(true);
        if settings.url.0.scheme() == "http" {
            // Without redirects no TLS can follow, so the system's certificates need not be read:
            // that saves their memory, and an image without any works.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(|error| root_cause(&error))?;
        Ok(Self {
            client,
            base: settings.url.clone(),
            request_timeout: settings.request_timeout,
            retry_client_errors: settings.retry_client_errors,
        })
    }

    fn why_none(&self, error: &reqwest::Error) -> String {
        if error.is_timeout() {
            format!("no answer within {}", humantime::format_duration(self.request_timeout))
        } else {
            root_cause(error)
        }
    }

    /// Asks for the base itself. Any answer's status will do: the server is there.
    pub(super) async fn probe(&self) -> Result<u16, String> {
        match self.client.get(self.base.join("/")).send().await {
            Ok(answer) => Ok(answer.status().as_u16()),
            Err(error) => Err(self.why_none(&error)),
        }
    }

    pub(super) async fn send(
        &self,
        path: &str,
        body: &Bytes,
        idempotency_key: Option<&HeaderValue>,
    ) -> Answer {
        let mut request = self.client.post(self.base.join(path)).body(body.clone());
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        match request.send().await {
            Ok(answer) => match read(answer).await {
                // Not 413: the same body would be as large the next time.
                Answer::Refused { status, excerpt }
                    if self.retry_client_errors
                        && (400..500).contains(&status)
                        && status != 413 =>
                {
                    Answer::Later { status, retry_after: None, excerpt }
                }
                answer => answer,
            },
            Err(error) => Answer::None { reason: self.why_none(&error) },
        }
    }
}

async fn read(mut answer: reqwest::Response) -> Answer {
    let status = answer.status();
    let retry_after = answer
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .map(Duration::from_secs);
    // Read to the end, or the connection cannot be used again.
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        let room = ANSWER_BYTES_MAX - body.len();
        body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        if body.len() == ANSWER_BYTES_MAX {
            break;
        }
    }
    classify(status, retry_after, &body)
}

fn classify(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Answer {
    let excerpt = || excerpt(body);
    match status.as_u16() {
        200..=299 => Answer::Accepted,
        code @ (408 | 425 | 429 | 500..=599) => {
            Answer::Later { status: code, retry_after, excerpt: excerpt() }
        }
        code => Answer::Refused { status: code, excerpt: excerpt() },
    }
}

/// The beginning of a body as one line of text that cannot steer a terminal.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(EXCERPT_CHARS_MAX)
        .collect();
    line.trim().to_owned()
}

/// reqwest's own text repeats the URL; the innermost cause is what a person can act on.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        cause = error.to_string();
        next = error.source();
    }
    cause
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
    }

    #[test]
    fn a_base_that_posts_cannot_go_to_is_refused_and_secrets_are_not_repeated() {
        for (text, part) in [
            ("host:5000", "http:// or https://"),
            ("central", "is no URL"),
            ("ftp://host", "http:// or https://"),
            ("http://host/#top", "fragment"),
            ("http://user:hunter2@host", "credentials"),
        ] {
            let error = BaseUrl::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains("hunter2"));
        }
    }

    #[test]
    fn a_secret_stays_out_of_debug_and_out_of_errors() {
        let mut headers = HeaderMap::new();
        secret_header(&mut headers, "Authorization", "Bearer hunter2").unwrap();
        assert!(!format!("{headers:?}").contains("hunter2"));
        let error = secret_header(&mut headers, "X-API-Key", "hunter2\n").unwrap_err();
        assert!(error.contains("x-api-key") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_will_not_is_refused() {
        let class = |code| classify(StatusCode::from_u16(code).unwrap(), None, b"why");
        for code in [200, 201, 204] {
            assert_eq!(class(code), Answer::Accepted);
        }
        for code in [408, 425, 429, 500, 502, 503, 504, 507] {
            assert!(matches!(class(code), Answer::Later { status, .. } if status == code));
        }
        for code in [301, 302, 304, 308, 400, 401, 403, 404, 413, 415, 422] {
            assert_eq!(class(code), Answer::Refused { status: code, excerpt: "why".into() });
        }
    }

    #[test]
    fn a_body_in_the_log_is_one_short_line() {
        assert_eq!(excerpt(b"<html>\n\x1b[31mno\xff</html>\n"), "<html>  [31mno\u{fffd}</html>");
        assert_eq!(excerpt("é".repeat(300).as_bytes()).chars().count(), 200);
    }
}
