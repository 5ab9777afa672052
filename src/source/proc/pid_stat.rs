//! `/proc/<pid>/stat`: one line of 52 fields (proc_pid_stat(5)).

use crate::quantity::{Pages, Ticks};
use crate::source::text::{Odd, fields, figure, figure_or, small_or};
use crate::source::{Malformed, Parsed};

/// Names of kernel workers reach 63 bytes; a process's own stays below 16.
pub const COMM_BYTES_MAX: usize = 64;

/// A process's comm as bytes: it may hold anything but NUL.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Comm {
    bytes: [u8; COMM_BYTES_MAX],
    len: u8,
}

impl Comm {
    fn new(text: &[u8]) -> Self {
        let len = text.len().min(COMM_BYTES_MAX);
        let mut bytes = [0; COMM_BYTES_MAX];
        bytes[..len].copy_from_slice(&text[..len]);
        Self { bytes, len: len as u8 }
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl Default for Comm {
    fn default() -> Self {
        Self::new(b"")
    }
}

impl std::fmt::Debug for Comm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.as_bytes()))
    }
}

/// The fields that nodetally uses. User and system time are of the whole thread group, exited
/// threads included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessStat {
    pub pid: u32,
    pub comm: Comm,
    pub state: u8,
    pub parent_pid: u32,
    /// Flag PF_KTHREAD (0x00200000) of field 9.
    pub kernel_thread: bool,
    pub user: Option<Ticks>,
    pub system: Option<Ticks>,
    /// User and system time of ended children that were waited for, and of theirs.
    pub children: Option<Ticks>,
    pub threads: Option<u32>,
    /// Since boot; with the pid, the process's identity.
    pub start_ticks: u64,
    /// 0 of a thread group whose leader has exited, whatever its other threads use.
    pub resident: Option<Pages>,
    pub odd: Option<Malformed>,
}

impl Parsed for ProcessStat {
    fn odd(&self) -> Option<Malformed> {
        self.odd
    }
}

impl ProcessStat {
    /// True if the leader has exited and other threads run on. Its memory is then to be read
    /// through one of those.
    #[must_use]
    pub fn is_leaderless(&self) -> bool {
        matches!(self.state, b'Z' | b'X') && self.threads.is_none_or(|threads| threads > 1)
    }
}

const PF_KTHREAD: u64 = 0x0020_0000;

// 4167 (a b) c) S 1 4167 4167 0 -1 4194560 1045 0 0 0 31 12 0 0 20 0 9 0 8791 1268 9000 …
// pid (comm) state ppid pgrp session tty tpgid flags minflt cminflt majflt cmajflt utime stime
//   cutime cstime priority nice num_threads itrealvalue starttime vsize rss …
pub fn parse(text: &[u8]) -> Result<ProcessStat, Malformed> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    // comm may hold spaces, parentheses and newlines; nothing behind it holds a parenthesis.
    let open = memchr::memchr(b'(', text);
    let close = memchr::memrchr(b')', text);
    let (Some(open), Some(close)) = (open, close) else {
        return Err(Malformed::expected("a comm in parentheses"));
    };
    if open < 2 || close < open {
        return Err(Malformed::expected("a pid before the comm"));
    }
    let pid = figure(&text[..open - 1]).and_then(|pid| u32::try_from(pid).ok());
    let pid = pid.ok_or(Malformed::expected("a pid before the comm"))?;
    let mut rest = fields(&text[close + 1..]);
    let state = rest.next().and_then(|field| field.first().copied());
    let state = state.ok_or(Malformed::expected("a state behind the comm"))?;
    // nth counts from where the last call stopped; the numbers in comments are the manual's.
    let mut odd = Odd::default();
    let parent_pid = small_or(rest.next(), "field 4, ppid")?;
    let flags = figure_or(rest.nth(4), "field 9, flags")?;
    let user = odd.figure(rest.nth(4), "field 14, utime");
    let system = odd.figure(rest.next(), "field 15, stime");
    let children_user = odd.figure(rest.next(), "field 16, cutime");
    let children_system = odd.figure(rest.next(), "field 17, cstime");
    let children = children_user.zip(children_system);
    let threads = odd.figure(rest.nth(2), "field 20, num_threads");
    let start_ticks = figure_or(rest.nth(1), "field 22, starttime")?;
    let resident = odd.figure(rest.nth(1), "field 24, rss");
    Ok(ProcessStat {
        pid,
        comm: Comm::new(&text[open + 1..close]),
        state,
        parent_pid,
        kernel_thread: flags & PF_KTHREAD != 0,
        user: user.map(Ticks::from_ticks),
        system: system.map(Ticks::from_ticks),
        children: children.map(|(user, system)| Ticks::from_ticks(user.saturating_add(system))),
        threads: threads.and_then(|threads| u32::try_from(threads).ok()),
        start_ticks,
        resident: resident.map(Pages::from_pages),
        odd: odd.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAIL: &str =
        "S 1 4167 4167 0 -1 4194560 1045 0 0 0 31 12 7 2 20 0 9 0 8791 1268 9000 1844674407370 1\n";

    #[test]
    fn a_comm_may_hold_what_it_likes() {
        for comm in [&b"a b"[..], b"a) S 1 (", b")", b"", b"new\nline", b"\xff\xfe"] {
            let mut line = b"4167 (".to_vec();
            line.extend_from_slice(comm);
            line.extend_from_slice(b") ");
            line.extend_from_slice(TAIL.as_bytes());
            let stat = parse(&line).unwrap();
            assert_eq!(stat.comm.as_bytes(), comm);
            assert_eq!((stat.pid, stat.parent_pid, stat.state), (4167, 1, b'S'));
            assert_eq!(stat.user.unwrap().as_ticks(), 31);
            assert_eq!(stat.children.unwrap().as_ticks(), 9);
            assert_eq!(stat.system.unwrap().as_ticks(), 12);
            assert_eq!((stat.threads, stat.start_ticks), (Some(9), 8791));
            assert_eq!(stat.resident, Some(Pages::from_pages(9000)));
            assert!(!stat.kernel_thread);
        }
    }

    #[test]
    fn a_kernel_thread_has_its_flag() {
        let line = "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 3 0 0 20 0 1 0 7 0 0 1\n";
        assert!(parse(line.as_bytes()).unwrap().kernel_thread);
    }

    #[test]
    fn an_odd_figure_takes_no_other_away() {
        let line = "7 (x) Z 1 1 1 0 -1 0 0 0 0 0 -31 12 0 0 20 0 9 0 8791 0 -1 0 0\n";
        let stat = parse(line.as_bytes()).unwrap();
        assert_eq!((stat.user, stat.resident), (None, None));
        assert_eq!(stat.system.unwrap().as_ticks(), 12);
        assert!(stat.odd.is_some() && stat.is_leaderless());
    }

    #[test]
    fn a_line_cut_before_its_identity_is_malformed() {
        let line = format!("4167 (x) {TAIL}");
        let end = line.find(" 8791").unwrap();
        for cut in 0..=end {
            assert!(parse(&line.as_bytes()[..cut]).is_err(), "cut at {cut}");
        }
    }
}
