//! A container runtime, well and unwell.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nodetally::directory::SourceKind;
use nodetally::directory::cri::{self, CriOptions};
use nodetally::directory::pod::{ContainerState, Phase};
use nodetally::identity::ContainerId;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;
use tonic::Code;

use super::runtime_service::{Container, Manner, Runtime, Sandbox, Script};
use super::{PATIENCE, clock, directory_of, last_error, uid, until, until_error};

use crate::support::skip::skip;

const STATIC: &str = "72dd719cb36a6d92769b0e001945c7b5";
const WEB: &str = "ea7d0c23-3f06-431f-bf11-d0a2eb46183d";
const SANDBOXED: &str = "e3d5296e-b697-4cba-af3c-352149101fda";
const JOB: &str = "49c3e27b-4970-4478-9345-74e43b3a8c56";

fn options(socket: &Path) -> CriOptions {
    let mut options = CriOptions::new(vec![socket.to_owned()], 7, clock);
    options.interval = Duration::from_millis(20);
    options
}

fn node() -> Script {
    let mut sandboxed = Sandbox::of('3', "shop", "exact", SANDBOXED);
    sandboxed.runtime_handler = "runsc".into();
    let mut job = Sandbox::of('4', "shop", "sums-5j9gj", JOB);
    job.state = 1;
    let mut sum = Container::of('4', "d0", "sum", 0);
    sum.state = 2;
    Script {
        sandboxes: vec![
            Sandbox::of('1', "kube-system", "edge-worker-1", STATIC),
            Sandbox::of('2', "shop", "web-6877cbddcc-hx6s4", WEB),
            sandboxed,
            job,
        ],
        containers: vec![
            Container::of('1', "a0", "fetch", 0),
            Container::of('2', "b0", "app", 0),
            Container::of('2', "b1", "proxy", 0),
            Container::of('3', "c0", "main", 0),
            sum,
        ],
        ..Script::default()
    }
}

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn id(text: &str) -> Option<ContainerId> {
    Some(ContainerId::parse(format!("{text:0>64}").as_bytes()).unwrap())
}

/// The answer of a probe of such a runtime.
async fn probe_of(script: Script) -> Result<String, String> {
    let dir = dir();
    let socket = dir.path().join("cri.sock");
    let _runtime = Runtime::start(&socket, script);
    let said = cri::probe(&options(&socket)).await;
    // The directory is another each time.
    let path = socket.display().to_string();
    let short = |text: String| text.replace(&path, "SOCKET");
    said.map(short).map_err(|error| short(error.to_string()))
}

#[tokio::test]
async fn pods_are_known_and_a_restart_brings_a_new_id_under_the_same_name() {
    let dir = dir();
    let socket = dir.path().join("cri.sock");
    let runtime = Runtime::start(&socket, node());
    let (directory, publisher) = directory_of(SourceKind::Cri);
    let running = tokio::spawn(cri::run(options(&socket), publisher));
    let catalog = until(&directory, "four pods", |catalog| catalog.pods().len() == 4).await;

    let pod = catalog.pod(uid(STATIC)).unwrap();
    assert_eq!((&*pod.namespace, &*pod.name), ("kube-system", "edge-worker-1"));
    assert_eq!((pod.phase, pod.labels.len()), (Phase::Running, 0));
    let web = catalog.pod(uid(WEB)).unwrap();
    let names: Vec<&str> = web.containers.iter().map(|one| &*one.name).collect();
    assert_eq!(names, ["app", "proxy"]);
    assert_eq!(web.container(id("b1").unwrap()).unwrap().name, "proxy".into());
    let sandboxed = catalog.pod(uid(SANDBOXED)).unwrap();
    assert_eq!(sandboxed.runtime_class.as_deref(), Some("runsc"));
    let job = catalog.pod(uid(JOB)).unwrap();
    assert_eq!((job.phase, &job.containers[0].state), (Phase::Unknown, &None));

    {
        let mut script = runtime.script.lock().unwrap();
        script.containers[1].state = 2;
        script.containers.push(Container::of('2', "b9", "app", 1));
        script.sandboxes.remove(3);
    }
    let later = until(&directory, "a restart", |catalog| {
        catalog.pod(uid(WEB)).is_some_and(|pod| pod.containers.iter().any(|c| c.id == id("b9")))
    })
    .await;
    let web = later.pod(uid(WEB)).unwrap();
    let app = web.containers.iter().find(|one| &*one.name == "app").unwrap();
    assert_eq!((app.restart_count, app.last_id), (1, id("b0")));
    assert_eq!(app.state, Some(ContainerState::Running { started_at: None }));
    assert_eq!(web.containers.len(), 2);
    assert!(later.pod(uid(JOB)).is_none());
    let unchanged = (catalog.pod(uid(STATIC)).unwrap(), later.pod(uid(STATIC)).unwrap());
    assert!(Arc::ptr_eq(unchanged.0, unchanged.1), "what has not changed is the same object");
    // One connection serves all looks: the version is asked for once.
    let versions = runtime.calls().iter().filter(|call| call.ends_with("/Version")).count();
    assert_eq!(versions, 1);
    running.abort();
}

#[tokio::test]
async fn a_runtime_that_ends_is_logged_and_found_again_and_its_pods_stay() {
    let dir = dir();
    let socket = dir.path().join("cri.sock");
    let runtime = Runtime::start(&socket, node());
    let (directory, publisher) = directory_of(SourceKind::Cri);
    let running = tokio::spawn(cri::run(options(&socket), publisher));
    until(&directory, "four pods", |catalog| catalog.pods().len() == 4).await;

    runtime.kill().await;
    // The call that was under way may have ended first; the next finds nobody behind the socket.
    let catalog = until_error(&directory, "connection refused").await;
    assert_eq!(catalog.pods().len(), 4, "what it told before stays");
    let current_at = catalog.sources[0].current_at.unwrap();

    std::fs::remove_file(&socket).unwrap();
    let mut script = node();
    script.sandboxes.pop();
    let _again = Runtime::start(&socket, script);
    let catalog = until(&directory, "its return", |catalog| catalog.pods().len() == 3).await;
    assert_eq!(last_error(&catalog.sources[0]), "");
    assert!(catalog.sources[0].current_at.unwrap() > current_at);
    running.abort();
}

#[tokio::test]
async fn a_probe_says_who_answers_and_how_much_there_is() {
    let said = probe_of(node()).await;
    assert_eq!(said.unwrap(), "containerd 1.5.13 at SOCKET: 4 pods, 5 containers");
}

#[tokio::test]
async fn the_first_socket_that_is_there_counts() {
    let dir = dir();
    let socket = dir.path().join("second.sock");
    let _runtime = Runtime::start(&socket, node());
    let mut options = options(&socket);
    options.sockets.insert(0, dir.path().join("first.sock"));
    assert!(cri::probe(&options).await.unwrap().contains("second.sock: 4 pods"));
    options.sockets.pop();
    let error = cri::probe(&options).await.unwrap_err().to_string();
    assert!(error.ends_with("first.sock: there is no such socket"), "{error}");
    options.sockets.push(dir.path().join("third.sock"));
    let error = cri::probe(&options).await.unwrap_err().to_string();
    assert!(error.starts_with("no container runtime's socket is there: "), "{error}");
}

#[tokio::test]
async fn a_runtime_of_before_v1_differs_from_one_without_cri() {
    let manner = Manner::Speaks("runtime.v1alpha2");
    assert_eq!(
        probe_of(Script { manner, ..node() }).await.unwrap_err(),
        "SOCKET: containerd 1.5.13 speaks only v1alpha2 of CRI; containerd 1.6 or a newer runtime \
         is needed"
    );
    let manner = Manner::Speaks("containerd.services.version.v1");
    let error = probe_of(Script { manner, ..node() }).await.unwrap_err();
    assert!(error.starts_with("SOCKET: answers gRPC but has no CRI; "), "{error}");
    assert!(error.contains("`disabled_plugins`"), "{error}");
}

#[tokio::test]
async fn what_a_runtime_says_itself_is_repeated_on_one_line() {
    let manner = Manner::Fails(Code::Unknown, "server is not\ninitialized yet");
    assert_eq!(
        probe_of(Script { manner, ..node() }).await.unwrap_err(),
        "containerd 1.5.13 at SOCKET: ListContainers: server is not initialized yet (Unknown)"
    );
}

#[tokio::test]
async fn an_answer_that_is_too_late_or_too_large_is_an_error_and_not_a_wait() {
    let dir = dir();
    let socket = dir.path().join("cri.sock");
    let runtime = Runtime::start(&socket, Script { manner: Manner::Hangs, ..node() });
    let mut options = options(&socket);
    options.call_timeout = Duration::from_millis(100);
    let slow = tokio::time::timeout(PATIENCE, cri::probe(&options))
        .await
        .unwrap()
        .unwrap_err()
        .to_string();
    assert!(slow.ends_with("cri.sock: Version: no answer within 100ms"), "{slow}");

    runtime.script.lock().unwrap().manner = Manner::Well;
    options.call_timeout = PATIENCE;
    options.message_bytes_max = 600;
    let large = cri::probe(&options).await.unwrap_err().to_string();
    assert!(large.ends_with("ListContainers: the answer is larger than 600 bytes"), "{large}");
}

#[tokio::test]
async fn what_is_no_grpc_server_is_called_so() {
    let dir = dir();
    let socket = dir.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 64];
            let _ = stream.read(&mut request).await;
            let _ = stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n400 Bad Request")
                .await;
        }
    });
    let error = cri::probe(&options(&socket)).await.unwrap_err().to_string();
    assert!(error.ends_with("docker.sock: what answers there is no gRPC server"), "{error}");
    serving.abort();
}

#[tokio::test]
async fn a_socket_without_the_right_to_it_or_without_anybody_is_said_plainly() {
    let dir = dir();
    let plain = dir.path().join("plain");
    std::fs::write(&plain, "").unwrap();
    let error = cri::probe(&options(&plain)).await.unwrap_err().to_string();
    assert!(error.contains("connection refused; it is no socket, or nobody listens"), "{error}");

    let socket = dir.path().join("cri.sock");
    let _runtime = Runtime::start(&socket, node());
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o000)).unwrap();
    let said = cri::probe(&options(&socket)).await;
    if nix::unistd::geteuid().is_root() {
        skip("a socket without the right to it: root may open any");
        assert!(said.is_ok());
        return;
    }
    let error = said.unwrap_err().to_string();
    assert!(error.contains("permission denied; run as root"), "{error}");
}
