//! The API server as a source: this node's pods, listed once and watched from there.
//!
//! ```text
//!  ┌─▶ list, page by page ─▶ watch from there ─▶ watch from the last event ─▶ …
//!  │                               │ 410, an event that  (timeoutSeconds, a cut, a server
//!  └───────── backoff ◀────────────┘ is none, refused     that was gone for a while)
//!                                    twice in a row
//! ```
//!
//! A few lookups run beside it: ReplicaSets and Jobs (their metadata only), the Node object, the
//! version. None of them delays a pod's event, and their errors are reported apart from the pods'.
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/>

mod access;
mod api;
mod connect;
mod credentials;
mod error;
mod error_reporter;
mod files;
pub mod kubeconfig;
mod options;
mod owners;
mod plugin;
mod probe;
mod proxy;
mod source;
mod token_review;
mod watch;

pub use access::{ApiAccess, ServiceAccount};
pub use error::ApiError;
pub use options::KubernetesOptions;
pub use probe::probe;
pub use source::run;
pub use token_review::TokenReviewer;
