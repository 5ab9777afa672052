//! The real binary's `dump` over every captured host, as golden output; and on this host.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test starts the binary and reads what it prints"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn dump(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nodetally"))
        .env_clear()
        .arg("dump")
        .args(arguments)
        .output()
        .unwrap()
}

/// The output of a dump that succeeds.
fn printed(arguments: &[&str]) -> String {
    let output = dump(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    assert_eq!(errors, "", "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn hosts() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("fixtures/hosts")).unwrap().flatten();
    let mut hosts: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.join("t0").is_dir()).collect();
    hosts.sort();
    assert_eq!(hosts.len(), 8);
    hosts
}

fn replayed(host: &Path, arguments: &[&str]) -> String {
    let mut all = vec!["--replay", host.to_str().unwrap()];
    all.extend(arguments);
    printed(&all)
}

fn json(host: &Path) -> Value {
    serde_json::from_str(&replayed(host, &["--format", "json"])).unwrap()
}

/// `cargo insta review`, or INSTA_UPDATE=always, takes new output over.
#[test]
fn the_table_of_every_host_is_as_it_was_looked_at() {
    for host in hosts() {
        let name = host.file_name().unwrap().to_str().unwrap();
        let table = replayed(&host, &["--top", "40", "--balance", "--gaps"]);
        insta::assert_snapshot!(format!("table-{name}"), table);
    }
}

#[test]
fn the_json_of_every_host_is_as_it_was_looked_at() {
    for host in hosts() {
        let name = host.file_name().unwrap().to_str().unwrap();
        // The document as printed: key order and form are part of it.
        let text = replayed(&host, &["--format", "json", "--top", "5"]);
        insta::assert_snapshot!(format!("json-{name}"), text);
    }
}

fn keys(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                assert!(!value.is_null(), "{path}.{key} is null");
                into.insert(key.clone());
                keys(value, &format!("{path}.{key}"), into);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| keys(value, path, into)),
        Value::Number(number) => {
            assert!(number.is_u64() || number.is_i64(), "{path} is no integer: {number}");
        }
        Value::Null => panic!("{path} holds a null"),
        Value::Bool(_) | Value::String(_) => {}
    }
}

#[test]
fn every_key_is_described_and_nothing_is_null_or_a_fraction() {
    let described = fs::read_to_string(root().join("docs/dump-schema.md")).unwrap();
    let mut all = BTreeSet::new();
    for host in hosts() {
        let document = json(&host);
        let top: Vec<&str> = document.as_object().unwrap().keys().map(String::as_str).collect();
        let mut expected =
            ["schema_version", "node", "pods", "host_units", "processes", "conservation", "gaps"];
        expected.sort_unstable();
        assert_eq!(top, expected);
        assert_eq!(document["schema_version"], 1);
        keys(&document, "", &mut all);
    }
    let missing: Vec<_> =
        all.iter().filter(|key| !described.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "not in docs/dump-schema.md: {missing:?}");
}

#[test]
fn parts_and_remainder_add_up_in_every_document() {
    for host in hosts() {
        let document = json(&host);
        let balances = document["conservation"].as_object().unwrap();
        assert!(balances.contains_key("cpu_usec"), "{}", host.display());
        for (resource, balance) in balances.iter().filter(|(name, _)| *name != "exited") {
            let part = |name: &str| balance[name].as_i64().unwrap();
            let parts = ["pods", "host_units", "kernel", "interrupts", "exited", "unattributed"];
            let given: i64 = parts.iter().map(|name| part(name)).sum();
            // What owners of a network exchange within the node is in the parts and not in the node.
            let inside = balance["inside_node"].as_i64().unwrap_or_default();
            assert_eq!(given, part("node") + inside, "{} {resource}", host.display());
        }
    }
}

#[test]
fn four_jobs_that_lived_and_died_between_the_samples_are_found() {
    let document = json(&root().join("fixtures/hosts/7.2-containerd-systemd"));
    let exited = document["conservation"]["exited"].as_array().unwrap();
    let besteffort = exited
        .iter()
        .find(|row| row["cgroup"] == "/kubepods.slice/kubepods-besteffort.slice")
        .expect("the class in which the jobs ran");
    // The class's own counter gained this much, and no child of it was alive at the end.
    assert_eq!(besteffort["cpu_usage_usec"], 1_867_946);
    assert_eq!(besteffort["exited_kind"], "pods");
    assert_eq!(besteffort["qos_class"], "BestEffort");
}

#[test]
fn names_that_are_no_text_survive_into_json() {
    let host = root().join("fixtures/hosts/6.12-podman-bare");
    let text = replayed(&host, &["--format", "json", "--top", "100"]);
    let document: Value = serde_json::from_str(&text).unwrap();
    let processes = document["processes"].as_array().unwrap();
    let odd: Vec<&Value> =
        processes.iter().filter(|process| process["comm_hex"].is_string()).collect();
    assert!(!odd.is_empty(), "the capture has comms that are not UTF-8");
    for process in odd {
        let hex = process["comm_hex"].as_str().unwrap();
        let bytes: Vec<u8> = (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(hex.get(at * 2..at * 2 + 2).unwrap(), 16).unwrap())
            .collect();
        assert_eq!(process["comm"], *String::from_utf8_lossy(&bytes));
        assert!(std::str::from_utf8(&bytes).is_err());
    }
    let lines = replayed(&host, &["--format", "ndjson"]);
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
}

#[test]
fn each_line_of_ndjson_says_what_it_is() {
    let host = root().join("fixtures/hosts/6.8-crio-systemd");
    let mut kinds = BTreeSet::new();
    for line in replayed(&host, &["--format", "ndjson"]).lines() {
        let object: Value = serde_json::from_str(line).unwrap();
        assert_eq!(object["schema_version"], 1);
        assert_eq!(object["sampled_at"], "2026-11-20T12:00:10.000Z");
        kinds.insert(object["kind"].as_str().unwrap().to_owned());
    }
    let expected =
        ["conservation", "container", "exited", "host_unit", "node", "pod", "process", "rest"];
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn sorting_and_filters_pick_the_rows() {
    let host = root().join("fixtures/hosts/6.8-crio-systemd");
    let by = |arguments: &[&str]| -> Value {
        let mut all = vec!["--format", "json"];
        all.extend(arguments);
        serde_json::from_str(&replayed(&host, &all)).unwrap()
    };
    let first = |document: &Value| {
        let uid = document["pods"][0]["uid"].as_str().unwrap();
        uid.split('-').next().unwrap().to_owned()
    };
    assert_eq!(first(&by(&[])), "cd47dd0a");
    assert_eq!(first(&by(&["--sort", "memory"])), "fe957c79");
    assert_eq!(first(&by(&["--sort", "disk"])), "cd47dd0a");
    assert_eq!(
        by(&["--top", "3"])["processes"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|row| row["process_kind"] == "process")
            .count(),
        3
    );

    let pod = by(&["--pod", "fe957c79-7555-4b49-a8b4-3311b50a14ef"]);
    assert_eq!(pod["pods"].as_array().unwrap().len(), 1);
    assert_eq!(pod["host_units"].as_array().unwrap().len(), 0);
    let owners = pod["processes"].as_array().unwrap();
    assert!(!owners.is_empty());
    assert!(owners.iter().all(|row| row["pod_uid"] == pod["pods"][0]["uid"]));

    let unit = by(&["--unit", "kubelet.service"]);
    assert_eq!(unit["host_units"].as_array().unwrap().len(), 1);
    assert_eq!(unit["pods"].as_array().unwrap().len(), 0);
}

#[test]
fn what_is_not_there_is_one_line_that_helps() {
    let host = root().join("fixtures/hosts/6.8-crio-systemd");
    let fails = |arguments: &[&str]| {
        let mut all = vec!["--replay", host.to_str().unwrap()];
        all.extend(arguments);
        let output = dump(&all);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty());
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    };
    assert!(fails(&["--unit", "kubelet.servic"]).contains("did you mean kubelet.service?"));
    assert!(fails(&["--pod", "default/web"]).contains("use the pod's uid"));
    let absent = fails(&["--pod", "00000000-0000-0000-0000-000000000000"]);
    assert!(absent.contains("no such pod"), "{absent}");
    let output = dump(&["--replay", "/nonexistent"]);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("/nonexistent/t0/instant.toml"), "{error}");
}

#[test]
fn command_lines_are_shown_only_to_who_asks() {
    let has = |arguments: &[&str]| {
        let mut all = vec!["--interval", "100ms", "--format", "json", "--top", "100000"];
        all.extend(arguments);
        let document: Value = serde_json::from_str(&printed(&all)).unwrap();
        let processes = document["processes"].as_array().unwrap().clone();
        assert!(processes.len() > 1, "{processes:?}");
        processes.iter().any(|process| process.get("cmdline").is_some())
    };
    assert!(!has(&[]));
    assert!(has(&["--cmdline"]));
}

#[test]
fn this_host_is_dumped_without_colour_into_a_pipe() {
    let table = printed(&["--interval", "100ms"]);
    assert!(!table.contains('\x1b'));
    for part in ["cpu ", "memory ", "PROCESSES (", "remainder  cpu "] {
        assert!(table.contains(part), "{part} is missing:\n{table}");
    }
    assert!(printed(&["--interval", "100ms", "--color", "always"]).contains("\x1b[1m"));
}

/// The process is one that the test started, so its user is the test's.
#[test]
fn processes_are_found_by_their_user_and_show_it() {
    use std::os::unix::fs::MetadataExt as _;
    let mut sleeper = Command::new("sleep").arg("60").spawn().unwrap();
    let uid = fs::metadata(format!("/proc/{}", sleeper.id())).unwrap().uid().to_string();
    let pid = sleeper.id().to_string();
    let found = |user: &str| {
        let arguments = ["--interval", "100ms", "--user", user, "--process", "sleep"];
        dump(&[&arguments[..], &["--top", "1000"]].concat())
    };
    let own = found(&uid);
    let other = found("4000000001");
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    let table = String::from_utf8(own.stdout).unwrap();
    let row = table.lines().find(|line| line.split_whitespace().any(|word| word == pid)).unwrap();
    let name = nix::unistd::User::from_uid(uid.parse::<u32>().unwrap().into()).unwrap();
    let name = name.map_or(uid, |user| user.name);
    assert!(row.split_whitespace().any(|word| word == name), "{table}");
    assert_eq!(other.status.code(), Some(2));
    let error = String::from_utf8(other.stderr).unwrap();
    assert!(error.contains("no process of this user here"), "{error}");
}

/// A pipe gets one table after the other, until SIGINT ends it in good order.
#[test]
fn watch_prints_tables_until_it_is_interrupted() {
    use std::io::{BufRead as _, BufReader};
    let mut child = Command::new(env!("CARGO_BIN_EXE_nodetally"))
        .args(["dump", "--watch", "100ms", "--top", "1"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut tables = 0;
    for line in lines {
        let line = line.unwrap();
        assert!(!line.contains('\x1b'), "{line:?}");
        tables += usize::from(line.starts_with("PROCESSES ("));
        if tables == 3 {
            let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT);
        }
    }
    assert!(tables >= 3, "{tables}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_captured_node_is_shown_as_the_metrics_api_has_it() {
    let host = root().join("fixtures/hosts/7.2-containerd-systemd");
    let text = replayed(&host, &["--format", "metrics-k8s-io"]);
    let lists: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [nodes, pods] = lists.as_slice() else { panic!("{text}") };
    assert_eq!(nodes["kind"], "NodeMetricsList");
    assert_eq!(nodes["items"][0]["metadata"]["name"], "worker-1");
    // truth.tsv's 14,636,000 us of the root cgroup over 15.259 s, its clock being the tick.
    let cpu = nodes["items"][0]["usage"]["cpu"].as_str().unwrap().strip_suffix('n').unwrap();
    let expected = 14_636_000.0 / 15.259 * 1000.0;
    assert!((cpu.parse::<f64>().unwrap() / expected - 1.0).abs() < 0.001, "{cpu}");
    assert_eq!(pods["kind"], "PodMetricsList");
    let names: BTreeSet<&str> = pods["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pod| pod["metadata"]["name"].as_str().unwrap())
        .collect();
    // As api/pods.txt has them; the Job's pods had ended by then.
    let running = [
        "edge-worker-1",
        "exact",
        "node-helper-wtjt2",
        "web-6877cbddcc-hx6s4",
        "web-6877cbddcc-lm9mb",
        "web-6877cbddcc-ztv9k",
    ];
    assert_eq!(names, running.into());
    insta::assert_snapshot!("metrics-k8s-io", text);
}

#[test]
fn a_pod_is_asked_for_by_its_name_where_names_are_known() {
    let host = root().join("fixtures/hosts/7.2-containerd-systemd");
    let host = host.to_str().unwrap();
    let text = printed(&["--replay", host, "--pod", "shop/exact", "--format", "json"]);
    let document: Value = serde_json::from_str(&text).unwrap();
    let [pod] = document["pods"].as_array().unwrap().as_slice() else { panic!("{text}") };
    assert_eq!(pod["uid"], "e3d5296e-b697-4cba-af3c-352149101fda");
    assert_eq!(pod["namespace"], "shop");
    let containers = pod["containers"].as_array().unwrap();
    let named: Vec<&str> =
        containers.iter().filter_map(|one| one["container_name"].as_str()).collect();
    assert_eq!(named, ["main"], "the sandbox has no name");
    let unknown = dump(&["--replay", host, "--pod", "shop/exac"]);
    assert_eq!(unknown.status.code(), Some(2));
    let error = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(error.contains("no such pod here"), "{error}");
}

#[test]
fn what_is_served_and_sent_has_the_figures_of_the_document() {
    let host = root().join("fixtures/hosts/6.8-crio-systemd");
    let document = json(&host);
    let node = &document["node"];
    let name = node["name"].as_str().unwrap();
    let uid = "d757cf9d-1256-4c5a-abe2-5520cb3b6505";
    let pods = document["pods"].as_array().unwrap();
    let pod = pods.iter().find(|pod| pod["uid"] == uid).unwrap();
    let lines = |format: &str| -> Vec<Value> {
        let text = replayed(&host, &["--format", format]);
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };

    let requests = lines("resource-api");
    let of_node = &requests[0];
    assert_eq!(of_node["path"], format!("/api/nodes/{name}/metrics"));
    assert_eq!(of_node["body"]["cpu_millicores"], node["cpu_millicores"]);
    let of_pod = requests.iter().find(|request| request["body"]["pod_uid"] == uid).unwrap();
    assert!(of_pod["path"].as_str().unwrap().starts_with("/api/namespaces/"), "{of_pod}");

    let requests = lines("pod-batch");
    let paths: BTreeSet<&str> =
        requests.iter().map(|request| request["path"].as_str().unwrap()).collect();
    assert_eq!(paths, BTreeSet::from(["/api/v1/metrics/nodes", "/api/v1/metrics/pods"]));
    // As an endpoint has it by default.
    assert!(requests.iter().all(|request| request["body"]["cluster_id"] == "default"));

    let cpu_usec = pod["cpu_usage_usec"].as_u64().unwrap();
    let requests = lines("remote-write-json");
    let all = requests.iter().flat_map(|request| {
        assert_eq!(request["path"], "");
        request["body"]["timeseries"].as_array().unwrap()
    });
    let found = all.clone().find(|series| {
        let labels = &series["labels"];
        labels["__name__"] == "k8s_pod_cpu_time_seconds_total" && labels["uid"] == uid
    });
    let found = found.unwrap();
    assert_eq!(found["labels"]["instance"], name);
    let value = found["samples"].as_array().unwrap().last().unwrap()["value"].as_f64().unwrap();
    #[expect(clippy::cast_precision_loss, reason = "some seconds")]
    let expected = cpu_usec as f64 / 1e6;
    assert!((value - expected).abs() < 1e-9, "{value} {cpu_usec}");

    let text = replayed(&host, &["--format", "openmetrics"]);
    assert!(text.ends_with("\n# EOF\n"));
    let series = text.lines().filter(|line| !line.starts_with('#') && !line.contains("_created{"));
    assert_eq!(series.count(), all.count());
    let line = text
        .lines()
        .find(|line| line.starts_with("k8s_pod_cpu_time_seconds_total{") && line.contains(uid));
    let shown: f64 = line.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!((shown - expected).abs() < 1e-9, "{shown} {cpu_usec}");
}

/// Each flag beside each format: it has an effect, or the error names those where it has one.
#[test]
fn a_flag_without_effect_is_refused_with_the_formats_that_it_is_for() {
    let rows = ["table", "json", "ndjson"];
    let others = [
        "metrics-k8s-io",
        "stats-summary",
        "otlp-json",
        "openmetrics",
        "remote-write-json",
        "resource-api",
        "pod-batch",
        "pod-lifecycle",
    ];
    let help = String::from_utf8(dump(&["--help"]).stdout).unwrap();
    for format in rows.iter().chain(&others) {
        assert!(help.contains(&format!("- {format}")), "{format}: {help}");
    }
    let listed = help.split("--format").nth(1).unwrap().split("--top").next().unwrap();
    assert_eq!(listed.matches("- ").count(), rows.len() + others.len(), "{listed}");

    let host = root().join("fixtures/hosts/7.2-containerd-systemd");
    let host = host.to_str().unwrap();
    let of_table: &[&str] = &["table"];
    for (flag, value, formats) in [
        ("--top", "3", &rows[..]),
        ("--sort", "memory", &rows),
        ("--pod", "shop/exact", &rows),
        ("--unit", "kubelet.service", &rows),
        ("--namespace", "shop", &rows),
        ("--process", "kubelet", &rows),
        ("--balance", "", of_table),
        ("--gaps", "", of_table),
        ("--cmdline", "", &rows),
        ("--color", "never", of_table),
    ] {
        for format in rows.iter().chain(&others) {
            let mut arguments = vec!["--format", format, flag];
            arguments.extend((!value.is_empty()).then_some(value));
            // Command lines are not in a capture.
            let place =
                if flag == "--cmdline" { ["--interval", "100ms"] } else { ["--replay", host] };
            arguments.extend(place);
            if formats.contains(format) {
                printed(&arguments);
                continue;
            }
            if flag == "--cmdline" {
                arguments.truncate(arguments.len() - 2);
            }
            let output = dump(&arguments);
            assert_eq!(output.status.code(), Some(2), "{arguments:?}");
            assert!(output.stdout.is_empty(), "{arguments:?}");
            let allowed = formats.join(", ");
            let expected = format!(
                "nodetally: {flag} has no effect with --format {format}; allowed: {allowed}\n"
            );
            assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
        }
    }
    for (flag, value) in [
        ("--interval", Some("2s")),
        ("--watch", None),
        ("--user", Some("root")),
        ("--cmdline", None),
    ] {
        let mut arguments = vec!["--replay", host, flag];
        arguments.extend(value);
        let output = dump(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let expected = format!(
            "nodetally: {flag} has no effect with --replay, which shows two captured instants\n"
        );
        assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
    }
}

#[test]
fn a_format_without_anything_to_print_says_why_and_what_to_set() {
    let bare = root().join("fixtures/hosts/6.8-crio-systemd");
    let replay = vec!["--replay", bare.to_str().unwrap()];
    let live = vec!["--interval", "100ms"];
    let kubelet = [
        ("NODETALLY_DIRECTORY_SOURCES", "kubelet"),
        ("NODETALLY_DIRECTORY_KUBELET_URL", "https://127.0.0.1:1"),
    ];
    let kubernetes = [
        ("NODETALLY_DIRECTORY_SOURCES", "kubernetes"),
        ("NODETALLY_DIRECTORY_KUBECONFIG", "/nonexistent/kubeconfig"),
    ];
    for (format, arguments, environment, part) in [
        ("pod-lifecycle", &replay, &[][..], "the capture has no pod with an address; its pods are"),
        ("pod-lifecycle", &live, &[], "set directory.sources to [\"kubernetes\"] or [\"kubelet\"]"),
        (
            "pod-lifecycle",
            &live,
            &[("NODETALLY_DIRECTORY_SOURCES", "cri")],
            "no source of names knows the addresses of pods",
        ),
        ("pod-lifecycle", &live, &kubelet, "the source of names kubelet fails: "),
        ("pod-batch", &live, &kubernetes, "the source of names kubernetes fails: "),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_nodetally"))
            .env_clear()
            .envs(environment.iter().copied())
            .args(["dump", "--format", format])
            .args(arguments)
            .output()
            .unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{line}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "", "{format} {arguments:?}");
        assert_eq!(line.lines().count(), 1, "{line}");
        let begin = format!("nodetally: --format {format} has nothing to print: ");
        assert!(line.starts_with(&begin) && line.contains(part), "{line}");
    }
}

#[test]
fn a_list_of_names_says_how_many_pods_it_leaves_out() {
    let said = |host: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_nodetally"))
            .env_clear()
            .args(["dump", "--format", "metrics-k8s-io", "--replay"])
            .arg(root().join("fixtures/hosts").join(host))
            .output()
            .unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let unnamed = said("6.8-crio-systemd");
    assert_eq!(unnamed.lines().count(), 1, "{unnamed}");
    assert!(
        unnamed.contains(" pods: their names are not known; directory.sources sets"),
        "{unnamed}"
    );
    let pods = unnamed.split(" leaves out ").nth(1).unwrap().split(" pods").next().unwrap();
    let (left_out, all) = pods.split_once(" of ").unwrap();
    assert!(left_out == all && all != "0", "{unnamed}");
    // Its capture has the names.
    assert_eq!(said("7.2-containerd-systemd"), "");
}

#[test]
fn a_host_is_a_node_of_kubernetes_in_every_form_or_in_none() {
    for (name, is_node) in [("6.8-crio-systemd", true), ("6.12-podman-bare", false)] {
        let host = root().join("fixtures/hosts").join(name);
        let text = replayed(&host, &["--format", "openmetrics"]);
        let series = text.lines().find(|line| line.starts_with("k8s_node_memory_rss_bytes{"));
        let series = series.map(|line| line.rsplit(' ').next().unwrap().to_owned());
        let summary = replayed(&host, &["--format", "stats-summary"]);
        let summary: Value = serde_json::from_str(&summary).unwrap();
        let summary = summary["node"]["memory"]["rssBytes"].as_u64();
        assert_eq!(series, summary.map(|bytes| bytes.to_string()), "{name}");
        assert_eq!(series.is_some(), is_node, "{name}");
    }
}
