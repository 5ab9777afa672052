//! The sources of identity against peers that do as the test tells them: a gRPC server on a unix
//! socket, a kubelet behind TLS, Docker's socket, a file.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails"
)]

mod cri;
mod docker;
mod kubelet;
mod merging;
mod runtime_service;
mod static_file;

use std::sync::Arc;
use std::time::Duration;

use nodetally::directory::catalog::Catalog;
use nodetally::directory::{Directory, Publisher, SourceKind, SourceStatus};
use nodetally::identity::PodUid;
use nodetally::quantity::BootTime;

/// Longer than anything here takes on a busy machine; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// The clock of the sources.
fn clock() -> BootTime {
    nodetally::clock::boot_time()
}

fn directory_of(kind: SourceKind) -> (Directory, Publisher) {
    let (directory, mut publishers) = Directory::new(&[kind]);
    (directory, publishers.remove(0))
}

/// The first catalog that is as wished, of now or to come.
async fn until(
    directory: &Directory,
    what: &str,
    wished: impl Fn(&Catalog) -> bool,
) -> Arc<Catalog> {
    let mut changes = directory.changes();
    let found = tokio::time::timeout(PATIENCE, changes.wait_for(|catalog| wished(catalog))).await;
    match found {
        Ok(catalog) => Arc::clone(&catalog.unwrap()),
        Err(_) => panic!("never {what}: {:?}", directory.catalog().sources),
    }
}

fn last_error(status: &SourceStatus) -> &str {
    status.last_error.as_ref().map_or("", |error| &error.text)
}

/// Waits until the last error of the only source contains `part`.
async fn until_error(directory: &Directory, part: &str) -> Arc<Catalog> {
    until(directory, part, |catalog| last_error(&catalog.sources[0]).contains(part)).await
}

fn uid(text: &str) -> PodUid {
    PodUid::parse(text.as_bytes()).unwrap()
}
