//! Servers that say what they were shown, and those that say too much.

use nodetally::delivery::{Credential, DeliverySettings, Getter, TokenSource, probe};
use rustls::ServerConfig;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::delivery_trust::authority::Ca;
use crate::delivery_trust::server::{Reply, Seen, Server, Way};
use crate::delivery_trust::{listen, offer, quick, run, until_settled, write};

const TOKEN: &str = "hunter2/of+the=server";
const KEY: &str = "qu3ry k3y";

/// Nothing of these is to be told.
const SECRETS: [&str; 5] = ["hunter2", "of+the", "of%2Bthe", "qu3ry", "k3y"];

#[track_caller]
fn assert_silent(told: &str) {
    assert!(!SECRETS.iter().any(|secret| told.contains(secret)), "{told}");
}

/// Everything that a page for whoever debugs the server has.
fn page(seen: &Seen) -> String {
    let headers = seen.headers.iter().map(|(name, value)| format!("{name}: {value:?} "));
    format!("invalid API key {TOKEN}; key={KEY}; qu3ry%20k3y; {}", headers.collect::<String>())
}

fn settings(url: &str, dir: &TempDir, header: &str) -> DeliverySettings {
    let path = dir.path().join("token");
    write(&path, TOKEN);
    let mut settings = quick(&format!("{url}/in?key=qu3ry%20k3y"));
    let token = TokenSource::File(path);
    settings.trust.credential = Some(Credential { header: header.to_owned(), token });
    settings
}

#[tokio::test]
async fn a_token_or_query_that_a_server_echoes_is_not_logged() {
    let dir = TempDir::new().unwrap();
    for (status, header) in [(401, "Authorization"), (403, "X-API-Key"), (500, "Authorization")] {
        let (lines, _guard) = listen();
        let server =
            Server::start(Way::default(), move |seen| Reply::status(status).body(page(seen))).await;
        let mut settings = settings(&server.url(), &dir, header);
        // With the 500 the log is told of a post that is given up.
        (settings.bounds_500, settings.tries_max) = (true, 1);
        let handle = run(settings.clone());
        offer(&handle, 1, 1, "body");
        until_settled(&handle).await;
        let lines = lines.containing(" to POST /posts/1/0: ");
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert!(line.contains("invalid API key (hidden); key=(hidden); "), "{line}");
        assert_silent(line);

        let getter = Getter::new(&settings).unwrap();
        let error = getter.get("/list", 4096).await.unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("status {status}: invalid API key (hidden)")),
            "{error}"
        );
        assert_silent(&error);
        // As the reader of a list may quote what is wrong with it.
        assert_eq!(getter.masked(&format!("not a list: {TOKEN}")), "not a list: (hidden)");
    }
}

/// Speaks HTTP/2 as far as to end the connection, with a reason as long as a frame may be.
async fn goes_away(tls: ServerConfig, reason: String) -> String {
    let mut tls = tls;
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(std::sync::Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let frame = |kind: u8, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, 0], &[0; 4], payload].concat()
    };
    let settings = frame(4, b"");
    // GOAWAY: nothing was read, "enhance your calm".
    let go_away = frame(7, &[&[0, 0, 0, 0, 0, 0, 0, 11], reason.as_bytes()].concat());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            // The preface and the first request are on their way.
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(&[settings.clone(), go_away.clone()].concat()).await;
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    });
    url
}

#[tokio::test]
async fn what_a_peer_says_as_it_hangs_up_is_cut_and_masked() {
    let dir = TempDir::new().unwrap();
    let ca = Ca::called("office");
    let reason = format!("{TOKEN} {}", "too many of you ".repeat(1000));
    let url = goes_away(ca.serves("127.0.0.1"), reason).await;
    let mut settings = settings(&url, &dir, "Authorization");
    settings.trust.tls.ca_file = Some(ca.file(dir.path()));
    let reason = probe(&settings).await.unwrap_err().to_string();
    assert!(reason.contains("too many of you"), "{reason}");
    assert!(reason.chars().count() <= 220, "{} characters: {reason}", reason.len());
    assert_silent(&reason);
}
