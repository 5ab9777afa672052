//! Two sources at once: the first in the order is believed, the second fills what it does not know.

use std::time::Duration;

use nodetally::directory::docker::{self, Engine};
use nodetally::directory::objects::{ObjectLimits, pods_of_list};
use nodetally::directory::pod::Pod;
use nodetally::directory::{Directory, SourceKind, cri, static_file};

use super::runtime_service::{Container, Runtime, Sandbox, Script};
use super::{clock, last_error, uid, until};

const BOTH: &str = "ea7d0c23-3f06-431f-bf11-d0a2eb46183d";
const ONLY_SECOND: &str = "72dd719cb36a6d92769b0e001945c7b5";

#[tokio::test]
async fn the_first_that_knows_a_pod_is_believed_and_the_second_fills_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let sockets = ["first.sock", "second.sock"].map(|name| dir.path().join(name));
    let first = Runtime::start(
        &sockets[0],
        Script {
            sandboxes: vec![Sandbox::of('1', "shop", "as-the-first-has-it", BOTH)],
            ..Script::default()
        },
    );
    let _second = Runtime::start(
        &sockets[1],
        Script {
            sandboxes: vec![
                Sandbox::of('2', "shop", "as-the-second-has-it", BOTH),
                Sandbox::of('3', "kube-system", "edge-worker-1", ONLY_SECOND),
            ],
            containers: vec![Container::of('3', "a0", "fetch", 0)],
            ..Script::default()
        },
    );
    let (directory, publishers) = Directory::new(&[SourceKind::Cri, SourceKind::Cri]);
    let running: Vec<_> = sockets
        .iter()
        .zip(publishers)
        .map(|(socket, publisher)| {
            let mut options = cri::CriOptions::new(vec![socket.clone()], 7, clock);
            options.interval = Duration::from_millis(20);
            tokio::spawn(cri::run(options, publisher))
        })
        .collect();
    let name = |catalog: &nodetally::directory::Catalog, of| {
        catalog.pod(uid(of)).map(|pod| pod.name.to_string())
    };
    let catalog = until(&directory, "both sources", |catalog| {
        catalog.sources.iter().all(|source| source.current_at.is_some())
    })
    .await;
    assert_eq!(name(&catalog, BOTH).as_deref(), Some("as-the-first-has-it"));
    assert_eq!(name(&catalog, ONLY_SECOND).as_deref(), Some("edge-worker-1"));
    assert_eq!(catalog.pods().len(), 2);

    // What the first knew and has dropped, the second's older knowledge does not bring back; what
    // the first never knew stays.
    first.script.lock().unwrap().sandboxes.clear();
    let catalog =
        until(&directory, "the first's word", |catalog| name(catalog, BOTH).is_none()).await;
    assert_eq!(name(&catalog, ONLY_SECOND).as_deref(), Some("edge-worker-1"));
    for task in running {
        task.abort();
    }
}

/// A recorded pod under another uid and name.
fn pod(of: &str, name: &str) -> Pod {
    let list = include_bytes!("../../../fixtures/kubernetes/kubelet/pods.json");
    let page = pods_of_list(list, &ObjectLimits { annotation_bytes_max: 0 }).unwrap();
    let recorded = page.pods.into_iter().next().unwrap();
    Pod { uid: uid(of), api_uid: of.into(), name: name.into(), ..recorded }
}

#[test]
fn a_pod_that_the_first_source_dropped_stays_away_until_that_source_has_it_again() {
    let (directory, publishers) = Directory::new(&[SourceKind::Kubernetes, SourceKind::Cri]);
    let [first, second] = publishers.try_into().unwrap();
    let name = |of| directory.catalog().pod(uid(of)).map(|pod| pod.name.to_string());
    let known = || (name(BOTH), name(ONLY_SECOND));
    let having = |both: Option<&str>| (both.map(str::to_owned), Some("static".to_owned()));
    let seconds = || [pod(BOTH, "older"), pod(ONLY_SECOND, "static")];
    second.replace_pods(seconds(), clock());
    assert_eq!(known(), having(Some("older")));

    first.put_pod(pod(BOTH, "newer"), clock());
    // Another object of the same uid was deleted, not this one.
    first.remove_pod(uid(BOTH), "another", clock());
    assert_eq!(known(), having(Some("newer")));
    first.remove_pod(uid(BOTH), BOTH, clock());
    assert_eq!(known(), having(None), "deleted");
    // The second looks again and sees what has not been cleaned up yet.
    second.replace_pods(seconds(), clock());
    assert_eq!(known(), having(None), "deleted, and seen by the second once more");

    first.put_pod(pod(BOTH, "again"), clock());
    assert_eq!(known(), having(Some("again")));
    first.replace_pods([], clock());
    assert_eq!(known(), having(None), "absent from a new list");
    first.replace_pods([pod(BOTH, "listed")], clock());
    assert_eq!(known(), having(Some("listed")));

    // What the second drops says nothing of what the first knows.
    second.replace_pods([], clock());
    assert_eq!(known(), (Some("listed".to_owned()), None));
}

#[tokio::test]
async fn a_source_that_fails_takes_nothing_from_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let names = dir.path().join("names.toml");
    std::fs::write(&names, "[[cgroup]]\npattern = \"/a\"\nnamespace = \"n\"\nname = \"a\"\n")
        .unwrap();
    let (directory, mut publishers) = Directory::new(&[SourceKind::Docker, SourceKind::File]);
    let (file, engine) = (publishers.pop().unwrap(), publishers.pop().unwrap());
    let socket = dir.path().join("docker.sock");
    let options = docker::EngineOptions::new(Engine::Docker, socket, 7, clock);
    let engine = tokio::spawn(docker::run(options, engine));
    let file =
        tokio::spawn(static_file::run(static_file::StaticFileOptions::new(names, 7, clock), file));
    let catalog = until(&directory, "both sources", |catalog| {
        catalog.sources[0].last_error.is_some() && catalog.sources[1].current_at.is_some()
    })
    .await;
    assert!(last_error(&catalog.sources[0]).ends_with("docker.sock: there is no such socket"));
    assert_eq!((catalog.sources[0].current_at, last_error(&catalog.sources[1])), (None, ""));
    assert_eq!(&*catalog.cgroup(b"/a").unwrap().name, "a");
    engine.abort();
    file.abort();
}
