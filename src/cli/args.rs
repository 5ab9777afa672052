//! Flags and subcommands as typed. What they mean together with the file and the environment is
//! settled by [`crate::config`], which also knows their environment twins.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::config::{Flags, KEYS, keys, parse_duration};
use crate::identity::PodUid;

/// Gives every CPU second and every byte of a Linux node to somebody, or shows what is left over.
#[derive(Debug, Parser)]
#[command(
    name = "nodetally",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    propagate_version = true,
    disable_help_subcommand = true,
    after_help = "Settings rise from defaults over the configuration file and NODETALLY_… \
                  variables to flags; `nodetally config` shows each one and where it came from."
)]
pub struct Cli {
    #[command(flatten)]
    pub global: GlobalFlags,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every subcommand.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct GlobalFlags {
    /// Read settings from this TOML file [environment: NODETALLY_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the host's procfs is mounted [default: /proc]
    #[arg(long = "path.procfs", global = true, value_name = "DIR")]
    pub path_procfs: Option<String>,
    /// Where the host's sysfs is mounted [default: /sys]
    #[arg(long = "path.sysfs", global = true, value_name = "DIR")]
    pub path_sysfs: Option<String>,
    /// Where the host's cgroup2 is mounted [default: found in mountinfo]
    #[arg(long = "path.cgroupfs", global = true, value_name = "DIR")]
    pub path_cgroupfs: Option<String>,
    /// Where the host's root filesystem is mounted [default: /]
    #[arg(long = "path.rootfs", global = true, value_name = "DIR")]
    pub path_rootfs: Option<String>,
    /// How much to log: error, warn, info, debug or trace [default: info]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sample this node and send the figures until told to stop
    #[command(long_about = "Sample this node and send the figures until told to stop.\n\n\
                      With no endpoint configured, a receiver is started on this host and the \
                      figures are sent to it.")]
    Run(RunFlags),
    /// Take two samples and show whose usage lies between them
    #[command(
        long_about = "Take two samples and show whose usage lies between them: the node, pods and \
                      their containers, the host's units, the busiest processes, and per resource \
                      what is left over."
    )]
    Dump(DumpFlags),
    /// Say what this host offers, what will be missing, and whether endpoints answer
    #[command(
        long_about = "Say what this host offers source by source, what will be missing in the \
                      output because of it, and whether each configured endpoint answers.\n\n\
                      Exit status: 0 all is well, 1 something will be missing, 2 it cannot work."
    )]
    Check(RunFlags),
    /// Ask the agent that runs here how it and its endpoints are
    #[command(
        long_about = "Ask the agent that runs here how it is: its samples, its sources of names, \
                      and of each endpoint what waits, what became of the rest, and whether it \
                      takes what it is sent. The agent is found by the settings that `run` has: at \
                      status.socket, else at status.listen.\n\n\
                      Exit status: 0 it answered, 1 no agent answers, 2 it cannot be asked, and \
                      with --check 3 if it takes no samples or an endpoint is down."
    )]
    Status(StatusFlags),
    /// Print the settings as resolved, and where each came from
    #[command(
        long_about = "Print the settings as resolved, as TOML that can be used as a configuration \
                      file, each line with where its value came from. Secrets are hidden. Takes \
                      the flags of `run`, to show what they would do.",
        after_long_help = keys_help()
    )]
    Config(RunFlags),
}

/// Flags of `run`, and of the commands that say what `run` would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct RunFlags {
    /// Time from one sample to the next, 1s to 1h, such as 15s or "1m 30s" [default: 15s]
    #[arg(long, value_name = "DURATION")]
    pub interval: Option<String>,
    /// Keep the last counters here over a restart; "none" keeps none [default: /run/nodetally for
    /// root, else $XDG_RUNTIME_DIR/nodetally]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<String>,
    /// What to call this node [default: $NODE_NAME, else the host's name]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// Where the embedded receiver answers while no endpoint is configured [default:
    /// 127.0.0.1:7643]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct DumpFlags {
    /// Time between the two samples, 100ms to 1h
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = dump_interval)]
    pub interval: Duration,
    /// What to print: a table for eyes, one JSON document, one JSON object per line, or the lists of
    /// metrics.k8s.io/v1beta1
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// How many rows each list of the table has, and how many processes are told apart
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
    /// The resource whose largest users come first
    #[arg(long, value_enum, default_value_t = SortKey::Cpu)]
    pub sort: SortKey,
    /// Only this pod, as NAMESPACE/NAME or by its uid
    #[arg(long, value_name = "POD", value_parser = PodSelector::parse)]
    pub pod: Option<PodSelector>,
    /// Only this unit, such as ssh.service
    #[arg(long, value_name = "NAME")]
    pub unit: Option<String>,
    /// Read command lines of processes; they can hold secrets
    #[arg(long, action = ArgAction::SetTrue)]
    pub cmdline: bool,
    /// Colour in the table; auto: on a terminal
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    pub color: ColorChoice,
    /// Show two captured instants, DIR/t0 and DIR/t1, instead of this host
    #[arg(long, value_name = "DIR")]
    pub replay: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct StatusFlags {
    /// Ask at this unix socket, whatever the settings say
    #[arg(long, value_name = "PATH", conflicts_with = "url")]
    pub socket: Option<PathBuf>,
    /// Ask at this address, such as http://127.0.0.1:7644, whatever the settings say
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The state directory of the agent, as `run` has it
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<String>,
    /// What to print: a table for eyes, or the agent's own JSON
    #[arg(long, value_enum, default_value_t = StatusFormat::Table)]
    pub format: StatusFormat,
    /// Exit with 3 if it takes no samples or an endpoint is down
    #[arg(long, action = ArgAction::SetTrue)]
    pub check: bool,
    /// Colour in the table; auto: on a terminal
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    pub color: ColorChoice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StatusFormat {
    Table,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Json,
    Ndjson,
    /// Node and pods as the API metrics.k8s.io/v1beta1 has them: two lists, one a line
    MetricsK8sIo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SortKey {
    Cpu,
    Memory,
    Disk,
    Network,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    Auto,
    Always,
    Never,
}

/// The pod that somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PodSelector {
    Name { namespace: String, name: String },
    Uid(PodUid),
}

impl PodSelector {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(uid) = PodUid::parse(text.as_bytes()) {
            return Ok(Self::Uid(uid));
        }
        match text.split_once('/') {
            Some((namespace, name))
                if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
            {
                Ok(Self::Name { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err("no pod; allowed: NAMESPACE/NAME, or a pod's uid".to_owned()),
        }
    }
}

fn dump_interval(text: &str) -> Result<Duration, String> {
    parse_duration(text, Duration::from_millis(100)..=Duration::from_secs(60 * 60))
}

impl Cli {
    /// The flags that override settings.
    ///
    /// `dump --interval` is not one of them: it is how long a person waits, not how often `run`
    /// samples.
    #[must_use]
    pub fn overrides(&self) -> Flags {
        let global = &self.global;
        let flags = Flags {
            path_procfs: global.path_procfs.clone(),
            path_sysfs: global.path_sysfs.clone(),
            path_cgroupfs: global.path_cgroupfs.clone(),
            path_rootfs: global.path_rootfs.clone(),
            log_level: global.log_level.clone(),
            ..Flags::default()
        };
        match &self.command {
            Command::Run(run) | Command::Check(run) | Command::Config(run) => Flags {
                interval: run.interval.clone(),
                state_dir: run.state_dir.clone(),
                node_name: run.node_name.clone(),
                listen: run.listen.clone(),
                ..flags
            },
            Command::Dump(dump) => Flags { cmdline: dump.cmdline, ..flags },
            Command::Status(status) => Flags { state_dir: status.state_dir.clone(), ..flags },
        }
    }
}

/// Every key with its variables: what `nodetally config --help` ends with.
fn keys_help() -> String {
    let mut help =
        format!("Keys and their variables ({} names the file):\n", keys::CONFIG_VARIABLE);
    for key in KEYS {
        help.push_str(&format!("  {:<28} {}\n", key.path(), key.environment.join(", ")));
    }
    help
}
