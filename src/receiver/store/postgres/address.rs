//! The URL of a database, with the parameters that this receiver adds.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use thiserror::Error;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use crate::small_file;

/// The largest file of a password.
const PASSWORD_BYTES_MAX: usize = 4096;

/// The address of a PostgreSQL database.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresAddress {
    /// Without a password from a file.
    pub(super) config: Config,
    pub(super) tls: TlsMode,
    /// The certificates of the authorities that are trusted; `None`: those of the system.
    pub(super) ca_file: Option<PathBuf>,
    password_file: Option<PathBuf>,
    /// False: a new schema has no partitions.
    pub(super) wants_partitions: bool,
}

/// The protection of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TlsMode {
    Disable,
    /// TLS where the server has it. Nobody's certificate is checked.
    Prefer,
    /// TLS. Nobody's certificate is checked.
    Require,
    /// TLS with a certificate for the name of the host.
    VerifyFull,
}

/// A URL that cannot be used. No message repeats the URL, which may have a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PostgresAddressError {
    #[error("the URL must begin with postgres:// or postgresql://")]
    Scheme,
    #[error("the URL cannot be read ({0})")]
    Syntax(String),
    #[error("the URL has no {0}: postgres://USER@HOST/DATABASE is the form")]
    Missing(&'static str),
    #[error("the URL has a password: put it into a file, password_file=FILE")]
    Password,
    #[error("sslmode must be disable, prefer, require or verify-full")]
    TlsMode,
    #[error("sslrootcert needs sslmode=verify-full: the other modes check no certificate")]
    UncheckedAuthority,
    #[error("partitions must be on or off")]
    Partitions,
}

impl PostgresAddress {
    /// The address of a URL `postgres://USER@HOST/DATABASE`. Its parameters are those of libpq that
    /// tokio-postgres knows, with `sslmode` and `sslrootcert`; `password_file` and
    /// `partitions` are this program's own.
    ///
    /// # Errors
    /// It is no such URL.
    pub fn of_url(url: &str) -> Result<Self, PostgresAddressError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(PostgresAddressError::Scheme);
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut tls, mut ca_file, mut password_file) = (None, None, None);
        let mut wants_partitions = true;
        let mut others = Vec::new();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = percent_decode_str(value).decode_utf8_lossy();
            match name {
                "sslmode" => tls = Some(TlsMode::of(&value)?),
                "sslrootcert" => ca_file = Some(PathBuf::from(&*value)),
                "password_file" => password_file = Some(PathBuf::from(&*value)),
                "partitions" => match &*value {
                    "on" => wants_partitions = true,
                    "off" => wants_partitions = false,
                    _ => return Err(PostgresAddressError::Partitions),
                },
                _ => others.push(parameter),
            }
        }
        let mut config: Config = format!("{base}?{}", others.join("&"))
            .parse()
            .map_err(|error| PostgresAddressError::Syntax(super::error::described(&error)))?;
        if config.get_password().is_some() {
            return Err(PostgresAddressError::Password);
        }
        if config.get_user().is_none() {
            return Err(PostgresAddressError::Missing("user"));
        }
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(PostgresAddressError::Missing("host"));
        }
        if config.get_dbname().is_none() {
            return Err(PostgresAddressError::Missing("database"));
        }
        let tls = tls.unwrap_or(match is_local(&config) && ca_file.is_none() {
            true => TlsMode::Prefer,
            false => TlsMode::VerifyFull,
        });
        if ca_file.is_some() && tls != TlsMode::VerifyFull {
            return Err(PostgresAddressError::UncheckedAuthority);
        }
        config.ssl_mode(match tls {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            TlsMode::Require | TlsMode::VerifyFull => SslMode::Require,
        });
        if config.get_application_name().is_none() {
            config.application_name("nodetally receive");
        }
        // Behind a failover, the one that can be written.
        let is_any = config.get_target_session_attrs() == TargetSessionAttrs::Any;
        if is_any && config.get_hosts().len() > 1 {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        config.connect_timeout(Duration::from_secs(5));
        config.tcp_user_timeout(Duration::from_secs(30));
        config.keepalives_idle(Duration::from_secs(30));
        Ok(Self { config, tls, ca_file, password_file, wants_partitions })
    }

    /// The settings of a new connection, with the password of its file as it is now.
    pub(super) fn config(&self) -> Result<Config, String> {
        let mut config = self.config.clone();
        let Some(path) = &self.password_file else { return Ok(config) };
        let (bytes, _) = small_file::read(path, PASSWORD_BYTES_MAX)
            .map_err(|error| format!("password_file {}: {error}", path.display()))?;
        let end = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r'));
        let password = end.and_then(|end| bytes.get(..=end)).unwrap_or_default();
        if password.is_empty() {
            return Err(format!("password_file {} is empty", path.display()));
        }
        config.password(password);
        Ok(config)
    }
}

impl TlsMode {
    fn of(word: &str) -> Result<Self, PostgresAddressError> {
        Ok(match word {
            "disable" => Self::Disable,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-full" => Self::VerifyFull,
            _ => return Err(PostgresAddressError::TlsMode),
        })
    }
}

/// Nothing leaves this host.
fn is_local(config: &Config) -> bool {
    let is_loopback = |address: &IpAddr| address.to_canonical().is_loopback();
    let mut addresses = config.get_hostaddrs().iter();
    let mut hosts = config.get_hosts().iter();
    addresses.all(is_loopback)
        && hosts.all(|host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => {
                name == "localhost" || name.parse().is_ok_and(|address| is_loopback(&address))
            }
        })
}

/// User, host and database, without a password.
impl fmt::Display for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = &self.config;
        write!(f, "postgres://{}@", config.get_user().unwrap_or_default())?;
        for (at, host) in config.get_hosts().iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            match host {
                Host::Tcp(name) => write!(f, "{comma}{name}")?,
                Host::Unix(path) => write!(f, "{comma}{}", path.display())?,
            }
        }
        write!(f, "/{}", config.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_the_parts_of_libpq_and_a_file_of_the_password() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, "a%b\n").unwrap();
        let url = format!(
            "postgresql://nodetally@db.example.com:5433/metrics?sslmode=require&password_file={}",
            file.display()
        );
        let address = PostgresAddress::of_url(&url).unwrap();
        assert_eq!(address.config().unwrap().get_password(), Some(&b"a%b"[..]));
        assert_eq!(address.config.get_ports(), [5433]);
        assert_eq!(address.tls, TlsMode::Require);
        assert_eq!(address.to_string(), "postgres://nodetally@db.example.com/metrics");
        std::fs::remove_file(&file).unwrap();
        assert!(address.config().unwrap_err().contains("password_file"));
    }

    #[test]
    fn tls_is_verified_unless_the_database_is_on_this_host() {
        for (url, mode) in [
            ("postgres://u@db/m", TlsMode::VerifyFull),
            ("postgres://u@10.0.0.7/m", TlsMode::VerifyFull),
            ("postgres://u@localhost,db/m", TlsMode::VerifyFull),
            ("postgres://u@localhost/m", TlsMode::Prefer),
            ("postgres://u@127.0.0.1/m", TlsMode::Prefer),
            ("postgres://u@%2Frun%2Fpostgresql/m", TlsMode::Prefer),
            ("postgres://u@db/m?sslmode=disable", TlsMode::Disable),
            ("postgres://u@localhost/m?sslrootcert=ca.pem", TlsMode::VerifyFull),
        ] {
            assert_eq!(PostgresAddress::of_url(url).unwrap().tls, mode, "{url}");
        }
    }

    #[test]
    fn a_wrong_url_is_named_without_its_password() {
        for (url, part) in [
            ("mysql://u:secret@h/d", "must begin with postgres://"),
            ("postgres://u:secret@h/d", "password_file"),
            ("postgres://u@h/d?password=secret", "password_file"),
            ("postgres://u@h", "no database"),
            ("postgres:///d", "no user"),
            ("postgres://u:secret@h/d?sslmode=allow", "sslmode must be"),
            ("postgres://u@h/d?sslmode=require&sslrootcert=ca.pem", "needs sslmode=verify-full"),
            ("postgres://u:secret@h/d?nonsense=1", "nonsense"),
            ("postgres://u:secret@h:port/d", "cannot be read"),
        ] {
            let error = PostgresAddress::of_url(url).unwrap_err().to_string();
            assert!(error.contains(part), "{url}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
