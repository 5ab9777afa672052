//! Prometheus' own check of what it would scrape.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::desk::Desk;
use super::scrape::{Series, ask};
use crate::support::skip::skip;

#[test]
fn prometheus_finds_nothing_wrong_with_the_text() {
    let desk = Desk::new("processes = 5");
    let agent = desk.start();
    desk.next(1);
    let text = ask(desk.listen, "/metrics", &[]).unwrap().text();
    drop(agent);
    let all = Series::of(&text);
    for name in
        ["process_cpu_time_seconds_total", "nodetally_process_number", "container_cpu_usage"]
    {
        assert!(all.0.keys().any(|series| series.starts_with(name)), "{name}: {text}");
    }
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        skip("needs promtool (Debian's package prometheus)");
        return;
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
}
