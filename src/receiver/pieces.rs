//! A JSON answer put together from stored JSON parts without copying them.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use super::answer::JSON_HEADERS;

/// The parts of an answer in order; as a body, those not sent yet.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    pending: VecDeque<Bytes>,
    /// The sum over `pending`.
    bytes: u64,
}

impl Pieces {
    pub(super) fn push(&mut self, piece: impl Into<Bytes>) {
        let piece = piece.into();
        self.bytes += piece.len() as u64;
        self.pending.push_back(piece);
    }

    pub(super) fn append(&mut self, mut more: Self) {
        self.bytes += more.bytes;
        self.pending.append(&mut more.pending);
    }

    /// A JSON list of `items`, each of them a JSON value.
    pub(super) fn list(items: impl Iterator<Item = Self>) -> Self {
        let mut list = Self::default();
        list.push("[");
        for (at, item) in items.enumerate() {
            if at > 0 {
                list.push(",");
            }
            list.append(item);
        }
        list.push("]");
        list
    }

    pub(super) fn answer(self) -> Response {
        (StatusCode::OK, JSON_HEADERS, Body::new(self)).into_response()
    }
}

impl From<Bytes> for Pieces {
    fn from(piece: Bytes) -> Self {
        let mut pieces = Self::default();
        pieces.push(piece);
        pieces
    }
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pending.pop_front();
        self.bytes -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pending.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes)
    }
}
