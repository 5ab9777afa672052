//! Damaged databases: renamed for inspection, and the oldest removed.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use crate::quantity::WallTime;

/// The most such files of one database.
const KEPT_MAX: usize = 3;

const MARK: &str = ".damaged-";

/// Files that SQLite may have put beside a database.
const COMPANIONS: [&str; 3] = ["-journal", "-wal", "-shm"];

/// The directory entries that are searched for older files.
const ENTRIES_MAX: usize = 10_000;

/// Renames a file and its companions to `<its name>.damaged-<seconds since 1970>`. The number is
/// larger than all others, whatever the clock says. The oldest ones are removed.
///
/// # Errors
/// The file cannot be renamed.
pub(crate) fn set_aside(path: &Path, now: WallTime) -> io::Result<PathBuf> {
    let earlier = asides(path).unwrap_or_default();
    let newest = earlier.last().map_or(0, |newest| newest.saturating_add(1));
    let aside = named(path, newest.max(now.as_unix_millis() / 1000));
    std::fs::rename(path, &aside)?;
    for companion in COMPANIONS {
        // Mostly there is none; one that stays belongs to no database.
        let _ = std::fs::rename(with(path, companion), with(&aside, companion));
    }
    let excess = (earlier.len() + 1).saturating_sub(KEPT_MAX);
    for seconds in earlier.into_iter().take(excess) {
        let aside = named(path, seconds);
        // A file that cannot be removed now is removed the next time.
        let _ = std::fs::remove_file(&aside);
        for companion in COMPANIONS {
            let _ = std::fs::remove_file(with(&aside, companion));
        }
    }
    Ok(aside)
}

fn named(path: &Path, seconds: u64) -> PathBuf {
    with(path, &format!("{MARK}{seconds}"))
}

fn with(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// The numbers of earlier ones, in order.
fn asides(path: &Path) -> io::Result<Vec<u64>> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return Ok(Vec::new());
    };
    let mut asides = Vec::new();
    for entry in std::fs::read_dir(dir)?.take(ENTRIES_MAX) {
        let entry = entry?.file_name();
        let mark = entry.to_str().and_then(|entry| entry.strip_prefix(name));
        let seconds: Option<u64> = mark.and_then(|mark| mark.strip_prefix(MARK)?.parse().ok());
        asides.extend(seconds);
    }
    asides.sort_unstable();
    Ok(asides)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_newest_are_kept_each_with_what_belongs_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.spool");
        std::fs::write(dir.path().join("b.spool.damaged-1"), "another's").unwrap();
        for _ in 0..5 {
            std::fs::write(&path, "x").unwrap();
            std::fs::write(with(&path, "-journal"), "y").unwrap();
            set_aside(&path, WallTime::from_unix_millis(7_999)).unwrap();
        }
        let mut names: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let expected = [
            "a.spool.damaged-10",
            "a.spool.damaged-10-journal",
            "a.spool.damaged-11",
            "a.spool.damaged-11-journal",
            "a.spool.damaged-9",
            "a.spool.damaged-9-journal",
            "b.spool.damaged-1",
        ];
        assert_eq!(names, expected);
    }
}
