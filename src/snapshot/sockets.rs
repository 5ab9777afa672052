//! TCP sockets of the host's network namespace, each with the cgroup it was made in: whose traffic
//! it is where the interfaces cannot tell.
//!
//! A socket that ends between two samples is told of with its last counters, and found again among
//! the last dump's by its cookie. One that lived wholly between two dumps has no known cgroup, and
//! UDP is not counted by socket at all: both stay in the node's remainder.

use std::os::fd::{AsFd as _, BorrowedFd};

use super::gaps::{Gap, GapReason};
use super::pass::Pass;
use crate::source::netlink::inet_diag::{Family, TcpSocket, TcpTraffic};
use crate::source::netlink::{Notices, SocketMonitor};
use crate::source::root::Failure;

/// Sockets beyond these are not followed; what they carry stays in the remainder.
pub const SOCKETS_MAX: usize = 16_384;

/// What the gaps call the monitor.
const NAME: &[u8] = b"sock_diag";

/// The sockets of one instant.
#[derive(Debug, Clone, Default)]
pub struct SocketsReading {
    /// They were asked for and answered.
    pub readable: bool,
    /// Every one is among the rows, so that a cookie that was not is a new socket.
    pub complete: bool,
    /// By cookie. Those whose other end is on this host are left out: what they carry passes no
    /// interface but loopback.
    pub rows: Vec<SocketReading>,
    /// Those that have ended since the last sample, by cookie.
    pub ended: Vec<EndedSocket>,
}

/// The last counters of a socket; the kernel names no cgroup with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedSocket {
    pub cookie: u64,
    pub traffic: TcpTraffic,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketReading {
    /// The kernel's number of it, never given again within one boot.
    pub cookie: u64,
    /// The inode of the cgroup it was made in.
    pub cgroup: u64,
    pub traffic: TcpTraffic,
}

/// Reads into a [`SocketsReading`].
#[derive(Default)]
pub struct SocketReader {
    monitor: Option<SocketMonitor>,
    /// Ended since the last sample.
    ended: Vec<EndedSocket>,
    lost: bool,
}

impl SocketReader {
    /// Opens the monitor. `in_hosts_namespace`: it shows the agent's own network namespace, which
    /// must be the host's.
    pub fn open(in_hosts_namespace: bool) -> Result<Self, Gap> {
        if !in_hosts_namespace {
            return Err(gap(GapReason::NotOffered {
                consequence: "the agent stands in a network namespace of its own (no hostNetwork): \
                    pods in the host's namespace and host units have no network figures",
            }));
        }
        let monitor = SocketMonitor::open().map_err(|failure| {
            gap(match failure {
                Failure::Denied => GapReason::Denied,
                Failure::Failed(errno) => GapReason::Failed { errno },
                _ => GapReason::NotOffered { consequence: WITHOUT },
            })
        })?;
        Ok(Self { monitor: Some(monitor), ..Self::default() })
    }

    /// Can be read when sockets have ended.
    pub fn alarm(&self) -> Option<BorrowedFd<'_>> {
        self.monitor.as_ref().map(|monitor| monitor.as_fd())
    }

    /// Takes in what ended since the last time, before the kernel's queue is full.
    pub fn attend(&mut self, reading: &SocketsReading) {
        let Self { monitor: Some(monitor), ended, lost } = self else { return };
        let notices = monitor.drain_ended(|socket| keep(ended, &reading.rows, &socket));
        *lost |= notices == Notices::SomeLost;
    }

    /// Takes over what `before`, which watched until now, was told of.
    pub fn inherit(&mut self, mut before: Self) {
        self.ended.append(&mut before.ended);
        self.lost |= before.lost;
    }

    /// Asks for all there are: before the walk over the cgroups, so that theirs are found in it.
    pub fn read(&mut self, reading: &mut SocketsReading, pass: &mut Pass<'_>) {
        let Some(monitor) = &mut self.monitor else {
            *reading = SocketsReading::default();
            return;
        };
        let rows = &mut reading.rows;
        rows.clear();
        let (mut without_cgroup, mut too_many) = (false, false);
        let mut take = |socket: TcpSocket| match socket.cgroup {
            _ if socket.is_local => {}
            Some(_) if rows.len() >= SOCKETS_MAX => too_many = true,
            Some(cgroup) => {
                let TcpSocket { cookie, traffic, .. } = socket;
                rows.push(SocketReading { cookie, cgroup, traffic });
            }
            None => without_cgroup = true,
        };
        let outcome = monitor
            .dump(Family::V4, &mut take)
            // A kernel without IPv6 has no sockets of it.
            .and_then(|()| match monitor.dump(Family::V6, &mut take) {
                Err(Failure::Absent) => Ok(()),
                other => other,
            });
        rows.sort_unstable_by_key(|row| row.cookie);
        reading.readable = outcome.is_ok();
        reading.complete = outcome.is_ok() && !too_many;
        if too_many {
            pass.gaps.add(&[NAME], GapReason::Bounded { limit: SOCKETS_MAX });
        }
        match outcome {
            Ok(()) if without_cgroup => {
                self.give_up(
                    reading,
                    "the kernel tells no cgroups of sockets (before Linux 5.7): \
                    pods in the host's network namespace and host units have no network figures",
                    pass,
                );
            }
            Ok(()) => {}
            Err(Failure::Absent) => self.give_up(reading, WITHOUT, pass),
            Err(failure) => {
                // Half a dump would keep the ends of its sockets to itself, and is not counted.
                reading.rows.clear();
                pass.gaps.add_failure(&[NAME], failure);
            }
        }
    }

    /// Takes in what has ended until now: behind everything else, so that the kernel has had the
    /// time to tell of those that the dump lacks.
    pub fn finish(&mut self, reading: &mut SocketsReading, pass: &mut Pass<'_>) {
        reading.ended.clear();
        reading.ended.append(&mut self.ended);
        let Self { monitor: Some(monitor), lost, .. } = self else { return };
        let SocketsReading { rows, ended, .. } = reading;
        let notices = monitor.drain_ended(|socket| {
            match rows.binary_search_by_key(&socket.cookie, |row| row.cookie) {
                // It ended behind the dump: the next one will not have it.
                Ok(at) => {
                    if let Some(row) = rows.get_mut(at) {
                        row.traffic = socket.traffic;
                    }
                }
                Err(_) => keep(ended, rows, &socket),
            }
        });
        ended.sort_unstable_by_key(|row| row.cookie);
        // Two readers heard of it, where one took over from the other.
        ended.dedup_by_key(|row| row.cookie);
        if std::mem::take(lost) || notices == Notices::SomeLost {
            pass.gaps.add(&[NAME], GapReason::NotOffered {
                consequence: "sockets ended faster than they were taken note of: what the lost ones \
                    carried last is in the remainder",
            });
        }
    }

    fn give_up(
        &mut self,
        reading: &mut SocketsReading,
        consequence: &'static str,
        pass: &mut Pass<'_>,
    ) {
        self.monitor = None;
        *reading = SocketsReading::default();
        pass.gaps.standing.push(gap(GapReason::NotOffered { consequence }));
    }
}

const WITHOUT: &str = "the kernel has no socket monitor (CONFIG_INET_DIAG): pods in the host's \
    network namespace and host units have no network figures";

fn gap(reason: GapReason) -> Gap {
    Gap { path: NAME.into(), reason }
}

/// Most of those that end have lived too short a time to be known, and fill half of the room at
/// most.
fn keep(ended: &mut Vec<EndedSocket>, rows: &[SocketReading], socket: &TcpSocket) {
    let is_known = || rows.binary_search_by_key(&socket.cookie, |row| row.cookie).is_ok();
    if ended.len() < SOCKETS_MAX / 2 || ended.len() < SOCKETS_MAX && is_known() {
        ended.push(EndedSocket { cookie: socket.cookie, traffic: socket.traffic });
    }
}
