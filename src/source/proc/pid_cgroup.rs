//! `/proc/<pid>/cgroup`: the cgroup of a process in each hierarchy (cgroups(7)).

use crate::source::Malformed;
use crate::source::text::lines;

/// The path that best identifies the owner of a process: that of cgroup v2 unless it is the root,
/// else that of v1's systemd hierarchy, else of the longest v1 path.
// 12:memory:/user.slice
// 1:name=systemd:/system.slice/ssh.service
// 0::/system.slice/ssh.service
pub fn parse(text: &[u8]) -> Result<&[u8], Malformed> {
    let mut best: (u8, usize, &[u8]) = (0, 0, b"/");
    let mut any = false;
    for line in lines(text)? {
        let mut parts = line.splitn(3, |byte| *byte == b':');
        let (Some(id), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        any = true;
        let rank = match (id, controllers, path) {
            (_, _, b"/") => 0,
            (b"0", b"", _) => 3,
            (_, b"name=systemd", _) => 2,
            _ => 1,
        };
        if (rank, path.len()) > (best.0, best.1) {
            best = (rank, path.len(), path);
        }
    }
    if any { Ok(best.2) } else { Err(Malformed::expected("id:controllers:path in each line")) }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_unified_path_wins_unless_it_is_the_root() {
        let text = b"12:memory:/a/much/longer/path\n1:name=systemd:/s.service\n0::/u.service\n";
        assert_eq!(parse(text), Ok(&b"/u.service"[..]));
        assert_eq!(parse(b"3:cpu:/a\n1:name=systemd:/s.service\n0::/\n"), Ok(&b"/s.service"[..]));
        assert_eq!(parse(b"3:cpu:/\n0::/\n"), Ok(&b"/"[..]));
        assert_eq!(parse(b"1:name=systemd:/with:colon\n"), Ok(&b"/with:colon"[..]));
        assert_eq!(parse(b"nonsense\n0::/u.service"), Ok(&b"/u.service"[..]));
        assert!(parse(b"nonsense\n").is_err());
    }
}
