//! Sends one post, and repeats it at once where no pause is needed: after a rotated token, a
//! connection that the server had closed, or an encoding that it does not support.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use reqwest::header::{CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder, StatusCode};
use tokio::sync::{Mutex, MutexGuard};
use tracing::warn;

use super::answer::{self, PostOutcome};
use super::connection::{Connection, SecretHeaders};
use super::error::HttpError;
use super::failure;
use super::forms::{FormedBody, Forms};
use crate::delivery::dry_run::{ShownRequest, readable};
use crate::delivery::refusal::{RefusalReason, RefusedPoints, SentPoints};
use crate::delivery::settings::DeliverySettings;
use crate::quantity::WallTime;

/// The key of the post, the same at every try (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

#[derive(Debug, Clone)]
pub(in crate::delivery) struct Sender(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connection: Connection,
    /// The last request was answered.
    answers: AtomicBool,
    /// Held by the first request to a server that has not answered yet.
    first: Mutex<()>,
    /// The endpoint has rejected the encoding of the settings.
    plain: AtomicBool,
    forms: Forms,
}

/// The result of sending a post.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::delivery) struct Sent {
    pub(in crate::delivery) answer: PostOutcome,
    /// The statuses of tries that were repeated at once; `None`: no answer.
    pub(in crate::delivery) earlier: Vec<Option<u16>>,
}

impl Sender {
    /// Makes the client.
    ///
    /// # Errors
    /// Token, certificates or proxy cannot be used, or the system has no certificates.
    pub(in crate::delivery) fn new(settings: &DeliverySettings) -> Result<Self, HttpError> {
        Ok(Self(Arc::new(Inner {
            connection: Connection::open(settings)?,
            answers: AtomicBool::new(false),
            first: Mutex::new(()),
            plain: AtomicBool::new(false),
            forms: Forms::new(settings.forms.clone()),
        })))
    }

    /// POSTs `body` to `path` below the endpoint's base. `idempotency_key` is sent unchanged.
    pub(in crate::delivery) async fn send(
        &self,
        path: &str,
        body: &Bytes,
        idempotency_key: Option<&HeaderValue>,
    ) -> Sent {
        let settings = self.0.connection.settings();
        let formed = self.0.forms.of(body);
        let encoded = if formed.is_some() || self.0.plain.load(Ordering::Relaxed) {
            None
        } else {
            settings.encoding.encode(body)
        };
        let post = OutgoingPost { path, body, encoded, formed, idempotency_key };
        if let Some(dry_run) = &settings.dry_run {
            dry_run.print(&self.0.shown(&post));
            let answer = PostOutcome::Accepted { status: 200, pause: None, remark: None };
            return Sent { answer, earlier: Vec::new() };
        }
        let mut earlier = Vec::new();
        let answer = self.0.post(post, &mut earlier).await;
        Sent { answer, earlier }
    }

    /// The status of a GET of the base: any answer shows that the server is there.
    pub(in crate::delivery) async fn probe(&self) -> Result<u16, HttpError> {
        Ok(self.0.get("").await?.0.status().as_u16())
    }
}

/// A post and the form in which it is sent.
struct OutgoingPost<'a> {
    path: &'a str,
    body: &'a Bytes,
    /// The compressed body; `None`: it is sent uncompressed.
    encoded: Option<Bytes>,
    /// The body in a form of its own; `None`: it has none.
    formed: Option<FormedBody>,
    idempotency_key: Option<&'a HeaderValue>,
}

impl Inner {
    async fn post(
        &self,
        mut post: OutgoingPost<'_>,
        earlier: &mut Vec<Option<u16>>,
    ) -> PostOutcome {
        let (client, mut shown) = self.connection.current();
        let (mut has_other_token, mut is_unpacked) = (false, false);
        loop {
            let received = match self.exchange(&client, &post, &shown, earlier).await {
                Ok(answer) => answer::read(answer, wall_time(), self.connection.settings()).await,
                Err(error) => return PostOutcome::Unanswered { reason: error.to_string() },
            };
            match received.status() {
                401 if !has_other_token
                    && let Some(other) = self.connection.other_secrets(&shown) =>
                {
                    has_other_token = true;
                    shown = other;
                }
                415 if post.encoded.is_some() => {
                    is_unpacked = true;
                    post.encoded = None;
                }
                _ if let Some(next) =
                    self.forms.next(post.formed.as_ref(), &received, post.body) =>
                {
                    post.formed = Some(next);
                }
                status => {
                    if is_unpacked && (200..300).contains(&status) {
                        self.send_plainly_from_here();
                    }
                    let (mask, way) = (self.connection.mask(&shown), self.connection.way());
                    let settings = self.connection.settings();
                    let formed = post.formed.as_ref();
                    self.forms.note_known(formed, &received);
                    let points = formed.map(|formed| formed.points(&received, post.body));
                    let nothing = formed.and_then(|it| it.accepted_nothing(&received));
                    let outcome = received.meaning(&mask, way, settings, points, post.body);
                    let is_accepted = matches!(outcome, PostOutcome::Accepted { .. });
                    if let Some(excerpt) = nothing.filter(|_| is_accepted) {
                        let count = points.map_or(0, SentPoints::not_written);
                        let refused = RefusedPoints { count, reason: RefusalReason::Other };
                        return PostOutcome::Rejected { status: 415, excerpt, refused };
                    }
                    if is_accepted {
                        self.forms.use_from_here(&settings.name, formed);
                    }
                    return outcome;
                }
            }
            earlier.push(Some(received.status()));
        }
    }

    fn send_plainly_from_here(&self) {
        if self.plain.swap(true, Ordering::Relaxed) {
            return;
        }
        let settings = self.connection.settings();
        warn!(
            "endpoint {} answers 415 to bodies in {} and takes them as they are: they are sent \
             uncompressed from here on; `compression = \"none\"` avoids the first try",
            settings.name,
            settings.encoding.as_str(),
        );
    }

    /// Sends one request, and repeats it at once where the server closed an idle connection just
    /// when it was sent. The server may have received it, so only a post with a key is repeated
    /// here; the worker retries any other.
    async fn exchange(
        &self,
        client: &Client,
        post: &OutgoingPost<'_>,
        shown: &SecretHeaders,
        earlier: &mut Vec<Option<u16>>,
    ) -> Result<reqwest::Response, HttpError> {
        let answered = self.answers.load(Ordering::Relaxed);
        let alone = if answered { None } else { self.alone().await };
        let outcome = self.request(client, post, shown).await;
        drop(alone);
        match outcome {
            Err(HttpError::Unanswered { closed: true, .. })
                if answered && post.idempotency_key.is_some() =>
            {
                earlier.push(None);
                self.request(client, post, shown).await
            }
            outcome => outcome,
        }
    }

    /// Lets one request go first while the others wait for its answer, which shows whether one
    /// connection is enough for all (HTTP/2). Only TLS allows that.
    async fn alone(&self) -> Option<MutexGuard<'_, ()>> {
        if !self.connection.base().is_https() {
            return None;
        }
        let ahead = self.first.try_lock().ok();
        if ahead.is_none() {
            drop(self.first.lock().await);
        }
        ahead
    }

    async fn request(
        &self,
        client: &Client,
        post: &OutgoingPost<'_>,
        shown: &SecretHeaders,
    ) -> Result<reqwest::Response, HttpError> {
        let request = client.post(self.connection.base().join(post.path));
        let request = request.headers(self.headers(post));
        let body = match (&post.formed, &post.encoded) {
            (Some(formed), _) => &formed.bytes,
            (None, Some(encoded)) => encoded,
            (None, None) => post.body,
        };
        self.answered(request.body(body.clone()), shown).await
    }

    /// The headers of a post that not every request has.
    fn headers(&self, post: &OutgoingPost<'_>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(key) = post.idempotency_key {
            headers.insert(IDEMPOTENCY_KEY, key.clone());
        }
        match (&post.formed, &post.encoded) {
            (Some(formed), _) => {
                for (name, value) in formed.form.headers {
                    let name = HeaderName::from_static(name);
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            (None, Some(_)) => {
                let encoding = self.connection.settings().encoding.as_str();
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
            }
            (None, None) => {}
        }
        headers
    }

    /// A post for people, as it would be sent now.
    fn shown<'a>(&'a self, post: &'a OutgoingPost<'_>) -> ShownRequest<'a> {
        let settings = self.connection.settings();
        let (_, secrets) = self.connection.current();
        let mut headers = self.connection.default_headers();
        headers.extend(self.headers(post));
        headers.extend(secrets);
        let shown = |(name, value): (&HeaderName, &HeaderValue)| {
            let value = if value.is_sensitive() {
                "(hidden)".into()
            } else {
                String::from_utf8_lossy(value.as_bytes())
            };
            (name.to_string(), value.into_owned())
        };
        ShownRequest {
            endpoint: &settings.name,
            method: Some("POST"),
            url: self.connection.base().shown(post.path),
            headers: headers.iter().map(shown).collect(),
            body: readable(post.body, settings.as_json),
        }
    }

    /// The answer, and the secret headers of its request. An answer of the proxy is an error.
    async fn get(&self, path: &str) -> Result<(reqwest::Response, SecretHeaders), HttpError> {
        let (client, mut shown) = self.connection.current();
        let url = self.connection.base().join(path);
        let mut answer = self.answered(client.get(url.clone()), &shown).await?;
        if answer.status() == StatusCode::UNAUTHORIZED
            && let Some(other) = self.connection.other_secrets(&shown)
        {
            shown = other;
            answer = self.answered(client.get(url), &shown).await?;
        }
        let way = self.connection.way();
        if answer.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED && way.ends_at_proxy() {
            Err(HttpError::Unanswered { reason: way.refused(), closed: false })
        } else {
            Ok((answer, shown))
        }
    }

    async fn answered(
        &self,
        mut request: RequestBuilder,
        shown: &SecretHeaders,
    ) -> Result<reqwest::Response, HttpError> {
        for (name, value) in shown {
            request = request.header(name, value);
        }
        let outcome = request.send().await;
        self.answers.store(outcome.is_ok(), Ordering::Relaxed);
        outcome.map_err(|error| self.unanswered(error, shown))
    }

    fn unanswered(&self, error: reqwest::Error, shown: &SecretHeaders) -> HttpError {
        let closed = failure::closed_without_answer(&error);
        let settings = self.connection.settings();
        let reason = failure::describe(error, settings.request_timeout, &settings.trust.tls);
        let reason = self.connection.way().describe(self.connection.mask(shown).apply(&reason));
        HttpError::Unanswered { reason, closed }
    }
}

/// GETs documents of an endpoint, with the client and headers of its posts.
#[derive(Debug, Clone)]
pub struct Getter(Sender);

impl Getter {
    /// Makes the client.
    ///
    /// # Errors
    /// Token, certificates or proxy cannot be used, or the system has no certificates.
    pub fn new(settings: &DeliverySettings) -> Result<Self, HttpError> {
        Sender::new(settings).map(Self)
    }

    /// The body of a 200 to a GET of `path`, at most `bytes_max` long.
    ///
    /// # Errors
    /// No answer, another status, or a longer body.
    pub async fn get(&self, path: &str, bytes_max: usize) -> Result<Vec<u8>, HttpError> {
        let Sender(inner) = &self.0;
        let (mut answer, shown) = inner.get(path).await?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(chunk) =
            answer.chunk().await.map_err(|error| inner.unanswered(error, &shown))?
        {
            if body.len() + chunk.len() > bytes_max {
                return Err(HttpError::TooLong(bytes_max));
            }
            body.extend_from_slice(&chunk);
        }
        if status == StatusCode::OK {
            return Ok(body);
        }
        let excerpt = answer::excerpt(&body, &inner.connection.mask(&shown));
        let text = format!("status {}: {excerpt}", status.as_u16());
        Err(HttpError::Status(inner.connection.way().describe(text)))
    }

    /// The text without the endpoint's secrets, which it may quote.
    #[must_use]
    pub fn masked(&self, text: &str) -> String {
        let Sender(inner) = &self.0;
        let (_, shown) = inner.connection.current();
        inner.connection.mask(&shown).apply(text)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a date that a server names is held against the clock of when it came"
)]
fn wall_time() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::super::BaseUrl;
    use super::*;

    /// Answers the first request of each connection, and hangs up on the next.
    async fn hangs_up(requests: Arc<AtomicUsize>) -> BaseUrl {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let requests = Arc::clone(&requests);
                tokio::spawn(async move {
                    for is_answered in [true, false] {
                        let mut request = Vec::new();
                        while !request.ends_with(b"body") {
                            if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                                return;
                            }
                        }
                        requests.fetch_add(1, Ordering::Relaxed);
                        if is_answered {
                            let answer = b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n";
                            stream.write_all(answer).await.unwrap();
                        }
                    }
                });
            }
        });
        BaseUrl::parse(&format!("http://{address}")).unwrap()
    }

    #[tokio::test]
    async fn only_a_post_that_is_recognised_is_sent_again_at_once() {
        let body = Bytes::from_static(b"body");
        let accepted = || PostOutcome::Accepted { status: 201, pause: None, remark: None };
        let key = HeaderValue::from_static("\"1\"");
        for (key, requests_expected) in [(None, 2), (Some(&key), 3)] {
            let requests: Arc<AtomicUsize> = Arc::default();
            let url = hangs_up(Arc::clone(&requests)).await;
            let sender = Sender::new(&DeliverySettings::new("central", url, 1)).unwrap();
            let first = sender.send("/", &body, key).await;
            assert_eq!((first.answer, first.earlier), (accepted(), vec![]));
            let second = sender.send("/", &body, key).await;
            assert_eq!(second.answer == accepted(), key.is_some(), "{second:?}");
            // The try that came to nothing is told of beside the one that did not.
            assert_eq!(second.earlier, key.map_or(vec![], |_| vec![None]));
            assert_eq!(requests.load(Ordering::Relaxed), requests_expected);
        }
    }
}
