//! A kubelet behind TLS that says what real ones said, and why it cannot be asked.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nodetally::directory::SourceKind;
use nodetally::directory::kubelet::{self, KubeletOptions, KubeletTrust};
use nodetally::directory::pod::Phase;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::{PATIENCE, clock, directory_of, last_error, uid, until, until_error};

const PODS: &str = include_str!("../../../fixtures/kubernetes/kubelet/pods.json");
const BAD_TOKEN: &str = include_str!("../../../fixtures/kubernetes/kubelet/401-bad-token.txt");
const NO_RIGHTS: &str = include_str!("../../../fixtures/kubernetes/kubelet/403-without-rights.txt");

/// A certificate authority.
struct Ca {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    fn new() -> Self {
        Self::called("kubernetes")
    }

    fn called(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A server's side of TLS with a certificate for this name.
    fn serves(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> TlsAcceptor {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        // An error means that one is installed already.
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// An answer in the form of the recordings: `status <code>`, header, empty line, body.
fn recorded(text: &str) -> Option<String> {
    let (head, body) = text.split_once("\n\n").unwrap();
    let (status, header) = head.split_once('\n').unwrap();
    let status = status.strip_prefix("status ").unwrap();
    let header = header.replace('\n', "\r\n");
    Some(format!("HTTP/1.1 {status} \r\n{header}\r\n\r\n{body}"))
}

fn plain(status: &str, body: &str) -> Option<String> {
    let length = body.len();
    Some(format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    ))
}

/// The list as a kubelet sends it, in chunks.
fn pods() -> Option<String> {
    let mut answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                      Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        .to_owned();
    for chunk in PODS.as_bytes().chunks(4096) {
        let text = std::str::from_utf8(chunk).unwrap();
        answer += &format!("{:x}\r\n{text}\r\n", chunk.len());
    }
    Some(answer + "0\r\n\r\n")
}

#[derive(Default)]
struct Script {
    /// `None`: it takes the request and says nothing.
    answer: Option<String>,
    /// These before it, one a request.
    first: VecDeque<Option<String>>,
    /// The heads of the requests that came.
    seen: Vec<String>,
}

struct Kubelet {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    serving: JoinHandle<()>,
}

impl Kubelet {
    async fn start(tls: TlsAcceptor, answer: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(Script { answer, ..Script::default() }));
        let serving = tokio::spawn(serve(listener, tls, Arc::clone(&script)));
        Self { address, script, serving }
    }

    fn answers(&self, answer: Option<String>) {
        self.script.lock().unwrap().answer = answer;
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.address.port())
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, script: Arc<Mutex<Script>>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, script) = (tls.clone(), Arc::clone(&script));
        connections.spawn(async move {
            // A client that refuses the certificate ends it here.
            let Ok(mut stream) = tls.accept(stream).await else { return };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => return,
                }
            }
            let answer = {
                let mut script = script.lock().unwrap();
                script.seen.push(String::from_utf8(head).unwrap());
                script.first.pop_front().unwrap_or_else(|| script.answer.clone())
            };
            match answer {
                Some(answer) => {
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.shutdown().await;
                }
                None => std::future::pending().await,
            }
        });
    }
}

/// The files of a service account, and the options that go with them.
struct Account {
    dir: TempDir,
}

impl Account {
    fn new(token: &str, ca: &Ca) -> Self {
        let account = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::write(account.token(), token).unwrap();
        std::fs::write(account.ca(), &ca.pem).unwrap();
        account
    }

    fn token(&self) -> PathBuf {
        self.dir.path().join("token")
    }

    fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }

    fn options(&self, url: String) -> KubeletOptions {
        let trust = KubeletTrust::CaFile(self.ca());
        let mut options = KubeletOptions::new(url, self.token(), trust, 7, clock);
        options.interval = Duration::from_millis(20);
        options
    }

    /// The error of a probe.
    async fn refused(&self, kubelet: &Kubelet) -> String {
        self.refused_with(&self.options(kubelet.url())).await
    }

    async fn refused_with(&self, options: &KubeletOptions) -> String {
        let said = tokio::time::timeout(PATIENCE, kubelet::probe(options)).await.unwrap();
        let error = said.unwrap_err().to_string();
        assert!(!error.contains('\n') && !error.contains("hunter2"), "{error}");
        let prefix = format!("kubelet at {}: ", options.url);
        error.strip_prefix(&prefix).unwrap_or_else(|| panic!("{error}")).to_owned()
    }
}

fn localhost(ca: &Ca) -> TlsAcceptor {
    ca.serves("127.0.0.1", |_| {})
}

#[tokio::test]
async fn the_recorded_list_names_its_pods_and_a_rotated_token_is_taken_up() {
    let ca = Ca::new();
    let account = Account::new("first-hunter2\n", &ca);
    let kubelet = Kubelet::start(localhost(&ca), pods()).await;
    let (directory, publisher) = directory_of(SourceKind::Kubelet);
    let running = tokio::spawn(kubelet::run(account.options(kubelet.url()), publisher));

    let catalog = until(&directory, "pods", |catalog| !catalog.pods().is_empty()).await;
    // As many as the recording has: each pod has one phase.
    assert_eq!(catalog.pods().len(), PODS.matches("\"phase\":").count());
    let fixed = catalog.pod(uid("72dd719cb36a6d92769b0e001945c7b5")).unwrap();
    assert_eq!((&*fixed.namespace, &*fixed.name), ("kube-system", "edge-worker-1"));
    assert!(fixed.host_network && fixed.phase == Phase::Running);
    let ended = catalog.pod(uid("49c3e27b-4970-4478-9345-74e43b3a8c56")).unwrap();
    assert_eq!((&*ended.name, ended.phase), ("sums-5j9gj", Phase::Succeeded));

    std::fs::write(account.token(), "second-hunter2\n").unwrap();
    let second = || {
        let script = kubelet.script.lock().unwrap();
        script.seen.iter().any(|head| head.contains("uthorization: Bearer second-hunter2\r\n"))
    };
    until(&directory, "the second token", |_| second()).await;
    let first = kubelet.script.lock().unwrap().seen[0].clone();
    assert!(first.starts_with("GET /pods HTTP/1.1\r\n"), "{first}");
    assert!(first.contains("uthorization: Bearer first-hunter2\r\n"), "{first}");
    running.abort();
}

#[tokio::test]
async fn a_kubelet_that_goes_and_comes_back_keeps_its_pods_meanwhile() {
    let ca = Ca::new();
    let account = Account::new("hunter2", &ca);
    let kubelet = Kubelet::start(localhost(&ca), pods()).await;
    let (directory, publisher) = directory_of(SourceKind::Kubelet);
    let running = tokio::spawn(kubelet::run(account.options(kubelet.url()), publisher));
    let known = until(&directory, "pods", |catalog| !catalog.pods().is_empty()).await.pods().len();

    kubelet.answers(recorded(BAD_TOKEN));
    let catalog = until_error(&directory, "401").await;
    assert_eq!(catalog.pods().len(), known);
    kubelet.answers(pods());
    let catalog = until(&directory, "well again", |c| last_error(&c.sources[0]).is_empty()).await;
    assert_eq!(catalog.pods().len(), known);
    running.abort();
}

#[tokio::test]
async fn a_kubelet_that_has_just_started_ends_no_pod_by_one_answer() {
    let ca = Ca::new();
    let account = Account::new("hunter2", &ca);
    let kubelet = Kubelet::start(localhost(&ca), pods()).await;
    let (directory, publisher) = directory_of(SourceKind::Kubelet);
    let mut options = account.options(kubelet.url());
    options.request_timeout = Duration::from_millis(500);
    let running = tokio::spawn(kubelet::run(options, publisher));
    let catalog = until(&directory, "pods", |catalog| !catalog.pods().is_empty()).await;
    let known = catalog.pods().len();

    let mut static_only: serde_json::Value = serde_json::from_str(PODS).unwrap();
    let source = "/metadata/annotations/kubernetes.io~1config.source";
    let items = static_only["items"].as_array_mut().unwrap();
    items.retain(|pod| pod.pointer(source).is_some_and(|source| source == "file"));
    assert_eq!(items.len(), 1);
    let static_only = plain("200 OK", &static_only.to_string());
    {
        let mut script = kubelet.script.lock().unwrap();
        script.first = [static_only.clone(), pods(), static_only.clone()].into();
        // Then it says nothing, and what is known stands still.
        script.answer = None;
    }
    let catalog = until_error(&directory, "no answer within").await;
    assert!(kubelet.script.lock().unwrap().first.is_empty());
    assert_eq!(catalog.pods().len(), known);

    // The second running, though the one between them failed.
    kubelet.answers(static_only);
    let catalog = until(&directory, "absent twice", |catalog| catalog.pods().len() < known).await;
    assert_eq!(catalog.pods().len(), 1);
    assert!(catalog.pod(uid("72dd719cb36a6d92769b0e001945c7b5")).is_some());
    running.abort();
}

#[tokio::test]
async fn a_probe_counts_the_pods() {
    let ca = Ca::new();
    let account = Account::new("hunter2", &ca);
    let kubelet = Kubelet::start(localhost(&ca), pods()).await;
    let said = kubelet::probe(&account.options(kubelet.url())).await.unwrap();
    let count = PODS.matches("\"phase\":").count();
    assert_eq!(said, format!("kubelet at {}: {count} pods", kubelet.url()));
}

#[tokio::test]
async fn a_refusal_names_the_right_that_is_missing() {
    let ca = Ca::new();
    let account = Account::new("hunter2", &ca);
    let kubelet = Kubelet::start(localhost(&ca), recorded(NO_RIGHTS)).await;
    assert_eq!(
        account.refused(&kubelet).await,
        "403: the role of system:kube-scheduler lacks `get` on nodes/stats"
    );
    let user = "system:serviceaccount:monitoring:nodetally";
    let body = format!("Forbidden (user={user}, verb=get, resource=nodes, subresource=proxy)");
    kubelet.answers(plain("403 Forbidden", &body));
    assert_eq!(
        account.refused(&kubelet).await,
        format!("403: the role of {user} lacks `get` on nodes/proxy")
    );
    let body =
        format!("Forbidden (user={user}, verb=get, resource=nodes, subresource(s)=[pods proxy])\n");
    kubelet.answers(plain("403 Forbidden", &body));
    assert_eq!(
        account.refused(&kubelet).await,
        format!("403: the role of {user} lacks `get` on nodes/pods or nodes/proxy")
    );
    kubelet.answers(plain("403 Forbidden", "no\r\nmeans \u{1b}[31mno"));
    assert_eq!(
        account.refused(&kubelet).await,
        "403: the role lacks `get` on nodes/proxy: no  means  [31mno"
    );
}

#[tokio::test]
async fn a_token_that_is_not_taken_or_not_there_is_said_without_repeating_it() {
    let ca = Ca::new();
    let account = Account::new("hunter2", &ca);
    let kubelet = Kubelet::start(localhost(&ca), recorded(BAD_TOKEN)).await;
    let error = account.refused(&kubelet).await;
    assert!(error.starts_with("401: it does not take the token of "), "{error}");
    assert!(error.contains("has expired"), "{error}");

    std::fs::write(account.token(), "hunter2 hunter2").unwrap();
    let error = account.refused(&kubelet).await;
    assert!(error.ends_with("token holds no token: it has white space inside"), "{error}");
    std::fs::remove_file(account.token()).unwrap();
    let error = account.refused(&kubelet).await;
    assert!(error.contains("token cannot be read: No such file"), "{error}");
    assert_eq!(kubelet.script.lock().unwrap().seen.len(), 1, "nothing is asked without a token");
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_refused_with_what_to_do_and_insecure_takes_it() {
    let cluster = Ca::called("kubernetes");
    let account = Account::new("hunter2", &cluster);
    // A kubelet's own without `serverTLSBootstrap`, and another cluster's of the same name.
    for name in ["worker-1-ca@1795195617", "kubernetes"] {
        let other = Ca::called(name);
        let kubelet = Kubelet::start(localhost(&other), pods()).await;
        let error = account.refused(&kubelet).await;
        assert!(error.starts_with("its certificate is not signed by the CA in "), "{error}");
        for remedy in ["serverTLSBootstrap: true", "`kubelet_ca_file`", "`kubelet_insecure = true`"]
        {
            assert!(error.contains(remedy), "{error}");
        }
        assert!(kubelet.script.lock().unwrap().seen.is_empty(), "the token was not sent");
    }

    let own = Ca::called("worker-1-ca@1795195617");
    let kubelet = Kubelet::start(localhost(&own), pods()).await;
    let mut options = account.options(kubelet.url());
    options.trust = KubeletTrust::Insecure;
    kubelet::probe(&options).await.unwrap();

    // The right CA comes into the file: it is read anew after a failure.
    let (directory, publisher) = directory_of(SourceKind::Kubelet);
    let running = tokio::spawn(kubelet::run(account.options(kubelet.url()), publisher));
    until_error(&directory, "not signed by the CA").await;
    std::fs::write(account.ca(), format!("{}{}", cluster.pem, own.pem)).unwrap();
    until(&directory, "trust", |catalog| !catalog.pods().is_empty()).await;
    running.abort();
}

#[tokio::test]
async fn a_self_signed_certificate_for_another_name_or_of_another_time_is_refused_by_its_reason() {
    let ca = Ca::new();
    let account = Account::new("hunter2", &ca);
    let kubelet = Kubelet::start(ca.serves("worker-1", |_| {}), pods()).await;
    let error = account.refused(&kubelet).await;
    assert!(error.starts_with("its certificate is for other names and addresses"), "{error}");

    let past = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    };
    let kubelet = Kubelet::start(ca.serves("127.0.0.1", past), pods()).await;
    let error = account.refused(&kubelet).await;
    assert!(error.starts_with("its certificate has expired"), "{error}");
}

#[tokio::test]
async fn a_ca_file_that_is_none_is_said() {
    let ca = Ca::new();
    let account = Account::new("hunter2", &ca);
    let kubelet = Kubelet::start(localhost(&ca), pods()).await;
    std::fs::write(account.ca(), "hunter2").unwrap();
    let error = account.refused(&kubelet).await;
    assert!(error.ends_with("ca.crt: holds no certificate (PEM)"), "{error}");
    std::fs::write(account.ca(), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .unwrap();
    let error = account.refused(&kubelet).await;
    assert!(error.contains("certificate"), "{error}");
    std::fs::remove_file(account.ca()).unwrap();
    let error = account.refused(&kubelet).await;
    assert!(error.contains("ca.crt: cannot be read: No such file"), "{error}");
}

#[tokio::test]
async fn an_answer_that_is_late_large_cut_or_something_else_is_one_line() {
    let ca = Ca::new();
    let account = Account::new("hunter2", &ca);
    let kubelet = Kubelet::start(localhost(&ca), None).await;
    let mut options = account.options(kubelet.url());
    options.request_timeout = Duration::from_millis(200);
    assert_eq!(account.refused_with(&options).await, "no answer within 200ms");

    kubelet.answers(pods());
    let mut options = account.options(kubelet.url());
    options.answer_bytes_max = 10_000;
    assert_eq!(account.refused_with(&options).await, "the answer is larger than 10000 bytes");

    for (answer, part) in [
        (plain("200 OK", "ok"), "the answer is no list of pods: it is no JSON"),
        (
            plain("200 OK", PODS.split_at(5000).0),
            "the answer is no list of pods: it ends in the middle",
        ),
        (plain("404 Not Found", "404 page not found\n"), "answers 404 Not Found to GET /pods: 404"),
        (
            plain("302 Found\r\nLocation: https://127.0.0.1:1/", ""),
            "answers 302 Found to GET /pods",
        ),
    ] {
        kubelet.answers(answer);
        let error = account.refused(&kubelet).await;
        assert!(error.starts_with(part), "{error}");
    }
    let whole = pods().unwrap();
    kubelet.answers(Some(whole.split_at(6000).0.to_owned()));
    let error = account.refused(&kubelet).await;
    assert!(!error.is_empty(), "an answer that breaks off is an error");
}

#[tokio::test]
async fn a_closed_port_and_an_address_without_tls_are_reported() {
    let ca = Ca::new();
    let account = Account::new("hunter2", &ca);
    // Bound, so that nobody else takes the port, but not listening.
    let nobody = TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = nobody.local_addr().unwrap().port();
    let error = account.refused_with(&account.options(format!("https://127.0.0.1:{port}"))).await;
    assert_eq!(error, "connection refused; no kubelet listens there");
    let error = account.refused_with(&account.options("http://127.0.0.1:10255".into())).await;
    assert_eq!(error, "the URL must begin with https://, since a token goes there");
    let error = account.refused_with(&account.options("worker-1".into())).await;
    assert!(error.starts_with("no URL: "), "{error}");
}
