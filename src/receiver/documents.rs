//! The latest of what was sent whole, by name, bounded in number and bytes.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Bounds;
use super::series::before;
use super::store::Full;
use crate::quantity::WallTime;

/// Namespace and name; the namespace of a node is empty.
pub(super) type Key = (String, String);

#[derive(Debug, Default)]
pub(super) struct Documents {
    kept: BTreeMap<Key, Document>,
    bytes: usize,
}

#[derive(Debug)]
struct Document {
    at: WallTime,
    json: Bytes,
}

impl Documents {
    /// Forgets what is older than the retention.
    pub(super) fn sweep(&mut self, now: WallTime, bounds: &Bounds) {
        let since = before(now, bounds.retention);
        self.kept.retain(|_, document| document.at >= since);
        self.bytes = self.kept.iter().map(|(key, document)| weight(key, &document.json)).sum();
    }

    /// Keeps this in place of what was there under the key. What is no longer sent makes room,
    /// the longest silent first.
    pub(super) fn put(
        &mut self,
        now: WallTime,
        key: Key,
        json: Bytes,
        count_max: usize,
        bounds: &Bounds,
    ) -> Result<(), Full> {
        self.remove(&key);
        let new = weight(&key, &json);
        let live_since = before(now, bounds.stale_after);
        while self.kept.len() >= count_max || self.bytes + new > bounds.documents_bytes_max {
            let stalest = self
                .kept
                .iter()
                .filter(|(_, document)| document.at < live_since)
                .min_by_key(|(_, document)| document.at)
                .map(|(key, _)| key.clone());
            let Some(stalest) = stalest else {
                return Err(match self.kept.len() >= count_max {
                    true => Full { what: "resources", max: count_max },
                    false => Full { what: "bytes of resources", max: bounds.documents_bytes_max },
                });
            };
            self.remove(&stalest);
        }
        self.bytes += new;
        self.kept.insert(key, Document { at: now, json });
        Ok(())
    }

    fn remove(&mut self, key: &Key) {
        if let Some(document) = self.kept.remove(key) {
            self.bytes -= weight(key, &document.json);
        }
    }

    /// Those that are still sent, by key.
    pub(super) fn live(&self, now: WallTime, bounds: &Bounds) -> impl Iterator<Item = &Bytes> {
        let since = before(now, bounds.stale_after);
        let live = self.kept.values().filter(move |document| document.at >= since);
        live.map(|document| &document.json)
    }
}

fn weight(key: &Key, json: &Bytes) -> usize {
    key.0.len() + key.1.len() + json.len() + size_of::<(Key, Document)>()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> WallTime {
        WallTime::from_unix_millis(seconds * 1000)
    }

    fn key(name: &str) -> Key {
        (String::new(), name.to_owned())
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes_and_what_is_silent_goes_first() {
        let mut bounds = Bounds::for_interval(Duration::from_secs(15));
        bounds.documents_bytes_max = 3000;
        let mut documents = Documents::default();
        let json = || Bytes::from(vec![b' '; 1000]);
        documents.put(at(0), key("a"), json(), 9, &bounds).unwrap();
        documents.put(at(50), key("b"), json(), 9, &bounds).unwrap();
        let full = documents.put(at(55), key("c"), json(), 9, &bounds).unwrap_err();
        assert!(full.to_string().contains("at most 3000 bytes of resources"), "{full}");
        documents.put(at(55), key("b"), json(), 9, &bounds).unwrap();
        documents.put(at(61), key("c"), json(), 9, &bounds).unwrap();
        assert_eq!(documents.kept.keys().map(|key| &*key.1).collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(documents.live(at(61), &bounds).count(), 2);
        documents.sweep(at(4000), &bounds);
        assert_eq!((documents.kept.len(), documents.bytes), (0, 0));
    }

    #[test]
    fn what_is_kept_is_bounded_in_number() {
        let bounds = Bounds::for_interval(Duration::from_secs(15));
        let mut documents = Documents::default();
        documents.put(at(0), key("a"), Bytes::new(), 1, &bounds).unwrap();
        documents.put(at(0), key("b"), Bytes::new(), 1, &bounds).unwrap_err();
        documents.put(at(61), key("b"), Bytes::new(), 1, &bounds).unwrap();
        assert_eq!(documents.kept.len(), 1);
    }
}
