//! Lists as JSON, read from the store page by page: however long a list is, and however slowly it is
//! read, one part of it is in memory.

use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::try_unfold;
use serde::Serialize;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::answer::{HandlerResult, JSON_HEADERS};
use super::store::{RowPage, StoreError};

/// The begin of a JSON array.
pub(super) const ARRAY: &str = "[";

/// Reads the pages of one list.
pub(super) trait ListSource: Send + 'static {
    type Row: Send;

    fn read(
        &self,
        page: RowPage,
    ) -> impl Future<Output = Result<Vec<Self::Row>, StoreError>> + Send;

    /// Namespace and name, by which the list is ordered.
    fn place(row: &Self::Row) -> (String, String);

    /// Appends the items of one row.
    fn write(&self, row: &Self::Row, items: &mut Items);

    /// The most items of the answer.
    fn items_max(&self) -> usize {
        usize::MAX
    }

    /// The text behind the items. `_cut`: the place of the last item, if the list has more than the
    /// answer may have.
    fn end(&self, _count: usize, _cut: Option<(String, String)>) -> String {
        "]".to_owned()
    }
}

/// The items of a list as JSON, so far as they are not sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Items {
    json: Vec<u8>,
    count: usize,
}

impl Items {
    pub(super) fn push(&mut self, item: &impl Serialize) {
        self.begin();
        // Writing into a Vec cannot fail, and rows have neither maps with other keys than texts nor
        // figures that JSON does not have.
        let _ = serde_json::to_writer(&mut self.json, item);
    }

    /// Appends an item that is JSON already.
    pub(super) fn push_json(&mut self, json: &str) {
        self.begin();
        self.json.extend_from_slice(json.as_bytes());
    }

    fn begin(&mut self) {
        if self.count > 0 {
            self.json.push(b',');
        }
        self.count += 1;
    }
}

/// A part of a list ends with the row that reaches this size.
const PART_BYTES: usize = 32 << 10;

/// The largest part that any number of clients may be sent at the same time. A single row, such as a
/// time series, can be larger.
const SHORT_PART_BYTES_MAX: usize = 64 << 10;

/// The most answers with larger parts that are sent at the same time. A client that reads nothing keeps
/// its place until its connection is closed.
static LONG_PARTS: Semaphore = Semaphore::const_new(8);

/// The time that a request waits for such a place.
const PLACE_TIMEOUT: Duration = Duration::from_secs(10);

/// The part of a list that is not sent yet.
struct Rest<P> {
    pages: P,
    /// Its place among the answers with large parts.
    place: Option<SemaphorePermit<'static>>,
    /// `None`: the end was sent.
    next: Option<RowPage>,
    items: Items,
    /// The place of the last item.
    last: Option<(String, String)>,
}

impl<P: ListSource> Rest<P> {
    fn of(pages: P, begin: &str) -> Self {
        let items = Items { json: begin.as_bytes().to_vec(), count: 0 };
        Self { pages, place: None, next: None, items, last: None }
    }

    /// Reads the next part of the answer.
    async fn part(&mut self, page: RowPage) -> Result<Bytes, StoreError> {
        let before = (self.items.clone(), self.last.clone());
        let part = self.step(page.clone()).await?;
        if part.len() <= SHORT_PART_BYTES_MAX || self.place.is_some() {
            return Ok(part);
        }
        // Read again after the wait: those that wait hold nothing.
        drop(part);
        let place = tokio::time::timeout(PLACE_TIMEOUT, LONG_PARTS.acquire()).await;
        self.place = Some(place.ok().and_then(Result::ok).ok_or(StoreError::Busy)?);
        (self.items, self.last) = before;
        self.step(page).await
    }

    /// Reads a page, and writes it as far as one part goes.
    async fn step(&mut self, page: RowPage) -> Result<Bytes, StoreError> {
        let rows = self.pages.read(page.clone()).await?;
        let items_max = self.pages.items_max();
        let mut is_cut = false;
        let mut written = 0;
        for row in &rows {
            let (bytes, count) = (self.items.json.len(), self.items.count);
            self.pages.write(row, &mut self.items);
            if self.items.count > items_max {
                // It shows that the list goes on, and is part of the rest.
                self.items.json.truncate(bytes);
                self.items.count = count;
                is_cut = true;
                break;
            }
            if self.items.count == items_max && count < items_max {
                self.last = Some(P::place(row));
            }
            written += 1;
            if self.items.json.len() >= PART_BYTES {
                break;
            }
        }
        let last = rows.get(..written).and_then(<[_]>::last).map(P::place);
        // The rows behind a part are read again with the next one.
        let rows = if written < rows.len() { page.rows_max } else { rows.len() };
        self.next = page.next(rows, last).filter(|_| !is_cut);
        if self.next.is_none() {
            let cut = self.last.take().filter(|_| is_cut);
            let end = self.pages.end(self.items.count, cut);
            self.items.json.extend_from_slice(end.as_bytes());
        }
        Ok(std::mem::take(&mut self.items.json).into())
    }
}

/// The answer with a list that begins with this text. Its first part is read at once, so that an error
/// of the store is an answer of its own.
pub(super) async fn answer<P: ListSource>(pages: P, first: RowPage, begin: &str) -> HandlerResult {
    let mut rest = Rest::of(pages, begin);
    let begin = rest.part(first).await?;
    Ok(whole(begin, rest))
}

/// Like [`answer`]; `None` where the list is empty.
pub(super) async fn answer_if_any<P: ListSource>(
    pages: P,
    first: RowPage,
    begin: &str,
) -> Result<Option<Response>, StoreError> {
    let mut rest = Rest::of(pages, begin);
    let begin = rest.part(first).await?;
    let is_empty = rest.items.count == 0 && rest.next.is_none();
    Ok((!is_empty).then(|| whole(begin, rest)))
}

fn whole<P: ListSource>(begin: Bytes, rest: Rest<P>) -> Response {
    if rest.next.is_none() && rest.place.is_none() {
        return (StatusCode::OK, JSON_HEADERS, begin).into_response();
    }
    let parts = try_unfold((Some(begin), rest), async |(begin, mut rest)| {
        if let Some(begin) = begin {
            return Ok::<_, StoreError>(Some((begin, (None, rest))));
        }
        let Some(page) = rest.next.take() else { return Ok(None) };
        let part = rest.part(page).await?;
        Ok(Some((part, (None, rest))))
    });
    (StatusCode::OK, JSON_HEADERS, Body::from_stream(parts)).into_response()
}
