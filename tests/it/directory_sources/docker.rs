//! Docker's and Podman's socket.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nodetally::directory::SourceKind;
use nodetally::directory::docker::{self, Engine, EngineOptions};
use nodetally::directory::pod::value_of;
use nodetally::identity::ContainerId;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use super::{PATIENCE, clock, directory_of, until, until_error};

/// Header and body, with plain line ends.
const PODMAN: &str = include_str!("../../../fixtures/podman/containers-json.txt");

/// An engine that answers each connection with one text and keeps the requests' heads.
struct Socket {
    _dir: TempDir,
    path: PathBuf,
    answer: Arc<Mutex<Option<String>>>,
    seen: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl Socket {
    fn start(answer: Option<String>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let answer = Arc::new(Mutex::new(answer));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let serving = tokio::spawn(serve(listener, Arc::clone(&answer), Arc::clone(&seen)));
        Self { _dir: dir, path, answer, seen, serving }
    }

    async fn refused(&self) -> String {
        let said = tokio::time::timeout(PATIENCE, docker::probe(&options(&self.path))).await;
        let error = said.unwrap().unwrap_err().to_string();
        let prefix = format!("{}: ", self.path.display());
        error.strip_prefix(&prefix).unwrap_or_else(|| panic!("{error}")).to_owned()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    listener: UnixListener,
    answer: Arc<Mutex<Option<String>>>,
    seen: Arc<Mutex<Vec<String>>>,
) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => break,
            }
        }
        seen.lock().unwrap().push(String::from_utf8(head).unwrap());
        let answer = answer.lock().unwrap().clone();
        match answer {
            Some(answer) => {
                let _ = stream.write_all(answer.as_bytes()).await;
            }
            // Held open without a word until the client has had enough.
            None => {
                let _ = stream.read(&mut [0]).await;
            }
        }
    }
}

fn answer(body: &str) -> Option<String> {
    let length = body.len();
    Some(format!(
        "HTTP/1.1 200 OK\r\nApi-Version: 1.47\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    ))
}

fn options(socket: &Path) -> EngineOptions {
    let mut options = EngineOptions::new(Engine::Docker, socket.to_owned(), 7, clock);
    options.interval = Duration::from_millis(20);
    options
}

fn id(digit: char) -> String {
    digit.to_string().repeat(64)
}

/// A list as the engines write it, with much that is not used.
fn list() -> serde_json::Value {
    json!([
        {
            "Id": id('a'), "Names": ["/shop-web-1"], "Image": "nginx:1.27",
            "ImageID": "sha256:00", "Command": "/docker-entrypoint.sh", "Created": 1_795_195_620,
            "Ports": [{"PrivatePort": 80, "Type": "tcp"}], "State": "running",
            "Labels": {
                "com.docker.compose.project": "shop", "com.docker.compose.service": "web",
                "long": "x".repeat(5000)
            },
            "NetworkSettings": {"Networks": {"shop_default": {"IPAMConfig": null}}}, "Mounts": []
        },
        {"Id": id('b'), "Names": ["/shop-web-1/db", "/db"], "Labels": null},
        {
            "Id": id('c'), "Names": ["/k8s_app_web_shop_uid_0"],
            "Labels": {"io.kubernetes.pod.uid": "ea7d0c23-3f06-431f-bf11-d0a2eb46183d"}
        },
        {"Id": "not an id", "Names": ["/odd"], "Labels": {}}
    ])
}

fn container(digit: char) -> ContainerId {
    ContainerId::parse(id(digit).as_bytes()).unwrap()
}

#[tokio::test]
async fn containers_have_their_names_and_compose_labels_and_pods_are_left_out() {
    let socket = Socket::start(answer(&list().to_string()));
    let (directory, publisher) = directory_of(SourceKind::Docker);
    let running = tokio::spawn(docker::run(options(&socket.path), publisher));
    let catalog = until(&directory, "names", |catalog| catalog.sources[0].known > 0).await;
    assert_eq!(catalog.sources[0].known, 2);
    let web = catalog.container(container('a')).unwrap();
    assert_eq!((&*web.namespace, &*web.name), ("docker", "shop-web-1"));
    let labels: Vec<(&str, &str)> = web.labels.iter().map(|(k, v)| (&**k, &**v)).collect();
    assert_eq!(
        labels,
        [("com.docker.compose.project", "shop"), ("com.docker.compose.service", "web")]
    );
    assert_eq!(&*catalog.container(container('b')).unwrap().name, "db");
    assert!(catalog.container(container('c')).is_none());
    let head = socket.seen.lock().unwrap()[0].clone();
    assert!(head.starts_with("GET /containers/json HTTP/1.1\r\nhost: localhost\r\n"), "{head}");

    *socket.answer.lock().unwrap() = Some("HTTP/1.1 500 Internal Server Error\r\n\r\n".into());
    let catalog = until_error(&directory, "answers 500 Internal Server Error").await;
    assert!(catalog.container(container('a')).is_some(), "what it told before stays");
    *socket.answer.lock().unwrap() = answer("[]");
    until(&directory, "an empty list", |catalog| catalog.sources[0].known == 0).await;
    running.abort();
}

#[tokio::test]
async fn containers_of_podman_have_a_namespace_of_their_own() {
    let (head, body) = PODMAN.split_once("\n\n").unwrap();
    let head = head.replace('\n', "\r\n");
    let socket = Socket::start(Some(format!("{head}\r\n\r\n{body}")));
    let (directory, publisher) = directory_of(SourceKind::Podman);
    let mut options = options(&socket.path);
    options.engine = Engine::Podman;
    let running = tokio::spawn(docker::run(options, publisher));
    let catalog = until(&directory, "names", |catalog| catalog.sources[0].known == 2).await;
    let named = |id: &str| {
        let id = ContainerId::parse(id.as_bytes()).unwrap();
        catalog.container(id).cloned().unwrap()
    };
    let db = named("940930c103efddb88aa341ad60518da1c6ac49395e161fa9b3a606e1e67768a6");
    assert_eq!((&*db.namespace, &*db.name), ("podman", "db"));
    assert_eq!(value_of(&db.labels, "com.docker.compose.service"), Some("db"));
    let cache = named("c79d2e405297d861a482d3fb329431cf19f50bba055e9edf371693adc1e77321");
    assert_eq!((&*cache.name, cache.labels.len()), ("cache", 0));
    running.abort();
}

#[tokio::test]
async fn a_probe_counts_and_each_way_to_fail_is_one_line() {
    let socket = Socket::start(answer(&list().to_string()));
    let said = docker::probe(&options(&socket.path)).await.unwrap();
    assert_eq!(said, format!("{}: 2 containers run", socket.path.display()));

    let cases = [
        (
            answer("{\"message\": \"hunter2\"}"),
            "the answer is no list of containers: it is not what the API has there (line 1",
        ),
        (
            answer("[{\"Id\": 1}]"),
            "the answer is no list of containers: it is not what the API has there (line 1, column 9)",
        ),
        (Some("SSH-2.0-OpenSSH_9.2\r\n".into()), "no HTTP server answers: "),
        (Some("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n[".into()), "the answer broke off: "),
        (
            Some("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into()),
            "answers 404 Not Found to GET /containers/json",
        ),
    ];
    for (text, part) in cases {
        *socket.answer.lock().unwrap() = text;
        let error = socket.refused().await;
        assert!(error.starts_with(part), "{error}");
        assert!(!error.contains('\n') && !error.contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_is_late_or_large_is_not_waited_for() {
    let socket = Socket::start(None);
    let mut options = options(&socket.path);
    options.request_timeout = Duration::from_millis(100);
    let error = tokio::time::timeout(PATIENCE, docker::probe(&options))
        .await
        .unwrap()
        .unwrap_err()
        .to_string();
    assert!(error.ends_with("docker.sock: no answer within 100ms"), "{error}");

    *socket.answer.lock().unwrap() = answer(&list().to_string());
    options.request_timeout = PATIENCE;
    options.answer_bytes_max = 1000;
    let error = docker::probe(&options).await.unwrap_err().to_string();
    assert!(error.ends_with("docker.sock: the answer is larger than 1000 bytes"), "{error}");

    let dir = tempfile::tempdir().unwrap();
    options.socket = dir.path().join("none.sock");
    let error = docker::probe(&options).await.unwrap_err().to_string();
    assert!(error.ends_with("none.sock: there is no such socket"), "{error}");
}
