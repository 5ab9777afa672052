//! The kinds of values that keys hold: how one is read, described and written.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::destination::Destination;
use super::endpoint_url::EndpointUrl;
use super::error::InvalidValue;
use super::headers::{self, HEADERS_MAX, Header, HeaderFile};
use super::store_location::StoreLocation;
use super::value::{self, Raw, SOCKET_PATH_BYTES_MAX, ValueContext, format_bytes, toml_string};
use super::variables::{CREDENTIALS, VARIABLE_PREFIX};
use crate::quantity::Bytes;

/// The values that a key may hold.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    Bool,
    /// Both limits are allowed; `examples` is quoted as it is.
    Duration {
        min: Duration,
        max: Duration,
        examples: &'static str,
    },
    Count {
        min: usize,
        max: usize,
    },
    Bytes {
        min: Bytes,
        max: Bytes,
        example: &'static str,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A name that is one segment of a URL and one component of a path.
    Name {
        chars_max: usize,
    },
    /// A namespace of Kubernetes.
    Namespace,
    /// A text without control characters, described by `what`.
    Text {
        bytes_max: usize,
        what: &'static str,
    },
    KeyAndValue,
    TokenHeader,
    /// Headers with their values.
    Headers,
    /// Headers with the files of their values.
    HeaderFiles,
    TokenVariable,
    DnsName,
    /// A path of any form, described by these words.
    Path(&'static str),
    /// The absolute path of a thing, described by these words.
    AbsolutePath(&'static str),
    /// An absolute path that may begin at the directory of credentials.
    SecretPath(&'static str),
    SocketPath,
    /// The place of the receiver's store.
    Store,
    HttpsUrl {
        example: &'static str,
    },
    /// A server, standard output or a file.
    Destination {
        example: &'static str,
    },
    /// An IP address or the name of a host, and a port.
    Address {
        examples: &'static str,
    },
    /// A value of this kind, or `none`; the text says what `none` does.
    OrNone(&'static Kind, &'static str),
    /// Up to `max` values of one kind; `items` names them.
    List {
        of: &'static Kind,
        max: usize,
        items: &'static str,
    },
    /// Some of these words in any order, each once.
    Set(&'static [&'static str]),
}

impl Kind {
    /// The values that are allowed, as error lines and the documentation describe them.
    #[must_use]
    pub fn allowed(&self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Duration { min, max, examples } => allowed_durations(*min, *max, examples),
            Self::Count { min, max } => format!("an integer from {min} to {max}"),
            Self::Bytes { min, max, example } => format!(
                "from {} to {}: an integer of bytes, or a text such as \"{example}\" (KiB, MiB or \
                 GiB)",
                format_bytes(*min),
                format_bytes(*max)
            ),
            Self::Choice(words) => enumeration(words, "or"),
            Self::Name { chars_max } => format!(
                "1 to {chars_max} letters, digits, \".\", \"_\" and \"-\", starting with a letter \
                 or digit"
            ),
            Self::Namespace => "1 to 63 lower-case letters, digits and \"-\", starting and ending \
                                with a letter or digit"
                .to_owned(),
            Self::Text { what, .. } | Self::Path(what) => (*what).to_owned(),
            Self::KeyAndValue => "a text KEY=VALUE".to_owned(),
            Self::TokenHeader => "the name of an HTTP header that the request does not need for \
                                  itself, such as \"X-API-Key\""
                .to_owned(),
            Self::Headers => format!(
                "a table of up to {HEADERS_MAX} headers with their values, such as \
                 {{ \"X-Scope-OrgID\" = \"shop\" }}; in a variable NAME=VALUE with commas between"
            ),
            Self::HeaderFiles => format!(
                "a table of up to {HEADERS_MAX} headers with the absolute paths of their files, such as \
                 {{ \"X-API-Key\" = \"/etc/nodetally/key\" }}; in a variable NAME=PATH with commas \
                 between"
            ),
            Self::TokenVariable => format!(
                "the name of an environment variable that holds the token, which begins with \
                 another word than {VARIABLE_PREFIX}"
            ),
            Self::DnsName => "a DNS name such as \"metrics.example.com\"".to_owned(),
            Self::AbsolutePath(what) => format!("the absolute path of {what}"),
            Self::SecretPath(what) => format!(
                "the absolute path of {what}, or \"{}/NAME\" for a credential from systemd",
                CREDENTIALS
            ),
            Self::SocketPath => {
                format!("the path of a unix socket of at most {SOCKET_PATH_BYTES_MAX} bytes")
            }
            Self::Store => {
                "a file's path, or postgres://USER@HOST/DATABASE without a password".to_owned()
            }
            Self::HttpsUrl { example } => format!(
                "an https:// URL without a user, password or fragment, such as \"{example}\""
            ),
            Self::Destination { example } => format!(
                "an http:// or https:// URL without a user, password or fragment, such as \
                 \"{example}\""
            ),
            Self::Address { examples } => {
                format!("an IP address or a host's name, and a port, such as {examples}")
            }
            Self::OrNone(kind, "") => format!("{}, or \"none\"", kind.allowed()),
            Self::OrNone(kind, effect) => format!("{}, or \"none\" {effect}", kind.allowed()),
            Self::List { max, items, .. } => {
                format!("a list of up to {max} {items}; in a variable with commas between")
            }
            Self::Set(words) => format!(
                "a list of {}, each once; in a variable with commas between",
                enumeration(words, "and")
            ),
        }
    }

    /// True if a TOML value of this kind is a string.
    pub(super) fn is_string(&self) -> bool {
        !matches!(
            self,
            Self::Bool
                | Self::Count { .. }
                | Self::List { .. }
                | Self::Set(_)
                | Self::Headers
                | Self::HeaderFiles
        )
    }

    /// The checked value of a text of the file, a variable or a flag.
    pub(super) fn read(
        &self,
        raw: &Raw,
        context: ValueContext<'_>,
    ) -> Result<SettingValue, InvalidValue> {
        Ok(match self {
            Self::Bool => SettingValue::Bool(value::boolean(raw)?),
            Self::Duration { min, max, .. } => {
                SettingValue::Duration(value::duration(raw, *min..=*max)?)
            }
            Self::Count { min, max } => SettingValue::Count(value::count(raw, *min..=*max)?),
            Self::Bytes { min, max, .. } => SettingValue::Bytes(value::bytes(raw, *min..=*max)?),
            Self::Choice(words) => SettingValue::Word(value::word(raw, words)?),
            Self::Name { chars_max } => SettingValue::Text(value::plain_name(raw, *chars_max)?),
            Self::Namespace => SettingValue::Text(value::namespace(raw)?),
            Self::Text { bytes_max, .. } => SettingValue::Text(value::plain_text(raw, *bytes_max)?),
            Self::KeyAndValue => SettingValue::Text(value::key_and_value(raw)?),
            Self::TokenHeader => SettingValue::Text(value::token_header(raw)?),
            Self::Headers => SettingValue::Headers(headers::headers(raw)?),
            Self::HeaderFiles => SettingValue::HeaderFiles(headers::header_files(raw, context)?),
            Self::TokenVariable => SettingValue::Text(value::foreign_variable(raw)?),
            Self::DnsName => SettingValue::Text(value::dns_name(raw)?),
            Self::Path(_) => SettingValue::Path(value::path(raw)?),
            Self::AbsolutePath(_) => SettingValue::Path(value::absolute_path(raw)?),
            Self::SecretPath(_) => SettingValue::Path(value::secret_path(raw, context)?),
            Self::SocketPath => SettingValue::Path(value::socket_path(raw)?),
            Self::Store => SettingValue::Store(StoreLocation::read(raw)?),
            Self::Destination { .. } => SettingValue::Destination(Destination::parse(raw.text()?)?),
            Self::HttpsUrl { .. } => {
                let url = EndpointUrl::parse(raw.text()?)?;
                if url.as_url().scheme() != "https" {
                    return Err(InvalidValue::NotHttps);
                }
                SettingValue::Url(url)
            }
            Self::Address { .. } => SettingValue::Address(value::listen_address(raw, context)?),
            Self::OrNone(kind, _) => match raw.text() {
                Ok("" | "none") => SettingValue::None,
                _ => kind.read(raw, context)?,
            },
            Self::List { of, max, .. } => {
                SettingValue::List(value::list(raw, *max, |item| of.read(item, context))?)
            }
            Self::Set(words) => {
                let items = value::list(raw, usize::MAX, |item| value::word(item, words))?;
                if let Some((_, twice)) =
                    items.iter().enumerate().find(|(at, item)| items[..*at].contains(item))
                {
                    return Err(InvalidValue::Twice(twice));
                }
                SettingValue::List(items.into_iter().map(SettingValue::Word).collect())
            }
        })
    }
}

/// A duration in `allowed`, for a flag that sets no key.
///
/// # Errors
/// `text` is no duration or lies outside `allowed`.
pub fn parse_duration(
    text: &str,
    allowed: RangeInclusive<Duration>,
) -> Result<Duration, InvalidDuration> {
    value::duration(&Raw::Text(text.to_owned()), allowed.clone()).map_err(|reason| {
        let (min, max) = (*allowed.start(), *allowed.end());
        let example = format!("\"{}\"", short_duration(min));
        InvalidDuration { reason, min, max, example }
    })
}

/// The error of [`parse_duration`].
#[derive(Debug, thiserror::Error)]
#[error(
    "{reason}; allowed: {}", allowed_durations(*.min, *.max, .example)
)]
pub struct InvalidDuration {
    reason: InvalidValue,
    min: Duration,
    max: Duration,
    example: String,
}

fn allowed_durations(min: Duration, max: Duration, examples: &str) -> String {
    let (min, max) = (short_duration(min), short_duration(max));
    format!("a number with a unit from {min} to {max}, such as {examples}")
}

/// `"a", "b" or "c"`
fn enumeration(words: &[&str], conjunction: &str) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} {conjunction} {last}", others.join(", ")),
        None => String::new(),
    }
}

/// The duration in the largest unit that divides it, up to 24 hours in hours.
fn short_duration(duration: Duration) -> String {
    let secs = duration.as_secs();
    if duration.subsec_nanos() > 0 {
        return format!("{}ms", duration.as_millis());
    }
    for (unit, name) in [(86_400, "d"), (3_600, "h"), (60, "m")] {
        let is_one_day = unit == 86_400 && secs == unit;
        if secs > 0 && secs.is_multiple_of(unit) && !is_one_day {
            return format!("{}{name}", secs / unit);
        }
    }
    format!("{secs}s")
}

/// A checked value of any kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SettingValue {
    None,
    Bool(bool),
    Count(usize),
    Duration(Duration),
    Bytes(Bytes),
    Text(String),
    Word(&'static str),
    Path(PathBuf),
    Store(StoreLocation),
    Url(EndpointUrl),
    Destination(Destination),
    Address(SocketAddr),
    List(Vec<SettingValue>),
    Headers(Vec<Header>),
    HeaderFiles(Vec<HeaderFile>),
}

impl SettingValue {
    /// The value as TOML that reads again as the same value; the query of a URL and the values of
    /// headers are hidden.
    pub(super) fn to_toml(&self) -> String {
        match self {
            Self::None => toml_string("none"),
            Self::Bool(value) => value.to_string(),
            Self::Count(value) => value.to_string(),
            Self::Duration(value) => toml_string(&humantime::format_duration(*value).to_string()),
            Self::Bytes(value) => toml_string(&format_bytes(*value)),
            Self::Text(value) => toml_string(value),
            Self::Word(value) => toml_string(value),
            Self::Path(value) => toml_string(&value.to_string_lossy()),
            Self::Store(value) => toml_string(&value.to_string()),
            Self::Url(value) => toml_string(&value.to_string()),
            Self::Destination(value) => toml_string(&value.to_string()),
            Self::Address(value) => toml_string(&value.to_string()),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(Self::to_toml).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Headers(all) => toml_table(all.iter().map(|one| (&one.name, "(hidden)".into()))),
            Self::HeaderFiles(all) => {
                toml_table(all.iter().map(|one| (&one.name, one.file.to_string_lossy())))
            }
        }
    }
}

fn toml_table<'a>(pairs: impl Iterator<Item = (&'a String, Cow<'a, str>)>) -> String {
    let pair = |(name, value): (&String, Cow<'_, str>)| {
        format!("{} = {}", toml_string(name), toml_string(&value))
    };
    format!("{{ {} }}", pairs.map(pair).collect::<Vec<_>>().join(", "))
}

/// A type that a setting can have.
pub(super) trait SettingType: Sized + Clone {
    /// `None` if the key is declared with a kind of another type.
    fn from_value(value: SettingValue) -> Option<Self>;
    fn into_value(self) -> SettingValue;
}

macro_rules! setting_types {
    ($($type:ty => $variant:ident,)+) => {$(
        impl SettingType for $type {
            fn from_value(value: SettingValue) -> Option<Self> {
                if let SettingValue::$variant(inner) = value { Some(inner) } else { None }
            }

            fn into_value(self) -> SettingValue {
                SettingValue::$variant(self)
            }
        }
    )+};
}

setting_types! {
    bool => Bool,
    usize => Count,
    Duration => Duration,
    Bytes => Bytes,
    String => Text,
    PathBuf => Path,
    StoreLocation => Store,
    EndpointUrl => Url,
    Destination => Destination,
    SocketAddr => Address,
    Vec<Header> => Headers,
    Vec<HeaderFile> => HeaderFiles,
}

/// The type of a key that may be `none`.
impl<T: SettingType> SettingType for Option<T> {
    fn from_value(value: SettingValue) -> Option<Self> {
        match value {
            SettingValue::None => Some(None),
            value => T::from_value(value).map(Some),
        }
    }

    fn into_value(self) -> SettingValue {
        self.map_or(SettingValue::None, T::into_value)
    }
}

impl<T: SettingType> SettingType for Vec<T> {
    fn from_value(value: SettingValue) -> Option<Self> {
        let SettingValue::List(items) = value else { return None };
        items.into_iter().map(T::from_value).collect()
    }

    fn into_value(self) -> SettingValue {
        SettingValue::List(self.into_iter().map(T::into_value).collect())
    }
}

/// The type of `KEY=VALUE`.
impl SettingType for (String, String) {
    fn from_value(value: SettingValue) -> Option<Self> {
        let SettingValue::Text(text) = value else { return None };
        text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()))
    }

    fn into_value(self) -> SettingValue {
        SettingValue::Text(format!("{}={}", self.0, self.1))
    }
}
