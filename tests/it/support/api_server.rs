//! A scripted API server, over real TCP with TLS. What it answers was recorded from a real one
//! wherever that gave such an answer (fixtures/kubernetes); a test says what comes next.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Request, State};
use axum::response::Response;
use hyper::body::Frame;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// The kind of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Route {
    List,
    Watch,
    Node,
    ReplicaSet,
    Job,
    Version,
    Other,
}

impl Route {
    fn of(path_and_query: &str) -> Self {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        match path {
            "/api/v1/pods" if query.contains("watch=true") => Self::Watch,
            "/api/v1/pods" => Self::List,
            "/version" => Self::Version,
            path if path.starts_with("/api/v1/nodes/") => Self::Node,
            path if path.starts_with("/apis/apps/v1/") && path.contains("/replicasets/") => {
                Self::ReplicaSet
            }
            path if path.starts_with("/apis/batch/v1/") && path.contains("/jobs/") => Self::Job,
            _ => Self::Other,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Logged {
    pub method: String,
    pub path_and_query: String,
    pub authorization: Option<String>,
    pub accept: Option<String>,
    pub accept_encoding: Option<String>,
    pub user_agent: Option<String>,
    /// True if the client sent a certificate.
    pub certificate: bool,
}

/// One answer of the script.
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Content,
}

enum Content {
    Whole(Vec<u8>),
    Pieces(mpsc::Receiver<Piece>),
}

enum Piece {
    Bytes(Vec<u8>),
    /// The connection ends here, without the end of the body.
    Cut,
}

impl Answer {
    /// `fixtures/kubernetes/recorded/api/NAME.headers` and `.body`.
    pub fn recorded(name: &str) -> Self {
        let head = String::from_utf8(recorded_file(&format!("api/{name}.headers"))).expect(name);
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(": "));
        // Those of the transfer are this server's own.
        let own = ["transfer-encoding", "content-length", "date", "connection"];
        let headers = headers.filter(|(name, _)| !own.contains(&&*name.to_ascii_lowercase()));
        Self {
            status: status.expect("a status line"),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            body: Content::Whole(recorded_file(&format!("api/{name}.body"))),
        }
    }

    pub fn json(body: impl Into<Vec<u8>>) -> Self {
        let json = ("Content-Type".to_owned(), "application/json".to_owned());
        Self { status: 200, headers: vec![json], body: Content::Whole(body.into()) }
    }

    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// An answer whose body the test writes as it goes.
    pub fn written() -> (Self, Pen) {
        let (pieces, body) = mpsc::channel(64);
        let answer = Self { body: Content::Pieces(body), ..Self::json("") };
        (answer, Pen { pieces })
    }

    fn into_response(self) -> Response {
        let mut response = Response::builder().status(self.status);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        let body = match self.body {
            Content::Whole(body) => Body::from(body),
            Content::Pieces(pieces) => Body::new(Written(pieces)),
        };
        response.body(body).expect("a response")
    }
}

/// Writes a body; dropped, it ends as it should.
pub struct Pen {
    pieces: mpsc::Sender<Piece>,
}

impl Pen {
    /// One chunk. Whether the other side still reads is its business.
    pub async fn write(&self, bytes: impl AsRef<[u8]>) {
        let _ = self.pieces.send(Piece::Bytes(bytes.as_ref().to_vec())).await;
    }

    /// Ends the connection in the middle of the body.
    pub async fn cut(self) {
        let _ = self.pieces.send(Piece::Cut).await;
    }

    /// Waits until the other side has gone.
    pub async fn left(&self) {
        self.pieces.closed().await;
    }
}

struct Written(mpsc::Receiver<Piece>);

impl hyper::body::Body for Written {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.0.poll_recv(cx).map(|piece| match piece? {
            Piece::Bytes(bytes) => Some(Ok(Frame::data(bytes.into()))),
            Piece::Cut => Some(Err(std::io::Error::other("cut"))),
        })
    }
}

/// A watch that has begun.
pub struct Watcher {
    pub path_and_query: String,
    pub pen: Pen,
}

impl Watcher {
    /// The value of a parameter of the request.
    pub fn parameter(&self, name: &str) -> &str {
        parameter(&self.path_and_query, name).expect(name)
    }
}

/// The value of a parameter of a request, as it was sent.
pub fn parameter<'r>(path_and_query: &'r str, name: &str) -> Option<&'r str> {
    let (_, query) = path_and_query.split_once('?')?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(other, _)| *other == name).map(|(_, value)| value)
}

/// The answers of a test's own cluster by path and query; `None` stands for the default answer.
type Objects = Box<dyn Fn(&str) -> Option<Answer> + Send>;

struct Shared {
    log: Mutex<Vec<Logged>>,
    objects: Mutex<Option<Objects>>,
    script: Mutex<BTreeMap<Route, VecDeque<Answer>>>,
    /// `None`: whoever asks is answered.
    tokens: Mutex<Option<Vec<String>>>,
    watches: mpsc::UnboundedSender<Watcher>,
}

pub struct ApiServer {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    watches: mpsc::UnboundedReceiver<Watcher>,
    tls: Option<TlsAcceptor>,
    serving: Option<JoinHandle<()>>,
}

impl ApiServer {
    /// With a certificate of `pki` for 127.0.0.1.
    pub async fn start(pki: &Pki) -> Self {
        Self::start_with(Some(pki.acceptor(&["127.0.0.1"]))).await
    }

    /// Without TLS where there is no acceptor.
    pub async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let (watches_tx, watches) = mpsc::unbounded_channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut server = Self {
            address: listener.local_addr().expect("an address"),
            shared: Arc::new(Shared {
                log: Mutex::default(),
                objects: Mutex::default(),
                script: Mutex::default(),
                tokens: Mutex::default(),
                watches: watches_tx,
            }),
            watches,
            tls,
            serving: None,
        };
        server.serve(listener);
        server
    }

    fn serve(&mut self, listener: TcpListener) {
        let (shared, tls) = (Arc::clone(&self.shared), self.tls.clone());
        self.serving = Some(tokio::spawn(async move {
            // Dropped with the task, and every connection with it.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve_one(stream, Arc::clone(&shared), tls.clone()));
            }
        }));
    }

    /// Ends the server and every connection, as SIGKILL does.
    pub async fn kill(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            let _ = serving.await;
        }
    }

    /// Serves again where it was.
    pub async fn restart(&mut self) {
        self.kill().await;
        let listener = TcpListener::bind(self.address).await.expect("the port of before");
        self.serve(listener);
    }

    /// Sets the next answers to requests of this kind; the default answers follow.
    pub fn script(&self, route: Route, answers: impl IntoIterator<Item = Answer>) {
        let mut script = self.shared.script.lock().expect("the script");
        script.entry(route).or_default().extend(answers);
    }

    /// From here on `objects` is asked first, behind the script.
    pub fn serve_objects(&self, objects: impl Fn(&str) -> Option<Answer> + Send + 'static) {
        *self.shared.objects.lock().expect("the objects") = Some(Box::new(objects));
    }

    /// Only who brings one of these is answered.
    pub fn accept_tokens(&self, tokens: &[&str]) {
        let tokens = tokens.iter().map(|token| format!("Bearer {token}")).collect();
        *self.shared.tokens.lock().expect("the tokens") = Some(tokens);
    }

    pub fn log(&self) -> Vec<Logged> {
        self.shared.log.lock().expect("the log").clone()
    }

    /// Method, and path with query, of all requests so far.
    pub fn requests(&self) -> Vec<(String, String)> {
        self.log().into_iter().map(|logged| (logged.method, logged.path_and_query)).collect()
    }

    /// The requests of one kind.
    pub fn requests_for(&self, route: Route) -> Vec<String> {
        let paths = self.log().into_iter().map(|logged| logged.path_and_query);
        paths.filter(|path| Route::of(path) == route).collect()
    }

    /// The next watch that begins and was not in the script.
    pub async fn next_watch(&mut self) -> Watcher {
        let watch = tokio::time::timeout(std::time::Duration::from_secs(20), self.watches.recv());
        watch.await.expect("no watch began").expect("the server lives")
    }
}

async fn serve_one(stream: TcpStream, shared: Arc<Shared>, tls: Option<TlsAcceptor>) {
    let router = |certificate: bool| {
        let router: Router = Router::new()
            .fallback(answer)
            .layer(Extension(certificate))
            .with_state(Arc::clone(&shared));
        TowerToHyperService::new(router)
    };
    let Some(tls) = tls else {
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), router(false)).await;
        return;
    };
    let Ok(stream) = tls.accept(stream).await else { return };
    let certificate = stream.get_ref().1.peer_certificates().is_some();
    let service = router(certificate);
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    Extension(certificate): Extension<bool>,
    request: Request,
) -> Result<Response, Infallible> {
    let header = |name: &str| Some(request.headers().get(name)?.to_str().ok()?.to_owned());
    let logged = Logged {
        method: request.method().to_string(),
        path_and_query: request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        authorization: header("authorization"),
        accept: header("accept"),
        accept_encoding: header("accept-encoding"),
        user_agent: header("user-agent"),
        certificate,
    };
    shared.log.lock().expect("the log").push(logged.clone());
    let route = Route::of(&logged.path_and_query);
    let scripted =
        shared.script.lock().expect("the script").get_mut(&route).and_then(VecDeque::pop_front);
    if let Some(answer) = scripted {
        return Ok(answer.into_response());
    }
    let tokens = shared.tokens.lock().expect("the tokens").clone();
    let known = |tokens: Vec<String>| logged.authorization.is_some_and(|own| tokens.contains(&own));
    if !certificate && tokens.is_some_and(|tokens| !known(tokens)) {
        return Ok(Answer::recorded("401-bad-token").into_response());
    }
    let path = logged.path_and_query.clone();
    let objects = shared.objects.lock().expect("the objects");
    if let Some(answer) = objects.as_ref().and_then(|objects| objects(&path)) {
        return Ok(answer.into_response());
    }
    let answer = match route {
        Route::List => Answer::recorded("pods-of-node"),
        Route::Watch => {
            let (answer, pen) = Answer::written();
            let _ = shared.watches.send(Watcher { path_and_query: path, pen });
            answer
        }
        Route::Node if path.ends_with("/worker-1") => Answer::recorded("node-worker-1"),
        Route::Node => Answer::recorded("404-node"),
        Route::Version => Answer::recorded("version"),
        Route::ReplicaSet if path.ends_with("/web-66c5cb679f") => {
            Answer::recorded("replicaset-metadata-only")
        }
        Route::Job => recorded_job(path.rsplit('/').next().unwrap_or_default()),
        Route::ReplicaSet | Route::Other => Answer::recorded("404-group"),
    };
    Ok(answer.into_response())
}

/// One of the recorded list, as the server would give it alone.
fn recorded_job(name: &str) -> Answer {
    let list = recorded_file("api/jobs-metadata-only.body");
    let list: serde_json::Value = serde_json::from_slice(&list).expect("the recorded list");
    let mut jobs = list["items"].as_array().expect("items").iter();
    match jobs.find(|job| job["metadata"]["name"] == name) {
        Some(job) => Answer::json(job.to_string()),
        None => Answer::recorded("404-pod"),
    }
}

pub fn recorded_file(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/kubernetes/recorded");
    std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A runtime on a thread of its own, so that a test can wait for a process while it serves.
pub fn background() -> Handle {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    handle
}

/// A kubeconfig with the token `the-token`.
pub fn kubeconfig(dir: &Path, pki: &Pki, server: SocketAddr) -> PathBuf {
    let ca = dir.join("ca.crt");
    std::fs::write(&ca, pki.ca_pem()).unwrap();
    // JSON is YAML.
    let text = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "k", "cluster": {
            "server": format!("https://{server}"), "certificate-authority": ca,
        }}],
        "users": [{"name": "u", "user": {"token": "the-token"}}],
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
    });
    let path = dir.join("kubeconfig");
    std::fs::write(&path, text.to_string()).unwrap();
    path
}

/// A certificate authority.
pub struct Pki {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("a CA") }
    }

    pub fn ca_pem(&self) -> String {
        self.issuer.pem()
    }

    /// Certificate and key, in PEM.
    pub fn certificate(&self, names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("names");
        self.sign(&params)
    }

    pub fn expired_certificate(&self, names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    /// A server's side, for these names; it asks for client certificates of this CA.
    pub fn acceptor(&self, names: &[&str]) -> TlsAcceptor {
        self.acceptor_with(self.certificate(names))
    }

    pub fn acceptor_with(&self, (certificate, key): (String, String)) -> TlsAcceptor {
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes());
        let chain = chain.map(|certificate| certificate.expect("PEM")).collect();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
        let mut roots = rustls::RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(self.ca_pem().as_bytes()).expect("PEM");
        roots.add(ca).expect("a CA");
        let clients = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots))
            .allow_unauthenticated()
            .build()
            .expect("a verifier");
        let config = rustls::ServerConfig::builder()
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)
            .expect("a server's config");
        TlsAcceptor::from(Arc::new(config))
    }

    /// A service account's folder with this CA and a token.
    pub fn service_account(&self, folder: &Path, token: &str) -> PathBuf {
        std::fs::write(folder.join("ca.crt"), self.ca_pem()).expect("ca.crt");
        std::fs::write(folder.join("token"), token).expect("token");
        folder.to_owned()
    }
}
