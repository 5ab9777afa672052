//! Answers of a scripted server: which posts are retried, split, dropped, and in which protocol.

use std::time::Duration;

use bytes::Bytes;
use nodetally::config::{Destination, Flags, Inputs, Settings};
use nodetally::delivery::{self, Handle, Health, Statistics, Storage};
use nodetally::endpoint::endpoint::EndpointSpec;
use nodetally::identity::BootId;
use nodetally::quantity::{BootTime, WallTime};
use nodetally::spool::{Batch, Moment};

use super::server::{Answer, Received, Server};
use super::wire::{request_1_0, request_2_0, unsnappy};
use crate::support::log_lines::{containing, hear_all};
use crate::support::other_servers;

const WRITTEN: &str = "x-prometheus-remote-write-samples-written";

fn head(status: &str) -> Answer {
    (status.to_owned(), "")
}

/// A request of protocol 2.0 with one series for each value: `up{at="<n>"}`, each with one point.
fn body(values: &[u8]) -> Bytes {
    let text = |field: u8, text: &str| {
        let mut bytes = vec![field << 3 | 2, u8::try_from(text.len()).unwrap()];
        bytes.extend_from_slice(text.as_bytes());
        bytes
    };
    let mut all = Vec::new();
    for symbol in ["", "__name__", "up", "at"] {
        all.extend(text(4, symbol));
    }
    for value in values {
        all.extend(text(4, &format!("n{value}")));
    }
    for (at, value) in values.iter().enumerate() {
        let mut series = vec![0x0a, 4, 1, 2, 3, 4 + u8::try_from(at).unwrap()];
        series.extend([0x12, 11, 0x09]);
        series.extend(f64::from(*value).to_le_bytes());
        series.extend([0x10, 7]);
        all.extend([0x2a, u8::try_from(series.len()).unwrap()]);
        all.extend(series);
    }
    all.into()
}

/// The values of a request, in either protocol.
fn values(request: &Received) -> Vec<u64> {
    let message = unsnappy(&request.body);
    let series = if request.is_2_0() { request_2_0(&message) } else { request_1_0(&message) };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small integers")]
    let value = |series: &super::wire::Series| {
        let value = series.samples[0].value() as u64;
        assert_eq!(series.label("at"), Some(&*format!("n{value}")));
        assert_eq!(series.samples[0].millis, 7);
        value
    };
    series.iter().map(value).collect()
}

struct Rig {
    handle: Handle,
    boot: BootId,
    number: u64,
}

impl Rig {
    fn start(server: &Server, more: &str) -> Self {
        Self::named("central", &format!("http://{}/write", server.address), more)
    }

    fn named(name: &str, url: &str, more: &str) -> Self {
        hear_all();
        let text = format!(
            "[spool]\ndir = \"none\"\n[state]\ndir = \"none\"\n[[endpoint]]\nname = \"{name}\"\n\
             url = \"{url}\"\ndialect = \"prometheus-remote-write\"\nspread = \"0s\"\n{more}"
        );
        let settings = Settings::resolve(Inputs {
            file: Some(("nodetally.toml".into(), text)),
            environment: Vec::<(String, String)>::new(),
            flags: Flags::default(),
            host_name: "box".to_owned(),
            is_root: true,
            ..Inputs::default()
        })
        .unwrap();
        let endpoint = &settings.endpoints[0];
        let Destination::Http(url) = &endpoint.url else { panic!("no server") };
        let mut delivery = EndpointSpec::of(endpoint, url, &settings).unwrap().delivery;
        delivery.backoff_base = Duration::from_millis(10);
        delivery.backoff_max = Duration::from_millis(20);
        let boot = BootId::parse(b"dcb0aa66-4b28-4a3b-b26c-358f9a3b5bb2").unwrap();
        let clock = move || moment(boot, 1_000_000);
        let (handle, worker) =
            delivery::endpoint(delivery, Storage::default(), std::sync::Arc::new(clock)).unwrap();
        tokio::spawn(worker.run());
        Self { handle, boot, number: 0 }
    }

    fn offer(&mut self, bodies: &[&[u8]]) {
        self.number += 1;
        let posts = bodies.iter().map(|values| (String::new(), body(values)));
        self.handle.offer(Batch::new(moment(self.boot, self.number), posts), false);
    }

    async fn settled(&self) -> Statistics {
        loop {
            let figures = self.handle.statistics(&moment(self.boot, 1_000_000));
            if figures.waiting_posts == 0 {
                return figures;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn moment(boot: BootId, number: u64) -> Moment {
    Moment {
        boot,
        since_boot: BootTime::from_nanos(number),
        wall: WallTime::from_unix_millis(number),
    }
}

#[tokio::test]
async fn a_server_of_1_0_gets_2_0_once_however_it_shows_that_it_does_not_know_it() {
    for refusal in ["415 Unsupported Media Type", "400 Bad Request", "204 No Content", "200 OK"] {
        let server = Server::start(move |_, request| {
            head(if request.is_2_0() { refusal } else { "204 No Content" })
        });
        let mut rig = Rig::start(&server, "");
        for sample in 1..=3 {
            rig.offer(&[&[sample]]);
            rig.settled().await;
        }
        let figures = rig.settled().await;
        assert_eq!((figures.accepted_posts, figures.dropped_posts.total()), (3, 0), "{refusal}");
        let received = server.received();
        let seen: Vec<(bool, Vec<u64>)> =
            received.iter().map(|request| (request.is_2_0(), values(request))).collect();
        let expected = [(true, 1), (false, 1), (false, 2), (false, 3)];
        assert_eq!(seen, expected.map(|(is_2_0, value)| (is_2_0, vec![value])), "{refusal}");
        for request in &received {
            assert_eq!(request.line, "POST /write HTTP/1.1");
            let (version, proto) = match request.is_2_0() {
                true => ("2.0.0", ";proto=io.prometheus.write.v2.Request"),
                false => ("0.1.0", ""),
            };
            let header = |name: &str| request.header(name).unwrap_or_default();
            assert_eq!(header("x-prometheus-remote-write-version"), version);
            assert_eq!(header("content-type"), format!("application/x-protobuf{proto}"));
            assert_eq!(header("content-encoding"), "snappy");
            assert!(header("user-agent").starts_with("nodetally/"));
        }
    }
}

#[tokio::test]
async fn a_server_of_2_0_gets_nothing_else_and_its_400_is_about_the_post() {
    let server = Server::start(|_, request| {
        let count = values(request).len();
        match values(request).contains(&66) {
            true => (format!("400 Bad Request\r\n{WRITTEN}: {}", count - 1), "out of order sample"),
            false => (format!("204 No Content\r\n{WRITTEN}: {count}"), ""),
        }
    });
    let mut rig = Rig::start(&server, "");
    for values in [&[1, 2][..], &[66, 3], &[4]] {
        rig.offer(&[values]);
        rig.settled().await;
    }
    let figures = rig.settled().await;
    assert_eq!((figures.accepted_posts, figures.dropped_posts.rejected_4xx), (2, 1));
    let received = server.received();
    assert!(received.len() == 3 && received.iter().all(|request| request.is_2_0()), "{received:?}");
}

/// Points of refusals: out of order, too old, duplicate, other.
fn points(figures: &Statistics) -> [u64; 4] {
    let points = figures.dropped_points;
    assert_eq!(points.total(), points.by_reason().map(|(_, count)| count).sum::<u64>());
    [points.out_of_order, points.too_old, points.duplicate, points.other]
}

/// The words of Prometheus, Mimir and Thanos.
#[tokio::test]
async fn refused_points_are_counted_by_reason_logged_once_each_and_never_sent_again() {
    // The value says which answer the server gives.
    let script = |request: &Received| {
        let (status, written, words) = match values(request)[0] {
            1 => ("400 Bad Request", Some(1), "out of order sample"),
            2 => ("400 Bad Request", Some(0), "too old sample"),
            3 => {
                ("400 Bad Request", Some(2), "duplicate sample for timestamp\nout of order sample")
            }
            4 => ("409 Conflict", None, "out of bounds"),
            5 => ("400 Bad Request", Some(0), "max-series-per-user limit exceeded"),
            6 => ("200 OK", Some(2), ""),
            7 => ("200 OK", Some(1), "the same timestamp, but a different value"),
            _ => ("204 No Content", Some(3), ""),
        };
        let written = written.map(|count| format!("\r\n{WRITTEN}: {count}")).unwrap_or_default();
        (format!("{status}{written}"), words)
    };
    for (name, more) in [("refused", ""), ("refused-once", "client_errors = \"retry\"\n")] {
        let server = Server::start(move |_, request| script(request));
        let url = format!("http://{}/write", server.address);
        let mut rig = Rig::named(name, &url, &format!("protocol = \"2.0\"\n{more}"));
        let last = if more.is_empty() { 7 } else { 4 };
        for value in [0].into_iter().chain(1..=last).chain([1, 2, 3, 4]) {
            rig.offer(&[&[value, 80, 90]]);
            rig.settled().await;
        }
        let figures = rig.settled().await;
        // The first four came twice. Of three points each, the servers say that they wrote some.
        let (rejected, accepted, expected) = match more {
            "" => (9, 3, [2 * 2, 2 * 3 + 2 * 3, 2 + 2, 3 + 1]),
            _ => (8, 1, [2 * 2, 2 * 3 + 2 * 3, 2, 0]),
        };
        assert_eq!(points(&figures), expected, "{name}");
        assert_eq!(figures.dropped_posts.rejected_4xx, rejected);
        assert_eq!((figures.dropped_posts.total(), figures.accepted_posts), (rejected, accepted));
        assert_eq!((figures.retries, server.received().len() as u64), (0, rejected + accepted));
        let lines = containing(&format!("endpoint {name} "));
        let refusals = [
            "answers 400 Bad Request to POST its URL: out of order sample (1 of 3 points were written); \
             such posts are dropped and counted (logged once per status and reason)",
            "answers 400 Bad Request to POST its URL: too old sample; such posts",
            "to POST its URL: duplicate sample for timestamp out of order sample (2 of 3 points",
            "answers 409 Conflict to POST its URL: out of bounds; such posts",
            "answers 400 Bad Request to POST its URL: max-series-per-user limit exceeded; such posts",
            "accepted a POST its URL but for 1 point: 2 of 3 points were written; points that it refuses",
            "but for 2 points: the same timestamp, but a different value (1 of 3 points were written)",
        ];
        assert_eq!(lines.len(), usize::from(last), "{lines:#?}");
        for (line, part) in lines.iter().zip(refusals) {
            assert!(line.contains(part), "{line}\n{part}");
        }
    }
}

/// A server of 1.0 does not say how many points it wrote of a request that it refuses.
#[tokio::test]
async fn in_protocol_1_0_all_points_of_a_refused_request_count() {
    let server = Server::start(|nth, _| match nth {
        0 => ("400 Bad Request".to_owned(), "out of order sample"),
        _ => head("204 No Content"),
    });
    let mut rig = Rig::start(&server, "protocol = \"1.0\"\n");
    rig.offer(&[&[1, 2]]);
    rig.offer(&[&[3, 4, 5]]);
    let figures = rig.settled().await;
    assert_eq!((figures.accepted_posts, figures.dropped_posts.rejected_4xx), (1, 1));
    assert_eq!((points(&figures), server.received().len()), ([2, 0, 0, 0], 2));
}

#[tokio::test]
async fn a_protocol_that_is_set_is_the_only_one() {
    for (protocol, is_2_0) in [("1.0", false), ("2.0", true)] {
        let server = Server::start(|_, _| head("415 Unsupported Media Type"));
        let mut rig = Rig::start(&server, &format!("protocol = \"{protocol}\"\n"));
        rig.offer(&[&[1]]);
        let figures = rig.settled().await;
        assert_eq!(figures.dropped_posts.rejected_4xx, 1);
        let received = server.received();
        assert!(received.len() == 1 && received[0].is_2_0() == is_2_0, "{received:?}");
    }
    // A server that took a message for an empty one of 1.0 has accepted nothing.
    let server = Server::start(|_, _| head("204 No Content"));
    let mut rig = Rig::start(&server, "protocol = \"2.0\"\n");
    rig.offer(&[&[1]]);
    let figures = rig.settled().await;
    assert_eq!((figures.accepted_posts, figures.dropped_posts.rejected_4xx), (0, 1));
}

#[tokio::test]
async fn what_is_refused_is_dropped_and_what_may_pass_is_retried_in_order() {
    for (status, tries) in [
        ("400 Bad Request", 1),
        ("401 Unauthorized", 1),
        ("404 Not Found", 1),
        ("409 Conflict", 1),
        ("422 Unprocessable Content", 1),
        ("429 Too Many Requests", 2),
        ("500 Internal Server Error", 2),
        ("503 Service Unavailable\r\nretry-after: 0", 2),
    ] {
        let server = Server::start(move |nth, _| head(if nth == 0 { status } else { "200 OK" }));
        let mut rig = Rig::start(&server, "protocol = \"1.0\"\n");
        rig.offer(&[&[1], &[2]]);
        rig.offer(&[&[3]]);
        let figures = rig.settled().await;
        let first: Vec<u64> = vec![1; tries];
        let seen: Vec<u64> = server.received().iter().flat_map(|request| values(request)).collect();
        assert_eq!(seen, [first, vec![2, 3]].concat(), "{status}");
        let dropped = u64::from(tries == 1);
        assert_eq!(figures.dropped_posts.rejected_4xx, dropped, "{status}");
        assert_eq!(figures.accepted_posts, 3 - dropped, "{status}");
    }
}

#[tokio::test]
async fn a_server_of_another_protocol_is_one_line_and_loses_nothing() {
    for (name, url, words) in other_servers::all() {
        let name = format!("rw-{name}");
        let mut rig = Rig::named(&name, &url, "");
        rig.offer(&[&[1]]);
        rig.offer(&[&[2]]);
        let figures = loop {
            let figures = rig.handle.statistics(&moment(rig.boot, 1_000_000));
            if figures.health == Health::Down && figures.unanswered > 3 {
                break figures;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        assert_eq!((figures.waiting_posts, figures.dropped_posts.total()), (2, 0));
        let lines = containing(&format!("endpoint {name} "));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("is not answering") && lines[0].contains(words), "{lines:?}");
    }
}

#[tokio::test]
async fn a_wrong_token_a_wrong_path_and_a_page_are_one_line_each() {
    const PAGE: &str = "200 OK\r\ncontent-type: text/html";
    for (name, status, body, words) in [
        (
            "rw-401",
            "401 Unauthorized",
            "no such tenant",
            "answers 401 Unauthorized to POST its URL: no such tenant; such posts are dropped and counted, \
             check the token (bearer_token_file) or the headers (logged once per",
        ),
        (
            "rw-404",
            "404 Not Found",
            "404 page not found",
            "answers 404 Not Found to POST its URL: 404 page not found; such posts are dropped and \
             counted, check the path in url (logged once per",
        ),
        (
            "rw-page",
            PAGE,
            "<html>Sign in</html>",
            "answers 200 OK to POST its URL: the answer is a page and not one of remote write, so nothing \
             was accepted; url must be that of a remote write receiver, with its path; such posts",
        ),
    ] {
        let server = Server::start(move |_, _| (status.to_owned(), body));
        let mut rig = Rig::named(name, &format!("http://{}/write", server.address), "");
        rig.offer(&[&[1]]);
        rig.settled().await;
        rig.offer(&[&[2]]);
        let figures = rig.settled().await;
        assert_eq!((figures.accepted_posts, figures.dropped_posts.total()), (0, 2), "{name}");
        let of_page = if status == PAGE { 2 } else { 0 };
        assert_eq!(figures.dropped_posts.rejected_2xx, of_page, "{name}");
        assert_eq!(points(&figures), [0, 0, 0, 2], "{name}");
        let lines = containing(&format!("endpoint {name} "));
        assert!(lines.len() == 1 && lines[0].contains(words), "{lines:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_comes_in_halves_in_order() {
    let server = Server::start(|_, request| {
        head(if values(request).len() > 2 { "413 Content Too Large" } else { "200 OK" })
    });
    let mut rig = Rig::start(&server, "protocol = \"1.0\"\n");
    rig.offer(&[&[1, 2, 3, 4, 5]]);
    rig.offer(&[&[6]]);
    let figures = rig.settled().await;
    assert_eq!(figures.dropped_posts.total(), 0);
    let accepted: Vec<Vec<u64>> = server
        .received()
        .iter()
        .map(|request| values(request))
        .filter(|values| values.len() <= 2)
        .collect();
    assert_eq!(accepted.concat(), [1, 2, 3, 4, 5, 6]);
}
