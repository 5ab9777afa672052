//! The number of points of a body, for those that a server refuses as a whole.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// The fields from a body down to its points: `resource_metrics`, `scope_metrics`, `metrics`, `gauge`
/// or `sum`, `data_points`.
const FIELDS: [&[u32]; 5] = [&[1], &[2], &[2], &[5, 7], &[1]];

/// The points of a body; none are counted behind what cannot be read.
#[must_use]
pub fn count(body: &[u8]) -> u64 {
    points(body, &FIELDS)
}

fn points(message: &[u8], path: &[&[u32]]) -> u64 {
    let Some((fields, below)) = path.split_first() else { return 1 };
    let mut rest = message;
    let mut sum = 0;
    while let Ok((field, wire)) = decode_key(&mut rest) {
        if wire != WireType::LengthDelimited || !fields.contains(&field) {
            if skip_field(wire, field, &mut rest, DecodeContext::default()).is_err() {
                break;
            }
            continue;
        }
        let length = decode_varint(&mut rest).ok().and_then(|length| usize::try_from(length).ok());
        let Some((part, behind)) = length.and_then(|length| rest.split_at_checked(length)) else {
            break;
        };
        sum += points(part, below);
        rest = behind;
    }
    sum
}
