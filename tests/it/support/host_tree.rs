//! A host's trees, generated: N pods of a systemd-driver node with containerd, some units, kernel
//! threads, and everything the sampler reads of them, written as a 6.x kernel writes it.
//!
//! The files lie on tmpfs where there is one. They are not a kernel's: every read costs what tmpfs
//! costs, and a directory's links do not count its children, so the sampler lists every directory
//! that it visits.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nodetally::snapshot::roots::{Roots, Units};
use tempfile::TempDir;

pub const PROCESSES_PER_POD: usize = 6;
/// The sandbox and two containers.
pub const CONTAINERS_PER_POD: usize = 3;
const KERNEL_THREADS: u32 = 80;
const UNITS: usize = 30;
/// containerd and the kubelet never rest.
pub const BUSY_UNITS: usize = 2;
/// So many of a pod's processes stand in each of its containers, the sandbox first.
const PROCESSES: [usize; CONTAINERS_PER_POD] = [1, 3, 2];

const FIRST_UNIT_PID: u32 = 200;
const FIRST_POD_PID: u32 = 1000;
const HOST_NAMESPACE: u64 = 4_026_531_840;

/// Which pods use something in a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Neither pods nor units; the node itself goes on.
    Nobody,
    /// Every fifth pod, always the same.
    SameFifth,
    /// Every fifth pod, another fifth each tick.
    NextFifth,
    All,
}

impl Activity {
    pub fn includes(self, pod: usize, tick: usize) -> bool {
        match self {
            Self::Nobody => false,
            Self::SameFifth => pod.is_multiple_of(5),
            Self::NextFifth => pod % 5 == tick % 5,
            Self::All => true,
        }
    }
}

pub struct HostTree {
    dir: TempDir,
    pods: Vec<Pod>,
    /// The root first; then kubepods and its two classes, system.slice, init.scope and the units.
    cgroups: Vec<Cgroup>,
    tick: usize,
    text: String,
}

struct Pod {
    slice: usize,
    /// The class's slice; of a guaranteed pod kubepods itself.
    class: usize,
    containers: [usize; CONTAINERS_PER_POD],
    /// The number of restarts of each container.
    restarts: [u32; CONTAINERS_PER_POD],
    gone: bool,
}

struct Cgroup {
    dir: PathBuf,
    is_root: bool,
    usage_usec: u64,
    memory_bytes: u64,
    disk_bytes: u64,
    processes: Vec<Process>,
}

struct Process {
    pid: u32,
    comm: String,
    kernel_thread: bool,
    ticks: u64,
}

const ROOT: usize = 0;
const KUBEPODS: usize = 1;
const BURSTABLE: usize = 2;
const BEST_EFFORT: usize = 3;
const SYSTEM: usize = 4;
const INIT: usize = 5;
const FIRST_UNIT: usize = 6;

impl HostTree {
    /// Every tenth pod is guaranteed, every tenth best effort and the rest burstable. Every tenth
    /// is a static pod's.
    pub fn build(pods: usize) -> Self {
        let shared_memory = Path::new("/dev/shm");
        let made = tempfile::Builder::new().prefix("nodetally-").tempdir_in(shared_memory);
        let dir = made.unwrap_or_else(|_| tempfile::tempdir().expect("a temporary directory"));
        let mut tree =
            Self { dir, pods: Vec::new(), cgroups: Vec::new(), tick: 0, text: String::new() };
        let root = tree.dir.path().join("sys/fs/cgroup");
        for path in ["", "kubepods.slice", "", "", "system.slice", "init.scope"] {
            tree.add_cgroup(root.join(path));
        }
        tree.cgroups[ROOT].is_root = true;
        let kubepods = root.join("kubepods.slice");
        tree.cgroups[BURSTABLE].dir = kubepods.join("kubepods-burstable.slice");
        tree.cgroups[BEST_EFFORT].dir = kubepods.join("kubepods-besteffort.slice");
        tree.add_process(INIT, 1, "systemd", false);
        for pid in 2..2 + KERNEL_THREADS {
            tree.add_process(ROOT, pid, &format!("kworker/{}:{}", pid % 8, pid / 8), true);
        }
        for unit in 0..UNITS {
            let name = match unit {
                0 => "containerd".to_owned(),
                1 => "kubelet".to_owned(),
                _ => format!("unit-{unit}"),
            };
            let at = tree.add_cgroup(root.join(format!("system.slice/{name}.service")));
            tree.add_process(at, FIRST_UNIT_PID + unit as u32, &name, false);
        }
        for pod in 0..pods {
            tree.add_pod(pod);
        }
        tree.write_node();
        for at in 0..tree.cgroups.len() {
            tree.write_cgroup(at);
        }
        tree
    }

    pub fn roots(&self) -> Roots {
        let root = self.dir.path();
        Roots {
            procfs: root.join("proc"),
            sysfs: root.join("sys"),
            cgroupfs: None,
            rootfs: root.to_owned(),
            units: Units { ticks_per_second: 100, page_size_bytes: 4096 },
            captured: None,
        }
    }

    /// A tick passes: writes, in place, what the active pods changed.
    pub fn advance(&mut self, activity: Activity) {
        let mut touched = vec![false; self.cgroups.len()];
        let mut working: Vec<usize> = Vec::new();
        let active = self.pods.iter().enumerate().filter(|(_, pod)| !pod.gone);
        for (_, pod) in active.filter(|(at, _)| activity.includes(*at, self.tick)) {
            // A sandbox only waits.
            working.extend_from_slice(&pod.containers[1..]);
            for container in &pod.containers[1..] {
                let chain = [*container, pod.slice, pod.class, KUBEPODS, ROOT];
                let distinct = if pod.class == KUBEPODS { 2 } else { 3 };
                for at in chain[..distinct].iter().chain(&chain[3..]) {
                    self.cgroups[*at].use_something();
                    touched[*at] = true;
                }
            }
        }
        if activity != Activity::Nobody {
            for unit in FIRST_UNIT..FIRST_UNIT + BUSY_UNITS {
                working.push(unit);
                for at in [unit, SYSTEM, ROOT] {
                    self.cgroups[at].use_something();
                    touched[at] = true;
                }
            }
        }
        for at in (0..touched.len()).filter(|at| touched[*at]) {
            self.write_moving(at);
        }
        for at in working {
            for process in 0..self.cgroups[at].processes.len() {
                self.cgroups[at].processes[process].ticks += 1;
                self.write_stat(at, process);
            }
        }
        self.tick += 1;
        self.write_proc_stat();
    }

    /// The number of pods that are active in the next tick of [`Self::advance`].
    pub fn active_pods(&self, activity: Activity) -> usize {
        (0..self.pods.len()).filter(|pod| activity.includes(*pod, self.tick)).count()
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// As the API writes it; of a static pod the hash of its configuration.
    pub fn pod_uid(pod: usize) -> String {
        let uid = format!("{pod:08x}-0be3-44e3-adb7-a0dae664d797");
        if Self::is_static(pod) { uid.replace('-', "") } else { uid }
    }

    pub fn is_static(pod: usize) -> bool {
        pod % 10 == 7
    }

    /// Of each container of the pod, the sandbox first.
    pub fn container_ids(&self, pod: usize) -> [String; CONTAINERS_PER_POD] {
        std::array::from_fn(|at| Self::container_id(pod, at, self.pods[pod].restarts[at]))
    }

    fn container_id(pod: usize, at: usize, restarts: u32) -> String {
        // The id's first digits are spread, so that the sandbox is not always the first.
        let spread = (pod * CONTAINERS_PER_POD + at) as u32;
        format!("{:08x}{restarts:08x}{spread:048x}", spread.wrapping_mul(0x9e37_79b1))
    }

    /// The pod's cgroup.
    pub fn pod_dir(&self, pod: usize) -> &Path {
        &self.cgroups[self.pods[pod].slice].dir
    }

    /// The pod ends: its cgroups and processes go.
    pub fn remove_pod(&mut self, pod: usize) {
        self.pods[pod].gone = true;
        for container in self.pods[pod].containers {
            self.remove_processes(container);
        }
        fs::remove_dir_all(self.pod_dir(pod)).expect("a pod's cgroup");
    }

    /// Another run of a container, in a cgroup of its own that counts from 0.
    pub fn restart_container(&mut self, pod: usize, at: usize) {
        let container = self.pods[pod].containers[at];
        self.remove_processes(container);
        fs::remove_dir_all(&self.cgroups[container].dir).expect("a container's cgroup");
        self.pods[pod].restarts[at] += 1;
        let id = Self::container_id(pod, at, self.pods[pod].restarts[at]);
        let dir = self.pod_dir(pod).join(format!("cri-containerd-{id}.scope"));
        let cgroup = &mut self.cgroups[container];
        (cgroup.dir, cgroup.usage_usec, cgroup.disk_bytes) = (dir, 0, 0);
        self.write_cgroup(container);
    }

    fn remove_processes(&self, cgroup: usize) {
        for process in &self.cgroups[cgroup].processes {
            let dir = self.proc_dir().join(process.pid.to_string());
            fs::remove_dir_all(dir).expect("a process's directory");
        }
    }

    fn add_cgroup(&mut self, dir: PathBuf) -> usize {
        self.cgroups.push(Cgroup {
            dir,
            is_root: false,
            usage_usec: 1_000_000,
            memory_bytes: 64 << 20,
            disk_bytes: 8 << 20,
            processes: Vec::new(),
        });
        self.cgroups.len() - 1
    }

    fn add_process(&mut self, cgroup: usize, pid: u32, comm: &str, kernel_thread: bool) {
        let comm = comm.to_owned();
        self.cgroups[cgroup].processes.push(Process { pid, comm, kernel_thread, ticks: 100 });
    }

    fn add_pod(&mut self, pod: usize) {
        let uid = Self::pod_uid(pod).replace('-', "_");
        let (class, infix) = match pod % 10 {
            8 => (KUBEPODS, ""),
            9 => (BEST_EFFORT, "besteffort-"),
            _ => (BURSTABLE, "burstable-"),
        };
        let dir = self.cgroups[class].dir.join(format!("kubepods-{infix}pod{uid}.slice"));
        let slice = self.add_cgroup(dir.clone());
        let mut pid = FIRST_POD_PID + (pod * PROCESSES_PER_POD) as u32;
        let containers = std::array::from_fn(|at| {
            let id = Self::container_id(pod, at, 0);
            let container = self.add_cgroup(dir.join(format!("cri-containerd-{id}.scope")));
            for _ in 0..PROCESSES[at] {
                self.add_process(container, pid, if at == 0 { "pause" } else { "worker" }, false);
                pid += 1;
            }
            container
        });
        self.pods.push(Pod { slice, class, containers, restarts: [0; 3], gone: false });
    }

    fn proc_dir(&self) -> PathBuf {
        self.dir.path().join("proc")
    }

    fn namespace(pid: u32) -> u64 {
        match pid.checked_sub(FIRST_POD_PID) {
            Some(nth) => HOST_NAMESPACE + 1 + u64::from(nth) / PROCESSES_PER_POD as u64,
            None => HOST_NAMESPACE,
        }
    }

    fn write_cgroup(&mut self, at: usize) {
        fs::create_dir_all(&self.cgroups[at].dir).expect("a cgroup's directory");
        self.write_moving(at);
        let cgroup = &self.cgroups[at];
        let put = |name: &str, text: &str| put(&cgroup.dir.join(name), text);
        if !cgroup.is_root {
            put("memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n");
            put("memory.max", "268435456\n");
            put("memory.swap.current", "0\n");
            put("pids.current", "3\n");
            put("pids.max", "7243\n");
            put("cpu.max", "50000 100000\n");
            put("cpu.weight", "39\n");
            put("memory.min", "0\n");
            put("memory.swap.max", "max\n");
        } else {
            put("cgroup.controllers", "cpuset cpu io memory hugetlb pids rdma misc\n");
        }
        let mut pids = String::new();
        for process in &cgroup.processes {
            let _ = writeln!(pids, "{}", process.pid);
        }
        put("cgroup.procs", &pids);
        let root = self.dir.path().join("sys/fs/cgroup");
        let path = cgroup.dir.strip_prefix(root).expect("below the root");
        for process in &cgroup.processes {
            let dir = self.proc_dir().join(process.pid.to_string());
            fs::create_dir_all(dir.join("ns")).expect("a process's directory");
            let namespace = Self::namespace(process.pid);
            symlink(format!("net:[{namespace}]"), dir.join("ns/net")).expect("a namespace link");
            self::put(&dir.join("cgroup"), &format!("0::/{}\n", path.display()));
            if !process.kernel_thread {
                self::put(
                    &dir.join("io"),
                    "rchar: 3980\nwchar: 12\nsyscr: 9\nsyscw: 1\nread_bytes: 1048576\n\
                     write_bytes: 4096\ncancelled_write_bytes: 0\n",
                );
            }
            if namespace != HOST_NAMESPACE {
                fs::create_dir_all(dir.join("net")).expect("a process's directory");
                self::put(&dir.join("net/dev"), &net_dev(&["lo", "eth0"]));
            }
        }
        for process in 0..self.cgroups[at].processes.len() {
            self.write_stat(at, process);
        }
    }

    /// The files that use changes.
    fn write_moving(&mut self, at: usize) {
        let cgroup = &self.cgroups[at];
        let text = &mut self.text;
        cgroup.cpu_stat(text);
        put(&cgroup.dir.join("cpu.stat"), text);
        cgroup.io_stat(text);
        put(&cgroup.dir.join("io.stat"), text);
        memory_stat(text, cgroup.memory_bytes);
        put(&cgroup.dir.join("memory.stat"), text);
        for name in ["cpu.pressure", "memory.pressure", "io.pressure"] {
            pressure(text, cgroup.usage_usec / 3);
            put(&cgroup.dir.join(name), text);
        }
        if !cgroup.is_root {
            let bytes = cgroup.memory_bytes;
            put(&cgroup.dir.join("memory.current"), &format!("{bytes}\n"));
            put(&cgroup.dir.join("memory.peak"), &format!("{bytes}\n"));
        }
    }

    fn write_stat(&mut self, at: usize, process: usize) {
        let Process { pid, comm, kernel_thread, ticks } = &self.cgroups[at].processes[process];
        let (pid, flags) = (*pid, if *kernel_thread { 0x0020_8040 } else { 0x0040_0000 });
        let rss = if *kernel_thread { 0 } else { 2316 };
        self.text.clear();
        let _ = writeln!(
            self.text,
            "{pid} ({comm}) S 1 {pid} {pid} 0 -1 {flags} 1045 0 3 0 {ticks} 12 0 0 20 0 4 0 {} \
             1298432000 {rss} 18446744073709551615 4198400 5785993 140187729607856 0 0 0 0 4096 \
             134759940 0 0 0 17 1 0 0 0 0 0 6141704 6178576 6209536 140187729608330 \
             140187729608338 140187729608338 140187729608681 0",
            1000 + pid,
        );
        let path = self.dir.path().join(format!("proc/{pid}/stat"));
        put(&path, &self.text);
    }

    fn write_node(&mut self) {
        let proc = self.proc_dir();
        for dir in ["1/net", "self", "pressure", "sys/kernel/random", "net"] {
            fs::create_dir_all(proc.join(dir)).expect("a directory of proc");
        }
        let put = |name: &str, text: &str| put(&proc.join(name), text);
        put("1/mountinfo", "31 23 0:28 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n");
        put("sys/kernel/random/boot_id", "dcb0aa66-4b28-4a3b-b26c-358f9a3b5bb2\n");
        put("meminfo", &meminfo());
        put("loadavg", "3.73 1.11 0.39 9/232 4122\n");
        put("uptime", "8973.73 30000.05\n");
        put("diskstats", DISKSTATS);
        put("1/net/dev", &net_dev(&["lo", "eth0", "cni0"]));
        let mut text = String::new();
        pressure(&mut text, 12_345_678);
        for name in ["pressure/cpu", "pressure/memory", "pressure/io"] {
            put(name, &text);
        }
        self.write_proc_stat();
        let sys = self.dir.path().join("sys");
        for dir in ["block/vda/slaves", "block/dm-0/slaves", "block/loop0/loop"] {
            fs::create_dir_all(sys.join(dir)).expect("a directory of sys");
        }
        fs::create_dir_all(sys.join("class/net/eth0/device")).expect("an interface");
        symlink("../../vda", sys.join("block/dm-0/slaves/vda")).expect("a slave link");
        self::put(&sys.join("block/loop0/loop/backing_file"), "/srv/image\n");
        fs::create_dir_all(self.dir.path().join("srv")).expect("a directory");
        self::put(&self.dir.path().join("srv/image"), "");
    }

    fn write_proc_stat(&mut self) {
        let ticks = self.cgroups[ROOT].usage_usec / 10_000 + self.tick as u64;
        proc_stat(&mut self.text, 8, ticks);
        let path = self.dir.path().join("proc/stat");
        put(&path, &self.text);
    }
}

impl Cgroup {
    fn use_something(&mut self) {
        self.usage_usec += 10_000;
        self.memory_bytes += 4096;
        self.disk_bytes += 8192;
    }

    fn cpu_stat(&self, text: &mut String) {
        text.clear();
        let Self { usage_usec, .. } = self;
        let (user, system) = (usage_usec / 3 * 2, usage_usec - usage_usec / 3 * 2);
        let _ = write!(
            text,
            "usage_usec {usage_usec}\nuser_usec {user}\nsystem_usec {system}\nnice_usec 0\n\
             core_sched.force_idle_usec 0\n"
        );
        if !self.is_root {
            let periods = usage_usec / 100_000;
            let _ = write!(
                text,
                "nr_periods {periods}\nnr_throttled {}\nthrottled_usec {}\nnr_bursts 0\n\
                 burst_usec 0\n",
                periods / 7,
                periods * 900,
            );
        }
    }

    fn io_stat(&self, text: &mut String) {
        text.clear();
        let bytes = self.disk_bytes;
        let ops = bytes / 4096;
        for device in ["254:0", "253:0"] {
            let _ = writeln!(
                text,
                "{device} rbytes={bytes} wbytes={bytes} rios={ops} wios={ops} dbytes=0 dios=0"
            );
        }
    }
}

/// Overwrites in place, as a kernel file changes under whoever holds it open.
fn put(path: &Path, text: &str) {
    if let Err(error) = fs::write(path, text) {
        panic!("{}: {error}", path.display());
    }
}

/// A memory.stat as a 6.8 kernel writes it, with zswap and transparent huge pages built in.
pub fn memory_stat(text: &mut String, bytes: u64) {
    text.clear();
    let cache = bytes / 3;
    let _ = write!(
        text,
        "anon {}\nfile {cache}\nkernel 2007040\nkernel_stack 327680\npagetables 655360\n\
         sec_pagetables 0\npercpu 9600\nsock 0\nvmalloc 0\nshmem 0\nzswap 0\nzswapped 0\n\
         file_mapped {}\nfile_dirty 0\nfile_writeback 0\nswapcached 0\nanon_thp 0\nfile_thp 0\n\
         shmem_thp 0\ninactive_anon {}\nactive_anon 4096\ninactive_file {}\nactive_file {}\n\
         unevictable 0\nslab_reclaimable 482960\nslab_unreclaimable 537440\nslab 1020400\n",
        bytes - cache,
        cache / 2,
        bytes - cache,
        cache / 2,
        cache - cache / 2,
    );
    for zero in [
        "workingset_refault_anon",
        "workingset_refault_file",
        "workingset_activate_anon",
        "workingset_activate_file",
        "workingset_restore_anon",
        "workingset_restore_file",
        "workingset_nodereclaim",
        "pgscan",
        "pgsteal",
        "pgscan_kswapd",
        "pgscan_direct",
        "pgsteal_kswapd",
        "pgsteal_direct",
    ] {
        let _ = writeln!(text, "{zero} 0");
    }
    let _ = write!(
        text,
        "pgfault {}\npgmajfault 12\npgrefill 0\npgactivate 2048\npgdeactivate 0\npglazyfree 0\n\
         pglazyfreed 0\nzswpin 0\nzswpout 0\nthp_fault_alloc 0\nthp_collapse_alloc 0\n",
        bytes / 4096,
    );
}

pub fn pressure(text: &mut String, total_usec: u64) {
    text.clear();
    let _ = write!(
        text,
        "some avg10=1.02 avg60=0.67 avg300=0.20 total={total_usec}\n\
         full avg10=0.91 avg60=0.59 avg300=0.17 total={}\n",
        total_usec / 2,
    );
}

/// /proc/stat of so many CPUs, with an interrupt line as long as such machines have.
pub fn proc_stat(text: &mut String, cpus: u64, ticks: u64) {
    text.clear();
    let _ = writeln!(text, "cpu  {} 0 {ticks} 885250 662 0 9 17 0 0", ticks * 2);
    for cpu in 0..cpus {
        let _ = writeln!(text, "cpu{cpu} {} 0 {} 44778 23 0 2 6 0 0", ticks / cpus, ticks / cpus);
    }
    let _ = write!(text, "intr {}", ticks * 71);
    for interrupt in 0..cpus * 4 + 120 {
        let _ = write!(text, " {}", if interrupt % 9 == 0 { ticks } else { 0 });
    }
    let _ = write!(
        text,
        "\nctxt 163728\nbtime 1795195592\nprocesses 4122\nprocs_running 2\nprocs_blocked 0\n\
         softirq 44795 0 5813 40 21794 0 0 0 0 0 17148\n",
    );
}

pub fn net_dev(interfaces: &[&str]) -> String {
    let mut text =
        "Inter-|   Receive                                                |  Transmit\n \
                    face |bytes    packets errs drop fifo frame compressed multicast|bytes    \
                    packets errs drop fifo colls carrier compressed\n"
            .to_owned();
    for name in interfaces {
        let _ = writeln!(
            text,
            "{name:>6}: 6210355     613    0    0    0     0          0         0    42750     \
             583    0    0    0     0       0          0"
        );
    }
    text
}

pub fn meminfo() -> String {
    let mut text = String::new();
    for (key, kibibytes) in [
        ("MemTotal", 16_170_336_u64),
        ("MemFree", 5_174_436),
        ("MemAvailable", 9_608_276),
        ("Buffers", 6944),
        ("Cached", 4_459_836),
        ("SwapCached", 0),
        ("Active", 1_071_992),
        ("Inactive", 3_863_128),
        ("Active(anon)", 1196),
        ("Inactive(anon)", 468_744),
        ("Active(file)", 70_796),
        ("Inactive(file)", 394_384),
        ("Unevictable", 0),
        ("Mlocked", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Zswap", 0),
        ("Zswapped", 0),
        ("Dirty", 512),
        ("Writeback", 0),
        ("AnonPages", 468_288),
        ("Mapped", 319_124),
        ("Shmem", 1600),
        ("KReclaimable", 14_328),
        ("Slab", 35_148),
        ("SReclaimable", 14_328),
        ("SUnreclaim", 20_820),
        ("KernelStack", 3712),
        ("PageTables", 5588),
        ("SecPageTables", 0),
        ("NFS_Unstable", 0),
        ("Bounce", 0),
        ("WritebackTmp", 0),
        ("CommitLimit", 3_085_168),
        ("Committed_AS", 2_027_944),
        ("VmallocTotal", 34_359_738_367),
        ("VmallocUsed", 5396),
        ("VmallocChunk", 0),
        ("Percpu", 368),
        ("HardwareCorrupted", 0),
        ("AnonHugePages", 0),
        ("ShmemHugePages", 0),
        ("FileHugePages", 0),
        ("CmaTotal", 0),
        ("CmaFree", 0),
        ("Hugetlb", 0),
        ("DirectMap4k", 100_224),
        ("DirectMap2M", 5_142_528),
    ] {
        let _ = writeln!(text, "{:<16}{kibibytes:>8} kB", format!("{key}:"));
    }
    text
}

pub const DISKSTATS: &str = "\
   7       0 loop0 12 0 96 1 0 0 0 0 0 4 1 0 0 0 0 0 0
 254       0 vda 5317 3050 1183970 12998 541 9210 125568 997 0 7076 14224 0 0 0 0 12 229
 254       1 vda1 5300 3050 1183000 12990 541 9210 125568 997 0 7070 13987 0 0 0 0 0 0
 253       0 dm-0 8300 0 1183000 12990 9741 0 125568 4997 0 7070 17987 0 0 0 0 0 0
";
