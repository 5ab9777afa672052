//! One message as two, for servers that refuse its size without having said what they take.

use bytes::Bytes as Body;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Deserialize, Serialize)]
struct RawEnvelope<'a> {
    #[serde(borrow)]
    cluster_id: &'a RawValue,
    #[serde(borrow)]
    context: &'a RawValue,
    #[serde(borrow)]
    collected_at: &'a RawValue,
    #[serde(borrow)]
    resources: Vec<&'a RawValue>,
}

/// The two halves of a message's resources, each in the message's envelope; `None`: it has fewer
/// than two resources, or is no message of this API.
#[must_use]
pub fn split(body: &[u8]) -> Option<(Body, Body)> {
    let whole: RawEnvelope<'_> = serde_json::from_slice(body).ok()?;
    if whole.resources.len() < 2 {
        return None;
    }
    let (first, second) = whole.resources.split_at_checked(whole.resources.len() / 2)?;
    let write = |resources: &[&RawValue]| {
        let mut half = Vec::with_capacity(body.len() / 2 + 1024);
        let envelope = RawEnvelope { resources: resources.to_vec(), ..whole };
        crate::payload::append(&envelope, &mut half);
        Body::from(half.into_boxed_slice())
    };
    Some((write(first), write(second)))
}
