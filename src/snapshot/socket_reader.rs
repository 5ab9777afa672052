//! Reads the TCP sockets of the host's network namespace.
//!
//! For a socket that ends between two samples the kernel sends an event with its last counters, and
//! [`KnownSockets`] finds its cgroup. Between samples, while connections are opened, the sockets are
//! dumped once more, at most once a second, so that one which lives longer is known when it ends.
//! What was opened from here and ended sooner has no known cgroup, and UDP is not counted per socket:
//! both stay in the node's remainder.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use super::gaps::{Gap, GapReason};
use super::known_sockets::KnownSockets;
use super::read_context::ReadContext;
use super::sockets::{SOCKETS_MAX, SocketReading, SocketsReading};
use crate::quantity::BootTime;
use crate::source::netlink::inet_diag::TcpSocket;
use crate::source::netlink::{EndedEvents, SocketMonitor};
use crate::source::proc::net_snmp;
use crate::source::root::{Buffer, Dir, KernelFile, ReadFailure};

/// The shortest time between two dumps.
const DUMP_PAUSE: Duration = Duration::from_secs(1);

/// The pause after a dump between samples is at least this many times as long as the dump, which so
/// takes half a hundredth of a CPU at most. A dump costs the kernel a walk over its table of
/// connections, some milliseconds on a host with much memory, and one or two microseconds a socket.
const DUMP_SHARE: u32 = 200;

/// The monitor's name in gaps.
const NAME: &[u8] = b"sock_diag";

/// Reads into a [`SocketsReading`].
#[derive(Default)]
pub struct SocketReader {
    monitor: Option<SocketMonitor>,
    known: KnownSockets,
    /// Events were lost since the last sample.
    lost: bool,
    /// /proc/self/net/snmp, of the host's namespace as the agent is in it. `None`: it cannot be opened.
    opens: Option<KernelFile>,
    /// The connections that were opened from this host when the last dump began.
    opened: Option<u64>,
    /// The time of the next dump between samples, and the time that the last one took.
    dump_at: BootTime,
    dump_took: Duration,
}

impl SocketReader {
    /// Opens the monitor. It shows the agent's own network namespace, so `in_hosts_namespace` must be
    /// true.
    ///
    /// # Errors
    /// The gap that says why there are no sockets.
    pub fn open(procfs: &Dir, in_hosts_namespace: bool) -> Result<Self, Gap> {
        if !in_hosts_namespace {
            return Err(gap(GapReason::NotOffered {
                consequence: "the agent is in a network namespace of its own (no hostNetwork): \
                    pods in the host's namespace and host units have no network figures",
            }));
        }
        let monitor = SocketMonitor::open().map_err(|failure| {
            gap(match failure {
                ReadFailure::Denied => GapReason::Denied,
                ReadFailure::Failed(errno) => GapReason::Failed { errno },
                _ => GapReason::NotOffered { consequence: WITHOUT },
            })
        })?;
        // No figure depends on it: without it there are more dumps.
        let opens = procfs.open_file(c"self/net/snmp").ok();
        Ok(Self { monitor: Some(monitor), opens, ..Self::default() })
    }

    /// A descriptor that is readable when sockets have ended.
    pub fn event_fd(&self) -> Option<BorrowedFd<'_>> {
        self.monitor.as_ref().map(|monitor| monitor.as_fd())
    }

    /// Reads the events since the last call, before the kernel's queue is full.
    pub fn drain_events(&mut self) {
        let Self { monitor: Some(monitor), known, lost, .. } = self else { return };
        let events = monitor.drain_ended(|socket| known.end(&socket));
        *lost |= events == EndedEvents::SomeLost;
    }

    /// Continues with all that `before` knows and received.
    pub fn inherit(&mut self, before: Self) {
        if self.monitor.is_some() && before.monitor.is_some() {
            *self = before;
        }
    }

    /// The time for [`Self::look`]. `None`: there is none that would be over by `due`.
    pub fn next_look(&self, due: BootTime) -> Option<BootTime> {
        self.monitor.as_ref()?;
        Some(self.dump_at).filter(|at| at.plus(self.dump_took) < due)
    }

    /// Dumps the sockets between two samples, so that those are known which will have ended by the
    /// next one. Does so only if a connection was opened since the last dump, or one ended unknown.
    pub fn look(&mut self, buffer: &mut Buffer, clock: &dyn Fn() -> BootTime) {
        let begun = clock();
        self.dump_at = begun.plus(DUMP_PAUSE);
        let opened = self.count_opened(buffer);
        let is_quiet = opened.is_some() && opened == self.opened;
        let missed = self.known.take_missed();
        let Self { monitor: Some(monitor), known, .. } = self else { return };
        if is_quiet && !missed {
            return;
        }
        known.begin_dump();
        let outcome = monitor.dump(|socket| {
            if socket.listens {
                known.add_listener(&socket);
            } else {
                known.add(&socket);
            }
        });
        match outcome {
            Ok(()) => known.end_dump(),
            // The next sample has a gap if it fails too.
            Err(_) => known.fail_dump(),
        }
        self.opened = opened;
        let ended = clock();
        let before = std::mem::replace(&mut self.dump_took, ended.since(begun));
        self.dump_at = ended.plus(pause_after(before, self.dump_took));
    }

    fn count_opened(&self, buffer: &mut Buffer) -> Option<u64> {
        net_snmp::parse(self.opens.as_ref()?.read_record(buffer).ok()?).ok()
    }

    /// Reads all sockets. It comes before the walk over the cgroups, so that theirs are found in
    /// it.
    pub fn read(&mut self, reading: &mut SocketsReading, context: &mut ReadContext<'_>) {
        self.opened = self.count_opened(context.buffer);
        let Self { monitor: Some(monitor), known, .. } = self else {
            *reading = SocketsReading::default();
            return;
        };
        let rows = &mut reading.rows;
        rows.clear();
        known.begin_dump();
        let begun = context.now();
        let (mut without_cgroup, mut too_many) = (false, false);
        let outcome = monitor.dump(|socket: TcpSocket| match socket.cgroup {
            None => without_cgroup = true,
            Some(_) if socket.listens => known.add_listener(&socket),
            Some(_) if socket.is_local => {}
            Some(_) if rows.len() >= SOCKETS_MAX => too_many = true,
            Some(cgroup) => {
                let TcpSocket { cookie, traffic, .. } = socket;
                rows.push(SocketReading { cookie, cgroup, traffic });
            }
        });
        let ended = context.now();
        self.dump_took = ended.since(begun);
        self.dump_at = ended.plus(DUMP_PAUSE);
        // A socket that the dump had twice is one.
        rows.sort_unstable_by_key(|row| row.cookie);
        rows.dedup_by_key(|row| row.cookie);
        reading.readable = outcome.is_ok();
        reading.complete = outcome.is_ok() && !too_many;
        if too_many {
            context.gaps.add(&[NAME], GapReason::Bounded { limit: SOCKETS_MAX });
        }
        match outcome {
            Ok(()) if without_cgroup => {
                self.give_up(
                    reading,
                    "the kernel gives no cgroups of sockets (before Linux 5.7): \
                    pods in the host's network namespace and host units have no network figures",
                    context,
                );
            }
            Ok(()) => known.sampled(rows),
            Err(ReadFailure::Absent) => self.give_up(reading, WITHOUT, context),
            Err(failure) => {
                // With half a dump, ended sockets could not be told from missing ones.
                reading.rows.clear();
                known.fail_dump();
                context.gaps.add_failure(&[NAME], failure);
            }
        }
    }

    /// Reads the events until now. It comes after everything else, so that the kernel had time to
    /// send those of sockets that the dump lacks.
    pub fn finish(&mut self, reading: &mut SocketsReading, context: &mut ReadContext<'_>) {
        let Self { monitor: Some(monitor), known, lost, .. } = self else { return };
        let rows = &mut reading.rows;
        let events = monitor.drain_ended(|socket| {
            match rows.binary_search_by_key(&socket.cookie, |row| row.cookie) {
                // It ended after the dump, and the next dump will not have it.
                Ok(at) => {
                    if let Some(row) = rows.get_mut(at) {
                        row.traffic = socket.traffic;
                    }
                    known.forget(socket.cookie);
                }
                Err(_) => known.end(&socket),
            }
        });
        known.take(reading);
        if std::mem::take(lost) || events == EndedEvents::SomeLost {
            context.gaps.add(&[NAME], GapReason::NotOffered {
                consequence: "sockets ended faster than their events were read: the last traffic of \
                    the lost ones is in the remainder",
            });
        }
    }

    fn give_up(
        &mut self,
        reading: &mut SocketsReading,
        consequence: &'static str,
        context: &mut ReadContext<'_>,
    ) {
        self.monitor = None;
        *reading = SocketsReading::default();
        context.gaps.standing.push(gap(GapReason::NotOffered { consequence }));
    }
}

/// The pause after the second of two dumps that took so long. A dump takes longer than its work if
/// another thread had the CPU meanwhile, so the shorter one counts.
fn pause_after(before: Duration, took: Duration) -> Duration {
    DUMP_PAUSE.max(before.min(took) * DUMP_SHARE)
}

const WITHOUT: &str = "the kernel has no socket monitor (CONFIG_INET_DIAG): pods in the host's \
    network namespace and host units have no network figures";

fn gap(reason: GapReason) -> Gap {
    Gap { path: NAME.into(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumps_take_half_a_hundredth_of_a_cpu_at_most() {
        let ms = Duration::from_millis;
        for (before, took, pause) in [
            (ms(0), ms(1), ms(1000)),
            (ms(5), ms(5), ms(1000)),
            (ms(30), ms(25), ms(5000)),
            // Once, while others had the CPU.
            (ms(2), ms(90), ms(1000)),
            (ms(90), ms(80), ms(16_000)),
        ] {
            assert_eq!(pause_after(before, took), pause, "{before:?} {took:?}");
        }
    }
}
