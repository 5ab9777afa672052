//! `nodetally status`: the health of the running agent.

mod table;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};

use super::agent_client::{StatusAddress, ask};
use super::args::{StatusFlags, StatusFormat};
use super::output::print;
use super::table::Style;
use crate::config::{StatusLocation, StatusSettings, redacted_url};
use crate::delivery::BaseUrl;
use crate::printable::printable;
use crate::runtime::host;

/// The exit code when no agent answers.
const NO_AGENT: u8 = 1;

/// The hint after the addresses from the settings.
const ADDRESS_HINT: &str = "; --socket PATH, --state-dir DIR or --url URL names another address";

/// The exit code of `--check` when the agent answers and is not healthy.
const UNHEALTHY: u8 = 3;

/// The default socket of an agent that root or systemd starts.
const USUAL_SOCKET: &str = "/run/nodetally/status.sock";

/// Asks the agent and prints its answer. `settings` are resolved only if no flag names the address:
/// they may be invalid, or not readable for this user.
pub fn run(
    flags: &StatusFlags,
    settings: impl FnOnce() -> anyhow::Result<StatusLocation>,
) -> anyhow::Result<ExitCode> {
    let (addresses, hint) = match (&flags.socket, &flags.url) {
        (Some(path), _) => (vec![StatusAddress::Socket(path.clone())], ""),
        (None, Some(url)) => {
            let wrong = |error| anyhow!("--url {}: {error}", redacted_url(url));
            (vec![StatusAddress::Url(BaseUrl::parse(url).map_err(wrong)?)], "")
        }
        (None, None) => (addresses_of(&settings()?)?, ADDRESS_HINT),
    };
    if addresses.is_empty() {
        return Ok(no_agent(
            "no address to ask an agent at: status.socket and status.listen are \"none\"; --socket \
             PATH or --url URL names one",
        ));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("no asynchronous runtime")?;
    let mut errors = String::new();
    let mut found = None;
    for address in &addresses {
        match runtime.block_on(ask(address)) {
            Ok(read) => {
                found = Some(read);
                break;
            }
            Err(reason) => {
                errors.push_str(if errors.is_empty() { "no agent answers at" } else { "; nor at" });
                errors.push_str(&format!(" {address}: {reason}"));
            }
        }
    }
    let Some((status, body)) = found else { return Ok(no_agent(&(errors + hint))) };
    match flags.format {
        StatusFormat::Table => {
            print(&table::render(&status, Style::of_output(flags.color, usize::MAX)))?;
        }
        // Unchanged, so that keys that this release does not know are kept.
        StatusFormat::Json => {
            print(String::from_utf8_lossy(&body).trim_end())?;
            print("\n")?;
        }
    }
    Ok(ExitCode::from(if flags.check && !status.is_all_healthy() { UNHEALTHY } else { 0 }))
}

fn no_agent(line: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "nodetally: {}", printable(line));
    ExitCode::from(NO_AGENT)
}

/// The addresses to try, in order. Without a setting the usual socket comes last: the user may be
/// another than the agent's, with other defaults.
pub(super) fn addresses_of(settings: &StatusLocation) -> anyhow::Result<Vec<StatusAddress>> {
    let mut addresses: Vec<StatusAddress> = address_of(&settings.status)?.into_iter().collect();
    let usual = Path::new(USUAL_SOCKET);
    if !settings.is_set && settings.status.socket.as_deref() != Some(usual) {
        addresses.push(StatusAddress::Socket(usual.to_owned()));
    }
    Ok(addresses)
}

fn address_of(settings: &StatusSettings) -> anyhow::Result<Option<StatusAddress>> {
    if let Some(path) = &settings.socket {
        return Ok(Some(StatusAddress::Socket(path.clone())));
    }
    let Some(address) = settings.listen else { return Ok(None) };
    let url = format!("http://{}", host::reached_at(address));
    Ok(Some(StatusAddress::Url(BaseUrl::parse(&url)?)))
}
