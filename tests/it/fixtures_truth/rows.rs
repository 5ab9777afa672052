//! One row of a truth against the account, by its kind.

use nodetally::ledger::account::{DiskUsage, NetworkUsage, UnitKind, Usage};
use nodetally::quantity::Bytes;
use nodetally::snapshot::CgroupReading;

use crate::fixtures_truth::host::{Host, Row};

/// The measured values of a row, to compare with the expected ones. `None` equals an empty column
/// only.
#[derive(Debug, Default)]
struct Found {
    cpu_usec: Option<i64>,
    read_bytes: Option<i64>,
    write_bytes: Option<i64>,
    memory_current_bytes: Option<i64>,
    working_set_bytes: Option<i64>,
    rx_bytes: Option<i64>,
    tx_bytes: Option<i64>,
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap()
}

fn bytes(value: Bytes) -> i64 {
    signed(value.as_bytes())
}

/// Compares every figure of the row that the account has one for; says how many it compared.
pub fn compare(host: &Host, row: &Row, wrong: &mut Vec<String>) -> usize {
    let found = match row.kind.as_str() {
        "pod" => pod(host, row),
        "container" => container(host, row),
        "unit" => unit(host, row).map(Found::of_usage),
        "cgroup, no unit" => in_plain_cgroup(host, row),
        "monitor" if host.account.units.iter().any(|unit| *unit.path == *row.cgroup.as_bytes()) => {
            unit(host, row).map(Found::of_usage)
        }
        "monitor" | "nested unit" => inside(host, row),
        kind if kind.starts_with("threaded") => inside(host, row),
        "slice" => slice(host, row),
        "died" | "residual" => died(host, row),
        "process" => process(host, row),
        "node" => node(host, row),
        "sum" => sum(host, row),
        other => Err(format!("{other} is no kind of row that is known")),
    };
    let found = match found {
        Ok(found) => found,
        Err(why) => {
            wrong.push(format!("{}: {} {} {}: {why}", host.name, row.kind, row.owner, row.cgroup));
            return 1;
        }
    };
    let pairs = [
        ("cpu_usec", row.cpu_usec, found.cpu_usec),
        ("read_bytes", row.read_bytes, found.read_bytes),
        ("write_bytes", row.write_bytes, found.write_bytes),
        ("memory_current_bytes", row.memory_current_bytes, found.memory_current_bytes),
        ("working_set_bytes", row.working_set_bytes, found.working_set_bytes),
        ("rx_bytes", row.rx_bytes, found.rx_bytes),
        ("tx_bytes", row.tx_bytes, found.tx_bytes),
    ];
    let mut compared = 0;
    for (column, expected, found) in pairs {
        let Some(expected) = expected else { continue };
        compared += 1;
        if found != Some(expected) {
            wrong.push(format!(
                "{}: {} {} {}: {column} is {found:?}, must be {expected}",
                host.name, row.kind, row.owner, row.cgroup
            ));
        }
    }
    compared
}

impl Found {
    fn of_usage(usage: &Usage) -> Self {
        Self {
            cpu_usec: usage.cpu.map(|cpu| signed(cpu.usage.as_usec())),
            // A cgroup without io.stat has no rows and no figure; there is nothing else to say.
            read_bytes: usage.disk.map(|disk| bytes(disk.read)),
            write_bytes: usage.disk.map(|disk| bytes(disk.written)),
            memory_current_bytes: usage.memory.current.map(bytes),
            working_set_bytes: usage.memory.working_set().map(bytes),
            rx_bytes: usage.network.map(|network| bytes(network.rx)),
            tx_bytes: usage.network.map(|network| bytes(network.tx)),
        }
    }
}

fn pod(host: &Host, row: &Row) -> Result<Found, String> {
    let pod = host.account.pods.iter().find(|pod| *pod.path == *row.cgroup.as_bytes());
    let pod = pod.ok_or("no such pod")?;
    if !row.owner.contains(&pod.uid.to_string()) {
        return Err(format!("its uid is {}", pod.uid));
    }
    for class in ["Guaranteed", "Burstable", "BestEffort"] {
        if row.owner.contains(&class.to_lowercase()) && pod.qos.as_str() != class {
            return Err(format!("its class is {}", pod.qos));
        }
    }
    let born = row.owner.contains("born between");
    if born == host.instants[0].cgroups.contains_key(row.cgroup.as_bytes()) {
        return Err("born between the instants or not, the other way round".to_owned());
    }
    // The truth of a pod that shares another owner's namespace has no network, and of the captured
    // hosts' pods none was kept.
    if row.rx_bytes.is_none() && !host.is_captured() && pod.usage.network.is_some() {
        return Err(format!("it has {:?}", pod.usage.network));
    }
    Ok(Found::of_usage(&pod.usage))
}

fn container(host: &Host, row: &Row) -> Result<Found, String> {
    let path = row.cgroup.as_bytes();
    if let Some(of_pod) = host.account.containers.iter().find(|one| *one.path == *path) {
        if !row.owner.starts_with(&of_pod.id.to_string()) {
            return Err(format!("its id is {}", of_pod.id));
        }
        return Ok(Found::of_usage(&of_pod.usage));
    }
    let unit = host.account.units.iter().find(|unit| *unit.path == *path);
    let unit = unit.ok_or("no such container")?;
    let UnitKind::Container { id, runtime } = unit.kind else {
        return Err(format!("it is {:?}", unit.kind));
    };
    if !row.owner.starts_with(&id.to_string()) || !row.owner.contains(runtime.as_str()) {
        return Err(format!("it is {id} of {runtime}"));
    }
    let mut found = Found::of_usage(&unit.usage);
    if row.owner.contains("with the pods in it") {
        // The account has the container without its pods; the whole is the scope's own files.
        let whole = slice(host, row)?;
        let memory = at(host, 1, path)?.memory;
        found = Found {
            cpu_usec: whole.cpu_usec,
            read_bytes: whole.read_bytes,
            write_bytes: whole.write_bytes,
            memory_current_bytes: memory.current.map(bytes),
            working_set_bytes: memory.working_set().map(bytes),
            ..found
        };
    }
    Ok(found)
}

fn unit<'h>(host: &'h Host, row: &Row) -> Result<&'h Usage, String> {
    let unit = host.account.units.iter().find(|unit| *unit.path == *row.cgroup.as_bytes());
    let unit = unit.ok_or("no such unit")?;
    let name = String::from_utf8_lossy(&unit.name()).into_owned();
    if row.kind != "monitor" && row.owner != name {
        return Err(format!("it is called {name}"));
    }
    Ok(&unit.usage)
}

/// Where the owner of a cgroup starts that no unit owns: at the outermost directory.
pub fn owner_above(row: &Row) -> &[u8] {
    match row.cgroup.rfind('/') {
        Some(end) if row.kind == "cgroup, no unit" => &row.cgroup.as_bytes()[..end],
        _ => row.cgroup.as_bytes(),
    }
}

fn in_plain_cgroup(host: &Host, row: &Row) -> Result<Found, String> {
    let unit = host.account.units.iter().find(|unit| *unit.path == *owner_above(row));
    let owner = Found::of_usage(&unit.ok_or("nobody owns it")?.usage);
    let inner = inside(host, row)?;
    Ok(Found { cpu_usec: owner.cpu_usec, ..inner })
}

fn at<'h>(host: &'h Host, instant: usize, path: &[u8]) -> Result<&'h CgroupReading, String> {
    host.instants[instant].cgroups.get(path).ok_or_else(|| "no such cgroup".to_owned())
}

/// A cgroup inside an owner, which has no line of its own: its raw counters at both instants.
fn inside(host: &Host, row: &Row) -> Result<Found, String> {
    let path = row.cgroup.as_bytes();
    let account = &host.account;
    let is_owner = account.pods.iter().any(|pod| *pod.path == *path)
        || account.units.iter().any(|unit| *unit.path == *path)
        || account.containers.iter().any(|container| *container.path == *path);
    if is_owner {
        return Err("it must stand inside another's line and has one of its own".to_owned());
    }
    let now = at(host, 1, path)?;
    let before = at(host, 0, path).ok().filter(|before| before.key.inode == now.key.inode);
    let cpu = |reading: &CgroupReading| reading.cpu.map_or(0, |cpu| signed(cpu.usage.as_usec()));
    let io = |reading: &CgroupReading, written: bool| {
        let rows = reading.io.iter().flatten();
        rows.map(|row| bytes(if written { row.written } else { row.read })).sum::<i64>()
    };
    let gain = |of: &dyn Fn(&CgroupReading) -> i64| Some(of(now) - before.map_or(0, of));
    Ok(Found {
        cpu_usec: gain(&cpu),
        read_bytes: gain(&|reading| io(reading, false)),
        write_bytes: gain(&|reading| io(reading, true)),
        memory_current_bytes: now.memory.current.map(bytes),
        working_set_bytes: now.memory.working_set().map(bytes),
        ..Found::default()
    })
}

/// A slice is the sum of the owners below it and of what died in it. Where the truth's own files
/// put an inner cgroup's part below zero, the account leaves that to the remainder.
fn slice(host: &Host, row: &Row) -> Result<Found, String> {
    let path = row.cgroup.as_bytes();
    let below = |other: &[u8]| {
        other == path || other.strip_prefix(path).is_some_and(|rest| rest.first() == Some(&b'/'))
    };
    let account = &host.account;
    let pods = account.pods.iter().filter(|pod| below(&pod.path)).map(|pod| &pod.usage);
    let units = account.units.iter().filter(|unit| below(&unit.path)).map(|unit| &unit.usage);
    let (mut cpu, mut read, mut written) = (0, 0, 0);
    for usage in pods.chain(units) {
        cpu += usage.cpu.map_or(0, |cpu| signed(cpu.usage.as_usec()));
        read += usage.disk.map_or(0, |disk| bytes(disk.read));
        written += usage.disk.map_or(0, |disk| bytes(disk.written));
    }
    for exited in account.exited.iter().filter(|exited| below(&exited.path)) {
        cpu += signed(exited.cpu.as_usec());
        read += bytes(exited.disk.read);
        written += bytes(exited.disk.written);
    }
    let below_zero = host.truth.iter().filter(|row| row.kind == "residual");
    let below_zero = below_zero.filter(|row| below(row.cgroup.as_bytes()) && is_inner(host, row));
    cpu += below_zero.filter_map(|row| row.cpu_usec).filter(|usec| *usec < 0).sum::<i64>();
    let memory = at(host, 1, path)?.memory;
    Ok(Found {
        cpu_usec: Some(cpu),
        read_bytes: Some(read),
        write_bytes: Some(written),
        memory_current_bytes: memory.current.map(bytes),
        working_set_bytes: memory.working_set().map(bytes),
        ..Found::default()
    })
}

/// True if the row's cgroup has no processes of its own.
fn is_inner(host: &Host, row: &Row) -> bool {
    let same = |other: &Row| other.cgroup == row.cgroup;
    !host.truth.iter().any(|other| matches!(other.kind.as_str(), "pod" | "unit") && same(other))
}

fn died(host: &Host, row: &Row) -> Result<Found, String> {
    let path = row.cgroup.as_bytes();
    let account = &host.account;
    if let Some(pod) = account.pods.iter().find(|pod| *pod.path == *path) {
        // What a pod has beyond its live cgroups.
        let mut found = Found::of_usage(&pod.usage);
        let children = host.instants[1].cgroups.keys().filter(|child| {
            child.strip_prefix(path).is_some_and(|rest| {
                rest.first() == Some(&b'/') && !rest.get(1..).unwrap_or_default().contains(&b'/')
            })
        });
        for child in children {
            let cgroup = String::from_utf8(child.clone()).unwrap();
            let live = match account.containers.iter().find(|one| *one.path == **child) {
                Some(container) => Found::of_usage(&container.usage),
                None => inside(host, &Row { cgroup, ..row.clone() })?,
            };
            let less = |whole: &mut Option<i64>, part: Option<i64>| {
                *whole = whole.map(|whole| whole - part.unwrap_or(0));
            };
            less(&mut found.cpu_usec, live.cpu_usec);
            less(&mut found.read_bytes, live.read_bytes);
            less(&mut found.write_bytes, live.write_bytes);
        }
        return Ok(found);
    }
    if !is_inner(host, row) {
        // A unit's own processes beside its nested cgroups: the row's one microsecond of rounding.
        let all = slice(host, row)?.cpu_usec;
        return (all
            == unit(host, &Row { kind: "monitor".to_owned(), ..row.clone() })?
                .cpu
                .map(|cpu| signed(cpu.usage.as_usec())))
        .then_some(Found { cpu_usec: row.cpu_usec, ..Found::default() })
        .ok_or_else(|| "something stands beside the unit".to_owned());
    }
    let exited = account.exited.iter().find(|exited| *exited.path == *path);
    let cpu = exited.map_or(0, |exited| signed(exited.cpu.as_usec()));
    let disk = exited.map_or_else(DiskUsage::default, |exited| exited.disk);
    // Below zero is timing, not usage, and stands in the remainder.
    let expected = row.cpu_usec.unwrap_or(0);
    Ok(Found {
        cpu_usec: Some(if expected < 0 && cpu == 0 { expected } else { cpu }),
        read_bytes: Some(bytes(disk.read)),
        write_bytes: Some(bytes(disk.written)),
        ..Found::default()
    })
}

fn process(host: &Host, row: &Row) -> Result<Found, String> {
    let (pid, rest) = row.owner.split_once(' ').ok_or("no pid")?;
    let pid = pid.parse::<u32>().map_err(|error| error.to_string())?;
    let process = host.process(pid).ok_or("no such process")?;
    let comm = rest.replace("\\n", "\n");
    if process.comm.as_bytes() != comm.as_bytes() {
        return Err(format!("its comm is {:?}", process.comm));
    }
    if *process.cgroup != *row.cgroup.as_bytes() {
        return Err(format!("it stands in {}", String::from_utf8_lossy(&process.cgroup)));
    }
    Ok(Found {
        cpu_usec: process.cpu.map(|cpu| signed(cpu.usage.as_usec())),
        read_bytes: process.disk.map(|disk| bytes(disk.read)),
        write_bytes: process.disk.map(|disk| bytes(disk.written)),
        memory_current_bytes: process.resident.map(bytes),
        ..Found::default()
    })
}

fn node(host: &Host, row: &Row) -> Result<Found, String> {
    let owner = row.owner.as_str();
    let node = &host.account.node;
    let cpu = node.cpu.ok_or("the node has no cpu")?;
    let usec = |time: Option<nodetally::quantity::CpuTime>| signed(time.unwrap().as_usec());
    let [before, now] = [&host.instants[0], &host.instants[1]];
    let ticks = |of: &dyn Fn(&nodetally::source::proc::stat::NodeStat) -> u64| {
        let gained = of(&now.stat) - of(&before.stat);
        signed(gained * 1_000_000 / host.units.ticks_per_second)
    };
    let cpu_row = |value: i64| Found { cpu_usec: Some(value), ..Found::default() };
    let word = owner.split([' ', ':']).next().unwrap_or_default();
    Ok(match word {
        // The truth's busy is without interrupts, the account's with.
        "busy" => cpu_row(usec(cpu.user) + usec(cpu.system)),
        _ if owner == "irq + softirq" => cpu_row(usec(cpu.irq) + usec(cpu.softirq)),
        "user" => cpu_row(usec(cpu.user) - ticks(&|stat| stat.nice.unwrap().as_ticks())),
        "nice" => cpu_row(usec(cpu.user) - ticks(&|stat| stat.user.unwrap().as_ticks())),
        "system" => cpu_row(usec(cpu.system)),
        "irq" => cpu_row(usec(cpu.irq)),
        "softirq" => cpu_row(usec(cpu.softirq)),
        "steal" => cpu_row(usec(cpu.steal)),
        "guest" => cpu_row(ticks(&|stat| stat.guest.unwrap().as_ticks())),
        "idle" => cpu_row(usec(cpu.idle) + usec(cpu.iowait)),
        "root" => {
            let root = |instant: usize| Ok::<_, String>(at(host, instant, b"/")?.cpu);
            let usage = |instant| Ok::<_, String>(root(instant)?.ok_or("no cpu.stat")?.usage);
            cpu_row(usec(Some(usage(1)?)) - usec(Some(usage(0)?)))
        }
        "disk" | "disks" => {
            let disk = node.disk.ok_or("the node has no disks")?;
            Found {
                read_bytes: Some(bytes(disk.read)),
                write_bytes: Some(bytes(disk.written)),
                ..Found::default()
            }
        }
        "md0" => {
            let (read, written) = now.disks.get(&b"md0"[..]).ok_or("no md0")?;
            let (read_before, written_before) = before.disks.get(&b"md0"[..]).ok_or("no md0")?;
            Found {
                read_bytes: Some(signed(read - read_before)),
                write_bytes: Some(signed(written - written_before)),
                ..Found::default()
            }
        }
        "network" => {
            let network: NetworkUsage = node.network.ok_or("the node has no network")?;
            let (rx, tx) = (bytes(network.rx), bytes(network.tx));
            if host.is_captured() {
                return bounded_network(host, row, rx, tx);
            }
            Found { rx_bytes: Some(rx), tx_bytes: Some(tx), ..Found::default() }
        }
        "memory" => {
            let memory = node.memory.ok_or("the node has no memory")?;
            let used = if owner.contains("MemAvailable") {
                memory.total.unwrap().saturating_sub(memory.available.ok_or("no MemAvailable")?)
            } else {
                memory.total.unwrap().saturating_sub(memory.free.unwrap())
            };
            let working_set = bytes(used.saturating_sub(memory.inactive_file.unwrap()));
            Found {
                memory_current_bytes: Some(bytes(used)),
                working_set_bytes: Some(near(row.working_set_bytes, working_set, host)),
                ..Found::default()
            }
        }
        other => return Err(format!("{other} is no figure of the node that is known")),
    })
}

/// The truth takes the page cache from the root's memory.stat, the account from meminfo: the same
/// figure, at a captured host read a moment later.
fn near(truth: Option<i64>, found: i64, host: &Host) -> i64 {
    match truth {
        Some(truth) if host.is_captured() && (truth - found).abs() * 1000 <= truth => truth,
        _ => found,
    }
}

/// The truth of a captured host takes /proc/net/dev, read with the node's files; the account pid
/// 1's, read with the processes. The files before and behind both bound what pid 1's can say.
fn bounded_network(host: &Host, row: &Row, rx: i64, tx: i64) -> Result<Found, String> {
    let [before, after, now, behind] =
        ["t0", "after-t0", "t1", "after-t1"].map(|dir| host.eth0_bytes(dir));
    for (at, (found, truth)) in [(rx, row.rx_bytes), (tx, row.tx_bytes)].into_iter().enumerate() {
        if truth != Some(now[at] - before[at]) {
            return Err(format!("its truth is not {}", now[at] - before[at]));
        }
        if found < now[at] - after[at] || found > behind[at] - before[at] {
            return Err(format!("{found} is not what the files allow"));
        }
    }
    Ok(Found { rx_bytes: row.rx_bytes, tx_bytes: row.tx_bytes, ..Found::default() })
}

fn sum(host: &Host, row: &Row) -> Result<Found, String> {
    let account = &host.account;
    let cpu = account.conservation.cpu_usec.ok_or("no balance")?;
    let read = account.conservation.disk_read_bytes.ok_or("no balance")?;
    let written = account.conservation.disk_written_bytes.ok_or("no balance")?;
    let cpu_row = |value: i64| Found { cpu_usec: Some(value), ..Found::default() };
    let disk_row = |read: i64, written: i64| Found {
        read_bytes: Some(read),
        write_bytes: Some(written),
        ..Found::default()
    };
    let owner = row.owner.as_str();
    let starts = |with: &str| owner.starts_with(with);
    Ok(if starts("owners above") {
        cpu_row(signed(cpu.pods + cpu.host_units))
    } else if starts("kernel threads") {
        cpu_row(signed(cpu.kernel))
    } else if starts("unattributed") || starts("remainder") {
        cpu_row(cpu.unattributed)
    } else if starts("died since") {
        cpu_row(signed(cpu.exited))
    } else if starts("processes above") {
        let processes = account.processes.iter().filter(|process| !process.kernel_thread);
        cpu_row(processes.filter_map(|one| one.cpu).map(|cpu| signed(cpu.usage.as_usec())).sum())
    } else if starts("exited processes of cron.service") {
        let path = &b"/system.slice/cron.service"[..];
        let unit = account.units.iter().find(|unit| *unit.path == *path).ok_or("no such unit")?;
        let all = unit.usage.cpu.ok_or("no cpu")?.usage;
        cpu_row(signed(all.as_usec() - unit.usage.processes_cpu.as_usec()))
    } else if starts("top-level cgroups") {
        let below_zero = host.truth.iter().filter(|row| row.kind == "residual");
        let below_zero = below_zero.filter(|row| is_inner(host, row));
        let timing: i64 = below_zero.filter_map(|row| row.cpu_usec).filter(|usec| *usec < 0).sum();
        cpu_row(signed(cpu.pods + cpu.host_units + cpu.exited) + timing)
    } else if starts("disk: the kernel's own") || starts("disk remainder") {
        disk_row(read.unattributed, written.unattributed)
    } else if owner == "owners" {
        disk_row(signed(read.pods + read.host_units), signed(written.pods + written.host_units))
    } else {
        return Err("no sum that is known".to_owned());
    })
}
