//! `nodetally status`: what the agent that runs here tells of itself.

mod client;
mod table;

use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use super::args::{StatusFlags, StatusFormat};
use super::table::Style;
use crate::config::{Settings, StatusSettings};
use crate::payload::status::Status;

/// Nobody answers, or nobody that is an agent.
const NO_AGENT: u8 = 1;

/// With `--check`: it answers, and not all is well.
const NOT_WELL: u8 = 3;

/// Where an agent is asked.
enum Place {
    Socket(PathBuf),
    Url(String),
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
    settings: impl FnOnce() -> anyhow::Result<Settings>,
) -> anyhow::Result<ExitCode> {
    let place = match (&flags.socket, &flags.url) {
        (Some(path), _) => Some(Place::Socket(path.clone())),
        (None, Some(url)) => Some(Place::Url(url.clone())),
        (None, None) => place_of(&settings()?.status),
    };
    let Some(place) = place else {
        return Ok(no_agent(
            "no place to ask an agent at: status.socket and status.listen are \"none\"; --socket \
             PATH or --url URL names one",
        ));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("no runtime to ask with")?;
    let answer = runtime.block_on(async {
        match &place {
            Place::Socket(path) => client::over_socket(path).await,
            Place::Url(url) => client::over_url(url).await,
        }
    });
    let read = answer.and_then(|body| match Status::from_json(&body) {
        Ok(status) => Ok((status, body)),
        Err(error) => Err(error.to_string()),
    });
    let (status, body) = match read {
        Ok(read) => read,
        Err(reason) => return Ok(no_agent(&format!("no agent answers at {place}: {reason}"))),
    };
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
    let all_well = status.is_well && status.down().next().is_none();
    Ok(ExitCode::from(if flags.check && !all_well { NOT_WELL } else { 0 }))
}

fn no_agent(line: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "nodetally: {line}");
    ExitCode::from(NO_AGENT)
}

fn place_of(settings: &StatusSettings) -> Option<Place> {
    if let Some(path) = &settings.socket {
        return Some(Place::Socket(path.clone()));
    }
    let address = settings.listen?;
    // One that listens on every address answers on the loopback one.
    let loopback = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address.ip(),
    };
    Some(Place::Url(format!("http://{}", SocketAddr::new(loopback, address.port()))))
}
