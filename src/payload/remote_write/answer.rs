//! The meaning of the body of a 2xx.

use crate::payload::page::is_page;

/// No refused points and no message: the headers of the answer say what was written.
///
/// # Errors
/// The answer is a page, as a proxy or another server sends it.
pub fn decode_answer(content_type: &str, body: &[u8]) -> Result<(u64, String), String> {
    if is_page(content_type, body) {
        return Err(
            "the answer is a page and not one of remote write, so nothing was accepted; url \
                    must be that of a remote write receiver, with its path"
                .to_owned(),
        );
    }
    Ok((0, String::new()))
}
