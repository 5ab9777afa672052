//! TLS, the token and the unix socket.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ChildStderr;
use std::sync::Arc;

use nix::sys::signal::Signal;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::desk::Desk;
use super::scrape::{Answer, Series, ask, ask_over};
use crate::support::agent::{Agent, eventually};

const TOKEN: &str = "hunter2-of-the-scraper";

/// The log of a running agent.
struct Log {
    lines: BufReader<ChildStderr>,
    text: String,
}

impl Log {
    fn of(agent: &mut Agent) -> Self {
        let lines = BufReader::new(agent.0.stderr.take().unwrap());
        Self { lines, text: String::new() }
    }

    /// Waits for a line with this word.
    #[track_caller]
    fn until(&mut self, word: &str) {
        loop {
            let mut line = String::new();
            assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "{word}: {}", self.text);
            self.text.push_str(&line);
            if line.contains(word) {
                return;
            }
        }
    }

    /// The whole log of an agent that ends well.
    fn rest(mut self, mut agent: Agent) -> String {
        self.lines.read_to_string(&mut self.text).unwrap();
        assert!(agent.0.wait().unwrap().success(), "{}", self.text);
        self.text
    }
}

/// A certificate for localhost, with its key, both PEM.
fn certificate() -> [String; 2] {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    [cert.pem(), signing_key.serialize_pem()]
}

/// Asks over TLS, and trusts this certificate alone.
fn ask_tls(
    desk: &Desk,
    trusted: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> io::Result<Answer> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = std::net::TcpStream::connect(desk.listen)?;
    ask_over(StreamOwned::new(connection, stream), target, headers)
}

fn put(path: &Path, text: &str) {
    let next = path.with_extension("next");
    fs::write(&next, text).unwrap();
    fs::rename(next, path).unwrap();
}

fn files(desk: &Desk) -> String {
    ["tls_certificate_file", "tls_key_file", "bearer_token_file", "socket"]
        .map(|key| format!("{key} = {:?}\n", desk.path(key)))
        .concat()
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[test]
fn metrics_are_for_those_with_the_token_over_tls_and_over_the_socket() {
    let desk = Desk::new("");
    desk.configure(&files(&desk));
    let [first, key] = certificate();
    put(&desk.path("tls_certificate_file"), &first);
    put(&desk.path("tls_key_file"), &key);
    put(&desk.path("bearer_token_file"), TOKEN);
    let mut agent = desk.start();
    let mut log = Log::of(&mut agent);
    let auth = bearer(TOKEN);
    let with_token = [("Authorization", &*auth)];
    let ok = eventually("an answer over TLS", || {
        let answer = ask_tls(&desk, &first, "/metrics?entity=node", &with_token).ok()?;
        (answer.status == 200).then_some(answer)
    });
    assert!(Series::of(&ok.text()).get("system_memory_limit_bytes", &[]) > 0.0);

    for wrong in [None, Some(bearer("hunter3")), Some(TOKEN.to_owned()), Some(bearer(""))] {
        let headers: Vec<_> = wrong.iter().map(|value| ("Authorization", &**value)).collect();
        let answer = ask_tls(&desk, &first, "/metrics", &headers).unwrap();
        assert_eq!(answer.status, 401, "{wrong:?}");
        let challenge = answer.header("WWW-Authenticate").unwrap();
        assert!(challenge.starts_with("Bearer realm=\"nodetally\""), "{challenge}");
        assert_eq!(challenge.contains("error=\"invalid_token\""), wrong.is_some(), "{wrong:?}");
        assert!(!answer.text().contains("hunter"), "{}", answer.text());
    }
    for path in ["/metric", "/api/v1/query"] {
        let answer = ask_tls(&desk, &first, path, &with_token).unwrap();
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(
            answer.text(),
            "no such path; there are /metrics, /metrics/resource, /metrics/cadvisor, /stats/summary and \
             /healthz\n"
        );
    }
    // Probes have no token, and learn nothing but health.
    assert_eq!(ask_tls(&desk, &first, "/healthz", &[]).unwrap().status, 200);
    for _ in 0..3 {
        assert!(ask(desk.listen, "/metrics", &with_token).is_err(), "without TLS");
    }

    let socket = desk.path("socket");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let over_socket = |headers: &[(&str, &str)]| {
        ask_over(UnixStream::connect(&socket).unwrap(), "/metrics?entity=pod", headers).unwrap()
    };
    assert_eq!(over_socket(&[]).status, 401);
    let answer = over_socket(&with_token);
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("k8s_pod_cpu_time_seconds_total{"));

    // Both secrets rotate while it runs.
    put(&desk.path("bearer_token_file"), "the-next-one\n");
    assert_eq!(over_socket(&with_token).status, 401);
    let next = bearer("the-next-one");
    let with_next = [("Authorization", &*next)];
    assert_eq!(over_socket(&with_next).status, 200);
    let [second, key] = certificate();
    put(&desk.path("tls_certificate_file"), &second);
    // Until its key is there too, the last pair is shown.
    assert!(ask_tls(&desk, &first, "/metrics?entity=node", &with_next).is_ok());
    put(&desk.path("tls_key_file"), &key);
    assert_eq!(ask_tls(&desk, &second, "/metrics?entity=node", &with_next).unwrap().status, 200);
    assert!(ask_tls(&desk, &first, "/metrics?entity=node", &with_next).is_err());

    // A reload that cannot be changes nothing; one that can takes all of it away.
    let missing = desk.path("nowhere");
    desk.configure(&format!("{}\n", files(&desk).replace("bearer_token_file\"", "nowhere\"")));
    agent.signal(Signal::SIGHUP);
    log.until("not reloaded");
    desk.configure("");
    assert_eq!(ask_tls(&desk, &second, "/metrics?entity=node", &with_next).unwrap().status, 200);
    agent.signal(Signal::SIGHUP);
    eventually("an answer without TLS", || {
        (ask(desk.listen, "/metrics", &[]).ok()?.status == 200).then_some(())
    });
    eventually("the end of the socket", || (!socket.exists()).then_some(()));
    agent.signal(Signal::SIGTERM);
    let log = log.rest(agent);
    assert!(!log.contains("hunter") && !log.contains("the-next-one"), "{log}");
    let mismatch = format!("tls_key_file: {}", desk.path("tls_key_file").display());
    assert_eq!(log.matches(&mismatch).count(), 1, "{log}");
    assert!(log.contains("is the key of another certificate; the last certificate stays"), "{log}");
    for line in [
        "metrics: 127.0.0.1 asks with no token and gets 401; the scraper must send that of \
         metrics.bearer_token_file (logged once)",
        "metrics: 127.0.0.1 asks for /metric and gets 404; there are /metrics, /metrics/resource, \
         /metrics/cadvisor, /stats/summary and /healthz (logged once)",
        "metrics: 127.0.0.1 speaks plain HTTP or another protocol to the port of metrics.listen, which \
         speaks TLS, and gets no answer; the scraper must use https:// (in Prometheus scheme: https) \
         (logged once)",
        "and gets no answer; the scraper must trust the certificate of metrics.tls_certificate_file, \
         under the name by which it asks (logged once)",
        "metrics: 127.0.0.1 ends the TLS handshake (",
    ] {
        assert_eq!(log.matches(line).count(), 1, "{log}");
    }
    assert_eq!(log.matches("and gets 40").count(), 2, "{log}");
    let refused = format!(
        "not reloaded, the previous settings stay in force: metrics.bearer_token_file: the token file {} cannot be read",
        missing.display()
    );
    assert!(log.contains(&refused), "{log}");
    assert!(!log.contains("unencrypted"), "{log}");
}

/// Runs until it ends with an error, in one line.
fn refused(desk: &Desk) -> String {
    let (status, log) = Agent::start(desk.command(&["run"])).end();
    assert_eq!(status.code(), Some(2), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
    log
}

#[test]
fn what_does_not_go_together_and_what_is_no_key_is_one_line() {
    let desk = Desk::new("");
    let [pem, key] = certificate();
    let [_, other] = certificate();
    let write = |name: &str, text: &str| fs::write(desk.path(name), text).unwrap();
    let line = |key: &str| format!("{key} = {:?}\n", desk.path(key));
    let tls = line("tls_certificate_file") + &line("tls_key_file");
    let cases: [(&str, [&str; 2], &str); 7] = [
        (&line("tls_certificate_file"), [&pem, &key], "metrics.tls_certificate_file"),
        (&line("tls_key_file"), [&pem, &key], "its certificate is missing"),
        (&tls, [&pem, &other], "is the key of another certificate"),
        (&tls, ["", &key], "holds no certificate; allowed: PEM"),
        (&tls, [&pem, ""], "holds no private key; allowed: PEM"),
        (
            &tls,
            [
                &pem,
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n",
            ],
            "is encrypted; allowed: a key without a passphrase",
        ),
        (&line("bearer_token_file"), [&pem, &key], "cannot be read"),
    ];
    for (more, [certificate, key], words) in cases {
        desk.configure(more);
        write("tls_certificate_file", certificate);
        write("tls_key_file", key);
        let log = refused(&desk);
        assert!(log.contains(words) && log.contains("metrics."), "{words}: {log}");
        assert!(!log.contains("PRIVATE KEY--"), "{log}");
    }
    // `check` finds the same.
    let output = desk.command(&["check"]).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("metrics.bearer_token_file: the token file"), "{shown}");
    write("bearer_token_file", "");
    assert!(refused(&desk).contains("holds no token: it is empty"));
}

#[test]
fn a_token_in_the_clear_is_warned_about_once() {
    let desk = Desk::new("");
    let port = desk.listen.port();
    let settings = format!("bearer_token_file = {:?}", desk.path("token"));
    fs::write(desk.path("token"), TOKEN).unwrap();
    desk.configure(&settings);
    let path = desk.path("c.toml");
    let text = fs::read_to_string(&path).unwrap();
    let open = text
        .replace(&format!("listen = \"{}\"", desk.listen), &format!("listen = \"0.0.0.0:{port}\""));
    assert_ne!(text, open);
    fs::write(&path, &open).unwrap();
    let mut agent = desk.start();
    let mut log = Log::of(&mut agent);
    let auth = bearer(TOKEN);
    let answers = || {
        let answer = ask(desk.listen, "/metrics", &[("Authorization", &auth)]).ok()?;
        (answer.status == 200).then_some(())
    };
    eventually("an answer", answers);
    agent.signal(Signal::SIGHUP);
    log.until("reloaded: ");
    eventually("an answer", answers);
    agent.signal(Signal::SIGTERM);
    let log = log.rest(agent);
    assert_eq!(log.matches("the token goes over").count(), 1, "{log}");
    assert!(log.contains("metrics.tls_certificate_file") && !log.contains(TOKEN), "{log}");
}
