//! Raw TOML, environment and flags in, one checked [`Settings`] out.
//!
//! Rising order: defaults, the file, the environment, the flags. Nothing is read here: the file's
//! text, the variables and what the host is called are handed in.
//!
//! `keys` says what there is; `file` and `environment` bring what was set; `layer` lays it over
//! one another and remembers where it came from; `value` checks one value; `resolve` makes the
//! settings.

mod choices;
mod delivery;
mod directory;
mod endpoint_url;
mod environment;
mod error;
mod file;
mod inputs;
pub mod keys;
mod layer;
mod resolve;
mod settings;
mod status;
mod trust;
mod value;

pub use choices::{
    ClientErrors, Compression, Counters, DirectorySource, Durability, LogLevel, StalePolicy,
    UnknownPods,
};
pub use directory::{ClusterSettings, DirectorySettings};
pub use endpoint_url::EndpointUrl;
pub use error::{ConfigError, one_line};
pub use file::{ENDPOINTS_MAX, FILE_BYTES_MAX};
pub use inputs::{Flags, Inputs, file_path};
pub use keys::{KEYS, Key};
pub use layer::{Origin, Origins};
pub use settings::{
    EndpointSettings, FilesystemSettings, LogSettings, NodeSettings, PathSettings,
    ReceiverSettings, SamplingSettings, ScopeSettings, Settings, SpoolSettings, StateSettings,
    StatusSettings, WaitingSettings,
};
pub use status::Whereabouts;
pub use trust::{ClientCertificateFiles, TrustSettings};
pub use value::{format_bytes, parse_duration, redacted_url};
