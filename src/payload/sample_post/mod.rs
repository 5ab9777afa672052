//! The dialect `samples`: everything of one sample in one post.
//!
//! ```text
//! POST /api/samples
//! {"node_name":"worker-1","sampled_at":"2026-11-30T02:33:50.120Z",
//!  "capacity":{"cpu_nanocores":4000000000,"memory_bytes":16464818176},
//!  "allocatable":{"cpu_nanocores":3920000000,"memory_bytes":15422533632},
//!  "posts":[{"path":"/api/nodes/worker-1/metrics","body":{…}}, …],
//!  "record":{"schema_version":1,"node":{…},"pods":[…],"host_units":[…],…}}
//! ```
//!
//! `capacity` and `allocatable` are of the node, and left out where they are not known. `posts` are those of the resource API. `record` is the document of `dump --format json`, which has
//! what that API has no word for: host units, processes, the balance, pressure.

mod decode;

use serde::Serialize;
use serde_json::value::RawValue;

pub use decode::{ReceivedSample, ReceivedUnit, decode_sample, unit_name};

use super::append;
use super::entities::Observation;
use super::ndjson::with_dump;
use super::options::{EncodeOptions, Message};
use super::pod_batch::{NodeAmounts, node_amounts};
use super::profile::{CounterForms, Order, Profile, Reports, Timestamps};
use super::running_totals::Entities;
use super::stamp::Rfc3339Millis;
use super::{dump, resource_api};
use bytes::Bytes;

pub const PROFILE: Profile = Profile {
    name: "samples",
    content_type: "application/json",
    path_in_url: None,
    reports: Reports::Usage(encode),
    order: Order::Any,
    timestamps: Timestamps::InBody,
    split: Some(split),
    permanent_500: false,
    retried_statuses: None,
    read_answer: None,
    points: None,
    uncompressed_because: None,
    protocols: &[],
    as_json: None,
    gzip_by_default: false,
    counters: CounterForms::DeltaAlone,
    bounds_bodies: false,
    is_lines: false,
    has_disk_io: true,
    needs_metrics: false,
    needs_addresses: false,
    ends_series: false,
};

/// The path of every post.
pub const PATH: &str = "/api/samples";

/// The processes of a record: the largest by CPU, memory and disk traffic.
const PROCESSES_MAX: usize = 60;

#[derive(Serialize)]
struct SampleBody<'a> {
    node_name: &'a str,
    sampled_at: String,
    #[serde(flatten)]
    amounts: Option<BothAmounts>,
    posts: Vec<SampleItem<'a>>,
    record: &'a RawValue,
}

#[derive(Serialize)]
struct BothAmounts {
    capacity: NodeAmounts,
    allocatable: NodeAmounts,
}

/// A post of the resource API.
#[derive(Serialize)]
struct SampleItem<'a> {
    path: &'a str,
    body: &'a RawValue,
}

/// The post of one sample; none where its parts are no JSON, which does not happen.
#[must_use]
pub fn encode(
    view: &Observation<'_>,
    entities: &Entities<'_>,
    options: &EncodeOptions,
) -> Vec<Message> {
    let messages = resource_api::encode(view, entities, options);
    let posts = messages.iter().filter_map(|message| {
        let body = serde_json::from_slice(&message.body).ok()?;
        Some(SampleItem { path: &message.path, body })
    });
    let record = with_dump(view, options, PROCESSES_MAX, |dump| {
        let mut json = Vec::with_capacity(64 << 10);
        // Writing to memory cannot fail.
        let _ = dump::write_compact(dump, &mut json);
        json
    });
    let Ok(record) = serde_json::from_slice::<&RawValue>(&record) else { return Vec::new() };
    let whole = SampleBody {
        node_name: &options.node_name,
        sampled_at: Rfc3339Millis(view.account.wall).to_string(),
        amounts: node_amounts(view)
            .map(|(capacity, allocatable)| BothAmounts { capacity, allocatable }),
        posts: posts.collect(),
        record,
    };
    let mut body = Vec::with_capacity(record.get().len() * 2);
    append(&whole, &mut body);
    vec![Message { path: PATH.to_owned(), body: body.into_boxed_slice().into() }]
}

/// Half of the posts each, the first with the record; `None`: there is one post.
fn split(body: &[u8]) -> Option<(Bytes, Bytes)> {
    let whole: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body).ok()?;
    let posts = whole.get("posts")?.as_array()?;
    if posts.len() < 2 {
        return None;
    }
    let (first, second) = posts.split_at(posts.len() / 2);
    let half = |posts: &[serde_json::Value], has_record: bool| {
        let mut half = whole.clone();
        half.insert("posts".to_owned(), posts.into());
        if !has_record {
            half.remove("record");
        }
        serde_json::to_vec(&half).ok().map(Bytes::from)
    };
    Some((half(first, true)?, half(second, false)?))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::running_totals::RunningTotals;
    use super::super::samples::{account, catalog, pod, used, used_by_unit, view};
    use super::*;

    fn post() -> Vec<u8> {
        let mut account = account(vec![used(1, 1), used(2, 2)]);
        account.units = vec![used_by_unit("/system.slice/nginx.service", 3)];
        let catalog = catalog(vec![pod(1, "web-1"), pod(2, "web-2")], &[], &[]);
        let observation = view(&account, &catalog);
        let mut totals = RunningTotals::default();
        let entities = totals.add(&observation);
        let options = EncodeOptions { extras: true, ..EncodeOptions::new("worker-1") };
        let messages = encode(&observation, &entities, &options);
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].path, PATH);
        messages[0].body.to_vec()
    }

    #[test]
    fn a_post_has_the_resource_apis_posts_and_the_record_and_reads_back() {
        let body = post();
        let json: Value = serde_json::from_slice(&body).unwrap();
        let paths: Vec<&str> = json["posts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|post| post["path"].as_str().unwrap())
            .collect();
        assert_eq!(paths.len(), 3);
        assert_eq!(paths[0], "/api/nodes/worker-1/metrics");
        let read = decode_sample(&body).unwrap();
        assert_eq!(
            (read.node_name.as_str(), read.nodes.len(), read.pods.len()),
            ("worker-1", 1, 2)
        );
        assert_eq!(read.units.len(), 1);
        assert_eq!(read.units[0].name, "system.slice/nginx.service");
        let record: Value = serde_json::from_str(&read.record.unwrap()).unwrap();
        assert_eq!(record, json["record"]);
        assert!(record["conservation"].is_object() && record["host_units"].is_array());
    }

    #[test]
    fn halves_have_all_posts_and_one_record() {
        let body = post();
        let whole = decode_sample(&body).unwrap();
        let (first, second) = split(&body).unwrap();
        let (first, second) = (decode_sample(&first).unwrap(), decode_sample(&second).unwrap());
        assert_eq!(first.nodes.len() + second.nodes.len(), whole.nodes.len());
        assert_eq!(first.pods.len() + second.pods.len(), whole.pods.len());
        assert!(first.record.is_some() && second.record.is_none());
        let one = json!({"node_name": "n", "sampled_at": "2026-11-30T02:33:50.120Z", "posts": []});
        assert_eq!(split(one.to_string().as_bytes()), None);
    }
}
