//! Headers of an endpoint's requests: names with values, or with files that hold the values.

use std::fmt;
use std::path::PathBuf;

use super::error::InvalidValue;
use super::value::{Raw, ValueContext, secret_path, token_header};

/// The most headers of one key.
pub(super) const HEADERS_MAX: usize = 16;

/// The longest value of a header, in bytes.
const VALUE_BYTES_MAX: usize = 4096;

/// A header and its value, which `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    pub name: String,
    pub value: String,
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: (hidden)", self.name)
    }
}

/// A header and the file that holds its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderFile {
    pub name: String,
    pub file: PathBuf,
}

/// Headers with their values.
pub(super) fn headers(raw: &Raw) -> Result<Vec<Header>, InvalidValue> {
    pairs(raw, |name, value| {
        let is_visible = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
        let is_value = !value.is_empty() && value.trim() == value && value.bytes().all(is_visible);
        if !is_value || value.len() > VALUE_BYTES_MAX {
            return Err(InvalidValue::NotAHeaderValue);
        }
        Ok(Header { name, value })
    })
}

/// Headers with the files of their values.
pub(super) fn header_files(
    raw: &Raw,
    context: ValueContext<'_>,
) -> Result<Vec<HeaderFile>, InvalidValue> {
    pairs(raw, |name, file| Ok(HeaderFile { name, file: secret_path(&Raw::Text(file), context)? }))
}

/// The pairs of a table; a variable has them as `NAME=VALUE` with commas between.
fn pairs<T>(
    raw: &Raw,
    check: impl Fn(String, String) -> Result<T, InvalidValue>,
) -> Result<Vec<T>, InvalidValue> {
    let pairs: Vec<(String, String)> = match raw {
        Raw::Table(pairs) => pairs.clone(),
        Raw::Text(text) => text
            .split(',')
            .filter(|pair| !pair.trim().is_empty())
            .map(|pair| pair.split_once('=').ok_or(InvalidValue::NotKeyAndValue))
            .map(|pair| pair.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())))
            .collect::<Result<_, _>>()?,
        _ => return Err(raw.wrong_type()),
    };
    if pairs.len() > HEADERS_MAX {
        return Err(InvalidValue::TooMany);
    }
    let mut names: Vec<String> = Vec::new();
    let mut checked = Vec::new();
    for (at, (name, value)) in pairs.into_iter().enumerate() {
        // By number: a secret may be in the place of a name.
        let item = format!("header {}", at + 1);
        let of_item = |reason| InvalidValue::Item { item: item.clone(), reason: Box::new(reason) };
        let name = token_header(&Raw::Text(name)).map_err(of_item)?;
        if names.iter().any(|other| other.eq_ignore_ascii_case(&name)) {
            return Err(of_item(InvalidValue::HeaderTwice));
        }
        names.push(name.clone());
        checked.push(check(name, value).map_err(of_item)?);
    }
    Ok(checked)
}
