//! `nodetally dump`: the usage between two samples.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};

use clap::ValueEnum as _;

use super::args::{DumpFlags, Format};
use super::dump_posts;
use super::observed::Observed;
use super::output::concluded;
use super::table::{self, Page, Style};
use super::view;
use crate::attribution;
use crate::clock;
use crate::config::Settings;
use crate::disk_usage::node;
use crate::ledger::{Account, Ledger};
use crate::payload::dialect::Dialect;
use crate::payload::dump::{self, Dump, HostFacts};
use crate::payload::kubelet::MachineFacts;
use crate::payload::kubelet::summary::Summary;
use crate::payload::metrics_k8s_io;
use crate::printable::printable_lines;
use crate::runtime::{capture, host, sources, startup, wait};
use crate::snapshot::gaps::{Gap, GapReason, Gaps};
use crate::snapshot::processes::ProcessDetail;
use crate::snapshot::sampler::{Sampler, SamplerOptions};

/// The time limit for `statfs` over all local filesystems.
const FILESYSTEMS_DEADLINE: Duration = Duration::from_secs(1);

/// The longest wait for names after the second sample.
const NAMES_DEADLINE: Duration = Duration::from_secs(3);

/// The time between the two samples, and the number of rows, where no flag says otherwise.
const INTERVAL: Duration = Duration::from_secs(1);
const TOP: usize = 10;

/// Samples twice and prints the usage in between.
pub fn run(settings: &Settings, flags: &DumpFlags) -> anyhow::Result<()> {
    refuse_idle_flags(flags)?;
    let observed = match &flags.replay {
        Some(dir) => replay(dir)?,
        None => observe(settings, flags)?,
    };
    let view = view::select(&observed.account, &observed.catalog, flags, flags.top.unwrap_or(TOP))?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = match flags.format {
        Format::Table => {
            let page = Page {
                host: &observed.host,
                account: &observed.account,
                catalog: &observed.catalog,
                view: &view,
                filesystems: &observed.filesystems,
                gaps: &observed.gaps,
            };
            let style = Style::of_output(flags.color.unwrap_or_default(), flags.top.unwrap_or(TOP));
            out.write_all(table::render(&page, style).as_bytes())
        }
        Format::MetricsK8sIo => {
            let name = &observed.host.name;
            let wall = observed.account.wall;
            let (nodes, pods) =
                metrics_k8s_io::of_account(&observed.account, &observed.catalog, name, wall);
            writeln!(out, "{}\n{}", nodes.to_json(), pods.to_json())
        }
        Format::StatsSummary => {
            let sample = observed.metrics(settings);
            let summary = Summary::of_sample(&sample, &observed.machine);
            writeln!(out, "{}", summary.to_json())
        }
        Format::OtlpJson => {
            out.write_all(&dump_posts::json_lines(settings, Dialect::Otlp, &observed)?)
        }
        Format::RemoteWriteJson | Format::ResourceApi | Format::PodBatch | Format::PodLifecycle => {
            let dialect = flags.format.dialect().unwrap_or_default();
            let lines = dump_posts::request_lines(settings, dialect, &observed)?;
            if lines.is_empty() {
                let why = dump_posts::why_none(settings, dialect, &observed);
                note(&format!("--format {} has nothing to print: {why}", name(flags.format)));
            }
            out.write_all(&lines)
        }
        Format::OpenMetrics => dump_posts::write_openmetrics(settings, &observed, &mut out),
        Format::Json | Format::Ndjson => {
            let dump = Dump {
                host: &observed.host,
                account: &observed.account,
                catalog: &observed.catalog,
                gaps: &observed.gaps,
                filesystems: Some(&observed.filesystems),
                pods: view.pods,
                units: view.units,
                processes: view.processes,
                exited_children: observed.account.exited_children.iter().collect(),
                rests: view.rests,
            };
            match flags.format {
                Format::Json => dump::write_json(&dump, &mut out),
                _ => dump::write_ndjson(&dump, &mut out),
            }
        }
    };
    concluded(written.and_then(|()| out.flush()))
}

/// The name of a format on the command line.
fn name(format: Format) -> String {
    format.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Refuses flags that would change nothing of what is printed.
fn refuse_idle_flags(flags: &DumpFlags) -> anyhow::Result<()> {
    let of_formats: [(&str, bool, &[Format]); 6] = [
        ("--top", flags.top.is_some(), Format::WITH_ROWS),
        ("--sort", flags.sort.is_some(), Format::WITH_ROWS),
        ("--pod", flags.pod.is_some(), Format::WITH_ROWS),
        ("--unit", flags.unit.is_some(), Format::WITH_ROWS),
        ("--cmdline", flags.cmdline, Format::WITH_ROWS),
        ("--color", flags.color.is_some(), &[Format::Table]),
    ];
    for (flag, is_given, formats) in of_formats {
        if is_given && !formats.contains(&flags.format) {
            let format = name(flags.format);
            let names: Vec<String> = formats.iter().copied().map(name).collect();
            bail!("{flag} has no effect with --format {format}; allowed: {}", names.join(", "));
        }
    }
    let of_this_host = [("--interval", flags.interval.is_some()), ("--cmdline", flags.cmdline)];
    for (flag, is_given) in of_this_host {
        if is_given && flags.replay.is_some() {
            bail!("{flag} has no effect with --replay, which shows two captured instants");
        }
    }
    Ok(())
}

/// Writes one line to standard error.
fn note(text: &str) {
    let text = printable_lines(text);
    let _ = writeln!(io::stderr(), "nodetally: {text}");
}

/// The options of a sampler whose every figure is looked at.
pub(super) fn sampler_options(settings: &Settings) -> SamplerOptions {
    SamplerOptions {
        processes: ProcessDetail { io: true, cmdline: settings.sampling.cmdline },
        detail_ticks: 1,
        ..startup::run_options(settings)
    }
}

fn observe(settings: &Settings, flags: &DumpFlags) -> anyhow::Result<Observed> {
    let mut sampler = startup::open_sampler(settings, sampler_options(settings))?;
    // Only the signal that ends the program stops it.
    let (_waker, stop) = wait::stop_signal().context("a pipe")?;
    let beside = sources::BackgroundSources::start(settings).context("the sources of names")?;
    let mut ledger = Ledger::new(sampler.roots().units);
    let mut account = Account::default();
    ledger.settle(sampler.sample(&clock::boot_time, clock::wall_time()), &mut account);
    let due = clock::boot_time().plus(flags.interval.unwrap_or(INTERVAL));
    wait::until(due, &stop, &mut sampler);
    let snapshot = sampler.sample(&clock::boot_time, clock::wall_time());
    let catalog = beside.catalog(NAMES_DEADLINE);
    ledger.set_rules(catalog.cgroup_rules());
    ledger.settle(snapshot, &mut account);

    let (filesystems, all_answered) = node::read(sampler.roots(), FILESYSTEMS_DEADLINE);
    let mut gaps = sampler.into_gaps();
    gaps.extend(&account.gaps);
    if !all_answered {
        let consequence = "a filesystem did not answer within a second: it and those after it \
                           are missing";
        let path = (*b"statfs").into();
        gaps.standing.push(Gap { path, reason: GapReason::NotOffered { consequence } });
    }
    let machine = host::machine(&host::roots(settings));
    // As `run` has it.
    let in_kubernetes = settings.directory.knows_pods();
    let host = host::facts(settings);
    let is_replayed = false;
    Ok(Observed { machine, host, in_kubernetes, account, catalog, gaps, filesystems, is_replayed })
}

/// Reads both instants of a capture, each by its own clock.
fn replay(dir: &Path) -> anyhow::Result<Observed> {
    let options = SamplerOptions {
        processes: ProcessDetail { io: true, cmdline: false },
        says_more: attribution::says_more,
        ..SamplerOptions::default()
    };
    let instants = capture::load(dir)?;
    let mut account = Account::default();
    let mut ledger = Ledger::new(instants[0].units);
    let mut gaps = Gaps::default();
    let mut host = HostFacts::default();
    let mut machine = MachineFacts::default();
    for roots in instants {
        let (at, wall) =
            roots.captured.as_ref().map(|instant| (instant.at, instant.wall)).unwrap_or_default();
        host = host::captured_facts(&roots);
        machine = host::machine(&roots);
        let procfs = roots.procfs.display().to_string();
        let mut sampler = Sampler::open(roots, options)
            .map_err(|failure| anyhow::anyhow!("{procfs} cannot be read: {failure:?}"))?;
        ledger.settle(sampler.sample(&|| at, wall), &mut account);
        gaps = sampler.into_gaps();
        gaps.extend(&account.gaps);
    }
    let catalog = capture::load_catalog(dir)?;
    // These settings are not those of the captured host.
    let in_kubernetes = !account.pods.is_empty() || !catalog.pods().is_empty();
    let filesystems = Vec::new();
    let is_replayed = true;
    Ok(Observed { machine, host, in_kubernetes, account, catalog, gaps, filesystems, is_replayed })
}
