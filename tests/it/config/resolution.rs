//! Defaults, file, environment and flags in rising order.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nodetally::config::{
    Compression, Counters, Destination, DirectorySource, Durability, FileChoice, KEYS, LogLevel,
    Origin, Settings, StalePolicy, StoreLocation, UnknownPods, file_choice, keys,
};
use nodetally::quantity::Bytes;

use crate::config::{EVERY_KEY, from_file, inputs};

#[test]
fn with_nothing_set_everything_has_its_documented_default() {
    let settings = Settings::resolve(inputs(None, &[])).unwrap();
    assert_eq!(settings.node.name, "box");
    assert_eq!(settings.origins.of(&keys::NODE_NAME), &Origin::HostName);
    assert_eq!(settings.sampling.interval, Duration::from_secs(15));
    assert!(!settings.sampling.process_io && !settings.sampling.cmdline);
    assert!(settings.sampling.tcp_sockets);
    assert_eq!(settings.paths.procfs, Path::new("/proc"));
    assert_eq!(settings.paths.sysfs, Path::new("/sys"));
    assert_eq!(settings.paths.cgroupfs, None);
    assert_eq!(settings.paths.rootfs, Path::new("/"));
    assert_eq!(settings.state.dir.as_deref(), Some(Path::new("/run/nodetally")));
    assert_eq!(settings.spool.dir.as_deref(), Some(Path::new("/var/lib/nodetally/spool")));
    assert_eq!(settings.log.level, LogLevel::Info);
    assert!(settings.endpoints.is_empty() && settings.uses_embedded_receiver());
    assert_eq!(settings.receiver.listen, SocketAddr::from(([127, 0, 0, 1], 7643)));
    let store = Path::new("/var/lib/nodetally/receiver.db");
    assert_eq!(settings.receiver.store, Some(StoreLocation::File(store.into())));
    assert_eq!(settings.receiver.retention, Duration::from_secs(90 * 86_400));
    assert_eq!(settings.receiver.stale_after, Duration::from_secs(60));
}

#[test]
fn an_endpoint_has_its_documented_defaults_and_turns_the_receiver_off() {
    let settings = from_file("[[endpoint]]\nname = \"a\"\nurl = \"http://host:5000\"\n");
    assert!(!settings.uses_embedded_receiver());
    let endpoint = &settings.endpoints[0];
    assert_eq!(endpoint.name, "a");
    assert_eq!(endpoint.dialect.as_str(), "resource-api");
    assert_eq!(endpoint.url.to_string(), "http://host:5000/");
    assert_eq!(endpoint.counters, Counters::Delta);
    assert_eq!(endpoint.timeout, Duration::from_secs(10));
    assert_eq!(endpoint.concurrency, 8);
    assert_eq!(endpoint.queue_bytes, Bytes::from_bytes(16 * 1024 * 1024));
    let waiting = &endpoint.waiting;
    assert_eq!(waiting.durability, Durability::Disk);
    assert_eq!(waiting.spool_bytes, Bytes::from_bytes(256 << 20));
    assert_eq!(waiting.spool_age, Duration::from_secs(24 * 3600));
    assert_eq!((waiting.stale, waiting.stale_after), (StalePolicy::Add, Duration::from_secs(60)));
    assert_eq!((waiting.tries_max, waiting.spread), (3, Duration::from_millis(7500)));
    assert_eq!(endpoint.unknown_pods, UnknownPods::Uid);
    assert_eq!(endpoint.unknown_namespace, "unknown");
    assert_eq!(endpoint.bearer_token_file, None);
}

#[test]
fn every_key_of_a_file_reaches_the_settings() {
    let settings = from_file(EVERY_KEY);
    assert_eq!(settings.node.name, "worker-1");
    assert_eq!(settings.sampling.interval, Duration::from_secs(90));
    assert!(settings.sampling.process_io && settings.sampling.cmdline);
    assert!(!settings.sampling.tcp_sockets);
    assert_eq!(settings.paths.procfs, Path::new("/host/proc"));
    assert_eq!(settings.paths.sysfs, Path::new("/host/sys"));
    assert_eq!(settings.paths.cgroupfs.as_deref(), Some(Path::new("/host/sys/fs/cgroup")));
    assert_eq!(settings.paths.rootfs, Path::new("/host"));
    assert_eq!(settings.state.dir.as_deref(), Some(Path::new("/var/lib/odd \"name\"\\")));
    assert_eq!(settings.log.level, LogLevel::Debug);
    let endpoint = &settings.endpoints[0];
    assert_eq!(endpoint.counters, Counters::Cumulative);
    assert_eq!(endpoint.timeout, Duration::from_secs(2));
    assert_eq!(endpoint.concurrency, 16);
    assert_eq!(endpoint.queue_bytes, Bytes::from_bytes(100_000));
    let waiting = &endpoint.waiting;
    assert_eq!(waiting.durability, Durability::Memory);
    assert_eq!(waiting.spool_bytes, Bytes::from_bytes(1 << 30));
    assert_eq!(waiting.spool_age, Duration::from_secs(7200));
    assert_eq!((waiting.tries_max, waiting.spread), (5, Duration::from_secs(3)));
    assert_eq!(settings.spool.dir.as_deref(), Some(Path::new("/data/spool")));
    assert_eq!(endpoint.unknown_pods, UnknownPods::Skip);
    assert_eq!(endpoint.unknown_namespace, "nowhere");
    assert_eq!(endpoint.bearer_token_file.as_deref(), Some(Path::new("/etc/nodetally/token")));
    let trust = &endpoint.trust;
    assert_eq!(trust.ca_file.as_deref(), Some(Path::new("/etc/nodetally/ca.pem")));
    let client = trust.client_certificate.as_ref().unwrap();
    assert_eq!(client.certificate, Path::new("/etc/nodetally/client.pem"));
    assert_eq!(client.key, Path::new("/etc/nodetally/client.key"));
    assert_eq!(trust.server_name.as_deref(), Some("metrics.internal"));
    assert_eq!(trust.compression, Compression::Zstd);
    let other = &settings.endpoints[1];
    let late = (other.waiting.stale, other.waiting.stale_after);
    assert_eq!(late, (StalePolicy::Send, Duration::from_secs(600)));
    assert_eq!(other.trust.bearer_token_env.as_deref(), Some("BROKER_TOKEN"));
    let collector = &settings.endpoints[2];
    assert_eq!(collector.counters, Counters::Delta);
    assert_eq!(collector.max_request_bytes, Bytes::from_bytes(1 << 20));
    assert_eq!(collector.trust.compression, Compression::Gzip);
    let header = &collector.trust.headers[0];
    assert_eq!((header.name.as_str(), header.value.as_str()), ("X-Scope-OrgID", "(hidden)"));
    let file = &collector.trust.header_files[0];
    assert_eq!((file.name.as_str(), &*file.file), ("X-API-Key", Path::new("/etc/nodetally/key")));
    let lines = &settings.endpoints[4];
    assert_eq!(lines.url, Destination::File("/var/log/a b".into()));
    let rotation = lines.rotation.unwrap();
    assert_eq!((rotation.bytes, rotation.keep), (Bytes::from_bytes(2 << 20), 3));
    assert_eq!(settings.receiver.listen, "[::1]:0".parse().unwrap());
    assert_eq!(settings.receiver.store, Some(StoreLocation::File("/var/lib/receiver.db".into())));
    assert_eq!(settings.receiver.retention, Duration::from_secs(7200));
    assert_eq!(settings.receiver.stale_after, Duration::from_secs(90));
    // A key that the table has and this file has not would go unseen.
    for key in KEYS {
        let of_endpoints = settings.endpoints.iter().map(|endpoint| &endpoint.origins);
        let mut origins = of_endpoints.chain([&settings.origins]).map(|origins| origins.of(key));
        let is_there = origins.any(|origin| matches!(origin, Origin::File { .. }));
        assert!(is_there, "{} is not in the file", key.path());
    }
}

#[test]
fn the_environment_overrides_the_file_and_flags_override_both() {
    let file = "[sampling]\ninterval = \"20s\"\n[log]\nlevel = \"warn\"\n[paths]\nsysfs = \"/s\"";
    let environment =
        [("NODETALLY_SAMPLING_INTERVAL", "30s"), ("NODETALLY_LOG_LEVEL", "error"), ("PATH", "/")];
    let mut inputs = inputs(Some(file), &environment);
    inputs.flags.set(&keys::SAMPLING_INTERVAL, "40s");
    let settings = Settings::resolve(inputs).unwrap();
    assert_eq!(settings.sampling.interval, Duration::from_secs(40));
    assert_eq!(settings.log.level, LogLevel::Error);
    assert_eq!(settings.paths.sysfs, Path::new("/s"));
    let origin = |key| settings.origins.of(key).to_string();
    assert_eq!(origin(&keys::SAMPLING_INTERVAL), "--interval");
    assert_eq!(origin(&keys::LOG_LEVEL), "environment NODETALLY_LOG_LEVEL");
    assert_eq!(origin(&keys::PATHS_SYSFS), "nodetally.toml:6");
    assert_eq!(origin(&keys::PATHS_PROCFS), "default");
}

#[test]
fn the_nodes_name_rises_from_the_host_over_node_name_to_the_settings() {
    let name =
        |file, environment: &[_]| Settings::resolve(inputs(file, environment)).unwrap().node.name;
    let file = Some("node.name = \"of-file\"");
    assert_eq!(name(None, &[("NODE_NAME", "of-pod")]), "of-pod");
    assert_eq!(name(None, &[("NODE_NAME", "")]), "box");
    assert_eq!(name(file, &[("NODE_NAME", "of-pod")]), "of-file");
    let both = [("NODE_NAME", "of-pod"), ("NODETALLY_NODE_NAME", "of-env")];
    assert_eq!(name(file, &both), "of-env");
}

#[test]
fn state_goes_where_the_user_may_write_and_a_reboot_clears() {
    let dir = |is_root, xdg: Option<&str>, flag: Option<&str>| {
        let mut inputs = inputs(None, &[]);
        inputs.is_root = is_root;
        inputs.xdg_runtime_dir = xdg.map(str::to_owned);
        if let Some(flag) = flag {
            inputs.flags.set(&keys::STATE_DIR, flag);
        }
        Settings::resolve(inputs).unwrap().state.dir
    };
    assert_eq!(dir(true, Some("/run/user/0"), None), Some(PathBuf::from("/run/nodetally")));
    let own = Some(PathBuf::from("/run/user/7/nodetally"));
    assert_eq!(dir(false, Some("/run/user/7"), None), own);
    assert_eq!(dir(false, Some("run/user/7"), None), None);
    assert_eq!(dir(false, None, None), None);
    assert_eq!(dir(true, None, Some("none")), None);
    assert_eq!(dir(true, None, Some("")), None);
    assert_eq!(dir(false, None, Some("here")), Some(PathBuf::from("here")));
}

#[test]
fn what_waits_goes_where_it_outlives_a_boot_and_beside_a_state_that_was_put_elsewhere() {
    let of = |is_root, variables: &[(&str, &str)], homes: [Option<&str>; 2]| {
        let mut inputs = inputs(None, variables);
        inputs.is_root = is_root;
        [inputs.xdg_state_home, inputs.home] = homes.map(|home| home.map(str::to_owned));
        Settings::resolve(inputs).unwrap().spool.dir
    };
    let path = |path: &str| Some(PathBuf::from(path));
    assert_eq!(of(true, &[], [None, Some("/root")]), path("/var/lib/nodetally/spool"));
    let by_systemd = [("STATE_DIRECTORY", "/var/lib/a:/var/lib/b"), ("NODETALLY_STATE_DIR", "/s")];
    assert_eq!(of(true, &by_systemd, [None, None]), path("/var/lib/a/spool"));
    assert_eq!(of(true, &[("NODETALLY_STATE_DIR", "/s")], [None, None]), path("/s/spool"));
    assert_eq!(of(true, &[("NODETALLY_STATE_DIR", "none")], [None, None]), None);
    let homes = [Some("/x"), Some("/home/u")];
    assert_eq!(of(false, &[], homes), path("/x/nodetally/spool"));
    let homes = [Some("x"), Some("/home/u")];
    assert_eq!(of(false, &[], homes), path("/home/u/.local/state/nodetally/spool"));
    assert_eq!(of(false, &[], [None, None]), None);
    let set = [("NODETALLY_SPOOL_DIR", "/data"), ("STATE_DIRECTORY", "/var/lib/a")];
    assert_eq!(of(true, &set, [None, None]), path("/data"));
    assert_eq!(of(true, &[("NODETALLY_SPOOL_DIR", "none")], [None, None]), None);
}

#[test]
fn without_a_spool_samples_wait_in_memory_and_running_totals_are_never_added() {
    let waiting = |file: &str| {
        let text = format!("{file}\n[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\n");
        from_file(&text).endpoints[0].waiting.clone()
    };
    assert_eq!(waiting("spool.dir = \"none\"").durability, Durability::Memory);
    let slow = waiting("sampling.interval = \"1m\"");
    assert_eq!(slow.stale_after, Duration::from_secs(240));
    let endpoint = "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\ncounters = \"cumulative\"";
    assert_eq!(from_file(endpoint).endpoints[0].waiting.stale, StalePolicy::Drop);
}

#[test]
fn a_long_interval_does_not_make_every_node_stale() {
    let stale_after = |file| from_file(file).receiver.stale_after;
    assert_eq!(stale_after("sampling.interval = \"5m\""), Duration::from_secs(1200));
    let explicit = "sampling.interval = \"5m\"\nreceiver.stale_after = \"1s\"";
    assert_eq!(stale_after(explicit), Duration::from_secs(1));
}

#[test]
fn the_environment_alone_describes_an_endpoint() {
    let environment = [
        ("NODETALLY_ENDPOINT_URL", "http://host"),
        ("NODETALLY_ENDPOINT_CONCURRENCY", "3"),
        ("NODETALLY_ENDPOINT_QUEUE_BYTES", "1MiB"),
    ];
    let file = "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\n";
    let settings = Settings::resolve(inputs(Some(file), &environment)).unwrap();
    let [first, second] = settings.endpoints.as_slice() else { panic!("{settings:?}") };
    assert_eq!((first.name.as_str(), second.name.as_str()), ("a", "env"));
    assert_eq!((first.concurrency, second.concurrency), (8, 3));
    assert_eq!(second.queue_bytes, Bytes::from_bytes(1 << 20));
}

#[test]
fn a_service_named_nodetally_in_the_pods_namespace_breaks_nothing() {
    let environment = [
        ("NODETALLY_PORT", "tcp://10.0.0.1:7643"),
        ("NODETALLY_PORT_7643_TCP_PORT", "7643"),
        ("NODETALLY_SERVICE_HOST", "10.0.0.1"),
    ];
    assert!(Settings::resolve(inputs(None, &environment)).is_ok());
}

#[test]
fn the_files_path_comes_from_the_flag_before_the_variable() {
    let environment = [("NODETALLY_CONFIG".to_owned(), "/e".to_owned())];
    let named = |path: &str| FileChoice::Named(PathBuf::from(path));
    assert_eq!(file_choice(Some(Path::new("/f")), &environment), named("/f"));
    assert_eq!(file_choice(None, &environment), named("/e"));
    assert_eq!(file_choice(Some(Path::new("none")), &environment), FileChoice::None);
    assert_eq!(file_choice(None, &[]), FileChoice::Default);
    let empty = [("NODETALLY_CONFIG".to_owned(), String::new())];
    assert_eq!(file_choice(None, &empty), FileChoice::Default);
}

#[test]
fn a_credential_lies_where_systemd_put_it() {
    let endpoint = |file: &str| {
        format!("[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\nbearer_token_file = \"{file}\"")
    };
    let variable = ("CREDENTIALS_DIRECTORY", "/run/credentials/nodetally.service");
    for (written, found) in [
        ("${CREDENTIALS_DIRECTORY}/token", "/run/credentials/nodetally.service/token"),
        // Only in front, and never a part of a name.
        ("/etc/${CREDENTIALS_DIRECTORY}/token", "/etc/${CREDENTIALS_DIRECTORY}/token"),
        ("/etc/token", "/etc/token"),
    ] {
        let settings = Settings::resolve(inputs(Some(&endpoint(written)), &[variable])).unwrap();
        assert_eq!(settings.endpoints[0].bearer_token_file.as_deref(), Some(Path::new(found)));
    }
    let by_variables = [
        variable,
        ("NODETALLY_ENDPOINT_URL", "http://a"),
        ("NODETALLY_ENDPOINT_BEARER_TOKEN_FILE", "${CREDENTIALS_DIRECTORY}/token"),
    ];
    let settings = Settings::resolve(inputs(None, &by_variables)).unwrap();
    let file = settings.endpoints[0].bearer_token_file.as_deref();
    assert_eq!(file, Some(Path::new("/run/credentials/nodetally.service/token")));
}

#[test]
fn in_a_pod_the_api_server_is_asked_and_unknown_pods_wait_for_their_names() {
    let endpoint = "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"";
    let bare = Settings::resolve(inputs(Some(endpoint), &[])).unwrap();
    assert_eq!(bare.directory.sources, []);
    assert_eq!(bare.endpoints[0].unknown_pods, UnknownPods::Uid);
    let variables = [("KUBERNETES_SERVICE_HOST", "10.96.0.1")];
    let in_pod = Settings::resolve(inputs(Some(endpoint), &variables)).unwrap();
    assert_eq!(in_pod.directory.sources, [DirectorySource::Kubernetes]);
    assert_eq!(in_pod.endpoints[0].unknown_pods, UnknownPods::Wait);
    let variables = [("NODETALLY_DIRECTORY_SOURCES", "file,docker")];
    let no_pods = Settings::resolve(inputs(Some(endpoint), &variables)).unwrap();
    assert_eq!(no_pods.endpoints[0].unknown_pods, UnknownPods::Uid, "neither knows a pod");
    let variables = [("NODETALLY_DIRECTORY_SOURCES", "cri, file")];
    let listed = Settings::resolve(inputs(None, &variables)).unwrap();
    assert_eq!(listed.directory.sources, [DirectorySource::Cri, DirectorySource::File]);
}
