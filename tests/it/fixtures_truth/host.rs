//! One host of fixtures/: its two snapshots' figures, its account and its truth.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nodetally::ledger::Ledger;
use nodetally::ledger::account::{Account, Balance, ProcessUsage};
use nodetally::quantity::{BootTime, WallTime};
use nodetally::runtime::capture;
use nodetally::snapshot::processes::ProcessDetail;
use nodetally::snapshot::roots::Units;
use nodetally::snapshot::sampler::{Sampler, SamplerOptions};
use nodetally::snapshot::{CgroupReading, Snapshot};
use nodetally::source::proc::stat::NodeStat;

/// The values of one snapshot that an account does not keep.
pub struct Instant {
    pub cgroups: BTreeMap<Vec<u8>, CgroupReading>,
    pub stat: NodeStat,
    /// Bytes of every block device, by name.
    pub disks: BTreeMap<Vec<u8>, (u64, u64)>,
    pub at: BootTime,
    pub wall: WallTime,
}

pub struct Host {
    pub name: String,
    pub dir: PathBuf,
    pub units: Units,
    pub instants: [Instant; 2],
    pub account: Account,
    pub truth: Vec<Row>,
}

/// One line of truth.tsv; a figure that is empty there is `None`.
#[derive(Debug, Clone)]
pub struct Row {
    pub kind: String,
    pub owner: String,
    pub cgroup: String,
    pub cpu_usec: Option<i64>,
    pub read_bytes: Option<i64>,
    pub write_bytes: Option<i64>,
    pub memory_current_bytes: Option<i64>,
    pub working_set_bytes: Option<i64>,
    pub rx_bytes: Option<i64>,
    pub tx_bytes: Option<i64>,
}

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hosts")
}

impl Host {
    pub fn load(name: &str) -> Self {
        Self::load_twice(name, [0, 1])
    }

    /// The account between two of the host's instants.
    pub fn load_twice(name: &str, instants: [usize; 2]) -> Self {
        let dir = fixtures().join(name);
        let loaded = capture::load(&dir).unwrap();
        let units = loaded[0].units;
        let mut ledger = Ledger::new(units);
        let mut account = Account::default();
        let instants = instants.map(|at| {
            let roots = loaded[at].clone();
            let captured = roots.captured.clone().unwrap();
            let options = SamplerOptions {
                processes: ProcessDetail { io: true, ..ProcessDetail::default() },
                ..SamplerOptions::default()
            };
            let mut sampler = Sampler::open(roots, options).unwrap();
            let snapshot = sampler.sample(&|| captured.at, captured.wall);
            ledger.settle(snapshot, &mut account);
            Instant::of(snapshot)
        });
        let table = std::fs::read_to_string(dir.join("truth.tsv")).unwrap();
        let truth = table.lines().skip(1).map(Row::parse).collect();
        Self { name: name.to_owned(), dir, units, instants, account, truth }
    }

    pub fn row(&self, kind: &str, path: &[u8]) -> &Row {
        let found = self.truth.iter().find(|row| row.kind == kind && row.cgroup.as_bytes() == path);
        found.unwrap_or_else(|| {
            panic!("{}: no {kind} row of {}", self.name, String::from_utf8_lossy(path))
        })
    }

    pub fn conservation_cpu(&self) -> Balance {
        self.account.conservation.cpu_usec.unwrap()
    }

    pub fn process(&self, pid: u32) -> Option<&ProcessUsage> {
        self.account.processes.iter().find(|process| process.key.pid == pid)
    }

    /// A real host, whose node files were read once more behind the walk.
    pub fn is_captured(&self) -> bool {
        self.dir.join("after-t0").exists()
    }

    /// Bytes received and sent by eth0 by `dir`/proc/net/dev, without the parser under test.
    pub fn eth0_bytes(&self, dir: &str) -> [i64; 2] {
        let text = std::fs::read_to_string(self.dir.join(dir).join("proc/net/dev")).unwrap();
        let line = text.lines().find_map(|line| line.trim().strip_prefix("eth0:")).unwrap();
        let figures: Vec<i64> = line.split_whitespace().map(|text| text.parse().unwrap()).collect();
        [figures[0], figures[8]]
    }

    /// user + nice + system + irq + softirq of the first line of `dir`/proc/stat, without the
    /// parser under test.
    pub fn busy_usec(&self, dir: &Path) -> u64 {
        let text = std::fs::read_to_string(dir.join("proc/stat")).unwrap();
        let figures: Vec<u64> = text
            .lines()
            .next()
            .unwrap()
            .split_whitespace()
            .skip(1)
            .map(|figure| figure.parse().unwrap())
            .collect();
        let ticks = figures[0] + figures[1] + figures[2] + figures[5] + figures[6];
        ticks * 1_000_000 / self.units.ticks_per_second
    }
}

impl Instant {
    fn of(snapshot: &Snapshot) -> Self {
        assert_eq!(snapshot.gaps.current, [], "gaps in a fixture");
        let cgroups = snapshot.cgroups.iter();
        let disks = snapshot.node.disks.iter();
        Self {
            cgroups: cgroups.map(|cgroup| (cgroup.key.path.to_vec(), cgroup.clone())).collect(),
            stat: snapshot.node.cpu.unwrap(),
            disks: disks
                .map(|row| (row.name().to_vec(), (row.read.as_bytes(), row.written.as_bytes())))
                .collect(),
            at: snapshot.begun_at,
            wall: snapshot.wall,
        }
    }
}

impl Row {
    fn parse(line: &str) -> Self {
        let fields: Vec<&str> = line.split('\t').collect();
        assert_eq!(fields.len(), 10, "{line}");
        let figure = |at: usize| {
            let text: &str = fields[at];
            (!text.is_empty()).then(|| text.parse().unwrap())
        };
        Self {
            kind: fields[0].to_owned(),
            owner: fields[1].to_owned(),
            cgroup: fields[2].to_owned(),
            cpu_usec: figure(3),
            read_bytes: figure(4),
            write_bytes: figure(5),
            memory_current_bytes: figure(6),
            working_set_bytes: figure(7),
            rx_bytes: figure(8),
            tx_bytes: figure(9),
        }
    }
}
