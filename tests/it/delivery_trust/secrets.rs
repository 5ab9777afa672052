//! The real binary: what it says with every word it has, and what a crash would leave behind.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use tempfile::TempDir;

use crate::delivery_trust::write;
use crate::support::agent::{Agent, EMBEDDED, Host, eventually};
use crate::support::skip::skip;

const HOST: &str = "6.8-crio-systemd";

/// Neither these nor what a header makes of them is to be seen anywhere. The last is `user:pr0xy`.
const SECRETS: [&str; 4] = ["t0ken-in-file", "t0ken-in-variable", "pr0xy", "dXNlcjpwcjB4eQ"];

fn configure(dir: &Path) {
    write(&dir.join("token"), SECRETS[0]);
    let text = format!(
        "[node]\nname = \"n1\"\n\
         [sampling]\ninterval = \"1s\"\n\
         [spool]\ndir = \"none\"\n\
         [[endpoint]]\nname = \"plain\"\nurl = \"http://metrics.example.com\"\n\
         bearer_token_file = \"{}\"\nspread = \"0s\"\n\
         [[endpoint]]\nname = \"behind-tls\"\nurl = \"https://metrics.example.com\"\n\
         bearer_token_env = \"OWN_TOKEN\"\nauth_header = \"X-API-Key\"\nspread = \"0s\"\n\
         [[endpoint]]\nname = \"answers\"\nurl = \"http://127.0.0.1:1\"\n\
         bearer_token_env = \"OWN_TOKEN\"\nspread = \"0s\"\n",
        dir.join("token").display()
    );
    write(&dir.join("c.toml"), &text);
}

fn agent(host: &Host, dir: &Path, words: &[&str], proxy: &str) -> Command {
    let mut command = host.agent(words);
    command
        .args(["--state-dir", "none", "--log-level", "trace"])
        .arg("--config")
        .arg(dir.join("c.toml"))
        .env("OWN_TOKEN", SECRETS[1])
        .env("http_proxy", proxy)
        .env("HTTPS_PROXY", proxy);
    command
}

fn assert_silent(what: &str, text: &str) {
    for secret in SECRETS {
        let line = text.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{what} says {secret}");
    }
}

/// A proxy that takes requests and hangs up on them; it says what it was shown.
fn rude_proxy() -> (String, std::sync::Arc<std::sync::Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://user:pr0xy@{}", listener.local_addr().unwrap());
    let shown = std::sync::Arc::<std::sync::Mutex<String>>::default();
    let log = std::sync::Arc::clone(&shown);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut head) = (stream.unwrap(), [0; 4096]);
            let length = stream.read(&mut head).unwrap_or(0);
            log.lock().unwrap().push_str(&String::from_utf8_lossy(&head[..length]));
        }
    });
    (url, shown)
}

#[test]
fn no_secret_is_said_by_the_running_agent_by_config_or_by_check() {
    let (host, dir) = (Host::copy(HOST), TempDir::new().unwrap());
    configure(dir.path());
    let (proxy, shown) = rude_proxy();
    let mut running = Agent::start(agent(&host, dir.path(), &["run"], &proxy));
    // All were on their way, so what is not said was there to be said.
    eventually("a post and a tunnel through the proxy", || {
        let shown = shown.lock().unwrap();
        let is_shown = |part: &str| shown.contains(part).then_some(());
        is_shown("POST http://metrics")?;
        is_shown("CONNECT metrics.example.com:443")?;
        is_shown("Bearer t0ken-in-file")?;
        is_shown("dXNlcjpwcjB4eQ")
    });
    let limits = fs::read_to_string(format!("/proc/{}/limits", running.0.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let words: Vec<&str> = core.split_whitespace().collect();
    assert_eq!(words[4..], ["1", "1", "bytes"]);

    running.signal(Signal::SIGTERM);
    let mut out = String::new();
    running.0.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    let (status, log) = running.end();
    assert!(status.success(), "{status:?}, signal {:?}: {log}", status.signal());
    for name in ["plain", "behind-tls", "answers"] {
        assert!(log.contains(&format!("endpoint {name} is not answering")), "{log}");
    }
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "it says more than usual: {log}");
    assert_silent("run", &(out + &log));

    for word in ["config", "check"] {
        let output = agent(&host, dir.path(), &[word], &proxy).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(text.contains("plain"), "{text}");
        assert_silent(word, &text);
    }
    let output = agent(&host, dir.path(), &["config"], &proxy).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("bearer_token_env = \"OWN_TOKEN\""), "{text}");
}

/// Where nobody may lift the limit of 0, which a `core_pattern` with a `|` does not heed.
#[test]
fn with_a_hard_limit_of_0_the_process_cannot_be_dumped_and_sees_what_it_needs() {
    let host = Host::copy(HOST);
    fs::set_permissions(host.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let run = host.agent(&EMBEDDED);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "ulimit -Hc 0 && exec \"$0\" \"$@\""]);
    command.arg(run.get_program()).args(run.get_args());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).env_clear();
    if geteuid().is_root() {
        command.uid(65534).gid(65534);
        for path in [host.path(""), env!("CARGO_BIN_EXE_nodetally").into()] {
            let is_open = path.ancestors().all(|dir| {
                fs::metadata(dir).is_ok_and(|metadata| metadata.permissions().mode() & 1 != 0)
            });
            if !is_open {
                skip(format_args!("{} may not be read by everybody", path.display()));
                return;
            }
        }
    }
    let mut running = Agent::start(command);
    running.wait_for_output("http://");
    let proc = Path::new("/proc").join(running.0.id().to_string());
    let limits = fs::read_to_string(proc.join("limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..], ["0", "0", "bytes"]);
    // The kernel gives the files of who is not to be dumped to root.
    let owner = fs::metadata(proc.join("limits")).unwrap().uid();
    let user = fs::metadata(&proc).unwrap().uid();
    assert!(user != 0 && owner == 0, "of {user}: {owner}");
    running.signal(Signal::SIGTERM);
    let (status, log) = running.end();
    assert!(status.success(), "{log}");
    assert!(!log.contains("core dumps") && !log.contains("WARN"), "{log}");
}

#[test]
fn a_variable_that_is_not_there_or_a_proxy_that_is_none_ends_the_start_in_one_line() {
    let (host, dir) = (Host::copy(HOST), TempDir::new().unwrap());
    configure(dir.path());
    let start = |change: &dyn Fn(&mut Command)| {
        let mut command = agent(&host, dir.path(), &["run"], "http://user:pr0xy@127.0.0.1:1");
        change(&mut command);
        let (status, log) = Agent::start(command).end();
        assert!(!status.success());
        assert_silent("run", &log);
        log.lines().last().unwrap().to_owned()
    };
    let line = start(&|command| {
        command.env_remove("OWN_TOKEN");
    });
    let words =
        "endpoint behind-tls: the variable OWN_TOKEN, which is to hold the token, is not set";
    assert!(line.contains(words), "{line}");
    let line = start(&|command| {
        command.env("http_proxy", "socks5://user:pr0xy@127.0.0.1:1");
    });
    let words = "endpoint plain: the variable http_proxy names no proxy that can be used";
    assert!(line.contains(words), "{line}");
}

#[test]
fn the_own_receiver_is_reached_without_the_proxy() {
    let (host, (proxy, shown)) = (Host::copy(HOST), rude_proxy());
    let mut command = host.agent(&EMBEDDED);
    command.env("http_proxy", &proxy).env("all_proxy", &proxy);
    let mut running = Agent::start(command);
    let line = running.wait_for_output("http://");
    let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap();
    let address = address.trim().parse().unwrap();
    eventually("the node's figures", || {
        let (status, _) = crate::support::agent::get(address, "/api/nodes/node-1");
        (status == 200).then_some(())
    });
    assert_eq!(*shown.lock().unwrap(), "");
}
