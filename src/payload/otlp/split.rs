//! One body as two, for servers that refuse its size.

use bytes::{Buf as _, Bytes};
use prost::encoding::{WireType, decode_key, decode_varint};

/// The two halves of a body's resources; `None`: it has fewer than two, or is no body of this API.
#[must_use]
pub fn split(body: &[u8]) -> Option<(Bytes, Bytes)> {
    let ends = ends_of_resources(body)?;
    let at = *ends.get((ends.len() / 2).checked_sub(1)?)?;
    let (first, second) = body.split_at_checked(at)?;
    Some((Bytes::copy_from_slice(first), Bytes::copy_from_slice(second)))
}

/// The place behind each resource. A body has nothing else.
fn ends_of_resources(body: &[u8]) -> Option<Vec<usize>> {
    let mut ends = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let (1, WireType::LengthDelimited) = decode_key(&mut rest).ok()? else { return None };
        let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
        if length > rest.len() {
            return None;
        }
        rest.advance(length);
        ends.push(body.len() - rest.len());
    }
    Some(ends)
}
