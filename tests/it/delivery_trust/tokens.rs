//! Tokens that rotate while the agent runs.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nodetally::delivery::{Credential, Getter, Handle, SecretText, TokenSource};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::delivery_trust::server::{Reply, Server, Way};
use crate::delivery_trust::{
    PATIENCE, bearer, listen, offer, quick, replace, run, until_settled, write,
};

/// A server that takes the token it is told to, and answers 401 to any other.
async fn guarded(token: &str) -> (Server, Arc<Mutex<String>>) {
    let wanted = Arc::new(Mutex::new(token.to_owned()));
    let held = Arc::clone(&wanted);
    let server = Server::start(Way::default(), move |seen| {
        let expected = format!("Bearer {}", held.lock().unwrap());
        Reply::status(if seen.header("authorization") == Some(&expected) { 201 } else { 401 })
    });
    (server.await, wanted)
}

fn tokens(server: &Server) -> Vec<String> {
    let seen = server.seen();
    let token = |seen: &crate::delivery_trust::server::Seen| {
        seen.header("authorization").unwrap().to_owned()
    };
    seen.iter().map(token).collect()
}

/// Posts until the last one comes with this token, which must be soon.
async fn until_sent(handle: &Handle, server: &Server, token: &str) {
    let (begin, expected) = (Instant::now(), format!("Bearer {token}"));
    for number in 100.. {
        offer(handle, number, 1, "body");
        until_settled(handle).await;
        if tokens(server).last() == Some(&expected) {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "{:?}", tokens(server));
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_token_that_is_exchanged_is_sent_from_then_on_however_it_is_exchanged() {
    let dir = TempDir::new().unwrap();
    // As the kubelet lays out a volume: the file is a link through a link that is exchanged.
    for folder in ["1", "2"] {
        std::fs::create_dir(dir.path().join(folder)).unwrap();
        write(&dir.path().join(folder).join("token"), &format!("linked-{folder}\n"));
    }
    let (data, linked) = (dir.path().join("data"), dir.path().join("linked"));
    std::os::unix::fs::symlink("1", &data).unwrap();
    std::os::unix::fs::symlink("data/token", &linked).unwrap();
    let plain = dir.path().join("plain");
    write(&plain, "first\n");

    let server = Server::start(Way::default(), |_| Reply::status(201)).await;
    let start = |path: PathBuf| {
        let mut settings = quick(&server.url());
        settings.trust.credential = bearer(path);
        run(settings)
    };
    let handle = start(plain.clone());
    until_sent(&handle, &server, "first").await;
    replace(&plain, "second\n");
    until_sent(&handle, &server, "second").await;
    write(&plain, "third, in the same file".replace(' ', "_").as_str());
    until_sent(&handle, &server, "third,_in_the_same_file").await;

    let handle = start(linked);
    until_sent(&handle, &server, "linked-1").await;
    let next = dir.path().join("next");
    std::os::unix::fs::symlink("2", &next).unwrap();
    std::fs::rename(&next, &data).unwrap();
    until_sent(&handle, &server, "linked-2").await;
}

#[tokio::test]
async fn a_401_reads_the_token_again_and_sends_once_more_at_once() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("token");
    write(&path, "old");
    let (server, wanted) = guarded("old").await;
    let mut settings = quick(&server.url());
    settings.trust.credential = bearer(path.clone());
    // A pause would show.
    settings.backoff_base = Duration::from_secs(300);
    let handle = run(settings.clone());
    offer(&handle, 1, 1, "body");
    until_settled(&handle).await;
    replace(&path, "new");
    *wanted.lock().unwrap() = "new".to_owned();
    offer(&handle, 2, 1, "body");
    let figures = until_settled(&handle).await;
    assert_eq!((figures.accepted_posts, figures.retries), (2, 1));
    assert_eq!(figures.answers.into_iter().collect::<Vec<_>>(), [(201, 2), (401, 1)]);
    assert_eq!(tokens(&server), ["Bearer old", "Bearer old", "Bearer new"]);

    // Whoever asks is in the same place.
    let getter = Getter::new(&settings).unwrap();
    replace(&path, "newer");
    *wanted.lock().unwrap() = "newer".to_owned();
    let error = getter.get("/list", 100).await.unwrap_err().to_string();
    assert!(error.starts_with("status 201"), "{error}");
    assert_eq!(tokens(&server).last().unwrap(), "Bearer newer");
}

#[tokio::test]
async fn a_401_to_the_token_that_the_file_holds_is_a_refusal() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("token");
    write(&path, "wrong");
    let (server, _) = guarded("right").await;
    let mut settings = quick(&server.url());
    let in_file = bearer(path);
    let held = Credential {
        header: "Authorization".to_owned(),
        token: TokenSource::Held {
            variable: "TOKEN".to_owned(),
            token: SecretText::new("wrong".to_owned()),
        },
    };
    for credential in [in_file, Some(held)] {
        settings.trust.credential = credential;
        let handle = run(settings.clone());
        let before = tokens(&server).len();
        offer(&handle, 1, 1, "body");
        let figures = until_settled(&handle).await;
        assert_eq!(figures.dropped_posts.rejected_4xx, 1);
        assert_eq!(tokens(&server)[before..], ["Bearer wrong"]);
    }
}

#[tokio::test]
async fn a_removed_token_file_leaves_the_last_token_in_use_and_is_logged_once() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("token");
    write(&path, "kept");
    let (lines, _guard) = listen();
    let (server, _) = guarded("kept").await;
    let mut settings = quick(&server.url());
    settings.trust.credential = bearer(path.clone());
    let handle = run(settings);
    until_sent(&handle, &server, "kept").await;
    std::fs::remove_file(&path).unwrap();
    let begin = Instant::now();
    while lines.containing("stays in use").is_empty() {
        assert!(begin.elapsed() < PATIENCE, "{:?}", lines.all());
        until_sent(&handle, &server, "kept").await;
        sleep(Duration::from_millis(20)).await;
    }
    // It comes back empty: another look, and nothing new to tell.
    write(&path, "\n");
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(1500) {
        until_sent(&handle, &server, "kept").await;
        sleep(Duration::from_millis(50)).await;
    }
    let told = format!(
        "WARN endpoint central: the token file {} cannot be read: No such file or directory (os \
         error 2); the last token stays in use",
        path.display()
    );
    assert_eq!(lines.all(), [told]);
    let figures = handle.statistics(&crate::delivery_trust::moment(0));
    assert_eq!(figures.dropped_posts.total(), 0);
}
