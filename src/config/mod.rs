//! Raw TOML, environment and flags in, one checked [`Settings`] out.
//!
//! Rising order: defaults, the file, the environment, the flags. Nothing is read here: the file's
//! text, the variables and the host's name are passed in.
//!
//! `keys` declares every key; `kind` reads and describes its values with the checks in `value`.
//! `file` and `environment` find what is set, and `layer` resolves one key from what is set. The
//! sections of `settings`, `directory` and `endpoint` are resolved beside their structs, and
//! `resolve` resolves all of them.

mod choices;
mod destination;
mod directory;
mod endpoint;
mod endpoint_url;
mod environment;
mod error;
mod file;
mod headers;
mod inputs;
pub mod keys;
mod kind;
mod layer;
mod location;
mod nearest;
mod resolve;
mod settings;
mod store_location;
mod trust;
mod value;
mod variables;

pub use choices::{
    ClientErrors, Compression, Counters, DirectorySource, Durability, LogFormat, LogLevel,
    StalePolicy, UnknownPods,
};
pub use destination::Destination;
pub use directory::{ClusterSettings, DirectorySettings};
pub use endpoint::{EndpointSettings, RotationSettings, ScopeSettings, WaitingSettings};
pub use endpoint_url::{EndpointUrl, InvalidUrl};
pub use error::{ConfigError, InvalidValue, one_line};
pub use file::{ENDPOINTS_MAX, FILE_BYTES_MAX};
pub use headers::{Header, HeaderFile};
pub use inputs::{DEFAULT_FILE, FileChoice, Flags, Inputs, file_choice};
pub use keys::{FlagCommands, KEYS, Key, KeyDefault, KeyFlag};
pub use kind::{InvalidDuration, Kind, parse_duration};
pub use layer::{Origin, Origins};
pub use location::StatusLocation;
pub use settings::{
    FilesystemSettings, FrontProxySettings, LogSettings, MetricsSettings, NodeSettings,
    PathSettings, ReceiverSettings, SamplingSettings, ServerCertificateFiles, Settings,
    SpoolSettings, StateSettings, StatusSettings,
};
pub use store_location::StoreLocation;
pub use trust::{ClientCertificateFiles, TrustSettings};
pub use value::{HostLookup, format_bytes, is_credential_elsewhere, redacted_url};
