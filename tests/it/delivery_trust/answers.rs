//! Where answers send the agent, and how long they make it wait.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use nodetally::delivery::{self, Getter};
use tempfile::TempDir;

use crate::delivery_trust::server::{Reply, Server, Way};
use crate::delivery_trust::{bearer, offer, quick, run, until_settled, write};

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_other_host_sees_nothing() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("token");
    write(&path, "hunter2");
    let other = Server::start(Way::default(), |_| Reply::status(200)).await;
    let there = other.url();
    for (at, status) in [301, 302, 303, 307, 308].into_iter().enumerate() {
        let there = there.clone();
        let server = Server::start(Way::default(), move |_| {
            Reply::status(status).header("location", there.clone())
        });
        let server = server.await;
        let mut settings = quick(&server.url());
        settings.trust.credential = bearer(path.clone());
        let handle = run(settings.clone());
        offer(&handle, at as u64, 1, "body");
        let figures = until_settled(&handle).await;
        assert_eq!(figures.dropped_posts.rejected_3xx, 1, "{status}");
        assert_eq!(delivery::probe(&settings).await.unwrap(), status);
        let error = Getter::new(&settings).unwrap().get("/", 100).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("status {status}")), "{error}");
        assert_eq!(server.seen().len(), 3);
        assert!(server.seen().iter().all(|seen| seen.header("authorization").is_some()));
    }
    assert_eq!((other.connections(), other.seen().len()), (0, 0));
}

#[tokio::test]
async fn a_date_in_retry_after_is_waited_for() {
    let date = SystemTime::now() + Duration::from_secs(2);
    let header = httpdate::fmt_http_date(date);
    let due = httpdate::parse_http_date(&header).unwrap();
    let (asked, early) = (AtomicU64::new(0), std::sync::Arc::new(AtomicU64::new(0)));
    let count = std::sync::Arc::clone(&early);
    let server = Server::start(Way::default(), move |_| {
        if asked.fetch_add(1, Ordering::Relaxed) == 0 {
            return Reply::status(503).header("retry-after", header.clone());
        }
        count.fetch_add(u64::from(SystemTime::now() < due), Ordering::Relaxed);
        Reply::status(201)
    });
    let server = server.await;
    let handle = run(quick(&server.url()));
    offer(&handle, 1, 1, "body");
    let figures = until_settled(&handle).await;
    assert_eq!((figures.accepted_posts, figures.retries, server.seen().len()), (1, 1, 2));
    assert_eq!(early.load(Ordering::Relaxed), 0, "before the date");
}

#[tokio::test]
async fn an_answer_that_says_nothing_remains_holds_the_rest_back() {
    let asked = AtomicU64::new(0);
    let server =
        Server::start(Way::default(), move |_| match asked.fetch_add(1, Ordering::Relaxed) {
            0 => Reply::status(202)
                .header("x-ratelimit-remaining", "0")
                .header("x-ratelimit-reset", "1"),
            _ => Reply::status(201).header("x-ratelimit-remaining", "9"),
        });
    let server = server.await;
    let mut settings = quick(&server.url());
    settings.concurrency_max = 1;
    let handle = run(settings);
    offer(&handle, 1, 3, "body");
    let figures = until_settled(&handle).await;
    assert_eq!((figures.accepted_posts, figures.retries, figures.unanswered), (3, 0, 0));
    assert_eq!((figures.answers.get(&202), figures.answers.get(&201)), (Some(&1), Some(&2)));
    let at: Vec<_> = server.seen().iter().map(|seen| seen.at).collect();
    assert!(at[1] - at[0] >= Duration::from_secs(1), "{:?}", at[1] - at[0]);
}

#[tokio::test]
async fn a_4xx_that_is_tried_again_waits_as_long_as_the_server_asks() {
    let asked = AtomicU64::new(0);
    let server =
        Server::start(Way::default(), move |_| match asked.fetch_add(1, Ordering::Relaxed) {
            0 => Reply::status(404).header("retry-after", "1"),
            _ => Reply::status(201),
        });
    let server = server.await;
    let mut settings = quick(&server.url());
    settings.retry_client_errors = true;
    let handle = run(settings);
    offer(&handle, 1, 1, "body");
    let figures = until_settled(&handle).await;
    assert_eq!((figures.accepted_posts, figures.retries), (1, 1));
    let at: Vec<_> = server.seen().iter().map(|seen| seen.at).collect();
    assert!(at[1] - at[0] >= Duration::from_secs(1), "{:?}", at[1] - at[0]);
}
