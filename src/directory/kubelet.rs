//! Pods from the kubelet's own list, `GET /pods` on its port 10250.
//!
//! The kubelet knows of its pods what the API server knows, and it knows static pods that have no
//! mirror. It has no watch, so it is polled. Right after its start it may list static pods only,
//! until it has the API server's pods. So a pod is removed after two answers without it.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, StatusCode, Url};
use rustls::CertificateError;

use super::bounded;
use super::error::{KubeletError, PollError};
use super::objects::{self, ObjectLimits, PodPage};
use super::poll::Poller;
use super::publisher::Publisher;
use super::source_status::SourceKind;
use crate::descriptors;
use crate::mask::Mask;
use crate::quantity::{BootTime, counted};
use crate::small_file::{self, TokenError, TokenFault};

/// The largest CA file, in bytes; a bundle has some ten kilobytes.
const CA_BYTES_MAX: usize = 1 << 20;

/// The part of a refusal's body that is read, in bytes.
const REFUSAL_BYTES_MAX: usize = 4096;

/// The part of a refusal's body that an error repeats, in characters.
const EXCERPT_CHARS_MAX: usize = 160;

/// The check of the kubelet's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KubeletTrust {
    /// A CA out of this file (PEM) must have signed it. The file is read again after each failure.
    CaFile(PathBuf),
    /// No check: anything that can take the address gets the token.
    Insecure,
}

/// Options of the kubelet as a source. [`KubeletOptions::new`] sets the defaults.
#[derive(Debug, Clone)]
pub struct KubeletOptions {
    /// `https://<host>:10250`
    pub url: String,
    /// Read for each request, since tokens are rotated.
    pub token_file: PathBuf,
    pub trust: KubeletTrust,
    /// Time between two polls (15 s).
    pub interval: Duration,
    /// The time limit of one answer (10 s).
    pub request_timeout: Duration,
    /// The largest answer, in bytes (32 MiB); a pod takes some 4 to 20 KiB.
    pub answer_bytes_max: usize,
    /// The longest annotation value that is kept, in bytes (1 KiB).
    pub annotation_bytes_max: usize,
    /// Seed of the random parts of the waits.
    pub seed: u64,
    pub clock: fn() -> BootTime,
}

impl KubeletOptions {
    #[must_use]
    pub fn new(
        url: String,
        token_file: PathBuf,
        trust: KubeletTrust,
        seed: u64,
        clock: fn() -> BootTime,
    ) -> Self {
        Self {
            url,
            token_file,
            trust,
            interval: Duration::from_secs(15),
            request_timeout: Duration::from_secs(10),
            answer_bytes_max: 32 << 20,
            annotation_bytes_max: 1 << 10,
            seed,
            clock,
        }
    }
}

/// Publishes the kubelet's pods, for ever.
pub async fn run(options: KubeletOptions, publisher: Publisher) {
    let mut poller = Poller::new(SourceKind::Kubelet, options.interval, options.seed);
    let mut kubelet = None;
    loop {
        let asked_at = (options.clock)();
        let answer = pods(&options, &mut kubelet).await;
        let outcome = answer.map(|list| publisher.replace_pods_absent_twice(list.pods, asked_at));
        poller.report_and_wait(outcome, &publisher, (options.clock)()).await;
    }
}

/// Asks once and returns the answer as one line for a person.
///
/// # Errors
/// The kubelet does not answer.
pub async fn probe(options: &KubeletOptions) -> Result<String, PollError> {
    let list = pods(options, &mut None).await?;
    let unreadable = match list.unreadable {
        0 => String::new(),
        count => format!(", and {count} that cannot be read"),
    };
    let pods = counted(list.pods.len(), "pod", "pods");
    Ok(format!("kubelet at {}: {pods}{unreadable}", options.url))
}

/// The kubelet's pods. A failure drops the client, so that the CA file is read again.
async fn pods(
    options: &KubeletOptions,
    kubelet: &mut Option<Kubelet>,
) -> Result<PodPage, PollError> {
    let asking = async {
        let client = match kubelet.take() {
            Some(client) => client,
            None => Kubelet::new(options)?,
        };
        let body = client.get(options).await?;
        let limits = ObjectLimits { annotation_bytes_max: options.annotation_bytes_max };
        let list = objects::pods_of_list(&body, &limits).map_err(KubeletError::NoList)?;
        *kubelet = Some(client);
        Ok(list)
    };
    asking.await.map_err(|reason: KubeletError| {
        PollError::new(format!("kubelet at {}", options.url), reason)
    })
}

/// A client made for one kubelet.
struct Kubelet {
    client: Client,
    pods: Url,
}

impl Kubelet {
    fn new(options: &KubeletOptions) -> Result<Self, KubeletError> {
        // An error means that a provider is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut pods =
            Url::parse(&options.url).map_err(|error| KubeletError::NoUrl(error.into()))?;
        if pods.scheme() != "https" || !pods.has_host() {
            return Err(KubeletError::NoHttps);
        }
        pods.set_path("/pods");
        let builder = Client::builder()
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            // The token is for the kubelet alone.
            .redirect(Policy::none())
            .no_proxy()
            .timeout(options.request_timeout)
            .connect_timeout(options.request_timeout)
            .pool_max_idle_per_host(1)
            .tcp_nodelay(true);
        let builder = match &options.trust {
            KubeletTrust::Insecure => {
                builder.tls_certs_only([]).tls_danger_accept_invalid_certs(true)
            }
            KubeletTrust::CaFile(path) => {
                let (pem, _) = small_file::read(path, CA_BYTES_MAX)
                    .map_err(|source| KubeletError::CaUnreadable { path: path.clone(), source })?;
                let unusable = |reason| KubeletError::CaUnusable { path: path.clone(), reason };
                let certificates = Certificate::from_pem_bundle(&pem)
                    .map_err(|_| unusable("holds what is no certificate (PEM)"))?;
                if certificates.is_empty() {
                    return Err(unusable("holds no certificate (PEM)"));
                }
                builder.tls_certs_only(certificates)
            }
        };
        let client = builder
            .build()
            .map_err(|source| KubeletError::Client { cause: innermost(&source), source })?;
        Ok(Self { client, pods })
    }

    async fn get(&self, options: &KubeletOptions) -> Result<Vec<u8>, KubeletError> {
        let token = small_file::read_token(&options.token_file)?;
        // A token is graphic ASCII, which every header may hold.
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
            let fault = TokenFault::ControlCharacter;
            TokenError::NoToken { path: options.token_file.clone(), fault }
        })?;
        value.set_sensitive(true);
        let request = self.client.get(self.pods.clone()).header(AUTHORIZATION, value);
        let failed = |error: reqwest::Error| request_error(error, options);
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        let is_ok = status == StatusCode::OK;
        let bytes_max = if is_ok { options.answer_bytes_max } else { REFUSAL_BYTES_MAX };
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > bytes_max {
                if is_ok {
                    return Err(KubeletError::TooLarge(bytes_max));
                }
                break;
            }
            body.extend_from_slice(&chunk);
        }
        if is_ok {
            return Ok(body);
        }
        // A server may repeat the token.
        let text = Mask::new([token]).apply(&String::from_utf8_lossy(&body));
        Err(refusal(status, &text, options))
    }
}

/// The error for a status other than 200.
fn refusal(status: StatusCode, body: &str, options: &KubeletOptions) -> KubeletError {
    let text = bounded::line(body, EXCERPT_CHARS_MAX);
    match status {
        StatusCode::UNAUTHORIZED => KubeletError::Unauthorized(options.token_file.clone()),
        StatusCode::FORBIDDEN => {
            missing_right(&text).unwrap_or(KubeletError::ForbiddenUnnamed(text))
        }
        _ => KubeletError::Status { status, text },
    }
}

/// The right that the kubelet's line of plain text names, `None` if it names none.
///
/// `Forbidden (user=…, verb=get, resource=nodes, subresource=proxy)`, and since fine-grained
/// authorization (1.32) `…, subresource(s)=[pods proxy])`, of which either is enough.
fn missing_right(text: &str) -> Option<KubeletError> {
    let (_, fields) = text.split_once("Forbidden (user=")?;
    let (user, fields) = fields.split_once(", verb=")?;
    let (verb, fields) = fields.split_once(", resource=")?;
    let (resource, fields) = fields.split_once(", subresource")?;
    let (_, subresources) = fields.split_once('=')?;
    let subresources = subresources.trim_start_matches('[');
    let (subresources, _) = subresources.split_once([']', ')']).unwrap_or((subresources, ""));
    let rights: Vec<String> =
        subresources.split_ascii_whitespace().map(|one| format!("{resource}/{one}")).collect();
    let rights = rights.join(" or ");
    Some(KubeletError::Forbidden { user: user.to_owned(), verb: verb.to_owned(), rights })
}

/// The error for a request without an answer.
fn request_error(error: reqwest::Error, options: &KubeletOptions) -> KubeletError {
    if error.is_timeout() {
        return KubeletError::NoAnswer(options.request_timeout);
    }
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(rustls::Error::InvalidCertificate(reason)) = cause.downcast_ref() {
            return certificate_error(reason, &options.trust);
        }
        let io = cause.downcast_ref::<io::Error>();
        if io.is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused) {
            return KubeletError::ConnectionRefused(error);
        }
        // The source of an io::Error is the source of the error that it wraps, which skips that one.
        next = match io.and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => cause.source(),
        };
    }
    let cause = descriptors::shortage(&error).map_or_else(|| innermost(&error), str::to_owned);
    KubeletError::Request { cause, source: error }
}

fn certificate_error(reason: &CertificateError, trust: &KubeletTrust) -> KubeletError {
    match reason {
        // The second where the CA of another cluster has the same name, as all of kubeadm's do.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            KubeletError::UnknownIssuer(match trust {
                KubeletTrust::CaFile(path) => path.display().to_string(),
                KubeletTrust::Insecure => "no file".to_owned(),
            })
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            KubeletError::WrongName
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            KubeletError::Expired
        }
        other => KubeletError::Certificate(other.clone()),
    }
}

fn innermost(error: &reqwest::Error) -> String {
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
    use proptest::prelude::*;

    use super::*;

    fn refused(body: &str) -> String {
        let options = KubeletOptions::new(
            String::new(),
            PathBuf::new(),
            KubeletTrust::Insecure,
            0,
            BootTime::default,
        );
        refusal(StatusCode::FORBIDDEN, body, &options).to_string()
    }

    proptest! {
        #[test]
        fn no_refusal_panics_or_breaks_the_line(
            body in proptest::collection::vec(any::<u8>(), 0..200),
            parts in "(Forbidden \\(user=)?.{0,9}(, verb=.{0,5})?(, resource=n)?(, subresource.{0,9})?",
        ) {
            for body in [&*body, parts.as_bytes()] {
                let text = refused(&String::from_utf8_lossy(body));
                prop_assert!(text.starts_with("403: ") && !text.contains('\n'), "{text}");
            }
        }
    }
}
