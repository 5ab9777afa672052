//! Values as they were written, and the checks that each kind of value has.
//!
//! A check fails with the reason alone. The place of the value and the allowed values are added
//! where the key is known.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{InvalidValue, one_line, shortened};
use super::nearest::nearest;
use super::variables::{CREDENTIALS, VARIABLE_PREFIX};
use crate::quantity::Bytes;

/// The addresses of a host's name with this port; none where it has none.
pub type HostLookup = fn(host: &str, port: u16) -> Vec<SocketAddr>;

/// The surroundings in which values are read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ValueContext<'a> {
    /// The directory of systemd's credentials, if there is one.
    pub credentials: Option<&'a str>,
    /// Without that directory, a path in it is no error: the process that reads the file has one.
    pub credentials_elsewhere: bool,
    /// `None`: only the name `localhost` has an address.
    pub look_up: Option<HostLookup>,
}

/// True for a path in the directory of credentials of another process, which has no file here.
#[must_use]
pub fn is_credential_elsewhere(path: &Path) -> bool {
    path.starts_with(CREDENTIALS)
}

/// The most characters of a value that an error line quotes.
const SHOWN_CHARS_MAX: usize = 80;

/// The part of a value that may be a secret, by intention or because it was put into the wrong key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrecy {
    /// No part.
    None,
    /// The user, the password and the query of a URL.
    Url,
    /// The whole value: it names the place of a secret, and may be the secret by mistake.
    Place,
}

/// A value as it was written, before it is checked.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Raw {
    /// From a variable or a flag, where everything is text.
    Text(String),
    /// A TOML string.
    String(String),
    /// A TOML integer; `None` if it does not fit 64 bits.
    Integer { written: String, value: Option<i64> },
    /// A TOML boolean.
    Boolean(bool),
    /// A TOML array of strings.
    List(Vec<String>),
    /// A TOML table of strings.
    Table(Vec<(String, String)>),
    /// Any other TOML value: what it is, and how an error line shows it.
    Other { kind: &'static str, shown: String },
}

impl Raw {
    /// The value as an error line quotes it.
    pub(super) fn shown(&self, secrecy: Secrecy) -> String {
        let public = |text: &str| match secrecy {
            Secrecy::Url => redacted_url(text),
            Secrecy::None | Secrecy::Place => text.to_owned(),
        };
        match self {
            _ if secrecy == Secrecy::Place => "(hidden)".to_owned(),
            Self::Text(text) | Self::String(text) => quoted(&public(text)),
            Self::Integer { written, .. } => shortened(written, SHOWN_CHARS_MAX),
            Self::Boolean(value) => value.to_string(),
            Self::List(items) => {
                let items: Vec<String> =
                    items.iter().map(|item| format!("{:?}", public(item))).collect();
                shortened(&format!("[{}]", items.join(", ")), SHOWN_CHARS_MAX)
            }
            Self::Table(_) => "{…}".to_owned(),
            Self::Other { shown, .. } => shortened(shown, SHOWN_CHARS_MAX),
        }
    }

    /// The error for a value of the wrong type.
    pub(super) fn wrong_type(&self) -> InvalidValue {
        InvalidValue::Found(match self {
            Self::Text(_) | Self::String(_) => "a string",
            Self::Integer { value: Some(_), .. } => "an integer",
            Self::Integer { value: None, .. } => "an integer beyond 64 bits",
            Self::Boolean(_) => "a boolean",
            Self::List(_) => "an array",
            Self::Table(_) => "a table",
            Self::Other { kind, .. } => kind,
        })
    }

    pub(super) fn text(&self) -> Result<&str, InvalidValue> {
        match self {
            Self::Text(text) | Self::String(text) => Ok(text),
            _ => Err(self.wrong_type()),
        }
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", shortened(text, SHOWN_CHARS_MAX))
}

/// A length of time in `allowed`, as people write it (`15s`, `1m 30s`).
pub(super) fn duration(
    raw: &Raw,
    allowed: RangeInclusive<Duration>,
) -> Result<Duration, InvalidValue> {
    let duration =
        humantime::parse_duration(raw.text()?).map_err(|_| InvalidValue::NotADuration)?;
    in_range(duration, &allowed)
}

/// An amount of bytes in `allowed`: an integer, or text with `KiB`, `MiB` or `GiB`.
pub(super) fn bytes(raw: &Raw, allowed: RangeInclusive<Bytes>) -> Result<Bytes, InvalidValue> {
    let count = match raw {
        Raw::Integer { value: Some(value), .. } => {
            u64::try_from(*value).map_err(|_| InvalidValue::TooSmall)?
        }
        _ => {
            let text = raw.text()?.trim();
            let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
            let unit: u64 = match text.strip_prefix(digits).map(str::trim) {
                Some("") => 1,
                Some("KiB") => 1 << 10,
                Some("MiB") => 1 << 20,
                Some("GiB") => 1 << 30,
                _ => return Err(InvalidValue::NotBytes),
            };
            if !digits.bytes().all(|byte| byte.is_ascii_digit()) || digits.is_empty() {
                return Err(InvalidValue::NotBytes);
            }
            // Digits alone fail to parse only when they are too many.
            digits
                .parse::<u64>()
                .ok()
                .and_then(|count| count.checked_mul(unit))
                .ok_or(InvalidValue::TooLarge)?
        }
    };
    in_range(Bytes::from_bytes(count), &allowed)
}

/// A count in `allowed`.
pub(super) fn count(raw: &Raw, allowed: RangeInclusive<usize>) -> Result<usize, InvalidValue> {
    let count = match raw {
        Raw::Integer { value: Some(value), .. } => {
            usize::try_from(*value).map_err(|_| InvalidValue::TooSmall)?
        }
        Raw::Text(text) => text.parse().map_err(|_| InvalidValue::NotAnInteger)?,
        _ => return Err(raw.wrong_type()),
    };
    in_range(count, &allowed)
}

fn in_range<T: PartialOrd>(value: T, allowed: &RangeInclusive<T>) -> Result<T, InvalidValue> {
    if value < *allowed.start() {
        Err(InvalidValue::TooSmall)
    } else if value > *allowed.end() {
        Err(InvalidValue::TooLarge)
    } else {
        Ok(value)
    }
}

/// Up to `count_max` texts, each checked; a variable has commas between them. The first that is
/// refused is named.
pub(super) fn list<T>(
    raw: &Raw,
    count_max: usize,
    check: impl Fn(&Raw) -> Result<T, InvalidValue>,
) -> Result<Vec<T>, InvalidValue> {
    let checked = |item: &str| {
        check(&Raw::Text(item.to_owned()))
            .map_err(|reason| InvalidValue::Item { item: quoted(item), reason: Box::new(reason) })
    };
    let items: Vec<T> = match raw {
        Raw::List(items) => items.iter().map(|item| checked(item)).collect::<Result<_, _>>()?,
        Raw::Text(text) => text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(checked)
            .collect::<Result<_, _>>()?,
        _ => return Err(raw.wrong_type()),
    };
    if items.len() > count_max { Err(InvalidValue::TooMany) } else { Ok(items) }
}

/// A text `KEY=VALUE` of at most 512 bytes beside the `=`.
pub(super) fn key_and_value(raw: &Raw) -> Result<String, InvalidValue> {
    let text = raw.text()?;
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && key.len() + value.len() <= 512 => {
            Ok(text.to_owned())
        }
        Some((key, _)) if !key.is_empty() => Err(InvalidValue::TooLong),
        _ => Err(InvalidValue::NotKeyAndValue),
    }
}

/// Headers that say what a request is and where it ends, or are for the next hop alone (RFC 9110,
/// 7.6.1): with a token in one of them the request would be another one.
const HEADERS_OF_THE_REQUEST: &[&str] = &[
    "Connection",
    "Content-Encoding",
    "Content-Length",
    "Content-Type",
    "Expect",
    "Host",
    "HTTP2-Settings",
    "Idempotency-Key",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
];

/// The name of an HTTP header (RFC 9110 token) in which a token can be sent.
pub(super) fn token_header(raw: &Raw) -> Result<String, InvalidValue> {
    let text = raw.text()?;
    let in_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() || text.len() > 64 || !text.bytes().all(in_token) {
        return Err(InvalidValue::NotAHeader);
    }
    match HEADERS_OF_THE_REQUEST.iter().find(|name| name.eq_ignore_ascii_case(text)) {
        Some(name) => Err(InvalidValue::HeaderOfTheRequest(name)),
        None => Ok(text.to_owned()),
    }
}

/// A text of at most `bytes_max` without control characters.
pub(super) fn plain_text(raw: &Raw, bytes_max: usize) -> Result<String, InvalidValue> {
    let text = raw.text()?;
    if text.len() > bytes_max {
        Err(InvalidValue::TooLong)
    } else if text.chars().any(char::is_control) {
        Err(InvalidValue::ControlCharacter)
    } else {
        Ok(text.to_owned())
    }
}

/// `true` or `false`; a variable says it as text.
pub(super) fn boolean(raw: &Raw) -> Result<bool, InvalidValue> {
    match raw {
        Raw::Boolean(value) => Ok(*value),
        Raw::Text(text) => text.parse().map_err(|_| InvalidValue::NotABoolean),
        _ => Err(raw.wrong_type()),
    }
}

/// One of `words`.
pub(super) fn word(
    raw: &Raw,
    words: &'static [&'static str],
) -> Result<&'static str, InvalidValue> {
    let text = raw.text()?;
    let found = words.iter().find(|word| **word == text).copied();
    found.ok_or_else(|| InvalidValue::UnknownWord(nearest(text, words.iter().copied())))
}

/// The name of a variable of the environment that is no setting of this program.
pub(super) fn foreign_variable(raw: &Raw) -> Result<String, InvalidValue> {
    let text = raw.text()?;
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if text.is_empty() || text.len() > 128 || !plain || text.as_bytes()[0].is_ascii_digit() {
        Err(InvalidValue::NotAVariable)
    } else if text.starts_with(VARIABLE_PREFIX) {
        Err(InvalidValue::OwnVariable)
    } else {
        Ok(text.to_owned())
    }
}

/// The name of a host; an address is none.
pub(super) fn dns_name(raw: &Raw) -> Result<String, InvalidValue> {
    let text = raw.text()?;
    let in_label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(in_label)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    // URL parsers treat a last part that begins with a digit as part of an address.
    let is_address = last.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
    if text.len() <= 253 && text.split('.').all(is_label) && !is_address {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(InvalidValue::NotADnsName)
    }
}

/// A path: any text that can name a file.
pub(super) fn path(raw: &Raw) -> Result<PathBuf, InvalidValue> {
    let text = raw.text()?;
    if text.is_empty() {
        return Err(InvalidValue::Empty);
    }
    if text.contains('\0') {
        return Err(InvalidValue::Nul);
    }
    Ok(PathBuf::from(text))
}

/// A path that starts at the root.
pub(super) fn absolute_path(raw: &Raw) -> Result<PathBuf, InvalidValue> {
    let path = path(raw)?;
    if path.is_absolute() { Ok(path) } else { Err(InvalidValue::NotAbsolute) }
}

/// A path that starts at the root, or at the directory of systemd's credentials.
///
/// Where another process has that directory, the path keeps the variable's name, and no file is
/// there. No other variable is expanded: a name that was mistyped would else become part of a path.
pub(super) fn secret_path(raw: &Raw, context: ValueContext<'_>) -> Result<PathBuf, InvalidValue> {
    let text = raw.text()?;
    let Some(name) = text.strip_prefix(CREDENTIALS) else {
        if text.starts_with('$') {
            return Err(InvalidValue::OtherVariable);
        }
        return absolute_path(raw);
    };
    let Some(name) = name.strip_prefix('/').filter(|name| !name.is_empty()) else {
        return Err(InvalidValue::NoCredentialNamed);
    };
    let directory = match context.credentials {
        Some(directory) => directory,
        None if context.credentials_elsewhere => CREDENTIALS,
        None => return Err(InvalidValue::NoCredentials),
    };
    // The other way round a name with a slash in front would replace the directory.
    let joined = Raw::Text(format!("{directory}/{name}"));
    if directory == CREDENTIALS { path(&joined) } else { absolute_path(&joined) }
}

/// The longest path of a unix socket, in bytes: `sun_path` less its terminator.
pub(super) const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The path of a unix socket.
pub(super) fn socket_path(raw: &Raw) -> Result<PathBuf, InvalidValue> {
    let path = path(raw)?;
    if is_socket_path(&path) { Ok(path) } else { Err(InvalidValue::TooLong) }
}

/// True if the path is short enough for a unix socket.
pub(super) fn is_socket_path(path: &Path) -> bool {
    path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX
}

/// An IP address and a port, or the name of a host and a port. Of a name's addresses the first of
/// IPv4 is taken, else the first.
pub(super) fn listen_address(
    raw: &Raw,
    context: ValueContext<'_>,
) -> Result<SocketAddr, InvalidValue> {
    let text = raw.text()?;
    if let Some(address) = text.parse().ok().or_else(|| without_brackets(text)) {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').ok_or(InvalidValue::NotAnAddress)?;
    let port = port.parse().map_err(|_| InvalidValue::NotAnAddress)?;
    let host = dns_name(&Raw::Text(host.to_owned())).map_err(|_| InvalidValue::NotAnAddress)?;
    let known = context.look_up.map(|look_up| look_up(&host, port)).unwrap_or_default();
    let address = known.iter().find(|address| address.is_ipv4()).or(known.first()).copied();
    match address {
        Some(address) => Ok(address),
        // It is this host also where no file says so (RFC 6761, 6.3).
        None if host == "localhost" => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        None => Err(InvalidValue::UnknownHost),
    }
}

/// An IPv6 address without brackets, and a port. Kubernetes puts a pod's address into a variable so,
/// and `$(POD_IP):9753` comes as `fd00::7:9753`.
fn without_brackets(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.rsplit_once(':')?;
    let address: Ipv6Addr = address.parse().ok()?;
    // The parser of numbers would also take a sign.
    let port: u16 = port.parse().ok().filter(|_| port.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some((address, port).into())
}

/// A name of letters, digits, `.`, `_` and `-` that starts with a letter or digit, so that it is
/// one segment of a URL and one component of a path, and neither `.` nor `..`.
pub(super) fn plain_name(raw: &Raw, chars_max: usize) -> Result<String, InvalidValue> {
    let text = raw.text()?;
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    let starts = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if text.is_empty() {
        Err(InvalidValue::Empty)
    } else if !plain || !starts {
        Err(InvalidValue::NotAName)
    } else if text.len() > chars_max {
        Err(InvalidValue::TooLong)
    } else {
        Ok(text.to_owned())
    }
}

/// A namespace as Kubernetes checks it (RFC 1123 label).
pub(super) fn namespace(raw: &Raw) -> Result<String, InvalidValue> {
    let text = raw.text()?;
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = |byte: Option<u8>| byte.is_some_and(alphanumeric);
    let good = text.len() <= 63
        && ends(text.bytes().next())
        && ends(text.bytes().next_back())
        && text.bytes().all(|byte| alphanumeric(byte) || byte == b'-');
    if good { Ok(text.to_owned()) } else { Err(InvalidValue::NotANamespace) }
}

/// The bytes with the largest unit that divides them, as `bytes` reads it again.
#[must_use]
pub fn format_bytes(bytes: Bytes) -> String {
    let count = bytes.as_bytes();
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if count != 0 && count.is_multiple_of(unit) {
            return format!("{}{name}", count / unit);
        }
    }
    count.to_string()
}

/// A URL that may not even be one, as error lines quote it: with an `@` nothing of it but the
/// scheme, since a password precedes it and may contain any character; else without the
/// query, where a key would be.
#[must_use]
pub fn redacted_url(text: &str) -> String {
    if text.contains('@') {
        let scheme = ["http://", "https://", "postgres://", "postgresql://"]
            .into_iter()
            .find(|scheme| text.starts_with(scheme));
        return format!("{}hidden", scheme.unwrap_or_default());
    }
    let query = ['?', '#'];
    match text.split_once(query) {
        Some((base, _)) => {
            let mark = text.chars().find(|c| query.contains(c)).unwrap_or('?');
            format!("{base}{mark}hidden")
        }
        None => text.to_owned(),
    }
}

/// The text as a basic string of TOML.
pub(super) fn toml_string(text: &str) -> String {
    let mut string = String::with_capacity(text.len() + 2);
    string.push('"');
    for c in text.chars() {
        match c {
            '"' => string.push_str("\\\""),
            '\\' => string.push_str("\\\\"),
            '\n' => string.push_str("\\n"),
            '\t' => string.push_str("\\t"),
            // Direction and line marks are legal TOML, but a terminal would act on them.
            _ if c.is_control() || one_line(c.encode_utf8(&mut [0; 4])).starts_with('\\') => {
                let _ = write!(string, "\\U{:08X}", u32::from(c));
            }
            _ => string.push(c),
        }
    }
    string.push('"');
    string
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Raw {
        Raw::String(text.to_owned())
    }

    #[test]
    fn amounts_of_bytes_read_with_and_without_a_unit() {
        let any = Bytes::ZERO..=Bytes::from_bytes(u64::MAX);
        let read = |raw: &Raw| bytes(raw, any.clone()).map(Bytes::as_bytes);
        assert_eq!(read(&text("16MiB")), Ok(16_777_216));
        assert_eq!(read(&text("3 KiB")), Ok(3_072));
        assert_eq!(read(&text("2GiB")), Ok(2_147_483_648));
        assert_eq!(read(&text("70000")), Ok(70_000));
        assert_eq!(read(&Raw::Integer { written: "5".to_owned(), value: Some(5) }), Ok(5));
        for bad in ["", "MiB", "-1", "1.5MiB", "16MB", "16mib", "1 2KiB", "٣KiB", "+5"] {
            assert_eq!(read(&text(bad)), Err(InvalidValue::NotBytes), "{bad}");
        }
        assert_eq!(read(&text("18446744073709551615KiB")), Err(InvalidValue::TooLarge));
        assert_eq!(read(&text("99999999999999999999")), Err(InvalidValue::TooLarge));
    }

    #[test]
    fn bytes_are_written_with_the_largest_unit_that_divides_them() {
        for (count, written) in
            [(0, "0"), (1023, "1023"), (3072, "3KiB"), (16 << 20, "16MiB"), (1 << 30, "1GiB")]
        {
            assert_eq!(format_bytes(Bytes::from_bytes(count)), written);
        }
    }

    #[test]
    fn a_host_is_listened_on_by_address_or_by_name() {
        fn look_up(host: &str, port: u16) -> Vec<SocketAddr> {
            let ips: &[&str] = match host {
                "both" => &["::1", "192.0.2.1"],
                "six.example.com" => &["2001:db8::1"],
                _ => &[],
            };
            ips.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), port)).collect()
        }
        let read = |shown: &str| {
            let context = ValueContext { look_up: Some(look_up), ..ValueContext::default() };
            listen_address(&text(shown), context).map(|address| address.to_string())
        };
        for (shown, address) in [
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("[::1]:7643", "[::1]:7643"),
            ("localhost:7643", "127.0.0.1:7643"),
            ("LOCALHOST:0", "127.0.0.1:0"),
            ("both:9", "192.0.2.1:9"),
            ("six.example.com:9", "[2001:db8::1]:9"),
        ] {
            assert_eq!(read(shown).as_deref(), Ok(address), "{shown}");
        }
        assert_eq!(read("nowhere:1"), Err(InvalidValue::UnknownHost));
        for bad in
            ["localhost", "localhost:", "localhost:99999", ":7643", "7643", "a b:1", "1.2.3:4"]
        {
            assert_eq!(read(bad), Err(InvalidValue::NotAnAddress), "{bad}");
        }
        assert_eq!(
            listen_address(&text("localhost:5"), ValueContext::default())
                .map(|address| address.to_string()),
            Ok("127.0.0.1:5".to_owned())
        );
    }

    #[test]
    fn a_urls_password_and_query_are_never_shown() {
        for (url, shown) in [
            ("http://a:secret@host/x", "http://hidden"),
            ("a:secret@host", "hidden"),
            ("postgres://a:secret@host/d", "postgres://hidden"),
            ("http://a:sec?ret@host", "http://hidden"),
            ("https://host/x?key=secret", "https://host/x?hidden"),
            ("http://host/#secret", "http://host/#hidden"),
            ("http://host:80/x", "http://host:80/x"),
        ] {
            assert_eq!(redacted_url(url), shown);
        }
    }
}
