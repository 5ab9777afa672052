//! Scrapers that ask and do not read.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::desk::Desk;
use crate::support::agent::Agent;

/// Scrapers that stall at once.
const STALLED: usize = 8;

/// The answers that each asks for at once: more than the kernel keeps of a connection to be sent
/// (tcp_wmem, 4 MiB) and here to be received.
const ANSWER_BYTES: usize = 16 << 20;

/// The memory that they may cost: for each a piece of the text, its copy on the way, and buffers.
const BYTES_MAX: u64 = STALLED as u64 * (512 << 10);

/// The resident memory that is not shared with files, in bytes.
fn resident(agent: &Agent) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.0.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn scrapers_that_stall_delay_no_sample_and_nobody_else() {
    let desk = Desk::new("processes = 50");
    let agent = desk.start();
    let samples = || desk.series("b").map(|series| series.get("nodetally_samples_total", &[]));
    desk.next(1);
    let text = super::scrape::ask(desk.listen, "/metrics", &[]).unwrap().body.len();
    let requests = ANSWER_BYTES / text + 1;
    // As much as answers to those who read cost.
    for _ in 0..20 {
        samples().unwrap();
    }
    let before = resident(&agent);

    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(requests);
    let stalled: Vec<TcpStream> = (0..STALLED)
        .map(|_| {
            let mut stream = TcpStream::connect(desk.listen).unwrap();
            rustix::net::sockopt::set_socket_recv_buffer_size(&stream, 64 << 10).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    let (began, first) = (Instant::now(), samples().unwrap());
    let (mut slowest, mut most) = (Duration::ZERO, 0);
    while samples().is_none_or(|taken| taken < first + 5.0) {
        assert!(began.elapsed() < Duration::from_secs(60), "no five samples while others stall");
        let asked = Instant::now();
        assert!(samples().is_some(), "no answer");
        slowest = slowest.max(asked.elapsed());
        most = most.max(resident(&agent));
        std::thread::sleep(Duration::from_millis(100));
    }
    println!(
        "5 samples in {:.1} s; slowest answer {slowest:?}; +{} KiB",
        began.elapsed().as_secs_f64(),
        most.saturating_sub(before) >> 10
    );
    // Nobody has waited for those who stall.
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    assert!(most < before + BYTES_MAX, "{before} to {most}");

    // They are cut off after 5 s without a byte, with a part of what they had asked for.
    std::thread::sleep(Duration::from_secs(15).saturating_sub(began.elapsed()));
    for mut stream in stalled {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut received = Vec::new();
        let ended = stream.read_to_end(&mut received);
        let is_cut = ended.as_ref().err().is_none_or(|error| error.raw_os_error() == Some(104));
        assert!(is_cut, "{ended:?}");
        assert!(received.len() < text * requests / 2, "{} of {}", received.len(), text * requests);
    }
}
