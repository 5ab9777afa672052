//! Decoding of compressed bodies. The buffer has the size of the largest body allowed and never grows,
//! so that a small body cannot expand beyond it.

use std::io::{self, Read};

use axum::http::header::CONTENT_ENCODING;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use thiserror::Error;
use zstd::zstd_safe::{self, DCtx, zstd_sys::ZSTD_ErrorCode};

use super::answer::Refusal;

/// The coding that a `Content-Encoding` header names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContentCoding {
    Gzip,
    Zstd,
}

impl ContentCoding {
    /// The coding of a body; `None` where it has none.
    ///
    /// # Errors
    /// The coding is not supported, or there is more than one.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        let mut names = headers.get_all(CONTENT_ENCODING).iter().flat_map(|value| {
            let names = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
            names.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>()
        });
        let mut named = None;
        for name in names.by_ref().filter(|name| !name.is_empty() && name != "identity") {
            let coding = match name.as_str() {
                "gzip" | "x-gzip" => Self::Gzip,
                "zstd" => Self::Zstd,
                _ => return Err(not_supported(&name)),
            };
            if named.replace(coding).is_some() {
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

    /// The decoded body; `None` where it would be larger than `bytes_max`.
    pub(super) fn decoded(self, sent: &[u8], bytes_max: usize) -> Result<Option<Bytes>, Refusal> {
        let decoded = match self {
            Self::Gzip => gunzip(sent, bytes_max),
            Self::Zstd => unzstd(sent, bytes_max),
        };
        match decoded {
            Ok(body) => Ok(Some(body)),
            Err(CodingError::TooLarge) => Ok(None),
            Err(error) => Err(Refusal::bad_request(format!(
                "the body's {} stream cannot be read: {error}",
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

/// The reason a body cannot be decoded.
#[derive(Debug, Error)]
enum CodingError {
    #[error("it is larger than allowed")]
    TooLarge,
    #[error("it is cut off")]
    CutOff,
    #[error("it is cut off, or data follows its end")]
    WrongSize,
    #[error("there is no memory for its decoder")]
    NoMemory,
    #[error(transparent)]
    Gzip(io::Error),
    #[error("{0}")]
    Zstd(&'static str),
}

fn gunzip(sent: &[u8], bytes_max: usize) -> Result<Bytes, CodingError> {
    // One byte more shows that the body is too large. The system gives the pages as they are written.
    let mut body = Vec::with_capacity(bytes_max + 1);
    let mut decoder = MultiGzDecoder::new(sent).take(bytes_max as u64 + 1);
    match decoder.read_to_end(&mut body) {
        Ok(read) if read > bytes_max => Err(CodingError::TooLarge),
        Ok(_) => Ok(body.into()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(CodingError::CutOff),
        Err(error) => Err(CodingError::Gzip(error)),
    }
}

/// Decodes in one call and not as a stream. A stream's decoder keeps a window as large as the frame
/// says, 8 MiB for a body of a few bytes; this one reads back from the buffer itself.
fn unzstd(sent: &[u8], bytes_max: usize) -> Result<Bytes, CodingError> {
    let mut decoder = DCtx::try_create().ok_or(CodingError::NoMemory)?;
    let mut body = Vec::with_capacity(bytes_max);
    match decoder.decompress(&mut body, sent) {
        Ok(_) => Ok(body.into()),
        Err(code) if code == code_of(ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall) => {
            Err(CodingError::TooLarge)
        }
        Err(code) if code == code_of(ZSTD_ErrorCode::ZSTD_error_srcSize_wrong) => {
            Err(CodingError::WrongSize)
        }
        Err(code) => Err(CodingError::Zstd(zstd_safe::get_error_name(code))),
    }
}

/// The return value by which the library reports `error`: its number, negated.
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

    /// A stream of a client that does not know the length beforehand: no size in the header, a window
    /// of 8 MiB.
    fn zstd(body: &[u8]) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(23).unwrap();
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn both(body: &[u8]) -> [(ContentCoding, Vec<u8>); 2] {
        [(ContentCoding::Gzip, gzip(body)), (ContentCoding::Zstd, zstd(body))]
    }

    #[test]
    fn a_body_of_just_the_limit_is_decoded_and_one_byte_more_is_not() {
        for (coding, sent) in both(&[b' '; MAX]) {
            assert_eq!(coding.decoded(&sent, MAX).unwrap().unwrap(), vec![b' '; MAX]);
        }
        for (coding, sent) in both(&[b' '; MAX + 1]) {
            assert!(coding.decoded(&sent, MAX).unwrap().is_none(), "{coding:?}");
        }
    }

    #[test]
    fn a_stream_cut_off_anywhere_is_broken_and_never_a_shorter_body() {
        let body: Vec<u8> = (0..2000_u32).flat_map(|n| (n * n).to_le_bytes()).collect();
        for (coding, sent) in both(&body) {
            for length in 1..sent.len() {
                let error = coding.decoded(&sent[..length], MAX).unwrap_err();
                let named = format!("the body's {} stream cannot be read: ", coding.name());
                assert!(error.message.starts_with(&named), "{length}: {}", error.message);
            }
            assert_eq!(coding.decoded(&sent, MAX).unwrap().unwrap(), body);
        }
    }

    #[test]
    fn several_members_or_frames_are_one_body_and_bytes_behind_them_break_it() {
        for (coding, sent) in both(b"half") {
            let twice = [sent.as_slice(), &sent].concat();
            assert_eq!(&coding.decoded(&twice, MAX).unwrap().unwrap()[..], b"halfhalf");
            let more = [sent.as_slice(), b"garbage"].concat();
            assert!(coding.decoded(&more, MAX).is_err(), "{coding:?}");
        }
    }
}
