//! Flags and subcommands. [`crate::config`] resolves them together with the file and the
//! environment.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches, Parser, Subcommand, ValueEnum};

use super::version;
use crate::config::{
    FlagCommands, Flags, InvalidDuration, KEYS, Key, KeyFlag, keys, parse_duration,
};
use crate::identity::PodUid;
use crate::payload::dialect::Dialect;

/// Attributes every CPU second and every byte of a Linux node to its pods and units, and shows what
/// cannot be attributed.
#[derive(Debug, Parser)]
#[command(
    name = "nodetally",
    version,
    long_version = version::long(),
    subcommand_required = true,
    arg_required_else_help = true,
    propagate_version = true,
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
    /// Read settings from this TOML file; none: from no file [environment: NODETALLY_CONFIG]
    /// [default: /etc/nodetally/config.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub keys: KeyFlags<true>,
}

/// Flags of `run` that set keys, which the commands that show what `run` would do have too.
pub type RunFlags = KeyFlags<false>;

/// Flags that set keys, built from the declarations of the keys: those of every command, or those
/// of `run`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyFlags<const EVERY_COMMAND: bool>(Flags);

impl<const EVERY_COMMAND: bool> KeyFlags<EVERY_COMMAND> {
    fn keys() -> impl Iterator<Item = (&'static Key, KeyFlag)> {
        let commands = if EVERY_COMMAND { FlagCommands::All } else { FlagCommands::Run };
        KEYS.iter()
            .filter_map(|key| Some((*key, key.flag?)))
            .filter(move |(_, flag)| flag.commands == commands)
    }
}

impl<const EVERY_COMMAND: bool> Args for KeyFlags<EVERY_COMMAND> {
    fn augment_args(mut command: clap::Command) -> clap::Command {
        for (key, flag) in Self::keys() {
            let argument = |long| {
                let argument = Arg::new(long).long(long).global(EVERY_COMMAND);
                if flag.value_name.is_empty() {
                    argument.action(ArgAction::SetTrue)
                } else {
                    argument.value_name(flag.value_name)
                }
            };
            command = command.arg(argument(flag.long).help(flag_help(key)));
            for former in key.former_flags {
                let renamed = move |_: &str| -> anyhow::Result<String> {
                    anyhow::bail!("--{former} is now called --{}", flag.long)
                };
                command = command.arg(argument(former).hide(true).value_parser(renamed));
            }
        }
        command
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl<const EVERY_COMMAND: bool> FromArgMatches for KeyFlags<EVERY_COMMAND> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for (key, flag) in Self::keys() {
            if flag.value_name.is_empty() {
                if matches.get_flag(flag.long) {
                    self.0.set(key, "true");
                }
            } else if let Some(value) = matches.get_one::<String>(flag.long) {
                self.0.set(key, value);
            }
        }
        Ok(())
    }
}

/// The first sentence of the key's purpose, the values and the default.
fn flag_help(key: &Key) -> String {
    let purpose = key.purpose.split_once(". ").map_or(key.purpose, |(first, _)| first);
    let purpose = purpose.trim_end_matches('.');
    let default = key.default_text();
    if key.flag.is_some_and(|flag| flag.value_name.is_empty()) {
        return purpose.to_owned();
    }
    let default = default.trim_start_matches("not set: ");
    format!("{purpose}: {} [default: {}]", key.allowed(), default.replace('"', ""))
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sample this node and send the samples until stopped
    #[command(long_about = "Sample this node and send the samples until stopped.\n\n\
                      With no endpoint configured, a receiver is started on this host and the \
                      samples are sent to it.")]
    Run(RunCommandFlags),
    /// Take two samples and show the usage between them
    #[command(
        long_about = "Take two samples and show the usage between them: the node, pods and their \
                      containers, the host's units, the busiest processes, and the unattributed \
                      remainder of each resource."
    )]
    Dump(DumpFlags),
    /// Show the usage on a whole screen, with keys to sort, filter and look back
    #[command(
        long_about = "Show the node, its pods, units and processes on a whole screen, with keys to \
                      sort, filter and look back (? lists them).\n\n\
                      Follows the samples of a running agent, which is found as `status` finds it. \
                      Without one that answers, and with --interval, it takes samples itself."
    )]
    Top(TopFlags),
    /// Show which sources this host has, which are missing, and which endpoints answer
    #[command(
        long_about = "Show which sources this host has, the values that will be missing in the \
                      output, and whether each configured endpoint answers.\n\n\
                      Exit status: 0 nothing is missing, 1 a source of figures or names is missing, 2 \
                      the agent cannot work here, 3 an endpoint accepts no samples."
    )]
    Check(CheckFlags),
    /// Show the health of the running agent and its endpoints
    #[command(
        long_about = "Show the health of the running agent: its samples, its sources of names, \
                      and the state, backlog and counters of each endpoint. The agent is found by \
                      the settings of `run`: at status.socket, else at status.listen.\n\n\
                      Exit status: 0 it answered, 1 no agent answers, 2 it cannot be asked, and \
                      with --check 3 if it does not sample, or an endpoint is down or rejecting."
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
    /// Accept the samples of other nodes' agents, and answer for all of them
    #[command(
        long_about = "Accept the samples of other nodes' agents, keep them in a store and answer for \
                      all of them, until stopped. This node is not sampled.\n\n\
                      Of the settings receiver.* and sampling.interval hold: the latter is how \
                      often the agents send. The commands below look after the store's file."
    )]
    Receive(ReceiveFlags),
    /// Print a man page: that of nodetally, or that of one command
    #[command(
        long_about = "Print a man page: that of nodetally, or that of one command. To read it: \
                      nodetally man run | man -l -"
    )]
    Man(ManFlags),
    /// Print the script that completes the command line in a shell
    #[command(
        long_about = "Print the script that completes the command line in a shell. It belongs \
                      into the shell's own folder for such scripts; in bash, \
                      `source <(nodetally completions bash)` has it for this session."
    )]
    Completions(CompletionFlags),
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ManFlags {
    /// The command whose page is printed
    #[arg(value_name = "COMMAND")]
    pub command: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ReceiveFlags {
    #[command(flatten)]
    pub keys: RunFlags,
    #[command(subcommand)]
    pub store: Option<StoreCommand>,
}

/// Commands for the file of the receiver's store.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum StoreCommand {
    /// Print the size of the store, its rows and the span of its time series; it may be in use
    Info {
        #[command(flatten)]
        place: StorePlaceFlags,
        /// The output: text, or one JSON document
        #[arg(long, value_enum, default_value_t = InfoFormat::Text)]
        format: InfoFormat,
    },
    /// Write a copy of the store to a new file; it may be in use
    Backup {
        /// The new file
        #[arg(value_name = "FILE")]
        to: PathBuf,
        #[command(flatten)]
        place: StorePlaceFlags,
    },
    /// Give the room that removed rows left back to the disk; no receiver may use the store
    Compact {
        #[command(flatten)]
        place: StorePlaceFlags,
    },
}

impl StoreCommand {
    fn place(&self) -> &StorePlaceFlags {
        match self {
            Self::Info { place, .. } | Self::Backup { place, .. } | Self::Compact { place } => {
                place
            }
        }
    }
}

/// The flag for the place of a store.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct StorePlaceFlags {
    /// The store's file [default: receiver.store of the settings]
    #[arg(long, value_name = "FILE")]
    pub store: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InfoFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CompletionFlags {
    /// The shell
    #[arg(value_enum)]
    pub shell: CompletionShell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CompletionShell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RunCommandFlags {
    #[command(flatten)]
    pub keys: RunFlags,
    /// Print each request, one JSON object a line, and send none. No endpoint is connected to;
    /// state, spool and servers are left alone
    #[arg(long, action = ArgAction::SetTrue)]
    pub dry_run: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CheckFlags {
    #[command(flatten)]
    pub keys: RunFlags,
    /// The output: a table, or one JSON document
    #[arg(long, value_enum, default_value_t = CheckFormat::Table)]
    pub format: CheckFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    Table,
    Json,
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct DumpFlags {
    /// Time between the two samples, 100ms to 1h [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = dump_interval)]
    pub interval: Option<Duration>,
    /// The output: a table, one JSON document, one JSON object per line, the lists of
    /// metrics.k8s.io/v1beta1, or what is served or sent of this sample
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// The number of rows of each list of the table, and of processes that are listed [default: 10]
    #[arg(long, value_name = "N")]
    pub top: Option<usize>,
    /// The resource whose largest users come first [default: cpu]
    #[arg(long, value_enum)]
    pub sort: Option<SortKey>,
    /// Only this pod, as NAMESPACE/NAME or by its uid
    #[arg(long, value_name = "POD", value_parser = PodSelector::parse)]
    pub pod: Option<PodSelector>,
    /// Only this unit, such as ssh.service
    #[arg(long, value_name = "NAME")]
    pub unit: Option<String>,
    /// Only the pods of this namespace
    #[arg(long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Only processes of this user, by name or uid
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// Only processes of this name, as in the list of processes
    #[arg(long, value_name = "NAME")]
    pub process: Option<String>,
    /// Sample again and again until stopped, with a table that stays in its place on a terminal
    /// [default: every 2s]
    #[arg(
        long,
        value_name = "INTERVAL",
        num_args = 0..=1,
        default_missing_value = "2s",
        value_parser = dump_interval,
        conflicts_with = "interval"
    )]
    pub watch: Option<Duration>,
    /// The table of each resource's parts and remainder, and not one line
    #[arg(long, action = ArgAction::SetTrue)]
    pub balance: bool,
    /// Each gap with its reason, and not one line
    #[arg(long, action = ArgAction::SetTrue)]
    pub gaps: bool,
    /// Read command lines of processes; they can hold secrets
    #[arg(long, action = ArgAction::SetTrue)]
    pub cmdline: bool,
    /// Colour in the table; auto: on a terminal [default: auto]
    #[arg(long, value_enum, value_name = "WHEN")]
    pub color: Option<ColorChoice>,
    /// Show two captured instants, DIR/t0 and DIR/t1, instead of this host
    #[arg(long, value_name = "DIR")]
    pub replay: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct TopFlags {
    /// Take samples here at this interval, 100ms to 1h, also where an agent runs [default without an
    /// agent: 2s]
    #[arg(long, value_name = "DURATION", value_parser = dump_interval)]
    pub interval: Option<Duration>,
    /// Follow the agent at this unix socket, whatever the settings say
    #[arg(long, value_name = "PATH", conflicts_with = "interval")]
    pub socket: Option<PathBuf>,
    /// The state directory of the agent, as `run` has it
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<String>,
    /// Colour; auto: unless NO_COLOR is set
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    pub color: ColorChoice,
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
    /// The output: a table, or the agent's own JSON
    #[arg(long, value_enum, default_value_t = StatusFormat::Table)]
    pub format: StatusFormat,
    /// Exit with 3 if the agent does not sample, or an endpoint is down or rejects all posts
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
    /// Node and pods as the kubelet's /stats/summary has them: one JSON document
    StatsSummary,
    /// The bodies of the dialect otlp in its JSON form, one a line
    OtlpJson,
    /// The text that /metrics serves, without the agent's own metrics
    #[value(name = "openmetrics")]
    OpenMetrics,
    /// The requests of remote write, one JSON object a line: {"path": …, "body": …}
    RemoteWriteJson,
    /// The requests of resource-api, one JSON object a line
    ResourceApi,
    /// The requests of pod-batch, one JSON object a line
    PodBatch,
    /// The requests of pod-lifecycle, one JSON object a line
    PodLifecycle,
}

impl Format {
    /// The dialect whose requests it prints; `None`: it prints something else.
    #[must_use]
    pub const fn dialect(self) -> Option<Dialect> {
        match self {
            Self::OtlpJson => Some(Dialect::Otlp),
            Self::RemoteWriteJson => Some(Dialect::RemoteWrite),
            Self::ResourceApi => Some(Dialect::ResourceApi),
            Self::PodBatch => Some(Dialect::PodBatch),
            Self::PodLifecycle => Some(Dialect::PodLifecycle),
            Self::Table
            | Self::Json
            | Self::Ndjson
            | Self::MetricsK8sIo
            | Self::StatsSummary
            | Self::OpenMetrics => None,
        }
    }

    /// Those with rows that flags select and sort. The others have the node and all its pods.
    pub const WITH_ROWS: &'static [Self] = &[Self::Table, Self::Json, Self::Ndjson];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum SortKey {
    #[default]
    Cpu,
    Memory,
    Disk,
    Network,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ColorChoice {
    #[default]
    Auto,
    Always,
    Never,
}

/// The pod that a flag names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PodSelector {
    Name { namespace: String, name: String },
    Uid(PodUid),
}

impl PodSelector {
    fn parse(text: &str) -> Result<Self, InvalidPod> {
        if let Some(uid) = PodUid::parse(text.as_bytes()) {
            return Ok(Self::Uid(uid));
        }
        match text.split_once('/') {
            Some((namespace, name))
                if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
            {
                Ok(Self::Name { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            // A name without its namespace looks like a static pod's own uid, and means no pod.
            _ => Err(InvalidPod),
        }
    }
}

/// The error for a text that names no pod.
#[derive(Debug, thiserror::Error)]
#[error("no pod; allowed: NAMESPACE/NAME, or a pod's uid")]
struct InvalidPod;

fn dump_interval(text: &str) -> Result<Duration, InvalidDuration> {
    parse_duration(text, Duration::from_millis(100)..=Duration::from_secs(60 * 60))
}

impl Cli {
    /// The flags that override settings.
    ///
    /// `dump --interval` is not one of them: it is the time between two samples, not the interval
    /// of `run`.
    #[must_use]
    pub fn overrides(&self) -> Flags {
        let mut flags = self.global.keys.0.clone();
        match &self.command {
            Command::Run(run) => flags.extend(&run.keys.0),
            Command::Check(check) => flags.extend(&check.keys.0),
            Command::Config(run) => flags.extend(&run.0),
            Command::Receive(receive) => {
                flags.extend(&receive.keys.0);
                if let Some(file) =
                    receive.store.as_ref().and_then(|store| store.place().store.as_ref())
                {
                    flags.set(&keys::RECEIVER_STORE, file);
                }
            }
            Command::Dump(dump) if dump.cmdline => flags.set(&keys::SAMPLING_CMDLINE, "true"),
            Command::Dump(_) | Command::Man(_) | Command::Completions(_) => {}
            Command::Top(TopFlags { state_dir, .. })
            | Command::Status(StatusFlags { state_dir, .. }) => {
                if let Some(dir) = state_dir {
                    flags.set(&keys::STATE_DIR, dir);
                }
            }
        }
        flags
    }
}

/// Every key with its variables: the end of `nodetally config --help`.
fn keys_help() -> String {
    let mut help =
        format!("Keys and their variables ({} names the file):\n", keys::CONFIG_VARIABLE);
    let width = KEYS.iter().map(|key| key.path().len()).max().unwrap_or(0);
    for key in KEYS {
        let variables = match key.environment {
            [] => "(none; set in the file)".to_owned(),
            variables => variables.join(", "),
        };
        help.push_str(&format!("  {:<width$}  {variables}\n", key.path()));
    }
    help
}
