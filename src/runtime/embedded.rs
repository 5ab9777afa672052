//! The embedded receiver, which runs while no endpoint is configured.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::warn;

use super::error::AgentError;
use super::host;
use crate::clock;
use crate::config::Settings;
use crate::delivery::{self, BaseUrl};
use crate::descriptors;
use crate::endpoint::client::seed;
use crate::endpoint::endpoint::{BacklogStorage, EndpointSpec};
use crate::endpoint::error::EndpointError;
use crate::endpoint::render::Encoder;
use crate::panics;
use crate::receiver::{Receiver, ReceiverBounds, ReceiverState, SqlitePlace};

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
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

/// The receiver that a reload will run.
pub enum EmbeddedPlan {
    /// No receiver; a running one ends.
    None,
    /// The running receiver continues within these bounds.
    Keep(ReceiverBounds),
    /// A new receiver, bound to its address, over the store of the running one.
    Start(Box<EmbeddedStart>),
}

/// A receiver that is bound but does not answer yet.
pub struct EmbeddedStart {
    listen: SocketAddr,
    receiver: Receiver,
    state: ReceiverState,
    bounds: ReceiverBounds,
}

impl EmbeddedPlan {
    /// Binds the address without starting the receiver: the plan, and the endpoint that sends to it.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn of(
        settings: &Settings,
        running: Option<&Embedded>,
    ) -> Result<(Self, Option<EndpointSpec>), AgentError> {
        if !settings.uses_embedded_receiver() {
            return Ok((Self::None, None));
        }
        let listen = settings.receiver.listen;
        if let Some(running) = running.filter(|running| running.listen == listen) {
            let spec = spec(running.address, settings)?;
            return Ok((Self::Keep(bounds(settings, &running.state)), Some(spec)));
        }
        let state = match running {
            Some(running) => running.state.clone(),
            None => open_or_memory(settings)?.awaiting_first_push(),
        };
        let bounds = bounds(settings, &state);
        let bound = Receiver::bind_with(listen, &state).await;
        let receiver = bound.map_err(|source| AgentError::Listen { address: listen, source })?;
        let spec = spec(receiver.local_addr(), settings)?;
        let start = EmbeddedStart { listen, receiver, state, bounds };
        Ok((Self::Start(Box::new(start)), Some(spec)))
    }

    /// The endpoint that would send to a receiver; `None`: others are configured.
    ///
    /// # Errors
    /// The address makes no URL.
    pub fn spec_without_receiver(settings: &Settings) -> Result<Option<EndpointSpec>, AgentError> {
        let is_used = settings.uses_embedded_receiver();
        is_used.then(|| spec(settings.receiver.listen, settings)).transpose()
    }

    /// Carries the plan out.
    pub async fn apply(self, running: Option<Embedded>) -> Option<Embedded> {
        match self {
            Self::Keep(bounds) => {
                if let Some(running) = &running {
                    running.state.set_bounds(bounds);
                }
                running
            }
            Self::None => {
                if let Some(running) = running {
                    running.end().await;
                }
                None
            }
            Self::Start(start) => {
                let EmbeddedStart { listen, receiver, state, bounds } = *start;
                state.set_bounds(bounds);
                let address = receiver.local_addr();
                if let Some(line) = exposure(address) {
                    warn!("{line}");
                }
                let (stop, stopped) = oneshot::channel();
                let serving = receiver.serve(async {
                    let _ = stopped.await;
                });
                let done = panics::spawn_essential("the receiver", serving);
                if let Some(running) = running {
                    running.end().await;
                }
                Some(Embedded { listen, address, state, stop, done })
            }
        }
    }
}

impl Embedded {
    /// Ends the receiver; requests in progress have one second to finish.
    pub async fn end(self) {
        let _ = self.stop.send(());
        let _ = tokio::time::timeout(Duration::from_secs(1), self.done).await;
    }
}

/// The log line of a receiver that other hosts can reach; `None`: only this host can.
fn exposure(address: SocketAddr) -> Option<String> {
    if address.ip().to_canonical().is_loopback() {
        return None;
    }
    Some(format!(
        "receiver: other hosts can reach {address}; it has no TLS and no tokens, so whoever reaches it \
         reads and writes its figures: limit that by a firewall, or set receiver.listen (--listen) to \
         127.0.0.1:{}",
        address.port()
    ))
}

/// The state over the store that the settings name.
///
/// # Errors
/// The store cannot be opened.
pub(super) fn open(settings: &Settings) -> Result<ReceiverState, AgentError> {
    let Some(path) = &settings.receiver.store else {
        return open_at(&SqlitePlace::Memory, memory_bounds(settings));
    };
    let directory = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    directory.map_err(|error| AgentError::Store {
        store: path.display().to_string(),
        reason: descriptors::describe(&error),
    })?;
    open_at(&SqlitePlace::File(path.clone()), file_bounds(settings))
}

fn open_at(place: &SqlitePlace, bounds: ReceiverBounds) -> Result<ReceiverState, AgentError> {
    let state = ReceiverState::open(place, bounds, Arc::new(clock::wall_time));
    state.map_err(|error| {
        let store = match place {
            SqlitePlace::Memory => "in memory".to_owned(),
            SqlitePlace::File(path) => path.display().to_string(),
        };
        AgentError::Store { store, reason: error.to_string() }
    })
}

/// The state over the store that the settings name, or over one in memory: without a store an agent
/// still samples and answers.
fn open_or_memory(settings: &Settings) -> Result<ReceiverState, AgentError> {
    open(settings).or_else(|error| {
        warn!("{error}; the last hour is kept in memory instead");
        open_at(&SqlitePlace::Memory, memory_bounds(settings))
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
        documents_bytes_max: MEMORY_BYTES_MAX / 4,
        store_bytes_max: Some(MEMORY_BYTES_MAX as u64),
        ..file_bounds(settings)
    }
}

fn spec(address: SocketAddr, settings: &Settings) -> Result<EndpointSpec, AgentError> {
    let reached = host::reached_at(address);
    let url = BaseUrl::parse(&format!("http://{reached}/"))
        .map_err(|source| EndpointError::Url { name: "receiver".to_owned(), source })?;
    Ok(EndpointSpec {
        embedded: true,
        delivery: delivery::DeliverySettings::new("receiver", url, seed(&settings.node.name)),
        // It is in the same process: what it cannot store, it could not have taken from disk either.
        storage: BacklogStorage::default(),
        encoder: Encoder::all(settings),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_receiver_that_others_reach_is_warned_of() {
        for (address, is_exposed) in [
            ("127.0.0.1:7643", false),
            ("127.8.8.8:7643", false),
            ("[::1]:7643", false),
            ("[::ffff:127.0.0.1]:7643", false),
            ("0.0.0.0:7643", true),
            ("[::]:7643", true),
            ("192.0.2.1:7643", true),
        ] {
            let line = exposure(address.parse().unwrap());
            assert_eq!(line.is_some(), is_exposed, "{address}");
            assert!(line.is_none_or(|line| line.ends_with("127.0.0.1:7643")), "{address}");
        }
    }
}
