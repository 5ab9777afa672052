//! What answers over a socket: endpoints, sources of identity, and an agent that runs.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use tokio::runtime::Runtime;

use super::{Findings, State};
use crate::config::Settings;
use crate::delivery::{self, BaseUrl, Getter};
use crate::endpoint::endpoint::EndpointSpec;
use crate::runtime::agent::NO_ADDRESSES;
use crate::runtime::identity;

/// Of a source that a running agent gets no answer from.
const DOWN: &str = ", does not answer at present";

/// An agent's own figures take a few KiB.
const METRICS_BYTES_MAX: usize = 1 << 20;

/// How long an agent on this host may take to answer.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn look(settings: &Settings, findings: &mut Findings) {
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
    for (asked, answer) in runtime.block_on(identity::probe(settings)) {
        let source = format!("directory {asked}");
        match answer {
            Ok(text) => findings.add(State::Present, &source, text),
            Err(text) => findings.add(State::Failed, &source, text),
        };
    }
}

/// A running agent is asked how old what it knows is.
fn look_at_status(address: SocketAddr, runtime: &Runtime, findings: &mut Findings) {
    let source = format!("status on {address}");
    match runtime.block_on(ask_agent(address)) {
        Ok(metrics) => {
            let text = told_by_agent(&metrics);
            let state = if text.contains(DOWN) { State::Noted } else { State::Present };
            findings.add(state, &source, text);
        }
        Err(_) => is_free(address, &source, "status.listen", findings),
    }
}

async fn ask_agent(address: SocketAddr) -> Result<String, String> {
    let url = BaseUrl::parse(&format!("http://{address}/")).map_err(|error| error.to_string())?;
    let mut settings = delivery::DeliverySettings::new("status", url, 0);
    settings.request_timeout = STATUS_TIMEOUT;
    let body = Getter::new(&settings)?.get("/metrics", METRICS_BYTES_MAX).await?;
    let text = String::from_utf8(body).map_err(|_| "not text".to_owned())?;
    match text.contains("\nnodetally_samples_total ") {
        true => Ok(text),
        false => Err("somebody else answers".to_owned()),
    }
}

/// `an agent runs here: last sample 3 s ago; kubernetes 12 s old, 9 known`
fn told_by_agent(metrics: &str) -> String {
    let value_of = |start: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(start))?;
        line.trim().parse::<f64>().ok()
    };
    let mut text = match value_of("nodetally_sample_age_seconds ") {
        Some(age) => format!("an agent runs here: last sample {age:.0} s ago"),
        None => "an agent runs here: no sample yet".to_owned(),
    };
    for line in metrics.lines() {
        let Some(rest) = line.strip_prefix("nodetally_directory_known{source=\"") else { continue };
        let Some((source, known)) = rest.split_once("\"} ") else { continue };
        let labelled = |name: &str| value_of(&format!("{name}{{source=\"{source}\"}} "));
        let age = match labelled("nodetally_directory_age_seconds") {
            Some(age) => format!("{age:.0} s old"),
            None => "has not answered yet".to_owned(),
        };
        let down = match labelled("nodetally_directory_up") {
            Some(up) if up > 0.0 => "",
            _ => DOWN,
        };
        text.push_str(&format!("; {source} {age}, {known} known{down}"));
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
        // What `run` would make of it, so that a selector that is none is told here too.
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
    use proptest::prelude::*;

    use super::told_by_agent;

    proptest! {
        #[test]
        fn no_figures_of_an_agent_panic(
            lines in prop::collection::vec(
                "nodetally_(sample|directory)_(known|up|age_seconds)(\\{source=\"[ab]\"\\} )?\\PC{0,9}",
                0..9,
            ),
        ) {
            prop_assert!(told_by_agent(&lines.join("\n")).starts_with("an agent runs here: "));
        }
    }

    #[test]
    fn a_running_agent_says_how_old_its_directory_is() {
        let metrics = "nodetally_samples_total 7\nnodetally_sample_age_seconds 3.4\n\
                       nodetally_directory_known{source=\"kubernetes\"} 9\n\
                       nodetally_directory_known{source=\"cri\"} 0\n\
                       nodetally_directory_up{source=\"kubernetes\"} 0\n\
                       nodetally_directory_up{source=\"cri\"} 0\n\
                       nodetally_directory_age_seconds{source=\"kubernetes\"} 312\n# EOF\n";
        assert_eq!(
            told_by_agent(metrics),
            "an agent runs here: last sample 3 s ago; kubernetes 312 s old, 9 known, does not \
             answer at present; cri has not answered yet, 0 known, does not answer at present"
        );
        assert_eq!(
            told_by_agent("nodetally_samples_total 0\n"),
            "an agent runs here: no sample yet"
        );
    }
}
