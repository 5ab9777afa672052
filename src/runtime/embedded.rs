//! The receiver that the agent brings along while no endpoint is configured.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::agent::AgentError;
use crate::clock;
use crate::config::Settings;
use crate::delivery::{self, BaseUrl};
use crate::endpoint::client::seed;
use crate::endpoint::endpoint::{BacklogStorage, EndpointSpec};
use crate::endpoint::error::EndpointError;
use crate::endpoint::render::Encoder;
use crate::receiver::{Receiver, ReceiverBounds, ReceiverState};

/// The most points of one series, however long the retention and short the interval.
const POINTS_MAX: usize = 3600;

/// The most posts that are remembered, for 280 KiB: of 110 pods and the node every 15 s those of 18
/// minutes. Here a repeat comes within a few retries or never: what waits longer waits for a
/// receiver that ended with its agent, and the next one knows of no post before.
const POST_KEYS_MAX: usize = 1 << 13;

/// A receiver that answers.
#[derive(Debug)]
pub struct Embedded {
    /// As the settings have it: port 0 for any.
    listen: SocketAddr,
    pub address: SocketAddr,
    state: ReceiverState,
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

/// What is to be in its place.
pub enum EmbeddedPlan {
    /// There is none and none is wanted, or the one that runs ends.
    None,
    /// The one that runs goes on within these bounds.
    Keep(ReceiverBounds),
    /// Bound, over what the one that runs keeps, if there is one.
    Begin(Box<Beginning>),
}

pub struct Beginning {
    listen: SocketAddr,
    receiver: Receiver,
    state: ReceiverState,
    bounds: ReceiverBounds,
}

impl EmbeddedPlan {
    /// Binds what is needed and changes nothing yet; and how the receiver is sent to, where one is
    /// wanted.
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
        let bounds = bounds(settings);
        if let Some(running) = running.filter(|running| running.listen == listen) {
            let wanted = wanted(running.address, settings)?;
            return Ok((Self::Keep(bounds), Some(wanted)));
        }
        let state = match running {
            Some(running) => running.state.clone(),
            None => ReceiverState::new(bounds.clone(), Arc::new(clock::wall_time)),
        };
        let bound = Receiver::bind_with(listen, &state).await;
        let receiver = bound.map_err(|source| AgentError::Listen { address: listen, source })?;
        let wanted = wanted(receiver.local_addr(), settings)?;
        let beginning = Beginning { listen, receiver, state, bounds };
        Ok((Self::Begin(Box::new(beginning)), Some(wanted)))
    }

    /// Does what was planned.
    pub async fn carry_out(self, running: Option<Embedded>) -> Option<Embedded> {
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
            Self::Begin(beginning) => {
                let Beginning { listen, receiver, state, bounds } = *beginning;
                state.set_bounds(bounds);
                let address = receiver.local_addr();
                let (stop, stopped) = oneshot::channel();
                let done = tokio::spawn(receiver.serve(async {
                    let _ = stopped.await;
                }));
                if let Some(running) = running {
                    running.end().await;
                }
                Some(Embedded { listen, address, state, stop, done })
            }
        }
    }
}

impl Embedded {
    /// Answers under way have a moment to be finished.
    pub async fn end(self) {
        let _ = self.stop.send(());
        let _ = tokio::time::timeout(Duration::from_secs(1), self.done).await;
    }
}

fn bounds(settings: &Settings) -> ReceiverBounds {
    let mut bounds = ReceiverBounds::for_interval(settings.sampling.interval);
    bounds.retention = settings.receiver.retention;
    bounds.stale_after = settings.receiver.stale_after;
    let points = bounds.retention.as_millis() / settings.sampling.interval.as_millis().max(1);
    // One more for the point that a window of the whole retention begins with.
    bounds.post_keys_max = POST_KEYS_MAX;
    bounds.points_max = usize::try_from(points + 1).unwrap_or(usize::MAX).min(POINTS_MAX);
    bounds
}

fn wanted(address: SocketAddr, settings: &Settings) -> Result<EndpointSpec, AgentError> {
    // A receiver on every address is reached on the loopback one.
    let reached = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            SocketAddr::from((Ipv4Addr::LOCALHOST, v4.port()))
        }
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            SocketAddr::from((Ipv6Addr::LOCALHOST, v6.port()))
        }
        address => address,
    };
    let url = BaseUrl::parse(&format!("http://{reached}/")).map_err(|error| EndpointError {
        name: "receiver".to_owned(),
        reason: error.to_string(),
    })?;
    Ok(EndpointSpec {
        embedded: true,
        delivery: delivery::DeliverySettings::new("receiver", url, seed(&settings.node.name)),
        // What it keeps itself is in memory too.
        storage: BacklogStorage::default(),
        encoder: Encoder::all(settings),
    })
}
