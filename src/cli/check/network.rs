//! Checks of everything that answers over a socket: endpoints, sources of names, a running agent.

use std::net::{SocketAddr, TcpListener};

use tokio::runtime::Runtime;

use super::findings::{Findings, State};
use crate::cli::agent_client::{StatusAddress, ask};
use crate::config::Settings;
use crate::delivery::{self, BaseUrl};
use crate::endpoint::endpoint::EndpointSpec;
use crate::payload::status::StatusReport;
use crate::runtime::sources;
use crate::runtime::startup::NO_ADDRESSES;

pub(super) fn check(settings: &Settings, findings: &mut Findings) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else {
        findings.add(State::Failed, "endpoints", "no runtime to ask them with");
        return;
    };
    look_at_directory(settings, &runtime, findings);
    if let Some(address) = settings.status.listen {
        look_at_status(address, &runtime, findings);
    }
    if settings.uses_embedded_receiver() {
        look_at_receiver(settings.receiver.listen, findings);
    } else {
        look_at_endpoints(settings, &runtime, findings);
    }
}

fn look_at_directory(settings: &Settings, runtime: &Runtime, findings: &mut Findings) {
    if settings.directory.sources.is_empty() {
        let text = "nobody is asked: pods go by their uids, containers by their ids";
        findings.add(State::Noted, "directory", text).help = "directory.sources".into();
        return;
    }
    for (asked, answer) in runtime.block_on(sources::probe(settings)) {
        let source = format!("directory {asked}");
        match answer {
            Ok(text) => findings.add(State::Present, &source, text),
            Err(text) => findings.add(State::Failed, &source, text),
        };
    }
}

/// Asks a running agent for the age of its samples and names.
fn look_at_status(address: SocketAddr, runtime: &Runtime, findings: &mut Findings) {
    let source = format!("status on {address}");
    let answer = BaseUrl::parse(&format!("http://{address}/"))
        .ok()
        .and_then(|url| runtime.block_on(ask(&StatusAddress::Url(url))).ok());
    match answer {
        Some((status, _)) => {
            let is_failing = status.directory.iter().any(|source| source.failing_ms.is_some());
            let state = if is_failing { State::Noted } else { State::Present };
            findings.add(state, &source, described(&status));
        }
        None => is_free(address, &source, "status.listen", findings),
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

fn look_at_receiver(address: SocketAddr, findings: &mut Findings) {
    is_free(address, &format!("receiver on {address}"), "--listen ADDRESS", findings);
}

fn is_free(address: SocketAddr, source: &str, help: &'static str, findings: &mut Findings) {
    match TcpListener::bind(address) {
        Ok(_) => {
            findings.add(State::Present, source, "the address is free");
        }
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let text = "somebody answers there already, perhaps a running nodetally";
            findings.add(State::Noted, source, text).help = help.into();
        }
        Err(error) => {
            findings.add(State::Failed, source, error.to_string()).help = help.into();
        }
    }
}

fn look_at_endpoints(settings: &Settings, runtime: &Runtime, findings: &mut Findings) {
    for endpoint in &settings.endpoints {
        let source = format!("endpoint {} {}", endpoint.name, endpoint.url);
        // As `run` reads it, so that an invalid selector is reported here too.
        let wanted = match EndpointSpec::of(endpoint, settings) {
            Ok(wanted) => wanted,
            Err(error) => {
                findings.add(State::Failed, &source, error.to_string()).vital = true;
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
                findings.add(State::Present, &source, text);
            }
            Err(reason) => {
                findings.add(State::Failed, &source, format!("does not answer: {reason}")).help =
                    "samples are kept and sent when it does".into();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_agent_says_how_old_its_directory_is() {
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
