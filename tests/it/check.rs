//! `nodetally check`: what it says of a host, and its exit status.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test starts the binary and reads what it prints"
)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::thread::JoinHandle;

use crate::support::api_server::Pki;

/// Exit status and text of `check` over a captured host.
fn check(host: &str, arguments: &[&str]) -> (i32, String) {
    let t0 = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hosts").join(host).join("t0");
    let output = Command::new(env!("CARGO_BIN_EXE_nodetally"))
        .env_clear()
        .args(["check", "--state-dir", "none", "--listen", "127.0.0.1:0"])
        .args(arguments)
        .arg("--path.procfs")
        .arg(t0.join("proc"))
        .arg("--path.sysfs")
        .arg(t0.join("sys"))
        .arg("--path.rootfs")
        .arg(&t0)
        .output()
        .unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_hybrid_host_works_and_each_missing_controller_has_its_consequence() {
    let (code, text) = check("5.15-hybrid", &[]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("hybrid"), "{text}");
    for (source, consequence) in [
        ("absent   cgroup2 controller memory", "resident set"),
        ("absent   cgroup2 controller io", "live processes"),
        ("absent   cgroup2 controller pids", "task counts"),
    ] {
        let line = text.lines().find(|line| line.starts_with(source)).unwrap_or_default();
        assert!(line.contains(consequence), "{source}: {text}");
    }
    assert!(text.contains("would help: a pure cgroup v2 host"), "{text}");
}

#[test]
fn a_v1_host_has_one_line_for_all_that_is_missing() {
    let (code, text) = check("3.10-v1-only", &[]);
    assert_eq!(code, 1, "{text}");
    assert_eq!(text.matches("no cgroup2 hierarchy is mounted").count(), 1, "{text}");
    assert!(text.contains("cgroup v1 only"), "{text}");
}

/// An image from scratch has no certificates of a system.
#[test]
fn only_https_without_a_ca_file_needs_the_systems_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, Pki::new("own-ca").ca_pem()).unwrap();
    let said = |url: &str, with_ca: bool| {
        let ca_file = if with_ca { format!("ca_file = {ca:?}\n") } else { String::new() };
        let config = folder.path().join("nodetally.toml");
        let endpoint = format!("[[endpoint]]\nname = \"central\"\nurl = \"{url}\"\n{ca_file}");
        fs::write(&config, endpoint).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_nodetally"))
            .env_clear()
            .env("SSL_CERT_FILE", folder.path().join("none"))
            .env("SSL_CERT_DIR", folder.path().join("none"))
            .args(["check", "--state-dir", "none", "--config"])
            .arg(config)
            .output()
            .unwrap();
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat()
    };
    for (url, with_ca, needs_them) in [
        ("http://127.0.0.1:1", false, false),
        ("https://127.0.0.1:1", true, false),
        ("https://127.0.0.1:1", false, true),
    ] {
        let text = said(url, with_ca);
        let advice =
            "without ca_file the system's certificates are needed (Debian: ca-certificates)";
        assert_eq!(text.contains(advice), needs_them, "{url} {with_ca}: {text}");
        assert_eq!(text.contains("Connection refused"), !needs_them, "{url} {with_ca}: {text}");
    }
}

#[test]
fn without_a_procfs_it_cannot_work() {
    let output = Command::new(env!("CARGO_BIN_EXE_nodetally"))
        .env_clear()
        .args(["check", "--state-dir", "none", "--path.procfs", "/nonexistent"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("/nonexistent") && text.contains("cannot work"), "{text}");
}

/// A server that answers this once, and the line of the request that it got.
fn answering(answer: &'static str) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let bytes = stream.read(&mut request).unwrap();
        stream
            .write_all(format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n").as_bytes())
            .unwrap();
        String::from_utf8_lossy(&request[..bytes]).lines().next().unwrap_or_default().to_owned()
    });
    (address, served)
}

#[test]
fn endpoints_that_answer_differ_from_those_that_do_not() {
    let down = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (up, asked) = answering("404 Not Found");
    let (locked, _) = answering("401 Unauthorized");
    let (moved, _) = answering("302 Found\r\nlocation: http://127.0.0.1:1/");
    let (busy, _) = answering("503 Service Unavailable");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.toml");
    let endpoints =
        [("up", up), ("down", down), ("locked", locked), ("moved", moved), ("busy", busy)];
    let text = endpoints.map(|(name, address)| {
        format!("[[endpoint]]\nname = \"{name}\"\nurl = \"http://{address}/api/v1/write\"\n")
    });
    fs::write(&file, text.concat()).unwrap();
    let (code, text) = check("6.8-crio-systemd", &["--config", file.to_str().unwrap()]);
    for (name, state, words) in [
        ("up", "present", "answers with status 404"),
        ("down", "failed", "does not answer"),
        ("locked", "failed", "401: it refuses the token"),
        ("moved", "failed", "302: redirects are not followed"),
        ("busy", "failed", "503: samples are kept"),
    ] {
        let word = format!("endpoint {name} ");
        let line = text.lines().find(|line| line.contains(&word)).unwrap_or_default();
        assert!(line.starts_with(state) && line.contains(words), "{text}");
    }
    assert_eq!(asked.join().unwrap(), "GET /api/v1/write HTTP/1.1", "the URL as it is");
    assert_eq!(code, 3, "{text}");
    let (_, endpoints) = text.split_once("\nENDPOINTS\n").unwrap();
    assert!(endpoints.contains("4 endpoints accept no samples"), "{text}");
}

#[test]
fn a_token_file_that_is_a_fifo_is_reported_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    nix::unistd::mkfifo(&token, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let file = dir.path().join("c.toml");
    let text = format!(
        "[[endpoint]]\nname = \"central\"\nurl = \"http://127.0.0.1:1\"\nbearer_token_file = \"{}\"\n",
        token.display()
    );
    fs::write(&file, text).unwrap();
    let (code, text) = check("6.8-crio-systemd", &["--config", file.to_str().unwrap()]);
    assert_eq!(code, 2, "`run` would not start: {text}");
    assert!(text.contains("not a regular file"), "{text}");
}

#[test]
fn the_spool_is_checked_and_orphaned_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let spool = dir.path().join("spool");
    let file = dir.path().join("c.toml");
    let text = format!(
        "[spool]\ndir = \"{}\"\n[[endpoint]]\nname = \"central\"\nurl = \"http://127.0.0.1:1\"\n",
        spool.display()
    );
    fs::write(&file, text).unwrap();
    let line = |start: &str| {
        let (_, text) = check("6.8-crio-systemd", &["--config", file.to_str().unwrap()]);
        text.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned()
    };
    let row = format!("spool {}", spool.display());
    assert!(line(&format!("present  {row}")).ends_with("MiB are free"));
    assert!(!spool.exists(), "a look leaves nothing behind");

    fs::create_dir(&spool).unwrap();
    fs::write(spool.join("central.spool"), [0; 8192]).unwrap();
    fs::write(spool.join("gone.spool"), [0; 4096]).unwrap();
    assert!(line(&format!("present  {row}")).ends_with("MiB are free; 8 KiB for central"));
    let left = line("note     spool file gone.spool");
    assert!(left.contains("4 KiB are not sent"), "{left}");

    fs::remove_dir_all(&spool).unwrap();
    fs::write(&spool, "").unwrap();
    let failed = line(&format!("failed   {row}"));
    assert!(failed.contains("in memory alone") && failed.contains("no directory"), "{failed}");
}

/// Exit status, standard output and standard error of a command.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_nodetally")).env_clear().args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_path_that_is_plainly_another_place_is_one_error() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().to_str().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for (flag, path, words) in [
        ("--path.procfs", empty, "it is no procfs"),
        ("--path.sysfs", empty, "it is no sysfs"),
        ("--path.sysfs", "/nonexistent", "it is no sysfs"),
        ("--path.rootfs", file.to_str().unwrap(), "it is no directory"),
        ("--path.rootfs", "/nonexistent", "it is no directory"),
    ] {
        let (code, out, error) = run(&["dump", "--interval", "100ms", flag, path]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{flag} {path}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains(&format!("{flag} {path}: {words}")), "{error}");
        let (code, _, error) = run(&["run", "--state-dir", "none", flag, path]);
        assert_eq!(code, Some(2), "{error}");
        let (code, text, _) = run(&["check", "--state-dir", "none", flag, path]);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(words) && text.contains("cannot work here"), "{text}");
    }
}

#[test]
fn credentials_of_the_service_are_an_error_for_run_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.toml");
    let text = "[[endpoint]]\nname = \"central\"\nurl = \"http://127.0.0.1:1\"\n\
                bearer_token_file = \"${CREDENTIALS_DIRECTORY}/token\"\n";
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let (code, _, error) = run(&["run", "--config", file]);
    assert_eq!(code, Some(2));
    assert!(error.contains("CREDENTIALS_DIRECTORY is not set"), "{error}");
    let (code, shown, error) = run(&["config", "--config", file]);
    assert_eq!(code, Some(0), "{error}");
    assert!(shown.starts_with(&format!("# configuration file: {file}\n")), "{shown}");
    assert!(shown.contains("bearer_token_file = \"${CREDENTIALS_DIRECTORY}/token\""), "{shown}");
    assert!(shown.contains("a credential of the service"), "{shown}");
    let (_, text) = check("6.8-crio-systemd", &["--config", file]);
    let line = text.lines().find(|line| line.contains("endpoint central")).unwrap();
    assert!(line.starts_with("note") && line.contains("credentials of the service"), "{text}");
    let (code, _, error) = run(&["dump", "--interval", "100ms", "--config", file]);
    assert_eq!(code, Some(0), "{error}");
}

#[test]
fn as_json_check_has_stable_words() {
    let (code, text) = check("5.15-hybrid", &["--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["schema_version"], 1);
    assert_eq!((&json["cgroups"], &json["verdict"]), (&"hybrid".into(), &"partial".into()));
    assert_eq!((code, &json["exit_status"]), (1, &1.into()));
    let findings = json["findings"].as_array().unwrap();
    for finding in findings {
        let word = |key: &str| finding[key].as_str().unwrap();
        assert!(["sources", "names", "agent", "endpoints"].contains(&word("group")), "{finding}");
        assert!(["present", "note", "absent", "denied", "failed"].contains(&word("state")));
        assert!(finding["vital"].is_boolean() && !word("name").is_empty(), "{finding}");
    }
    let memory = findings.iter().find(|one| one["name"] == "cgroup2 controller memory").unwrap();
    assert_eq!(memory["state"], "absent");
    assert!(memory["help"].as_str().unwrap().contains("unified_cgroup_hierarchy"), "{memory}");
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/status.md"));
    let document = document.unwrap();
    for word in ["complete", "partial", "undelivered", "unusable", "schema_version", "exit_status"]
    {
        assert!(document.contains(&format!("`{word}`")), "docs/status.md lacks {word}");
    }
}
