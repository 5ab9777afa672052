//! Endpoints of the dialect `otlp`, from a line of the configuration to what a server received.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails"
)]

mod answers;
mod oracle;
mod server;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nodetally::config::{Destination, Flags, Inputs, Settings};
use nodetally::delivery::{self, DeliverySettings, Handle, Storage};
use nodetally::directory::{Catalog, Directory, SourceKind};
use nodetally::endpoint::client::delivery_settings;
use nodetally::endpoint::render::{Encoder, SampleEncoder};
use nodetally::identity::BootId;
use nodetally::ledger::{Account, Ledger};
use nodetally::metrics::sample::NodeAttributes;
use nodetally::metrics::store::{MetricStore, StoreInput, StoreOptions};
use nodetally::payload::entities::Observation;
use nodetally::payload::otlp::messages::{ExportRequest, MetricData, PointValue};
use nodetally::payload::running_totals::Entities;
use nodetally::quantity::{BootTime, WallTime};
use nodetally::runtime::capture;
use nodetally::snapshot::sampler::{Sampler, SamplerOptions};
use nodetally::spool::{Batch, Moment};
use prost::Message as _;

use crate::support::figures::{until, until_settled};
use crate::support::log_lines::hear_all;

/// The time of the first sample, in milliseconds since 1970.
const BEGIN: u64 = 1_760_000_000_000;

/// An endpoint `name`, and the samples of a captured host for it.
struct Rig {
    settings: DeliverySettings,
    encoder: SampleEncoder,
    store: MetricStore,
    account: Account,
    catalog: Arc<Catalog>,
}

impl Rig {
    /// `keys`: further lines of the endpoint.
    fn new(name: &str, url: &str, keys: &str) -> Self {
        hear_all();
        let text = format!(
            "[cluster]\nname = \"prod\"\n[[endpoint]]\nname = \"{name}\"\ndialect = \"otlp\"\n\
             url = \"{url}\"\nspread = \"0s\"\n{keys}"
        );
        let settings = Settings::resolve(Inputs {
            file: Some((PathBuf::from("nodetally.toml"), text)),
            environment: Vec::<(String, String)>::new(),
            flags: Flags::default(),
            host_name: "node-1".to_owned(),
            is_root: true,
            ..Inputs::default()
        });
        let settings = settings.unwrap();
        let endpoint = &settings.endpoints[0];
        let Encoder::Samples(encoder) = Encoder::of(endpoint, &settings).unwrap() else {
            panic!("no samples")
        };
        let Destination::Http(url) = &endpoint.url else { panic!("no server") };
        let mut delivery = delivery_settings(endpoint, url, &settings).unwrap();
        delivery.backoff_base = Duration::from_millis(20);
        delivery.backoff_max = Duration::from_millis(40);
        let store = MetricStore::new(StoreOptions {
            node: NodeAttributes { name: "node-1".into(), ..NodeAttributes::default() },
            keeps_intervals: true,
            ..StoreOptions::default()
        });
        let (directory, _) = Directory::new(&[SourceKind::Kubernetes]);
        let catalog = directory.catalog();
        Self { settings: delivery, encoder, store, account: account(), catalog }
    }

    fn run(&self) -> Handle {
        let clock = Arc::new(|| moment(0));
        let (handle, worker) =
            delivery::endpoint(self.settings.clone(), Storage::default(), clock).unwrap();
        tokio::spawn(worker.run());
        handle
    }

    /// The posts of the next sample. Each has the same account, so totals grow by the same amount.
    fn posts(&mut self, number: u64) -> Vec<(String, Bytes)> {
        let nanos = 15_000_000_000;
        let account = Account {
            since: Some(BootTime::from_nanos(number * nanos)),
            until: BootTime::from_nanos((number + 1) * nanos),
            wall: WallTime::from_unix_millis(BEGIN + number * 15_000),
            ..self.account.clone()
        };
        let sample = self.store.add(&StoreInput {
            account: &account,
            catalog: &self.catalog,
            pod_filesystems: &BTreeMap::new(),
            node_filesystem: None,
            filesystems: &[],
            seen_by_all: None,
        });
        let view = Observation {
            account: &account,
            catalog: &self.catalog,
            filesystems: &BTreeMap::new(),
            node_filesystem: None,
            metrics: Some(&sample),
        };
        self.encoder.posts(&view, &Entities::default())
    }

    fn offer(&mut self, handle: &Handle, number: u64) {
        let posts = self.posts(number);
        handle.offer(Batch::new(moment(number), posts), false);
    }
}

/// The account between the two instants of a captured host.
fn account() -> Account {
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hosts/7.2-containerd-systemd");
    let instants = capture::load(&host).unwrap();
    let mut ledger = Ledger::new(instants[0].units);
    let mut account = Account::default();
    for roots in instants {
        let captured = roots.captured.clone().unwrap();
        let mut sampler = Sampler::open(roots, SamplerOptions::default()).unwrap();
        ledger.settle(sampler.sample(&|| captured.at, captured.wall), &mut account);
    }
    account
}

fn moment(number: u64) -> Moment {
    let boot = BootId::parse(b"dcb0aa66-4b28-4a3b-b26c-358f9a3b5bb2").unwrap();
    let wall = WallTime::from_unix_millis(BEGIN);
    Moment { boot, since_boot: BootTime::from_nanos(1_000_000_000_000 + number), wall }
}

/// The points of a body.
fn points(body: &[u8]) -> u64 {
    let all = ExportRequest::decode(body).unwrap().resource_metrics;
    let metrics = all.iter().flat_map(|one| &one.scope_metrics[0].metrics);
    let of_metric = |data: &MetricData| match data {
        MetricData::Gauge(gauge) => gauge.data_points.len(),
        MetricData::Sum(sum) => sum.data_points.len(),
    };
    metrics.filter_map(|metric| metric.data.as_ref()).map(|data| of_metric(data) as u64).sum()
}

/// The counters of a body: series in words, time in seconds since [`BEGIN`], and value.
fn counters(body: &[u8]) -> Vec<(String, u64, f64)> {
    let mut all = Vec::new();
    for resource in ExportRequest::decode(body).unwrap().resource_metrics {
        let names = format!("{:?}", resource.resource);
        for metric in &resource.scope_metrics[0].metrics {
            let Some(MetricData::Sum(sum)) = &metric.data else { continue };
            for point in sum.data_points.iter().filter(|_| sum.is_monotonic) {
                let value = match point.value.clone().unwrap() {
                    PointValue::AsDouble(value) => value,
                    PointValue::AsInt(value) => value as f64,
                };
                let series = format!("{names} {} {:?}", metric.name, point.attributes);
                let seconds = (point.time_unix_nano / 1_000_000 - BEGIN) / 1000;
                all.push((series, seconds, value));
            }
        }
    }
    all
}
