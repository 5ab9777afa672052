//! A server for the APIs that the agent sends to. It stores pushes in a database and answers reads, among them `metrics.k8s.io`.
//!
//! A post with an `Idempotency-Key` that was accepted before is not counted again.
//!
//! Each push is stamped with the receiver's own clock, which is passed in. Malformed posts are
//! refused, also where the servers that this one replaces accept them (see
//! [`crate::payload::resource_api`]). Connections, bodies, nodes, pods, points, rows, bytes and time
//! are bounded.

mod access;
mod answer;
mod api_server;
mod bounds;
mod common_name;
mod content_coding;
mod front_proxy;
mod host_header;
mod idempotency;
mod listener;
mod listing;
mod metrics_k8s_io;
mod minute_log;
mod openapi;
mod page;
mod pod_batch;
mod pod_lifecycle;
mod request;
mod resource_api;
mod rights;
mod routes;
mod samples;
mod server;
mod span;
mod state;
mod store;
mod tls;
mod token_review;
mod tokens_file;

pub use bounds::ReceiverBounds;
pub use common_name::decode_common_name;
pub use front_proxy::{ClientCertificates, FrontProxy, FrontProxyError};
pub use host_header::host_fault;
pub use listener::{ConnectionLimits, Listener, Peer, serve_router};
pub use routes::router;
pub use server::Receiver;
pub use state::{OpenError, ReceiverAccess, ReceiverState, WallClock};
pub use store::{
    HistoryInfo, PostgresAddress, PostgresAddressError, SqlitePlace, StoreFileError, StoreFileInfo,
    StorePlace, backup_store, compact_store, store_info,
};
pub use tls::{OnFailedHandshake, TlsListener};
pub use token_review::{AUDIENCE, AskForUser, ReviewedUser, TokenReviews};
pub use tokens_file::{TokensFile, TokensFileError};
