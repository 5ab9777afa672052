//! The messages of remote write.
//!
//! ```text
//! io.prometheus.write.v2.Request          prometheus.WriteRequest
//!   4 symbols     repeated string           1 timeseries  repeated TimeSeries
//!   5 timeseries  repeated TimeSeries           1 labels   repeated Label {1 name, 2 value}
//!       1 labels_refs  repeated uint32          2 samples  repeated Sample {1 value, 2 timestamp}
//!       2 samples      repeated Sample {1 value double, 2 timestamp ms, 3 start_timestamp ms}
//!       5 metadata     Metadata {1 type, 3 help_ref, 4 unit_ref}
//! ```
//!
//! Documents: <https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/> (2.0-rc.4) and
//! <https://prometheus.io/docs/specs/prw/remote_write_spec/>.

use bytes::Bytes;
use prost::Message;

/// A request of protocol 2.0.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SymbolRequest {
    /// Every text of the request, each once; the first is empty.
    #[prost(string, repeated, tag = "4")]
    pub(super) symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    pub(super) timeseries: Vec<SymbolSeries>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SymbolSeries {
    /// Places in `symbols`: name, value, name, value …, in the order of the names.
    #[prost(uint32, repeated, tag = "1")]
    pub(super) labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    pub(super) samples: Vec<SeriesSample>,
    #[prost(message, optional, tag = "5")]
    pub(super) metadata: Option<SeriesMetadata>,
}

/// A value of a series. Protocol 1.0 has the first two fields.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct SeriesSample {
    #[prost(double, tag = "1")]
    pub(super) value: f64,
    /// Milliseconds since 1970.
    #[prost(int64, tag = "2")]
    pub(super) timestamp: i64,
    /// The time at which a counter was 0, in milliseconds since 1970; 0: it is no counter.
    #[prost(int64, tag = "3")]
    pub(super) start_timestamp: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct SeriesMetadata {
    /// [`COUNTER`] or [`GAUGE`].
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
    #[prost(uint32, tag = "3")]
    pub(super) help_ref: u32,
    #[prost(uint32, tag = "4")]
    pub(super) unit_ref: u32,
}

pub(super) const COUNTER: i32 = 1;
pub(super) const GAUGE: i32 = 2;

/// A request of protocol 1.0.
#[derive(Clone, PartialEq, Message)]
pub(super) struct LabelRequest {
    #[prost(message, repeated, tag = "1")]
    pub(super) timeseries: Vec<LabelSeries>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LabelSeries {
    #[prost(message, repeated, tag = "1")]
    pub(super) labels: Vec<LabelPair>,
    #[prost(message, repeated, tag = "2")]
    pub(super) samples: Vec<SeriesSample>,
}

/// Both are `string` in the protocol. As shared bytes they are not copied for each series.
#[derive(Clone, PartialEq, Message)]
pub(super) struct LabelPair {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) name: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) value: Bytes,
}

/// The part of [`SymbolRequest`] that tells the number of points, without any text.
#[derive(Clone, PartialEq, Message)]
pub(super) struct CountedRequest {
    #[prost(message, repeated, tag = "5")]
    pub(super) timeseries: Vec<CountedSeries>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CountedSeries {
    #[prost(message, repeated, tag = "2")]
    pub(super) samples: Vec<CountedSample>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct CountedSample {}

/// The bits of the value that ends a series, a NaN.
const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The value that ends a series.
pub(super) const STALE: f64 = f64::from_bits(STALE_BITS);

/// `true` for the value that ends a series.
pub(super) const fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_BITS
}
