//! The command line: subcommands, their output and exit codes.

mod agent_client;
pub mod args;
pub mod check;
pub mod dump;
mod dump_posts;
pub mod manual;
mod observed;
mod output;
pub mod show_config;
pub mod status;
pub mod table;
pub mod top;
pub mod version;
pub mod view;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload as filter};

use crate::config::{self, ConfigError, Inputs, Settings, StatusLocation};
use crate::delivery::DryRun;
use crate::panics;
use crate::printable::{printable, printable_lines};
use crate::runtime::reload::Reload;
use crate::runtime::{agent, host, receive};
use args::{Cli, Command};
use output::{print, print_bytes, print_lines};

/// The exit code of bad input, and of a host that cannot be sampled.
const CANNOT: u8 = 2;

/// Runs the command in `arguments`. An error is one line on standard error.
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
            let text = printable_lines(&format!("{error:#}"));
            let _ = writeln!(std::io::stderr(), "nodetally: {text}");
            ExitCode::from(CANNOT)
        }
    }
}

fn act(cli: &Cli) -> anyhow::Result<ExitCode> {
    let settings = || settings(cli);
    match &cli.command {
        Command::Run(flags) => {
            let settings = || {
                let settings = settings()?;
                Ok(if flags.dry_run { settings.for_dry_run() } else { settings })
            };
            let resolved = settings()?;
            let level = log_to_stderr(resolved.log.level);
            let dry_run = flags.dry_run.then(DryRun::default);
            let reload = Reload {
                settings: &settings,
                set_log_level: &|wanted| {
                    // An error means that logging has ended.
                    let _ = level.modify(|filter| *filter = level_filter(wanted));
                },
            };
            panics::install_hook();
            // Its errors name their causes.
            let outcome = if resolved.writes_to_stdout() {
                // Lines of samples alone go to standard output.
                agent::run(resolved, reload, dry_run, &mut std::io::stderr())
            } else {
                agent::run(resolved, reload, dry_run, &mut std::io::stdout())
            };
            outcome.map_err(anyhow::Error::msg)?;
        }
        Command::Receive(_) => {
            let settings = settings()?;
            log_to_stderr(settings.log.level);
            panics::install_hook();
            receive::run(&settings, &mut std::io::stdout()).map_err(anyhow::Error::msg)?;
        }
        Command::Config(_) => {
            let text = show_config::render(&settings()?, show_config::TokenState::of_file);
            print(&text)?;
        }
        Command::Check(_) => {
            let report = check::check(&settings()?);
            print_lines(&report.text)?;
            return Ok(ExitCode::from(report.code));
        }
        Command::Dump(flags) => dump::run(&settings()?, flags)?,
        Command::Man(flags) => print_bytes(&manual::page(flags.command.as_deref())?)?,
        Command::Completions(flags) => print_bytes(&manual::completions(flags.shell))?,
        Command::Top(flags) => {
            let location = || Ok(StatusLocation::resolve(inputs(cli)?)?);
            top::run(flags, location, || Ok(settings()?))?;
        }
        Command::Status(flags) => {
            return status::run(flags, || Ok(StatusLocation::resolve(inputs(cli)?)?));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn settings(cli: &Cli) -> Result<Settings, ConfigError> {
    Settings::resolve(inputs(cli)?)
}

fn inputs(cli: &Cli) -> Result<Inputs<Vec<(String, String)>>, ConfigError> {
    // No variable of the agent is other than UTF-8.
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let file = match config::file_path(cli.global.config.as_deref(), &environment) {
        Some(path) => {
            let text =
                read_config(&path).map_err(|error| ConfigError::unreadable_file(&path, &error))?;
            Some((path, text))
        }
        None => None,
    };
    Ok(Inputs {
        file,
        environment,
        flags: cli.overrides(),
        host_name: host::host_name(),
        is_root: nix::unistd::geteuid().is_root(),
        xdg_runtime_dir: std::env::var("XDG_RUNTIME_DIR").ok(),
        xdg_state_home: std::env::var("XDG_STATE_HOME").ok(),
        home: std::env::var("HOME").ok(),
    })
}

fn read_config(path: &std::path::Path) -> std::io::Result<String> {
    use std::io::Read as _;
    #[expect(clippy::disallowed_methods, reason = "the configuration is no file of the kernel's")]
    let file = std::fs::File::open(path)?;
    let mut text = String::new();
    // One byte more than allowed, so that the size check fails on a larger file.
    file.take(config::FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// Starts logging to standard error. The handle changes the level later.
fn log_to_stderr(level: config::LogLevel) -> filter::Handle<LevelFilter, Registry> {
    let (filter, handle) = filter::Layer::new(level_filter(level));
    // Texts in a line may be from outside.
    let fields = debug_fn(|writer, field, value| {
        let value = printable(&format!("{value:?}"));
        match field.name() {
            "message" => write!(writer, "{value}"),
            name => write!(writer, "{name}={value}"),
        }
    });
    let lines = tracing_subscriber::fmt::layer()
        .fmt_fields(fields.delimited(" "))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false);
    tracing_subscriber::registry().with(filter).with(lines).init();
    handle
}

fn level_filter(level: config::LogLevel) -> LevelFilter {
    match level {
        config::LogLevel::Error => LevelFilter::ERROR,
        config::LogLevel::Warn => LevelFilter::WARN,
        config::LogLevel::Info => LevelFilter::INFO,
        config::LogLevel::Debug => LevelFilter::DEBUG,
        config::LogLevel::Trace => LevelFilter::TRACE,
    }
}
