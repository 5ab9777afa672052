//! The latest document of each pod and node that pod batches sent, bounded in number and bytes.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::bounds::{Full, ReceiverBounds};
use crate::quantity::WallTime;

/// The namespace and name of a pod or node; the namespace of a node is empty.
pub(super) type DocumentKey = (String, String);

/// The documents of pod batches.
#[derive(Debug, Default)]
pub(super) struct BatchDocuments {
    pub(super) pods: Documents,
    pub(super) nodes: Documents,
}

/// The latest JSON document of each key.
#[derive(Debug, Default)]
pub(super) struct Documents {
    by_key: BTreeMap<DocumentKey, StoredDocument>,
    bytes: usize,
}

#[derive(Debug)]
struct StoredDocument {
    at: WallTime,
    json: Bytes,
}

impl Documents {
    /// Removes documents older than the retention.
    pub(super) fn sweep(&mut self, now: WallTime, bounds: &ReceiverBounds) {
        let since = now.minus(bounds.retention);
        self.by_key.retain(|_, document| document.at >= since);
        self.bytes = self.by_key.iter().map(|(key, document)| weight(key, &document.json)).sum();
    }

    /// Replaces the document of `key`. Where there is no room, silent documents are evicted, the
    /// longest silent first.
    ///
    /// # Errors
    /// There is no room, and no other document is silent.
    pub(super) fn put(
        &mut self,
        now: WallTime,
        key: DocumentKey,
        json: Bytes,
        count_max: usize,
        bounds: &ReceiverBounds,
    ) -> Result<(), Full> {
        self.remove(&key);
        let new = weight(&key, &json);
        let live_since = now.minus(bounds.stale_after);
        while self.by_key.len() >= count_max || self.bytes + new > bounds.documents_bytes_max {
            let stalest = self
                .by_key
                .iter()
                .filter(|(_, document)| document.at < live_since)
                .min_by_key(|(_, document)| document.at)
                .map(|(key, _)| key.clone());
            let Some(stalest) = stalest else {
                return Err(if self.by_key.len() >= count_max {
                    Full { what: "resources", max: count_max }
                } else {
                    Full { what: "bytes of resources", max: bounds.documents_bytes_max }
                });
            };
            self.remove(&stalest);
        }
        self.bytes += new;
        self.by_key.insert(key, StoredDocument { at: now, json });
        Ok(())
    }

    fn remove(&mut self, key: &DocumentKey) {
        if let Some(document) = self.by_key.remove(key) {
            self.bytes -= weight(key, &document.json);
        }
    }

    /// The documents that are still sent, ordered by key.
    pub(super) fn live(
        &self,
        now: WallTime,
        bounds: &ReceiverBounds,
    ) -> impl Iterator<Item = &Bytes> {
        let since = now.minus(bounds.stale_after);
        let live = self.by_key.values().filter(move |document| document.at >= since);
        live.map(|document| &document.json)
    }
}

fn weight(key: &DocumentKey, json: &Bytes) -> usize {
    key.0.len() + key.1.len() + json.len() + size_of::<(DocumentKey, StoredDocument)>()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> WallTime {
        WallTime::from_unix_millis(seconds * 1000)
    }

    fn key(name: &str) -> DocumentKey {
        (String::new(), name.to_owned())
    }

    #[test]
    fn documents_are_bounded_in_bytes_and_silent_ones_are_evicted_first() {
        let mut bounds = ReceiverBounds::for_interval(Duration::from_secs(15));
        bounds.documents_bytes_max = 3000;
        let mut documents = Documents::default();
        let json = || Bytes::from(vec![b' '; 1000]);
        documents.put(at(0), key("a"), json(), 9, &bounds).unwrap();
        documents.put(at(50), key("b"), json(), 9, &bounds).unwrap();
        let full = documents.put(at(55), key("c"), json(), 9, &bounds).unwrap_err();
        assert!(full.to_string().contains("at most 3000 bytes of resources"), "{full}");
        documents.put(at(55), key("b"), json(), 9, &bounds).unwrap();
        documents.put(at(61), key("c"), json(), 9, &bounds).unwrap();
        assert_eq!(documents.by_key.keys().map(|key| &*key.1).collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(documents.live(at(61), &bounds).count(), 2);
        documents.sweep(at(4000), &bounds);
        assert_eq!((documents.by_key.len(), documents.bytes), (0, 0));
    }

    #[test]
    fn documents_are_bounded_in_number() {
        let bounds = ReceiverBounds::for_interval(Duration::from_secs(15));
        let mut documents = Documents::default();
        documents.put(at(0), key("a"), Bytes::new(), 1, &bounds).unwrap();
        documents.put(at(0), key("b"), Bytes::new(), 1, &bounds).unwrap_err();
        documents.put(at(61), key("b"), Bytes::new(), 1, &bounds).unwrap();
        assert_eq!(documents.by_key.len(), 1);
    }
}
