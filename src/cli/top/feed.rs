//! The samples: those of a running agent, or this program's own.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use crate::cli::agent_client::{AskError, SampleLines, StatusAddress, newest_sample};
use crate::cli::dump;
use crate::clock;
use crate::config::Settings;
use crate::ledger::{Account, Ledger};
use crate::payload::dump::decode::{DumpLine, decode_lines};
use crate::payload::dump::{Dump, HostFacts, largest_processes, write_ndjson};
use crate::printable::printable;
use crate::runtime::sources::BackgroundSources;
use crate::runtime::wait::{self, StopSignal, Waker, Woken};
use crate::runtime::{host, startup};
use crate::snapshot::gaps::Gaps;
use crate::snapshot::sampler::Sampler;

/// The time between two questions to an agent. Most are answered with "nothing new".
const ASK_EVERY: Duration = Duration::from_secs(1);

/// The most questions to an agent that has no sample yet. It has one about a second after its start.
const EARLY_ASKS_MAX: usize = 5;

/// The longest wait for the first figures.
const FIRST_FIGURES: Duration = Duration::from_secs(1);

/// The most processes of an own sample.
const PROCESSES_MAX: usize = 1000;

/// The most samples that wait to be shown. A feed waits beyond that.
const WAITING_MAX: usize = 4;

/// News of the samples.
#[derive(Debug)]
pub enum SampleNews {
    Lines(Vec<DumpLine>),
    /// There is no new sample, for this reason.
    Failed(String),
    /// The newest sample is still the newest, and no longer an error.
    Current,
}

/// The running feed. Dropping it ends it.
pub struct SampleFeed {
    pub news: Receiver<SampleNews>,
    /// The source in a few words.
    pub source: String,
    /// Of own samples.
    _waker: Option<Waker>,
}

/// An agent that answers, with its newest sample.
pub struct FoundAgent {
    socket: PathBuf,
    newest: SampleLines,
}

/// The reason why no agent answers at one address.
pub struct NoAnswer {
    pub text: String,
    /// An agent may be there, and this user may not ask it.
    pub is_denied: bool,
}

/// The first agent that answers at one of the sockets, or the reasons why none does.
///
/// # Errors
/// No question can be asked.
pub fn find(addresses: &[StatusAddress]) -> anyhow::Result<Result<FoundAgent, Vec<NoAnswer>>> {
    let runtime = runtime()?;
    let mut reasons = Vec::new();
    for address in addresses {
        // Samples are on the socket alone.
        let StatusAddress::Socket(socket) = address else { continue };
        match runtime.block_on(first_sample(socket)) {
            Ok(Some(newest)) => return Ok(Ok(FoundAgent { socket: socket.clone(), newest })),
            Ok(None) => {}
            Err(error) => reasons.push(NoAnswer {
                text: printable(&format!("{address}: {error}")),
                is_denied: error.is_denied(),
            }),
        }
    }
    Ok(Err(reasons))
}

/// The newest sample of an agent, which is waited for where the agent has just started.
async fn first_sample(socket: &Path) -> Result<Option<SampleLines>, AskError> {
    let mut asks = 1;
    loop {
        match newest_sample(socket, None).await {
            Err(error) if error.is_too_early() && asks < EARLY_ASKS_MAX => asks += 1,
            answer => return answer,
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Follows the agent's samples.
///
/// # Errors
/// No thread can be started.
pub fn follow(agent: FoundAgent) -> anyhow::Result<SampleFeed> {
    let (sender, news) = sync_channel(WAITING_MAX);
    let runtime = runtime()?;
    let source = format!("agent at {}", printable(&agent.socket.display().to_string()));
    thread::Builder::new()
        .name("feed".to_owned())
        .spawn(move || runtime.block_on(ask_again(agent, &sender)))
        .context("the thread that asks the agent")?;
    Ok(SampleFeed { news, source, _waker: None })
}

async fn ask_again(agent: FoundAgent, sender: &SyncSender<SampleNews>) {
    let FoundAgent { socket, newest } = agent;
    let (mut known, mut has_failed) = (None, false);
    let mut answer = Ok(Some(newest));
    loop {
        let news = match answer {
            Ok(Some(SampleLines { tag, lines })) => {
                known = tag;
                Some(match decode_lines(&lines) {
                    Ok(lines) => SampleNews::Lines(lines),
                    Err(error) => SampleNews::Failed(format!("the agent's sample: {error}")),
                })
            }
            Ok(None) => has_failed.then_some(SampleNews::Current),
            Err(error) => Some(failed(&socket, &error)),
        };
        has_failed = matches!(news, Some(SampleNews::Failed(_)));
        // An error means that nobody looks any more.
        if news.is_some_and(|news| sender.send(news).is_err()) {
            return;
        }
        tokio::time::sleep(ASK_EVERY).await;
        answer = newest_sample(&socket, known.as_deref()).await;
    }
}

fn failed(socket: &Path, error: &AskError) -> SampleNews {
    SampleNews::Failed(printable(&format!("no agent answers at {}: {error}", socket.display())))
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("no asynchronous runtime")
}

/// Takes samples of this host, as `dump` does, with names from the same sources.
///
/// # Errors
/// The host cannot be sampled.
pub fn own(settings: Settings, interval: Duration) -> anyhow::Result<SampleFeed> {
    let mut sampler = startup::open_sampler(&settings, dump::sampler_options(&settings))?;
    let (mut ledger, mut account) = (Ledger::new(sampler.roots().units), Account::default());
    // It tells which engines have containers here.
    ledger.settle(sampler.sample(&clock::boot_time, clock::wall_time()), &mut account);
    let named = dump::with_engines(&settings, &account);
    let names = BackgroundSources::start(&named).context("the sources of names")?;
    let (waker, stop) = wait::stop_signal().context("a pipe")?;
    let (sender, news) = sync_channel(WAITING_MAX);
    let source = format!("own samples every {}", humantime::format_duration(interval));
    let own =
        OwnSamples { host: host::facts(&settings), sampler, ledger, account, names, interval };
    thread::Builder::new()
        .name("sampler".to_owned())
        .spawn(move || own.run(&stop, &sender))
        .context("the sampling thread")?;
    Ok(SampleFeed { news, source, _waker: Some(waker) })
}

struct OwnSamples {
    host: HostFacts,
    sampler: Sampler,
    ledger: Ledger,
    account: Account,
    names: BackgroundSources,
    interval: Duration,
}

impl OwnSamples {
    fn run(self, stop: &StopSignal, sender: &SyncSender<SampleNews>) {
        let Self { host, mut sampler, mut ledger, mut account, names, interval } = self;
        let mut wait = interval.min(FIRST_FIGURES);
        loop {
            let due = clock::boot_time().plus(wait);
            let catalog = names.latest();
            ledger.set_rules(catalog.cgroup_rules());
            ledger.settle(sampler.sample(&clock::boot_time, clock::wall_time()), &mut account);
            if account.since.is_some() {
                wait = interval;
                let dump = Dump {
                    host: &host,
                    account: &account,
                    catalog: &catalog,
                    gaps: &Gaps::default(),
                    filesystems: None,
                    pods: account.pods.iter().collect(),
                    units: account.units.iter().collect(),
                    processes: largest_processes(&account, PROCESSES_MAX),
                    exited_children: account.exited_children.iter().take(PROCESSES_MAX).collect(),
                    container_weight: |_| 0,
                    rests: Vec::new(),
                };
                // An error means that nobody looks any more.
                if sender.send(lines_of(&dump)).is_err() {
                    return;
                }
            }
            while clock::boot_time() < due {
                if wait::until(due, stop, &mut sampler) == Woken::Stopped {
                    return;
                }
            }
        }
    }
}

/// The lines as an agent would send them, so that both feeds are read alike.
fn lines_of(dump: &Dump<'_>) -> SampleNews {
    let mut text = Vec::new();
    let read = write_ndjson(dump, &mut text)
        .map_err(|error| anyhow!(error))
        .and_then(|()| decode_lines(&text).map_err(|error| anyhow!(error)));
    match read {
        Ok(lines) => SampleNews::Lines(lines),
        Err(error) => SampleNews::Failed(format!("the sample cannot be shown: {error}")),
    }
}
