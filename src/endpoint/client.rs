//! The HTTP client of an endpoint, as the settings describe it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use super::error::EndpointError;
use super::render;
use crate::clock;
use crate::config::{self, EndpointSettings, EndpointUrl, Settings};
use crate::delivery::{
    self, BaseUrl, BodyEncoding, ClientCertificate, Credential, EndpointTrust, MomentClock,
    Proxies, SecretText, Tls, TokenSource,
};
use crate::identity::BootId;

/// Bounds of the time after which an endpoint counts as degraded; a third of the interval lies between.
const PROMPT_LEAST: Duration = Duration::from_secs(1);
const PROMPT_MOST: Duration = Duration::from_secs(5);

/// The clock of a delivery worker.
pub fn delivery_clock(boot: BootId) -> MomentClock {
    Arc::new(move || clock::moment(boot))
}

/// The delivery settings of a configured endpoint, a server at `url`.
///
/// # Errors
/// Its URL, token, certificates or proxy cannot be used.
pub fn delivery_settings(
    endpoint: &EndpointSettings,
    url: &EndpointUrl,
    agent: &Settings,
) -> Result<delivery::DeliverySettings, EndpointError> {
    let name = || endpoint.name.clone();
    let url = BaseUrl::parse(url.as_url().as_str())
        .map_err(|source| EndpointError::Url { name: name(), source })?;
    let url = match endpoint.dialect.profile().path_in_url {
        Some(path) => url.without_end(path),
        None => url,
    };
    let mut settings = delivery::DeliverySettings::new(&endpoint.name, url, seed(&endpoint.name));
    settings.request_timeout = endpoint.timeout;
    settings.concurrency_max = endpoint.concurrency;
    settings.queue_bytes_max =
        usize::try_from(endpoint.queue_bytes.as_bytes()).unwrap_or(usize::MAX);
    let waiting = &endpoint.waiting;
    settings.age_max = waiting.spool_age;
    settings.tries_max = u32::try_from(waiting.tries_max).unwrap_or(u32::MAX);
    settings.spread = spread_offset(&agent.node.name, waiting.spread);
    settings.prompt = (agent.sampling.interval / 3).clamp(PROMPT_LEAST, PROMPT_MOST);
    render::shape(endpoint, &mut settings);
    settings.retry_client_errors = endpoint.client_errors == config::ClientErrors::Retry;
    settings.trust = trust(endpoint)?;
    for header in &endpoint.trust.headers {
        delivery::secret_header(&mut settings.headers, &header.name, &header.value)
            .map_err(|source| EndpointError::Trust { name: name(), source })?;
    }
    settings.encoding = match endpoint.trust.compression {
        config::Compression::None => BodyEncoding::None,
        config::Compression::Gzip => BodyEncoding::Gzip,
        config::Compression::Zstd => BodyEncoding::Zstd,
    };
    let checked = settings.trust.check(&settings.url);
    checked.map_err(|source| EndpointError::Trust { name: name(), source })?;
    Ok(settings)
}

/// The wait of a node within `spread`: always the same for one name, different between names.
fn spread_offset(node_name: &str, spread: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    node_name.hash(&mut hasher);
    // The upper half as a fraction of 2^32.
    let part = hasher.finish() >> 32;
    let nanos = (spread.as_nanos() * u128::from(part)) >> 32;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Credential, TLS and proxies of an endpoint. Files are read later, by the delivery, since they may
/// change; environment variables are read here, since they cannot.
fn trust(endpoint: &EndpointSettings) -> Result<EndpointTrust, EndpointError> {
    let trust = &endpoint.trust;
    let token = match (&endpoint.bearer_token_file, &trust.bearer_token_env) {
        (Some(file), _) => Some(TokenSource::File(file.clone())),
        (None, Some(variable)) => {
            let token = std::env::var(variable).map_err(|_| {
                let (name, variable) = (endpoint.name.clone(), variable.clone());
                EndpointError::TokenVariable { name, variable }
            })?;
            Some(TokenSource::Held { variable: variable.clone(), token: SecretText::new(token) })
        }
        (None, None) => None,
    };
    let header_files = trust.header_files.iter().map(|header| Credential {
        header: header.name.clone(),
        token: TokenSource::Whole(header.file.clone()),
    });
    Ok(EndpointTrust {
        header_files: header_files.collect(),
        credential: token.map(|token| Credential { header: endpoint.auth_header.clone(), token }),
        tls: Tls {
            ca_file: trust.ca_file.clone(),
            client_certificate: trust.client_certificate.as_ref().map(|files| ClientCertificate {
                certificate_file: files.certificate.clone(),
                key_file: files.key.clone(),
            }),
            server_name: trust.server_name.clone(),
        },
        proxies: Proxies::of_variables(|name| std::env::var(name).ok()),
    })
}

/// A seed that differs between nodes and endpoints, so that retries after a common outage spread out.
pub fn seed(name: &str) -> u64 {
    let start = clock::boot_time().as_nanos();
    name.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
