//! Bodies that come compressed, decoded into a buffer that has the size of the largest body allowed
//! and never grows: however little was sent of however much, more than that is not made of it.

use std::io::{self, Read};

use axum::http::header::CONTENT_ENCODING;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use zstd::zstd_safe::{self, DCtx, zstd_sys::ZSTD_ErrorCode};

use super::request::Refusal;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Gzip,
    Zstd,
}

impl Encoding {
    /// `None`: the body is as it is.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        let mut names = headers.get_all(CONTENT_ENCODING).iter().flat_map(|value| {
            let names = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
            names.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>()
        });
        let mut named = None;
        for name in names.by_ref().filter(|name| !name.is_empty() && name != "identity") {
            let encoding = match name.as_str() {
                "gzip" | "x-gzip" => Self::Gzip,
                "zstd" => Self::Zstd,
                _ => return Err(not_supported(&name)),
            };
            if named.replace(encoding).is_some() {
                return Err(not_supported("of more than one layer"));
            }
        }
        Ok(named)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The body that `sent` stands for. `Ok(None)`: it would be larger than `bytes_max`.
    pub(super) fn decoded(self, sent: &[u8], bytes_max: usize) -> Result<Option<Bytes>, Refusal> {
        let decoded = match self {
            Self::Gzip => gunzip(sent, bytes_max),
            Self::Zstd => unzstd(sent, bytes_max),
        };
        match decoded {
            Ok(body) => Ok(Some(body)),
            Err(Failure::TooLarge) => Ok(None),
            Err(Failure::Broken(why)) => Err(Refusal::bad_request(format!(
                "the body's {} stream cannot be read: {why}",
                self.name()
            ))),
        }
    }
}

fn not_supported(what: &str) -> Refusal {
    let shown: String = what.chars().take(40).collect();
    Refusal::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        format!("Content-Encoding {shown} is not supported; send gzip, zstd or the body as it is"),
    )
}

enum Failure {
    TooLarge,
    Broken(String),
}

fn gunzip(sent: &[u8], bytes_max: usize) -> Result<Bytes, Failure> {
    // One more, to see that there is more; the system gives the pages as they are written to.
    let mut body = Vec::with_capacity(bytes_max + 1);
    let mut decoder = MultiGzDecoder::new(sent).take(bytes_max as u64 + 1);
    match decoder.read_to_end(&mut body) {
        Ok(read) if read > bytes_max => Err(Failure::TooLarge),
        Ok(_) => Ok(body.into()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(Failure::Broken("it is cut off".to_owned()))
        }
        Err(error) => Err(Failure::Broken(error.to_string())),
    }
}

/// At once and not as a stream: a stream's decoder keeps a window as large as the frame says, 8 MiB
/// for a body of a few bytes and more, where this one looks back into the buffer itself.
fn unzstd(sent: &[u8], bytes_max: usize) -> Result<Bytes, Failure> {
    let Some(mut decoder) = DCtx::try_create() else {
        return Err(Failure::Broken("there is no memory for its decoder".to_owned()));
    };
    let mut body = Vec::with_capacity(bytes_max);
    match decoder.decompress(&mut body, sent) {
        Ok(_) => Ok(body.into()),
        Err(code) if code == code_of(ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall) => {
            Err(Failure::TooLarge)
        }
        Err(code) if code == code_of(ZSTD_ErrorCode::ZSTD_error_srcSize_wrong) => {
            Err(Failure::Broken("it is cut off, or something stands behind its end".to_owned()))
        }
        Err(code) => Err(Failure::Broken(zstd_safe::get_error_name(code).to_owned())),
    }
}

/// The library returns an error as its number below zero.
fn code_of(error: ZSTD_ErrorCode) -> usize {
    0_usize.wrapping_sub(error as usize)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const MAX: usize = 64 << 10;

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    /// As a client does that does not know beforehand how long it will be: no size in the header, a
    /// window of 8 MiB.
    fn zstd(body: &[u8]) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(23).unwrap();
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn both(body: &[u8]) -> [(Encoding, Vec<u8>); 2] {
        [(Encoding::Gzip, gzip(body)), (Encoding::Zstd, zstd(body))]
    }

    #[test]
    fn a_body_of_just_the_limit_is_decoded_and_one_byte_more_is_not() {
        for (encoding, sent) in both(&[b' '; MAX]) {
            assert_eq!(encoding.decoded(&sent, MAX).unwrap().unwrap(), vec![b' '; MAX]);
        }
        for (encoding, sent) in both(&[b' '; MAX + 1]) {
            assert!(encoding.decoded(&sent, MAX).unwrap().is_none(), "{encoding:?}");
        }
    }

    #[test]
    fn a_stream_cut_off_anywhere_is_broken_and_never_a_shorter_body() {
        let body: Vec<u8> = (0..2000_u32).flat_map(|n| (n * n).to_le_bytes()).collect();
        for (encoding, sent) in both(&body) {
            for length in 1..sent.len() {
                let error = encoding.decoded(&sent[..length], MAX).unwrap_err();
                let named = format!("the body's {} stream cannot be read: ", encoding.name());
                assert!(error.message.starts_with(&named), "{length}: {}", error.message);
            }
            assert_eq!(encoding.decoded(&sent, MAX).unwrap().unwrap(), body);
        }
    }

    #[test]
    fn several_members_or_frames_are_one_body_and_bytes_behind_them_break_it() {
        for (encoding, sent) in both(b"half") {
            let twice = [sent.as_slice(), &sent].concat();
            assert_eq!(&encoding.decoded(&twice, MAX).unwrap().unwrap()[..], b"halfhalf");
            let more = [sent.as_slice(), b"garbage"].concat();
            assert!(encoding.decoded(&more, MAX).is_err(), "{encoding:?}");
        }
    }
}
