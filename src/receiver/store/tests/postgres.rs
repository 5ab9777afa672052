//! Tests of PostgreSQL alone: one store of several receivers, its names and figures, its tables.

use super::*;

fn in_postgres(bounds: ReceiverBounds) -> Option<Tested> {
    Tested::in_postgres(bounds, "")
}

/// The same store for another receiver.
fn second(tested: &Tested) -> Store {
    Store::open(&tested.place, tested.bounds.clone(), at(0)).unwrap()
}

fn with_key(seconds: u64, number: u8, change: Change) -> StorePost {
    StorePost { at: at(seconds), sender: String::new(), id: Some(key(number, 0)), change }
}

#[tokio::test]
async fn two_receivers_share_posts_keys_and_reads() {
    let Some(tested) = in_postgres(bounds()) else { return };
    let other = second(&tested);
    for number in 0..40 {
        let name = format!("pod-{}", number % 4);
        let pod = pods(Dialect::ResourceApi, &[("default", &name, "n", 1)]);
        let post = || with_key(u64::from(number) * 15, number, pods(Dialect::ResourceApi, &[]));
        let (one, two) = match number % 2 {
            0 => (&tested.store, &other),
            _ => (&other, &tested.store),
        };
        one.post(StorePost { change: pod, ..post() }).await.unwrap();
        assert!(two.post(post()).await.unwrap().is_replay, "the other has its key");
    }
    let rows = other.pods(EntityQuery::default(), RowPage::of_rows()).await.unwrap();
    assert_eq!(rows.len(), 4);
    for number in 0..4 {
        let past = tested.past(&format!("pod-{number}"), 1000, None).await.unwrap();
        assert_eq!(past.len(), 10);
    }
    assert_eq!(tested.sql("SELECT pods, keys FROM store"), ["4 40"]);
    assert_eq!(tested.sql("SELECT sum(pods), sum(keys) FROM sender"), ["4 40"]);
}

/// Both age the same parts, at once and one after the other.
#[tokio::test]
async fn two_receivers_age_one_store_once() {
    let bounds = ReceiverBounds { retention: Duration::from_secs(7 * DAY), ..bounds() };
    let Some(tested) = in_postgres(bounds) else { return };
    let other = second(&tested);
    let mut sent = 0;
    for number in 0..(2 * DAY / 120) {
        let seconds = number * 120;
        sent += number;
        let post = |name| {
            let change = pods(Dialect::ResourceApi, &[("default", name, "n", number)]);
            StorePost { at: at(seconds), sender: String::new(), id: None, change }
        };
        let (one, two) = tokio::join!(tested.store.post(post("a")), other.post(post("b")));
        one.unwrap();
        two.unwrap();
    }
    tested.aged(2 * DAY, &[1]).await;
    for name in ["a", "b"] {
        let past = tested.past(name, 2 * DAY, None).await.unwrap();
        assert_eq!(past.iter().map(|point| point.usage.read_bytes).sum::<u64>(), sent);
    }
    assert_ne!(tested.sql("SELECT count(*) FROM minute"), ["0"]);
    let tables = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'push'::regclass";
    let parts = tested.sql("SELECT count(*) FROM part WHERE level = 0");
    assert_eq!(tested.sql(tables), parts, "each part is a partition");
    let parts: u64 = parts[0].parse().unwrap();
    assert!((25..35).contains(&parts), "{parts} hours of pushes");
}

/// One transaction: those that are refused leave nothing, and the others are stored.
#[tokio::test]
async fn a_refused_post_does_not_refuse_the_others_of_its_batch() {
    let Some(tested) = in_postgres(ReceiverBounds { pods_max: 3, ..bounds() }) else { return };
    let pod = |name| pods(Dialect::ResourceApi, &[("default", name, "n", 1)]);
    tested.store.post(with_key(0, 1, pod("a"))).await.unwrap();
    let other_body =
        StorePost { id: Some(key(1, 9)), ..with_key(1, 1, pods(Dialect::ResourceApi, &[])) };
    let three = [("default", "x", "n", 1), ("default", "y", "n", 1), ("default", "z", "n", 1)];
    let (first, reused, full, last, replay) = tokio::join!(
        tested.store.post(with_key(1, 2, pod("b"))),
        tested.store.post(other_body),
        tested.store.post(with_key(1, 3, pods(Dialect::ResourceApi, &three))),
        tested.store.post(with_key(1, 4, pod("c"))),
        tested.store.post(with_key(1, 2, pod("b"))),
    );
    assert!(!first.unwrap().is_replay);
    assert_eq!(reused.unwrap_err(), StoreError::OtherBody);
    assert!(matches!(full, Err(StoreError::Full(_))), "{full:?}");
    assert!(!last.unwrap().is_replay);
    assert!(replay.unwrap().is_replay);
    assert_eq!(tested.live(1).await, ["a", "b", "c"]);
    assert_eq!(tested.sql("SELECT pods, keys FROM store"), ["3 3"]);
    assert_eq!(tested.past("b", 1, None).await.unwrap().len(), 1);
    // The key of the refused one is free.
    assert!(!tested.store.post(with_key(2, 3, pod("a"))).await.unwrap().is_replay);
}

#[tokio::test]
async fn names_and_figures_of_any_size_are_stored() {
    let Some(tested) = in_postgres(bounds()) else { return };
    let long = "n".repeat(5000);
    for (seconds, name) in [(0, "nul\0"), (1, long.as_str()), (2, "käfer \u{1f41e}")] {
        let mut post = pod("default", name, &long, 1);
        post.post.usage.memory_bytes = u64::MAX;
        post.post.usage.read_bytes = u64::MAX;
        let pods = vec![post];
        let pushes = UsagePushes { pods, ..UsagePushes::of(Dialect::ResourceApi) };
        tested.post(seconds, "", Change::Usage(pushes)).await.unwrap();
        let past = tested.past(name, 60, None).await.unwrap();
        assert_eq!(past[0].usage.memory_bytes, i64::MAX as u64, "the largest of a column");
    }
    let sums = tested.store.sums(EntityQuery::default(), false).await.unwrap();
    assert_eq!((sums.len(), sums[0].usage.read_bytes), (1, i64::MAX as u64));
}

#[tokio::test]
async fn a_database_that_is_not_ours_is_refused_and_left_alone() {
    let Some(cluster) = PostgresCluster::shared() else {
        println!("skipped: PostgreSQL (no initdb in $PATH)");
        return;
    };
    let open = |url: &str| {
        let place = StorePlace::Postgres(Box::new(PostgresAddress::of_url(url).unwrap()));
        Store::open(&place, bounds(), at(0)).map(drop).map_err(|error| error.to_string())
    };
    let url = cluster.database();
    run_sql(&url, "CREATE SCHEMA nodetally; CREATE TABLE nodetally.t (a int)");
    let error = open(&url).unwrap_err();
    assert!(error.contains("another program's"), "{error}");
    run_sql(&url, "DROP TABLE nodetally.t");
    open(&url).unwrap();
    run_sql(&url, "UPDATE nodetally.schema_version SET version = 99");
    let error = open(&url).unwrap_err();
    assert!(error.contains("version 99"), "{error}");

    let error = open(&url.replace("/test_", "/no_test_")).unwrap_err();
    assert!(error.contains("does not exist"), "{error}");
    run_sql(&url, "CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0");
    let (server, _) = url.rsplit_once('/').unwrap();
    let error = open(&format!("{server}/ascii")).unwrap_err();
    assert!(error.contains("must be UTF8"), "{error}");
    let url = cluster.database();
    run_sql(&url, "CREATE ROLE nobody_special LOGIN");
    let error = open(&url.replace("postgres@", "nobody_special@")).unwrap_err();
    assert!(error.contains("permission denied"), "{error}");
}

/// Two receivers that begin at once, on an empty database.
#[tokio::test]
async fn receivers_that_begin_at_once_make_one_store() {
    let Some(tested) = in_postgres(bounds()) else { return };
    tested.sql("DROP SCHEMA nodetally CASCADE");
    let place = tested.place.clone();
    let open = |place: StorePlace| {
        std::thread::spawn(move || Store::open(&place, bounds(), at(0)).map(drop))
    };
    let threads: Vec<_> = (0..6).map(|_| open(place.clone())).collect();
    for thread in threads {
        thread.join().unwrap().unwrap();
    }
    assert_eq!(tested.sql("SELECT version FROM schema_version"), ["1"]);
    assert_eq!(tested.sql("SELECT count(*) FROM store"), ["1"]);
}

/// The first version is the only earlier one: a schema whose tables are still to come.
#[tokio::test]
async fn a_schema_of_an_earlier_version_is_brought_up() {
    let Some(tested) = in_postgres(bounds()) else { return };
    tested.sql(
        "DROP SCHEMA nodetally CASCADE; CREATE SCHEMA nodetally; \
         CREATE TABLE schema_version (version bigint NOT NULL, has_partitions boolean NOT NULL); \
         INSERT INTO schema_version VALUES (0, false)",
    );
    let tested = tested.reopen();
    tested.push(0, "a", 1).await.unwrap();
    assert_eq!(tested.sql("SELECT version, has_partitions FROM schema_version"), ["1 f"]);
}

/// A session beside the receivers', for locks that last.
async fn beside(tested: &Tested) -> tokio_postgres::Client {
    let (_, url) = tested.cluster.as_ref().unwrap();
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("SET search_path = nodetally; BEGIN").await.unwrap();
    client
}

#[tokio::test]
async fn reads_whose_clients_have_gone_leave_no_connections() {
    let Some(tested) = in_postgres(bounds()) else { return };
    let other = beside(&tested).await;
    other.batch_execute("LOCK TABLE latest IN ACCESS EXCLUSIVE MODE").await.unwrap();
    for _ in 0..12 {
        let read = tested.store.sums(EntityQuery::default(), false);
        tokio::time::timeout(Duration::from_millis(250), read).await.unwrap_err();
    }
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
               AND application_name = 'nodetally receive'";
    let connections: i64 = other.query_one(sql, &[]).await.unwrap().get(0);
    assert!(connections <= 6, "{connections}");
    other.batch_execute("ROLLBACK").await.unwrap();
    tested.store.sums(EntityQuery::default(), false).await.unwrap();
}

#[tokio::test]
async fn a_part_that_closes_before_a_post_has_the_lock_takes_none_of_it() {
    let Some(tested) = in_postgres(bounds()) else { return };
    tested.push(0, "a", 1).await.unwrap();
    // The first post of a session, whose statements are not prepared yet.
    let late = second(&tested);
    let other = beside(&tested).await;
    other.batch_execute("SELECT 1 FROM store FOR UPDATE").await.unwrap();
    let change = pods(Dialect::ResourceApi, &[("default", "b", "n", 1)]);
    let post = tokio::spawn(async move { late.post(with_key(1, 1, change)).await });
    let sql = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() \
               AND wait_event_type = 'Lock'";
    while tested.sql(sql).is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Time for the statements that are sent beside the lock's.
    tokio::time::sleep(Duration::from_millis(100)).await;
    other.batch_execute("UPDATE part SET is_closing = true; COMMIT").await.unwrap();
    post.await.unwrap().unwrap();
    assert_eq!(tested.sql("SELECT count(*) FROM push"), ["1"]);
}

/// A read that lasts keeps one part from being dropped.
#[tokio::test]
async fn a_part_that_cannot_be_dropped_keeps_no_other_from_it() {
    let Some(tested) = in_postgres(bounds()) else { return };
    tested.push(0, "a", 1).await.unwrap();
    tested.push(2 * 3600, "a", 1).await.unwrap();
    let parts = tested.sql("SELECT level, since FROM part WHERE level = 0 ORDER BY since");
    let [first, _] = parts.as_slice() else { panic!("{parts:?}") };
    let since: i64 = first.strip_prefix("0 ").unwrap().parse().unwrap();
    let other = beside(&tested).await;
    let lock = format!("LOCK TABLE push_{} IN ACCESS SHARE MODE", since / 1000);
    other.batch_execute(&lock).await.unwrap();
    let mut is_alone = false;
    // The clock has jumped ahead: a pass begins once that has held for an hour.
    for round in 0..40 {
        tested.push(2 * DAY + round * 600, "other", 1).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let old = format!(
            "SELECT level, since FROM part WHERE level = 0 AND since < {}",
            since + 36_000_000
        );
        is_alone = tested.sql(&old) == [first.as_str()];
        if is_alone {
            break;
        }
    }
    assert!(is_alone, "{:?}", tested.sql("SELECT * FROM part ORDER BY level, since"));
    other.batch_execute("ROLLBACK").await.unwrap();
}
