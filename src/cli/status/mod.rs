//! `nodetally status`: what the agent that runs here tells of itself.

mod client;
mod table;

use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};

use super::args::{StatusFlags, StatusFormat};
use super::table::Style;
use crate::config::{StatusLocation, StatusSettings, redacted_url};
use crate::delivery::BaseUrl;
use crate::payload::status::StatusReport;

/// Nobody answers, or nobody that is an agent.
const NO_AGENT: u8 = 1;

/// What stands behind the places that the settings name.
const ELSEWHERE: &str = "; --socket PATH, --state-dir DIR or --url URL names another place";

/// With `--check`: it answers, and not all is well.
const NOT_WELL: u8 = 3;

/// Where an agent that root or systemd has started answers by default.
const USUAL_SOCKET: &str = "/run/nodetally/status.sock";

/// Where an agent is asked.
enum Place {
    Socket(PathBuf),
    Url(BaseUrl),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Url(url) => url.fmt(f),
        }
    }
}

/// Asks and prints. `settings` are asked for only where no flag names the place: they may be wrong,
/// or not for everybody to read.
pub fn run(
    flags: &StatusFlags,
    settings: impl FnOnce() -> anyhow::Result<StatusLocation>,
) -> anyhow::Result<ExitCode> {
    let (places, hint) = match (&flags.socket, &flags.url) {
        (Some(path), _) => (vec![Place::Socket(path.clone())], ""),
        (None, Some(url)) => {
            let wrong = |error| anyhow!("--url {}: {error}", redacted_url(url));
            (vec![Place::Url(BaseUrl::parse(url).map_err(wrong)?)], "")
        }
        (None, None) => (places_of(&settings()?)?, ELSEWHERE),
    };
    if places.is_empty() {
        return Ok(no_agent(
            "no place to ask an agent at: status.socket and status.listen are \"none\"; --socket \
             PATH or --url URL names one",
        ));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("no runtime to ask with")?;
    let mut told = String::new();
    let mut found = None;
    for place in &places {
        match runtime.block_on(ask(place)) {
            Ok(read) => {
                found = Some(read);
                break;
            }
            Err(reason) => {
                told.push_str(if told.is_empty() { "no agent answers at" } else { "; nor at" });
                told.push_str(&format!(" {place}: {reason}"));
            }
        }
    }
    let Some((status, body)) = found else { return Ok(no_agent(&(told + hint))) };
    match flags.format {
        StatusFormat::Table => {
            super::print(&table::render(&status, Style::of_output(flags.color, usize::MAX)))?;
        }
        // As it came, so that nothing is lost that this release does not know.
        StatusFormat::Json => {
            super::print(String::from_utf8_lossy(&body).trim_end())?;
            super::print("\n")?;
        }
    }
    Ok(ExitCode::from(if flags.check && !status.is_all_healthy() { NOT_WELL } else { 0 }))
}

/// The answer, and its text as it came.
async fn ask(place: &Place) -> Result<(StatusReport, Vec<u8>), String> {
    let body = match place {
        Place::Socket(path) => client::over_socket(path).await?,
        Place::Url(url) => client::over_url(url.clone()).await?,
    };
    let status = StatusReport::from_json(&body).map_err(|error| error.to_string())?;
    Ok((status, body))
}

fn no_agent(line: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "nodetally: {line}");
    ExitCode::from(NO_AGENT)
}

/// Where nobody has said where the agent is, the usual place comes last: whoever asks may be somebody
/// else than the agent's user, with other defaults.
fn places_of(settings: &StatusLocation) -> anyhow::Result<Vec<Place>> {
    let mut places: Vec<Place> = place_of(&settings.status)?.into_iter().collect();
    let usual = Path::new(USUAL_SOCKET);
    if !settings.is_set && settings.status.socket.as_deref() != Some(usual) {
        places.push(Place::Socket(usual.to_owned()));
    }
    Ok(places)
}

fn place_of(settings: &StatusSettings) -> anyhow::Result<Option<Place>> {
    if let Some(path) = &settings.socket {
        return Ok(Some(Place::Socket(path.clone())));
    }
    let Some(address) = settings.listen else { return Ok(None) };
    // One that listens on every address answers on the loopback one.
    let loopback = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address.ip(),
    };
    let url = format!("http://{}", SocketAddr::new(loopback, address.port()));
    Ok(Some(Place::Url(BaseUrl::parse(&url)?)))
}
