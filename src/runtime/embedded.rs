//! The embedded receiver, which runs while no endpoint is configured.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::warn;

use super::error::AgentError;
use super::{host, receiver_access};
use crate::clock;
use crate::config::{ReceiverSettings, Settings, StoreLocation};
use crate::delivery::{self, BaseUrl};
use crate::descriptors;
use crate::endpoint::client::seed;
use crate::endpoint::endpoint::{BacklogStorage, EndpointSpec};
use crate::endpoint::error::EndpointError;
use crate::endpoint::render::Encoder;
use crate::panics;
use crate::receiver::{
    PostgresAddress, Receiver, ReceiverAccess, ReceiverBounds, ReceiverState, SqlitePlace,
    StorePlace,
};

/// The most bytes of a store in memory.
const MEMORY_BYTES_MAX: usize = 64 << 20;

/// The longest that a store in memory can answer back.
const MEMORY_RETENTION_MAX: Duration = Duration::from_secs(3600);

/// The most bytes of each kind of documents in a file.
const FILE_DOCUMENTS_BYTES_MAX: usize = 1 << 30;

/// A running receiver.
#[derive(Debug)]
pub struct Embedded {
    /// The configured address; port 0 means any port.
    listen: SocketAddr,
    pub address: SocketAddr,
    state: ReceiverState,
    serving: ServedReceiver,
    own: Option<ServedReceiver>,
}

/// A receiver that answers on one address.
#[derive(Debug)]
struct ServedReceiver {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

/// The receiver that a reload will run.
pub enum EmbeddedPlan {
    /// No receiver; a running one ends.
    None,
    /// The running receiver continues.
    Keep(Box<EmbeddedKeep>),
    /// A new receiver, bound to its address, over the store of the running one.
    Start(Box<EmbeddedStart>),
}

/// The changes to a running receiver.
pub struct EmbeddedKeep {
    bounds: ReceiverBounds,
    access: ReceiverAccess,
    /// As in [`EmbeddedStart`]; also `None` where one runs.
    own: Option<Receiver>,
}

/// A receiver that is bound but does not answer yet.
pub struct EmbeddedStart {
    listen: SocketAddr,
    receiver: Receiver,
    /// A second one without TLS on a loopback address, where this process itself posts: the name in
    /// the certificate is for others. `None` without TLS.
    own: Option<Receiver>,
    state: ReceiverState,
    bounds: ReceiverBounds,
    access: ReceiverAccess,
    /// The log line of a receiver that strangers reach.
    exposure: Option<String>,
}

impl EmbeddedPlan {
    /// Binds the address without starting the receiver: the plan, and the endpoint that sends to it.
    ///
    /// # Errors
    /// The address cannot be bound or is open to strangers, or a file cannot be used.
    pub async fn of(
        settings: &Settings,
        running: Option<&Embedded>,
    ) -> Result<(Self, Option<EndpointSpec>), AgentError> {
        if !settings.uses_embedded_receiver() {
            return Ok((Self::None, None));
        }
        let listen = settings.receiver.listen;
        let access = receiver_access::open(settings)?;
        if let Some(running) = running.filter(|running| running.listen == listen) {
            let state = &running.state;
            let own = match &running.own {
                Some(_) => None,
                None => bind_own(&access, state).await?,
            };
            let running_at = running.own.as_ref().map_or(running.address, |own| own.address);
            let address = own.as_ref().map_or(running_at, Receiver::local_addr);
            let spec = spec(address, Some(state), settings)?;
            let keep = EmbeddedKeep { bounds: bounds(settings, state), access, own };
            return Ok((Self::Keep(Box::new(keep)), Some(spec)));
        }
        let state = match running {
            Some(running) => running.state.clone(),
            None => open_or_memory(settings)?.awaiting_first_push(),
        };
        let bounds = bounds(settings, &state);
        let bound = Receiver::bind_with(listen, &state).await;
        let receiver = bound.map_err(|source| AgentError::Listen { address: listen, source })?;
        let receiver = receiver.with_tls_of(&state, receiver_access::on_failed_handshake());
        let own = bind_own(&access, &state).await?;
        let address = own.as_ref().unwrap_or(&receiver).local_addr();
        let spec = spec(address, Some(&state), settings)?;
        let exposure = exposure(&settings.receiver, receiver.local_addr());
        let start = EmbeddedStart { listen, receiver, own, state, bounds, access, exposure };
        Ok((Self::Start(Box::new(start)), Some(spec)))
    }

    /// The endpoint that would send to a receiver; `None`: others are configured.
    ///
    /// # Errors
    /// The address makes no URL.
    pub fn spec_without_receiver(settings: &Settings) -> Result<Option<EndpointSpec>, AgentError> {
        let is_used = settings.uses_embedded_receiver();
        is_used.then(|| spec(settings.receiver.listen, None, settings)).transpose()
    }

    /// Carries the plan out.
    pub async fn apply(self, running: Option<Embedded>) -> Option<Embedded> {
        match self {
            Self::Keep(keep) => {
                let EmbeddedKeep { bounds, access, own } = *keep;
                let mut running = running?;
                running.state.set_bounds(bounds);
                running.state.set_access(access);
                if let Some(own) = own {
                    running.own = Some(ServedReceiver::start(own));
                }
                Some(running)
            }
            Self::None => {
                if let Some(running) = running {
                    running.end().await;
                }
                None
            }
            Self::Start(start) => {
                let EmbeddedStart { listen, receiver, own, state, bounds, access, exposure } =
                    *start;
                state.set_bounds(bounds);
                state.set_access(access);
                if let Some(line) = exposure {
                    warn!("{line}");
                }
                let serving = ServedReceiver::start(receiver);
                let own = own.map(ServedReceiver::start);
                if let Some(running) = running {
                    running.end().await;
                }
                Some(Embedded { listen, address: serving.address, state, serving, own })
            }
        }
    }
}

impl Embedded {
    /// Ends the receiver; requests in progress have one second to finish.
    pub async fn end(self) {
        if let Some(own) = self.own {
            own.end().await;
        }
        self.serving.end().await;
    }
}

impl ServedReceiver {
    fn start(receiver: Receiver) -> Self {
        let address = receiver.local_addr();
        let (stop, stopped) = oneshot::channel();
        let serving = receiver.serve(async {
            let _ = stopped.await;
        });
        Self { address, stop, done: panics::spawn_essential("the receiver", serving) }
    }

    async fn end(self) {
        let _ = self.stop.send(());
        let _ = tokio::time::timeout(Duration::from_secs(1), self.done).await;
    }
}

/// The receiver at which this process itself posts; `None`: the other one has no TLS.
async fn bind_own(
    access: &ReceiverAccess,
    state: &ReceiverState,
) -> Result<Option<Receiver>, AgentError> {
    if access.tls.is_none() {
        return Ok(None);
    }
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let bound = Receiver::bind_with(address, state).await;
    bound.map(Some).map_err(|source| AgentError::Listen { address, source })
}

/// The log line of a receiver that strangers reach; `None`: none does.
fn exposure(settings: &ReceiverSettings, address: SocketAddr) -> Option<String> {
    let reason = receiver_access::exposure(settings)?;
    Some(format!(
        "receiver: other hosts can reach {address}; {reason}: limit that by a firewall, or set \
         receiver.listen (--listen) to 127.0.0.1:{}",
        address.port()
    ))
}

/// The state over the store that the settings name.
///
/// # Errors
/// The store cannot be opened.
pub(super) fn open(settings: &Settings) -> Result<ReceiverState, AgentError> {
    let path = match &settings.receiver.store {
        None => return open_at(&StorePlace::MEMORY, memory_bounds(settings)),
        Some(StoreLocation::File(path)) => path,
        Some(StoreLocation::Postgres(url)) => {
            let address = PostgresAddress::of_url(url).map_err(|error| AgentError::Store {
                store: "receiver.store".to_owned(),
                reason: error.to_string(),
            })?;
            return open_at(&StorePlace::Postgres(Box::new(address)), file_bounds(settings));
        }
    };
    let directory = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    directory.map_err(|error| AgentError::Store {
        store: path.display().to_string(),
        reason: descriptors::describe(&error),
    })?;
    open_at(&StorePlace::Sqlite(SqlitePlace::File(path.clone())), file_bounds(settings))
}

fn open_at(place: &StorePlace, bounds: ReceiverBounds) -> Result<ReceiverState, AgentError> {
    let state = ReceiverState::open(place, bounds, Arc::new(clock::wall_time));
    state.map_err(|error| AgentError::Store { store: place.to_string(), reason: error.to_string() })
}

/// The state over the store that the settings name, or over one in memory: without a store an agent
/// still samples and answers.
fn open_or_memory(settings: &Settings) -> Result<ReceiverState, AgentError> {
    open(settings).or_else(|error| {
        warn!("{error}; the last hour is kept in memory instead");
        open_at(&StorePlace::MEMORY, memory_bounds(settings))
    })
}

/// The bounds of the settings, as they hold for this state.
fn bounds(settings: &Settings, state: &ReceiverState) -> ReceiverBounds {
    if state.is_in_memory() { memory_bounds(settings) } else { file_bounds(settings) }
}

fn file_bounds(settings: &Settings) -> ReceiverBounds {
    ReceiverBounds {
        retention: settings.receiver.retention,
        stale_after: settings.receiver.stale_after,
        documents_bytes_max: FILE_DOCUMENTS_BYTES_MAX,
        ..ReceiverBounds::for_interval(settings.sampling.interval)
    }
}

fn memory_bounds(settings: &Settings) -> ReceiverBounds {
    ReceiverBounds {
        retention: settings.receiver.retention.min(MEMORY_RETENTION_MAX),
        documents_bytes_max: MEMORY_BYTES_MAX / 16,
        store_bytes_max: Some(MEMORY_BYTES_MAX as u64),
        ..file_bounds(settings)
    }
}

/// The endpoint that sends to the receiver at `address`. `state` is that of the receiver.
fn spec(
    address: SocketAddr,
    state: Option<&ReceiverState>,
    settings: &Settings,
) -> Result<EndpointSpec, AgentError> {
    let reached = host::reached_at(address);
    let url = BaseUrl::parse(&format!("http://{reached}/"))
        .map_err(|source| EndpointError::Url { name: "receiver".to_owned(), source })?;
    let mut delivery = delivery::DeliverySettings::new("receiver", url, seed(&settings.node.name));
    let token = state.map(|state| HeaderValue::from_str(&format!("Bearer {}", state.own_token())));
    if let Some(Ok(mut token)) = token {
        token.set_sensitive(true);
        delivery.headers.insert(AUTHORIZATION, token);
    }
    Ok(EndpointSpec {
        embedded: true,
        delivery,
        // It is in the same process: what it cannot store, it could not have taken from disk either.
        storage: BacklogStorage::default(),
        encoder: Encoder::all(settings),
    })
}
