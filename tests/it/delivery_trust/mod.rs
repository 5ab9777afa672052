//! Delivery to servers that must be who they say, and that must see nothing but what is theirs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails"
)]

mod answers;
mod authority;
mod bodies;
mod certificates;
mod connections;
mod echoes;
mod proxies;
mod secrets;
mod server;
mod tokens;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::support::figures::{until, until_settled};
use crate::support::log_lines::{hear_all, listen};
use nodetally::delivery::{
    self, BaseUrl, Credential, DeliverySettings, Handle, Storage, TokenSource,
};
use nodetally::identity::BootId;
use nodetally::quantity::{BootTime, WallTime};
use nodetally::spool::{Batch, Moment};

/// Long enough for a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(90);

fn quick(url: &str) -> DeliverySettings {
    hear_all();
    let mut settings = DeliverySettings::new("central", BaseUrl::parse(url).unwrap(), 1);
    settings.backoff_base = Duration::from_millis(20);
    settings.backoff_max = Duration::from_millis(40);
    settings.request_timeout = Duration::from_secs(10);
    settings
}

fn moment(number: u64) -> Moment {
    let boot = BootId::parse(b"dcb0aa66-4b28-4a3b-b26c-358f9a3b5bb2").unwrap();
    let wall = WallTime::from_unix_millis(1000);
    Moment { boot, since_boot: BootTime::from_nanos(1_000_000_000_000 + number), wall }
}

fn run(settings: DeliverySettings) -> Handle {
    let clock = Arc::new(|| moment(0));
    let (handle, worker) = delivery::endpoint(settings, Storage::default(), clock).unwrap();
    tokio::spawn(worker.run());
    handle
}

/// A sample of as many posts of the same body.
fn offer(handle: &Handle, number: u64, posts: usize, body: &str) {
    let post = |at| (format!("/posts/{number}/{at}"), body.to_owned().into());
    handle.offer(Batch::new(moment(number), (0..posts).map(post)), false);
}

fn bearer(path: PathBuf) -> Option<Credential> {
    Some(Credential { header: "Authorization".to_owned(), token: TokenSource::File(path) })
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

/// Puts another file in its place, as whoever rotates secrets does.
fn replace(path: &Path, text: &str) {
    let next = path.with_extension("next");
    write(&next, text);
    std::fs::rename(&next, path).unwrap();
}
