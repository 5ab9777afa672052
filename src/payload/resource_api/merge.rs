//! Two posts of one entity as one, for a server that would file the older under a wrong time.

use bytes::Bytes;
use serde_json::{Map, Value};

/// The I/O bytes, which add up over time; all others of a post are states and rates.
const FLOWS: [(&str, [&str; 2]); 2] =
    [("disk_io", ["read_bytes", "write_bytes"]), ("network_io", ["bytes_sent", "bytes_recv"])];

const RATES: [&str; 2] = ["cpu_millicores", "cpu_nanocores"];

/// One post for the time of both: I/O bytes added up, CPU use over both windows where both name them,
/// all else as the newer has it. For deltas, not for running totals. `None`:
/// one of them is no post of this API.
#[must_use]
pub fn merge(older: &[u8], newer: &[u8]) -> Option<Bytes> {
    let older: Map<String, Value> = serde_json::from_slice(older).ok()?;
    let mut newer: Map<String, Value> = serde_json::from_slice(newer).ok()?;
    for (group, keys) in FLOWS {
        let before = older.get(group)?.as_object()?;
        let now = newer.get_mut(group)?.as_object_mut()?;
        for key in keys {
            let sum = before.get(key)?.as_u64()?.saturating_add(now.get(key)?.as_u64()?);
            now.insert(key.to_owned(), sum.into());
        }
    }
    let integer = |map: &Map<String, Value>, key: &str| map.get(key)?.as_u64();
    let windows = integer(&older, "window_millis").zip(integer(&newer, "window_millis"));
    if let Some((before, now)) = windows.filter(|(before, now)| before.saturating_add(*now) > 0) {
        let window = before.saturating_add(now);
        for key in RATES {
            let Some((rate_before, rate)) = integer(&older, key).zip(integer(&newer, key)) else {
                continue;
            };
            let spent =
                u128::from(rate_before) * u128::from(before) + u128::from(rate) * u128::from(now);
            let rate = u64::try_from(spent / u128::from(window)).unwrap_or(u64::MAX);
            newer.insert(key.to_owned(), rate.into());
        }
        newer.insert("window_millis".to_owned(), window.into());
    }
    Some(serde_json::to_vec(&newer).ok()?.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::payload::resource_api::{NodeExtras, UsageValues, decode_node, encode_node};

    fn node(usage: &UsageValues, window_millis: Option<u64>) -> Vec<u8> {
        let extras = window_millis.map(|window_millis| NodeExtras {
            window_millis,
            cpu_nanocores: usage.cpu_millicores * 1_000_000,
            labels: None,
        });
        let mut body = Vec::new();
        encode_node(usage, extras.as_ref(), &mut body);
        body
    }

    #[test]
    fn flows_add_up_rates_are_those_of_the_whole_time_and_states_the_newer_ones() {
        let older = UsageValues {
            cpu_millicores: 1000,
            memory_bytes: 5,
            read_bytes: 1,
            write_bytes: 2,
            sent_bytes: 3,
            recv_bytes: 4,
        };
        let newer = UsageValues {
            cpu_millicores: 4000,
            memory_bytes: 7,
            read_bytes: 10,
            write_bytes: 20,
            sent_bytes: 30,
            recv_bytes: 40,
        };
        let both = merge(&node(&older, Some(30_000)), &node(&newer, Some(15_000))).unwrap();
        let both = decode_node(&both).unwrap();
        let expected = UsageValues {
            cpu_millicores: 2000,
            memory_bytes: 7,
            read_bytes: 11,
            write_bytes: 22,
            sent_bytes: 33,
            recv_bytes: 44,
        };
        assert_eq!(both.usage, expected);
        assert_eq!(both.extras.window_millis, Some(45_000));
        assert_eq!(both.extras.cpu_nanocores, Some(2_000_000_000));
        // Without its windows a rate can only be the newer one.
        let both = merge(&node(&older, None), &node(&newer, Some(15_000))).unwrap();
        assert_eq!(decode_node(&both).unwrap().usage.cpu_millicores, 4000);
    }

    #[test]
    fn what_is_no_post_is_not_added() {
        let post = node(&UsageValues::default(), None);
        let other = json!({ "disk_io": { "read_bytes": 1 } }).to_string();
        for broken in [&b"{}"[..], b"", b"[1]", b"{\"disk_io\":null}", other.as_bytes()] {
            assert_eq!(merge(broken, &post), None);
            assert_eq!(merge(&post, broken), None);
        }
    }

    proptest! {
        #[test]
        fn no_byte_gets_lost_whatever_the_order_of_adding(
            flows in prop::collection::vec((0..1_u64 << 40, 0..1_u64 << 40), 1..8),
        ) {
            let bodies = flows.iter().map(|(read_bytes, sent_bytes)| {
                let (read_bytes, sent_bytes) = (*read_bytes, *sent_bytes);
                node(&UsageValues { read_bytes, sent_bytes, ..UsageValues::default() }, Some(1000))
            });
            let all = bodies.reduce(|older, newer| merge(&older, &newer).unwrap().to_vec());
            let all = decode_node(&all.unwrap()).unwrap();
            prop_assert_eq!(all.usage.read_bytes, flows.iter().map(|(read, _)| read).sum::<u64>());
            prop_assert_eq!(all.usage.sent_bytes, flows.iter().map(|(_, sent)| sent).sum::<u64>());
            prop_assert_eq!(all.extras.window_millis, Some(1000 * flows.len() as u64));
        }
    }
}
