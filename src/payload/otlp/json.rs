//! A body in the JSON form of the protocol, as people read it.

use prost::Message as _;

use super::messages::ExportRequest;

/// The body as one line of JSON; `None`: it is no body of this API.
#[must_use]
pub fn as_json(body: &[u8]) -> Option<Vec<u8>> {
    let request = ExportRequest::decode(body).ok()?;
    let mut json = Vec::with_capacity(body.len() * 3);
    crate::payload::append(&request, &mut json);
    Some(json)
}
