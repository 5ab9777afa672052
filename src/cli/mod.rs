//! The command line: subcommands, their output and exit codes.

mod agent_client;
pub mod args;
pub mod check;
pub mod dump;
mod dump_posts;
mod grid;
mod inputs;
mod lines;
mod logging;
pub mod manual;
mod observed;
mod output;
mod receiver_store;
pub mod show_config;
pub mod status;
mod style;
mod summary;
pub mod table;
pub mod top;
mod users;
pub mod version;
pub mod view;
mod watch;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use crate::config::{StatusLocation, one_line};
use crate::delivery::DryRun;
use crate::panics;
use crate::printable::printable_lines;
use crate::runtime::agent;
use crate::runtime::receive;
use crate::runtime::reload::Reload;
use args::{CheckFormat, Cli, Command, ReceiveFlags};
use logging::Log;
use output::{print, print_bytes, print_lines};

/// The exit code of bad input, and of a host that cannot be sampled: a person has to change something.
const CANNOT: u8 = 2;

/// The exit code of `run` where a later start may do: an address or the state directory is in use.
const FAILED: u8 = 1;

/// Runs the command in `arguments`. An error is one line on standard error, and one for each of those of a
/// configuration.
#[must_use]
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // clap writes help to standard output and errors to standard error, and knows which.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { CANNOT } else { 0 });
        }
    };
    match act(&cli) {
        Ok(code) => code,
        Err(error) => {
            report(&error);
            ExitCode::from(CANNOT)
        }
    }
}

/// Writes the error to standard error.
fn report(error: &anyhow::Error) {
    let text = printable_lines(&with_causes(error));
    // So that `journalctl -p err` finds it.
    let priority = if logging::stderr_is_journal() { "<3>" } else { "" };
    for line in text.lines() {
        let _ = writeln!(std::io::stderr(), "{priority}nodetally: {line}");
    }
}

/// The error and its causes as one line. A cause that the line has already is left out: many errors
/// name their cause in their own text.
fn with_causes(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for text in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = text;
        } else if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
    }
    line
}

fn act(cli: &Cli) -> anyhow::Result<ExitCode> {
    let settings = || inputs::settings(cli);
    match &cli.command {
        Command::Run(flags) => {
            let settings = || {
                let settings = settings()?;
                Ok(if flags.dry_run { settings.for_dry_run() } else { settings })
            };
            let resolved = settings()?;
            let log = Log::start(&resolved);
            let dry_run = flags.dry_run.then(DryRun::default);
            let reload =
                Reload { settings: &settings, set_logging: &|settings| log.change(settings) };
            panics::install_hook();
            // Its errors name their causes.
            let outcome = if resolved.writes_to_stdout() {
                // Lines of samples alone go to standard output.
                agent::run(resolved, reload, dry_run, &mut std::io::stderr())
            } else {
                agent::run(resolved, reload, dry_run, &mut std::io::stdout())
            };
            let outcome = outcome.inspect_err(|error| {
                // A reader of these formats knows no other line.
                if !log.is_text() {
                    tracing::error!("{error}");
                }
            });
            log.end();
            match outcome {
                Ok(()) => {}
                Err(error) => {
                    if log.is_text() {
                        report(&anyhow::Error::msg(error.to_string()));
                    }
                    return Ok(ExitCode::from(if error.may_pass() { FAILED } else { CANNOT }));
                }
            }
        }
        Command::Receive(ReceiveFlags { store: Some(command), .. }) => {
            print(&receiver_store::run(command, &settings()?)?)?;
        }
        Command::Receive(_) => {
            let settings = settings()?;
            let log = Log::start(&settings);
            panics::install_hook();
            let outcome = receive::run(&settings, &mut std::io::stdout());
            log.end();
            outcome.map_err(anyhow::Error::msg)?;
        }
        Command::Config(_) => {
            let settings = settings()?;
            let text = show_config::render(&settings, show_config::TokenState::of_file);
            print(&format!("# {}\n\n{text}", one_line(&inputs::file_words(cli))))?;
        }
        Command::Check(flags) => {
            let report = check::check(&settings()?);
            match flags.format {
                CheckFormat::Table => print_lines(&report.table())?,
                CheckFormat::Json => print(&report.json())?,
            }
            return Ok(ExitCode::from(report.exit_status()));
        }
        Command::Dump(flags) => dump::run(&settings()?, flags)?,
        Command::Man(flags) => print_bytes(&manual::page(flags.command.as_deref())?)?,
        Command::Completions(flags) => print_bytes(&manual::completions(flags.shell))?,
        Command::Top(flags) => {
            let location = || Ok(StatusLocation::resolve(inputs::read(cli)?)?);
            top::run(flags, location, || Ok(settings()?))?;
        }
        Command::Status(flags) => {
            return status::run(flags, || Ok(StatusLocation::resolve(inputs::read(cli)?)?));
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;
    use crate::checkpoint::StateError;
    use crate::runtime::capture::CaptureError;
    use crate::runtime::error::AgentError;

    #[test]
    fn no_error_of_the_system_is_named_twice() {
        let source = || std::io::Error::from_raw_os_error(98);
        let address = "127.0.0.1:1".parse().unwrap();
        let path = || "/x".into();
        let errors: [anyhow::Error; 5] = [
            AgentError::Listen { address, source: source() }.into(),
            AgentError::System { what: "no pipe", source: source() }.into(),
            StateError::Io { path: path(), source: source() }.into(),
            CaptureError::Unreadable { path: path(), source: source() }.into(),
            Err::<(), _>(source()).context("standard output").unwrap_err(),
        ];
        for error in errors {
            let line = with_causes(&error);
            assert_eq!(line.matches("Address already in use").count(), 1, "{line}");
        }
        let apart = anyhow::Error::msg("inner").context("outer");
        assert_eq!(with_causes(&apart), "outer: inner");
    }
}
