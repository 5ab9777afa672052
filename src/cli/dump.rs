//! `nodetally dump`: the usage between two samples.

use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};

use clap::ValueEnum as _;
use nix::unistd::AccessFlags;

use super::args::{DumpFlags, Format};
use super::dump_posts;
use super::observed::Observed;
use super::output::concluded;
use super::table::{self, Page, Style};
use super::users::Users;
use super::{view, watch};
use crate::attribution::{self, Runtime};
use crate::clock;
use crate::config::{DirectorySource, Settings};
use crate::disk_usage::node;
use crate::ledger::account::UnitKind;
use crate::ledger::{Account, Ledger};
use crate::payload::dialect::Dialect;
use crate::payload::dump::{self, Dump, HostFacts};
use crate::payload::kubelet::MachineFacts;
use crate::payload::kubelet::summary::Summary;
use crate::payload::metrics_k8s_io;
use crate::printable::printable_lines;
use crate::quantity::counted;
use crate::runtime::wait::{StopSignal, Woken};
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

/// The time to the first table of `--watch`, if its interval is longer.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Samples twice and prints the usage in between, with `--watch` again and again.
pub fn run(settings: &Settings, flags: &DumpFlags) -> anyhow::Result<()> {
    refuse_idle_flags(flags)?;
    if let Some(interval) = flags.watch {
        return watch(settings, flags, interval);
    }
    let observed = match &flags.replay {
        Some(dir) => replay(dir)?,
        None => {
            let mut observer = Observer::start(settings, wait::stop_signal)?;
            // Only the signal that ends the program stops it.
            let observed = observer.next(flags.interval.unwrap_or(INTERVAL))?;
            observed.context("the wait between the samples was ended")?
        }
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = write(settings, flags, &observed, &mut out)?;
    concluded(written.and_then(|()| out.flush()))
}

/// One sampler and one output after the other, until a signal.
fn watch(settings: &Settings, flags: &DumpFlags, interval: Duration) -> anyhow::Result<()> {
    let stop = || Ok(((), watch::stop_by_signal()?));
    let mut observer = Observer::start(settings, stop)?;
    let is_terminal = io::stdout().is_terminal() && flags.format == Format::Table;
    let screen = is_terminal.then(watch::WatchScreen::open).transpose().context("the terminal")?;
    let (mut wait, mut last) = (interval.min(FIRST_WAIT), Vec::new());
    let mut is_first = true;
    while let Some(observed) = observer.next(wait)? {
        wait = interval;
        last.clear();
        // What a filter names may come again.
        let written = match write(settings, flags, &observed, &mut last) {
            Err(error) if !is_first => {
                last.clear();
                writeln!(last, "{error}")
            }
            written => written?,
        };
        concluded(written)?;
        let shown = match &screen {
            Some(screen) => screen.draw(&String::from_utf8_lossy(&last)),
            None => {
                let mut out = io::stdout().lock();
                let between: &[u8] =
                    if is_first || flags.format != Format::Table { b"" } else { b"\n" };
                out.write_all(between)
                    .and_then(|()| out.write_all(&last))
                    .and_then(|()| out.flush())
            }
        };
        is_first = false;
        if shown.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return Ok(());
        }
        concluded(shown)?;
    }
    // The last table stays in what the terminal can scroll back to.
    if screen.is_some() {
        drop(screen);
        concluded(io::stdout().lock().write_all(&last))?;
    }
    Ok(())
}

/// Writes the output in its format. The outer error is one of the input, the inner one of `out`.
fn write(
    settings: &Settings,
    flags: &DumpFlags,
    observed: &Observed,
    out: &mut impl Write,
) -> anyhow::Result<io::Result<()>> {
    let top = flags.top.unwrap_or(TOP);
    let account = &observed.account;
    let mut users = match &flags.user {
        Some(_) => Users::read(&observed.procfs, account.processes.iter()),
        None => Users::default(),
    };
    let view = view::select(account, &observed.catalog, flags, &users, top)?;
    let written = match flags.format {
        Format::Table => {
            if flags.user.is_none() {
                users = Users::read(&observed.procfs, view.processes.iter().copied());
            }
            let page = Page {
                host: &observed.host,
                account,
                catalog: &observed.catalog,
                view: &view,
                filesystems: &observed.filesystems,
                gaps: &observed.gaps,
                users: &users,
                balance: flags.balance,
                all_gaps: flags.gaps,
            };
            let style = Style::of_output(flags.color.unwrap_or_default(), top);
            out.write_all(table::render(&page, style).as_bytes())
        }
        Format::MetricsK8sIo => {
            note_unnamed_pods(observed);
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
            out.write_all(&dump_posts::json_lines(settings, Dialect::Otlp, observed)?)
        }
        Format::RemoteWriteJson | Format::ResourceApi | Format::PodBatch | Format::PodLifecycle => {
            let dialect = flags.format.dialect().unwrap_or_default();
            let lines = dump_posts::request_lines(settings, dialect, observed)?;
            if lines.is_empty() {
                let why = dump_posts::why_none(settings, dialect, observed);
                note(&format!("--format {} has nothing to print: {why}", name(flags.format)));
            }
            out.write_all(&lines)
        }
        Format::OpenMetrics => dump_posts::write_openmetrics(settings, observed, out),
        Format::Json | Format::Ndjson => {
            let dump = Dump {
                host: &observed.host,
                account: &observed.account,
                catalog: &observed.catalog,
                gaps: &observed.gaps,
                filesystems: Some(&observed.filesystems),
                pods: view.pods,
                container_weight: view::weight_by(view.sort),
                units: view.units,
                processes: view.processes,
                exited_children: view.exited_children,
                rests: view.rests,
            };
            match flags.format {
                Format::Json => dump::write_json(&dump, out),
                _ => dump::write_ndjson(&dump, out),
            }
        }
    };
    Ok(written)
}

/// The name of a format on the command line.
fn name(format: Format) -> String {
    format.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Refuses flags that would change nothing of what is printed.
fn refuse_idle_flags(flags: &DumpFlags) -> anyhow::Result<()> {
    let of_formats: [(&str, bool, &[Format]); 12] = [
        ("--top", flags.top.is_some(), Format::WITH_ROWS),
        ("--sort", flags.sort.is_some(), Format::WITH_ROWS),
        ("--pod", flags.pod.is_some(), Format::WITH_ROWS),
        ("--unit", flags.unit.is_some(), Format::WITH_ROWS),
        ("--namespace", flags.namespace.is_some(), Format::WITH_ROWS),
        ("--user", flags.user.is_some(), Format::WITH_ROWS),
        ("--process", flags.process.is_some(), Format::WITH_ROWS),
        ("--watch", flags.watch.is_some(), Format::WITH_ROWS),
        ("--cmdline", flags.cmdline, Format::WITH_ROWS),
        ("--balance", flags.balance, &[Format::Table]),
        ("--gaps", flags.gaps, &[Format::Table]),
        ("--color", flags.color.is_some(), &[Format::Table]),
    ];
    for (flag, is_given, formats) in of_formats {
        if is_given && !formats.contains(&flags.format) {
            let format = name(flags.format);
            let names: Vec<String> = formats.iter().copied().map(name).collect();
            bail!("{flag} has no effect with --format {format}; allowed: {}", names.join(", "));
        }
    }
    let of_this_host = [
        ("--interval", flags.interval.is_some()),
        ("--watch", flags.watch.is_some()),
        ("--user", flags.user.is_some()),
        ("--cmdline", flags.cmdline),
    ];
    for (flag, is_given) in of_this_host {
        if is_given && flags.replay.is_some() {
            bail!("{flag} has no effect with --replay, which shows two captured instants");
        }
    }
    Ok(())
}

/// Says how many pods a list of names leaves out, and what would name them.
fn note_unnamed_pods(observed: &Observed) {
    let pods = &observed.account.pods;
    let unnamed = pods.iter().filter(|pod| observed.catalog.pod(pod.uid).is_none()).count();
    if unnamed > 0 {
        let all = pods.len();
        note(&format!(
            "--format metrics-k8s-io leaves out {unnamed} of {}: their names are not known; \
             directory.sources sets where names come from",
            counted(all, "pod", "pods")
        ));
    }
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

/// Samples this host, each time with the usage since the sample before.
struct Observer<'s, Held> {
    settings: &'s Settings,
    sampler: Sampler,
    ledger: Ledger,
    beside: sources::BackgroundSources,
    /// Keeps the end of the wait open.
    _held: Held,
    stop: StopSignal,
    /// The wait for names; none after the first.
    patience: Option<Duration>,
}

impl<'s, Held> Observer<'s, Held> {
    /// Takes the first sample.
    fn start(
        settings: &'s Settings,
        stop: impl FnOnce() -> io::Result<(Held, StopSignal)>,
    ) -> anyhow::Result<Self> {
        let mut sampler = startup::open_sampler(settings, sampler_options(settings))?;
        let (held, stop) = stop().context("a pipe")?;
        let mut ledger = Ledger::new(sampler.roots().units);
        let mut account = Account::default();
        ledger.settle(sampler.sample(&clock::boot_time, clock::wall_time()), &mut account);
        let beside = sources::BackgroundSources::start(&with_engines(settings, &account))
            .context("the sources of names")?;
        let patience = Some(NAMES_DEADLINE);
        Ok(Self { settings, sampler, ledger, beside, _held: held, stop, patience })
    }

    /// Waits, and samples; `None`: the wait was ended.
    fn next(&mut self, interval: Duration) -> anyhow::Result<Option<Observed>> {
        let Self { settings, sampler, ledger, .. } = self;
        let due = clock::boot_time().plus(interval);
        if wait::until(due, &self.stop, sampler) != Woken::Due {
            return Ok(None);
        }
        let snapshot = sampler.sample(&clock::boot_time, clock::wall_time());
        let catalog = match self.patience.take() {
            Some(patience) => self.beside.catalog(patience),
            None => self.beside.latest(),
        };
        ledger.set_rules(catalog.cgroup_rules());
        let mut account = Account::default();
        ledger.settle(snapshot, &mut account);

        let (filesystems, all_answered) = node::read(sampler.roots(), FILESYSTEMS_DEADLINE);
        let mut gaps = sampler.snapshot().gaps.clone();
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
        let procfs = sampler.roots().procfs.clone();
        Ok(Some(Observed {
            machine,
            host,
            in_kubernetes,
            account,
            catalog,
            gaps,
            filesystems,
            procfs,
            is_replayed: false,
        }))
    }
}

/// The settings, with the engines whose containers run here and whose socket is there as sources of
/// names. An engine without containers is not asked: a request can start it.
pub(super) fn with_engines(settings: &Settings, account: &Account) -> Settings {
    let mut settings = settings.clone();
    let directory = &mut settings.directory;
    let engines = [
        (Runtime::Docker, DirectorySource::Docker, &directory.docker_socket),
        (Runtime::Podman, DirectorySource::Podman, &directory.podman_socket),
    ];
    for (wanted, source, socket) in engines {
        let has_containers = account.units.iter().any(
            |unit| matches!(unit.kind, UnitKind::Container { runtime, .. } if runtime == wanted),
        );
        // Those who may not write to it cannot ask.
        let can_ask = || nix::unistd::access(socket, AccessFlags::W_OK).is_ok();
        if has_containers && !directory.sources.contains(&source) && can_ask() {
            directory.sources.push(source);
        }
    }
    settings
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
    let mut captured_procfs = PathBuf::new();
    for roots in instants {
        let (at, wall) =
            roots.captured.as_ref().map(|instant| (instant.at, instant.wall)).unwrap_or_default();
        host = host::captured_facts(&roots);
        machine = host::machine(&roots);
        let procfs = roots.procfs.display().to_string();
        let mut sampler = Sampler::open(roots, options)
            .map_err(|failure| anyhow::anyhow!("{procfs} cannot be read: {failure:?}"))?;
        ledger.settle(sampler.sample(&|| at, wall), &mut account);
        captured_procfs = sampler.roots().procfs.clone();
        gaps = sampler.into_gaps();
        gaps.extend(&account.gaps);
    }
    let catalog = capture::load_catalog(dir)?;
    // These settings are not those of the captured host.
    let in_kubernetes = !account.pods.is_empty() || !catalog.pods().is_empty();
    let filesystems = Vec::new();
    let is_replayed = true;
    Ok(Observed {
        machine,
        host,
        in_kubernetes,
        account,
        catalog,
        gaps,
        filesystems,
        procfs: captured_procfs,
        is_replayed,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{Cli, Command, SortKey};
    use crate::cli::view::View;

    fn flags(arguments: &[&str]) -> DumpFlags {
        let all = ["nodetally", "dump"].iter().chain(arguments);
        match Cli::try_parse_from(all).unwrap().command {
            Command::Dump(flags) => flags,
            other => panic!("{other:?}"),
        }
    }

    fn host(name: &str) -> Observed {
        replay(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hosts").join(name)).unwrap()
    }

    const HOSTS: [&str; 8] = [
        "3.10-v1-only",
        "5.15-hybrid",
        "6.1-containerd-kind",
        "6.12-podman-bare",
        "6.8-crio-systemd",
        "7.2-containerd-cgroupfs",
        "7.2-containerd-systemd",
        "7.2-containerd-systemd-static",
    ];

    fn view<'a>(observed: &'a Observed, flags: &DumpFlags) -> View<'a> {
        let top = flags.top.unwrap_or(TOP);
        view::select(&observed.account, &observed.catalog, flags, &Users::default(), top).unwrap()
    }

    fn printed(observed: &Observed, arguments: &[&str], width: Option<usize>) -> String {
        let flags = flags(arguments);
        let page = Page {
            host: &observed.host,
            account: &observed.account,
            catalog: &observed.catalog,
            view: &view(observed, &flags),
            filesystems: &observed.filesystems,
            gaps: &observed.gaps,
            users: &Users::default(),
            balance: flags.balance,
            all_gaps: flags.gaps,
        };
        table::render(&page, Style { colour: false, width, top: flags.top.unwrap_or(TOP) })
    }

    #[test]
    fn every_row_fits_and_the_largest_is_on_the_first_screen() {
        for name in HOSTS {
            let observed = host(name);
            for sort in ["cpu", "memory", "disk", "network"] {
                for width in [60, 80, 100, 132, 200] {
                    for more in [&["--top", "40"][..], &["--balance", "--gaps"]] {
                        let arguments = [&["--sort", sort][..], more].concat();
                        let text = printed(&observed, &arguments, Some(width));
                        for line in text.lines() {
                            assert!(line.chars().count() <= width, "{name} {width} {line:?}");
                        }
                    }
                }
                let text = printed(&observed, &["--sort", sort], Some(80));
                let screen: Vec<&str> = text.lines().take(24).collect();
                let screen = screen.join("\n");
                let view = view(&observed, &flags(&["--sort", sort]));
                let process = view.processes[0];
                if view::process_weight(process, view.sort) > 0 {
                    let words: Vec<&str> = screen.split_whitespace().collect();
                    let pid = format!("(pid {})", process.key.pid);
                    let found = words.join(" ").contains(&pid);
                    assert!(found, "{name} {sort}\n{screen}");
                }
                // The first row of the first list too.
                let unit = view.units.first().map(|unit| shown(&unit.name()));
                let pod = view.pods.first().map(|pod| shown(pod.uid.to_string().as_bytes()));
                let first = if view.largest_is_a_unit() { unit } else { pod };
                // Their rows have names of another source than the account.
                let is_named = name.starts_with("7.2-") || name == "6.12-podman-bare";
                if let Some(first) = first.filter(|_| !is_named) {
                    let rows = screen.lines().filter(|line| line.starts_with(&first));
                    assert!(rows.count() >= 1, "{name} {sort} {first}\n{screen}");
                }
            }
        }
    }

    #[test]
    fn the_largest_unit_has_one_name_in_its_line_and_in_its_row() {
        let mut compared = 0;
        for name in HOSTS {
            let observed = host(name);
            for sort in ["cpu", "memory", "disk", "network"] {
                let arguments = ["--sort", sort];
                if !view(&observed, &flags(&arguments)).largest_is_a_unit() {
                    continue;
                }
                let text = printed(&observed, &arguments, Some(300));
                let mut lines = text.lines();
                let Some(line) = lines.find(|line| line.starts_with("largest ")) else { continue };
                // The owner comes first, if any used something.
                let owner = line.split_once("; ").and_then(|(owner, _)| owner.split_once(" in "));
                let Some((_, owner)) = owner else { continue };
                let row = lines.skip_while(|line| !line.starts_with("HOST UNITS")).nth(1).unwrap();
                assert!(row.starts_with(owner.trim()), "{name} {sort}: {line:?} {row:?}");
                compared += 1;
            }
        }
        assert!(compared >= 4, "{compared}");
    }

    fn shown(name: &[u8]) -> String {
        let name = String::from_utf8_lossy(name).into_owned();
        name.chars().take(6).collect()
    }

    /// As truth.tsv has them: 138 MiB and 22 MiB, and by CPU 0.30 and 0.05.
    #[test]
    fn every_list_is_sorted_by_the_key() {
        let observed = host("6.8-crio-systemd");
        for (sort, order) in [("memory", ["d0a9", "689d"]), ("cpu", ["d0a9", "689d"])] {
            let view = view(&observed, &flags(&["--sort", sort]));
            let pod = view.pods.iter().find(|pod| pod.uid.to_string().starts_with("cd47")).unwrap();
            let containers = view.containers_of(&observed.account, pod.uid);
            let ids: Vec<String> =
                containers.iter().map(|one| one.id.to_string().chars().take(4).collect()).collect();
            assert_eq!(ids, order, "{sort}");
        }
        for name in HOSTS {
            let observed = host(name);
            for top in ["1", "3", "8"] {
                let by = |sort: &str| flags(&["--top", top, "--sort", sort]);
                let rests = view(&observed, &by("memory")).rests;
                assert!(rests.iter().map(|rest| rest.resident).rev().is_sorted(), "{name}");
                let rests = view(&observed, &by("cpu")).rests;
                assert!(rests.iter().map(|rest| rest.cpu_usage_usec).rev().is_sorted(), "{name}");
                for sort in [SortKey::Cpu, SortKey::Memory, SortKey::Disk] {
                    let key = format!("{sort:?}").to_lowercase();
                    let view = view(&observed, &by(&key));
                    for pod in &view.pods {
                        let all = view.containers_of(&observed.account, pod.uid);
                        let weights = all.iter().map(|one| view::weight(&one.usage, sort));
                        assert!(weights.rev().is_sorted(), "{name} {key}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_rest_of_an_owner_is_sorted_by_its_disk_too() {
        // batch reads 6.40 MiB/s; the others of its row use more CPU.
        let observed = host("6.8-crio-systemd");
        let mut flags = flags(&["--sort", "disk"]);
        flags.top = Some(0);
        let rests = view(&observed, &flags).rests;
        let first = format!("{:?}", rests[0].owner);
        assert!(first.contains("cd47dd0a"), "{first}");
        let second = format!("{:?}", rests[1].owner);
        assert!(second.contains("30a4aa2d"), "{second}");
    }

    #[test]
    fn sandboxes_that_only_hold_namespaces_are_in_their_pod_alone() {
        let observed = host("7.2-containerd-systemd");
        let view = view(&observed, &flags(&[]));
        let pod = view
            .pods
            .iter()
            .find(|pod| view::name_of(&observed.catalog, pod) == Some(("shop", "exact")));
        let pod = pod.unwrap();
        assert_eq!(observed.account.containers_of(pod.uid).len(), 2);
        let shown = view.containers_of(&observed.account, pod.uid);
        let known = observed.catalog.pod(pod.uid).unwrap();
        let names: Vec<_> =
            shown.iter().map(|one| known.container(one.id).map(|named| &*named.name)).collect();
        assert_eq!(names, [Some("main")]);
    }

    #[test]
    fn filters_leave_what_they_name() {
        let observed = host("7.2-containerd-systemd");
        let of_shop = view(&observed, &flags(&["--namespace", "shop"]));
        assert!(!of_shop.pods.is_empty() && of_shop.pods.len() < observed.account.pods.len());
        for pod in &of_shop.pods {
            assert_eq!(view::name_of(&observed.catalog, pod).unwrap().0, "shop");
        }
        assert!(of_shop.units.is_empty());
        let select = |arguments: &[&str]| {
            let users = Users::default();
            let (account, catalog) = (&observed.account, &observed.catalog);
            view::select(account, catalog, &flags(arguments), &users, TOP).map(|_| ())
        };
        assert!(select(&["--namespace", "shops"]).unwrap_err().to_string().contains("no such pod"));

        let observed = host("6.8-crio-systemd");
        let found = view(&observed, &flags(&["--process", "postgres"]));
        let pids: Vec<u32> = found.processes.iter().map(|one| one.key.pid).collect();
        assert!([1541, 1542, 1543].iter().all(|pid| pids.contains(pid)), "{pids:?}");
        assert!(found.processes.iter().all(|one| one.comm.as_bytes() == b"postgres"));
        assert!(found.pods.is_empty() && found.units.is_empty());
        // The kernel keeps 15 bytes of systemd-journald.
        let found = view(&observed, &flags(&["--process", "systemd-journald"]));
        assert_eq!(found.processes.len(), 1);
        let users = Users::default();
        let none = flags(&["--process", "postgras"]);
        let error = view::select(&observed.account, &observed.catalog, &none, &users, TOP);
        let error = error.err().unwrap().to_string();
        assert!(error.ends_with("did you mean postgres?"), "{error}");
    }

    #[test]
    fn an_interval_of_watch_is_optional() {
        assert_eq!(flags(&["--watch"]).watch, Some(Duration::from_secs(2)));
        assert_eq!(flags(&["--watch", "500ms"]).watch, Some(Duration::from_millis(500)));
        assert_eq!(flags(&["--watch", "--top", "3"]).watch, Some(Duration::from_secs(2)));
        assert_eq!(flags(&[]).watch, None);
        assert!(Cli::try_parse_from(["n", "dump", "--watch", "--interval", "1s"]).is_err());
    }

    #[test]
    fn engines_are_asked_only_where_their_containers_run_and_their_socket_is() {
        use crate::config::Inputs;
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("podman.sock");
        let observed = host("6.12-podman-bare");
        let settings = |socket: &Path| {
            let environment = vec![(
                "NODETALLY_DIRECTORY_PODMAN_SOCKET".to_owned(),
                socket.display().to_string(),
            )];
            let inputs = Inputs {
                environment,
                host_name: "node-1".to_owned(),
                is_root: true,
                ..Inputs::default()
            };
            Settings::resolve(inputs).unwrap()
        };
        let absent = with_engines(&settings(&socket), &observed.account);
        assert!(absent.directory.sources.is_empty());
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let found = with_engines(&settings(&socket), &observed.account);
        assert_eq!(found.directory.sources, [DirectorySource::Podman]);
        let none = with_engines(&settings(&socket), &Account::default());
        assert!(none.directory.sources.is_empty());
    }
}
