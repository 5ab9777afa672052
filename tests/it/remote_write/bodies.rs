//! Bodies of the real agent, read by the decoder of these tests.

use std::collections::BTreeMap;
use std::fs;

use nix::sys::signal::Signal;

use super::server::Server;
use super::stores::{CPU, POD, SHORT_POD, agent, agent_with_state, burn, dir_of, make_pod};
use super::wire::Sample;
use crate::support::agent::{Host, eventually};

/// All points of a pod's CPU time, in the order in which they came.
fn points(server: &Server, uid: &str) -> Vec<Sample> {
    let received = server.received();
    let all = received.iter().flat_map(|request| request.series());
    let of_pod = all.filter(|series| series.name() == CPU && series.label("uid") == Some(uid));
    of_pod.flat_map(|series| series.samples.iter().copied()).collect()
}

#[test]
fn bodies_of_both_protocols_say_what_the_documents_ask_for() {
    for is_2_0 in [true, false] {
        let server = Server::start(move |_, request| match (request.is_2_0(), is_2_0) {
            (true, true) => {
                let series = request.series();
                let count: usize = series.iter().map(|series| series.samples.len()).sum();
                let head =
                    format!("204 No Content\r\nx-prometheus-remote-write-samples-written: {count}");
                (head, "")
            }
            (false, false) => ("200 OK".to_owned(), ""),
            _ => ("415 Unsupported Media Type".to_owned(), ""),
        });
        let (host, dir) = (Host::copy("6.8-crio-systemd"), tempfile::tempdir().unwrap());
        let agent = agent(&host, dir.path(), server.address);
        eventually("two samples", || (points(&server, POD).len() > 2).then_some(()));
        burn(&host, POD, 700);
        make_pod(&host, SHORT_POD);
        burn(&host, SHORT_POD, 300);
        eventually("the short pod", || (!points(&server, SHORT_POD).is_empty()).then_some(()));
        fs::remove_dir_all(host.path(&dir_of(SHORT_POD))).unwrap();
        eventually("the end of a series", || {
            points(&server, SHORT_POD).last().is_some_and(Sample::is_stale).then_some(())
        });
        agent.signal(Signal::SIGTERM);
        assert!(agent.end().0.success());

        let mut last: BTreeMap<Vec<(String, String)>, i64> = BTreeMap::new();
        for request in server.received().iter().filter(|request| request.is_2_0() == is_2_0) {
            for series in request.series() {
                let names: Vec<&String> = series.labels.iter().map(|(name, _)| name).collect();
                assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
                assert!(series.labels.iter().all(|(_, value)| !value.is_empty()));
                let fixed = ["cluster", "instance", "job", "node"].map(|name| series.label(name));
                assert_eq!(fixed, [Some("prod"), Some("n1"), Some("nodetally"), Some("n1")]);
                let is_total = series.name().ends_with("_total");
                assert_eq!(series.kind, if is_2_0 { 2 - u64::from(is_total) } else { 0 });
                assert_eq!(series.help.is_empty(), !is_2_0, "{}", series.name());
                let has_unit = is_2_0 && series.name() == CPU;
                assert!(!has_unit || series.unit == "seconds");
                for sample in &series.samples {
                    assert_eq!(sample.start_millis > 0, is_total && is_2_0);
                    let before = last.insert(series.labels.clone(), sample.millis);
                    assert!(before.is_none_or(|before| before < sample.millis), "{series:?}");
                }
            }
        }
        let values = |uid| {
            let all = points(&server, uid).into_iter().filter(|point| !point.is_stale());
            all.map(|point| point.value()).collect::<Vec<f64>>()
        };
        assert!((values(POD).last().unwrap() - 0.7).abs() < 1e-9, "{:?}", values(POD));
        let short = values(SHORT_POD);
        assert_eq!(short[0], 0.0, "{short:?}");
        assert!((short[short.len() - 1] - 0.3).abs() < 1e-9, "{short:?}");
    }
}

/// Each series of the server: its points in the order in which they came.
pub(super) fn all_series(server: &Server) -> BTreeMap<Vec<(String, String)>, Vec<Sample>> {
    let mut all: BTreeMap<_, Vec<Sample>> = BTreeMap::new();
    for request in server.received() {
        for series in request.series() {
            all.entry(series.labels.clone()).or_default().extend(series.samples.iter().copied());
        }
    }
    all
}

#[test]
fn an_agent_that_stops_ends_its_series_and_the_next_goes_on_behind_that() {
    let server = Server::start(|_, request| {
        let series = request.series();
        let count: usize = series.iter().map(|series| series.samples.len()).sum();
        (format!("204 No Content\r\nx-prometheus-remote-write-samples-written: {count}"), "")
    });
    let (host, dir) = (Host::copy("6.8-crio-systemd"), tempfile::tempdir().unwrap());
    let state = dir.path().join("state");
    for run in 1..=2 {
        let before = points(&server, POD).len();
        let agent = agent_with_state(&host, dir.path(), server.address, &state);
        eventually("two samples", || (points(&server, POD).len() > before + 2).then_some(()));
        burn(&host, POD, 700);
        eventually("the CPU time", || {
            points(&server, POD).last().is_some_and(|point| point.value() > 0.6).then_some(())
        });
        agent.signal(Signal::SIGTERM);
        let (status, log) = agent.end();
        assert!(status.success(), "{log}");
        let all = all_series(&server);
        assert!(all.len() > 50, "{}", all.len());
        for (labels, points) in &all {
            assert!(points.last().unwrap().is_stale(), "{labels:?}: {points:?}");
            assert!(points.is_sorted_by(|a, b| a.millis < b.millis), "{labels:?}: {points:?}");
        }
        let ends = |points: &Vec<Sample>| points.iter().filter(|point| point.is_stale()).count();
        let of_pod = all.iter().find(|(labels, _)| labels.iter().any(|(_, v)| v == CPU)).unwrap();
        assert_eq!(ends(of_pod.1), run, "{of_pod:?}");
    }
}
