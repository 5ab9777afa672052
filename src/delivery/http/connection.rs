//! The HTTP client of one endpoint, replaced when its files change.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Client;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use reqwest::redirect::Policy;
use tokio::time::Instant;
use tracing::{info, warn};

use super::base_url::BaseUrl;
use super::error::HttpError;
use super::failure::innermost;
use super::mask;
use super::proxy::{Proxy, Route};
use super::tls::TlsMaterial;
use super::token::SecretHeader;
use super::trust::ConnectionParts;
use crate::clock;
use crate::delivery::settings::DeliverySettings;
use crate::mask::Mask;
use crate::small_file::Stamp;

/// The least time between two checks of the token and certificate files.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The time for which an idle connection is kept: more than an interval of a minute. A server that
/// closes it earlier is noticed.
const IDLE_MAX: Duration = Duration::from_secs(90);

/// The keepalive interval and the number of unanswered probes. Address translation and load
/// balancers forget a connection later than that.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_PROBES: u32 = 3;

/// The value of `User-Agent`.
const OWN_NAME: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// The client of an endpoint, its token and its route.
#[derive(Debug)]
pub(super) struct Connection {
    settings: DeliverySettings,
    /// With the name that the server goes by.
    base: BaseUrl,
    proxy: Option<Proxy>,
    current: Mutex<CurrentClient>,
}

#[derive(Debug)]
struct CurrentClient {
    client: Client,
    secrets: Vec<SecretHeader>,
    /// The stamps of the TLS files at the last check.
    stamps: Vec<Option<Stamp>>,
    looked_at: Instant,
    /// The log has the error of the last read.
    logged: bool,
}

/// The headers with the token and other secrets that are read from files.
pub(super) type SecretHeaders = Vec<(HeaderName, HeaderValue)>;

impl Connection {
    /// Makes the client.
    ///
    /// # Errors
    /// Token, certificates or proxy cannot be used, or the system has no certificates.
    pub(super) fn open(settings: &DeliverySettings) -> Result<Self, HttpError> {
        let opened = ConnectionParts::read(&settings.trust, &settings.url)?;
        let client = client(settings, opened.proxy.as_ref(), opened.material)?;
        let current = CurrentClient {
            client,
            secrets: opened.secrets,
            stamps: opened.stamps,
            looked_at: clock::timer_now(),
            logged: false,
        };
        Ok(Self {
            settings: settings.clone(),
            base: opened.base,
            proxy: opened.proxy,
            current: Mutex::new(current),
        })
    }

    pub(super) const fn settings(&self) -> &DeliverySettings {
        &self.settings
    }

    pub(super) const fn base(&self) -> &BaseUrl {
        &self.base
    }

    /// The headers of every request, but for secrets that are read from files.
    pub(super) fn default_headers(&self) -> HeaderMap {
        default_headers(&self.settings)
    }

    /// The route of requests.
    pub(super) fn way(&self) -> Route<'_> {
        Route::to(&self.base, self.proxy.as_ref())
    }

    /// The secrets that an answer to a request with these headers may repeat.
    pub(super) fn mask(&self, shown: &SecretHeaders) -> Mask {
        let secrets = shown.iter().map(|(_, value)| value);
        mask::of_request(secrets, &self.settings.headers, &self.base, self.proxy.as_ref())
    }

    fn lock(&self) -> MutexGuard<'_, CurrentClient> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client and the secret headers of one request, from the current files.
    pub(super) fn current(&self) -> (Client, SecretHeaders) {
        let mut current = self.lock();
        if current.looked_at.elapsed() >= LOOK_INTERVAL {
            current.looked_at = clock::timer_now();
            for secret in &mut current.secrets {
                secret.look(&self.settings.name);
            }
            self.look_at_certificates(&mut current);
        }
        (current.client.clone(), current.secrets.iter().map(SecretHeader::header).collect())
    }

    /// The current secret headers, where they differ from `shown`, which the server no longer accepts.
    pub(super) fn other_secrets(&self, shown: &SecretHeaders) -> Option<SecretHeaders> {
        let mut current = self.lock();
        for secret in &mut current.secrets {
            // Another post may have read it already.
            if shown.contains(&secret.header()) {
                secret.read_again(&self.settings.name);
            }
        }
        let others: SecretHeaders = current.secrets.iter().map(SecretHeader::header).collect();
        (others != *shown).then_some(others)
    }

    /// Certificates are rotated while the agent runs, sometimes the key before the certificate.
    /// Until both fit, the previous client stays in use.
    fn look_at_certificates(&self, current: &mut CurrentClient) {
        let DeliverySettings { name, trust, url, .. } = &self.settings;
        let stamps = trust.tls.stamps();
        if stamps == current.stamps {
            return;
        }
        current.stamps = stamps;
        let made = trust
            .tls
            .read(url)
            .and_then(|material| client(&self.settings, self.proxy.as_ref(), material));
        match made {
            // Requests in flight end on the previous connections.
            Ok(client) => {
                current.client = client;
                current.logged = false;
                info!("endpoint {name}: its certificates were rotated, the new ones are in use");
            }
            Err(reason) => {
                if !current.logged {
                    current.logged = true;
                    warn!("endpoint {name}: {reason}; the previous certificates stay in use");
                }
            }
        }
    }
}

/// The headers of every request, but for secrets that are read from files.
fn default_headers(settings: &DeliverySettings) -> HeaderMap {
    let mut headers = settings.headers.clone();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(settings.content_type));
    headers.insert(USER_AGENT, HeaderValue::from_static(OWN_NAME));
    headers
}

fn client(
    settings: &DeliverySettings,
    proxy: Option<&Proxy>,
    material: TlsMaterial,
) -> Result<Client, HttpError> {
    let timeout = settings.request_timeout;
    let mut builder = Client::builder()
        .default_headers(default_headers(settings))
        // A redirect would carry data and credentials to an unknown place.
        .redirect(Policy::none())
        // The variables were read already, without this host itself.
        .no_proxy()
        .timeout(timeout)
        .connect_timeout(timeout)
        .pool_max_idle_per_host(settings.concurrency_max)
        .pool_idle_timeout(IDLE_MAX)
        .tcp_nodelay(true)
        .tcp_keepalive(KEEPALIVE)
        .tcp_keepalive_interval(KEEPALIVE)
        .tcp_keepalive_retries(KEEPALIVE_PROBES)
        // Over HTTP/1.1 a request that times out closes its connection. Over HTTP/2 the connection
        // stays, so a dead one must be detected.
        .tcp_user_timeout(timeout)
        .http2_keep_alive_interval(timeout / 2)
        .http2_keep_alive_timeout(timeout / 2);
    if let Some(proxy) = proxy {
        builder = builder.proxy(proxy.for_client()?);
    }
    let builder = settings.trust.tls.apply(builder, &settings.url, material);
    builder.build().map_err(|error| {
        let source = error.without_url();
        let mut reason = innermost(&source);
        if settings.url.is_https() && settings.trust.tls.ca_file.is_none() {
            reason.push_str(
                "; without ca_file the system's certificates are needed (Debian: ca-certificates)",
            );
        }
        HttpError::Client { reason, source }
    })
}
