//! `[[endpoint]]`: what is sent to one endpoint, how samples wait for it, and which pods it gets.

use std::path::PathBuf;
use std::time::Duration;

use super::choices::{ClientErrors, Counters, Durability, Protocol, StalePolicy, UnknownPods};
use super::destination::Destination;
use super::error::{ConfigError, InvalidValue};
use super::file::{ENDPOINTS_MAX, EndpointLayers};
use super::keys::{self, Key};
use super::layer::{Layers, Origin, Origins, Resolver};
use super::trust::TrustSettings;
use super::value::{ValueContext, is_credential_elsewhere};
use crate::payload::dialect::{CounterForms, Dialect};
use crate::quantity::Bytes;

/// The name of the endpoint that the environment describes.
const ENVIRONMENT_ENDPOINT: &str = "env";

/// The longest default of `spread`.
const DEFAULT_SPREAD_MAX: Duration = Duration::from_secs(30);

/// One `[[endpoint]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSettings {
    /// Unique among the endpoints; usable as a file's name.
    pub name: String,
    pub dialect: Dialect,
    /// The address below which the dialect's paths are found; or what lines are appended to.
    pub url: Destination,
    /// The rotation of a file; `None`: there is no file, or another program rotates it.
    pub rotation: Option<RotationSettings>,
    pub protocol: Protocol,
    /// Labels of every series of remote write.
    pub external_labels: Vec<(String, String)>,
    /// The form of counters: `counters`, or `temporality` where the dialect has that.
    pub counters: Counters,
    /// The largest body before compression, where the dialect lets it be chosen; 64 KiB to 64 MiB.
    pub max_request_bytes: Bytes,
    /// The longest time for one request and its answer; 100 ms to 5 min.
    pub timeout: Duration,
    /// The most requests in flight at once; 1 to 64.
    pub concurrency: usize,
    /// The room in memory for samples that wait; 64 KiB to 1 GiB.
    pub queue_bytes: Bytes,
    pub waiting: WaitingSettings,
    pub unknown_pods: UnknownPods,
    /// The namespace of a pod that is sent under its uid.
    pub unknown_namespace: String,
    /// The file that holds the bearer token; `None`: none is sent, unless
    /// [`TrustSettings::bearer_token_env`] names a variable.
    pub bearer_token_file: Option<PathBuf>,
    /// The header that carries the token; `Authorization` as `Bearer`, any other the token alone.
    pub auth_header: String,
    pub trust: TrustSettings,
    pub client_errors: ClientErrors,
    pub scope: ScopeSettings,
    /// The origin of each of these values.
    pub origins: Origins,
}

/// Defaults of an endpoint that depend on other sections.
#[derive(Debug, Clone, Copy)]
pub(super) struct EndpointDefaults<'a> {
    pub context: ValueContext<'a>,
    pub unknown_pods: UnknownPods,
    pub has_spool: bool,
    pub interval: Duration,
}

impl EndpointSettings {
    /// True if a file of it is a credential of the service, which this process does not have.
    #[must_use]
    pub fn has_credentials_elsewhere(&self) -> bool {
        let trust = &self.trust;
        let of_client = trust.client_certificate.iter();
        let of_client = of_client.flat_map(|files| [&files.certificate, &files.key]);
        let of_headers = trust.header_files.iter().map(|header| &header.file);
        let mut files = self.bearer_token_file.iter().chain(&trust.ca_file);
        files.any(|file| is_credential_elsewhere(file))
            || of_client.chain(of_headers).any(|file| is_credential_elsewhere(file))
    }

    /// The endpoints of the file, then that of the environment.
    pub(super) fn resolve_all(
        from_file: Vec<EndpointLayers>,
        from_environment: &Layers,
        defaults: EndpointDefaults<'_>,
    ) -> Result<Vec<Self>, ConfigError> {
        let mut endpoints: Vec<(Self, Origin)> = Vec::new();
        let mut errors = Vec::new();
        for EndpointLayers { values, header, named_at } in from_file {
            let resolved = Self::resolve(&values, &header, defaults);
            let added = resolved.and_then(|settings| settings.add_to(&mut endpoints, named_at));
            errors.extend(added.err());
        }
        if let Some(origin) = from_environment.first_origin() {
            let resolved = Self::resolve(from_environment, origin, defaults);
            let added = resolved.and_then(|settings| {
                let origin = settings.origins.of(&keys::ENDPOINT_URL).clone();
                settings.add_to(&mut endpoints, origin)
            });
            errors.extend(added.err());
        }
        match ConfigError::of_all(errors) {
            Some(error) => Err(error),
            None => Ok(endpoints.into_iter().map(|(settings, _)| settings).collect()),
        }
    }

    fn add_to(
        self,
        endpoints: &mut Vec<(Self, Origin)>,
        named_at: Origin,
    ) -> Result<(), ConfigError> {
        let name = &self.name;
        let file_line = named_at.file_line();
        if let Some((_, first)) = endpoints.iter().find(|(other, _)| other.name == *name) {
            return Err(ConfigError::new(&format!(
                "{named_at}: endpoint.name = \"{name}\": also the name of the endpoint at {first}; \
                 allowed: a name of its own"
            ))
            .at_line(file_line));
        }
        if endpoints.len() == ENDPOINTS_MAX {
            return Err(ConfigError::new(&format!(
                "{named_at}: endpoint: too many; allowed: at most {ENDPOINTS_MAX}"
            ))
            .at_line(file_line));
        }
        let is_local = !matches!(self.url, Destination::Http(_));
        let others = endpoints.iter().map(|(other, _)| other);
        if let Some(other) = others.into_iter().find(|other| is_local && other.url == self.url) {
            let (place, url) = (self.origins.of(&keys::ENDPOINT_URL), &self.url);
            return Err(ConfigError::new(&format!(
                "{place}: endpoint.url = \"{url}\": also that of the endpoint {}; allowed: one of its \
                 own",
                other.name
            ))
            .at_line(place.file_line()));
        }
        endpoints.push((self, named_at));
        Ok(())
    }

    /// The errors of an endpoint of the file that lacks a key without a default.
    pub(super) fn missing_keys(from_file: &EndpointLayers) -> impl Iterator<Item = ConfigError> {
        let EndpointLayers { values, header, .. } = from_file;
        let required = [&keys::ENDPOINT_NAME, &keys::ENDPOINT_URL].into_iter();
        required.filter(|key| !values.is_set(key)).map(|key| missing(key, header))
    }

    /// `header` is the place of the endpoint as a whole.
    fn resolve(
        layers: &Layers,
        header: &Origin,
        defaults: EndpointDefaults<'_>,
    ) -> Result<Self, ConfigError> {
        let r = &mut Resolver::new(layers, defaults.context);
        let name = match r.find(&keys::ENDPOINT_NAME)? {
            Some(name) => name,
            None if matches!(header, Origin::Environment(_)) => {
                r.read_from(&keys::ENDPOINT_NAME, ENVIRONMENT_ENDPOINT, header.clone())?
            }
            None => return Err(missing(&keys::ENDPOINT_NAME, header)),
        };
        let dialect = r.get(&keys::ENDPOINT_DIALECT)?;
        let url: Destination =
            r.find(&keys::ENDPOINT_URL)?.ok_or_else(|| missing(&keys::ENDPOINT_URL, header))?;
        let rotation = RotationSettings::resolve(r, &url)?;
        let is_local = !matches!(url, Destination::Http(_));
        if is_local {
            check_local(r, dialect)?;
        }
        let (protocol, external_labels) = remote_write(r, dialect)?;
        let counters = counters(r, dialect)?;
        let bearer_token_file: Option<PathBuf> = r.find(&keys::ENDPOINT_BEARER_TOKEN_FILE)?;
        let auth_header: String = r.get(&keys::ENDPOINT_AUTH_HEADER)?;
        let trust = TrustSettings::resolve(r, dialect, &url)?;
        let has_token = bearer_token_file.is_some() || trust.bearer_token_env.is_some();
        for (key, names) in trust.header_names() {
            if has_token && names.iter().any(|name| name.eq_ignore_ascii_case(&auth_header)) {
                return Err(r.conflict(key, "the token is sent in one of them"));
            }
        }
        if !has_token {
            let key = &keys::ENDPOINT_AUTH_HEADER;
            if r.is_set(key) {
                return Err(r.conflict(key, "there is no token that it would carry"));
            }
            r.origins.unset(key);
        }
        Ok(Self {
            name,
            dialect,
            url,
            rotation,
            protocol,
            external_labels,
            counters,
            max_request_bytes: max_request_bytes(r, dialect)?,
            timeout: r.get(&keys::ENDPOINT_TIMEOUT)?,
            concurrency: r.get(&keys::ENDPOINT_CONCURRENCY)?,
            queue_bytes: r.get(&keys::ENDPOINT_QUEUE_BYTES)?,
            waiting: WaitingSettings::resolve(r, dialect, counters, defaults)?,
            unknown_pods: r.get_or(&keys::ENDPOINT_UNKNOWN_PODS, defaults.unknown_pods)?,
            unknown_namespace: r.get(&keys::ENDPOINT_UNKNOWN_NAMESPACE)?,
            bearer_token_file,
            auth_header,
            trust,
            client_errors: r.get(&keys::ENDPOINT_CLIENT_ERRORS)?,
            scope: ScopeSettings::resolve(r)?,
            origins: {
                if is_local {
                    OF_REQUESTS.iter().for_each(|key| r.origins.unset(key));
                }
                std::mem::take(&mut r.origins)
            },
        })
    }
}

/// The error of an endpoint at `header` that lacks `key`.
fn missing(key: &Key, header: &Origin) -> ConfigError {
    match header {
        Origin::Environment(_) => ConfigError::new(&format!(
            "{header}: an endpoint without an address; allowed: with {} beside it",
            key.environment.first().copied().unwrap_or_default()
        )),
        _ => ConfigError::new(&format!(
            "{header}: {} is missing; allowed: {}",
            key.path(),
            key.allowed()
        ))
        .at_line(header.file_line()),
    }
}

/// The keys of remote write.
fn remote_write(
    r: &mut Resolver<'_>,
    dialect: Dialect,
) -> Result<(Protocol, Vec<(String, String)>), ConfigError> {
    let protocol = r.get(&keys::ENDPOINT_PROTOCOL)?;
    let labels: Vec<(String, String)> = r.get(&keys::ENDPOINT_EXTERNAL_LABELS)?;
    if dialect.profile().protocols.is_empty() {
        for key in [&keys::ENDPOINT_PROTOCOL, &keys::ENDPOINT_EXTERNAL_LABELS] {
            if r.is_set(key) {
                let reason = format!("{} has no such setting", dialect.as_str());
                return Err(r.conflict(key, &reason));
            }
            r.origins.unset(key);
        }
    }
    if let Some((name, _)) = labels.iter().find(|(name, _)| !is_label(name)) {
        let reason = format!("{name:?} is no name of a label in Prometheus");
        return Err(r.conflict(&keys::ENDPOINT_EXTERNAL_LABELS, &reason));
    }
    Ok((protocol, labels))
}

/// `true` for a name that a label of Prometheus can have. Names with two underscores in front are its
/// own.
fn is_label(name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.starts_with("__")
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(is_word)
}

/// The form of counters, by the key that the dialect has for it.
fn counters(r: &mut Resolver<'_>, dialect: Dialect) -> Result<Counters, ConfigError> {
    let (counters, temporality) = (&keys::ENDPOINT_COUNTERS, &keys::ENDPOINT_TEMPORALITY);
    let forms = dialect.profile().counters;
    let no_setting = || format!("{} has no such setting", dialect.as_str());
    let (counters_refused, temporality_refused) = match forms {
        CounterForms::Temporality => (Some("the dialect has temporality instead".to_owned()), None),
        CounterForms::Counters | CounterForms::DeltaAlone => {
            (None, Some("the dialect has counters instead".to_owned()))
        }
        CounterForms::Fixed => (Some(no_setting()), Some(no_setting())),
    };
    for (key, refused) in [(counters, counters_refused), (temporality, temporality_refused)] {
        if let Some(reason) = refused
            && r.is_set(key)
        {
            return Err(r.conflict(key, &reason));
        }
    }
    match forms {
        CounterForms::Temporality => return r.get_or(temporality, Counters::Cumulative),
        CounterForms::Fixed => return Ok(Counters::Delta),
        CounterForms::Counters | CounterForms::DeltaAlone => {}
    }
    let wanted = r.get(counters)?;
    if forms == CounterForms::DeltaAlone && wanted != Counters::Delta {
        let reason = format!("{} has amounts of the interval alone", dialect.as_str());
        return Err(r.conflict(counters, &reason));
    }
    Ok(wanted)
}

/// The largest body, where the dialect lets it be chosen.
fn max_request_bytes(r: &mut Resolver<'_>, dialect: Dialect) -> Result<Bytes, ConfigError> {
    let key = &keys::ENDPOINT_MAX_REQUEST_BYTES;
    let bytes = r.get(key)?;
    if !dialect.profile().bounds_bodies {
        if r.is_set(key) {
            let reason = format!("{} has no such setting", dialect.as_str());
            return Err(r.conflict(key, &reason));
        }
        r.origins.unset(key);
    }
    Ok(bytes)
}

/// Settings of requests, which mean nothing for standard output and files.
const OF_REQUESTS: &[&Key] = &[
    &keys::ENDPOINT_TIMEOUT,
    &keys::ENDPOINT_CONCURRENCY,
    &keys::ENDPOINT_DURABILITY,
    &keys::ENDPOINT_SPOOL_BYTES,
    &keys::ENDPOINT_SPOOL_AGE,
    &keys::ENDPOINT_TRIES_MAX,
    &keys::ENDPOINT_SPREAD,
    &keys::ENDPOINT_BEARER_TOKEN_FILE,
    &keys::ENDPOINT_BEARER_TOKEN_ENV,
    &keys::ENDPOINT_AUTH_HEADER,
    &keys::ENDPOINT_HEADERS,
    &keys::ENDPOINT_HEADER_FILES,
    &keys::ENDPOINT_COMPRESSION,
    &keys::ENDPOINT_CLIENT_ERRORS,
];

/// Checks the settings of an endpoint that is standard output or a file.
fn check_local(r: &Resolver<'_>, dialect: Dialect) -> Result<(), ConfigError> {
    if !dialect.profile().is_lines {
        let reason = format!("{} is sent to servers alone", dialect.as_str());
        return Err(r.conflict(&keys::ENDPOINT_URL, &reason));
    }
    match OF_REQUESTS.iter().find(|key| r.is_set(key)) {
        Some(key) => Err(r.conflict(key, "the URL is no server's, so nothing is requested")),
        None => Ok(()),
    }
}

/// The rotation of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationSettings {
    /// The size at which it is renamed; 1 MiB to 64 GiB.
    pub bytes: Bytes,
    /// The renamed files that are kept; 1 to 100.
    pub keep: usize,
}

impl RotationSettings {
    fn resolve(r: &mut Resolver<'_>, url: &Destination) -> Result<Option<Self>, ConfigError> {
        let (bytes, keep) = (&keys::ENDPOINT_ROTATE_BYTES, &keys::ENDPOINT_ROTATE_KEEP);
        if !matches!(url, Destination::File(_)) {
            if let Some(key) = [bytes, keep].into_iter().find(|key| r.is_set(key)) {
                return Err(r.conflict(key, "the URL is none of a file"));
            }
            return Ok(None);
        }
        let size: Option<Bytes> = r.get(bytes)?;
        let kept: usize = r.get(keep)?;
        if size.is_none() {
            if r.is_set(keep) {
                return Err(r.conflict(keep, "rotate_bytes is \"none\""));
            }
            r.origins.unset(keep);
        }
        Ok(size.map(|bytes| Self { bytes, keep: kept }))
    }
}

/// Treatment of samples that an endpoint does not accept at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingSettings {
    pub durability: Durability,
    /// The room on disk for samples that wait; 1 MiB to 64 GiB.
    pub spool_bytes: Bytes,
    /// The longest time that a sample waits; 1 min to 30 d.
    pub spool_age: Duration,
    /// The age at which a sample is stale for a server that files it under its own clock; 1 s to 30 d.
    pub stale_after: Duration,
    pub stale: StalePolicy,
    /// The most tries of a post that fails; 1 to 100.
    pub tries_max: usize,
    /// The time over which nodes spread their sending; up to the interval.
    pub spread: Duration,
}

impl WaitingSettings {
    fn resolve(
        resolver: &mut Resolver<'_>,
        dialect: Dialect,
        counters: Counters,
        defaults: EndpointDefaults<'_>,
    ) -> Result<Self, ConfigError> {
        let EndpointDefaults { has_spool, interval, .. } = defaults;
        let durability = if has_spool { Durability::Disk } else { Durability::Memory };
        let stale = match counters {
            Counters::Delta => StalePolicy::Add,
            Counters::Cumulative => StalePolicy::Drop,
        };
        let stale_after = Duration::from_secs(60).max(4 * interval);
        let spread = (interval / 2).min(DEFAULT_SPREAD_MAX);
        let conflict = |reason: &str| InvalidValue::Conflict(reason.to_owned());
        let waiting = Self {
            durability: resolver.get_or_checked(
                &keys::ENDPOINT_DURABILITY,
                durability,
                |durability| match durability {
                    Durability::Disk if !has_spool => Err(conflict("spool.dir is \"none\"")),
                    _ => Ok(()),
                },
            )?,
            spool_bytes: resolver.get(&keys::ENDPOINT_SPOOL_BYTES)?,
            spool_age: resolver.get(&keys::ENDPOINT_SPOOL_AGE)?,
            stale_after: resolver.get_or(&keys::ENDPOINT_STALE_AFTER, stale_after)?,
            stale: resolver.get_or_checked(&keys::ENDPOINT_STALE, stale, |stale| {
                match (stale, counters) {
                    (StalePolicy::Add, Counters::Cumulative) => {
                        Err(conflict("running totals do not add up"))
                    }
                    _ => Ok(()),
                }
            })?,
            tries_max: resolver.get(&keys::ENDPOINT_TRIES_MAX)?,
            spread: resolver.get_or_checked(&keys::ENDPOINT_SPREAD, spread, |spread| {
                if *spread > interval { Err(InvalidValue::TooLarge) } else { Ok(()) }
            })?,
        };
        if dialect.profile().timestamps.merge().is_none() {
            for key in [&keys::ENDPOINT_STALE_AFTER, &keys::ENDPOINT_STALE] {
                if resolver.is_set(key) {
                    let reason = format!("{} carries its own time", dialect.as_str());
                    return Err(resolver.conflict(key, &reason));
                }
                resolver.origins.unset(key);
            }
        }
        Ok(waiting)
    }
}

/// The part of pods and their data that an endpoint is sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScopeSettings {
    /// Only pods of these are sent; empty: pods of all namespaces.
    pub namespaces: Vec<String>,
    /// Pods of these are not sent.
    pub namespaces_except: Vec<String>,
    /// A label selector as Kubernetes writes it; empty: all.
    pub pod_selector: String,
    /// Keys of annotations; a `*` at the end matches any ending.
    pub annotations: Vec<String>,
    /// True if the resource API is sent more than its document asks for.
    pub extras: bool,
}

impl ScopeSettings {
    fn resolve(resolver: &mut Resolver<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            namespaces: resolver.get(&keys::ENDPOINT_NAMESPACES)?,
            namespaces_except: resolver.get(&keys::ENDPOINT_NAMESPACES_EXCEPT)?,
            pod_selector: resolver.get(&keys::ENDPOINT_POD_SELECTOR)?,
            annotations: resolver.get(&keys::ENDPOINT_ANNOTATIONS)?,
            extras: resolver.get(&keys::ENDPOINT_EXTRAS)?,
        })
    }
}
