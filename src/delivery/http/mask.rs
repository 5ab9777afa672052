//! The secrets that the answer to a request may repeat.

use reqwest::header::{HeaderMap, HeaderValue};

use super::base_url::BaseUrl;
use super::proxy::Proxy;
use crate::mask::Mask;

/// The mask of one request; `shown` are its headers with secrets from files.
pub(super) fn of_request<'a>(
    shown: impl Iterator<Item = &'a HeaderValue>,
    headers: &'a HeaderMap,
    base: &BaseUrl,
    proxy: Option<&'a Proxy>,
) -> Mask {
    let sensitive = headers.values().filter(|value| value.is_sensitive());
    let authorization = proxy.and_then(Proxy::authorization);
    let values = shown.chain(sensitive).chain(authorization);
    let plain = values.filter_map(|value| Some(bare(value.to_str().ok()?).to_owned()));
    let of_proxy = proxy.map(Proxy::secrets).unwrap_or_default();
    Mask::new(plain.chain(base.query_values()).chain(of_proxy))
}

/// A header's value without the scheme before it (`Bearer`, `Basic`).
fn bare(value: &str) -> &str {
    value.split_once(' ').map_or(value, |(_, secret)| secret)
}
