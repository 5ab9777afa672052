//! The compression of bodies.

use std::io::{self, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

/// The least size of a compressed body: below, the saving is less than a packet.
const COMPRESSED_FROM_BYTES: usize = 1024;

/// The level on zlib's scale of 1 to 9. Higher levels take twice the time and hardly save more.
const GZIP_LEVEL: u32 = 4;

/// The level on zstd's scale of 1 to 22, its default. It is faster than the fastest gzip.
const ZSTD_LEVEL: i32 = 3;

/// The content encoding of bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyEncoding {
    #[default]
    None,
    Gzip,
    Zstd,
}

impl BodyEncoding {
    /// The value of `Content-Encoding`.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The encoded body; `None`: it is sent unchanged.
    pub(super) fn encode(self, body: &[u8]) -> Option<Bytes> {
        if body.len() < COMPRESSED_FROM_BYTES {
            return None;
        }
        // Writing to memory does not fail.
        match self {
            Self::None => None,
            Self::Gzip => gzip(body).ok().map(Bytes::from),
            Self::Zstd => zstd::bulk::compress(body, ZSTD_LEVEL).ok().map(Bytes::from),
        }
    }
}

fn gzip(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder =
        GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::new(GZIP_LEVEL));
    encoder.write_all(body)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_is_encoded_reads_again_as_it_was_and_small_bodies_are_left_alone() {
        let body = "{\"cpu_millicores\":250,\"memory_bytes\":1048576}".repeat(500).into_bytes();
        let gzip = BodyEncoding::Gzip.encode(&body).unwrap();
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(&*gzip).read_to_end(&mut text).unwrap();
        assert_eq!(text, body);
        let zstd = BodyEncoding::Zstd.encode(&body).unwrap();
        assert_eq!(zstd::bulk::decompress(&zstd, body.len()).unwrap(), body);
        assert!(gzip.len() < body.len() / 20 && zstd.len() < body.len() / 20);
        assert_eq!(BodyEncoding::None.encode(&body), None);
        for encoding in [BodyEncoding::Gzip, BodyEncoding::Zstd] {
            assert_eq!(encoding.encode(&body[..COMPRESSED_FROM_BYTES - 1]), None);
        }
    }
}
