//! The receiver over a PostgreSQL database: kills of both, outages, and two receivers on one store.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::command;
use super::durability::{is_there_once_after_any_kill, receive, send, stored_posts};
use super::node_body;
use crate::support::agent::{eventually, get, post};
use crate::support::postgres::{PostgresCluster, run_sql};
use crate::support::rounds::rounds;
use crate::support::skip::skip;

/// A cluster that keeps what it committed; `None`: the test is skipped.
fn cluster() -> Option<PostgresCluster> {
    let cluster = PostgresCluster::start("");
    if cluster.is_none() {
        skip("no PostgreSQL: no initdb in $PATH");
    }
    cluster
}

#[test]
fn what_was_answered_is_there_once_after_any_kill_of_the_receiver() {
    let Some(cluster) = cluster() else { return };
    is_there_once_after_any_kill(OsStr::new(&cluster.database()));
}

/// Posts of four senders, each number once, while the database crashes and comes back.
#[test]
fn what_was_answered_is_there_once_after_any_crash_of_the_database() {
    let Some(cluster) = cluster() else { return };
    let (receiver, address) = receive(cluster.database());
    let (next, is_over) = (AtomicUsize::new(1), AtomicBool::new(false));
    let answered: Mutex<BTreeSet<usize>> = Mutex::default();
    let refused = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    // As a sender does: again, under the same key, until it is accepted.
                    loop {
                        match send(address, number) {
                            Some((201, _)) => break,
                            Some((503, false)) => _ = refused.fetch_add(1, Ordering::Relaxed),
                            other => panic!("{other:?}"),
                        }
                        thread::sleep(Duration::from_millis(20));
                    }
                    answered.lock().unwrap().insert(number);
                }
            });
        }
        for round in 0..rounds(4) {
            let count = answered.lock().unwrap().len();
            eventually("some posts", || {
                (answered.lock().unwrap().len() > count + 20).then_some(())
            });
            thread::sleep(Duration::from_millis(17 * (u64::from(round) % 7)));
            cluster.end("immediate");
            cluster.begin();
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let stored = stored_posts(address);
    assert!(stored.values().all(|count| *count == 1), "{stored:?}");
    assert_eq!(stored.into_keys().collect::<BTreeSet<_>>(), answered.into_inner().unwrap());
    println!("{} answers of 503", refused.into_inner());
    receiver.signal(Signal::SIGTERM);
    let (status, log) = receiver.end();
    assert!(status.success(), "{log}");
    assert!(log.contains("the store cannot be written"), "{log}");
}

#[test]
fn a_database_that_is_away_is_503_and_all_goes_on_once_it_is_back() {
    let Some(cluster) = cluster() else { return };
    let (receiver, address) = receive(cluster.database());
    assert_eq!(send(address, 1), Some((201, false)));
    cluster.end("fast");
    for number in 2..5 {
        assert_eq!(send(address, number), Some((503, false)));
    }
    let answer = post(address, "/api/nodes/n/metrics", &node_body(1900));
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.to_lowercase().contains("\r\nretry-after: 1\r\n"), "{answer}");
    for path in ["/api/pods", "/api/nodes", "/api/pods/p1?window=60", "/pod/list/all"] {
        assert_eq!(get(address, path).0, 503, "{path}");
    }
    cluster.begin();
    assert_eq!(get(address, "/api/pods").0, 200);
    assert_eq!(send(address, 1), Some((201, true)), "what was answered is there");
    assert_eq!(send(address, 2), Some((201, false)), "nothing of what was refused is");
    assert_eq!(stored_posts(address).into_keys().collect::<Vec<_>>(), [1, 2]);
    receiver.signal(Signal::SIGTERM);
    let (status, log) = receiver.end();
    assert!(status.success(), "{log}");
    let lines = log.lines().filter(|line| line.contains("the store cannot be written"));
    assert_eq!(lines.count(), 1, "once a minute: {log}");
    assert!(log.contains("answers"), "{log}");
}

#[test]
fn a_receiver_begins_without_its_database() {
    let Some(cluster) = cluster() else { return };
    let url = cluster.database();
    cluster.end("fast");
    let (receiver, address) = receive(&url);
    assert_eq!(send(address, 1), Some((503, false)));
    assert_eq!(get(address, "/api/pods").0, 503);
    cluster.begin();
    assert_eq!(send(address, 1), Some((201, false)));
    receiver.signal(Signal::SIGTERM);
    let (status, log) = receiver.end();
    assert!(status.success(), "{log}");
    assert!(log.contains("is away"), "{log}");
}

#[test]
fn two_receivers_share_a_store() {
    let Some(cluster) = cluster() else { return };
    let url = cluster.database();
    let ((one, first), (other, second)) = (receive(&url), receive(&url));
    let receivers = [first, second];
    thread::scope(|scope| {
        for sender in 0..4 {
            scope.spawn(move || {
                for round in 0..25 {
                    let number = 1 + sender + 4 * round;
                    let at = |turn: usize| receivers[(sender + turn) % 2];
                    assert_eq!(send(at(round), number), Some((201, false)));
                    assert_eq!(send(at(round + 1), number), Some((201, true)), "{number}");
                }
            });
        }
    });
    let stored = stored_posts(first);
    assert_eq!(stored.len(), 100);
    assert!(stored.values().all(|count| *count == 1), "{stored:?}");
    assert_eq!(stored, stored_posts(second));
    // One goes, the other has everything.
    one.signal(Signal::SIGKILL);
    assert_eq!(send(second, 1), Some((201, true)));
    drop(other);
}

/// Starts a receiver that is to fail. Returns its log.
fn refused(url: &str) -> String {
    let arguments = ["--listen", "127.0.0.1:0", "--store", url];
    let output = command::receive(&arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{url}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn tls_is_verified_by_the_authorities_of_the_url() {
    let Some(cluster) = PostgresCluster::start("listen_addresses = '127.0.0.1'\n") else {
        return skip("no PostgreSQL: no initdb in $PATH");
    };
    let own = cluster.database();
    let name = own.rsplit_once('/').unwrap().1;
    let url = format!("postgres://postgres@localhost:{}/{name}", cluster.port());
    let log = refused(&format!("{url}?sslmode=require"));
    assert!(log.contains("does not support TLS"), "{log}");

    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    cluster.put("server.crt", &certificate.pem());
    cluster.put("server.key", &key.serialize_pem());
    cluster.configure("ssl = on\n");
    cluster.end("fast");
    cluster.begin();
    let ca = cluster.path().join("ca.pem");
    std::fs::write(&ca, certificate.pem()).unwrap();
    let log = refused(&format!("{url}?sslmode=verify-full"));
    assert!(log.contains("certificate"), "{log}");
    let by_address = url.replace("localhost", "127.0.0.1");
    let log = refused(&format!("{by_address}?sslmode=verify-full&sslrootcert={}", ca.display()));
    assert!(log.contains("certificate"), "{log}");
    let verified = format!("sslmode=verify-full&sslrootcert={}", ca.display());
    for parameters in [verified.as_str(), "sslmode=require", "sslmode=prefer", "sslmode=disable"] {
        let (receiver, address) = receive(format!("{url}?{parameters}"));
        assert!(matches!(send(address, 1), Some((201, _))), "{parameters}");
        let sql = "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                   WHERE application_name = 'nodetally receive'";
        let is_encrypted = if parameters == "sslmode=disable" { "f" } else { "t" };
        assert_eq!(run_sql(&own, sql), [is_encrypted], "{parameters}");
        drop(receiver);
    }
}

#[test]
fn a_url_that_cannot_be_used_is_one_clear_error() {
    let errors = [
        ("postgres://u:sesame@h/d", "password_file=FILE"),
        ("postgres://u@h", "no database"),
        ("postgres://u@h/d?sslmode=maybe", "sslmode must be"),
        ("postgres://u@127.0.0.1/d?password_file=/no/file", "password_file /no/file"),
    ];
    for (url, part) in errors {
        let text = refused(url);
        assert!(text.contains(part), "{url}: {text}");
        assert!(!text.contains("sesame"), "{text}");
    }
}
