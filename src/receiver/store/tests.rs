//! The tests that every store is held to: SQLite in memory and in a file, and PostgreSQL with and without
//! partitions.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::payload::dialect::Dialect;
use crate::payload::pod_batch::NodeAmounts;
use crate::payload::pod_lifecycle::{MarkDead, PodSpecPost, RowHead};
use crate::payload::resource_api::{NodeEcho, NodePost, PodEcho, PodPost, UsageValues};
use crate::quantity::WallTime;
use crate::receiver::ReceiverBounds;

#[path = "../../../tests/it/support/postgres.rs"]
mod cluster;

mod postgres;

use cluster::{PostgresCluster, run_sql};

/// The time at which tests begin, in seconds since 1970: a full hour.
const BEGIN: u64 = 1_749_654_000;

const DAY: u64 = 86_400;

fn at(seconds: u64) -> WallTime {
    WallTime::from_unix_millis((BEGIN + seconds) * 1000)
}

fn bounds() -> ReceiverBounds {
    ReceiverBounds::for_interval(Duration::from_secs(15))
}

struct Tested {
    store: Store,
    place: StorePlace,
    bounds: ReceiverBounds,
    dir: tempfile::TempDir,
    /// Of PostgreSQL.
    cluster: Option<(Arc<PostgresCluster>, String)>,
}

impl Tested {
    fn in_file(bounds: ReceiverBounds) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = StorePlace::Sqlite(SqlitePlace::File(dir.path().join("receiver.db")));
        Self::at(place, bounds, dir, None)
    }

    /// `None`: this machine has no PostgreSQL. `parameters`: of the URL.
    fn in_postgres(bounds: ReceiverBounds, parameters: &str) -> Option<Self> {
        let Some(cluster) = PostgresCluster::shared() else {
            println!("skipped: PostgreSQL (no initdb in $PATH)");
            return None;
        };
        let url = cluster.database();
        let address = PostgresAddress::of_url(&format!("{url}?{parameters}")).unwrap();
        let place = StorePlace::Postgres(Box::new(address));
        Some(Self::at(place, bounds, tempfile::tempdir().unwrap(), Some((cluster, url))))
    }

    fn at(
        place: StorePlace,
        bounds: ReceiverBounds,
        dir: tempfile::TempDir,
        cluster: Option<(Arc<PostgresCluster>, String)>,
    ) -> Self {
        let store = Store::open(&place, bounds.clone(), at(0)).unwrap();
        Self { store, place, bounds, dir, cluster }
    }

    /// Those that outlive their process.
    fn lasting(bounds: &ReceiverBounds) -> Vec<Self> {
        let postgres = ["partitions=on", "partitions=off"];
        let postgres = postgres.iter().filter_map(|with| Self::in_postgres(bounds.clone(), with));
        [Self::in_file(bounds.clone())].into_iter().chain(postgres).collect()
    }

    /// One of each kind.
    fn each(bounds: &ReceiverBounds) -> Vec<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut each = vec![Self::at(StorePlace::MEMORY, bounds.clone(), dir, None)];
        each.extend(Self::lasting(bounds));
        each
    }

    /// Those of SQLite.
    fn each_sqlite(bounds: &ReceiverBounds) -> Vec<Self> {
        let mut each = Self::each(bounds);
        each.retain(|tested| matches!(tested.place, StorePlace::Sqlite(_)));
        each
    }

    /// Runs statements in its database.
    fn sql(&self, sql: &str) -> Vec<String> {
        let (_, url) = self.cluster.as_ref().unwrap();
        run_sql(url, &format!("SET search_path = nodetally; {sql}"))
    }

    fn path(&self) -> &Path {
        match &self.place {
            StorePlace::Sqlite(SqlitePlace::File(path)) => path,
            _ => panic!("it has none"),
        }
    }

    /// Closes the store and opens it again.
    fn reopen(self) -> Self {
        let Self { store, place, bounds, dir, cluster } = self;
        drop(store);
        // Its thread closes the file once the last handle is gone.
        let mut tries = 0;
        let store = loop {
            match Store::open(&place, bounds.clone(), at(0)) {
                Ok(store) => break store,
                Err(error) if tries > 500 => panic!("{error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
            tries += 1;
        };
        Self { store, place, bounds, dir, cluster }
    }

    /// Waits until what is older than so many days is no longer at each of the first levels. SQLite ages
    /// between two posts, PostgreSQL beside them.
    async fn aged(&self, seconds: u64, days: &[u64]) {
        if self.cluster.is_none() {
            return;
        }
        let old = days.iter().enumerate().map(|(level, days)| {
            let until = (BEGIN + seconds - days * DAY) * 1000;
            format!("OR level = {level} AND until <= {until}")
        });
        let old = old.collect::<Vec<_>>().join(" ");
        let sql = format!("SELECT count(*) FROM part WHERE is_closing {old}");
        // A pass begins with a post, once a minute of the posts' time.
        for minute in 1..40 {
            for _ in 0..20 {
                if self.sql(&sql) == ["0"] {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            self.push(seconds + minute * 61, "other", 1).await.unwrap();
        }
        panic!("it does not age: {:?}", self.sql("SELECT * FROM part ORDER BY level, since"));
    }

    /// Waits until a pod is gone, which some stores remove beside the posts.
    async fn eventually_gone(&self, name: &str, seconds: u64) -> bool {
        for _ in 0..600 {
            if self.past(name, seconds, None).await.is_none() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    async fn post(&self, seconds: u64, sender: &str, change: Change) -> Result<Stored, StoreError> {
        let post = StorePost { at: at(seconds), sender: sender.to_owned(), id: None, change };
        self.store.post(post).await
    }

    async fn push(&self, seconds: u64, name: &str, cpu: u64) -> Result<Stored, StoreError> {
        self.post(seconds, "", pods(Dialect::ResourceApi, &[("default", name, "n", cpu)])).await
    }

    /// Pushes one after the other, many at once on their way: a store in a database answers each once
    /// it has written.
    async fn push_all(&self, name: &str, pushes: impl Iterator<Item = (u64, u64)>) {
        let mut pushes = pushes.peekable();
        while pushes.peek().is_some() {
            let some = pushes.by_ref().take(32).map(|(seconds, cpu)| self.push(seconds, name, cpu));
            for stored in futures_util::future::join_all(some).await {
                stored.unwrap();
            }
        }
    }

    async fn live(&self, seconds: u64) -> Vec<String> {
        let since = at(seconds).minus(self.bounds.stale_after);
        let wanted = EntityQuery { since, ..EntityQuery::default() };
        let rows = self.store.pods(wanted, RowPage::of_rows()).await.unwrap();
        rows.into_iter().map(|row| row.name).collect()
    }

    /// All points of a pod up to that moment; `None`: the pod is not known.
    async fn past(&self, name: &str, seconds: u64, step: Option<u64>) -> Option<Vec<Point>> {
        let name = Some(name.to_owned());
        let wanted = EntityQuery { name, ..EntityQuery::default() };
        let step = step.map(Duration::from_secs);
        let span = Span { from: WallTime::default(), until: at(seconds), step };
        let rows = self.store.pod_series(wanted, RowPage::of_series(), span).await.unwrap();
        rows.into_iter().next().map(|row| row.points)
    }
}

fn pod(namespace: &str, name: &str, node: &str, cpu: u64) -> PodPush {
    let usage = UsageValues { cpu_millicores: cpu, read_bytes: cpu, ..UsageValues::default() };
    PodPush {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        post: PodPost { usage, node_name: node.to_owned(), extras: PodEcho::default() },
    }
}

fn pods(dialect: Dialect, pods: &[(&str, &str, &str, u64)]) -> Change {
    let pods = pods.iter().map(|(namespace, name, node, cpu)| pod(namespace, name, node, *cpu));
    Change::Usage(UsagePushes { pods: pods.collect(), ..UsagePushes::of(dialect) })
}

fn node(name: &str) -> Change {
    let post = NodePost { usage: UsageValues::default(), extras: NodeEcho::default() };
    let nodes = vec![NodePush { name: name.to_owned(), post, amounts: None }];
    Change::Usage(UsagePushes { nodes, ..UsagePushes::of(Dialect::ResourceApi) })
}

fn key(number: u8, body: u8) -> PostId {
    PostId { key: [number; 16], body: [body; 8] }
}

fn spec(name: &str, namespace: Option<&str>) -> Change {
    let post = PodSpecPost {
        row: RowHead {
            pod_name: name.to_owned(),
            pod_ip: "10.0.0.1".to_owned(),
            pod_namespace: namespace.map(str::to_owned),
            time_stamp: "2026-05-12T10:32:14".to_owned(),
            node_name: "n".to_owned(),
            is_dead: false,
            pod_identity: None,
            workload_selector_labels: None,
        },
        pod_obj: None,
    };
    Change::Spec { post, only_on: None }
}

#[tokio::test]
async fn what_was_stored_is_there_when_the_store_is_opened_again() {
    for tested in Tested::lasting(&bounds()) {
        is_there_when_it_is_opened_again(tested).await;
    }
}

async fn is_there_when_it_is_opened_again(tested: Tested) {
    for (number, cpu) in [100, 200, 300].into_iter().enumerate() {
        tested.push(15 * number as u64, "web", cpu).await.unwrap();
    }
    tested.post(30, "", spec("web", Some("default"))).await.unwrap();
    let post = || StorePost {
        at: at(31),
        sender: String::new(),
        id: Some(key(1, 1)),
        change: pods(Dialect::ResourceApi, &[("default", "db", "n", 7)]),
    };
    assert!(!tested.store.post(post()).await.unwrap().is_replay);
    let before = tested.past("web", 60, None).await;

    let tested = tested.reopen();
    assert_eq!(tested.live(31).await, ["db", "web"]);
    assert_eq!(tested.past("web", 60, None).await, before);
    assert!(tested.store.post(post()).await.unwrap().is_replay, "its key is known");
    let other = StorePost { id: Some(key(1, 2)), ..post() };
    assert_eq!(tested.store.post(other).await.unwrap_err(), StoreError::OtherBody);
    assert_eq!(tested.past("db", 60, None).await.unwrap().len(), 1);
    let specs = tested.store.specs(SpecQuery::All, RowPage::of_rows()).await.unwrap();
    assert_eq!(specs.len(), 1);
}

#[tokio::test]
async fn a_new_pod_evicts_the_longest_silent_one_but_no_live_one() {
    for tested in Tested::each(&ReceiverBounds { pods_max: 2, ..bounds() }) {
        tested.push(0, "a", 1).await.unwrap();
        tested.push(10, "b", 1).await.unwrap();
        let full = tested.push(30, "c", 1).await.unwrap_err();
        let expected = "this receiver keeps at most 2 pods, and all of them still push";
        assert_eq!(full.to_string(), expected);
        tested.push(30, "a", 1).await.unwrap();
        tested.push(80, "c", 1).await.unwrap();
        assert_eq!(tested.live(80).await, ["a", "c"]);
        assert_eq!(tested.past("b", 80, None).await, None, "its past is gone with it");
    }
}

#[tokio::test]
async fn a_flood_of_one_sender_keeps_no_other_out() {
    let bounds = ReceiverBounds { nodes_max: 100, pods_max: 100, ..bounds() };
    for tested in Tested::each(&bounds) {
        for number in 0..300 {
            let _ = tested.post(1, "flood", node(&format!("flood-{number}"))).await;
            let name = format!("flood-{number}");
            let pod = pods(Dialect::ResourceApi, &[("default", &name, "n", 1)]);
            let _ = tested.post(1, "flood", pod).await;
        }
        for number in 0..40 {
            let seconds = 2 + number;
            let name = format!("own-{number}");
            tested.post(seconds, "own", node(&name)).await.unwrap();
            let pod = pods(Dialect::ResourceApi, &[("default", &name, "n", 1)]);
            tested.post(seconds, "own", pod).await.unwrap();
            // It goes on, and takes nothing back.
            let flood = node(&format!("flood-{}", 300 + number));
            let _ = tested.post(seconds, "flood", flood).await;
        }
        let own = tested.live(42).await.into_iter().filter(|name| name.starts_with("own"));
        assert_eq!(own.count(), 40);
        let nodes = tested.store.nodes(EntityQuery::default(), RowPage::of_rows()).await.unwrap();
        assert_eq!(nodes.iter().filter(|node| node.name.starts_with("own")).count(), 40);
        assert!(nodes.len() <= 100, "{}", nodes.len());
    }
}

#[tokio::test]
async fn the_keys_of_a_flood_push_out_their_own_alone() {
    for tested in Tested::each(&ReceiverBounds { post_keys_max: 64, ..bounds() }) {
        let post = |sender: &str, number: u8| StorePost {
            at: at(1),
            sender: sender.to_owned(),
            id: Some(key(number, 0)),
            change: node("n"),
        };
        for number in 0..8 {
            assert!(!tested.store.post(post("own", number)).await.unwrap().is_replay);
        }
        for number in 8..=255 {
            assert!(!tested.store.post(post("flood", number)).await.unwrap().is_replay);
        }
        for number in 0..8 {
            assert!(tested.store.post(post("own", number)).await.unwrap().is_replay, "{number}");
        }
        assert!(!tested.store.post(post("flood", 8)).await.unwrap().is_replay, "the oldest");
    }
}

#[tokio::test]
async fn a_post_without_room_for_all_of_it_stores_nothing() {
    for tested in Tested::each(&ReceiverBounds { pods_max: 2, ..bounds() }) {
        tested.push(0, "a", 1).await.unwrap();
        let three = [("default", "a", "n", 5), ("default", "b", "n", 5), ("default", "c", "n", 5)];
        for _ in 0..3 {
            let full = tested.post(15, "", pods(Dialect::ResourceApi, &three)).await;
            assert!(matches!(full, Err(StoreError::Full(_))), "{full:?}");
        }
        assert_eq!(tested.live(15).await, ["a"]);
        assert_eq!(tested.past("a", 15, None).await.unwrap().len(), 1);
        tested.post(15, "", pods(Dialect::ResourceApi, &three[..2])).await.unwrap();
        assert_eq!(tested.live(15).await, ["a", "b"]);
    }
}

#[tokio::test]
async fn a_pod_that_two_apis_push_counts_once() {
    use Dialect::{PodBatch, ResourceApi};
    for tested in Tested::each(&bounds()) {
        for (seconds, cpu, dialect) in [
            (0, 10, PodBatch),
            (15, 20, PodBatch),
            (16, 20, ResourceApi),
            (30, 40, PodBatch),
            (31, 40, ResourceApi),
            (100, 50, PodBatch),
        ] {
            let push = pods(dialect, &[("default", "a", "n", cpu)]);
            tested.post(seconds, "", push).await.unwrap();
        }
        let past = tested.past("a", 200, None).await.unwrap();
        let bytes: Vec<u64> = past.iter().map(|point| point.usage.read_bytes).collect();
        assert_eq!(bytes, [10, 20, 40, 50]);
    }
}

/// A pod batch is the lesser dialect, and the only one that has a node's amounts.
#[tokio::test]
async fn the_amounts_of_a_node_are_kept_beside_another_dialect() {
    for tested in Tested::each(&bounds()) {
        tested.post(0, "", node("n")).await.unwrap();
        let amounts = NodeAmounts { cpu_nanocores: 4_000_000_000, memory_bytes: 1 << 34 };
        let post = NodePost { usage: UsageValues::default(), extras: NodeEcho::default() };
        let push = NodePush { name: "n".to_owned(), post, amounts: Some((amounts, amounts)) };
        let nodes = vec![push];
        let batch = Change::Usage(UsagePushes { nodes, ..UsagePushes::of(Dialect::PodBatch) });
        tested.post(1, "", batch).await.unwrap();
        tested.post(15, "", node("n")).await.unwrap();
        let nodes = tested.store.nodes(EntityQuery::default(), RowPage::of_rows()).await.unwrap();
        assert_eq!(nodes[0].amounts, Some((amounts, amounts)));
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_loses_nothing() {
    let bounds = ReceiverBounds { retention: Duration::from_secs(DAY), ..bounds() };
    for tested in Tested::each(&bounds) {
        for seconds in [10_000, 5_000, 5_015, 9_999, 4_000] {
            tested.push(seconds, "a", seconds).await.unwrap();
        }
        let past = tested.past("a", 20_000, None).await.unwrap();
        let cpu: Vec<u64> = past.iter().map(|point| point.usage.cpu_millicores).collect();
        assert_eq!(cpu, [4_000, 5_000, 5_015, 9_999, 10_000]);
    }
}

/// Agent and receiver on one host: both clocks were an hour ahead.
#[tokio::test]
async fn samples_after_a_clock_was_set_back_are_the_latest() {
    for tested in Tested::each(&bounds()) {
        let push = async |seconds: u64| {
            let pods = vec![pod("default", "a", "n", seconds)];
            let sampled_at = Some(at(seconds));
            let pushes = UsagePushes { pods, sampled_at, ..UsagePushes::of(Dialect::Samples) };
            tested.post(seconds, "", Change::Usage(pushes)).await.unwrap();
        };
        for seconds in [7200, 7215, 3600, 3615] {
            push(seconds).await;
        }
        let rows = tested.store.pods(EntityQuery::default(), RowPage::of_rows()).await.unwrap();
        assert_eq!((rows[0].at, rows[0].usage.cpu_millicores), (at(3615), 3615));
    }
}

/// A clock that jumps ahead for some minutes takes no past away.
#[tokio::test]
async fn a_jump_of_the_clock_removes_nothing_until_it_holds() {
    for tested in Tested::lasting(&bounds()) {
        removes_nothing_until_it_holds(tested).await;
    }
}

async fn removes_nothing_until_it_holds(tested: Tested) {
    for number in 0..8 {
        tested.push(number * 15, "old", 1).await.unwrap();
    }
    let year = 365 * DAY;
    for number in 0..8 {
        tested.push(year + number * 60, "new", 1).await.unwrap();
    }
    tested.push(200, "new", 1).await.unwrap();
    assert_eq!(tested.past("old", 200, None).await.unwrap().len(), 8);
    for number in 0..70 {
        tested.push(year + number * 60, "new", 1).await.unwrap();
    }
    let gone = tested.eventually_gone("old", year + 70 * 60).await;
    assert!(gone, "an hour later it is what passed");
}

/// Pods that replace each other within a step: each counts for its time.
#[tokio::test]
async fn a_long_step_is_the_mean_of_its_intervals() {
    for tested in Tested::each(&bounds()) {
        for number in 0..120 {
            let name = if number < 60 { "old" } else { "new" };
            tested.push(number * 15, name, 1000).await.unwrap();
        }
        let span = Span { from: at(0), until: at(1800), step: Some(Duration::from_secs(1800)) };
        let sums = tested.store.sum_series(EntityQuery::default(), false, span).await.unwrap();
        let points = &sums[0].points;
        assert_eq!(points.len(), 1);
        let cpu = points[0].usage.cpu_millicores;
        assert!((1000..1050).contains(&cpu), "{cpu}, and not that of both");
        assert_eq!(points[0].usage.read_bytes, 120_000);
    }
}

/// Two days at 15 s in a store that keeps a week: pushes of the last day, minutes before.
#[tokio::test]
async fn pushes_become_minutes_and_no_byte_is_lost() {
    let bounds = ReceiverBounds { retention: Duration::from_secs(7 * DAY), ..bounds() };
    for tested in Tested::lasting(&bounds) {
        become_minutes(tested).await;
    }
}

async fn become_minutes(tested: Tested) {
    let pushes = (0..2 * DAY / 15).map(|number| (number * 15, 100 + number % 7));
    let sent = pushes.clone().map(|(_, cpu)| cpu).sum::<u64>();
    tested.push_all("a", pushes).await;
    tested.aged(2 * DAY, &[1]).await;
    let past = tested.past("a", 2 * DAY, None).await.unwrap();
    assert_eq!(past.iter().map(|point| point.usage.read_bytes).sum::<u64>(), sent);
    assert!(past.is_sorted_by_key(|point| point.at));
    let of_last_day = past.iter().filter(|point| point.at >= at(DAY)).count() as u64;
    assert_eq!(of_last_day, DAY / 15, "pushes are kept for a day");
    let earlier = past.iter().filter(|point| point.at < at(DAY)).count() as u64;
    assert!((DAY / 60..DAY / 60 + 6 * 240).contains(&earlier), "{earlier}");
    let minute = past.iter().find(|point| point.peak.cpu_millicores > 0).unwrap();
    assert_eq!((minute.usage.read_bytes, minute.usage.cpu_millicores), (406, 102));
    assert_eq!(minute.peak.cpu_millicores, 103);
    let hours = tested.past("a", 2 * DAY, Some(3600)).await.unwrap();
    assert_eq!(hours.len(), 48);
    assert_eq!(hours.iter().map(|point| point.usage.read_bytes).sum::<u64>(), sent);
}

/// A hundred days at ten minutes: minutes become hours, and what is older than 90 days goes.
#[tokio::test]
async fn minutes_become_hours_and_end_with_the_retention() {
    let retention = Duration::from_secs(90 * DAY);
    let bounds =
        ReceiverBounds { retention, ..ReceiverBounds::for_interval(Duration::from_secs(600)) };
    for tested in Tested::lasting(&bounds) {
        become_hours(tested).await;
    }
}

async fn become_hours(tested: Tested) {
    tested.push(0, "gone", 1).await.unwrap();
    tested.push_all("a", (0..100 * DAY / 600).map(|number| (number * 600, 6))).await;
    tested.aged(100 * DAY, &[1, 7, 90]).await;
    let past = tested.past("a", 100 * DAY, None).await.unwrap();
    let first = past.first().unwrap().at;
    // A pass follows a batch of pushes, which are of some hours.
    assert!(first >= at(10 * DAY - 4 * DAY) && first <= at(10 * DAY + DAY), "{first:?}");
    let hours = past.iter().filter(|point| point.at < at(89 * DAY));
    assert!(hours.clone().all(|point| point.usage.read_bytes == 36), "six pushes an hour");
    let last_week = past.iter().filter(|point| point.at >= at(93 * DAY)).count() as u64;
    assert_eq!(last_week, 7 * DAY / 600);
    assert!(tested.eventually_gone("gone", 100 * DAY).await);
}

/// A backlog that is sent after newer samples.
#[tokio::test]
async fn an_older_sample_goes_into_the_past_and_leaves_the_latest() {
    for tested in Tested::each(&bounds()) {
        for (seconds, arrival) in [(60, 60), (75, 75), (30, 76), (45, 77), (90, 90)] {
            let pods = vec![pod("default", "a", "n", seconds)];
            let sampled_at = Some(at(seconds));
            let pushes = UsagePushes { pods, sampled_at, ..UsagePushes::of(Dialect::Samples) };
            tested.post(arrival, "", Change::Usage(pushes)).await.unwrap();
            let rows = tested.store.pods(EntityQuery::default(), RowPage::of_rows()).await.unwrap();
            assert_eq!(rows[0].at, at(seconds.max(if arrival > 75 { 75 } else { 0 })));
        }
        let past = tested.past("a", 90, None).await.unwrap();
        let cpu: Vec<u64> = past.iter().map(|point| point.usage.cpu_millicores).collect();
        assert_eq!(cpu, [30, 45, 60, 75, 90]);
    }
}

#[tokio::test]
async fn a_second_receiver_is_kept_out() {
    let tested = Tested::in_file(bounds());
    let error = Store::open(&tested.place, bounds(), at(0)).unwrap_err();
    assert!(error.to_string().contains("another receiver has it open"), "{error}");
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_an_empty_one_begun() {
    let tested = Tested::in_file(bounds());
    tested.push(0, "a", 1).await.unwrap();
    let path = tested.path().to_owned();
    let (place, dir) = (tested.place.clone(), tested.dir);
    drop(tested.store);
    for damage in [&b"no database at all, but long enough to be looked at"[..], &[0xff; 8192]] {
        while Store::open(&place, bounds(), at(0)).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(100));
        std::fs::write(&path, damage).unwrap();
        let _ = std::fs::remove_file(path.with_file_name("receiver.db-wal"));
        let store = Store::open(&place, bounds(), at(0)).unwrap();
        assert_eq!(store.pods(EntityQuery::default(), RowPage::of_rows()).await.unwrap(), []);
    }
    let asides = std::fs::read_dir(dir.path()).unwrap().filter(|entry| {
        entry.as_ref().unwrap().file_name().to_string_lossy().contains(".damaged-")
    });
    assert!(asides.count() >= 2);
}

#[tokio::test]
async fn a_foreign_or_later_database_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("receiver.db");
    let place = StorePlace::Sqlite(SqlitePlace::File(path.clone()));
    let foreign = rusqlite::Connection::open(&path).unwrap();
    foreign.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (7)").unwrap();
    let error = Store::open(&place, bounds(), at(0)).unwrap_err();
    assert!(error.to_string().contains("another program's"), "{error}");
    let kept: i64 = foreign.query_row("SELECT a FROM t", (), |row| row.get(0)).unwrap();
    assert_eq!(kept, 7);
    foreign.execute_batch("DROP TABLE t").unwrap();
    foreign.pragma_update(None, "user_version", 99).unwrap();
    drop(foreign);
    let error = Store::open(&place, bounds(), at(0)).unwrap_err();
    assert!(error.to_string().contains("version 99"), "{error}");
}

#[tokio::test]
async fn a_store_without_room_refuses_and_goes_on_answering() {
    let tight = ReceiverBounds { store_bytes_max: Some(512 << 10), ..bounds() };
    for tested in Tested::each_sqlite(&tight) {
        let mut stored = 0;
        let refused = loop {
            let name = format!("pod-{stored:05}-{}", "x".repeat(200));
            match tested.push(1, &name, 1).await {
                Ok(_) => stored += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, StoreError::NoRoom(_)), "{refused}");
        assert!(stored > 100, "{stored}");
        let mut found = 0;
        let mut next = Some(RowPage::of_rows());
        while let Some(page) = next.take() {
            let rows = tested.store.pods(EntityQuery::default(), page.clone()).await.unwrap();
            found += rows.len();
            let last = rows.last().map(|row| (row.namespace.clone(), row.name.clone()));
            next = page.next(rows.len(), last);
        }
        assert_eq!(found, stored, "what was answered is there, and nothing of the rest");
    }
}

#[tokio::test]
async fn rows_come_by_namespace_and_name_and_those_without_one_last() {
    for tested in Tested::each(&bounds()) {
        for (name, namespace) in [("c", None), ("b", Some("z")), ("a", None), ("d", Some("a"))] {
            tested.post(0, "", spec(name, namespace)).await.unwrap();
        }
        let post = MarkDead { pod_name: "a".to_owned(), pod_ip: None };
        tested.post(1, "", Change::MarkDead { post, only_on: None }).await.unwrap();
        let names = async |wanted: SpecQuery| {
            let (mut names, mut next) =
                (Vec::new(), Some(RowPage { rows_max: 1, ..RowPage::of_rows() }));
            while let Some(page) = next.take() {
                let rows = tested.store.specs(wanted.clone(), page.clone()).await.unwrap();
                let last = rows.last().map(|row| {
                    let (namespace, name) = row.place();
                    (namespace.to_owned(), name.to_owned())
                });
                next = page.next(rows.len(), last);
                names.extend(rows.into_iter().map(|row| row.head.pod_name));
            }
            names
        };
        assert_eq!(names(SpecQuery::All).await, ["d", "b", "a", "c"]);
        assert_eq!(names(SpecQuery::LiveOn("n".to_owned())).await, ["d", "b", "c"]);
        let of_ip = tested
            .store
            .specs(SpecQuery::WithIp("10.0.0.1".to_owned()), RowPage::of_rows())
            .await
            .unwrap();
        assert!(!of_ip[0].head.is_dead);
    }
}
