//! Ticks over the running kernel's own files: pods of cgroups and processes that are made for the
//! bench and taken away behind it. The rest of the host is sampled with them and left alone.

use std::fs::{self, File};
use std::io::{PipeReader, PipeWriter, Read as _, Write as _, pipe};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{SysconfVar, sysconf};
use nodetally::snapshot::roots::{Roots, Units};
use nodetally::snapshot::sampler::SamplerOptions;

use super::{cpu_time, measure, print_heading, print_row};

/// The flag that makes this program one of the pods' processes.
pub const PARK: &str = "--park";
/// The flag that measures so many pods and keeps them for whoever asks.
pub const PODS: &str = "--pods";

/// The argument that gives a pod's process its network namespace: one of these two, or the pid of a
/// process to join.
const HOST_NETWORK: &str = "host";
const OWN_NETWORK: &str = "own";

/// Of the cgroup that all pods stand in, before the bench's pid.
const PREFIX: &str = "nodetally-bench-";
const CONTAINERS_PER_POD: usize = 2;
const PROCESSES_PER_CONTAINER: usize = 3;
const BURN: Duration = Duration::from_micros(200);

/// A process of a pod: enters its cgroup and network namespace, then waits on stdin, uses a little
/// CPU for each byte that comes, and ends when nobody can write there any more.
pub fn park(cgroup_procs: &str, network: &str) {
    fs::write(cgroup_procs, "0").expect("a cgroup that can be entered");
    match network {
        HOST_NETWORK => {}
        OWN_NETWORK => unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace"),
        leader => {
            let namespace = File::open(format!("/proc/{leader}/ns/net")).expect("the leader's");
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("the leader's network namespace");
        }
    }
    let (mut stdin, mut stdout) = (std::io::stdin(), std::io::stdout());
    let mut byte = [0];
    loop {
        if stdout.write_all(&byte).and_then(|()| stdout.flush()).is_err() {
            return;
        }
        match stdin.read(&mut byte) {
            Ok(1) => {}
            _ => return,
        }
        let start = cpu_time();
        while cpu_time() - start < BURN {
            std::hint::spin_loop();
        }
    }
}

pub fn run() {
    println!();
    let roots = match prepare() {
        Ok(roots) => roots,
        Err(reason) => return println!("the running kernel: skipped, {reason}"),
    };
    let Some(mount) = roots.find_cgroup2().path else { return };
    sweep(&mount);
    println!(
        "the running kernel, {CONTAINERS_PER_POD} containers and {} processes a pod",
        CONTAINERS_PER_POD * PROCESSES_PER_CONTAINER
    );
    let (mut is_first, mut through_links) = (true, false);
    for count in [10, 110] {
        for network in [Network::Own, Network::Host] {
            let mut pods = match Pods::make(&mount, count, network) {
                Ok(pods) => pods,
                Err(error) => return println!("the running kernel: stopped, {error}"),
            };
            if std::mem::take(&mut is_first) {
                println!("files of a container's cgroup: {}", pods.files.join(" "));
                print_heading();
            }
            let view = match network {
                Network::Own => match ProcView::of_readable_init() {
                    Ok(view) => view,
                    Err(error) => return println!("the running kernel: stopped, {error}"),
                },
                Network::Host => None,
            };
            let mut roots = roots.clone();
            if let Some(view) = &view {
                view.dir.path().clone_into(&mut roots.procfs);
                through_links = true;
            }
            let default = SamplerOptions::default();
            let mut row = |name: &str, every: usize, options: SamplerOptions| {
                let (measured, account) = measure(&roots, options, 60, || pods.burn(every));
                assert_eq!(account.pods.len(), count, "the pods were found");
                print_row(count, name, &measured);
            };
            match network {
                Network::Own => {
                    row("fifth", 5, default);
                    for held_files_max in [0, 512, 1024] {
                        let options = SamplerOptions { held_files_max, ..default };
                        row(&format!("fifth, {held_files_max} held"), 5, options);
                    }
                    row("fifth, detail/4", 5, SamplerOptions { detail_ticks: 4, ..default });
                    row("all", 1, default);
                }
                Network::Host => {
                    row("fifth, host net", 5, default);
                    row("all, host net", 1, default);
                }
            }
        }
    }
    println!(
        "held: files kept open at most ({} by default); detail/4: pressure and limits of busy \
         cgroups every fourth tick; host net: no pod has a network namespace of its own",
        SamplerOptions::default().held_files_max
    );
    if through_links {
        println!(
            "the network namespace of pid 1 may not be asked for here: but for host net, /proc is \
             read through links, beside which it is taken to be the bench's own"
        );
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for line in status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM"))
    {
        println!("the bench's own {line}");
    }
}

/// One row for so many pods, a fifth of them active, as JSON. The pods then stay, and those that
/// are active use a little CPU for each line on stdin and answer with a line, until stdin ends: so
/// that others are measured over the same.
pub fn run_one(count: usize, rounds: usize) -> Result<(), String> {
    let roots = prepare()?;
    let mount = roots.find_cgroup2().path.ok_or("no cgroup2 hierarchy is mounted")?;
    let mut pods = Pods::make(&mount, count, Network::Own).map_err(|error| error.to_string())?;
    let (measured, account) = measure(&roots, SamplerOptions::default(), rounds, || pods.burn(5));
    if account.pods.len() != count {
        return Err(format!("{} pods were found", account.pods.len()));
    }
    let row = serde_json::json!({
        "pods": count,
        "container_files": pods.files,
        "rounds": rounds,
        "tick_files": measured.work.files_read,
        "opened": measured.work.files_opened,
        "floor_files": measured.floor_files,
        "floor_usec": measured.floor.as_micros() as u64,
        "sample_usec": measured.sample.as_micros() as u64,
        "settle_usec": measured.settle.as_micros() as u64,
        "processes_read": measured.work.processes_read,
        "processes_skipped": measured.work.processes_skipped,
    });
    println!("{row}");
    for line in std::io::stdin().lines() {
        line.map_err(|error| error.to_string())?;
        pods.burn(5);
        println!();
    }
    Ok(())
}

fn prepare() -> Result<Roots, String> {
    let figure = |variable| sysconf(variable).ok().flatten().and_then(|n| u64::try_from(n).ok());
    let roots = Roots {
        procfs: "/proc".into(),
        sysfs: "/sys".into(),
        cgroupfs: None,
        rootfs: "/".into(),
        units: Units {
            ticks_per_second: figure(SysconfVar::CLK_TCK).unwrap_or(100),
            page_size_bytes: figure(SysconfVar::PAGE_SIZE).unwrap_or(4096),
        },
        captured: None,
    };
    if !nix::unistd::geteuid().is_root() {
        return Err("it needs root to make cgroups".to_owned());
    }
    if roots.find_cgroup2().path.is_none() {
        return Err("no cgroup2 hierarchy is mounted".to_owned());
    }
    Ok(roots)
}

/// Removes what a bench that was killed left behind; its processes ended with it.
fn sweep(mount: &Path) {
    let Ok(entries) = fs::read_dir(mount) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            remove_below(&entry.path());
        }
    }
}

fn remove_below(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        remove_below(&entry.path());
    }
    let _ = fs::remove_dir(dir);
}

/// A stand-in for /proc where pid 1's network namespace may not be asked for, without which no
/// namespace can be told from the host's: links to everything, and the bench's own in that place.
struct ProcView {
    dir: tempfile::TempDir,
}

impl ProcView {
    /// `None` where /proc will do.
    fn of_readable_init() -> std::io::Result<Option<Self>> {
        if fs::read_link("/proc/1/ns/net").is_ok() {
            return Ok(None);
        }
        let dir = tempfile::tempdir()?;
        for entry in fs::read_dir("/proc")?.flatten().filter(|entry| entry.file_name() != "1") {
            symlink(entry.path(), dir.path().join(entry.file_name()))?;
        }
        let init = dir.path().join("1");
        fs::create_dir_all(init.join("ns"))?;
        for name in ["net", "stat", "io", "cgroup", "mountinfo"] {
            symlink(Path::new("/proc/1").join(name), init.join(name))?;
        }
        symlink(fs::read_link("/proc/self/ns/net")?, init.join("ns/net"))?;
        Ok(Some(Self { dir }))
    }
}

/// Whose network namespace a pod's processes stand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Network {
    /// One of the pod's own.
    Own,
    Host,
}

/// The pods of one measurement; dropping them ends their processes and removes their cgroups.
struct Pods {
    /// In the order in which they were made, so parents first.
    dirs: Vec<PathBuf>,
    processes: Vec<Process>,
    told: PipeReader,
    /// Every process says through this that it is waiting again.
    tell: PipeWriter,
    files: Vec<String>,
}

struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    pod: usize,
}

impl Pods {
    fn make(mount: &Path, count: usize, network: Network) -> std::io::Result<Self> {
        let (told, tell) = pipe()?;
        let mut pods =
            Self { dirs: Vec::new(), processes: Vec::new(), told, tell, files: Vec::new() };
        let own = mount.join(format!("{PREFIX}{}", std::process::id()));
        let kubepods = own.join("kubepods.slice");
        let class = kubepods.join("kubepods-burstable.slice");
        for dir in [&own, &kubepods, &class] {
            pods.make_dir(dir)?;
        }
        let mut starting = 0;
        for pod in 0..count {
            let uid = format!("{pod:08x}_0be3_44e3_adb7_a0dae664d797");
            let slice = class.join(format!("kubepods-burstable-pod{uid}.slice"));
            pods.make_dir(&slice)?;
            let mut leader = None;
            for container in 0..CONTAINERS_PER_POD {
                let id = pod * CONTAINERS_PER_POD + container;
                let dir = slice.join(format!("cri-containerd-{id:064x}.scope"));
                pods.make_dir(&dir)?;
                for _ in 0..PROCESSES_PER_CONTAINER {
                    let network = match (network, leader) {
                        (Network::Host, _) => HOST_NETWORK.to_owned(),
                        (Network::Own, None) => OWN_NETWORK.to_owned(),
                        (Network::Own, Some(leader)) => format!("{leader}"),
                    };
                    let pid = pods.start(pod, &dir.join("cgroup.procs"), &network)?;
                    if leader.is_none() {
                        // Its namespace is there for the others.
                        pods.wait_for(starting + 1);
                        starting = 0;
                        leader = Some(pid);
                    } else {
                        starting += 1;
                    }
                }
                if pods.files.is_empty() {
                    let names = fs::read_dir(&dir)?.flatten();
                    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
                    let cores = ["cpu", "memory", "io", "pids"];
                    let is_read = |name: &String| {
                        name == "cgroup.procs"
                            || cores.iter().any(|core| {
                                name.strip_prefix(core).is_some_and(|rest| rest.starts_with('.'))
                            })
                    };
                    pods.files = names.filter(is_read).collect();
                    pods.files.sort();
                }
            }
        }
        pods.wait_for(starting);
        Ok(pods)
    }

    fn make_dir(&mut self, dir: &Path) -> std::io::Result<()> {
        fs::create_dir(dir)?;
        self.dirs.push(dir.to_owned());
        // What the host hands down is handed on, so that pods have the files that pods have.
        let offered = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
        if dir.extension().is_none_or(|extension| extension != "scope") {
            for controller in offered.split_whitespace() {
                let _ = fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"));
            }
        }
        Ok(())
    }

    /// Starts a process, which says when it is where it belongs.
    fn start(&mut self, pod: usize, procs: &Path, network: &str) -> std::io::Result<u32> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(PARK)
            .arg(procs)
            .arg(network)
            .stdin(Stdio::piped())
            .stdout(Stdio::from(self.tell.try_clone()?))
            .spawn()?;
        let (pid, stdin) = (child.id(), child.stdin.take());
        self.processes.push(Process { child, stdin, pod });
        Ok(pid)
    }

    fn wait_for(&mut self, mut count: usize) {
        let mut bytes = [0; 1024];
        while count > 0 {
            let most = count.min(bytes.len());
            count -= self.told.read(&mut bytes[..most]).expect("the processes answer");
        }
    }

    /// Every process of every so manieth pod uses a little CPU, and waits again when this returns.
    fn burn(&mut self, every: usize) {
        let mut burning = 0;
        for process in self.processes.iter_mut().filter(|process| process.pod % every == 0) {
            if let Some(stdin) = &mut process.stdin {
                stdin.write_all(&[1]).expect("the process reads");
                burning += 1;
            }
        }
        self.wait_for(burning);
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Drop for Pods {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // A process whose stdin ends ends as well.
            process.stdin = None;
        }
        for process in &mut self.processes {
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
        for dir in self.dirs.iter().rev() {
            // A process that was waited for may still be on its way out of its cgroup.
            for _ in 0..100 {
                if fs::remove_dir(dir).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}
