//! The secrets that the answer to a request may repeat.

use reqwest::header::{HeaderMap, HeaderValue};

use super::base_url::BaseUrl;
use super::proxy::Proxy;
use crate::mask::Mask;

/// The mask of one request; `shown` is the header with the token.
pub(super) fn of_request(
    shown: Option<&HeaderValue>,
    headers: &HeaderMap,
    base: &BaseUrl,
    proxy: Option<&Proxy>,
) -> Mask {
    let sensitive = headers.values().filter(|value| value.is_sensitive());
    let authorization = proxy.and_then(Proxy::authorization);
    let values = shown.into_iter().chain(sensitive).chain(authorization);
    let plain = values.filter_map(|value| Some(bare(value.to_str().ok()?).to_owned()));
    let of_proxy = proxy.map(Proxy::secrets).unwrap_or_default();
    Mask::new(plain.chain(base.query_values()).chain(of_proxy))
}

/// A header's value without the scheme before it (`Bearer`, `Basic`).
fn bare(value: &str) -> &str {
    value.split_once(' ').map_or(value, |(_, secret)| secret)
}
