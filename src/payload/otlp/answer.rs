//! The meaning of a 2xx for the points of a post.

use prost::Message as _;
use serde::Deserialize;

use super::messages::ExportAnswer;
use crate::payload::page::{is_page, kind_of};

/// The points that the server did not take, and its message; empty if it has none. An answer that
/// cannot be read, such as a text, has accepted everything: the status says so.
///
/// # Errors
/// The answer is a page, as a proxy or another server sends it: the server that was meant has not
/// received the post.
pub fn decode_answer(content_type: &str, body: &[u8]) -> Result<(u64, String), String> {
    let kind = kind_of(content_type);
    if is_page(content_type, body) {
        return Err(
            "the answer is a page and not one of OTLP, so nothing was accepted; url must be \
                    that of an OTLP/HTTP receiver"
                .to_owned(),
        );
    }
    let is_json = kind == "application/json";
    Ok(if is_json { of_json(body) } else { of_protobuf(body) }.unwrap_or_default())
}

fn of_protobuf(body: &[u8]) -> Option<(u64, String)> {
    let partial = ExportAnswer::decode(body).ok()?.partial_success?;
    Some((u64::try_from(partial.rejected_data_points).unwrap_or(0), partial.error_message))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonAnswer {
    partial_success: Option<JsonPartialSuccess>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct JsonPartialSuccess {
    rejected_data_points: JsonInteger,
    error_message: String,
}

/// Writers of protobuf's JSON have 64-bit integers as text; others as numbers.
#[derive(Deserialize)]
#[serde(untagged)]
enum JsonInteger {
    Number(u64),
    Text(String),
}

impl Default for JsonInteger {
    fn default() -> Self {
        Self::Number(0)
    }
}

fn of_json(body: &[u8]) -> Option<(u64, String)> {
    let partial = serde_json::from_slice::<JsonAnswer>(body).ok()?.partial_success?;
    let rejected = match partial.rejected_data_points {
        JsonInteger::Number(number) => number,
        JsonInteger::Text(text) => text.parse().unwrap_or(0),
    };
    Some((rejected, partial.error_message))
}
