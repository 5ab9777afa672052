//! Checks over sockets: endpoints, sources of names, a running agent.

use std::net::{SocketAddr, TcpListener};

use tokio::runtime::Runtime;

use super::findings::{Findings, Group, State};
use crate::cli::agent_client::{StatusAddress, ask};
use crate::config::{Destination, EndpointSettings, Settings};
use crate::delivery::{self, BaseUrl};
use crate::endpoint::endpoint::EndpointSpec;
use crate::endpoint::sinks::SinkSpec;
use crate::payload::status::StatusReport;
use crate::runtime::startup::NO_ADDRESSES;
use crate::runtime::{receiver_access, sources, status};

/// The text where files are credentials that systemd gives to the service alone.
const ELSEWHERE: &str = "not checked: its files are credentials of the service";
const CREDENTIALS_HELP: &str = "CREDENTIALS_DIRECTORY=/etc/credstore, as root";

pub(super) fn check(settings: &Settings, findings: &mut Findings) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else {
        findings.add(State::Failed, "endpoints", "cannot be checked: no asynchronous runtime");
        return;
    };
    findings.group = Group::Names;
    check_directory(settings, &runtime, findings);
    findings.group = Group::Agent;
    let status = settings.status.listen;
    let agent_runs = status.is_some_and(|address| check_status(address, &runtime, findings));
    check_metrics(settings, agent_runs, findings);
    if settings.uses_embedded_receiver() {
        let address = settings.receiver.listen;
        let source = format!("receiver on {address}");
        check_address(address, &source, "--listen ADDRESS", agent_runs, findings);
        if settings.receiver.has_credentials_elsewhere() {
            findings.add(State::Noted, "receiver", ELSEWHERE).help = CREDENTIALS_HELP.into();
        } else if let Some(fault) = receiver_access::fault(settings) {
            findings.add(State::Failed, "receiver", fault).vital = true;
        }
    } else {
        findings.group = Group::Endpoints;
        check_endpoints(settings, &runtime, findings);
    }
}

fn check_directory(settings: &Settings, runtime: &Runtime, findings: &mut Findings) {
    if settings.directory.sources.is_empty() {
        let text = "no source is set: pods are named by uid, containers by id";
        findings.add(State::Noted, "directory", text).help = "directory.sources".into();
        return;
    }
    for (asked, answer) in runtime.block_on(sources::probe(settings)) {
        let source = format!("directory {asked}");
        match answer {
            Ok(text) => findings.add(State::Present, &source, text),
            Err(error) => findings.add(State::Failed, &source, error),
        };
    }
}

/// Checks the address at which metrics are to be served, and the files for it.
fn check_metrics(settings: &Settings, agent_runs: bool, findings: &mut Findings) {
    if let Some(address) = settings.metrics.listen {
        let source = format!("metrics on {address}");
        check_address(address, &source, "metrics.listen", agent_runs, findings);
    }
    if settings.metrics.has_credentials_elsewhere() {
        findings.add(State::Noted, "metrics", ELSEWHERE).help = CREDENTIALS_HELP.into();
        return;
    }
    if let Some(fault) = status::access_fault(settings) {
        findings.add(State::Failed, "metrics", fault).vital = true;
    }
}

/// Asks a running agent for the age of its samples and names; without one, checks the address.
/// Returns true if an agent answers.
fn check_status(address: SocketAddr, runtime: &Runtime, findings: &mut Findings) -> bool {
    let source = format!("status on {address}");
    let answer = BaseUrl::parse(&format!("http://{address}/"))
        .ok()
        .and_then(|url| runtime.block_on(ask(&StatusAddress::Url(url))).ok());
    match answer {
        Some((status, _)) => {
            let is_failing = status.directory.iter().any(|source| source.failing_ms.is_some());
            let state = if is_failing { State::Noted } else { State::Present };
            findings.add(state, &source, described(&status));
            true
        }
        None => {
            check_address(address, &source, "status.listen", false, findings);
            false
        }
    }
}

/// `an agent runs here: last sample 3 s ago; kubernetes 12 s old, 9 known`
fn described(status: &StatusReport) -> String {
    let mut text = match &status.sampling.last {
        Some(last) => format!("an agent runs here: last sample {} s ago", last.age_ms / 1000),
        None => "an agent runs here: no sample yet".to_owned(),
    };
    for source in &status.directory {
        let age = match source.age_ms {
            Some(age_ms) => format!("{} s old", age_ms / 1000),
            None => "has not answered yet".to_owned(),
        };
        let failing = if source.failing_ms.is_some() { ", does not answer at present" } else { "" };
        let name = source.source.escape_debug();
        text.push_str(&format!("; {name} {age}, {} known{failing}", source.known));
    }
    text
}

fn check_address(
    address: SocketAddr,
    source: &str,
    help: &'static str,
    agent_runs: bool,
    findings: &mut Findings,
) {
    match TcpListener::bind(address) {
        Ok(_) => {
            findings.add(State::Present, source, "the address is free");
        }
        // There is nothing to change: this is the agent that was asked.
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && agent_runs => {
            findings.add(
                State::Present,
                source,
                "the address is in use by the agent that runs here",
            );
        }
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let text = "the address is in use, and no agent answers at status.listen: `run` ends at \
                        once, unless an agent without that runs already";
            findings.add(State::Failed, source, text).help = help.into();
        }
        Err(error) => {
            findings.add(State::Failed, source, error).help = help.into();
        }
    }
}

fn check_endpoints(settings: &Settings, runtime: &Runtime, findings: &mut Findings) {
    for endpoint in &settings.endpoints {
        let source = format!("endpoint {} {}", endpoint.name, endpoint.url);
        // Resolved as in `run`, so that an invalid selector is reported.
        let Destination::Http(url) = &endpoint.url else {
            check_sink(endpoint, settings, &source, findings);
            continue;
        };
        if endpoint.has_credentials_elsewhere() {
            findings.add(State::Noted, &source, ELSEWHERE).help = CREDENTIALS_HELP.into();
            continue;
        }
        let wanted = match EndpointSpec::of(endpoint, url, settings) {
            Ok(wanted) => wanted,
            Err(error) => {
                findings.add(State::Failed, &source, error).vital = true;
                continue;
            }
        };
        if endpoint.dialect.profile().needs_addresses && !settings.directory.knows_addresses() {
            findings.add(State::Absent, &source, NO_ADDRESSES).help = "directory.sources".into();
        }
        let answer = runtime.block_on(delivery::probe(&wanted.delivery));
        match answer {
            Ok(status) => {
                let url = &wanted.delivery.url;
                let by = match wanted.delivery.trust.proxy_for(url) {
                    Some(proxy) => format!(" through the proxy {proxy}"),
                    None => String::new(),
                };
                let text = format!("answers{by} with status {status}");
                match refusal(status) {
                    None => findings.add(State::Present, &source, text),
                    Some((what, help)) => {
                        let refused =
                            findings.add(State::Failed, &source, format!("{text}: {what}"));
                        refused.help = help.into();
                        refused
                    }
                };
            }
            Err(reason) => {
                let text = format!("does not answer: {reason}; samples are kept and sent later");
                findings.add(State::Failed, &source, text);
            }
        }
    }
}

/// The fault that a status shows, and the setting that would help; `None`: it shows none, since a server may
/// answer 404, 405 or 501 to a GET and take posts.
fn refusal(status: u16) -> Option<(&'static str, &'static str)> {
    match status {
        300..=399 => Some(("redirects are not followed, and posts are dropped", "endpoint.url")),
        401 | 403 => Some(("it refuses the token, or wants one", "endpoint.bearer_token_file")),
        429 | 500 | 502..=599 => Some(("samples are kept and sent later", "")),
        _ => None,
    }
}

/// Checks that the lines of an endpoint can be written.
fn check_sink(
    endpoint: &EndpointSettings,
    settings: &Settings,
    source: &str,
    findings: &mut Findings,
) {
    match SinkSpec::of(endpoint, settings) {
        Err(error) => findings.add(State::Failed, source, error).vital = true,
        Ok(None) => {}
        Ok(Some(spec)) => match spec.sink.target.check() {
            Ok(()) => {
                findings.add(State::Present, source, "can be written to");
            }
            Err(reason) => {
                let text = format!("{reason}; its lines are dropped and counted");
                findings.add(State::Failed, source, text).help = "endpoint.url".into();
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_the_running_agent_is_no_advice() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let found = |agent_runs| {
            let mut findings = Findings::default();
            check_address(address, "receiver", "--listen ADDRESS", agent_runs, &mut findings);
            format!("{:?}", findings.all)
        };
        assert!(found(false).contains("Failed") && found(false).contains("--listen"));
        assert!(!found(true).contains("--listen"), "{}", found(true));
        assert!(found(true).contains("in use by the agent that runs here"));
    }

    #[test]
    fn a_status_that_refuses_posts_is_told_from_one_that_refuses_a_get() {
        for status in [301, 302, 307, 308, 401, 403, 429, 500, 502, 503, 504] {
            assert!(refusal(status).is_some(), "{status}");
        }
        for status in [200, 201, 204, 400, 404, 405, 406, 415, 501] {
            assert_eq!(refusal(status), None, "{status}");
        }
    }

    #[test]
    fn a_running_agent_reports_the_age_of_its_directory() {
        let status = |json: &str| StatusReport::from_json(json.as_bytes()).unwrap();
        let running = status(
            r#"{"schema_version":1,"sampling":{"samples":7,"last":{"age_ms":3400}},"directory":[
                {"source":"kubernetes","known":9,"age_ms":312000,"failing_ms":5000},
                {"source":"cri","known":0}]}"#,
        );
        assert_eq!(
            described(&running),
            "an agent runs here: last sample 3 s ago; kubernetes 312 s old, 9 known, does not \
             answer at present; cri has not answered yet, 0 known"
        );
        let fresh = status(r#"{"schema_version":1}"#);
        assert_eq!(described(&fresh), "an agent runs here: no sample yet");
    }
}
