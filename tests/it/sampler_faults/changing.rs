//! One sampler over a host that changes between the ticks.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use nodetally::ledger::Ledger;
use nodetally::ledger::account::Account;
use nodetally::quantity::{Bytes, Limit};
use nodetally::snapshot::Snapshot;
use nodetally::snapshot::gaps::GapReason;
use nodetally::snapshot::topology::InterfaceKind;
use nodetally::source::proc::pid_stat::Comm;

use crate::sampler_faults::copy::{Clock, Copy, changed, facts, gaps};

const HOST: &str = "6.12-podman-bare";
const NGINX: &[u8] = b"/system.slice/nginx.service";
const BACKUP: &[u8] = b"/system.slice/backup\\x2djob.service";

fn paths(snapshot: &Snapshot) -> Vec<Vec<u8>> {
    snapshot.cgroups.iter().map(|cgroup| cgroup.key.path.to_vec()).collect()
}

fn has(snapshot: &Snapshot, path: &[u8]) -> bool {
    snapshot.cgroups.iter().any(|cgroup| *cgroup.key.path == *path)
}

fn exited_usec(account: &Account, path: &[u8]) -> u64 {
    let found = account.exited.iter().find(|exited| *exited.path == *path);
    found.map_or(0, |exited| exited.cpu.as_usec())
}

fn unit_usec(account: &Account, path: &[u8]) -> Option<u64> {
    let found = account.units.iter().find(|unit| *unit.path == *path)?;
    Some(found.usage.cpu?.usage.as_usec())
}

/// A host that is settled tick by tick.
struct Ticking {
    copy: Copy,
    sampler: nodetally::snapshot::sampler::Sampler,
    clock: Clock,
    ledger: Ledger,
    account: Account,
}

impl Ticking {
    fn new(host: &str) -> Self {
        let copy = Copy::of(host);
        let sampler = copy.open();
        let ledger = Ledger::new(copy.roots().units);
        let (clock, account) = (Clock::new(), Account::default());
        let mut ticking = Self { copy, sampler, clock, ledger, account };
        ticking.tick();
        ticking
    }

    fn tick(&mut self) -> &Snapshot {
        let snapshot = self.clock.sample(&mut self.sampler);
        self.ledger.settle(snapshot, &mut self.account);
        snapshot
    }
}

#[test]
fn a_quiet_tick_says_what_the_tick_before_said() {
    for host in ["3.10-v1-only", "5.15-hybrid", HOST, "6.8-crio-systemd", "6.1-containerd-kind"] {
        let mut host = Ticking::new(host);
        let first = facts(host.sampler.snapshot());
        // Beyond the tick at which everything is read anew.
        for _ in 0..20 {
            let now = facts(host.tick());
            assert_eq!(changed(&first, &now), Vec::<String>::new());
        }
        assert!(host.account.exited.is_empty());
        assert_eq!(host.sampler.snapshot().gaps.count, 0);
    }
}

/// A kubelet that starts after the agent passes the io controller on.
#[test]
fn a_controller_that_is_passed_on_later_is_read_and_no_gap_any_more() {
    let mut host = Ticking::new(HOST);
    let of_nginx = "sys/fs/cgroup/system.slice/nginx.service/io.stat";
    let passed_on = "sys/fs/cgroup/cgroup.subtree_control";
    let (counters, all) = (host.copy.read(of_nginx), host.copy.read(passed_on));
    let without: Vec<String> =
        host.copy.files().into_iter().filter(|file| file.ends_with("service/io.stat")).collect();
    without.iter().for_each(|file| fs::remove_file(host.copy.path(file)).unwrap());
    host.copy.write(passed_on, all.replace(" io", ""));
    host.sampler = host.copy.open();
    let lacks_io = |snapshot: &Snapshot| {
        snapshot.gaps.standing.iter().any(|gap| *gap.path == *b"cgroup2 controller io")
    };
    let io_of_nginx = |snapshot: &Snapshot| {
        snapshot.cgroups.iter().find(|cgroup| *cgroup.key.path == *NGINX).unwrap().io.is_some()
    };
    for _ in 0..20 {
        let now = host.tick();
        assert_eq!((lacks_io(now), io_of_nginx(now)), (true, false));
    }
    host.copy.write(passed_on, all);
    host.copy.write(of_nginx, counters);
    // Both are looked for once in 16 ticks.
    let now = (0..17).fold((true, false), |_, _| {
        let now = host.tick();
        (lacks_io(now), io_of_nginx(now))
    });
    assert_eq!(now, (false, true));
}

/// Files of two sizes are summed, and none is read while the node has no pool.
#[test]
fn huge_pages_of_a_cgroup_are_those_of_every_size() {
    let mut host = Ticking::new(HOST);
    let of_nginx = "sys/fs/cgroup/system.slice/nginx.service";
    let meminfo = host.copy.read("proc/meminfo");
    for size in ["hugepages-2048kB", "hugepages-1048576kB", "junk"] {
        fs::create_dir_all(host.copy.path(&format!("sys/kernel/mm/hugepages/{size}"))).unwrap();
    }
    host.copy.write(&format!("{of_nginx}/hugetlb.2MB.current"), "6291456\n");
    host.copy.write(&format!("{of_nginx}/hugetlb.1GB.current"), "1073741824\n");
    host.sampler = host.copy.open();
    let huge_pages = |snapshot: &Snapshot| {
        let of = |path: &[u8]| {
            snapshot.cgroups.iter().find(|cgroup| *cgroup.key.path == *path).unwrap().memory
        };
        assert_eq!(of(BACKUP).huge_pages, None, "it has no file");
        of(NGINX).huge_pages.map(Bytes::as_bytes)
    };
    assert_eq!(huge_pages(host.tick()), None);
    host.copy.write("proc/meminfo", format!("{meminfo}Hugetlb: 2097152 kB\n"));
    let over = |host: &mut Ticking| (0..17).map(|_| huge_pages(host.tick())).last().unwrap();
    assert_eq!(over(&mut host), Some(1_080_033_280));
    let row = host.account.units.iter().find(|unit| *unit.path == *NGINX).unwrap();
    assert_eq!(row.usage.memory.huge_pages.map(Bytes::as_bytes), Some(1_080_033_280));
    host.copy.write(&format!("{of_nginx}/hugetlb.1GB.current"), "odd\n");
    assert_eq!(over(&mut host), Some(1_080_033_280), "not the sum of the others");
    fs::remove_file(host.copy.path(&format!("{of_nginx}/hugetlb.1GB.current"))).unwrap();
    assert_eq!(over(&mut host), Some(6_291_456));
    host.copy.write("proc/meminfo", meminfo);
    assert_eq!(over(&mut host), None);
}

#[test]
fn a_removed_cgroup_is_gone_and_its_last_usage_with_its_parent() {
    let mut host = Ticking::new(HOST);
    host.copy.spend(NGINX, 70_000);
    host.copy.spend(BACKUP, 30_000);
    fs::remove_dir_all(host.copy.cgroup(NGINX)).unwrap();
    let now = host.tick();
    assert!(!has(now, NGINX));
    assert!(has(now, BACKUP));
    assert_eq!(gaps(now), Vec::<String>::new());
    assert_eq!(exited_usec(&host.account, b"/system.slice"), 70_000);
    assert_eq!(unit_usec(&host.account, BACKUP), Some(30_000));
    // And its processes are nobody's.
    let of_it = host.account.processes.iter().filter(|process| *process.cgroup == *NGINX);
    assert_eq!(of_it.count(), 0);
}

#[test]
fn a_subtree_that_goes_takes_all_below_it() {
    let mut host = Ticking::new(HOST);
    let user: &[u8] = b"/user.slice/user-1000.slice";
    let below = paths(host.sampler.snapshot()).into_iter().filter(|path| path.starts_with(user));
    assert!(below.count() > 4);
    host.copy.spend(&[user, b"/session-4.scope"].concat(), 9_000);
    fs::remove_dir_all(host.copy.cgroup(user)).unwrap();
    let now = host.tick();
    assert!(!paths(now).iter().any(|path| path.starts_with(user)));
    assert_eq!(exited_usec(&host.account, b"/user.slice"), 9_000);
}

#[test]
fn a_new_cgroup_counts_from_its_birth_with_all_below_it() {
    let mut host = Ticking::new(HOST);
    host.copy.make_cgroup(b"/system.slice/new.service");
    host.copy.make_cgroup(b"/system.slice/new.service/inner");
    host.copy.spend(b"/system.slice/new.service/inner", 123_000);
    host.copy.spend(b"/system.slice/new.service", 4_000);
    let now = host.tick();
    assert!(has(now, b"/system.slice/new.service/inner"));
    assert_eq!(unit_usec(&host.account, b"/system.slice/new.service"), Some(127_000));
    assert_eq!(exited_usec(&host.account, b"/system.slice"), 0);
}

#[test]
fn a_new_cgroup_that_goes_while_it_is_read_takes_all_below_it() {
    let mut host = Ticking::new(HOST);
    let (mut whole, mut gone) = (0, 0);
    for moment in 1.. {
        let pod = format!("/system.slice/new{moment}.service").into_bytes();
        let container = [&pod, &b"/inner"[..]].concat();
        host.copy.make_cgroup(&pod);
        host.copy.make_cgroup(&container);
        host.copy.spend(&container, 5_000);
        let dir = host.copy.cgroup(&pod);
        let mut asked = 0;
        let now = host.clock.sample_watched(&mut host.sampler, || {
            asked += 1;
            if asked == moment {
                fs::remove_dir_all(&dir).unwrap();
            }
        });
        for cgroup in &now.cgroups {
            let parent = cgroup.parent.map(|at| now.cgroups[at].key.path.to_vec());
            let cut = cgroup.key.path.iter().rposition(|byte| *byte == b'/').unwrap();
            let above = cgroup.key.path[..cut.max(1)].to_vec();
            let place = parent.unwrap_or(above.clone());
            let path = String::from_utf8_lossy(&cgroup.key.path);
            assert_eq!(place, above, "{path}, with its parent removed at reading {moment}");
        }
        match has(now, &container) {
            true => whole += 1,
            false => gone += 1,
        }
        if asked < moment {
            break;
        }
    }
    assert!(whole > 0 && gone > 0, "{whole} and {gone}");
}

#[test]
fn what_changes_where_nothing_runs_is_seen_within_sixteen_ticks() {
    let mut host = Ticking::new(HOST);
    for _ in 0..20 {
        host.tick();
    }
    let file = |name| format!("sys/fs/cgroup/system.slice/nginx.service/{name}");
    host.copy.write(&file("memory.max"), "77000000\n");
    for (name, text) in
        [("cpu.weight", "250\n"), ("memory.min", "4096\n"), ("memory.swap.max", "0\n")]
    {
        host.copy.write(&file(name), text);
    }
    let stat = host.copy.read(&file("memory.stat"));
    let other = |line: &str| match line.strip_prefix("inactive_file ") {
        Some(_) => "inactive_file 4711\n".to_owned(),
        None => format!("{line}\n"),
    };
    host.copy.write(&file("memory.stat"), stat.lines().map(other).collect::<String>());
    // Moved here by somebody else.
    host.copy.write(&file("cgroup.procs"), host.copy.read(&file("cgroup.procs")) + "2\n");
    for _ in 0..16 {
        host.tick();
    }
    let now = &host.sampler.snapshot().cgroups;
    let nginx = now.iter().find(|cgroup| *cgroup.key.path == *NGINX).unwrap();
    assert_eq!(nginx.memory.max, Some(Limit::At(Bytes::from_bytes(77_000_000))));
    assert_eq!(nginx.cpu_weight, Some(250));
    assert_eq!(nginx.memory.min, Some(Limit::At(Bytes::from_bytes(4096))));
    assert_eq!(nginx.memory.swap_max, Some(Limit::At(Bytes::ZERO)));
    assert_eq!(nginx.memory.stat.unwrap().inactive_file, Some(Bytes::from_bytes(4711)));
    assert_eq!(nginx.processes[0].key.pid, 2);
    assert!(nginx.processes.iter().all(|process| process.comm != Comm::default()));
}

/// A runtime makes a cgroup, and sets it up then.
#[test]
fn settings_of_a_new_cgroup_are_those_of_its_second_reading() {
    let mut host = Ticking::new(HOST);
    let (path, dir) = (b"/system.slice/new.service", "sys/fs/cgroup/system.slice/new.service");
    let weight = |snapshot: &Snapshot| {
        snapshot.cgroups.iter().find(|cgroup| *cgroup.key.path == *path).unwrap().cpu_weight
    };
    host.copy.make_cgroup(path);
    host.copy.write(&format!("{dir}/cpu.weight"), "100\n");
    host.copy.spend(path, 1000);
    assert_eq!(weight(host.tick()), Some(100));
    host.copy.write(&format!("{dir}/cpu.weight"), "39\n");
    host.copy.spend(path, 1000);
    assert_eq!(weight(host.tick()), Some(39));
    // Then in its turn only, which is another one in each round.
    let mut late = 0;
    for value in [7, 8] {
        host.copy.write(&format!("{dir}/cpu.weight"), format!("{value}\n"));
        for _ in 0..23 {
            host.copy.spend(path, 1000);
            late += u32::from(weight(host.tick()) != Some(value));
        }
        assert_eq!(weight(host.sampler.snapshot()), Some(value));
    }
    assert!(late > 0, "it is opened in each tick");
}

#[test]
fn a_renamed_cgroup_brings_no_past() {
    let mut host = Ticking::new(HOST);
    let renamed: &[u8] = b"/system.slice/renamed.service";
    fs::rename(host.copy.cgroup(NGINX), host.copy.cgroup(renamed)).unwrap();
    host.copy.spend(renamed, 5_000);
    let now = host.tick();
    assert!(has(now, renamed) && !has(now, NGINX));
    let given = unit_usec(&host.account, renamed).unwrap_or(0);
    let exited = exited_usec(&host.account, b"/system.slice");
    assert_eq!(given + exited, 5_000);
    host.copy.spend(renamed, 6_000);
    host.tick();
    assert_eq!(unit_usec(&host.account, renamed), Some(6_000));
}

#[test]
fn a_process_that_goes_is_gone_whoever_lists_it() {
    let host = Ticking::new(HOST);
    let pid = |snapshot: &Snapshot| {
        let cgroup = snapshot.cgroups.iter().find(|cgroup| *cgroup.key.path == *NGINX).unwrap();
        cgroup.processes.iter().map(|process| process.key.pid).collect::<Vec<_>>()
    };
    let before = pid(host.sampler.snapshot());
    assert!(before.len() > 1);
    host.copy.spend(NGINX, 1_000);
    // cgroup.procs was read just before its exit.
    fs::remove_dir_all(host.copy.path(&format!("proc/{}", before[0]))).unwrap();
    // A process whose file is held open answers for itself until it is closed; the next sampler
    // has nothing open.
    let mut fresh = host.copy.open();
    let now = Clock::new().sample(&mut fresh);
    assert_eq!(pid(now), before[1..]);
    assert_eq!(gaps(now), Vec::<String>::new());
}

#[test]
fn a_pid_used_again_is_another_process() {
    let mut host = Ticking::new(HOST);
    let cgroup = host.sampler.snapshot().cgroups.iter().find(|one| *one.key.path == *NGINX);
    let old = cgroup.unwrap().processes[0].clone();
    let pid = old.key.pid;
    let stat = host.copy.read(&format!("proc/{pid}/stat"));
    // The figures behind the comm, which holds no blank here: field 22 is the start.
    let mut fields: Vec<String> = stat.split(' ').map(str::to_owned).collect();
    fields[13] = "7".to_owned();
    fields[14] = "3".to_owned();
    fields[21] = "102500".to_owned();
    host.copy.write(&format!("proc/{pid}/stat"), fields.join(" "));
    host.copy.spend(NGINX, 100_000);
    host.tick();
    let now = host.account.processes.iter().find(|process| process.key.pid == pid).unwrap();
    assert_ne!(now.key, old.key);
    assert_eq!(now.cpu.unwrap().usage.as_usec(), 100_000);
}

/// Every counter file of every cgroup in turn: what is not known in the tick comes in full with the
/// next, and nothing is taken for somebody else's meanwhile.
#[test]
fn the_tick_behind_an_unreadable_one_has_the_whole_delta() {
    let mut host = Ticking::new(HOST);
    let all = paths(host.sampler.snapshot());
    let spend = |host: &Ticking| {
        host.copy.spend(NGINX, 20_000);
        host.copy.spend(BACKUP, 3_000);
        host.copy.spend(b"/user.slice/user-1000.slice/session-4.scope", 400);
    };
    let given = |account: &Account| -> BTreeMap<Vec<u8>, u64> {
        let units = account
            .units
            .iter()
            .map(|unit| (unit.path.to_vec(), unit.usage.cpu.map_or(0, |cpu| cpu.usage.as_usec())));
        let exited = account.exited.iter().map(|one| (one.path.to_vec(), one.cpu.as_usec()));
        units.chain(exited).filter(|(_, usec)| *usec > 0).collect()
    };
    spend(&host);
    host.tick();
    let each = given(&host.account);
    assert_eq!(each.values().sum::<u64>(), 23_400);
    let mut broken_ticks = 0;
    for path in all.iter().filter(|path| ***path != *b"/") {
        for name in ["cpu.stat", "io.stat"] {
            let file = host.copy.cgroup(path).join(name);
            let Ok(text) = fs::read(&file) else { continue };
            spend(&host);
            let spent = fs::read(&file).unwrap();
            fs::write(&file, "what is this\n").unwrap();
            let called = [&path[..], b"/", name.as_bytes()].concat();
            let snapshot = host.tick();
            let expected = GapReason::Malformed { expected: "" };
            let named = snapshot.gaps.current.iter().any(|gap| {
                *gap.path == *called
                    && std::mem::discriminant(&gap.reason) == std::mem::discriminant(&expected)
            });
            // Where nothing moves above it, it is not read at all.
            let first = given(&host.account);
            assert!(named || first == each, "{}", String::from_utf8_lossy(&called));
            broken_ticks += usize::from(named);
            let late = |path: &Vec<u8>| each[path] - first.get(path).copied().unwrap_or(0);
            assert!(first.keys().all(|path| first[path] <= each[path]), "{first:?}");
            let expected: BTreeMap<_, _> =
                each.keys().map(|path| (path.clone(), each[path] + late(path))).collect();
            fs::write(&file, if name == "cpu.stat" { &spent } else { &text }).unwrap();
            spend(&host);
            host.tick();
            assert_eq!(given(&host.account), expected, "{}", String::from_utf8_lossy(&called));
        }
    }
    assert!(broken_ticks >= 10, "{broken_ticks}");
}

#[test]
fn the_nodes_own_files_count_on_behind_an_unreadable_tick() {
    let mut host = Ticking::new(HOST);
    let stat = host.copy.read("proc/stat");
    let (total, rest) = stat.split_once('\n').unwrap();
    let mut fields: Vec<&str> = total.split_whitespace().collect();
    let user: u64 = fields[1].parse().unwrap();
    host.copy.write("proc/stat", "what is this\n");
    assert_eq!(gaps(host.tick()).len(), 1);
    assert_eq!(host.account.node.cpu, None);
    let more = (user + 250).to_string();
    fields[1] = &more;
    host.copy.write("proc/stat", format!("{}\n{rest}", fields.join(" ")));
    host.tick();
    let cpu = host.account.node.cpu.unwrap();
    assert_eq!(cpu.user.unwrap().as_usec(), 2_500_000);
    assert!(cpu.over_usec > 30_000_000, "{}", cpu.over_usec);
}

/// It rested for ten ticks and ran in the eleventh: that is what its rate is over.
#[test]
fn a_process_that_wakes_ran_in_the_last_interval_alone() {
    let mut host = Ticking::new(HOST);
    for _ in 0..10 {
        host.copy.spend(BACKUP, 1_000);
        host.tick();
    }
    let cgroup = host.sampler.snapshot().cgroups.iter().find(|one| *one.key.path == *NGINX);
    let pid = cgroup.unwrap().processes[0].key.pid;
    let stat = host.copy.read(&format!("proc/{pid}/stat"));
    let mut fields: Vec<String> = stat.split(' ').map(str::to_owned).collect();
    fields[13] = (fields[13].parse::<u64>().unwrap() + 150).to_string();
    host.copy.write(&format!("proc/{pid}/stat"), fields.join(" "));
    host.copy.spend(NGINX, 1_500_000);
    host.tick();
    let process = host.account.processes.iter().find(|process| process.key.pid == pid).unwrap();
    let cpu = process.cpu.unwrap();
    assert_eq!(cpu.usage.as_usec(), 1_500_000);
    assert!(cpu.over_usec < 16_000_000, "{}", cpu.over_usec);
}

#[test]
fn cgroups_may_be_called_anything() {
    let mut host = Ticking::new(HOST);
    let names: [&[u8]; 8] = [
        b"not \xff\xfe utf-8",
        b" ",
        b"new\nline",
        b"tab\tand \"quote\"",
        b"..hidden",
        b"\x01",
        b"-rf",
        &[b'n'; 255],
    ];
    for name in names {
        host.copy.make_cgroup(&[b"/system.slice/", name].concat());
        host.copy.make_cgroup(&[b"/system.slice/", name, b"/", name].concat());
    }
    for (number, name) in names.into_iter().enumerate() {
        let path = [b"/system.slice/", name, b"/", name].concat();
        host.copy.spend(&path, 1_000 + number as u64);
    }
    assert_eq!(gaps(host.tick()), Vec::<String>::new());
    let now = host.sampler.snapshot();
    for (number, name) in names.into_iter().enumerate() {
        let path = [b"/system.slice/", name].concat();
        assert!(
            has(now, &[&path[..], b"/", name].concat()),
            "{}",
            OsStr::from_bytes(name).display()
        );
        assert_eq!(unit_usec(&host.account, &path), Some(1_000 + number as u64));
    }
    // They stay where they are among the others.
    host.copy.spend(NGINX, 5_000);
    let count = paths(host.sampler.snapshot()).len();
    assert_eq!(paths(host.tick()).len(), count);
    assert_eq!(unit_usec(&host.account, NGINX), Some(5_000));
}

#[test]
fn a_tree_too_deep_is_followed_so_far_and_no_further() {
    let mut host = Ticking::new(HOST);
    let mut path = b"/system.slice".to_vec();
    for _ in 0..80 {
        path.extend_from_slice(b"/d");
        host.copy.make_cgroup(&path);
    }
    host.copy.spend(&path, 12_345);
    let now = host.tick();
    let deepest = now.cgroups.iter().map(|one| one.key.path.split(|b| *b == b'/').count() - 1);
    assert_eq!(deepest.max(), Some(64));
    assert_eq!(gaps(now).len(), 1);
    assert!(gaps(now)[0].ends_with("more than 64; the rest is in its parent"), "{:?}", gaps(now));
    // The deepest that is followed has what is below it.
    assert_eq!(unit_usec(&host.account, b"/system.slice/d"), Some(12_345));
    let again = gaps(host.tick()).len();
    assert!(again <= 1, "{again}");
}

#[test]
fn a_symlink_among_the_cgroups_is_not_followed() {
    let mut host = Ticking::new(HOST);
    let loops = host.copy.cgroup(b"/system.slice/loop");
    std::os::unix::fs::symlink(host.copy.cgroup(b"/system.slice"), loops).unwrap();
    host.copy.spend(NGINX, 1_000);
    let before = paths(host.sampler.snapshot()).len();
    assert_eq!(paths(host.tick()).len(), before);
}

/// Users can nest cgroups with long names. The usage below stays in the last one that is followed.
#[test]
fn a_cgroup_with_a_very_long_path_is_left_to_the_one_above() {
    let mut host = Ticking::new(HOST);
    let mut paths = vec![NGINX.to_vec()];
    for level in 0..5 {
        let path = [&*paths[level], b"/", &[b'a' + level as u8; 240]].concat();
        host.copy.make_cgroup(&path);
        paths.push(path);
    }
    assert!(paths[4].len() <= 1024 && paths[5].len() > 1024);
    // Found by a sampler that runs, and by one that starts.
    for starts in [false, true] {
        if starts {
            host.sampler = host.copy.open();
        }
        let (mut followed, mut has_gap) = (Vec::new(), false);
        // Children of a cgroup that rests are listed once in 16 ticks.
        for _ in 0..17 {
            let now = host.tick();
            followed = paths.iter().map(|path| has(now, path)).collect();
            let reason = GapReason::Bounded { limit: 1024 };
            has_gap |= now.gaps.current.iter().any(|gap| gap.reason == reason);
        }
        assert_eq!(followed, [true, true, true, true, true, false], "{starts}");
        assert!(has_gap, "{starts}");
        host.copy.spend(&paths[5], 5000);
        host.tick();
        assert_eq!(unit_usec(&host.account, NGINX), Some(5000), "{starts}");
    }
}

/// On a host without hardware, the interfaces of the default routes are the node's. A route can move while the
/// interfaces stay.
#[test]
fn the_nodes_interface_is_that_of_the_default_route_of_now() {
    let mut host = Ticking::new(HOST);
    fs::remove_dir_all(host.copy.path("sys/class/net")).unwrap();
    let route_by = |host: &Ticking, name: &str| {
        let row = format!("{name}\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n");
        host.copy.write("proc/1/net/route", format!("Iface\tDestination\tGateway\tFlags\n{row}"));
    };
    let counted = |snapshot: &Snapshot| -> Vec<String> {
        let all = snapshot.node.interfaces.iter();
        let its = all.filter(|interface| interface.facts.kind == InterfaceKind::Virtual);
        its.map(|interface| String::from_utf8_lossy(interface.row.name.as_bytes()).into_owned())
            .collect()
    };
    route_by(&host, "eth0");
    host.sampler = host.copy.open();
    assert_eq!(counted(host.tick()), ["eth0"]);
    route_by(&host, "wlan0");
    // Looked at once in 40 ticks.
    let later = (0..41).map(|_| counted(host.tick())).last().unwrap();
    assert_eq!(later, ["wlan0"]);
}
