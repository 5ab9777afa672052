//! Raw TOML, environment and flags in, one checked [`Settings`] out.
//!
//! Rising order: defaults, the file, the environment, the flags. Nothing is read here: the file's
//! text, the variables and what the host is called are handed in.
//!
//! `keys` says what there is; `file` and `environment` bring what was set; `layer` lays it over
//! one another and remembers where it came from; `value` checks one value; `resolve` makes the
//! settings.

mod delivery;
mod directory;
mod endpoint_url;
mod environment;
mod error;
mod file;
pub mod keys;
mod layer;
mod resolve;
mod settings;
mod status;
mod trust;
mod value;

pub use directory::{ClusterSettings, DirectorySettings, DirectorySource};
pub use endpoint_url::EndpointUrl;
pub use error::{ConfigError, one_line};
pub use file::{ENDPOINTS_MAX, FILE_BYTES_MAX};
pub use keys::{KEYS, Key};
pub use layer::{Origin, Origins};
pub use resolve::{Flags, Inputs, file_path};
pub use settings::{
    ClientErrors, Counters, Dialect, Durability, EndpointSettings, FilesystemSettings, Late,
    LogLevel, LogSettings, NodeSettings, PathSettings, ReceiverSettings, SamplingSettings,
    ScopeSettings, Settings, SpoolSettings, StateSettings, StatusSettings, UnknownPods,
    WaitingSettings,
};
pub use status::Whereabouts;
pub use trust::{ClientCertificateFiles, Compression, TrustSettings};
pub use value::{format_bytes, parse_duration, redacted_url};
