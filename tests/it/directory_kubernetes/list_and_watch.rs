use std::time::{Duration, Instant};

use serde_json::Value;

use crate::directory_kubernetes::{PATIENCE, Setup, Source, named};
use crate::support::api_server::{Answer, Route, parameter, recorded_file};

fn recorded_events(name: &str) -> Vec<Vec<u8>> {
    let body = recorded_file(&format!("api/{name}.body"));
    let lines = body.split_inclusive(|byte| *byte == b'\n').filter(|line| line.len() > 1);
    lines.map(<[u8]>::to_vec).collect()
}

#[tokio::test]
async fn a_node_is_listed_page_by_page_and_watched_from_there() {
    let mut setup = Setup::new().await;
    let pages = ["pods-page-1", "pods-page-2", "pods-page-3", "pods-page-4", "pods-page-5"];
    setup.server.script(Route::List, pages.map(Answer::recorded));
    let mut options = setup.options();
    options.page_limit = 2;
    let source = Source::start(options);
    let catalog = source.until("all pages", |catalog| catalog.pods().len() == 8).await;
    assert!(named(&catalog, "web-66c5cb679f-dccp2").is_some());

    let lists = setup.server.requests_for(Route::List);
    assert_eq!(lists.len(), 5);
    assert_eq!(lists[0], "/api/v1/pods?fieldSelector=spec.nodeName%3Dworker-1&limit=2");
    for (page, list) in pages.iter().zip(&lists[1..]) {
        let page: Value =
            serde_json::from_slice(&recorded_file(&format!("api/{page}.body"))).unwrap();
        let token = page["metadata"]["continue"].as_str().unwrap();
        assert_eq!(parameter(list, "continue"), Some(token), "{list}");
    }

    let watch = setup.server.next_watch().await;
    assert_eq!(watch.parameter("fieldSelector"), "spec.nodeName%3Dworker-1");
    assert_eq!(watch.parameter("resourceVersion"), "494");
    assert_eq!(watch.parameter("allowWatchBookmarks"), "true");
    let seconds: u32 = watch.parameter("timeoutSeconds").parse().unwrap();
    assert!((290..348).contains(&seconds), "{seconds}");

    // The first eight of the recorded events end with `fleeting`, which is being deleted.
    let events = recorded_events("watch-pods");
    watch.pen.write(events[..8].concat()).await;
    let catalog = source
        .until("fleeting, about to go", |catalog| {
            named(catalog, "fleeting").is_some_and(|pod| pod.deletion_timestamp.is_some())
        })
        .await;
    assert_eq!(catalog.pods().len(), 9);
    watch.pen.write(events[8..].concat()).await;
    let catalog = source
        .until("the new web in place of the old", |catalog| {
            named(catalog, "web-66c5cb679f-dccp2").is_none()
        })
        .await;
    assert!(named(&catalog, "fleeting").is_none());
    assert!(named(&catalog, "web-c588f84ff-zvlcg").is_some());
    assert_eq!(catalog.pods().len(), 8);
    assert!(catalog.sources[0].last_error.is_none());

    // Its time is over: it goes on behind the last bookmark, without another list.
    drop(watch);
    let watch = setup.server.next_watch().await;
    assert_eq!(watch.parameter("resourceVersion"), "647");
    assert_eq!(setup.server.requests_for(Route::List).len(), 5);

    let agent = concat!("nodetally/", env!("CARGO_PKG_VERSION"));
    for logged in setup.server.log() {
        assert_eq!(logged.user_agent.as_deref(), Some(agent), "{}", logged.path_and_query);
    }
}

/// Servers and proxies write a value over several lines, several values on one line, and anything
/// blank between two.
#[tokio::test]
async fn a_watch_is_a_stream_of_values_and_not_of_lines() {
    let mut setup = Setup::new().await;
    let source = setup.source();
    let watch = setup.server.next_watch().await;
    let events: Vec<Value> = recorded_events("watch-pods")
        .iter()
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let pretty = serde_json::to_string_pretty(&events[0]).unwrap();
    let (first, second) = pretty.split_at(pretty.len() / 3);
    watch.pen.write(first).await;
    watch.pen.write(second).await;
    source.until("an event of many lines", |c| named(c, "fleeting").is_some()).await;
    let together: String = events[1..8].iter().map(Value::to_string).collect();
    watch.pen.write(format!("\r\n \t{together} \n\n")).await;
    source
        .until("events on one line", |catalog| {
            named(catalog, "fleeting").is_some_and(|pod| pod.deletion_timestamp.is_some())
        })
        .await;
    // What is blank at the end is no part of an event.
    drop(watch);
    let watch = setup.server.next_watch().await;
    let at = events[7]["object"]["metadata"]["resourceVersion"].as_str().unwrap();
    assert_eq!(watch.parameter("resourceVersion"), at);
    assert_eq!(setup.server.requests_for(Route::List).len(), 1);
    assert!(source.directory.catalog().sources[0].last_error.is_none());
}

/// A server or a proxy that ignores `fieldSelector` gives the pods of the whole cluster.
#[tokio::test]
async fn pods_of_other_nodes_are_left_out_of_lists_and_watches() {
    let mut setup = Setup::new().await;
    let mut list: Value = serde_json::from_slice(&recorded_file("api/pods-of-node.body")).unwrap();
    let name = |pod: &Value| pod["metadata"]["name"].as_str().unwrap().to_owned();
    let items = list["items"].as_array_mut().unwrap();
    items[0]["spec"]["nodeName"] = "worker-2".into();
    items[1]["spec"].as_object_mut().unwrap().remove("nodeName");
    let left_out = [name(&items[0]), name(&items[1])];
    let foreign = items[0].clone();
    setup.server.script(Route::List, [Answer::json(list.to_string())]);
    let source = setup.source();
    let catalog = source.well().await;
    assert_eq!(catalog.pods().len(), 6);
    assert!(left_out.iter().all(|name| named(&catalog, name).is_none()));

    let watch = setup.server.next_watch().await;
    for kind in ["ADDED", "MODIFIED", "DELETED"] {
        let event = serde_json::json!({"type": kind, "object": foreign});
        watch.pen.write(event.to_string()).await;
    }
    watch.pen.write(&recorded_events("watch-pods")[0]).await;
    let catalog = source.until("an own pod", |c| named(c, "fleeting").is_some()).await;
    assert_eq!(catalog.pods().len(), 7);
}

#[tokio::test]
async fn a_bookmark_says_that_what_is_known_still_holds() {
    let mut setup = Setup::new().await;
    let source = setup.source();
    let before = source.well().await.sources[0].current_at;
    let watch = setup.server.next_watch().await;
    watch.pen.write(recorded_events("watch-pods").pop().unwrap()).await;
    source.until("current again", |catalog| catalog.sources[0].current_at > before).await;
}

#[tokio::test]
async fn a_list_that_expires_between_its_pages_begins_anew() {
    let setup = Setup::new().await;
    setup.server.script(
        Route::List,
        [Answer::recorded("pods-page-1"), Answer::recorded("410-continue-expired")],
    );
    let source = setup.source();
    source.until("the second list", |catalog| catalog.pods().len() == 8).await;
    let lists = setup.server.requests_for(Route::List);
    assert_eq!(lists.len(), 3);
    assert!(parameter(&lists[1], "continue").is_some());
    // Not with the token for the rest as it is now: what the first page had may be gone by now.
    assert_eq!(parameter(&lists[2], "continue"), None);
}

#[tokio::test]
async fn a_list_of_a_state_that_is_gone_is_asked_for_again() {
    let setup = Setup::new().await;
    setup.server.script(Route::List, [Answer::recorded("410-list-exact-compacted")]);
    let source = setup.source();
    let catalog = source.well().await;
    assert_eq!(catalog.pods().len(), 8);
}

#[tokio::test]
async fn a_watch_that_expired_is_followed_by_a_list_and_what_vanished_is_gone() {
    let mut setup = Setup::new().await;
    let source = setup.source();
    let watch = setup.server.next_watch().await;
    setup
        .server
        .script(Route::List, [Answer::recorded("pods-page-1"), Answer::recorded("pods-page-5")]);
    watch.pen.write(recorded_file("api/410-watch-too-old.body")).await;
    drop(watch);
    let catalog = source.until("the shorter list", |catalog| catalog.pods().len() == 2).await;
    assert!(named(&catalog, "gone").is_some() && named(&catalog, "shell").is_none());
    let watch = setup.server.next_watch().await;
    assert_eq!(watch.parameter("resourceVersion"), "494");
    assert_eq!(setup.server.requests_for(Route::List).len(), 3);
}

#[tokio::test]
async fn expired_watches_in_a_row_are_no_storm_of_lists() {
    let setup = Setup::new().await;
    let expired = (0..200).map(|_| Answer::recorded("410-watch-too-old"));
    setup.server.script(Route::Watch, expired);
    let mut options = setup.options();
    options.backoff_max = Duration::from_secs(60);
    let source = Source::start(options);
    let began = Instant::now();
    // Three lists at once, then waits of at least 10, 20, 40, 80 and 160 ms.
    source.error("what was asked for is too old").await;
    source.until("listed", |catalog| catalog.pods().len() == 8).await;
    while began.elapsed() < Duration::from_secs(1) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let lists = u32::try_from(setup.server.requests_for(Route::List).len()).unwrap();
    let least = Duration::from_millis(10) * (2_u32.pow(lists.saturating_sub(4)) - 1);
    assert!(least <= began.elapsed(), "{lists} lists in {:?}", began.elapsed());
}

/// A server that was away for a while answers the first watch after it with 410. It is up then: new
/// names must not wait for as long as the outage has made the backoff.
#[tokio::test]
async fn a_410_after_an_outage_is_followed_by_a_list_at_once() {
    let mut setup = Setup::new().await;
    let mut options = setup.options();
    (options.backoff_min, options.backoff_max) =
        (Duration::from_millis(400), Duration::from_secs(60));
    let source = Source::start(options);
    let watch = setup.server.next_watch().await;
    setup.server.kill().await;
    drop(watch);
    source.error("refuses the connection").await;
    // Waits of 200 to 400 ms, 400 to 800 ms and 800 to 1600 ms have passed; the next is longer.
    tokio::time::sleep(Duration::from_millis(2900)).await;
    setup.server.script(Route::Watch, [Answer::recorded("410-watch-too-old")]);
    setup.server.restart().await;
    source.well().await;
    let answered = Instant::now();
    setup.server.next_watch().await;
    let took = answered.elapsed();
    assert!(took < Duration::from_millis(1500), "{took:?} after the first answer");
    let catalog = source.well().await;
    assert_eq!((catalog.pods().len(), setup.server.requests_for(Route::List).len()), (8, 2));
}

#[tokio::test]
async fn a_resource_version_that_the_server_does_not_know_is_given_up_for_a_new_list() {
    for refusal in ["500-resource-version-not-a-number", "504-resource-version-too-large"] {
        let mut setup = Setup::new().await;
        let source = setup.source();
        let watch = setup.server.next_watch().await;
        // The server is another one now: with other pods, and without our resourceVersion.
        setup.server.script(Route::Watch, [refusal; 2].map(Answer::recorded));
        setup.server.script(Route::List, [Answer::recorded("pods-of-absent-node")]);
        let mut list: Value =
            serde_json::from_slice(&recorded_file("api/pods-of-absent-node.body")).unwrap();
        let from = list["metadata"]["resourceVersion"].take();
        watch.pen.cut().await;
        let watch = setup.server.next_watch().await;
        assert_eq!(watch.parameter("resourceVersion"), from.as_str().unwrap(), "{refusal}");
        let watches = setup.server.requests_for(Route::Watch);
        let asked: Vec<_> =
            watches.iter().map(|watch| parameter(watch, "resourceVersion").unwrap()).collect();
        assert_eq!(asked[..3], ["494"; 3], "{refusal}: once more before a list");
        assert_eq!(setup.server.requests_for(Route::List).len(), 2, "{refusal}");
        assert!(source.well().await.pods().is_empty());
    }
}

#[tokio::test]
async fn a_busy_server_is_asked_for_the_watch_again_and_not_for_a_list() {
    let mut setup = Setup::new().await;
    let busy = || Answer::recorded("429-max-in-flight").header("Retry-After", "0");
    setup.server.script(Route::Watch, (0..4).map(|_| busy()));
    let source = setup.source();
    setup.server.next_watch().await;
    assert_eq!(setup.server.requests_for(Route::Watch).len(), 5);
    assert_eq!(setup.server.requests_for(Route::List).len(), 1);
    source.well().await;
}

#[tokio::test]
async fn a_watch_cut_in_an_event_goes_on_from_the_one_before() {
    let mut setup = Setup::new().await;
    let source = setup.source();
    let watch = setup.server.next_watch().await;
    let events = recorded_events("watch-pods");
    watch.pen.write(&events[0]).await;
    watch.pen.write(&events[1][..events[1].len() / 2]).await;
    source.until("the whole event", |catalog| named(catalog, "fleeting").is_some()).await;
    watch.pen.cut().await;
    let watch = setup.server.next_watch().await;
    assert_eq!(watch.parameter("resourceVersion"), "497");
    assert_eq!(setup.server.requests_for(Route::List).len(), 1);
    watch.pen.write(&events[2]).await;
    let catalog = source
        .until("the event after it", |catalog| {
            named(catalog, "fleeting").is_some_and(|pod| pod.containers[0].id.is_some())
        })
        .await;
    // That a watch was cut is no trouble.
    assert!(catalog.sources[0].last_error.is_none());
}

#[tokio::test]
async fn a_server_that_is_killed_is_found_again() {
    let mut setup = Setup::new().await;
    let source = setup.source();
    let watch = setup.server.next_watch().await;
    watch.pen.write(&recorded_events("watch-pods")[0]).await;
    source.until("the event", |catalog| named(catalog, "fleeting").is_some()).await;
    setup.server.kill().await;
    let error = source.error("refuses the connection").await;
    assert!(error.text.contains(&setup.server.address.to_string()), "{}", error.text);
    // What was known stays.
    assert_eq!(source.directory.catalog().pods().len(), 9);
    setup.server.restart().await;
    source.well().await;
    let watch = setup.server.next_watch().await;
    assert_eq!(watch.parameter("resourceVersion"), "497");
}

#[tokio::test]
async fn a_silent_watch_is_left_for_another() {
    let mut setup = Setup::new().await;
    let mut options = setup.options();
    (options.watch_seconds, options.watch_grace) = (1, Duration::from_millis(100));
    let source = Source::start(options);
    let silent = setup.server.next_watch().await;
    assert_eq!(silent.parameter("timeoutSeconds"), "1");
    let began = Instant::now();
    silent.pen.left().await;
    assert!(began.elapsed() > Duration::from_millis(900), "{:?}", began.elapsed());
    let next = setup.server.next_watch().await;
    assert_eq!(next.parameter("resourceVersion"), "494");
    assert_eq!(source.directory.catalog().pods().len(), 8);
}

#[tokio::test]
async fn a_watch_that_falls_silent_after_a_bookmark_is_closed_sooner() {
    let mut setup = Setup::new().await;
    let mut options = setup.options();
    options.watch_silence = Duration::from_millis(300);
    let source = Source::start(options);
    let events = recorded_events("watch-pods");
    let watch = setup.server.next_watch().await;
    watch.pen.write(events.last().unwrap()).await;
    let left = tokio::time::timeout(PATIENCE, watch.pen.left()).await;
    assert!(left.is_ok());
    // It goes on behind the bookmark.
    let next = setup.server.next_watch().await;
    assert_eq!(next.parameter("resourceVersion"), "647");
    drop(next);
    assert_eq!(setup.server.requests_for(Route::List).len(), 1);

    // A server without bookmarks is silent for as long as no pod changes, and nothing is wrong.
    let quiet = setup.server.next_watch().await;
    source.well().await;
    quiet.pen.write(&events[0]).await;
    let left = tokio::time::timeout(Duration::from_millis(700), quiet.pen.left()).await;
    assert!(left.is_err(), "an event tells nothing of bookmarks");
    assert!(source.directory.catalog().sources[0].last_error.is_none());
}

#[tokio::test]
async fn answers_that_drip_are_read() {
    let mut setup = Setup::new().await;
    let (answer, pen) = Answer::written();
    setup.server.script(Route::List, [answer]);
    let source = setup.source();
    let list = recorded_file("api/pods-of-absent-node.body");
    for byte in list {
        pen.write([byte]).await;
    }
    drop(pen);
    let watch = setup.server.next_watch().await;
    for byte in &recorded_events("watch-pods")[0] {
        watch.pen.write([*byte]).await;
    }
    source.until("the event", |catalog| named(catalog, "fleeting").is_some()).await;
}

#[tokio::test]
async fn an_answer_that_stops_is_not_waited_for() {
    let setup = Setup::new().await;
    let (answer, pen) = Answer::written();
    setup.server.script(Route::List, [answer]);
    let mut options = setup.options();
    options.answer_timeout = Duration::from_millis(300);
    let source = Source::start(options);
    pen.write(b"{\"kind\":").await;
    source.error("sends nothing for 300ms (the list of pods)").await;
    assert_eq!(source.well().await.pods().len(), 8);
}

#[tokio::test]
async fn lists_come_compressed_where_the_server_compresses_them() {
    let setup = Setup::new().await;
    setup.server.script(Route::List, [Answer::recorded("pods-all-gzip")]);
    let source = setup.source();
    let catalog = source.well().await;
    // Of the cluster's 23 pods those of this node.
    assert_eq!(catalog.pods().len(), 11);
    assert!(catalog.pods().iter().all(|pod| &*pod.node_name == "worker-1"));
    assert_eq!(setup.server.requests_for(Route::List).len(), 1);
    let logged = setup.server.log();
    let list = logged.iter().find(|logged| logged.path_and_query.contains("limit=")).unwrap();
    assert_eq!(list.accept_encoding.as_deref(), Some("gzip"));
}

#[tokio::test]
async fn an_event_without_end_is_not_read_to_its_end() {
    let mut setup = Setup::new().await;
    let source = setup.source();
    let watch = setup.server.next_watch().await;
    watch.pen.write(b"{\"type\":\"").await;
    let megabyte = vec![b'x'; 1 << 20];
    for _ in 0..6 {
        watch.pen.write(&megabyte).await;
    }
    source.error("sends more than 4194304 bytes (the watch of pods)").await;
    watch.pen.left().await;
    setup.server.next_watch().await;
    assert_eq!(setup.server.requests_for(Route::List).len(), 2);
    source.well().await;
}

#[tokio::test]
async fn an_object_that_cannot_be_read_costs_no_other() {
    let mut setup = Setup::new().await;
    let mut list: Value = serde_json::from_slice(&recorded_file("api/pods-of-node.body")).unwrap();
    list["items"][0]["metadata"]["uid"] = Value::from(7);
    setup.server.script(Route::List, [Answer::json(list.to_string())]);
    let source = setup.source();
    assert_eq!(source.well().await.pods().len(), 7);
    let watch = setup.server.next_watch().await;
    let odd = r#"{"type":"ADDED","object":{"metadata":{"uid":7,"resourceVersion":"500"}}}"#;
    watch.pen.write(format!("{odd}\n")).await;
    drop(watch);
    assert_eq!(setup.server.next_watch().await.parameter("resourceVersion"), "500");
}

#[tokio::test]
async fn a_node_without_pods_is_no_error() {
    let setup = Setup::new().await;
    setup.server.script(Route::List, [Answer::recorded("pods-of-absent-node")]);
    let source = setup.source();
    let catalog = source.well().await;
    assert_eq!((catalog.pods().len(), catalog.sources[0].known), (0, 0));
}
