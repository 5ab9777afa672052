//! Reads bodies of remote write, from the documents of the formats alone: snappy's block format,
//! protobuf's wire format, and the messages of both protocols.

/// The value that ends a series.
const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    /// As sent.
    pub labels: Vec<(String, String)>,
    pub samples: Vec<Sample>,
    /// 1: counter, 2: gauge; 0 in protocol 1.0.
    pub kind: u64,
    pub help: String,
    pub unit: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sample {
    pub bits: u64,
    pub millis: i64,
    /// 0 where there is none.
    pub start_millis: i64,
}

impl Sample {
    pub fn value(&self) -> f64 {
        f64::from_bits(self.bits)
    }

    pub fn is_stale(&self) -> bool {
        self.bits == STALE_BITS
    }
}

impl Series {
    pub fn name(&self) -> &str {
        self.label("__name__").unwrap()
    }

    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// `prometheus.WriteRequest`.
pub fn request_1_0(message: &[u8]) -> Vec<Series> {
    let mut all = Vec::new();
    for (field, value) in fields(message) {
        assert_eq!(field, 1, "a field that protocol 1.0 does not have");
        let mut series = Series::default();
        for (field, value) in fields(value.bytes()) {
            match field {
                1 => {
                    let pair: Vec<_> = fields(value.bytes());
                    let text = |wanted| {
                        let found = pair.iter().find(|(field, _)| *field == wanted);
                        found.map_or(String::new(), |(_, value)| value.text())
                    };
                    series.labels.push((text(1), text(2)));
                }
                2 => series.samples.push(sample(value.bytes(), false)),
                other => panic!("field {other} in a series of protocol 1.0"),
            }
        }
        all.push(series);
    }
    all
}

/// `io.prometheus.write.v2.Request`.
pub fn request_2_0(message: &[u8]) -> Vec<Series> {
    let fields_of_message = fields(message);
    let symbols: Vec<String> = fields_of_message
        .iter()
        .filter(|(field, _)| *field == 4)
        .map(|(_, it)| it.text())
        .collect();
    assert_eq!(symbols[0], "", "the first symbol is empty");
    let mut sorted = symbols.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted.len(), symbols.len(), "a symbol twice");
    let mut all = Vec::new();
    for (field, value) in &fields_of_message {
        match field {
            4 => continue,
            5 => {}
            other => panic!("field {other} in a request of protocol 2.0"),
        }
        let mut series = Series::default();
        for (field, value) in fields(value.bytes()) {
            let symbol = |place: u64| symbols[usize::try_from(place).unwrap()].clone();
            match field {
                1 => {
                    let mut rest = value.bytes();
                    let mut places = Vec::new();
                    while !rest.is_empty() {
                        places.push(varint(&mut rest));
                    }
                    for pair in places.chunks(2) {
                        series.labels.push((symbol(pair[0]), symbol(pair[1])));
                    }
                }
                2 => series.samples.push(sample(value.bytes(), true)),
                5 => {
                    for (field, value) in fields(value.bytes()) {
                        match field {
                            1 => series.kind = value.number(),
                            3 => series.help = symbol(value.number()),
                            4 => series.unit = symbol(value.number()),
                            other => panic!("field {other} in metadata"),
                        }
                    }
                }
                other => panic!("field {other} in a series of protocol 2.0"),
            }
        }
        all.push(series);
    }
    all
}

fn sample(message: &[u8], may_have_start: bool) -> Sample {
    let mut sample = Sample::default();
    for (field, value) in fields(message) {
        match (field, value) {
            (1, Value::Fixed64(bits)) => sample.bits = bits,
            (2, Value::Varint(millis)) => sample.millis = i64::from_ne_bytes(millis.to_ne_bytes()),
            (3, Value::Varint(millis)) if may_have_start => {
                sample.start_millis = i64::from_ne_bytes(millis.to_ne_bytes());
            }
            (field, value) => panic!("{field}: {value:?} in a sample"),
        }
    }
    sample
}

#[derive(Debug)]
enum Value<'m> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'m [u8]),
}

impl<'m> Value<'m> {
    fn bytes(&self) -> &'m [u8] {
        if let Self::Bytes(bytes) = self { bytes } else { panic!("no bytes: {self:?}") }
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes().to_vec()).unwrap()
    }

    fn number(&self) -> u64 {
        if let Self::Varint(number) = self { *number } else { panic!("no number: {self:?}") }
    }
}

fn fields(mut message: &[u8]) -> Vec<(u64, Value<'_>)> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let value = match tag & 7 {
            0 => Value::Varint(varint(&mut message)),
            1 => {
                let (bits, rest) = message.split_first_chunk::<8>().unwrap();
                message = rest;
                Value::Fixed64(u64::from_le_bytes(*bits))
            }
            2 => {
                let length = usize::try_from(varint(&mut message)).unwrap();
                let (bytes, rest) = message.split_at(length);
                message = rest;
                Value::Bytes(bytes)
            }
            other => panic!("wire type {other}"),
        };
        found.push((tag >> 3, value));
    }
    found
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = message.split_first().unwrap();
        *message = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}

/// Unpacks snappy's block format.
pub fn unsnappy(mut packed: &[u8]) -> Vec<u8> {
    let length = usize::try_from(varint(&mut packed)).unwrap();
    let mut out = Vec::with_capacity(length);
    let take = |packed: &mut &[u8], count: usize| {
        let (bytes, rest) = packed.split_at(count);
        *packed = rest;
        bytes.iter().rev().fold(0_usize, |number, byte| number << 8 | usize::from(*byte))
    };
    while !packed.is_empty() {
        let tag = take(&mut packed, 1);
        let (offset, count) = match tag & 3 {
            0 => {
                let count = match tag >> 2 {
                    short @ ..60 => short + 1,
                    long => take(&mut packed, long - 59) + 1,
                };
                let (literal, rest) = packed.split_at(count);
                out.extend_from_slice(literal);
                packed = rest;
                continue;
            }
            1 => ((tag >> 5) << 8 | take(&mut packed, 1), (tag >> 2 & 7) + 4),
            2 => (take(&mut packed, 2), (tag >> 2) + 1),
            _ => (take(&mut packed, 4), (tag >> 2) + 1),
        };
        for _ in 0..count {
            out.push(out[out.len() - offset]);
        }
    }
    assert_eq!(out.len(), length);
    out
}
