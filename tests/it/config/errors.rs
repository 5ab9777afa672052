//! Configurations that are refused, each with its exact error line.

use clap::Parser as _;
use nodetally::cli::args::Cli;
use nodetally::config::{KEYS, Settings, keys};

use crate::config::{error, from_file, inputs};

/// A bad file, and the line that a person gets for it.
const BAD_FILES: &[(&str, &str)] = &[
    (
        "[sampling]\n\n\n\n\n\ninterval = \"15\"",
        "nodetally.toml:7: sampling.interval = \"15\": not a duration; allowed: a number with a \
         unit from 1s to 1h, such as \"15s\" or \"1m 30s\"",
    ),
    (
        "[sampling]\ninterval = 15",
        "nodetally.toml:2: sampling.interval = 15: found an integer; allowed: a number with a \
         unit from 1s to 1h, such as \"15s\" or \"1m 30s\"",
    ),
    (
        "sampling = { interval = \"999ms\" }",
        "nodetally.toml:1: sampling.interval = \"999ms\": too small; allowed: a number with a \
         unit from 1s to 1h, such as \"15s\" or \"1m 30s\"",
    ),
    (
        "sampling.interval = \"1h 1s\"",
        "nodetally.toml:1: sampling.interval = \"1h 1s\": too large; allowed: a number with a \
         unit from 1s to 1h, such as \"15s\" or \"1m 30s\"",
    ),
    (
        "[sampling]\ncmdline = \"yes\"",
        "nodetally.toml:2: sampling.cmdline = \"yes\": found a string; allowed: true or false",
    ),
    (
        "[sampling]\nintervall = \"15s\"",
        "nodetally.toml:2: sampling.intervall: unknown key, did you mean \"interval\"?; allowed \
         in [sampling]: interval, process_io, tcp_sockets, cmdline",
    ),
    (
        "[receiver]\ninterval = \"15s\"",
        "nodetally.toml:2: receiver.interval: unknown key, did you mean \"sampling.interval\"?; \
         allowed in [receiver]: listen, tls_certificate_file, tls_key_file, tokens_file, \
         requestheader_client_ca_file, requestheader_allowed_names, token_review, insecure, store, \
         retention, stale_after",
    ),
    (
        "[receiver]\nrequestheader_client_ca_file = \"/etc/ca.pem\"",
        "nodetally.toml:2: receiver.requestheader_client_ca_file = \"/etc/ca.pem\": \
         receiver.tls_certificate_file is not set; allowed: the absolute path of a file of PEM \
         certificates, or \"${CREDENTIALS_DIRECTORY}/NAME\" for a credential from systemd; together \
         with tls_certificate_file and tokens_file",
    ),
    (
        "[receiver]\ntoken_review = true",
        "nodetally.toml:2: receiver.token_review = true: receiver.tokens_file is not set; allowed: \
         true or false; together with tokens_file",
    ),
    (
        "[receiver]\nrequestheader_allowed_names = [\"aggregator\"]",
        "nodetally.toml:2: receiver.requestheader_allowed_names = [\"aggregator\"]: \
         requestheader_client_ca_file is not set; allowed: a list of up to 64 common names; in a \
         variable with commas between; together with requestheader_client_ca_file",
    ),
    (
        "[log]\n\"a\\nb\" = 1",
        "nodetally.toml:2: log.a\\nb: unknown key; allowed in [log]: level, format",
    ),
    (
        "[samplin]\ninterval = \"15s\"",
        "nodetally.toml:1: samplin: unknown section, did you mean \"sampling\"?; sections: node, \
         sampling, paths, directory, cluster, filesystem, state, spool, status, metrics, log, \
         endpoint, receiver",
    ),
    (
        "interval = \"15s\"",
        "nodetally.toml:1: interval: unknown key outside any section, did you mean \
         \"sampling.interval\"?; sections: node, sampling, paths, directory, cluster, \
         filesystem, state, spool, status, metrics, log, \
         endpoint, receiver",
    ),
    (
        "log = \"debug\"",
        "nodetally.toml:1: log = \"debug\": found a string; allowed: a table, [log] with level, format",
    ),
    (
        "[log]\nlevel = \"loud\"",
        "nodetally.toml:2: log.level = \"loud\": not one of the known words; allowed: \"error\", \
         \"warn\", \"info\", \"debug\" or \"trace\"",
    ),
    (
        "[log]\nlevel = [\"info\"]",
        "nodetally.toml:2: log.level = [\"info\"]: found an array; allowed: \"error\", \"warn\", \
         \"info\", \"debug\" or \"trace\"",
    ),
    (
        "[paths]\nprocfs = \"\"",
        "nodetally.toml:2: paths.procfs = \"\": empty; allowed: a directory's path",
    ),
    (
        "[node]\nname = \"..\"",
        "nodetally.toml:2: node.name = \"..\": not a plain name; allowed: 1 to 253 letters, \
         digits, \".\", \"_\" and \"-\", starting with a letter or digit",
    ),
    (
        "[receiver]\nlisten = \"localhost\"",
        "nodetally.toml:2: receiver.listen = \"localhost\": not an address to listen on; \
         allowed: an IP address or a host's name, and a port, such as \"127.0.0.1:7643\" or \"[::1]:7643\"",
    ),
    (
        "[directory]\nkubelet_url = \"http://127.0.0.1:10255\"",
        "nodetally.toml:2: directory.kubelet_url = \"http://127.0.0.1:10255\": not https, and a \
         token goes there; allowed: an https:// URL without a user, password or fragment, such as \
         \"https://127.0.0.1:10250\"",
    ),
    (
        "[receiver]\nretention = 1.5",
        "nodetally.toml:2: receiver.retention = 1.5: found a float; allowed: a number with a unit \
         from 1m to 90d, such as \"1h\" or \"30days\"",
    ),
    (
        "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\ndialect = \"pod-batch\"\nstale = \"drop\"",
        "nodetally.toml:5: endpoint.stale = \"drop\": pod-batch carries its own time; allowed: \
         \"add\", \"drop\" or \"send\"; of resource-api alone; \"add\" only with counters = \
         \"delta\"",
    ),
    (
        "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\ncounters = \"cumulative\"\nstale = \"add\"",
        "nodetally.toml:5: endpoint.stale = \"add\": running totals do not add up; allowed: \
         \"add\", \"drop\" or \"send\"; of resource-api alone; \"add\" only with counters = \
         \"delta\"",
    ),
    (
        "spool.dir = \"none\"\n[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\ndurability = \"disk\"",
        "nodetally.toml:5: endpoint.durability = \"disk\": spool.dir is \"none\"; allowed: \"disk\" \
         or \"memory\"",
    ),
    (
        "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\nspread = \"16s\"",
        "nodetally.toml:4: endpoint.spread = \"16s\": too large; allowed: a number with a unit \
         from 0s to 1h, such as \"5s\"; at most sampling.interval",
    ),
    (
        "[endpoint]\nname = \"a\"",
        "nodetally.toml:1: endpoint: not an array of tables; write [[endpoint]], once per endpoint",
    ),
    (
        "\n[[endpoint]]\nurl = \"http://a\"",
        "nodetally.toml:2: endpoint.name is missing; allowed: 1 to 63 letters, digits, \".\", \
         \"_\" and \"-\", starting with a letter or digit",
    ),
    (
        "\n[[endpoint]]\nname = \"a\"",
        "nodetally.toml:2: endpoint.url is missing; allowed: an http:// or https:// URL without a \
         user, password or fragment, such as \"http://metrics.example.com:5000\"; with the dialect \
         \"ndjson\" also \"stdout:\" or \"file:///PATH\"",
    ),
    (
        "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\n[[endpoint]]\nurl = \"http://b\"\n\
         name = \"a\"",
        "nodetally.toml:6: endpoint.name = \"a\": also the name of the endpoint at \
         nodetally.toml:2; allowed: a name of its own",
    ),
    (
        "[[endpoint]]\nname = \"a\"\ndialect = \"json\"\nurl = \"http://a\"",
        "nodetally.toml:3: endpoint.dialect = \"json\": not one of the known words, did you \
         mean \"ndjson\"?; allowed: \
         \"resource-api\", \"pod-batch\", \"pod-lifecycle\", \"otlp\", \
         \"prometheus-remote-write\", \"ndjson\" or \"samples\"",
    ),
    (
        "[[endpoint]]\nname = \"a\"\ndialect = \"ndjson\"\nurl = \"s3://bucket\"",
        "nodetally.toml:4: endpoint.url = \"s3://bucket\": neither http nor https; allowed: an \
         http:// or https:// URL without a user, password or fragment, such as \
         \"http://metrics.example.com:5000\"; with the dialect \"ndjson\" also \"stdout:\" or \
         \"file:///PATH\"",
    ),
    (
        "[[endpoint]]\nname = \"a\"\ndialect = \"ndjson\"\nurl = \"file:var/x\"",
        "nodetally.toml:4: endpoint.url = \"file:var/x\": must be file:// and an absolute path \
         without a host, such as file:///var/log/x.ndjson; allowed: an http:// or https:// URL \
         without a user, password or fragment, such as \"http://metrics.example.com:5000\"; with \
         the dialect \"ndjson\" also \"stdout:\" or \"file:///PATH\"",
    ),
    (
        "[[endpoint]]\nname = \"a\"\ndialect = \"ndjson\"\nurl = \"stdout://\"",
        "nodetally.toml:4: endpoint.url = \"stdout://\": must be \"stdout:\" alone; allowed: an \
         http:// or https:// URL without a user, password or fragment, such as \
         \"http://metrics.example.com:5000\"; with the dialect \"ndjson\" also \"stdout:\" or \
         \"file:///PATH\"",
    ),
    (
        "[[endpoint]]\nname = \"a\"\ndialect = \"otlp\"\nurl = \"file:///x\"",
        "nodetally.toml:4: endpoint.url = \"file:///x\": otlp is sent to servers alone; allowed: \
         an http:// or https:// URL without a user, password or fragment, such as \
         \"http://metrics.example.com:5000\"; with the dialect \"ndjson\" also \"stdout:\" or \
         \"file:///PATH\"",
    ),
    (
        "[[endpoint]]\nname = \"a\"\ndialect = \"ndjson\"\nurl = \"http://a\"\ncounters = \"cumulative\"",
        "nodetally.toml:5: endpoint.counters = \"cumulative\": ndjson has amounts of the interval \
         alone; allowed: \"delta\" or \"cumulative\"; with the dialects \"resource-api\", \
         \"pod-batch\" and \"ndjson\"; with \"ndjson\" only \"delta\"",
    ),
    (
        "[[endpoint]]\nname = \"a\"\ndialect = \"ndjson\"\nurl = \"http://a\"\nrotate_keep = 3",
        "nodetally.toml:5: endpoint.rotate_keep = 3: the URL is none of a file; allowed: an \
         integer from 1 to 100; with a file:// URL and rotate_bytes",
    ),
    (
        "[[endpoint]]\nname = \"a\"\ndialect = \"ndjson\"\nurl = \"stdout:\"\nrotate_bytes = \"1MiB\"",
        "nodetally.toml:5: endpoint.rotate_bytes = \"1MiB\": the URL is none of a file; allowed: \
         from 1MiB to 64GiB: an integer of bytes, or a text such as \"64MiB\" (KiB, MiB or GiB), \
         or \"none\" where another program rotates the file; with a file:// URL",
    ),
    (
        "[[endpoint]]\nname = \"a\"\ndialect = \"ndjson\"\nurl = \"file:///x\"\nrotate_bytes = \
         \"none\"\nrotate_keep = 3",
        "nodetally.toml:6: endpoint.rotate_keep = 3: rotate_bytes is \"none\"; allowed: an \
         integer from 1 to 100; with a file:// URL and rotate_bytes",
    ),
    (
        "[[endpoint]]\nname = \"a\"\ndialect = \"ndjson\"\nurl = \"file:///x\"\nbearer_token_file = \"/t\"",
        "nodetally.toml:5: endpoint.bearer_token_file = (hidden): the URL is no server's, so \
         nothing is requested; allowed: the absolute path of a file that holds the token alone, \
         or \"${CREDENTIALS_DIRECTORY}/NAME\" for a credential from systemd",
    ),
    (
        "[[endpoint]]\nname = \"a\"\ndialect = \"ndjson\"\nurl = \"stdout:\"\nspool_age = \"1h\"",
        "nodetally.toml:5: endpoint.spool_age = \"1h\": the URL is no server's, so nothing is \
         requested; allowed: a number with a unit from 1m to 30d, such as \"24h\"",
    ),
    (
        "[[endpoint]]\nname = \"a\"\ndialect = \"ndjson\"\nurl = \
         \"file:///x\"\n[[endpoint]]\nname = \"b\"\ndialect = \"ndjson\"\nurl = \
         \"file:///y/../x\"",
        "nodetally.toml:8: endpoint.url = \"file:///x\": also that of the endpoint a; allowed: \
         one of its own",
    ),
    (
        "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\nprotocol = \"1.0\"",
        "nodetally.toml:4: endpoint.protocol = \"1.0\": resource-api has no such setting; allowed: \"auto\", \
         \"1.0\" or \"2.0\"; of prometheus-remote-write alone",
    ),
    (
        "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\ndialect = \"prometheus-remote-write\"\n\
         external_labels = [\"a=1\", \"__b=2\"]",
        "nodetally.toml:5: endpoint.external_labels = [\"a=1\", \"__b=2\"]: \"__b\" is no name of a \
         label in Prometheus; allowed: a list of up to 32 texts LABEL=VALUE; in a variable with \
         commas between; of prometheus-remote-write alone",
    ),
    (
        "[[endpoint]]\nname = \"a\"\nurl = \"http://me:hunter2@a\"",
        "nodetally.toml:3: endpoint.url = \"http://hidden\": names a user or password, which \
         belongs into a file: name that file in endpoint.bearer_token_file; allowed: an http:// \
         or https:// URL without a user, password or fragment, such as \
         \"http://metrics.example.com:5000\"; \
         with the dialect \"ndjson\" also \"stdout:\" or \"file:///PATH\"",
    ),
    (
        "[[endpoint]]\nname = \"a\"\nurl = \"http://a:70000/?key=hunter2\"",
        "nodetally.toml:3: endpoint.url = \"http://a:70000/?hidden\": not a URL (invalid port \
         number); allowed: an http:// or https:// URL without a user, password or fragment, such \
         as \"http://metrics.example.com:5000\"; \
         with the dialect \"ndjson\" also \"stdout:\" or \"file:///PATH\"",
    ),
    (
        "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\nbearer_token_file = \"hunter2\"",
        "nodetally.toml:4: endpoint.bearer_token_file = (hidden): not an absolute path; allowed: \
         the absolute path of a file that holds the token alone, or \
         \"${CREDENTIALS_DIRECTORY}/NAME\" for a credential from systemd",
    ),
    (
        "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\nbearer_token_file = \
         \"${CREDENTIALS_DIRECTORY}/token\"",
        "nodetally.toml:4: endpoint.bearer_token_file = (hidden): CREDENTIALS_DIRECTORY is not \
         set, so no credential is available (systemd sets it with LoadCredential=); allowed: \
         the absolute path of a file that holds the token alone, or \
         \"${CREDENTIALS_DIRECTORY}/NAME\" for a credential from systemd",
    ),
    (
        "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\nbearer_token_file = \"${CREDENTIALS_DIRECTORY}\"",
        "nodetally.toml:4: endpoint.bearer_token_file = (hidden): names no credential behind \
         ${CREDENTIALS_DIRECTORY}/; allowed: \
         the absolute path of a file that holds the token alone, or \
         \"${CREDENTIALS_DIRECTORY}/NAME\" for a credential from systemd",
    ),
    (
        "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\nbearer_token_file = \"$HOME/token\"",
        "nodetally.toml:4: endpoint.bearer_token_file = (hidden): begins with another variable \
         than ${CREDENTIALS_DIRECTORY}; allowed: \
         the absolute path of a file that holds the token alone, or \
         \"${CREDENTIALS_DIRECTORY}/NAME\" for a credential from systemd",
    ),
    (
        "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\nbearer_token = \"hunter2\"",
        "nodetally.toml:4: endpoint.bearer_token: unknown key, did you mean \
         \"bearer_token_env\"?; allowed in [[endpoint]]: name, dialect, url, rotate_bytes, rotate_keep, protocol, \
         external_labels, counters, temporality, max_request_bytes, timeout, concurrency, queue_bytes, durability, spool_bytes, spool_age, stale_after, stale, tries_max, \
         spread, unknown_pods, unknown_namespace, bearer_token_file, bearer_token_env, auth_header, \
         headers, header_files, ca_file, client_certificate_file, client_key_file, server_name, compression, namespaces, \
         namespaces_except, pod_selector, annotations, extras, client_errors",
    ),
    (
        "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\nbearer_token_file = \"/t\"\n\
         bearer_token_env = \"TOKEN\"",
        "nodetally.toml:5: endpoint.bearer_token_env = (hidden): endpoint.bearer_token_file is set \
         too (nodetally.toml:4); allowed: the name of an environment variable that holds the \
         token, which begins with another word than NODETALLY_; in place of bearer_token_file",
    ),
    (
        "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\nbearer_token_env = \"hunter-2\"",
        "nodetally.toml:4: endpoint.bearer_token_env = (hidden): not a variable's name; allowed: \
         the name of an environment variable that holds the token, which begins with another word \
         than NODETALLY_; in place of bearer_token_file",
    ),
    (
        "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\nca_file = \"/etc/ca.pem\"",
        "nodetally.toml:4: endpoint.ca_file = \"/etc/ca.pem\": the URL is none of TLS; allowed: \
         the absolute path of a file of PEM certificates, or \"${CREDENTIALS_DIRECTORY}/NAME\" for \
         a credential from systemd; with an https:// URL",
    ),
    (
        "[[endpoint]]\nname = \"a\"\nurl = \"https://a\"\nclient_key_file = \"/etc/key.pem\"",
        "nodetally.toml:4: endpoint.client_key_file = (hidden): its certificate is missing; \
         allowed: the absolute path of a PEM file without a passphrase, or \
         \"${CREDENTIALS_DIRECTORY}/NAME\" for a credential from systemd; together with \
         client_certificate_file, with an https:// URL",
    ),
    (
        "[[endpoint]]\nname = \"a\"\nurl = \"https://10.0.0.1\"\nserver_name = \"10.0.0.2\"",
        "nodetally.toml:4: endpoint.server_name = \"10.0.0.2\": not a DNS name; allowed: a DNS \
         name such as \"metrics.example.com\"; with an https:// URL",
    ),
    (
        "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\ncompression = \"gzip\"",
        "nodetally.toml:4: endpoint.compression = \"gzip\": servers of the resource API answer 500 \
         to a body that is compressed; allowed: \"none\", \"gzip\" or \"zstd\"; with the \
         dialects \"resource-api\" and \"prometheus-remote-write\" only \"none\"",
    ),
    (
        "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\nconcurrency = 65",
        "nodetally.toml:4: endpoint.concurrency = 65: too large; allowed: an integer from 1 to 64",
    ),
    (
        "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\nqueue_bytes = \"16MB\"",
        "nodetally.toml:4: endpoint.queue_bytes = \"16MB\": not an amount of bytes; allowed: from \
         64KiB to 1GiB: an integer of bytes, or a text such as \"16MiB\" (KiB, MiB or GiB)",
    ),
    (
        "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\nqueue_bytes = -1",
        "nodetally.toml:4: endpoint.queue_bytes = -1: too small; allowed: from 64KiB to 1GiB: an \
         integer of bytes, or a text such as \"16MiB\" (KiB, MiB or GiB)",
    ),
    (
        "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\nunknown_namespace = \"Kube\"",
        "nodetally.toml:4: endpoint.unknown_namespace = \"Kube\": not a namespace; allowed: 1 to \
         63 lower-case letters, digits and \"-\", starting and ending with a letter or digit",
    ),
];

#[test]
fn a_bad_file_is_answered_with_one_exact_line() {
    for (file, line) in BAD_FILES {
        assert_eq!(error(inputs(Some(file), &[])), *line);
    }
}

#[test]
fn bad_toml_is_answered_with_line_column_and_reason() {
    for (file, place) in [
        ("[sampling]\ninterval = \"15s", "nodetally.toml:2:"),
        ("[sampling]\nö = 1", "nodetally.toml:2:1: "),
        ("[log]\nlevel = \"a\"\nlevel = \"b\"", "nodetally.toml:3:1: "),
        ("[log\n", "nodetally.toml:1:5: "),
    ] {
        let line = error(inputs(Some(file), &[]));
        let reason = line.strip_prefix(place).unwrap_or_else(|| panic!("{line}"));
        assert!(reason.len() > 5 && !reason.contains('\n'), "{line}");
    }
}

#[test]
fn each_range_ends_where_its_line_says() {
    let at = |key: &str, value: &str| {
        let (section, name) = key.split_once('.').unwrap();
        let file = match section {
            "endpoint" => {
                format!("[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\n{name} = {value}")
            }
            _ => format!("{key} = {value}"),
        };
        Settings::resolve(inputs(Some(&file), &[])).is_ok()
    };
    for (key, below, least, most, above) in [
        ("sampling.interval", "\"999ms\"", "\"1s\"", "\"1h\"", "\"3601s\""),
        ("receiver.retention", "\"59s\"", "\"1m\"", "\"90days\"", "\"7776001s\""),
        ("receiver.stale_after", "\"999ms\"", "\"1s\"", "\"24h\"", "\"86401s\""),
        ("endpoint.timeout", "\"99ms\"", "\"100ms\"", "\"5m\"", "\"301s\""),
        ("endpoint.concurrency", "0", "1", "64", "65"),
        ("endpoint.queue_bytes", "65535", "\"64KiB\"", "\"1GiB\"", "1073741825"),
    ] {
        assert!(!at(key, below) && at(key, least) && at(key, most) && !at(key, above), "{key}");
    }
}

#[test]
fn bad_variables_and_flags_are_answered_with_one_exact_line() {
    let interval = "a number with a unit from 1s to 1h, such as \"15s\" or \"1m 30s\"";
    for (environment, line) in [
        (
            &[("NODETALLY_SAMPLING_INTERVAL", "x")][..],
            format!(
                "environment NODETALLY_SAMPLING_INTERVAL=\"x\": not a duration; allowed: {interval}"
            ),
        ),
        (
            &[("NODETALLY_INTERVAL", "2s"), ("NODETALLY_SAMPLING_INTERVAL", "2s")],
            "environment NODETALLY_SAMPLING_INTERVAL: NODETALLY_INTERVAL is set too and means the \
             same; allowed: one of them"
                .to_owned(),
        ),
        (
            &[("NODETALLY_LOGLEVEL", "hunter2")],
            "environment NODETALLY_LOGLEVEL: unknown variable, did you mean NODETALLY_LOG_LEVEL?; \
             `nodetally config --help` lists all"
                .to_owned(),
        ),
        (
            &[("NODETALLY_ENDPOINT_DIALECT", "resource-api")],
            "environment NODETALLY_ENDPOINT_DIALECT: an endpoint without an address; allowed: with \
             NODETALLY_ENDPOINT_URL beside it"
                .to_owned(),
        ),
        (
            &[("NODETALLY_ENDPOINT_CONCURRENCY", "many"), ("NODETALLY_ENDPOINT_URL", "http://a")],
            "environment NODETALLY_ENDPOINT_CONCURRENCY=\"many\": not an integer in range; \
             allowed: an integer from 1 to 64"
                .to_owned(),
        ),
        (
            &[("NODE_NAME", "a/b")],
            "environment NODE_NAME=\"a/b\": not a plain name; allowed: 1 to 253 letters, digits, \
             \".\", \"_\" and \"-\", starting with a letter or digit"
                .to_owned(),
        ),
    ] {
        assert_eq!(error(inputs(None, environment)), line);
    }

    let mut bad_flag = inputs(None, &[]);
    bad_flag.flags.set(&keys::SAMPLING_INTERVAL, "x");
    assert_eq!(error(bad_flag), format!("--interval \"x\": not a duration; allowed: {interval}"));

    let mut nameless = inputs(None, &[]);
    nameless.host_name = String::new();
    assert_eq!(
        error(nameless),
        "default: the host's name \"\": empty; allowed for node.name: 1 to 253 letters, digits, \
         \".\", \"_\" and \"-\", starting with a letter or digit"
    );

    let file = "[[endpoint]]\nname = \"env\"\nurl = \"http://a\"";
    assert_eq!(
        error(inputs(Some(file), &[("NODETALLY_ENDPOINT_URL", "http://b")])),
        "environment NODETALLY_ENDPOINT_URL: endpoint.name = \"env\": also the name of the \
         endpoint at nodetally.toml:2; allowed: a name of its own"
    );
}

#[test]
fn a_former_name_of_a_key_is_answered_with_the_new_one() {
    let mut count = 0;
    for key in KEYS {
        for former in key.former {
            let (section, name) = former.split_once('.').unwrap();
            let file = match section {
                "endpoint" => format!("[[endpoint]]\n{name} = 1"),
                _ => format!("[{section}]\n{name} = 1"),
            };
            let said = error(inputs(Some(&file), &[]));
            let wanted = format!("nodetally.toml:2: {former} is now called {}", key.path());
            assert!(said.lines().any(|line| line == wanted), "{said}");
            let variable = former.replace('.', "_").to_uppercase();
            assert_eq!(
                error(inputs(None, &[(&format!("NODETALLY_{variable}"), "x")])),
                format!("environment NODETALLY_{variable} is now called {}", key.environment[0])
            );
            count += 1;
        }
        for former in key.former_flags {
            let line = Cli::try_parse_from(["nodetally", "run", &format!("--{former}"), "x"])
                .unwrap_err()
                .to_string();
            let renamed = format!("--{former} is now called --{}", key.flag.unwrap().long);
            assert!(line.contains(&renamed), "{line}");
        }
    }
    assert_eq!(count, 3);
}

#[test]
fn a_bad_value_is_an_error_even_where_another_overrides_it() {
    let mut overridden = inputs(Some("sampling.interval = \"15\""), &[]);
    overridden.flags.set(&keys::SAMPLING_INTERVAL, "15s");
    assert!(error(overridden).starts_with("nodetally.toml:1: sampling.interval = \"15\": "));
}

#[test]
fn a_file_and_its_endpoints_are_bounded() {
    let long = "#".repeat((1 << 20) + 1);
    assert_eq!(
        error(inputs(Some(&long), &[])),
        "nodetally.toml: 1048577 bytes long; allowed: at most 1048576"
    );
    let endpoints = |count: usize| -> String {
        (0..count).map(|n| format!("[[endpoint]]\nname = \"e{n}\"\nurl = \"http://a\"\n")).collect()
    };
    assert_eq!(from_file(&endpoints(32)).endpoints.len(), 32);
    assert_eq!(
        error(inputs(Some(&endpoints(33)), &[])),
        "nodetally.toml:97: endpoint: too many; allowed: at most 32"
    );
    let variable = [("NODETALLY_ENDPOINT_URL", "http://a")];
    assert!(error(inputs(Some(&endpoints(32)), &variable)).contains("too many"));
    // Nesting, which a recursive walk would pay for with the stack.
    let deep = format!("a = {}", "[".repeat(100_000));
    assert!(Settings::resolve(inputs(Some(&deep), &[])).is_err());
}

#[test]
fn lists_are_checked_word_by_word_and_each_word_is_listed_once() {
    for (text, expected) in [
        (
            "[directory]\nsources = [\"kubernetis\"]",
            "nodetally.toml:2: directory.sources = [\"kubernetis\"]: \"kubernetis\": not one of the \
             known words, did you mean \"kubernetes\"?; allowed: a list of \"kubernetes\", \"kubelet\", \"cri\", \"file\", \
             \"docker\" and \"podman\", each once; in a variable with commas between",
        ),
        (
            "[directory]\nsources = [\"cri\", \"file\", \"cri\"]",
            "nodetally.toml:2: directory.sources = [\"cri\", \"file\", \"cri\"]: \"cri\" is listed \
             twice; allowed: a list of \"kubernetes\", \"kubelet\", \"cri\", \"file\", \
             \"docker\" and \"podman\", each once; in a variable with commas between",
        ),
        (
            "[directory]\nsources = [1]",
            "nodetally.toml:2: directory.sources = […]: found an array of more than texts; allowed: \
             a list of \"kubernetes\", \"kubelet\", \"cri\", \"file\", \"docker\" and \"podman\", \
             each once; in a variable with commas between",
        ),
        (
            "[cluster]\nlabels = [\"env\"]",
            "nodetally.toml:2: cluster.labels = [\"env\"]: \"env\": not KEY=VALUE; allowed: a list \
             of up to 32 texts KEY=VALUE; in a variable with commas between",
        ),
        (
            "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\nauth_header = \"X API\"",
            "nodetally.toml:4: endpoint.auth_header = (hidden): not a header's name; allowed: the \
             name of an HTTP header that the request does not need for itself, such as \
             \"X-API-Key\"; together with bearer_token_file or bearer_token_env",
        ),
        (
            "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\nauth_header = \"X-API-Key\"",
            "nodetally.toml:4: endpoint.auth_header = (hidden): there is no token that it would \
             carry; allowed: the name of an HTTP header that the request does not need for itself, \
             such as \"X-API-Key\"; together with bearer_token_file or bearer_token_env",
        ),
    ] {
        assert_eq!(error(inputs(Some(text), &[])), expected);
    }
}

#[test]
fn a_header_that_the_request_needs_for_itself_carries_no_token() {
    for name in [
        "Content-Type",
        "content-length",
        "Content-Encoding",
        "HOST",
        "Connection",
        "Keep-Alive",
        "Proxy-Authorization",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "Expect",
        "HTTP2-Settings",
        "idempotency-key",
    ] {
        let text = format!(
            "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\nbearer_token_file = \"/t\"\n\
             auth_header = \"{name}\"",
        );
        let line = error(inputs(Some(&text), &[]));
        let words = " belongs to the request and carries no token; allowed: the name of";
        let said = line.split_once(words).map(|(before, _)| before.rsplit(' ').next().unwrap());
        assert!(said.is_some_and(|said| said.eq_ignore_ascii_case(name)), "{line}");
    }
    for name in ["X-API-Key", "Authorization", "Cookie", "X-Host"] {
        let text = format!(
            "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\nbearer_token_env = \"TOKEN\"\n\
             auth_header = \"{name}\"",
        );
        assert_eq!(from_file(&text).endpoints[0].auth_header, name);
    }
}

/// Headers and temporality, of which some do not go together with other keys.
#[test]
fn what_headers_and_temporality_cannot_be_is_said() {
    let endpoint = "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\n";
    for (keys, part) in [
        (
            "temporality = \"delta\"",
            "endpoint.temporality = \"delta\": the dialect has counters instead",
        ),
        (
            "dialect = \"otlp\"\ncounters = \"delta\"",
            "endpoint.counters = \"delta\": the dialect has temporality instead",
        ),
        (
            "dialect = \"prometheus-remote-write\"\ncounters = \"cumulative\"",
            "endpoint.counters = \"cumulative\": prometheus-remote-write has no such setting; allowed: \
             \"delta\" or \"cumulative\"; with the dialects \"resource-api\", \"pod-batch\" and \
             \"ndjson\"; with \"ndjson\" only \"delta\"",
        ),
        (
            "dialect = \"pod-lifecycle\"\ncounters = \"delta\"",
            "endpoint.counters = \"delta\": pod-lifecycle has no such setting; allowed: \"delta\" or",
        ),
        (
            "dialect = \"pod-lifecycle\"\ntemporality = \"delta\"",
            "endpoint.temporality = \"delta\": pod-lifecycle has no such setting; allowed: \"delta\" or \
             \"cumulative\"; with the dialect \"otlp\"",
        ),
        (
            "max_request_bytes = \"1MiB\"",
            "endpoint.max_request_bytes = \"1MiB\": resource-api has no such setting; allowed: from 64KiB \
             to 64MiB: an integer of bytes, or a text such as \"4MiB\" (KiB, MiB or GiB); with the \
             dialect \"otlp\"",
        ),
        (
            "dialect = \"prometheus-remote-write\"\nmax_request_bytes = 65536",
            "endpoint.max_request_bytes = 65536: prometheus-remote-write has no such setting",
        ),
        (
            "dialect = \"otlp\"\nmax_request_bytes = 65535",
            "endpoint.max_request_bytes = 65535: too small",
        ),
        (
            "dialect = \"otlp\"\nmax_request_bytes = \"65MiB\"",
            "endpoint.max_request_bytes = \"65MiB\": too large",
        ),
        ("headers = \"a\"", "endpoint.headers = (hidden): found a string"),
        ("headers = { a = 1 }", "endpoint.headers = (hidden): found a table of more than texts"),
        ("headers = { \"a b\" = \"c\" }", "header 1: not a header's name"),
        ("headers = { a = \"\" }", "header 1: not a header's value"),
        ("headers = { a = \"b\", c = \"d\\n\" }", "header 2: not a header's value"),
        ("headers = { a = \"b\", A = \"d\" }", "header 2: the header is set twice"),
        ("headers = { Content-Type = \"a\" }", "header 1: Content-Type belongs to the request"),
        ("header_files = { a = \"b\" }", "header 1: not an absolute path"),
        (
            "headers = { a = \"b\" }\nheader_files = { A = \"/b\" }",
            "endpoint.header_files = (hidden): one of them is in headers too",
        ),
        (
            "bearer_token_file = \"/t\"\nheaders = { authorization = \"b\" }",
            "endpoint.headers = (hidden): the token is sent in one of them",
        ),
    ] {
        let line = error(inputs(Some(&format!("{endpoint}{keys}")), &[]));
        assert!(line.contains(part), "{keys}: {line}");
    }
    let variables =
        [("NODETALLY_ENDPOINT_URL", "http://a"), ("NODETALLY_ENDPOINT_HEADERS", "X-A=1, X-B=c=d")];
    let settings = Settings::resolve(inputs(None, &variables)).unwrap();
    let headers = &settings.endpoints[0].trust.headers;
    let pairs: Vec<_> = headers.iter().map(|one| (&*one.name, &*one.value)).collect();
    assert_eq!(pairs, [("X-A", "1"), ("X-B", "c=d")]);
    assert!(!format!("{settings:?}").contains("c=d"));
}

/// Words that are nearly right, of each kind of key that has words.
#[test]
fn a_word_that_is_nearly_right_is_answered_with_the_right_one() {
    let endpoint = "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\n";
    for (text, meant) in [
        ("dialect = \"oltp\"", Some("otlp")),
        ("dialect = \"OTLP\"", Some("otlp")),
        ("dialect = \"prometheus_remote_write\"", Some("prometheus-remote-write")),
        ("dialect = \"prometheus-remotewrite\"", Some("prometheus-remote-write")),
        ("dialect = \"pod-bach\"", Some("pod-batch")),
        ("dialect = \"podlifecycle\"", Some("pod-lifecycle")),
        ("dialect = \"resource_api\"", Some("resource-api")),
        ("dialect = \"nd-json\"", Some("ndjson")),
        ("dialect = \"influx\"", None),
        ("dialect = \"json\"", Some("ndjson")),
        ("compression = \"gzp\"", Some("gzip")),
        ("durability = \"disc\"", Some("disk")),
        ("durability = \"\"", None),
    ] {
        let line = error(inputs(Some(&format!("{endpoint}{text}")), &[]));
        let said =
            line.split_once("did you mean \"").map(|(_, behind)| behind.split_once('"').unwrap().0);
        assert_eq!(said, meant, "{line}");
        assert!(
            line.contains("not one of the known words") && line.contains("; allowed: "),
            "{line}"
        );
    }
    let variables =
        [("NODETALLY_ENDPOINT_URL", "http://a"), ("NODETALLY_ENDPOINT_DIALECT", "otpl")];
    let line = error(inputs(None, &variables));
    assert!(line.contains("NODETALLY_ENDPOINT_DIALECT=\"otpl\": not one"), "{line}");
    assert!(line.contains("did you mean \"otlp\"?; allowed: "), "{line}");
}

#[test]
fn all_errors_of_a_file_are_named_at_once_from_its_top() {
    let text = "\
[sampling]
intervall = \"15s\"
cmdline = 5
[nonsense]
[receiver]
listen = \"nowhere\"
retention = \"1s\"
[[endpoint]]
name = \"a\"
url = \"ftp://a\"
timeout = \"1h\"
[[endpoint]]
name = \"b\"
url = \"http://b\"
ca_file = \"/ca.pem\"
[[endpoint]]
name = \"c\"
[log]
level = \"loud\"
";
    let error = error(inputs(Some(text), &[("NODETALLY_NONSENSE", "")]));
    let starts = [
        "nodetally.toml:2: sampling.intervall: unknown key",
        "nodetally.toml:3: sampling.cmdline = 5: found an integer",
        "nodetally.toml:4: nonsense: unknown section",
        "nodetally.toml:6: receiver.listen = \"nowhere\": not an address",
        "nodetally.toml:7: receiver.retention = \"1s\": too small",
        "nodetally.toml:10: endpoint.url = \"ftp://a\"",
        "nodetally.toml:11: endpoint.timeout = \"1h\": too large",
        "nodetally.toml:16: endpoint.url is missing",
        "nodetally.toml:19: log.level = \"loud\"",
        "environment NODETALLY_NONSENSE: unknown variable",
    ];
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), starts.len(), "{error}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
    // What two keys say together is looked at once each of them alone is right.
    let (_, endpoints) = text.split_once("timeout = \"1h\"\n").unwrap();
    let (endpoints, _) = endpoints.split_once("[log]").unwrap();
    let error = Settings::resolve(inputs(Some(endpoints), &[])).unwrap_err().to_string();
    let lines: Vec<&str> = error.lines().collect();
    let [tls, missing] = &lines[..] else { panic!("{error}") };
    assert!(tls.contains("endpoint.ca_file") && tls.contains("none of TLS"), "{tls}");
    assert!(missing.starts_with("nodetally.toml:5: endpoint.url is missing"), "{missing}");
}

#[test]
fn the_errors_shown_are_bounded() {
    let text: String = (0..90).map(|number| format!("[nonsense{number}]\n")).collect();
    let error = error(inputs(Some(&text), &[]));
    assert_eq!(error.lines().count(), 51);
    assert_eq!(error.lines().last(), Some("and 40 other errors"));
}
