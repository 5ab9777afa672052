//! Delivery against a peer over real TCP that does as the test tells it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails"
)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::figures::{until, until_settled};
use crate::support::log_lines::{Lines, hear_all, listen};
use nodetally::delivery::{
    self, BaseUrl, DeliverySettings, Getter, Handle, MomentClock, Split, Statistics, Storage,
};
use nodetally::identity::BootId;
use nodetally::quantity::{BootTime, WallTime};
use nodetally::spool::{Batch, Moment};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// The peer's action on one request.
#[derive(Clone)]
enum Act {
    Answer(&'static str),
    After(Duration, &'static str),
    Hang,
    Close,
}

const CREATED: Act = Act::Answer("201 Created");

/// Decides on a request by its path and body.
type Script = Arc<dyn Fn(&str, &str) -> Act + Send + Sync>;

#[derive(Clone, Debug)]
struct Seen {
    at: Instant,
    path: String,
    body: String,
    head: String,
    status: &'static str,
}

#[derive(Default)]
struct Log {
    seen: Vec<Seen>,
    connections: usize,
    under_way: usize,
    under_way_max: usize,
}

/// A server that answers by a script and writes down what it was sent.
struct Peer {
    addr: SocketAddr,
    log: Arc<Mutex<Log>>,
    task: JoinHandle<()>,
}

impl Peer {
    async fn start(script: impl Fn(&str, &str) -> Act + Send + Sync + 'static) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), script)
    }

    fn start_at(
        addr: SocketAddr,
        script: impl Fn(&str, &str) -> Act + Send + Sync + 'static,
    ) -> Self {
        // An earlier peer's connections may still linger on the port.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(addr).unwrap();
        let listener: TcpListener = socket.listen(64).unwrap();
        let addr = listener.local_addr().unwrap();
        let log: Arc<Mutex<Log>> = Arc::default();
        let script: Script = Arc::new(script);
        let shared = Arc::clone(&log);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                shared.lock().unwrap().connections += 1;
                connections.spawn(talk(stream, Arc::clone(&script), Arc::clone(&shared)));
            }
        });
        Self { addr, log, task }
    }

    /// Closes the port and every connection.
    async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    fn seen(&self) -> Vec<Seen> {
        self.log.lock().unwrap().seen.clone()
    }

    fn accepted(&self) -> Vec<String> {
        let mut bodies: Vec<String> = self
            .seen()
            .into_iter()
            .filter(|seen| seen.status.starts_with('2'))
            .map(|seen| seen.body)
            .collect();
        bodies.sort();
        bodies
    }

    fn url(&self) -> BaseUrl {
        BaseUrl::parse(&format!("http://{}", self.addr)).unwrap()
    }
}

async fn talk(mut stream: TcpStream, script: Script, log: Arc<Mutex<Log>>) {
    let mut bytes = Vec::new();
    loop {
        let (head, body) = loop {
            if let Some(request) = cut_request(&mut bytes) {
                break request;
            }
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let path = head.split(' ').nth(1).unwrap().to_owned();
        {
            let mut log = log.lock().unwrap();
            log.under_way += 1;
            log.under_way_max = log.under_way_max.max(log.under_way);
        }
        let act = script(&path, &body);
        let at = Instant::now();
        let status = match act {
            Act::Answer(status) => status,
            Act::After(time, status) => {
                sleep(time).await;
                status
            }
            Act::Hang => std::future::pending().await,
            Act::Close => "",
        };
        {
            let mut log = log.lock().unwrap();
            log.under_way -= 1;
            log.seen.push(Seen { at, path, body, head, status });
        }
        if status.is_empty() {
            return;
        }
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 3\r\n\r\nwhy");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn cut_request(bytes: &mut Vec<u8>) -> Option<(String, String)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
    // A GET has none.
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let length: usize = length.map_or(0, |length| length.parse().unwrap());
    if bytes.len() < end + length {
        return None;
    }
    let body = String::from_utf8(bytes[end..end + length].to_vec()).unwrap();
    bytes.drain(..end + length);
    Some((head, body))
}

fn quick(url: BaseUrl) -> DeliverySettings {
    hear_all();
    let mut settings = DeliverySettings::new("central", url, 1);
    settings.backoff_base = Duration::from_millis(20);
    settings.backoff_max = Duration::from_millis(40);
    settings.request_timeout = Duration::from_secs(2);
    settings
}

/// All that was taken in these tests was so within a second of here.
const BEGIN: BootTime = BootTime::from_nanos(1_000_000_000_000);

fn moment(since_begin: Duration, wall_secs: u64) -> Moment {
    let boot = BootId::parse(b"dcb0aa66-4b28-4a3b-b26c-358f9a3b5bb2").unwrap();
    let wall = WallTime::from_unix_millis(wall_secs * 1000);
    Moment { boot, since_boot: BEGIN.plus(since_begin), wall }
}

fn clock() -> MomentClock {
    let begun = Instant::now();
    Arc::new(move || moment(begun.elapsed(), 0))
}

fn run(settings: DeliverySettings) -> Handle {
    let (handle, worker) = delivery::endpoint(settings, Storage::default(), clock()).unwrap();
    tokio::spawn(worker.run());
    handle
}

fn figures(handle: &Handle) -> Statistics {
    handle.statistics(&moment(Duration::ZERO, 0))
}

fn batch(sequence: u64, posts: &[&str]) -> Batch {
    let post =
        |name: &&str| (format!("/api/nodes/{name}/metrics"), format!("{sequence}-{name}").into());
    Batch::new(moment(Duration::from_nanos(sequence), sequence), posts.iter().map(post))
}

/// One line of recovery; how many whole seconds it took is the machine's affair.
fn assert_answers_again(lines: &Lines, end: &str) {
    let told = lines.containing("answers again");
    assert_eq!(told.len(), 1, "{told:?}");
    let line = told[0].strip_prefix("INFO endpoint central answers again after ").unwrap();
    let time = line.strip_suffix(end).unwrap_or_else(|| panic!("{line}"));
    assert!(time.strip_suffix('s').unwrap().parse::<u8>().is_ok(), "{line}");
}

#[tokio::test]
async fn a_batch_arrives_whole_once_with_its_headers_over_few_connections() {
    let peer = Peer::start(|_, _| Act::After(Duration::from_millis(10), "201 Created")).await;
    let mut settings = quick(BaseUrl::parse(&format!("http://{}/in/", peer.addr)).unwrap());
    settings.concurrency_max = 4;
    delivery::secret_header(&mut settings.headers, "X-API-Key", "hunter2").unwrap();
    let handle = run(settings);
    let names: Vec<String> = (10..50).map(|at| format!("n{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    handle.offer(batch(1, &names), false);
    let figures = until_settled(&handle).await;

    let mut expected: Vec<String> = names.iter().map(|name| format!("1-{name}")).collect();
    expected.sort();
    assert_eq!(peer.accepted(), expected);
    assert_eq!((figures.accepted_posts, figures.answers_of_class(2), figures.retries), (40, 40, 0));
    assert_eq!(figures.accepted_bytes, 40 * "1-n10".len() as u64);
    assert_eq!(figures.newest_accepted, Some(WallTime::from_unix_millis(1000)));
    assert!(figures.last_success_age.unwrap() < Duration::from_secs(5));
    let seen = peer.seen();
    assert!(seen.iter().all(|seen| seen.path.starts_with("/in/api/nodes/n")));
    assert!(seen[0].head.contains("content-type: application/json\r\n"), "{}", seen[0].head);
    assert!(seen[0].head.contains("x-api-key: hunter2\r\n"), "{}", seen[0].head);
    let log = peer.log.lock().unwrap();
    assert_eq!(log.under_way_max, 4);
    assert!(log.connections <= 4, "{} connections", log.connections);
}

#[tokio::test]
async fn while_the_endpoint_is_down_samples_wait_and_the_log_says_so_once() {
    let (lines, _guard) = listen();
    let peer = Peer::start(|_, _| CREATED).await;
    let (addr, url) = (peer.addr, peer.url());
    peer.stop().await;
    let handle = run(quick(url));
    for sequence in 0..5 {
        handle.offer(batch(sequence, &["a", "b"]), false);
    }
    until(&handle, "trying", |figures| figures.unanswered >= 8).await;
    assert_eq!(figures(&handle).waiting_samples(), 5);
    let peer = Peer::start_at(addr, |_, _| CREATED);
    let figures = until_settled(&handle).await;
    assert_eq!((figures.accepted_posts, figures.dropped_posts.total()), (10, 0));
    assert_eq!(
        peer.accepted(),
        ["0-a", "0-b", "1-a", "1-b", "2-a", "2-b", "3-a", "3-b", "4-a", "4-b"]
    );

    assert_eq!(
        lines.containing("is not answering"),
        ["WARN endpoint central is not answering: Connection refused (os error 111); \
          the backlog is kept (in memory, up to 16 MiB), a retry follows"]
    );
    assert_answers_again(&lines, "; the backlog of 5 samples is sent");

    // A second outage is a second change of state.
    peer.stop().await;
    handle.offer(batch(9, &["a"]), false);
    until(&handle, "down again", |_| lines.containing("is not answering").len() == 2).await;
    let _peer = Peer::start_at(addr, |_, _| CREATED);
    until_settled(&handle).await;
    assert_eq!(lines.containing("answers again").len(), 2);
    assert_eq!(lines.all().len(), 4);
}

#[tokio::test]
async fn a_500_is_tried_three_times_and_then_counted_while_the_rest_arrives_once() {
    let (lines, _guard) = listen();
    let peer = Peer::start(|path, _| {
        if path.contains("/bad/") { Act::Answer("500 Internal Server Error") } else { CREATED }
    })
    .await;
    let mut settings = quick(peer.url());
    settings.bounds_500 = true;
    let handle = run(settings);
    handle.offer(batch(0, &["bad", "good", "fine"]), false);
    handle.offer(batch(1, &["bad", "good", "fine"]), false);
    let figures = until_settled(&handle).await;
    assert_eq!(peer.accepted(), ["0-fine", "0-good", "1-fine", "1-good"]);
    for body in ["0-bad", "1-bad"] {
        assert_eq!(peer.seen().iter().filter(|seen| seen.body == body).count(), 3);
    }
    assert_eq!((figures.accepted_posts, figures.dropped_posts.gave_up_5xx), (4, 2));
    assert_eq!((figures.answers_of_class(5), figures.retries), (6, 4));
    assert_eq!(
        lines.all(),
        ["WARN endpoint central answers 500 Internal Server Error 3 times to POST \
          /api/nodes/bad/metrics: why; such posts are dropped and counted (logged once per status)"]
    );
}

#[tokio::test]
async fn one_post_that_always_fails_holds_up_no_later_sample() {
    let (lines, _guard) = listen();
    let said = ["answers 507 Insufficient Storage", "gives no answer", "gives no answer"];
    let acts = [Act::Answer("507 Insufficient Storage"), Act::Close, Act::Hang];
    for (nth, (act, said)) in acts.into_iter().zip(said).enumerate() {
        let peer =
            Peer::start(move |path, _| if path.contains("/bad/") { act.clone() } else { CREATED })
                .await;
        let mut settings = quick(peer.url());
        settings.request_timeout = Duration::from_millis(100);
        settings.failing_for = Duration::ZERO;
        let handle = run(settings);
        handle.offer(batch(0, &["bad", "good"]), false);
        until(&handle, "taken", |figures| figures.accepted_posts == 1).await;
        for sequence in 1..6 {
            handle.offer(batch(sequence, &["good"]), false);
            let due = sequence + 1;
            until(&handle, "taken", |figures| figures.accepted_posts == due).await;
        }
        let figures = until_settled(&handle).await;
        let drops = figures.dropped_posts;
        assert_eq!(drops.gave_up_5xx + drops.gave_up_unanswered, 1, "{drops:?}");
        assert_eq!(peer.accepted().len(), 6);
        let told = lines.all();
        assert_eq!(told.len(), nth + 1, "{told:?}");
        assert!(
            told[nth].contains(said) && told[nth].contains("/api/nodes/bad/metrics"),
            "{told:?}"
        );
    }
}

#[tokio::test]
async fn that_more_is_left_than_is_kept_is_said_once() {
    let (lines, _guard) = listen();
    let peer = Peer::start(|path, _| match path.contains("/bad/") {
        true => Act::Answer("503 Busy"),
        false => CREATED,
    })
    .await;
    let mut settings = quick(peer.url());
    settings.queue_bytes_max = 8 << 10;
    let handle = run(settings);
    for sequence in 0..30 {
        handle.offer(batch(sequence, &["bad", "good"]), false);
        until(&handle, "taken", |figures| figures.accepted_posts == sequence + 1).await;
    }
    until(&handle, "dropped", |figures| figures.dropped_posts.queue_full > 1).await;
    assert_eq!(
        lines.all(),
        [
            "WARN endpoint central accepts only a part of each sample; at most 64 samples (2 KiB) of \
             unacknowledged posts wait for a retry, the oldest are dropped and counted (logged once)"
        ]
    );
}

#[tokio::test]
async fn an_outage_in_the_middle_of_a_batch_loses_nothing() {
    let taken = Arc::new(Mutex::new(0));
    let count = Arc::clone(&taken);
    let peer = Peer::start(move |_, _| {
        let mut count = count.lock().unwrap();
        *count += 1;
        // From the sixth request on the server is gone, for forty of them.
        if (6..46).contains(&*count) { Act::Answer("503 Service Unavailable") } else { CREATED }
    })
    .await;
    let handle = run(quick(peer.url()));
    let names: Vec<String> = (10..30).map(|at| format!("n{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    handle.offer(batch(0, &names), false);
    handle.offer(batch(1, &names), false);
    let figures = until_settled(&handle).await;
    assert_eq!((figures.accepted_posts, figures.dropped_posts.total()), (40, 0));
    assert_eq!(peer.accepted().len(), 40);
    assert_eq!(figures.answers_of_class(5), 40);
}

#[tokio::test]
async fn retry_after_is_waited_for_and_no_other_post_is_sent_meanwhile() {
    let script = Mutex::new(VecDeque::from(["429 Too Many Requests\r\nretry-after: 1"]));
    let peer = Peer::start(move |_, _| {
        Act::Answer(script.lock().unwrap().pop_front().unwrap_or("201 Created"))
    })
    .await;
    let mut settings = quick(peer.url());
    settings.concurrency_max = 2;
    let handle = run(settings);
    handle.offer(batch(0, &["a", "b", "c", "d"]), false);
    let figures = until_settled(&handle).await;
    let seen = peer.seen();
    assert_eq!((seen.len(), figures.accepted_posts, figures.answers_of_class(4)), (5, 4, 1));
    // Two were under way when the endpoint asked for the pause.
    let waited = seen[2].at - seen[0].at;
    assert!((1.0..5.0).contains(&waited.as_secs_f64()), "{waited:?}");
}

#[tokio::test]
async fn a_retry_after_beyond_reason_is_cut() {
    let script = Mutex::new(VecDeque::from(["503 Busy\r\nretry-after: 99999999999"]));
    let peer = Peer::start(move |_, _| {
        Act::Answer(script.lock().unwrap().pop_front().unwrap_or("201 Created"))
    })
    .await;
    let mut settings = quick(peer.url());
    settings.retry_after_max = Duration::from_millis(100);
    let handle = run(settings);
    handle.offer(batch(0, &["a"]), false);
    assert_eq!(until_settled(&handle).await.accepted_posts, 1);
}

#[tokio::test]
async fn permanent_errors_are_dropped_counted_and_logged_once_per_status() {
    let (lines, _guard) = listen();
    let peer = Peer::start(|path, _| {
        Act::Answer(match path {
            path if path.contains("/moved/") => {
                "308 Permanent Redirect\r\nlocation: http://127.0.0.1:1/"
            }
            path if path.contains("/bad/") => "400 Bad Request",
            _ => "201 Created",
        })
    })
    .await;
    let handle = run(quick(peer.url()));
    for sequence in 0..3 {
        handle.offer(batch(sequence, &["bad", "moved", "good"]), false);
    }
    let figures = until_settled(&handle).await;
    assert_eq!(peer.seen().len(), 9, "no retry, no redirect followed");
    assert_eq!((figures.dropped_posts.rejected_4xx, figures.dropped_posts.rejected_3xx), (3, 3));
    assert_eq!(
        lines.containing("400 Bad Request"),
        ["WARN endpoint central answers 400 Bad Request to POST /api/nodes/bad/metrics: why; \
          such posts are dropped and counted (logged once per status)"]
    );
    assert_eq!(lines.all().len(), 2, "a refusal is an answer, not an outage");
}

#[tokio::test]
async fn an_endpoint_that_hangs_delays_neither_the_other_nor_the_sampler() {
    let (hangs, works) = (Peer::start(|_, _| Act::Hang).await, Peer::start(|_, _| CREATED).await);
    // It hangs for longer than a busy machine takes for anything here.
    let mut settings = quick(hangs.url());
    settings.request_timeout = Duration::from_secs(600);
    let (slow, fast) = (run(settings), run(quick(works.url())));
    let (to_slow, to_fast) = (slow.clone(), fast.clone());
    // The sampler is a thread of its own, outside the runtime.
    let longest = tokio::task::spawn_blocking(move || {
        (0..200)
            .map(|sequence| {
                let begin = Instant::now();
                to_slow.offer(batch(sequence, &["a"]), false);
                to_fast.offer(batch(sequence, &["a"]), false);
                begin.elapsed()
            })
            .max()
    });
    let longest = timeout(Duration::from_secs(60), longest).await.unwrap().unwrap().unwrap();
    println!("the longest offer took {longest:?}");
    until_settled(&fast).await;
    let figures = figures(&slow);
    assert_eq!((figures.waiting_samples(), figures.unanswered), (200, 0));
    let impatient = run(quick(hangs.url()));
    impatient.offer(batch(0, &["a"]), false);
    until(&impatient, "timed out", |figures| figures.unanswered > 0).await;
}

#[tokio::test]
async fn the_queue_keeps_to_its_bound_and_keeps_the_newest() {
    let (lines, _guard) = listen();
    let peer = Peer::start(|_, _| CREATED).await;
    let (addr, url) = (peer.addr, peer.url());
    peer.stop().await;
    let mut settings = quick(url);
    settings.queue_samples_max = 3;
    let handle = run(settings);
    for sequence in 0..10 {
        handle.offer(batch(sequence, &["a"]), false);
        assert!(figures(&handle).waiting_samples() <= 3);
        sleep(Duration::from_millis(5)).await;
    }
    until(&handle, "logged", |_| !lines.containing("its oldest posts are dropped").is_empty())
        .await;
    let peer = Peer::start_at(addr, |_, _| CREATED);
    let figures = until_settled(&handle).await;
    assert_eq!((figures.accepted_posts, figures.dropped_posts.queue_full), (3, 7));
    let accepted = peer.accepted();
    assert!(accepted.contains(&"9-a".to_owned()), "{accepted:?}");
    assert_eq!(lines.containing("its oldest posts are dropped").len(), 1);
    assert_answers_again(&lines, "; the backlog of 3 samples is sent, 7 posts were dropped");
}

#[tokio::test]
async fn samples_beyond_their_age_are_dropped_and_counted() {
    let peer = Peer::start(|_, _| CREATED).await;
    let (addr, url) = (peer.addr, peer.url());
    peer.stop().await;
    let mut settings = quick(url);
    settings.age_max = Duration::from_millis(100);
    let begun = Instant::now();
    let clock: MomentClock = Arc::new(move || moment(begun.elapsed(), 0));
    let (handle, worker) = delivery::endpoint(settings, Storage::default(), clock).unwrap();
    tokio::spawn(worker.run());
    handle.offer(batch(0, &["old"]), false);
    until(&handle, "too old", |figures| figures.dropped_posts.too_old == 1).await;
    let peer = Peer::start_at(addr, |_, _| CREATED);
    let fresh = Batch { sampled_at: moment(begun.elapsed(), 0), ..batch(1, &["new"]) };
    handle.offer(fresh, false);
    until_settled(&handle).await;
    assert_eq!(peer.accepted(), ["1-new"]);
}

#[tokio::test]
async fn a_flush_sends_what_waits_and_ends_before_its_deadline() {
    let peer = Peer::start(|_, _| Act::After(Duration::from_millis(5), "201 Created")).await;
    let handle = run(quick(peer.url()));
    for sequence in 0..10 {
        handle.offer(batch(sequence, &["a", "b"]), false);
    }
    let begin = Instant::now();
    let left = handle.flush(begin + Duration::from_secs(5)).await;
    assert_eq!(left, []);
    assert!(begin.elapsed() < Duration::from_secs(4));
    assert_eq!(peer.accepted().len(), 20);
}

#[tokio::test]
async fn a_flush_returns_what_the_endpoint_did_not_take_by_the_deadline() {
    let peer =
        Peer::start(|path, _| if path.contains("/slow/") { Act::Hang } else { CREATED }).await;
    let mut settings = quick(peer.url());
    settings.request_timeout = Duration::from_secs(60);
    let handle = run(settings);
    handle.offer(batch(0, &["slow", "good"]), false);
    handle.offer(batch(1, &["good"]), false);
    until(&handle, "taken", |figures| figures.accepted_posts == 1).await;
    let begin = Instant::now();
    let left = handle.flush(begin + Duration::from_millis(200)).await;
    assert!((0.2..5.0).contains(&begin.elapsed().as_secs_f64()), "{:?}", begin.elapsed());
    let left_over = Batch { attempted: true, partial: true, ..batch(0, &["slow"]) };
    assert_eq!(left, [left_over, batch(1, &["good"])]);
    assert_eq!(peer.accepted(), ["0-good"]);
}

#[tokio::test]
async fn a_flush_cuts_a_long_pause_short() {
    let peer = Peer::start(|_, _| CREATED).await;
    let (addr, url) = (peer.addr, peer.url());
    peer.stop().await;
    let mut settings = quick(url);
    settings.backoff_base = Duration::from_secs(3600);
    settings.backoff_max = Duration::from_secs(3600);
    let handle = run(settings);
    handle.offer(batch(0, &["a"]), false);
    until(&handle, "failed once", |figures| figures.unanswered == 1).await;
    let peer = Peer::start_at(addr, |_, _| CREATED);
    let left = handle.flush(Instant::now() + Duration::from_secs(5)).await;
    assert_eq!(left, []);
    assert_eq!(peer.accepted(), ["0-a"]);
}

#[tokio::test]
async fn an_endpoint_of_tls_whose_peer_speaks_none_is_down_and_no_panic() {
    let peer = Peer::start(|_, _| CREATED).await;
    let url = BaseUrl::parse(&format!("https://{}", peer.addr)).unwrap();
    match delivery::endpoint(quick(url), Storage::default(), clock()) {
        Ok((handle, worker)) => {
            tokio::spawn(worker.run());
            handle.offer(batch(0, &["a"]), false);
            until(&handle, "failed", |figures| figures.unanswered > 0).await;
            assert_eq!(peer.accepted(), [""; 0]);
        }
        // A system without certificates: that must be said when the endpoint is made.
        Err(error) => assert!(error.to_string().starts_with("endpoint central: "), "{error}"),
    }
}

/// Halves a body of letters, down to single ones.
fn halve(body: &[u8]) -> Option<(bytes::Bytes, bytes::Bytes)> {
    let (first, second) = body.split_at_checked(body.len() / 2).filter(|(a, _)| !a.is_empty())?;
    Some((first.to_vec().into(), second.to_vec().into()))
}

#[tokio::test]
async fn what_is_too_large_is_sent_in_smaller_pieces_and_only_what_cannot_be_smaller_is_dropped() {
    let peer = Peer::start(|_, body| match (body.len(), body) {
        (_, "x") | (3.., _) => Act::Answer("413 Content Too Large"),
        _ => CREATED,
    })
    .await;
    let mut settings = quick(peer.url());
    settings.split = Some(Split(halve));
    let handle = run(settings);
    let post = |body: &str| ("/batch".to_owned(), body.to_owned().into());
    let posts = [post("abcdefgh"), post("x")];
    handle.offer(Batch::new(moment(Duration::ZERO, 1), posts), false);
    let figures = until(&handle, "all pieces", |figures| figures.waiting_posts == 0).await;
    assert_eq!(figures.accepted_posts, 4);
    assert_eq!(figures.dropped_posts.rejected_4xx, 1);
    assert_eq!(figures.offered_posts, 5, "each halving makes one more of it");
    let seen = peer.seen();
    let mut accepted: Vec<String> =
        seen.into_iter().filter(|one| one.status == "201 Created").map(|one| one.body).collect();
    accepted.sort();
    assert_eq!(accepted, ["ab", "cd", "ef", "gh"]);
}

#[tokio::test]
async fn a_4xx_is_tried_again_where_the_endpoint_is_configured_so() {
    let answers = Arc::new(Mutex::new(VecDeque::from(["404 Not Found", "403 Forbidden"])));
    let peer =
        Peer::start(move |_, _| answers.lock().unwrap().pop_front().map_or(CREATED, Act::Answer))
            .await;
    let mut wanted = quick(peer.url());
    wanted.retry_client_errors = true;
    wanted.concurrency_max = 1;
    let handle = run(wanted);
    handle.offer(batch(1, &["a"]), false);
    let figures = until(&handle, "its acceptance", |figures| figures.accepted_posts == 1).await;
    assert_eq!((figures.answers_of_class(4), figures.dropped_posts.total()), (2, 0));
}

#[tokio::test]
async fn a_4xx_that_lasts_is_given_up_and_holds_up_nothing_behind_it() {
    let peer = Peer::start(|path, _| match path.contains("/gone/") {
        true => Act::Answer("404 Not Found"),
        false => CREATED,
    })
    .await;
    let mut wanted = quick(peer.url());
    wanted.retry_client_errors = true;
    let handle = run(wanted);
    for sequence in 0..3 {
        handle.offer(batch(sequence, &["gone", "good"]), false);
    }
    let figures = until(&handle, "an end", |figures| figures.waiting_posts == 0).await;
    assert_eq!((figures.accepted_posts, figures.dropped_posts.total()), (3, 3));
    assert_eq!(figures.answers_of_class(4), 9, "three tries each");
}

#[tokio::test]
async fn what_an_endpoint_has_is_asked_for_with_its_headers_and_within_bounds() {
    let peer = Peer::start(|path, _| match path {
        "/list" => Act::Answer("200 OK"),
        _ => Act::Answer("404 Not Found"),
    })
    .await;
    let mut wanted = quick(peer.url());
    delivery::secret_header(&mut wanted.headers, "x-api-key", "k1").unwrap();
    let getter = Getter::new(&wanted).unwrap();
    assert_eq!(getter.get("/list", 3).await.unwrap(), b"why");
    let error = getter.get("/list", 2).await.unwrap_err().to_string();
    assert_eq!(error, "an answer of more than 2 bytes");
    let error = getter.get("/else", 1000).await.unwrap_err().to_string();
    assert!(error.starts_with("status 404"), "{error}");
    assert!(peer.seen()[0].head.to_lowercase().contains("x-api-key: k1"));
}

/// The first body that it is to halve panics, as a fault of the program would.
fn panics_once(body: &[u8]) -> Option<(bytes::Bytes, bytes::Bytes)> {
    static DONE: AtomicBool = AtomicBool::new(false);
    assert!(DONE.swap(true, Ordering::SeqCst), "a panic that the test wants");
    halve(body)
}

/// The panic comes while other posts of the sample are under way and later samples wait. The post
/// whose answer it was about is counted as lost, since it would do the same again.
#[tokio::test]
async fn after_a_panic_of_its_worker_an_endpoint_goes_on_with_its_posts() {
    let (lines, _guard) = listen();
    let peer = Peer::start(|path, _| match path {
        "/large" => Act::Answer("413 Content Too Large"),
        // The first answer is about the large one.
        _ => Act::After(Duration::from_millis(200), "201 Created"),
    })
    .await;
    let mut settings = quick(peer.url());
    settings.split = Some(Split(panics_once));
    let handle = run(settings);
    let post = |path: &str, body: &str| (path.to_owned(), body.to_owned().into());
    let posts = [post("/large", "ab"), post("/b", "0-b"), post("/c", "0-c")];
    handle.offer(Batch::new(moment(Duration::ZERO, 1), posts), false);
    handle.offer(batch(1, &["d"]), false);
    handle.offer(batch(2, &["e"]), false);
    let restarted = until(&handle, "restarted", |figures| figures.restarts == 1).await;
    assert_eq!(restarted.waiting_posts, 4, "{restarted:?}");
    let settled = until_settled(&handle).await;
    assert_eq!((settled.accepted_posts, settled.dropped_posts.fault), (4, 1));
    assert_eq!((settled.dropped_posts.total(), settled.restarts), (1, 1));
    let mut accepted = peer.accepted();
    // A post that was under way is sent once more.
    accepted.dedup();
    assert_eq!(accepted, ["0-b", "0-c", "1-d", "2-e"]);
    let logged = lines.containing("its task panicked");
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert!(logged[0].starts_with("ERROR endpoint central: its task panicked"), "{logged:?}");
}

/// Wherever the worker asks for the time, a panic there ends neither it nor the sum of its figures.
#[tokio::test]
async fn a_panic_anywhere_in_a_worker_leaves_every_post_accounted_for() {
    let mut cases = tokio::task::JoinSet::new();
    for call in 1..=16 {
        cases.spawn(async move {
            let peer = Peer::start(|_, _| CREATED).await;
            let calls = AtomicU32::new(0);
            let now = clock();
            let panicking: MomentClock = Arc::new(move || {
                let is_it = calls.fetch_add(1, Ordering::SeqCst) + 1 == call;
                assert!(!is_it, "a panic that the test wants");
                now()
            });
            let (handle, worker) =
                delivery::endpoint(quick(peer.url()), Storage::default(), panicking).unwrap();
            let worker = tokio::spawn(worker.run());
            let mut sequence = 0;
            let mut figures = figures(&handle);
            while figures.restarts == 0 {
                handle.offer(batch(sequence, &["a", "b"]), false);
                sequence += 1;
                assert!(sequence < 100, "call {call} never came: {figures:?}");
                figures = until(&handle, "sent or restarted", |figures| {
                    figures.waiting_posts == 0 || figures.restarts > 0
                })
                .await;
            }
            handle.offer(batch(sequence, &["a", "b"]), false);
            let settled = until_settled(&handle).await;
            let lost = settled.dropped_posts.fault;
            assert_eq!((settled.restarts, settled.dropped_posts.total()), (1, lost), "call {call}");
            assert!(lost <= 2, "call {call}: more than the sample in flight: {settled:?}");
            let accepted = peer.accepted();
            assert_eq!(accepted.len() as u64, settled.accepted_posts, "call {call}");
            let newest = format!("{sequence}-a");
            assert!(accepted.contains(&newest), "call {call}: {newest} of {accepted:?}");
            assert!(!worker.is_finished(), "call {call}");
        });
    }
    while let Some(case) = cases.join_next().await {
        case.unwrap();
    }
}
