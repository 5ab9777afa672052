//! The end of posts, by the answers that they get.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nodetally::delivery::{Health, PointDrops};
use nodetally::payload::otlp::messages::{ExportAnswer, ExportRequest, PartialSuccess};
use prost::Message as _;

use super::server::{Reply, Server};
use super::{Rig, counters, points, until, until_settled};
use crate::support::log_lines::containing;
use crate::support::other_servers;

#[tokio::test]
async fn a_post_has_the_path_the_headers_and_the_encoding_of_the_protocol() {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "Basic dXNlcjpzZWNyZXQ=\n").unwrap();
    for end in ["", "/", "/v1/metrics"] {
        let server = Server::start(|_, _| Reply::ok(Vec::new())).await;
        let keys = format!(
            "headers = {{ \"X-Scope-OrgID\" = \"shop one\" }}\n\
             header_files = {{ Authorization = \"{}\" }}",
            key.path().display()
        );
        let mut rig = Rig::new("paths", &format!("{}{end}", server.url), &keys);
        let handle = rig.run();
        rig.offer(&handle, 0);
        until_settled(&handle).await;
        let received = &server.received()[0];
        assert_eq!(received.path, "/v1/metrics");
        assert_eq!(received.header("content-type"), Some("application/x-protobuf"));
        assert_eq!(received.header("content-encoding"), Some("gzip"));
        assert_eq!(received.header("x-scope-orgid"), Some("shop one"));
        assert_eq!(received.header("authorization"), Some("Basic dXNlcjpzZWNyZXQ="));
        assert!(counters(&received.body).len() > 100);
    }
}

/// A rotated file is read when the server no longer takes the value of the former one.
#[tokio::test]
async fn a_secret_of_a_file_is_read_again_at_a_401() {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "first").unwrap();
    let path = key.path().to_owned();
    let server = Server::start(move |number, _| {
        if number == 0 {
            std::fs::write(&path, "second").unwrap();
        }
        Reply { body: Vec::new(), ..Reply::status(if number == 0 { 401 } else { 200 }) }
    })
    .await;
    let keys = format!("header_files = {{ X-API-Key = \"{}\" }}", key.path().display());
    let mut rig = Rig::new("rotated", &server.url, &keys);
    let handle = rig.run();
    rig.offer(&handle, 0);
    assert_eq!(until_settled(&handle).await.accepted_posts, 1);
    let received = server.received();
    let keys: Vec<_> = received.iter().map(|one| one.header("x-api-key").unwrap()).collect();
    assert_eq!(keys, ["first", "second"]);
}

/// The table of <https://opentelemetry.io/docs/specs/otlp/#failures-1>.
#[tokio::test]
async fn four_statuses_are_retried_and_no_others() {
    for status in [429, 502, 503, 504] {
        let server = Server::start(move |number, _| match number {
            0 => Reply { headers: vec![("retry-after", "1")], ..Reply::status(status) },
            _ => Reply::ok(Vec::new()),
        })
        .await;
        let mut rig = Rig::new("retried", &server.url, "");
        let handle = rig.run();
        rig.offer(&handle, 0);
        let figures = until_settled(&handle).await;
        assert_eq!((figures.accepted_posts, figures.dropped_posts.total()), (1, 0), "{status}");
        let at = server.received();
        let wait = at[1].at - at[0].at;
        assert!(wait >= Duration::from_millis(900), "{status}: {wait:?}");
        assert_eq!(at[0].header("idempotency-key"), at[1].header("idempotency-key"));
    }
    for status in [301, 400, 401, 403, 404, 408, 422, 425, 500, 501, 505, 507] {
        let server = Server::start(move |_, _| Reply::status(status)).await;
        let mut rig = Rig::new(&format!("dropped-{status}"), &server.url, "");
        let handle = rig.run();
        rig.offer(&handle, 0);
        rig.offer(&handle, 1);
        let figures = until_settled(&handle).await;
        let drops = figures.dropped_posts;
        let of_class = match status / 100 {
            3 => drops.rejected_3xx,
            4 => drops.rejected_4xx,
            _ => drops.rejected_5xx,
        };
        assert_eq!((of_class, drops.total(), server.received().len()), (2, 2, 2), "{status}");
        let lines = containing(&format!("endpoint dropped-{status} "));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains(&format!("answers {status}")), "{lines:?}");
        assert!(lines[0].contains("why"), "{lines:?}");
    }
}

#[tokio::test]
async fn refused_points_are_counted_and_logged_without_secrets() {
    let answer = |rejected_data_points, error_message: &str| {
        let error_message = error_message.to_owned();
        let partial_success = Some(PartialSuccess { rejected_data_points, error_message });
        Reply::ok(ExportAnswer { partial_success }.encode_to_vec())
    };
    let server = Server::start(move |number, _| match number {
        0 => answer(0, "this format is old"),
        _ => answer(3, "out of order for tenant-s3cret"),
    })
    .await;
    let keys = "headers = { \"X-Scope-OrgID\" = \"tenant-s3cret\" }";
    let mut rig = Rig::new("partial", &server.url, keys);
    let handle = rig.run();
    for number in 0..4 {
        rig.offer(&handle, number);
    }
    let figures = until_settled(&handle).await;
    assert_eq!((figures.accepted_posts, figures.dropped_posts.total()), (4, 0));
    assert_eq!((figures.dropped_points.out_of_order, figures.dropped_points.total()), (9, 9));
    let lines = containing("endpoint partial ");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("warning: this format is old"), "{lines:?}");
    assert!(lines[1].contains("3 points: out of order for (hidden)"), "{lines:?}");
}

/// The bound of bodies that the configuration sets.
#[test]
fn bodies_are_as_large_as_the_settings_allow() {
    let resources = |posts: &[(String, bytes::Bytes)]| -> Vec<usize> {
        posts
            .iter()
            .map(|(_, body)| ExportRequest::decode(&**body).unwrap().resource_metrics.len())
            .collect()
    };
    let whole = Rig::new("bound", "http://127.0.0.1:9", "").posts(0);
    assert!(whole.len() == 1 && whole[0].1.len() > 65_536, "{}", whole[0].1.len());
    let parts = Rig::new("bound", "http://127.0.0.1:9", "max_request_bytes = \"64KiB\"").posts(0);
    assert!(parts.len() > 1);
    for ((_, body), resources) in parts.iter().zip(resources(&parts)) {
        assert!(body.len() <= 65_536 || resources == 1, "{} {resources}", body.len());
    }
    let sum = |posts: &[(String, bytes::Bytes)]| resources(posts).iter().sum::<usize>();
    assert_eq!(sum(&parts), sum(&whole));
}

/// A server that refuses a post refuses its points.
#[tokio::test]
async fn the_points_of_refused_posts_are_dropped_for_the_servers_reason() {
    let of = |drops: PointDrops| [drops.out_of_order, drops.too_old, drops.duplicate, drops.other];
    for (number, (status, keys, message, place)) in [
        (400, "", "out of order sample", Some(0)),
        (400, "client_errors = \"retry\"", "sample is too old", Some(1)),
        (404, "", "no such path", Some(3)),
        // One entity cannot be halved.
        (413, "", "too large", Some(3)),
        (500, "", "duplicate sample for timestamp", Some(2)),
        (204, "", "", None),
        (200, "", "<html>Sign in</html>", Some(3)),
    ]
    .into_iter()
    .enumerate()
    {
        let server = Server::start(move |_, _| Reply {
            body: message.as_bytes().to_vec(),
            ..Reply::status(status)
        })
        .await;
        let mut rig = Rig::new(&format!("whole-{number}"), &server.url, keys);
        let posts = rig.posts(0);
        let points: u64 = posts.iter().map(|(_, body)| points(body)).sum();
        assert!(points > 100, "{points}");
        let handle = rig.run();
        handle.offer(nodetally::spool::Batch::new(super::moment(0), posts), false);
        let figures = until_settled(&handle).await;
        let mut expected = [0; 4];
        if let Some(place) = place {
            expected[place] = points;
        }
        assert_eq!(of(figures.dropped_points), expected, "{status} {message}");
        assert_eq!(figures.dropped_posts.total() > 0, place.is_some(), "{status}");
    }
}

/// A body that is halved is refused only in the parts that are too large by themselves.
#[tokio::test]
async fn of_a_halved_body_only_refused_points_are_dropped() {
    let limit = 2_000;
    let server =
        Server::start(
            move |_, body| {
                if body.len() > limit { Reply::status(413) } else { Reply::ok(Vec::new()) }
            },
        )
        .await;
    let mut rig = Rig::new("halved-points", &server.url, "");
    let posts = rig.posts(0);
    let sent: u64 = posts.iter().map(|(_, body)| points(body)).sum();
    let handle = rig.run();
    handle.offer(nodetally::spool::Batch::new(super::moment(0), posts), false);
    let figures = until_settled(&handle).await;
    let accepted: u64 = server.accepted().iter().map(|one| points(&one.body)).sum();
    assert!(0 < accepted && accepted < sent, "{accepted} of {sent}");
    assert_eq!(figures.dropped_points.total(), sent - accepted);
}

#[tokio::test]
async fn a_page_is_no_acceptance() {
    let server = Server::start(|_, _| Reply {
        headers: vec![("content-type", "text/html; charset=utf-8")],
        body: b"<html>Sign in</html>".to_vec(),
        ..Reply::status(200)
    })
    .await;
    let mut rig = Rig::new("page", &server.url, "");
    let handle = rig.run();
    rig.offer(&handle, 0);
    rig.offer(&handle, 1);
    let figures = until_settled(&handle).await;
    assert_eq!((figures.accepted_posts, figures.dropped_posts.rejected_2xx), (0, 2));
    let lines = containing("endpoint page ");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("answers 200 OK to POST /v1/metrics"), "{lines:?}");
    assert!(lines[0].contains("url must be that of an OTLP/HTTP receiver"), "{lines:?}");
}

#[tokio::test]
async fn a_server_of_another_protocol_is_one_line_and_loses_nothing() {
    for (name, url, words) in other_servers::all() {
        let name = format!("otlp-{name}");
        let mut rig = Rig::new(&name, &url, "");
        let handle = rig.run();
        rig.offer(&handle, 0);
        rig.offer(&handle, 1);
        until(&handle, "tried", |figures| figures.unanswered > 3).await;
        let figures = until(&handle, "down", |figures| figures.health == Health::Down).await;
        assert_eq!((figures.waiting_posts, figures.dropped_posts.total()), (2, 0));
        let lines = containing(&format!("endpoint {name} "));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("is not answering") && lines[0].contains(words), "{lines:?}");
    }
}

#[tokio::test]
async fn a_wrong_token_and_a_wrong_path_name_the_settings() {
    for (status, words) in [
        (
            401,
            "answers 401 Unauthorized to POST /v1/metrics: why; such posts are dropped and counted, \
               check the token (bearer_token_file) or the headers",
        ),
        (
            404,
            "answers 404 Not Found to POST /v1/metrics: why; such posts are dropped and counted, \
               check the path in url",
        ),
    ] {
        let server = Server::start(move |_, _| Reply::status(status)).await;
        let mut rig = Rig::new(&format!("advice-{status}"), &server.url, "");
        let handle = rig.run();
        rig.offer(&handle, 0);
        rig.offer(&handle, 1);
        until_settled(&handle).await;
        let lines = containing(&format!("endpoint advice-{status} "));
        assert!(lines.len() == 1 && lines[0].contains(words), "{lines:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_halved_until_it_is_taken() {
    let limit = 20_000;
    let server =
        Server::start(
            move |_, body| {
                if body.len() > limit { Reply::status(413) } else { Reply::ok(Vec::new()) }
            },
        )
        .await;
    let mut rig = Rig::new("halved", &server.url, "");
    let whole = rig.posts(0).remove(0).1;
    assert!(whole.len() > 4 * limit, "{}", whole.len());
    let handle = rig.run();
    rig.offer(&handle, 1);
    let figures = until_settled(&handle).await;
    assert_eq!(figures.dropped_posts.total(), 0);
    let accepted = server.accepted();
    assert_eq!(figures.accepted_posts, accepted.len() as u64);
    let resources = |body: &[u8]| ExportRequest::decode(body).unwrap().resource_metrics.len();
    let sent: usize = accepted.iter().map(|one| resources(&one.body)).sum();
    assert_eq!(sent, resources(&whole));
}

#[tokio::test]
async fn after_an_outage_the_gap_is_filled_in_order_with_the_samples_own_times() {
    let is_up = Arc::new(AtomicBool::new(false));
    let up = Arc::clone(&is_up);
    let server = Server::start(move |_, _| {
        if up.load(Ordering::Relaxed) { Reply::ok(Vec::new()) } else { Reply::status(503) }
    })
    .await;
    let mut rig = Rig::new("outage", &server.url, "");
    let mut expected = BTreeMap::new();
    let handle = rig.run();
    let samples = 12;
    for number in 0..samples {
        let posts = rig.posts(number);
        for (series, seconds, value) in posts.iter().flat_map(|(_, body)| counters(body)) {
            expected.entry(series).or_insert_with(Vec::new).push((seconds, value));
        }
        handle.offer(nodetally::spool::Batch::new(super::moment(number), posts), false);
        if number == 3 {
            until(&handle, "down", |figures| figures.answers_of_class(5) > 3).await;
        }
        if number == 8 {
            is_up.store(true, Ordering::Relaxed);
        }
    }
    let figures = until_settled(&handle).await;
    assert_eq!((figures.accepted_posts, figures.dropped_posts.total()), (samples, 0));
    let mut arrived: BTreeMap<String, Vec<(u64, f64)>> = BTreeMap::new();
    for received in server.accepted() {
        for (series, seconds, value) in counters(&received.body) {
            arrived.entry(series).or_default().push((seconds, value));
        }
    }
    assert_eq!(arrived, expected);
    let times: Vec<u64> = (0..samples).map(|number| number * 15).collect();
    for (series, points) in arrived {
        let of_series: Vec<u64> = points.iter().map(|(seconds, _)| *seconds).collect();
        assert_eq!(of_series, times[times.len() - of_series.len()..], "{series}");
        assert!(points.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{series}");
    }
}
