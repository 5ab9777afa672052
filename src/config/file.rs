//! The TOML file, walked against the table of keys.
//!
//! The document is walked by hand rather than deserialized: the line of every key stays
//! known, and the error for an unknown key names the nearest known one.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::error::{ConfigError, shortened};
use super::keys::{self, ENDPOINT, ENDPOINT_NAME, Key, Secrecy};
use super::layer::{Layers, Origin};
use super::nearest::nearest;
use super::value::Raw;

/// A configuration file may not be larger than this.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// A configuration may not hold more endpoints than this.
pub const ENDPOINTS_MAX: usize = 32;

/// The most characters of an unknown key's name that an error line quotes.
const NAME_CHARS_MAX: usize = 64;

/// One `[[endpoint]]`.
#[derive(Debug)]
pub(super) struct EndpointLayers {
    pub values: Layers,
    /// The place of its header.
    pub header: Origin,
    /// The place of its name, or of its header if it has none.
    pub named_at: Origin,
}

/// The values that a file sets.
#[derive(Debug, Default)]
pub(super) struct FileLayers {
    pub values: Layers,
    pub endpoints: Vec<EndpointLayers>,
    /// Errors of the file, from its top.
    pub errors: Vec<ConfigError>,
}

/// Reads the text of the file at `path`, which is named in errors and origins only.
///
/// # Errors
/// It is too large or no TOML.
pub(super) fn read(path: &Path, text: &str) -> Result<FileLayers, ConfigError> {
    read_where(path, text, |_| true)
}

/// Reads a few sections of the file at `path`; the others are not checked.
pub(super) fn read_sections(
    path: &Path,
    text: &str,
    sections: &[&str],
) -> Result<Layers, ConfigError> {
    let read = read_where(path, text, |section| sections.contains(&section))?;
    ConfigError::of_all(read.errors).map_or(Ok(read.values), Err)
}

fn read_where(
    path: &Path,
    text: &str,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<FileLayers, ConfigError> {
    let source = ConfigText { path, text };
    if text.len() > FILE_BYTES_MAX {
        return Err(ConfigError::new(&format!(
            "{}: {} bytes long; allowed: at most {FILE_BYTES_MAX}",
            path.display(),
            text.len()
        )));
    }
    let document = DeTable::parse(text).map_err(|error| source.syntax(&error))?;
    let mut layers = FileLayers::default();
    for (name, value) in source.in_order(document.get_ref()) {
        let at = name.span().start;
        let name: &str = name.get_ref();
        match (name, value.get_ref()) {
            (other, _) if !is_wanted(other) => {}
            (ENDPOINT, DeValue::Array(array)) => {
                layers.endpoints = source.endpoints(array, &mut layers.errors);
            }
            (ENDPOINT, _) => {
                layers.errors.push(source.error(
                    at,
                    "endpoint: not an array of tables; write [[endpoint]], once per endpoint",
                ));
            }
            (section, DeValue::Table(table)) if keys::sections().contains(&section) => {
                source.section(section, table, &mut layers.values, &mut layers.errors);
            }
            (section, value) if keys::sections().contains(&section) => {
                layers.errors.push(source.error(
                    at,
                    &format!(
                        "{section} = {}: found {}; allowed: a table, [{section}] with {}",
                        source.raw(value).shown(Secrecy::None),
                        kind(value),
                        listed(section)
                    ),
                ));
            }
            (unknown, value) => {
                layers.errors.push(source.unknown_section(at, unknown, value));
            }
        }
    }
    Ok(layers)
}

struct ConfigText<'t> {
    path: &'t Path,
    text: &'t str,
}

impl ConfigText<'_> {
    /// The line, from 1, of a byte of the text.
    fn line(&self, at: usize) -> usize {
        1 + self.before(at).bytes().filter(|byte| *byte == b'\n').count()
    }

    /// The column, from 1, in characters.
    fn column(&self, at: usize) -> usize {
        1 + self.before(at).rsplit('\n').next().map_or(0, |line| line.chars().count())
    }

    fn before(&self, at: usize) -> &str {
        // A place inside a character (an error in its middle) counts as its start.
        self.text.get(..self.text.floor_char_boundary(at)).unwrap_or(self.text)
    }

    fn origin(&self, at: usize) -> Origin {
        Origin::File { path: PathBuf::from(self.path), line: self.line(at) }
    }

    fn error(&self, at: usize, problem: &str) -> ConfigError {
        ConfigError::new(&format!("{}: {problem}", self.origin(at))).at_line(self.line(at))
    }

    fn syntax(&self, error: &toml::de::Error) -> ConfigError {
        let at = error.span().map_or(0, |span| span.start);
        let message = error.message().replace('\n', "; ");
        let message = if message.is_empty() { "not TOML" } else { &message };
        ConfigError::new(&format!("{}:{}: {message}", self.origin(at), self.column(at)))
    }

    /// The table's entries as the file has them, so that the first error named is the topmost.
    fn in_order<'d, 'i>(
        &self,
        table: &'d DeTable<'i>,
    ) -> Vec<(&'d Spanned<std::borrow::Cow<'i, str>>, &'d Spanned<DeValue<'i>>)> {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        entries
    }

    fn section(
        &self,
        section: &str,
        table: &DeTable<'_>,
        into: &mut Layers,
        errors: &mut Vec<ConfigError>,
    ) {
        for (name, value) in self.in_order(table) {
            let at = name.span().start;
            match keys::find(section, name.get_ref()) {
                Some(key) => into.set(key, self.raw(value.get_ref()), self.origin(at)),
                None => errors.push(self.unknown_key(at, section, name.get_ref())),
            }
        }
    }

    fn endpoints(&self, array: &DeArray<'_>, errors: &mut Vec<ConfigError>) -> Vec<EndpointLayers> {
        let mut endpoints = Vec::new();
        for (position, element) in array.iter().enumerate() {
            let at = element.span().start;
            let DeValue::Table(table) = element.get_ref() else {
                errors.push(self.error(
                    at,
                    "endpoint: not an array of tables; write [[endpoint]], once per endpoint",
                ));
                break;
            };
            if position == ENDPOINTS_MAX {
                errors.push(
                    self.error(
                        at,
                        &format!("endpoint: too many; allowed: at most {ENDPOINTS_MAX}"),
                    ),
                );
                break;
            }
            let mut values = Layers::default();
            self.section(ENDPOINT, table, &mut values, errors);
            let named_at = table
                .iter()
                .find(|(name, _)| name.get_ref() == ENDPOINT_NAME.name)
                .map_or(at, |(name, _)| name.span().start);
            endpoints.push(EndpointLayers {
                values,
                header: self.origin(at),
                named_at: self.origin(named_at),
            });
        }
        endpoints
    }

    fn raw(&self, value: &DeValue<'_>) -> Raw {
        match value {
            DeValue::String(text) => Raw::String(text.to_string()),
            DeValue::Integer(integer) => Raw::Integer {
                written: integer.to_string(),
                value: i64::from_str_radix(integer.as_str(), integer.radix()).ok(),
            },
            DeValue::Boolean(value) => Raw::Boolean(*value),
            DeValue::Float(float) => {
                Raw::Other { kind: kind(value), shown: float.as_str().to_owned() }
            }
            DeValue::Datetime(datetime) => {
                Raw::Other { kind: kind(value), shown: datetime.to_string() }
            }
            DeValue::Array(array) => {
                let texts: Option<Vec<String>> = array
                    .iter()
                    .map(|item| match item.get_ref() {
                        DeValue::String(text) => Some(text.to_string()),
                        _ => None,
                    })
                    .collect();
                texts.map_or_else(
                    || Raw::Other {
                        kind: "an array of more than texts", shown: "[…]".to_owned()
                    },
                    Raw::List,
                )
            }
            DeValue::Table(table) => {
                let pairs = self.in_order(table).into_iter().map(|(name, value)| {
                    let DeValue::String(text) = value.get_ref() else { return None };
                    Some((name.get_ref().to_string(), text.to_string()))
                });
                pairs.collect::<Option<_>>().map_or_else(
                    || Raw::Other { kind: "a table of more than texts", shown: "{…}".to_owned() },
                    Raw::Table,
                )
            }
        }
    }

    /// The value is not quoted: under an unknown key it may be anything, a password too.
    fn unknown_key(&self, at: usize, section: &str, name: &str) -> ConfigError {
        if let Some(error) = self.renamed(at, section, name) {
            return error;
        }
        let near: Option<&'static Key> =
            nearest(name, keys::in_section(section).map(|key| key.name))
                .and_then(|near| keys::find(section, near));
        let hint = near.map(|key| key.name.to_owned()).or_else(|| elsewhere(name));
        let hint = hint.map_or(String::new(), |hint| format!(", did you mean \"{hint}\"?"));
        self.error(
            at,
            &format!(
                "{section}.{}: unknown key{hint}; allowed in {}: {}",
                shortened(name, NAME_CHARS_MAX),
                if section == ENDPOINT {
                    "[[endpoint]]".to_owned()
                } else {
                    format!("[{section}]")
                },
                listed(section)
            ),
        )
    }

    fn unknown_section(&self, at: usize, name: &str, value: &DeValue<'_>) -> ConfigError {
        let is_table = matches!(value, DeValue::Table(_) | DeValue::Array(_));
        let hint = if is_table {
            nearest(name, keys::sections()).map(str::to_owned)
        } else {
            elsewhere(name)
        };
        let hint = hint.map_or(String::new(), |hint| format!(", did you mean \"{hint}\"?"));
        let what = if is_table { "unknown section" } else { "unknown key outside any section" };
        self.error(
            at,
            &format!(
                "{}: {what}{hint}; sections: {}",
                shortened(name, NAME_CHARS_MAX),
                keys::sections().join(", ")
            ),
        )
    }

    fn renamed(&self, at: usize, section: &str, name: &str) -> Option<ConfigError> {
        let path = format!("{section}.{name}");
        let to = keys::successor(&path)?;
        Some(self.error(at, &format!("{path} is now called {}", to.path())))
    }
}

/// The full path of the key that has this very name in another section.
fn elsewhere(name: &str) -> Option<String> {
    keys::KEYS.iter().find(|key| key.name == name).map(|key| key.path())
}

fn listed(section: &str) -> String {
    keys::in_section(section).map(|key| key.name).collect::<Vec<_>>().join(", ")
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
