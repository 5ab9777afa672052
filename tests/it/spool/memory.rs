//! The memory that a large spool costs.

use bytes::Bytes;
use nodetally::spool::Batch;

use crate::spool::support::{AMPLE, Desk, again, at, noise};
use crate::support::scratch::in_memory;

const ALONE: &str = "SPOOL_TEST_FIGURES";

/// A figure of `/proc/self/<file>`, in its own unit.
fn figure(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/self/{file}")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn two_hundred_mebibytes_go_through_a_few_of_memory() {
    if std::env::var_os(ALONE).is_none() {
        let dir = in_memory();
        let name = "spool::memory::two_hundred_mebibytes_go_through_a_few_of_memory";
        let output = again(name, ALONE, dir.path()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains("1 passed"), "{told}");
        return;
    }
    let dir = in_memory();
    let desk = Desk::new(dir.path(), AMPLE);
    // To be packed to less, as real ones are.
    let body = Bytes::from([noise(1, 8 << 10), vec![0; 56 << 10]].concat());
    let sample = Batch::new(at(0), (0..16).map(|post| (format!("/{post}"), body.clone())));
    let warm = desk.append(&sample, at(0)).unwrap();
    desk.next(at(0)).unwrap();
    desk.remove(&[warm]).unwrap();
    let before = figure("status", "VmHWM");
    let mut through = 0;
    for round in 0..5 {
        for n in 0..40 {
            desk.append(&sample, at(round * 40 + n)).unwrap();
        }
        assert!(desk.queue.contents().bytes > 5 << 20);
        while let Some((row, batch)) = desk.next(at(200)).unwrap() {
            through += batch.posts.iter().map(|post| post.body.len()).sum::<usize>();
            desk.remove(&[row]).unwrap();
        }
    }
    assert_eq!(through, 200 << 20);
    let grown = figure("status", "VmHWM") - before;
    assert!(grown < 4 << 10, "{grown} kB");
}
