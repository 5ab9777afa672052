//! Requests as they are sent: in one of the two protocols, packed by snappy.
//!
//! Samples wait in protocol 2.0, which says more. Protocol 1.0 is made of it when a request is sent, so
//! that a server's answer decides for those that wait too.

use bytes::Bytes;
use prost::Message as _;

use super::messages::{CountedRequest, LabelPair, LabelRequest, LabelSeries, SymbolRequest};
use super::symbols::{Symbols, text_at};

/// A request in protocol 2.0, packed.
pub(super) fn as_2_0(body: &[u8]) -> Bytes {
    packed(body)
}

/// A request in protocol 1.0, packed. What is no request is packed as it is, for the server to refuse.
pub(super) fn as_1_0(body: &[u8]) -> Bytes {
    match SymbolRequest::decode(body) {
        Ok(request) => packed(&with_labels(request).encode_to_vec()),
        Err(_) => packed(body),
    }
}

/// Snappy's block format.
fn packed(body: &[u8]) -> Bytes {
    // It fails beyond 4 GiB only, and no body is that large.
    snap::raw::Encoder::new().compress_vec(body).unwrap_or_default().into()
}

fn with_labels(request: SymbolRequest) -> LabelRequest {
    let texts: Vec<Bytes> = request.symbols.into_iter().map(Bytes::from).collect();
    let text = |place: u32| {
        let at = usize::try_from(place).unwrap_or(usize::MAX);
        texts.get(at).cloned().unwrap_or_default()
    };
    let timeseries = request.timeseries.into_iter().map(|series| {
        let pairs = series.labels_refs.chunks_exact(2);
        let labels = pairs.filter_map(|pair| match pair {
            [name, value] => Some(LabelPair { name: text(*name), value: text(*value) }),
            _ => None,
        });
        let labels = labels.collect();
        let mut samples = series.samples;
        samples.iter_mut().for_each(|sample| sample.start_timestamp = 0);
        LabelSeries { labels, samples }
    });
    LabelRequest { timeseries: timeseries.collect() }
}

/// The points of a request; 0 where it is none.
pub(super) fn count(body: &[u8]) -> u64 {
    let Ok(request) = CountedRequest::decode(body) else { return 0 };
    request.timeseries.iter().map(|series| series.samples.len() as u64).sum()
}

/// The halves of a request's series; `None`: it has fewer than two, or is no request.
#[must_use]
pub fn split(body: &[u8]) -> Option<(Bytes, Bytes)> {
    let request = SymbolRequest::decode(body).ok()?;
    if request.timeseries.len() < 2 {
        return None;
    }
    let (first, second) = request.timeseries.split_at_checked(request.timeseries.len() / 2)?;
    let half = |series: &[super::messages::SymbolSeries]| {
        let mut symbols = Symbols::new();
        let timeseries = series.iter().cloned().map(|mut series| {
            let mut moved = |place: &mut u32| {
                *place = symbols.place(text_at(&request.symbols, *place));
            };
            series.labels_refs.iter_mut().for_each(&mut moved);
            if let Some(metadata) = &mut series.metadata {
                moved(&mut metadata.help_ref);
                moved(&mut metadata.unit_ref);
            }
            series
        });
        let timeseries = timeseries.collect();
        let half = SymbolRequest { symbols: symbols.into_texts(), timeseries };
        Bytes::from(half.encode_to_vec())
    };
    Some((half(first), half(second)))
}
