//! Bodies that are sent smaller than they are.

use std::io::Read as _;

use nodetally::delivery::BodyEncoding;

use crate::delivery_trust::server::{Reply, Seen, Server, Way};
use crate::delivery_trust::{listen, offer, quick, run, until_settled};

fn body() -> String {
    (0..200).map(|pod| format!("{{\"pod\":{pod},\"cpu_millicores\":250}}")).collect()
}

/// As a server reads it.
fn unpacked(seen: &Seen) -> String {
    match seen.header("content-encoding") {
        None => String::from_utf8(seen.body.to_vec()).unwrap(),
        Some("gzip") => {
            let mut text = String::new();
            flate2::read::GzDecoder::new(&*seen.body).read_to_string(&mut text).unwrap();
            text
        }
        Some("zstd") => {
            let bytes = zstd::bulk::decompress(&seen.body, 1 << 20).unwrap();
            String::from_utf8(bytes).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_body_arrives_as_it_was_in_every_encoding() {
    for (encoding, name) in [
        (BodyEncoding::None, None),
        (BodyEncoding::Gzip, Some("gzip")),
        (BodyEncoding::Zstd, Some("zstd")),
    ] {
        let server = Server::start(Way::default(), |_| Reply::status(200)).await;
        let mut settings = quick(&server.url());
        settings.encoding = encoding;
        let handle = run(settings);
        offer(&handle, 1, 1, &body());
        offer(&handle, 2, 1, "{}");
        until_settled(&handle).await;
        let seen = server.seen();
        assert_eq!(seen[0].header("content-encoding"), name);
        assert_eq!(unpacked(&seen[0]), body());
        assert_eq!(seen[0].header("content-length"), Some(&*seen[0].body.len().to_string()));
        assert_eq!(seen[0].header("content-type"), Some("application/json"));
        assert!(name.is_none() || seen[0].body.len() < body().len() / 5);
        // What is small goes as it is.
        assert_eq!((seen[1].header("content-encoding"), &*seen[1].body), (None, &b"{}"[..]));
    }
}

#[tokio::test]
async fn a_server_that_cannot_unpack_gets_bodies_as_they_are_from_then_on() {
    let (lines, _guard) = listen();
    let server = Server::start(Way::default(), |seen| {
        Reply::status(if seen.headers.contains_key("content-encoding") { 415 } else { 200 })
    });
    let server = server.await;
    let mut settings = quick(&server.url());
    settings.encoding = BodyEncoding::Zstd;
    let handle = run(settings);
    for number in 1..=3 {
        offer(&handle, number, 1, &body());
        until_settled(&handle).await;
    }
    let figures = until_settled(&handle).await;
    assert_eq!((figures.accepted_posts, figures.retries), (3, 1));
    assert_eq!(figures.answers.into_iter().collect::<Vec<_>>(), [(200, 3), (415, 1)]);
    let encodings: Vec<Option<String>> = server
        .seen()
        .iter()
        .map(|seen| seen.header("content-encoding").map(str::to_owned))
        .collect();
    assert_eq!(encodings, [Some("zstd".to_owned()), None, None, None]);
    assert!(server.seen()[1..].iter().all(|seen| unpacked(seen) == body()));
    assert_eq!(
        lines.all(),
        [
            "WARN endpoint central answers 415 to bodies in zstd and takes them as they are: they are \
          sent uncompressed from here on; `compression = \"none\"` avoids the first try"
        ]
    );
}

#[tokio::test]
async fn a_415_to_a_plain_body_as_well_is_a_refusal_and_teaches_nothing() {
    let server = Server::start(Way::default(), |_| Reply::status(415)).await;
    let mut settings = quick(&server.url());
    settings.encoding = BodyEncoding::Gzip;
    let handle = run(settings);
    for number in 1..=2 {
        offer(&handle, number, 1, &body());
        let figures = until_settled(&handle).await;
        assert_eq!(figures.dropped_posts.rejected_4xx, number);
    }
    let packed =
        server.seen().into_iter().filter(|seen| seen.headers.contains_key("content-encoding"));
    assert_eq!((packed.count(), server.seen().len()), (2, 4));
}
