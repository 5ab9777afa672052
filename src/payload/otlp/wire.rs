//! Writes protobuf into one buffer, without a message for each part.
//!
//! Encoding: <https://protobuf.dev/programming-guides/encoding/>.

use prost::encoding::{WireType, encode_key, encode_varint};

/// A body in the making.
#[derive(Debug, Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn string(&mut self, field: u32, text: &str) {
        encode_key(field, WireType::LengthDelimited, &mut self.0);
        encode_varint(text.len() as u64, &mut self.0);
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(super) fn varint(&mut self, field: u32, value: u64) {
        encode_key(field, WireType::Varint, &mut self.0);
        encode_varint(value, &mut self.0);
    }

    pub(super) fn fixed64(&mut self, field: u32, bytes: [u8; 8]) {
        encode_key(field, WireType::SixtyFourBit, &mut self.0);
        self.0.extend_from_slice(&bytes);
    }

    /// A message that `write` writes. Its length is put before it afterwards.
    pub(super) fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        encode_key(field, WireType::LengthDelimited, &mut self.0);
        let start = self.0.len();
        self.0.push(0);
        write(self);
        let length = self.0.len() - start - 1;
        match (u8::try_from(length), self.0.get_mut(start)) {
            (Ok(length @ ..128), Some(place)) => *place = length,
            _ => {
                let mut varint = Vec::with_capacity(5);
                encode_varint(length as u64, &mut varint);
                self.0.splice(start..=start, varint);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_as_the_encodings_description_has_them() {
        let mut out = Writer::default();
        // The examples of the description: `a = 150`, `b = "testing"`, a message with the first.
        out.varint(1, 150);
        out.string(2, "testing");
        out.message(3, |out| out.varint(1, 150));
        out.fixed64(4, 1.5_f64.to_le_bytes());
        let expected = b"\x08\x96\x01\x12\x07testing\x1a\x03\x08\x96\x01\x21\0\0\0\0\0\0\xf8\x3f";
        assert_eq!(out.0, expected);
    }

    #[test]
    fn lengths_of_any_number_of_bytes_stand_before_their_message() {
        for (length, expected) in
            [(0, vec![0]), (127, vec![127]), (128, vec![0x80, 1]), (20_000, vec![0xa0, 0x9c, 1])]
        {
            let mut out = Writer(b"before".to_vec());
            out.message(1, |out| out.0.resize(out.0.len() + length, b'x'));
            let expected = [b"before\x0a", &*expected, &vec![b'x'; length]].concat();
            assert_eq!(out.0, expected, "{length}");
        }
    }
}
