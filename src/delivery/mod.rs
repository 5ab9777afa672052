//! Delivery of bytes to endpoints over HTTP: each endpoint has a bounded queue and a worker of its
//! own.
//!
//! ```text
//! sampler thread ── Handle::offer ──▶ queue (bounded, oldest dropped) ──▶ Worker ──▶ endpoint
//! ```
//!
//! Promises: a post is sent at least once, or counted as dropped by reason. It carries a key by
//! which a server recognises a repeat. One endpoint never delays another or the sampler. With a
//! spool, samples that an endpoint does not accept promptly are on disk.
//!
//! Delivery sees paths, bytes and headers, and does not interpret them.

mod deadline;
mod disk;
mod dry_run;
mod http;
mod log;
mod queue;
mod refusal;
mod round;
mod settings;
mod setup;
mod sink;
mod stale;
mod statistics;
mod worker;

pub use deadline::reached;
pub use dry_run::{BodyAsJson, DryRun};
pub use http::{
    BaseUrl, BodyEncoding, ClientCertificate, Credential, EndpointTrust, Getter, HttpError,
    Proxies, SecretText, Tls, TokenSource, UrlError, secret_header,
};
pub use queue::Handle;
pub use settings::{AnswerReader, BodyForm, DeliverySettings, PointCounter, Split};
pub use setup::{ClientError, Storage, endpoint, probe};
pub use sink::{Rotation, SinkSettings, SinkTarget, SinkWorker, sink};
pub use stale::{MergeBodies, StaleAction, StaleRule};
pub use statistics::{Drops, Health, OnDisk, PointDrops, Statistics};
pub use worker::{MomentClock, Worker};
