//! Processes that ended between two samples, where no cgroup has a CPU counter.

use serde_json::Value;

use super::host::{BOTH, Dump, Host};

/// No cgroup of this host has counters. The shell 1000 of a session has the child yum (4990), which
/// ends between the instants with 100 ms more than at the first. 150 ms of the node have no owner.
const HOST: &str = "3.10-v1-only";
const SHELL: &str = "1000";
const YUM: &str = "4990";

/// The fields of a process's stat from its state on: field 3 is at 0.
fn edit_stat(host: &Host, instant: usize, pid: &str, change: impl Fn(&mut Vec<String>)) {
    host.edit(instant, &format!("proc/{pid}/stat"), |text| {
        let (head, tail) = text.rsplit_once(") ").unwrap();
        let mut fields: Vec<String> = tail.split_whitespace().map(str::to_owned).collect();
        change(&mut fields);
        format!("{head}) {}\n", fields.join(" "))
    });
}

/// Sets what a process has of its ended children, in ticks of 10 ms.
fn waited_for(host: &Host, instant: usize, pid: &str, ticks: u64) {
    // Fields 16 and 17.
    edit_stat(host, instant, pid, |fields| {
        fields[13] = (ticks - ticks / 4).to_string();
        fields[14] = (ticks / 4).to_string();
    });
}

fn ticks_of(host: &Host, instant: usize, pid: &str) -> u64 {
    let text = host.read(instant, &format!("proc/{pid}/stat"));
    let (_, tail) = text.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = tail.split_whitespace().collect();
    [11, 12].iter().map(|at| fields[*at].parse::<u64>().unwrap()).sum()
}

fn lines(dump: &Dump) -> Vec<&Value> {
    let processes = dump.0["processes"].as_array().unwrap();
    processes.iter().filter(|row| row["process_kind"] == "exited_children").collect()
}

fn unattributed(dump: &Dump) -> i64 {
    dump.unattributed("cpu_usec").unwrap()
}

#[test]
fn an_ended_child_is_in_its_parents_line_without_what_was_counted_before() {
    let host = Host::copy(HOST);
    let before = ticks_of(&host, 0, YUM);
    // The shell had 7 ticks of earlier children. One more child lived for 4 ticks, unseen.
    waited_for(&host, 0, SHELL, 7);
    waited_for(&host, 1, SHELL, 7 + before + 10 + 4);
    let dump = host.dump();
    let lines = lines(&dump);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["comm"], "bash");
    assert_eq!(lines[0]["parent_pid"], 1000);
    assert_eq!(lines[0]["cpu_usage_usec"], 140_000);
    assert_eq!(lines[0]["unit_cgroup"], "/user.slice/user-0.slice/session-1.scope");
    assert_eq!(unattributed(&dump), 10_000);
    let unit = dump.unit("session-1.scope");
    assert_eq!(unit["exited_processes_cpu_usage_usec"], 140_000);
}

#[test]
fn a_child_that_nobody_waits_for_takes_nothing_away() {
    let host = Host::copy(HOST);
    let dump = host.dump();
    assert!(lines(&dump).is_empty());
    assert_eq!(unattributed(&dump), 150_000);
    // Of another process the whole is new.
    for instant in BOTH {
        waited_for(&host, instant, "620", 30 + 5 * instant as u64);
    }
    let dump = host.dump();
    let lines = lines(&dump);
    assert_eq!((lines.len(), &lines[0]["cpu_usage_usec"]), (1, &Value::from(50_000)));
    assert_eq!(lines[0]["comm"], "crond");
    assert_eq!(unattributed(&dump), 100_000);
}

#[test]
fn a_grandchild_is_in_the_line_of_the_next_living_ancestor() {
    let host = Host::copy(HOST);
    // A shell between the two ended as well, and had 9 ticks of its own at the first instant.
    let shell = host.read(0, &format!("proc/{YUM}/stat")).replace("4990 (yum)", "4989 (sh)");
    host.write(0, "proc/4989/stat", &shell);
    host.write(0, "proc/4989/cgroup", &host.read(0, &format!("proc/{YUM}/cgroup")));
    edit_stat(&host, 0, "4989", |fields| {
        (fields[11], fields[12]) = ("5".to_owned(), "4".to_owned())
    });
    edit_stat(&host, 0, YUM, |fields| fields[1] = "4989".to_owned());
    let before = ticks_of(&host, 0, YUM) + 9;
    waited_for(&host, 1, SHELL, before + 11);
    let dump = host.dump();
    let lines = lines(&dump);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["cpu_usage_usec"], 110_000);
}

#[test]
fn all_lines_together_are_at_most_what_the_node_has_left() {
    let host = Host::copy(HOST);
    // A server whose children had a counter of their own cannot be told from one whose had none.
    waited_for(&host, 1, "600", 900);
    waited_for(&host, 1, "620", 3);
    let dump = host.dump();
    let usec: Vec<u64> =
        lines(&dump).iter().map(|line| line["cpu_usage_usec"].as_u64().unwrap()).collect();
    assert_eq!(usec, [120_000, 30_000]);
    assert_eq!(unattributed(&dump), 0);
}

/// The gaps that say why CPU time has no owner.
fn reasons(dump: &Dump) -> Vec<(&str, &str)> {
    let gaps = dump.0["gaps"].as_array().unwrap();
    let all =
        gaps.iter().map(|gap| (gap["path"].as_str().unwrap(), gap["reason"].as_str().unwrap()));
    all.filter(|(_, reason)| reason.contains("have no owner")).collect()
}

/// One gap, however many cgroups there are. This host has 8 with
/// processes that are no kernel threads, and no counter. httpd and the session have three each.
#[test]
fn a_gap_says_why_time_without_a_counter_has_no_owner() {
    let host = Host::copy(HOST);
    let reason = |millis: u32| {
        format!(
            "processes here and in 7 other cgroups have no CPU counter but their own, which ends \
             with them: {millis} ms of CPU time have no owner, and processes that ended between \
             the samples can be in them"
        )
    };
    let dump = host.dump();
    assert_eq!(reasons(&dump), [("/system.slice/httpd.service", &*reason(150))]);
    // Of 150 ms the parent has all but 30, then all but 20.
    for (ticks, left) in [(12, Some(30)), (13, None)] {
        waited_for(&host, 1, "620", ticks);
        let dump = host.dump();
        let left = left.map(reason);
        let expected: Vec<&str> = left.iter().map(|reason| &**reason).collect();
        let found: Vec<&str> = reasons(&dump).iter().map(|(_, reason)| *reason).collect();
        assert_eq!(found, expected, "{ticks}");
    }
}

/// Where each cgroup but the root has a counter, only processes in the root can hide any.
#[test]
fn without_processes_in_the_root_there_is_no_such_gap_on_cgroup2() {
    let host = Host::copy("6.8-crio-systemd");
    let dump = host.dump();
    assert_eq!((unattributed(&dump), reasons(&dump)), (150_000, Vec::new()));
    for instant in BOTH {
        host.append(instant, "sys/fs/cgroup/cgroup.procs", "1280\n");
        let session = "sys/fs/cgroup/user.slice/user-0.slice/session-3.scope/cgroup.procs";
        host.edit(instant, session, |pids| pids.replace("1280\n", ""));
        host.write(instant, "proc/1280/cgroup", "0::/\n");
        // Its time is in its session's counter still, so twice: the remainder must stay large.
        host.edit_line(
            instant,
            "proc/stat",
            |line| line.starts_with("cpu "),
            |line| {
                let mut fields: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
                let user: u64 = fields[1].parse().unwrap();
                fields[1] = (user + 100 * instant as u64).to_string();
                fields.join(" ")
            },
        );
    }
    let dump = host.dump();
    let left = unattributed(&dump) / 1000;
    assert!(left > 500, "{left}");
    let found = reasons(&dump);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "/");
    assert!(found[0].1.starts_with("processes here have no CPU counter"), "{found:?}");
    assert!(found[0].1.contains(&format!(": {left} ms of CPU time")), "{found:?}");
}
