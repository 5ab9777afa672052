//! The newest sample as lines of a dump, for `nodetally top`. Only the unix socket has it: commands and
//! names of processes are for root and the agent's user.

use std::io::{self, Write};
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::view::StatusShared;
use crate::ledger::account::{PodUsage, UnitUsage};
use crate::payload::dump::{self, Dump, HostFacts};
use crate::payload::ndjson;
use crate::payload::status::SAMPLE_BYTES_MAX;
use crate::runtime::asked_sample::SampleCopy;
use crate::snapshot::gaps::Gaps;

/// The most processes with a line.
pub const PROCESSES_MAX: usize = 1000;

/// `GET /sample`: 200 with the lines and an `ETag`; 304 where the reader's `If-None-Match` names the
/// newest sample.
pub(super) async fn sample(
    State(shared): State<Arc<StatusShared>>,
    headers: HeaderMap,
) -> Response {
    let newest = shared.self_metrics.read().samples;
    // The first sample may have no usage. Then the second is waited for.
    if newest == 0 {
        return no_sample("the first figures are there about a second after the start");
    }
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known == Some(&*tag(&shared, newest)) {
        shared.asked_sample.keep();
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let Some(copy) = shared.asked_sample.get(newest).await else {
        return no_sample("the sampling thread does not answer");
    };
    let etag = tag(&shared, copy.number);
    let name = shared.view().node_name;
    let lines = tokio::task::spawn_blocking(move || lines(&copy, &name)).await;
    match lines {
        Ok(Ok(lines)) => {
            let headers = [(header::CONTENT_TYPE, ndjson::PROFILE.content_type.to_owned())];
            (headers, [(header::ETAG, etag)], lines).into_response()
        }
        Ok(Err(_)) => {
            let text = format!("the sample has more than {SAMPLE_BYTES_MAX} bytes\n");
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn no_sample(reason: &str) -> Response {
    let text = format!("no sample yet: {reason}\n");
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], text).into_response()
}

/// Another agent's samples have other tags.
fn tag(shared: &StatusShared, number: u64) -> String {
    format!("\"{}-{number}\"", shared.started_at.as_nanos())
}

fn lines(copy: &SampleCopy, name: &str) -> io::Result<Vec<u8>> {
    let host = HostFacts { name: name.to_owned(), ..HostFacts::default() };
    let account = &copy.account;
    let dump = Dump {
        host: &host,
        account,
        catalog: &copy.catalog,
        gaps: &Gaps::default(),
        filesystems: None,
        pods: account.pods.iter().collect::<Vec<&PodUsage>>(),
        units: account.units.iter().collect::<Vec<&UnitUsage>>(),
        processes: dump::largest_processes(account, PROCESSES_MAX),
        exited_children: account.exited_children.iter().take(PROCESSES_MAX).collect(),
        container_weight: |_| 0,
        rests: Vec::new(),
    };
    let mut out = Bounded(Vec::new());
    dump::write_ndjson(&dump, &mut out)?;
    Ok(out.0)
}

/// Bytes that end with an error where they would be too many.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > SAMPLE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
