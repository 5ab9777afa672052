//! What it takes of memory, and for whoever wants to know, of the disk and of time.

use std::time::Instant;

use bytes::Bytes;
use nodetally::spool::Batch;

use crate::support::{AMPLE, Desk, again, at, noise, quick_dir};

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
        let dir = quick_dir();
        let name = "figures::two_hundred_mebibytes_go_through_a_few_of_memory";
        let output = again(name, ALONE, dir.path()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains("1 passed"), "{told}");
        return;
    }
    let dir = quick_dir();
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
        assert!(desk.queue.kept().bytes > 5 << 20);
        while let Some((row, batch)) = desk.next(at(200)).unwrap() {
            through += batch.posts.iter().map(|post| post.body.len()).sum::<usize>();
            desk.remove(&[row]).unwrap();
        }
    }
    assert_eq!(through, 200 << 20);
    let grown = figure("status", "VmHWM") - before;
    assert!(grown < 4 << 10, "{grown} kB");
}

/// The posts of a node of 110 pods, about as the resource API has them with all that it may hold.
fn resource_api(n: u64) -> Batch {
    let mut random = fastrand::Rng::with_seed(n);
    let mut figure = |most: u64| random.u64(..most);
    let mut posts = Vec::new();
    for pod in 0..110_u64 {
        let id = pod * 77_777_777;
        let path = format!("/api/namespaces/team-{}/pods/service-{id:010x}/metrics", pod % 9);
        let mut body = format!(
            r#"{{"node_name":"worker-1","cpu_millicores":{},"memory_bytes":{},"#,
            figure(4000),
            figure(1 << 32)
        );
        for (name, fields) in [
            ("disk_io", ["read_bytes", "write_bytes"]),
            ("network_io", ["bytes_sent", "bytes_recv"]),
        ] {
            let [first, second] = fields;
            let (one, other) = (figure(1 << 24), figure(1 << 24));
            body += &format!(r#""{name}":{{"{first}":{one},"{second}":{other}}},"#);
        }
        for name in ["app", "sidecar-proxy", "log-shipper"] {
            let (cpu, memory) = (figure(1 << 32), figure(1 << 32));
            let working_set = figure(1 << 32);
            body += &format!(
                r#"{{"name":"{name}","cpu_nanocores":{cpu},"memory_bytes":{memory},"memory_working_set_bytes":{working_set}}},"#
            );
        }
        body += &format!(r#""interval_ms":15000,"throttled_usec":{}}}"#, figure(1 << 20));
        posts.push((path, Bytes::from(body)));
    }
    Batch::new(at(n), posts)
}

/// `cargo test --test spool figures -- --ignored --nocapture`
#[test]
#[ignore = "it measures, and shows nothing by passing"]
fn what_it_takes() {
    const BATCHES: u32 = 240;
    let dir = tempfile::tempdir().unwrap();
    let desk = Desk::new(dir.path(), AMPLE);
    let plain: usize =
        resource_api(0).posts.iter().map(|post| post.path.len() + post.body.len()).sum();
    let resident = figure("status", "VmRSS");
    desk.append(&resource_api(0), at(0)).unwrap();
    let first = figure("status", "VmRSS") - resident;
    println!("{plain} bytes of posts; the first append makes {first} kB resident");
    let now = at(u64::from(BATCHES));
    let each = |what: &str, work: &mut dyn FnMut(u64)| {
        let (begin, written) = (Instant::now(), figure("io", "write_bytes"));
        (1..u64::from(BATCHES)).for_each(work);
        let written = (figure("io", "write_bytes") - written) / u64::from(BATCHES - 1);
        println!("{what}: {:?}, {written} bytes written", begin.elapsed() / (BATCHES - 1));
    };
    let batches: Vec<Batch> = (0..u64::from(BATCHES)).map(resource_api).collect();
    let mut batches = batches.into_iter().skip(1);
    each("append", &mut |n| {
        desk.append(&batches.next().unwrap(), at(n)).unwrap();
    });
    println!("{} bytes counted, {} on disk", desk.queue.kept().bytes, desk.disk_bytes());
    desk.rest();
    let begin = Instant::now();
    desk.open(now).unwrap();
    println!("open: {:?}", begin.elapsed());
    let mut rows = vec![desk.next(now).unwrap().unwrap().0];
    each("next", &mut |_| {
        rows.push(desk.next(now).unwrap().unwrap().0);
    });
    let mut rows = rows.into_iter().skip(1);
    each("remove", &mut |_| desk.remove(&[rows.next().unwrap()]).unwrap());
}
