//! The API server as a source of identity, against a scripted one over TLS.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test writes its own files and is the edge to time; what is not there fails it"
)]

mod access;
mod errors;
mod list_and_watch;
mod owners;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::api_server::{ApiServer, Pki};
use nodetally::directory::catalog::Catalog;
use nodetally::directory::kubernetes::{ApiAccess, KubernetesOptions, ServiceAccount, run};
use nodetally::directory::pod::Pod;
use nodetally::directory::{Directory, SourceError, SourceKind};
use nodetally::quantity::{BootTime, WallTime};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// Longer than anything here takes; a machine may be slow.
const PATIENCE: Duration = Duration::from_secs(20);

fn clock() -> BootTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    BootTime::from_nanos(u64::try_from(since.as_nanos()).unwrap())
}

fn wall_clock() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    WallTime::from_unix_millis(u64::try_from(since.as_millis()).unwrap())
}

/// Quick to try again.
fn options(access: ApiAccess) -> KubernetesOptions {
    KubernetesOptions {
        backoff_min: Duration::from_millis(20),
        backoff_max: Duration::from_millis(200),
        ..KubernetesOptions::new("worker-1", access, clock, wall_clock, 7)
    }
}

fn in_cluster(folder: &Path, server: &ApiServer) -> ApiAccess {
    let address = server.address;
    ApiAccess::InCluster(ServiceAccount {
        folder: folder.to_owned(),
        server: Some((address.ip().to_string(), address.port())),
    })
}

/// The source at work, and what the directory knows by it.
struct Source {
    directory: Directory,
    task: JoinHandle<()>,
}

impl Drop for Source {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Source {
    fn start(options: KubernetesOptions) -> Self {
        let (directory, publishers) = Directory::new(&[SourceKind::Kubernetes]);
        let publisher = publishers.into_iter().next().unwrap();
        let task = tokio::spawn(async move { match run(options, publisher).await {} });
        Self { directory, task }
    }

    /// The catalog as soon as it is so.
    #[track_caller]
    fn until(
        &self,
        what: &str,
        mut is: impl FnMut(&Catalog) -> bool,
    ) -> impl Future<Output = Arc<Catalog>> {
        let mut changes = self.directory.changes();
        let (what, caller) = (what.to_owned(), std::panic::Location::caller());
        async move {
            let found = tokio::time::timeout(PATIENCE, changes.wait_for(|catalog| is(catalog)));
            let found = match found.await {
                Ok(found) => Some(Arc::clone(&found.expect("the directory lives"))),
                Err(_) => None,
            };
            found.unwrap_or_else(|| {
                panic!("{caller}: never {what}; last {:#?}", changes.borrow().sources)
            })
        }
    }

    /// The first last error with `part` in its text.
    #[track_caller]
    fn error(&self, part: &'static str) -> impl Future<Output = SourceError> {
        let found = self.until(part, move |catalog| {
            catalog.sources[0].last_error.as_ref().is_some_and(|error| error.text.contains(part))
        });
        async move { found.await.sources[0].last_error.clone().unwrap() }
    }

    #[track_caller]
    fn well(&self) -> impl Future<Output = Arc<Catalog>> {
        self.until("well", |catalog| {
            catalog.sources[0].last_error.is_none() && catalog.sources[0].current_at.is_some()
        })
    }
}

fn named<'c>(catalog: &'c Catalog, name: &str) -> Option<&'c Pod> {
    catalog.pods().iter().find(|pod| &*pod.name == name).map(|pod| &**pod)
}

/// A server, its CA's folder as a service account's, and a source that asks it.
struct Setup {
    server: ApiServer,
    folder: TempDir,
    pki: Pki,
}

impl Setup {
    async fn new() -> Self {
        let pki = Pki::new("cluster-ca");
        let folder = tempfile::tempdir().unwrap();
        pki.service_account(folder.path(), "the-token");
        Self { server: ApiServer::start(&pki).await, folder, pki }
    }

    fn options(&self) -> KubernetesOptions {
        options(in_cluster(self.folder.path(), &self.server))
    }

    fn source(&self) -> Source {
        Source::start(self.options())
    }
}
