//! `nodetally receive info`, `backup` and `compact`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;

use super::durability::{receive, send};
use super::pod_batch::{envelope, pod};
use crate::support::agent::{get, post};

/// The exit status, and what was printed: errors on standard error, all else on standard output.
fn on(store: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nodetally"));
    command.env_clear().arg("receive").args(arguments).args(["--config", "none", "--store"]);
    let output = command.arg(store).output().unwrap();
    let (out, err) = (output.stdout, output.stderr);
    let text = if output.status.success() { out } else { err };
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

fn info(store: &Path) -> Value {
    let (status, text) = on(store, &["info", "--format", "json"]);
    assert_eq!(status, 0, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// A copy that is made under load has everything that was answered before, and can be served.
#[test]
fn a_backup_of_a_store_in_use_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (store, copy) = (dir.path().join("receiver.db"), dir.path().join("copy.db"));
    let (receiver, address) = receive(&store);
    for number in 1..=40 {
        assert_eq!(send(address, number), Some((201, false)));
    }
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 41.. {
                if is_over.load(Ordering::Relaxed) || send(address, number).is_none() {
                    break;
                }
            }
        });
        let (status, text) = on(&store, &["backup", copy.to_str().unwrap()]);
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(status, 0, "{text}");
    });
    assert!(info(&store)["idempotency_keys"].as_u64().unwrap() >= 40);
    drop(receiver);
    assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!dir.path().join("copy.db.partial").exists());

    let (_receiver, address) = receive(&copy);
    for number in 1..=40 {
        assert_eq!(send(address, number), Some((201, true)), "{number} is not in the copy");
    }
}

#[test]
fn compact_gives_back_the_room_of_replaced_documents() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("receiver.db");
    let (receiver, address) = receive(&store);
    let batch = |note: &str| {
        let pods = (0..40).map(|number| {
            let mut pod = pod("shop", &format!("web-{number}"), 0.5);
            pod["metadata"]["annotations"]["note"] = note.into();
            pod
        });
        let answer = post(address, "/api/v1/metrics/pods", &envelope(&pods.collect::<Vec<_>>()));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    };
    batch(&"x".repeat(60_000));
    batch("");
    let (status, text) = on(&store, &["compact"]);
    assert_eq!(status, 2);
    assert_eq!(
        text,
        format!("nodetally: the store {} is in use: stop the receiver first\n", store.display())
    );
    drop(receiver);

    let before = info(&store);
    assert!(before["free_bytes"].as_u64().unwrap() > 2 << 20, "{before}");
    let (status, text) = on(&store, &["compact"]);
    assert_eq!(status, 0, "{text}");
    let after = info(&store);
    assert_eq!(after["free_bytes"], 0);
    assert!(after["file_bytes"].as_u64().unwrap() < 1 << 20, "{after}");
    assert_eq!((&after["pods"], &after["documents"]), (&40.into(), &40.into()));
    let (_receiver, address) = receive(&store);
    let (_, pods) = get(address, "/api/pods?namespace=shop");
    assert_eq!(pods.as_array().unwrap().len(), 40);
}

#[test]
fn a_file_that_cannot_be_used_is_named_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing.db");
    let foreign = dir.path().join("notes.txt");
    std::fs::write(&foreign, "no database, but longer than the header of one: ".repeat(9)).unwrap();
    let store = dir.path().join("receiver.db");
    drop(receive(&store));
    let named = |path: &Path| path.display().to_string();
    let copy = named(&dir.path().join("copy.db"));
    let nowhere = named(&dir.path().join("nowhere/copy.db"));
    for (place, arguments, expected) in [
        (&missing, &["info"][..], format!("there is no store at {}", named(&missing))),
        (&missing, &["backup", &copy], format!("there is no store at {}", named(&missing))),
        (&missing, &["compact"], format!("there is no store at {}", named(&missing))),
        (&foreign, &["info"], format!("the store {}: file is not a database", named(&foreign))),
        (&foreign, &["backup", &copy], "file is not a database".to_owned()),
        (&foreign, &["compact"], "file is not a database".to_owned()),
        (&store, &["backup", &named(&foreign)], format!("{} exists already", named(&foreign))),
        (&store, &["backup", &nowhere], format!("{nowhere}: No such file or directory")),
        (&Path::new("none").to_owned(), &["info"], "receiver.store is none".to_owned()),
        (&Path::new("postgres://db/x").to_owned(), &["info"], "use its own tools".to_owned()),
    ] {
        let before = std::fs::read(place).ok();
        let (status, text) = on(place, arguments);
        assert_eq!(status, 2, "{arguments:?}: {text}");
        assert!(text.contains(&expected) && text.lines().count() == 1, "{arguments:?}: {text}");
        assert_eq!(std::fs::read(place).ok(), before);
    }
    assert!(!dir.path().join("copy.db").exists() && !missing.exists());
}
