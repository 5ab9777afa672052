//! Pods by way of the kubelet's own list, `GET /pods` on its port 10250.
//!
//! The kubelet knows what the API server knows of its pods, and of static pods also where there is
//! no mirror; it is asked now and then, since it has no watch. Right after its start it may list
//! static pods only, until it has heard from the API server: one answer without a pod is not
//! enough for the pod to be gone.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, StatusCode, Url};
use rustls::CertificateError;
use tokio::time::sleep;

use super::objects::{self, ObjectLimits, PodPage};
use super::pace::{self, Pace};
use super::{Publisher, SourceKind, bounded, unix_socket};
use crate::quantity::BootTime;
use crate::small_file;

/// A bundle of CAs has some ten kilobytes.
const CA_BYTES_MAX: usize = 1 << 20;

/// How much of a refusal's body is read, in bytes.
const REFUSAL_BYTES_MAX: usize = 4096;

/// How much of it is repeated, in characters.
const EXCERPT_CHARS_MAX: usize = 160;

/// How the kubelet's certificate is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KubeletTrust {
    /// A CA out of this file (PEM) must have signed it. Read anew after each failure.
    CaFile(PathBuf),
    /// Not at all: whoever can take the address gets the token.
    Insecure,
}

/// How the kubelet is asked. [`KubeletOptions::new`] has the defaults.
#[derive(Debug, Clone)]
pub struct KubeletOptions {
    /// `https://<host>:10250`
    pub url: String,
    /// Read for each request.
    pub token_file: PathBuf,
    pub trust: KubeletTrust,
    /// From one look at the list to the next (15 s).
    pub interval: Duration,
    /// How long one answer may take (10 s).
    pub request_timeout: Duration,
    /// The largest answer, in bytes (32 MiB); a pod takes some 4 to 20 KiB.
    pub answer_bytes_max: usize,
    /// Longer values of annotations are left out, in bytes (1 KiB).
    pub annotation_bytes_max: usize,
    /// Where the random parts of the waits begin.
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

/// Tells the publisher what the kubelet knows, for ever.
pub async fn run(options: KubeletOptions, publisher: Publisher) {
    let mut pace = Pace::new(SourceKind::Kubelet, options.interval, options.seed);
    let mut kubelet = None;
    loop {
        let asked_at = (options.clock)();
        let outcome = match ask(&options, &mut kubelet).await {
            Ok(list) => {
                publisher.replace_pods_absent_twice(list.pods, asked_at);
                Ok(())
            }
            Err(text) => {
                kubelet = None;
                Err(text)
            }
        };
        sleep(pace.after(outcome, &publisher, (options.clock)())).await;
    }
}

/// One look, for a person.
///
/// # Errors
/// One line: what keeps it from answering.
pub async fn probe(options: &KubeletOptions) -> Result<String, String> {
    let list = ask(options, &mut None).await.map_err(pace::shown)?;
    let unreadable = match list.unreadable {
        0 => String::new(),
        count => format!(", and {count} that are not as the API has pods"),
    };
    Ok(format!("kubelet at {}: {} pods{unreadable}", options.url, list.pods.len()))
}

async fn ask(options: &KubeletOptions, kubelet: &mut Option<Kubelet>) -> Result<PodPage, String> {
    let at = |text: String| format!("kubelet at {}: {text}", options.url);
    let kubelet = match kubelet {
        Some(kubelet) => kubelet,
        None => kubelet.insert(Kubelet::new(options).map_err(at)?),
    };
    let body = kubelet.get(options).await.map_err(at)?;
    let limits = ObjectLimits { annotation_bytes_max: options.annotation_bytes_max };
    objects::pods_of_list(&body, &limits)
        .map_err(|error| at(format!("the answer is no list of pods: {error}")))
}

/// A client made for one kubelet.
struct Kubelet {
    client: Client,
    pods: Url,
}

impl Kubelet {
    fn new(options: &KubeletOptions) -> Result<Self, String> {
        // An error means that one is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut pods = Url::parse(&options.url)
            .map_err(|error| format!("no URL: {error}; it must look like https://host:10250"))?;
        if pods.scheme() != "https" || !pods.has_host() {
            return Err("the URL must begin with https://, since a token goes there".to_owned());
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
                let unusable = |reason: &str| format!("the CA file {}: {reason}", path.display());
                let (pem, _) = small_file::read(path, CA_BYTES_MAX)
                    .map_err(|error| unusable(&format!("cannot be read: {error}")))?;
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
            .map_err(|error| format!("the client cannot be made: {}", innermost(&error)))?;
        Ok(Self { client, pods })
    }

    async fn get(&self, options: &KubeletOptions) -> Result<Vec<u8>, String> {
        let token = small_file::read_token(&options.token_file)?;
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
            format!("the token file {} holds no token", options.token_file.display())
        })?;
        value.set_sensitive(true);
        let request = self.client.get(self.pods.clone()).header(AUTHORIZATION, value);
        let explain = |error: reqwest::Error| explain(&error, options);
        let mut answer = request.send().await.map_err(explain)?;
        let status = answer.status();
        let is_ok = status == StatusCode::OK;
        let bytes_max = if is_ok { options.answer_bytes_max } else { REFUSAL_BYTES_MAX };
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(explain)? {
            if body.len() + chunk.len() > bytes_max {
                if is_ok {
                    return Err(format!("the answer is larger than {bytes_max} bytes"));
                }
                break;
            }
            body.extend_from_slice(&chunk);
        }
        if is_ok { Ok(body) } else { Err(refusal(status, &body, options)) }
    }
}

/// What a status other than 200 asks a person to do.
fn refusal(status: StatusCode, body: &[u8], options: &KubeletOptions) -> String {
    let text = bounded::line(&String::from_utf8_lossy(body), EXCERPT_CHARS_MAX);
    match status {
        StatusCode::UNAUTHORIZED => format!(
            "401: it does not take the token of {}: the token has expired, is another cluster's, \
             or the kubelet asks nobody about tokens (`authentication.webhook`)",
            options.token_file.display()
        ),
        StatusCode::FORBIDDEN => match Lacking::parse(&text) {
            Some(Lacking { user, verb, resource, mut subresources }) => {
                let narrowest = subresources.next().unwrap_or_default();
                let others = subresources.map(|wider| format!(" or {resource}/{wider}"));
                let others: String = others.collect();
                format!("403: the role of {user} lacks `{verb}` on {resource}/{narrowest}{others}")
            }
            None => format!("403: the role lacks `get` on nodes/proxy: {text}"),
        },
        _ => format!("answers {status} to GET /pods: {text}"),
    }
}

/// What the kubelet says is missing, in its one line of plain text:
/// `Forbidden (user=…, verb=get, resource=nodes, subresource=proxy)`, and since fine-grained
/// authorization (1.32) `…, subresource(s)=[pods proxy])`, of which either would do.
struct Lacking<'t, S> {
    user: &'t str,
    verb: &'t str,
    resource: &'t str,
    subresources: S,
}

impl<'t> Lacking<'t, std::str::SplitAsciiWhitespace<'t>> {
    fn parse(text: &'t str) -> Option<Self> {
        let (_, fields) = text.split_once("Forbidden (user=")?;
        let (user, fields) = fields.split_once(", verb=")?;
        let (verb, fields) = fields.split_once(", resource=")?;
        let (resource, fields) = fields.split_once(", subresource")?;
        let (_, subresources) = fields.split_once('=')?;
        let subresources = subresources.trim_start_matches('[');
        let end = subresources.find([']', ')']).unwrap_or(subresources.len());
        let (subresources, _) = subresources.split_at_checked(end)?;
        let subresources = subresources.split_ascii_whitespace();
        Some(Self { user, verb, resource, subresources })
    }
}

/// Why there was no answer.
fn explain(error: &reqwest::Error, options: &KubeletOptions) -> String {
    if error.is_timeout() {
        return unix_socket::no_answer(options.request_timeout);
    }
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(rustls::Error::InvalidCertificate(reason)) = cause.downcast_ref() {
            return certificate_refused(reason, &options.trust);
        }
        let io = cause.downcast_ref::<io::Error>();
        if io.is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused) {
            return "connection refused; no kubelet listens there".to_owned();
        }
        // An io::Error names as its source that of the error that it wraps, and so hides that one.
        next = match io.and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => cause.source(),
        };
    }
    innermost(error)
}

fn certificate_refused(reason: &CertificateError, trust: &KubeletTrust) -> String {
    let ca = match trust {
        KubeletTrust::CaFile(path) => path.display().to_string(),
        KubeletTrust::Insecure => "no file".to_owned(),
    };
    match reason {
        // The second where the CA of another cluster has the same name, as all of kubeadm's do.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "its certificate is not signed by the CA in {ca}: let the cluster sign it (kubelet \
             `serverTLSBootstrap: true`), give its own CA as `kubelet_ca_file`, or set \
             `kubelet_insecure = true`"
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for other names and addresses than the URL's: use one of those"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired; a kubelet renews it by itself with \
             `rotateCertificates: true`"
                .to_owned()
        }
        other => format!("its certificate is refused: {other}"),
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

    fn refused(body: &[u8]) -> String {
        let options = KubeletOptions::new(
            String::new(),
            PathBuf::new(),
            KubeletTrust::Insecure,
            0,
            BootTime::default,
        );
        refusal(StatusCode::FORBIDDEN, body, &options)
    }

    proptest! {
        #[test]
        fn no_refusal_panics_or_breaks_the_line(
            body in proptest::collection::vec(any::<u8>(), 0..200),
            parts in "(Forbidden \\(user=)?.{0,9}(, verb=.{0,5})?(, resource=n)?(, subresource.{0,9})?",
        ) {
            for body in [&*body, parts.as_bytes()] {
                let text = refused(body);
                prop_assert!(text.starts_with("403: ") && !text.contains('\n'), "{text}");
            }
        }
    }
}
