//! The connections of a round: their number, and the retry on a connection that the server closed.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::Version;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::delivery_trust::authority::Ca;
use crate::delivery_trust::server::{Reply, Server, Way};
use crate::delivery_trust::{PATIENCE, offer, quick, run, until, until_settled};

/// From one end to the other and back.
const ROUND_TRIP: Duration = Duration::from_millis(20);

const POSTS: usize = 111;

/// Samples of a full node, each post answered after a round trip, until one took less than a second:
/// one post at a time would take more than two, and a machine that is busy with other things holds up
/// any. How many connections there had been after each.
async fn rounds(server: &Server, ca: Option<&Ca>) -> Vec<usize> {
    let dir = TempDir::new().unwrap();
    let mut settings = quick(&server.url());
    settings.trust.tls.ca_file = ca.map(|ca| ca.file(dir.path()));
    let handle = run(settings);
    let (first, mut took, mut connections) = (Instant::now(), Vec::new(), Vec::new());
    let is_quick = |took: &Duration| *took < Duration::from_secs(1);
    while took.len() < 2 || !took.iter().any(is_quick) {
        assert!(first.elapsed() < PATIENCE, "{took:?}");
        let begin = Instant::now();
        let number = took.len() as u64 + 1;
        offer(&handle, number, POSTS, r#"{"cpu_millicores":250}"#);
        let figures = until_settled(&handle).await;
        assert_eq!(figures.accepted_posts, number * POSTS as u64);
        assert_eq!((figures.retries, figures.unanswered), (0, 0));
        took.push(begin.elapsed());
        connections.push(server.connections());
    }
    println!("{POSTS} posts over {connections:?} connections in {took:?}");
    connections
}

/// TCP and TLS are a round trip each before the first request.
async fn far_away(ca: &Ca, http2: bool) -> Server {
    let way = Way { tls: Some(ca.serves("127.0.0.1")), http2, opens_after: 2 * ROUND_TRIP };
    Server::start(way, |_| Reply::status(201).after(ROUND_TRIP)).await
}

#[tokio::test]
async fn a_full_nodes_posts_go_over_one_connection_of_http2_in_less_than_a_second() {
    let ca = Ca::called("office");
    let server = far_away(&ca, true).await;
    let connections = rounds(&server, Some(&ca)).await;
    assert!(connections.iter().all(|count| *count == 1), "{connections:?}");
    assert!(server.seen().iter().all(|seen| seen.version == Version::HTTP_2));
}

#[tokio::test]
async fn over_http_1_1_they_share_a_few_connections_that_the_next_sample_finds_open() {
    let ca = Ca::called("office");
    let behind_tls = far_away(&ca, false).await;
    let way = Way { opens_after: ROUND_TRIP, ..Way::default() };
    let plain = Server::start(way, |_| Reply::status(201).after(ROUND_TRIP)).await;
    for (server, ca) in [(behind_tls, Some(&ca)), (plain, None)] {
        let connections = rounds(&server, ca).await;
        // Eight at once. A post that waits for a connection of its own to open takes one that comes
        // free sooner; the new one then serves another, so there can be a few more in the beginning.
        assert!((8..16).contains(&connections[0]), "{connections:?}");
        assert!(connections.iter().all(|count| *count == connections[0]), "{connections:?}");
        assert!(server.seen().iter().all(|seen| seen.version == Version::HTTP_11));
    }
}

/// Answers the first request of each connection, and hangs up on the next without a word.
async fn hangs_up() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&heads);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                for is_answered in [true, false] {
                    let mut request = Vec::new();
                    // The body is all that holds this.
                    while !request.ends_with(b"body") {
                        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    log.lock().unwrap().push(String::from_utf8(request).unwrap());
                    if is_answered {
                        let answer = b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n";
                        stream.write_all(answer).await.unwrap();
                    }
                }
            });
        }
    });
    (address, heads)
}

#[tokio::test]
async fn a_post_on_a_connection_that_was_given_up_is_sent_once_more_at_once_under_its_key() {
    let (address, heads) = hangs_up().await;
    let mut settings = quick(&format!("http://{address}"));
    // A pause would show.
    settings.backoff_base = Duration::from_secs(300);
    settings.backoff_max = Duration::from_secs(300);
    let handle = run(settings);
    for number in 1..=3 {
        offer(&handle, number, 1, "body");
        until_settled(&handle).await;
    }
    let figures = until(&handle, "taken", |figures| figures.accepted_posts == 3).await;
    assert_eq!((figures.retries, figures.unanswered), (2, 2));
    let heads = heads.lock().unwrap();
    let key = |at: usize| {
        let line = |line: &&str| line.starts_with("idempotency-key: ");
        heads[at].lines().find(line).expect("a key").to_owned()
    };
    assert_eq!(heads.len(), 5, "the second and the third were sent twice");
    assert_eq!((key(1), key(3)), (key(2), key(4)));
    assert_ne!(key(0), key(1));
}
