//! TCP sockets of the host's network namespace, each with the cgroup it was created in. They
//! attribute traffic where interfaces cannot.
//!
//! For a socket that ends between two samples the kernel sends an event with its last counters. Its
//! cookie finds it among the last dump's. A socket that was created and ended between two dumps has
//! no known cgroup, and UDP is not counted per socket: both stay in the node's remainder.

use std::os::fd::{AsFd as _, BorrowedFd};

use super::gaps::{Gap, GapReason};
use super::read_context::ReadContext;
use crate::source::netlink::inet_diag::{IpFamily, TcpSocket, TcpTraffic};
use crate::source::netlink::{EndedEvents, SocketMonitor};
use crate::source::root::ReadFailure;

/// Limit of followed sockets. The traffic of others stays in the remainder.
pub const SOCKETS_MAX: usize = 16_384;

/// The monitor's name in gaps.
const NAME: &[u8] = b"sock_diag";

/// The sockets of one instant.
#[derive(Debug, Clone, Default)]
pub struct SocketsReading {
    /// The kernel answered.
    pub readable: bool,
    /// The rows have every socket, so that a cookie that is missing in them is a new socket's.
    pub complete: bool,
    /// Sorted by cookie. Sockets whose other end is on this host are left out: their traffic uses
    /// loopback only.
    pub rows: Vec<SocketReading>,
    /// Sockets that ended since the last sample, sorted by cookie.
    pub ended: Vec<EndedSocket>,
}

/// The last counters of a socket; the kernel sends no cgroup with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedSocket {
    pub cookie: u64,
    pub traffic: TcpTraffic,
}

/// The counters of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketReading {
    /// The kernel's number of it, which is not reused within one boot.
    pub cookie: u64,
    /// The inode of the cgroup it was created in.
    pub cgroup: u64,
    pub traffic: TcpTraffic,
}

/// Reads into a [`SocketsReading`].
#[derive(Default)]
pub struct SocketReader {
    monitor: Option<SocketMonitor>,
    /// Sockets that ended since the last sample.
    ended: Vec<EndedSocket>,
    lost: bool,
}

impl SocketReader {
    /// Opens the monitor. It shows the agent's own network namespace, so `in_hosts_namespace` must be
    /// true.
    ///
    /// # Errors
    /// The gap that says why there are no sockets.
    pub fn open(in_hosts_namespace: bool) -> Result<Self, Gap> {
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
        Ok(Self { monitor: Some(monitor), ..Self::default() })
    }

    /// A descriptor that is readable when sockets have ended.
    pub fn event_fd(&self) -> Option<BorrowedFd<'_>> {
        self.monitor.as_ref().map(|monitor| monitor.as_fd())
    }

    /// Reads the events since the last call, before the kernel's queue is full.
    pub fn drain_events(&mut self, reading: &SocketsReading) {
        let Self { monitor: Some(monitor), ended, lost } = self else { return };
        let events = monitor.drain_ended(|socket| keep(ended, &reading.rows, &socket));
        *lost |= events == EndedEvents::SomeLost;
    }

    /// Takes the events that `before` received.
    pub fn inherit(&mut self, mut before: Self) {
        self.ended.append(&mut before.ended);
        self.lost |= before.lost;
    }

    /// Reads all sockets. It comes before the walk over the cgroups, so that theirs are found in
    /// it.
    pub fn read(&mut self, reading: &mut SocketsReading, context: &mut ReadContext<'_>) {
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
            .dump(IpFamily::V4, &mut take)
            // A kernel without IPv6 has no sockets of it.
            .and_then(|()| match monitor.dump(IpFamily::V6, &mut take) {
                Err(ReadFailure::Absent) => Ok(()),
                other => other,
            });
        rows.sort_unstable_by_key(|row| row.cookie);
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
            Ok(()) => {}
            Err(ReadFailure::Absent) => self.give_up(reading, WITHOUT, context),
            Err(failure) => {
                // With half a dump, ended sockets could not be told from missing ones.
                reading.rows.clear();
                context.gaps.add_failure(&[NAME], failure);
            }
        }
    }

    /// Reads the events until now. It comes after everything else, so that the kernel had time to
    /// send those of sockets that the dump lacks.
    pub fn finish(&mut self, reading: &mut SocketsReading, context: &mut ReadContext<'_>) {
        reading.ended.clear();
        reading.ended.append(&mut self.ended);
        let Self { monitor: Some(monitor), lost, .. } = self else { return };
        let SocketsReading { rows, ended, .. } = reading;
        let events = monitor.drain_ended(|socket| {
            match rows.binary_search_by_key(&socket.cookie, |row| row.cookie) {
                // It ended after the dump, and the next dump will not have it.
                Ok(at) => {
                    if let Some(row) = rows.get_mut(at) {
                        row.traffic = socket.traffic;
                    }
                }
                Err(_) => keep(ended, rows, &socket),
            }
        });
        ended.sort_unstable_by_key(|row| row.cookie);
        // Both readers received the event if one replaced the other.
        ended.dedup_by_key(|row| row.cookie);
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

const WITHOUT: &str = "the kernel has no socket monitor (CONFIG_INET_DIAG): pods in the host's \
    network namespace and host units have no network figures";

fn gap(reason: GapReason) -> Gap {
    Gap { path: NAME.into(), reason }
}

/// Keeps an ended socket. Most are too short-lived to be known, and those may fill half of the
/// limit.
fn keep(ended: &mut Vec<EndedSocket>, rows: &[SocketReading], socket: &TcpSocket) {
    let is_known = || rows.binary_search_by_key(&socket.cookie, |row| row.cookie).is_ok();
    if ended.len() < SOCKETS_MAX / 2 || ended.len() < SOCKETS_MAX && is_known() {
        ended.push(EndedSocket { cookie: socket.cookie, traffic: socket.traffic });
    }
}
