//! Proxies: what they are asked for, what they are shown, and when they are not used.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use nodetally::delivery::{self, Getter, Proxies};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::delivery_trust::authority::Ca;
use crate::delivery_trust::server::{Reply, Server, Way};
use crate::delivery_trust::{bearer, listen, offer, quick, run, until, until_settled, write};

/// The heads of what a proxy was asked.
type Heads = Arc<Mutex<Vec<String>>>;

/// Tunnels to `to`; whoever asks for no tunnel gets a 201. With `refuses` it does neither.
async fn proxy(to: SocketAddr, refuses: bool) -> (SocketAddr, Heads) {
    let refusal = "407 Proxy Authentication Required\r\ncontent-length: 0";
    proxy_saying(to, refuses.then_some(refusal)).await
}

async fn proxy_saying(to: SocketAddr, refusal: Option<&'static str>) -> (SocketAddr, Heads) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heads = Heads::default();
    let log = Arc::clone(&heads);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { return };
                    head.push(byte);
                }
                let head = String::from_utf8(head).unwrap();
                let is_tunnel = head.starts_with("CONNECT ");
                log.lock().unwrap().push(head);
                let answer = match (refusal, is_tunnel) {
                    (Some(refusal), _) => refusal,
                    (None, true) => "200 Connected",
                    (None, false) => "201 Created\r\ncontent-length: 0",
                };
                let answer = format!("HTTP/1.1 {answer}\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
                if is_tunnel && refusal.is_none() {
                    let mut server = TcpStream::connect(to).await.unwrap();
                    let _ = copy_bidirectional(&mut stream, &mut server).await;
                }
                // What is left of the request is read, or closing would take the answer with it.
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            });
        }
    });
    (address, heads)
}

fn through(proxy: SocketAddr) -> Proxies {
    Proxies { all: format!("http://user:hunter2@{proxy}"), ..Proxies::default() }
}

/// `user:hunter2`
const SHOWN: &str = "proxy-authorization: Basic dXNlcjpodW50ZXIy";

fn has_line(head: &str, expected: &str) -> bool {
    head.lines().any(|line| line.eq_ignore_ascii_case(expected))
}

#[tokio::test]
async fn without_tls_the_proxy_is_asked_for_the_whole_address() {
    let (proxy, heads) = proxy(SocketAddr::from(([127, 0, 0, 1], 1)), false).await;
    let mut settings = quick("http://metrics.example.com:5000/in");
    settings.trust.proxies = through(proxy);
    let handle = run(settings);
    offer(&handle, 1, 1, "body");
    assert_eq!(until_settled(&handle).await.accepted_posts, 1);
    let heads = heads.lock().unwrap();
    let line = "POST http://metrics.example.com:5000/in/posts/1/0 HTTP/1.1\r\n";
    assert!(heads[0].starts_with(line), "{}", heads[0]);
    assert!(has_line(&heads[0], SHOWN), "{}", heads[0]);
}

#[tokio::test]
async fn with_tls_the_proxy_makes_a_tunnel_and_sees_neither_token_nor_path() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("token");
    write(&path, "s3cret");
    let ca = Ca::called("office");
    for http2 in [false, true] {
        let tls = Some(ca.serves("metrics.example.com"));
        let way = Way { tls, http2, ..Way::default() };
        let server = Server::start(way, |_| Reply::status(201)).await;
        let (proxy, heads) = proxy(server.address, false).await;
        let mut settings = quick("https://metrics.example.com/in");
        settings.trust.tls.ca_file = Some(ca.file(dir.path()));
        settings.trust.proxies = through(proxy);
        settings.trust.credential = bearer(path.clone());
        let handle = run(settings);
        offer(&handle, 1, 5, "body");
        assert_eq!(until_settled(&handle).await.accepted_posts, 5);
        let heads = heads.lock().unwrap();
        assert!(heads[0].starts_with("CONNECT metrics.example.com:443 HTTP/1.1\r\n"));
        assert!(heads.iter().all(|head| has_line(head, SHOWN)), "{heads:?}");
        assert!(!heads.iter().any(|head| head.contains("s3cret")), "{heads:?}");
        for seen in server.seen() {
            assert_eq!(seen.header("authorization"), Some("Bearer s3cret"));
            assert_eq!(seen.header("proxy-authorization"), None);
        }
    }
}

#[tokio::test]
async fn this_host_and_what_no_proxy_names_are_reached_directly() {
    let server = Server::start(Way::default(), |_| Reply::status(201)).await;
    for host in ["127.0.0.1", "localhost"] {
        let mut settings = quick(&server.url_of(host));
        // Nobody is there.
        settings.trust.proxies = through(SocketAddr::from(([127, 0, 0, 1], 1)));
        assert_eq!(settings.trust.proxy_for(&settings.url), None);
        assert_eq!(delivery::probe(&settings).await.unwrap(), 201, "{host}");
    }
    let mut settings = quick("http://metrics.example.com");
    settings.trust.proxies = through(server.address);
    assert_eq!(settings.trust.proxy_for(&settings.url), Some(format!("http://{}", server.address)));
    settings.trust.proxies.none_for = "example.com".to_owned();
    assert_eq!(settings.trust.proxy_for(&settings.url), None);
}

#[tokio::test]
async fn a_proxy_that_fails_is_logged_without_credentials() {
    let dead = SocketAddr::from(([127, 0, 0, 1], 1));
    let (refusing, _) = proxy(dead, true).await;
    let dir = TempDir::new().unwrap();
    let ca = Ca::called("office").file(dir.path());
    let (lines, _guard) = listen();
    for address in [dead, refusing] {
        for url in ["http://metrics.example.com", "https://metrics.example.com"] {
            let mut settings = quick(url);
            settings.trust.proxies = through(address);
            if url.starts_with("https") {
                settings.trust.tls.ca_file = Some(ca.clone());
            }
            let probed = delivery::probe(&settings).await;
            let reason = probed.unwrap_err().to_string();
            let end = format!(" (through the proxy http://{address})");
            assert!(reason.ends_with(&end) && !reason.contains("hunter2"), "{reason}");
            assert!(!format!("{settings:?}").contains("hunter2"));
            let handle = run(settings);
            offer(&handle, 1, 1, "body");
            // Over http:// its 407 is an answer, and yet not the endpoint's: nothing is lost by it.
            let figures = until(&handle, "tried", |figures| figures.unanswered >= 2).await;
            assert_eq!((figures.waiting_posts, figures.dropped_posts.total()), (1, 0));
            assert_eq!(figures.answers_of_class(4), 0);
        }
    }
    let lines = lines.all();
    assert_eq!(lines.len(), 4, "{lines:?}");
    let words = "is not answering: proxy authentication required (through the proxy http://";
    assert!(lines[2].contains(words), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("hunter2") || line.contains("dXNlcjp")));
}

#[tokio::test]
async fn a_refusal_that_may_be_the_proxys_names_it_and_repeats_no_password() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let answer = "403 Forbidden\r\ncontent-length: 30\r\n\r\nno way for user with hunter2 !";
    let (proxy, _) = proxy_saying(nobody, Some(answer)).await;
    let (lines, _guard) = listen();
    let mut settings = quick("http://metrics.example.com");
    settings.trust.proxies = through(proxy);
    let handle = run(settings.clone());
    offer(&handle, 1, 1, "body");
    assert_eq!(until_settled(&handle).await.dropped_posts.rejected_4xx, 1);
    let end = format!("no way for user with (hidden) ! (through the proxy http://{proxy})");
    assert_eq!(lines.containing(&end).len(), 1, "{:?}", lines.all());
    let error = Getter::new(&settings).unwrap().get("/", 100).await.unwrap_err().to_string();
    assert_eq!(error, format!("status 403: {end}"));
}

/// A 407 of the endpoint itself is a refusal like any other.
#[tokio::test]
async fn a_407_without_a_proxy_or_behind_a_tunnel_is_the_endpoints_own() {
    let dir = TempDir::new().unwrap();
    let ca = Ca::called("office");
    let way = Way::tls(ca.serves("metrics.example.com"));
    let behind_tls = Server::start(way, |_| Reply::status(407)).await;
    let plain = Server::start(Way::default(), |_| Reply::status(407)).await;
    let (tunnel, _) = proxy(behind_tls.address, false).await;
    let mut tunnelled = quick("https://metrics.example.com");
    tunnelled.trust.tls.ca_file = Some(ca.file(dir.path()));
    tunnelled.trust.proxies = through(tunnel);
    for settings in [quick(&plain.url()), tunnelled] {
        let handle = run(settings);
        offer(&handle, 1, 1, "body");
        assert_eq!(until_settled(&handle).await.dropped_posts.rejected_4xx, 1);
    }
}
