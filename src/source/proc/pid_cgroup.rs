//! `/proc/<pid>/cgroup`: the cgroup of a process in each hierarchy (cgroups(7)).

use crate::source::Malformed;
use crate::source::text::lines;

/// The cgroups of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership<'a> {
    /// Its path in cgroup v2; `None` without a cgroup2 hierarchy.
    pub unified: Option<&'a [u8]>,
    /// The path that says most about its owner.
    pub best: &'a [u8],
}

/// True if the first path says more about the owner of a process than the second one.
pub type SaysMore = fn(&[u8], &[u8]) -> bool;

/// Reads all lines. The best path is that of cgroup v2 unless it is the root, else that of v1's
/// systemd hierarchy, else the longest of v1; unless `says_more` prefers another one of v1.
// 12:memory:/user.slice
// 1:name=systemd:/system.slice/ssh.service
// 0::/system.slice/ssh.service
pub fn parse(text: &[u8], says_more: SaysMore) -> Result<Membership<'_>, Malformed> {
    let mut unified = None;
    let mut first: (u8, usize, &[u8]) = (0, 0, b"/");
    let mut any = false;
    for (id, controllers, path) in lines(text)?.filter_map(fields) {
        any = true;
        let rank = match (id, controllers, path) {
            (b"0", b"", b"/") => {
                unified = Some(path);
                0
            }
            (_, _, b"/") => 0,
            (b"0", b"", _) => {
                unified = Some(path);
                3
            }
            (_, b"name=systemd", _) => 2,
            _ => 1,
        };
        if (rank, path.len()) > (first.0, first.1) {
            first = (rank, path.len(), path);
        }
    }
    if !any {
        return Err(Malformed::expected("id:controllers:path in each line"));
    }
    let mut best = first.2;
    for (_, _, path) in lines(text)?.filter_map(fields) {
        if path != best && says_more(path, best) {
            best = path;
        }
    }
    Ok(Membership { unified, best })
}

/// The parts of a line; `None` for an odd one.
fn fields(line: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut parts = line.splitn(3, |byte| *byte == b':');
    let (id, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    Some((id, controllers, seen_from_root(path)))
}

/// The path without the steps that lead out of the reader's own cgroup namespace.
fn seen_from_root(path: &[u8]) -> &[u8] {
    let mut path = path;
    while let Some(rest) = path.strip_prefix(b"/..") {
        match rest.first() {
            Some(b'/') => path = rest,
            None => return b"/",
            Some(_) => break,
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(text: &[u8]) -> Result<&[u8], Malformed> {
        parse(text, |_, _| false).map(|found| found.best)
    }

    #[test]
    fn the_unified_path_wins_unless_it_is_the_root() {
        let text = b"12:memory:/a/much/longer/path\n1:name=systemd:/s.service\n0::/u.service\n";
        assert_eq!(best(text), Ok(&b"/u.service"[..]));
        assert_eq!(best(b"3:cpu:/a\n1:name=systemd:/s.service\n0::/\n"), Ok(&b"/s.service"[..]));
        assert_eq!(best(b"3:cpu:/\n0::/\n"), Ok(&b"/"[..]));
        assert_eq!(best(b"1:name=systemd:/with:colon\n"), Ok(&b"/with:colon"[..]));
        assert_eq!(best(b"nonsense\n0::/u.service"), Ok(&b"/u.service"[..]));
        assert!(best(b"nonsense\n").is_err());
        assert_eq!(best(b"0::/../../a/..b\n"), Ok(&b"/a/..b"[..]));
        assert_eq!(best(b"0::/..\n"), Ok(&b"/"[..]));
        assert_eq!(best(b"0::/..b\n"), Ok(&b"/..b"[..]));
    }

    #[test]
    fn another_path_wins_if_it_says_more() {
        let text = b"9:memory:/pods/a\n5:cpu:/pods/a/b\n1:name=systemd:/pods\n0::/u.service\n";
        let in_pods = |other: &[u8], path: &[u8]| {
            let depth = |path: &[u8]| {
                path.starts_with(b"/pods")
                    .then(|| path.iter().filter(|byte| **byte == b'/').count())
            };
            depth(other) > depth(path)
        };
        let found = parse(text, in_pods).unwrap();
        assert_eq!(found.best, b"/pods/a/b");
        assert_eq!(found.unified, Some(&b"/u.service"[..]));
        assert_eq!(parse(b"1:cpu:/a\n", in_pods).unwrap().unified, None);
    }
}
