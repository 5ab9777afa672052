//! Properties of the ledger that hold for any history of a cgroup tree.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod falls;
mod model;
mod regressions;
mod sockets;

use std::collections::BTreeMap;

use model::{Model, Op, Spent, failing_op, hiding_op, history, noticing_op, plain_op};
use nodetally::identity::BootId;
use nodetally::ledger::account::{Account, Balance, DiskUsage, Usage};
use nodetally::ledger::{Counters, Ledger};
use nodetally::snapshot::Snapshot;
use nodetally::snapshot::roots::Units;
use proptest::prelude::*;

use crate::support::rounds::cases;

const UNITS: Units = Units { ticks_per_second: 100, page_size_bytes: 4096 };

/// The usage of an entity; an unknown value counts as zero.
fn spent_of(usage: &Usage) -> Spent {
    let usec = usage.cpu.map_or(0, |cpu| cpu.usage.as_usec());
    Spent { usec, bytes: written(usage.disk.as_ref()) }
}

fn written(disk: Option<&DiskUsage>) -> u64 {
    disk.map_or(0, |disk| disk.written.as_bytes())
}

/// The usage in an account by path, of pods, units and exited cgroups. Containers are part of
/// their pods.
fn given(account: &Account) -> BTreeMap<String, Spent> {
    let path = |path: &[u8]| String::from_utf8(path.to_vec()).unwrap();
    let pods = account.pods.iter().map(|pod| (path(&pod.path), spent_of(&pod.usage)));
    let units = account.units.iter().map(|unit| (path(&unit.path), spent_of(&unit.usage)));
    let exited = account.exited.iter().map(|exited| {
        let usec = exited.cpu.as_usec();
        (path(&exited.path), Spent { usec, bytes: written(Some(&exited.disk)) })
    });
    let all = pods.chain(units).chain(exited);
    all.filter(|(_, spent)| *spent != Spent::default()).collect()
}

fn containers(account: &Account) -> BTreeMap<String, Spent> {
    let path = |path: &[u8]| String::from_utf8(path.to_vec()).unwrap();
    let all = account.containers.iter().map(|one| (path(&one.path), spent_of(&one.usage)));
    all.filter(|(_, spent)| *spent != Spent::default()).collect()
}

fn sum<'s>(all: impl IntoIterator<Item = &'s Spent>) -> Spent {
    all.into_iter().fold(Spent::default(), |sum, one| Spent {
        usec: sum.usec + one.usec,
        bytes: sum.bytes + one.bytes,
    })
}

/// The model's owners, with containers put into their pods.
fn by_owner(spendings: &BTreeMap<String, Spent>) -> BTreeMap<String, Spent> {
    let mut owners: BTreeMap<String, Spent> = BTreeMap::new();
    for (path, spent) in spendings {
        let pod = match path.find("/cri-containerd-") {
            Some(end) => path.get(..end).unwrap().to_owned(),
            None => path.clone(),
        };
        let owner = owners.entry(pod).or_default();
        *owner = sum([&*owner, spent]);
    }
    owners.retain(|_, spent| *spent != Spent::default());
    owners
}

fn assert_balanced(account: &Account) {
    let balances = [account.conservation.cpu_usec, account.conservation.disk_written_bytes];
    for balance in balances.into_iter().flatten() {
        let Balance { node, pods, host_units, kernel, interrupts, exited, unattributed, .. } =
            balance;
        let parts: i128 =
            [pods, host_units, kernel, interrupts, exited].into_iter().map(i128::from).sum();
        assert_eq!(parts + i128::from(unattributed), i128::from(node));
    }
    if let Some(cpu) = account.conservation.cpu_usec {
        let all = sum(given(account).values());
        assert_eq!(cpu.pods + cpu.host_units + cpu.exited, all.usec);
    }
}

/// Settles one snapshot after another; the first account has no flows and is left out.
fn accounts(snapshots: &[Snapshot]) -> Vec<Account> {
    let mut ledger = Ledger::new(UNITS);
    let mut account = Account::default();
    ledger.settle(&snapshots[0], &mut account);
    assert_eq!(account.since, None);
    assert!(given(&account).is_empty());
    let settled = snapshots[1..].iter().map(|snapshot| {
        ledger.settle(snapshot, &mut account);
        assert_balanced(&account);
        account.clone()
    });
    settled.collect()
}

/// A history's snapshots, and who spent what in each interval between them.
struct Run {
    model: Model,
    snapshots: Vec<Snapshot>,
    spendings: Vec<BTreeMap<String, Spent>>,
    /// In all intervals together.
    total: Spent,
}

fn run(history: &[Vec<Op>], quiet_at_the_end: usize) -> Run {
    let mut model = Model::new();
    // A past of which the first snapshot shows only the sums.
    let (past, intervals) = history.split_first().unwrap();
    for op in past.iter().filter(|op| !matches!(op, Op::Unread { .. })) {
        model.apply(op);
    }
    let mut snapshots = vec![model.snapshot()];
    model.take_spendings();
    let before = model.total;
    let mut spendings = Vec::new();
    let quiet = vec![Vec::new(); quiet_at_the_end];
    for ops in intervals.iter().chain(&quiet) {
        ops.iter().for_each(|op| model.apply(op));
        snapshots.push(model.snapshot());
        spendings.push(model.take_spendings());
    }
    let total =
        Spent { usec: model.total.usec - before.usec, bytes: model.total.bytes - before.bytes };
    Run { model, snapshots, spendings, total }
}

proptest! {
    #![proptest_config(cases(256))]

    /// Early readings of a cgroup attribute a part of its parent's counter to it. No time is
    /// counted twice, none is lost, and no entity gets more than it used.
    #[test]
    fn naming_the_dead_moves_time_and_makes_none(history in history(noticing_op())) {
        let run = run(&history, 1);
        let accounts = accounts(&run.snapshots);
        for (account, spendings) in accounts.iter().zip(&run.spendings) {
            prop_assert_eq!(sum(given(account).values()), sum(spendings.values()));
        }
        // The one after has forgotten them.
        let last = accounts.last().unwrap();
        prop_assert!(last.pods.iter().all(|pod| !pod.exited));
    }

    /// A pod that nobody saw but at its end has all it spent until then under its own name.
    #[test]
    fn a_pod_seen_between_two_snapshots_has_its_name(usec in 10_001..3_000_000_u32, bytes: u32) {
        let mut model = Model::new();
        let first = model.snapshot();
        model.apply(&Op::SeenJob { usec, bytes });
        model.apply(&Op::Job { usec: 777, bytes: 4096 });
        let second = model.snapshot();
        let third = model.snapshot();
        let accounts = accounts(&[first, second, third]);
        let pod = accounts[0].pods.iter().find(|pod| pod.exited).unwrap();
        let spent = Spent { usec: u64::from(usec), bytes: u64::from(bytes) };
        prop_assert_eq!(spent_of(&pod.usage), spent);
        prop_assert_eq!(accounts[0].exited.len(), 1);
        prop_assert_eq!(accounts[0].exited[0].cpu.as_usec(), 777);
        prop_assert!(given(&accounts[1]).is_empty());
    }

    /// Births from 0, deaths by what is left in the parent, short lives, names used again: every
    /// microsecond and byte is with the one who spent it, in the interval in which it was spent.
    #[test]
    fn each_interval_gives_every_owner_what_it_spent(history in history(plain_op())) {
        let run = run(&history, 0);
        for (account, spendings) in accounts(&run.snapshots).iter().zip(&run.spendings) {
            prop_assert_eq!(given(account), by_owner(spendings));
            let in_containers = spendings.iter().filter(|(path, spent)| {
                path.contains("/cri-containerd-") && **spent != Spent::default()
            });
            let expected: BTreeMap<_, _> =
                in_containers.map(|(path, spent)| (path.clone(), *spent)).collect();
            prop_assert_eq!(containers(account), expected);
        }
    }

    #[test]
    fn over_a_run_the_parts_are_all_that_was_spent(history in history(plain_op())) {
        let run = run(&history, 0);
        let all: Vec<Spent> =
            accounts(&run.snapshots).iter().map(|account| sum(given(account).values())).collect();
        prop_assert_eq!(sum(&all), run.total);
    }

    /// settle(A, C) is settle(A, B) + settle(B, C), of those who live through.
    #[test]
    fn a_long_interval_is_the_sum_of_short_ones(history in history(plain_op())) {
        let run = run(&history, 0);
        let last = run.snapshots.len() - 1;
        let inodes = |snapshot: &Snapshot| -> BTreeMap<String, u64> {
            let all = snapshot.cgroups.iter().map(|cgroup| &cgroup.key);
            all.map(|key| (String::from_utf8(key.path.to_vec()).unwrap(), key.inode)).collect()
        };
        let (first, end) = (inodes(&run.snapshots[0]), inodes(&run.snapshots[last]));
        let mut short: BTreeMap<String, Spent> = BTreeMap::new();
        for account in accounts(&run.snapshots) {
            for (path, spent) in given(&account).into_iter().chain(containers(&account)) {
                let so_far = short.entry(path).or_default();
                *so_far = sum([&*so_far, &spent]);
            }
        }
        let mut ledger = Ledger::new(UNITS);
        let mut account = Account::default();
        ledger.settle(&run.snapshots[0], &mut account);
        ledger.settle(&run.snapshots[last], &mut account);
        let mut long = given(&account);
        long.extend(containers(&account));
        for (path, inode) in &first {
            // What dies is told of in the interval of its death, so slices' own parts differ.
            let is_inner = path.ends_with(".slice") && !path.contains("-pod");
            if end.get(path) != Some(inode) || is_inner {
                continue;
            }
            // A unit in which a nested unit died has that usage from then on, as a slice has.
            let nested = |snapshot: &Snapshot| {
                let mut paths = snapshot.cgroups.iter().map(|cgroup| &cgroup.key.path);
                paths.any(|other| other.starts_with(path.as_bytes()) && other.ends_with(b"/app.service"))
            };
            let is_unit = !path.starts_with("/kubepods.slice/");
            if is_unit && run.snapshots.iter().any(nested) {
                continue;
            }
            let of = |all: &BTreeMap<String, Spent>| all.get(path).copied().unwrap_or_default();
            prop_assert_eq!(of(&short), of(&long), "{}", path);
        }
    }

    /// A restart between any two snapshots loses and doubles nothing.
    #[test]
    fn a_restart_with_the_counters_kept_changes_nothing(
        history in history(plain_op()),
        at in any::<prop::sample::Index>(),
    ) {
        let run = run(&history, 0);
        let straight = accounts(&run.snapshots);
        let at = 1 + at.index(run.snapshots.len() - 1);
        let (before, after) = run.snapshots.split_at(at);
        let mut account = Account::default();
        let mut first = Ledger::new(UNITS);
        before.iter().for_each(|snapshot| first.settle(snapshot, &mut account));
        let kept: Counters = first.counters().unwrap().clone();
        drop(first);
        let mut second = Ledger::new(UNITS);
        second.resume(kept);
        for (snapshot, expected) in after.iter().zip(&straight[at - 1..]) {
            second.settle(snapshot, &mut account);
            prop_assert_eq!(account.since, expected.since);
            prop_assert_eq!(given(&account), given(expected));
            prop_assert_eq!(containers(&account), containers(expected));
            prop_assert_eq!(account.conservation, expected.conservation);
        }
    }

    #[test]
    fn counters_of_another_boot_are_worth_nothing(
        history in history(plain_op()),
        other in prop::option::of(Just("3b241101-e2bb-4255-8caf-4136c566a962")),
    ) {
        let mut run = run(&history, 0);
        let mut ledger = Ledger::new(UNITS);
        let mut account = Account::default();
        run.snapshots.iter().for_each(|snapshot| ledger.settle(snapshot, &mut account));
        let kept = ledger.counters().unwrap().clone();
        run.model.boot = other.and_then(|other| BootId::parse(other.as_bytes()));
        let next = run.model.snapshot();
        // The same process across a reboot cannot be; a kept file can.
        let mut resumed = Ledger::new(UNITS);
        resumed.resume(kept);
        for ledger in [&mut ledger, &mut resumed] {
            ledger.settle(&next, &mut account);
            prop_assert_eq!(account.since, None);
            prop_assert!(given(&account).is_empty());
            prop_assert_eq!(account.conservation.cpu_usec, None);
            prop_assert!(account.processes.iter().all(|process| process.cpu.is_none()));
        }
    }

    /// Wherever a file fails, nothing is given twice, and once all is whole again nothing is
    /// missing: however many fail, one after another or at once, and whoever dies meanwhile.
    #[test]
    fn what_was_unread_comes_out_once_and_in_full(history in history(failing_op())) {
        // As long as a cgroup is waited for, and the two readings behind that.
        let run = run(&history, 8);
        let mut so_far = Spent::default();
        let mut spent = Spent::default();
        for (account, spendings) in accounts(&run.snapshots).iter().zip(&run.spendings) {
            so_far = sum([&so_far, &sum(given(account).values())]);
            spent = sum([&spent, &sum(spendings.values())]);
            prop_assert!(so_far.usec <= spent.usec && so_far.bytes <= spent.bytes);
        }
        prop_assert_eq!(so_far, run.total);
    }

    /// A cgroup that was there and not seen brings no past with it, not its children's either.
    #[test]
    fn usage_from_before_a_missed_reading_is_not_attributed(history in history(hiding_op())) {
        let run = run(&history, 0);
        let all: Vec<Spent> =
            accounts(&run.snapshots).iter().map(|account| sum(given(account).values())).collect();
        let all = sum(&all);
        // Nothing is lost, and no more is doubled than a tick for each that came to light.
        prop_assert!(all.usec >= run.total.usec, "{} of {}", all.usec, run.total.usec);
        let most = run.total.usec + 10_000 * run.model.reveals;
        prop_assert!(all.usec <= most, "{} of {most}", all.usec);
    }

    /// Processes in clock ticks: never more than their cgroup used, and the gains of one that lives
    /// through are what its counter gained.
    #[test]
    fn processes_gain_what_their_counters_do(history in history(plain_op())) {
        let run = run(&history, 0);
        let mut gains: BTreeMap<_, u64> = BTreeMap::new();
        for account in accounts(&run.snapshots) {
            for process in &account.processes {
                let gain = process.cpu.unwrap().usage.as_usec();
                *gains.entry(process.key).or_default() += gain;
            }
        }
        let counters = |snapshot: &Snapshot| -> BTreeMap<_, u64> {
            let all = snapshot.cgroups.iter().flat_map(|cgroup| &cgroup.processes);
            all.map(|process| (process.key, process.cpu.unwrap().as_usec())).collect()
        };
        let first = counters(&run.snapshots[0]);
        for (key, now) in counters(run.snapshots.last().unwrap()) {
            let before = first.get(&key).copied().unwrap_or(0);
            prop_assert_eq!(gains.get(&key).copied().unwrap_or(0), now - before);
        }
    }
}
