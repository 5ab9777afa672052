//! One POST over HTTP: where it goes, who vouches for whom on the way, and what its answer means.

mod answer;
mod base_url;
mod connection;
mod encoding;
mod error;
mod failure;
mod forms;
mod mask;
mod proxy;
mod sender;
mod tls;
mod token;
mod trust;

pub use base_url::{BaseUrl, UrlError};
pub use encoding::BodyEncoding;
pub use error::HttpError;
pub use proxy::Proxies;
pub use sender::Getter;
pub use tls::{ClientCertificate, Tls};
pub use token::{Credential, SecretText, TokenSource, secret_header};
pub use trust::EndpointTrust;

pub(super) use answer::{PostOutcome, Remark};
pub(super) use sender::{Sender, Sent};
