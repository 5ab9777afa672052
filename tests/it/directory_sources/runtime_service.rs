//! A container runtime that answers CRI's three calls over a unix socket as it is told.
//!
//! Its messages are written out once more, with every field of the published definition, so that
//! what the agent skips is on the wire too.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{pending, ready};
use std::path::Path;
use std::sync::{Arc, Mutex};

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixListener;
use tokio::task::{JoinHandle, JoinSet};
use tonic::body::Body;
use tonic::server::Grpc;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, prost::Message)]
pub struct Version {
    #[prost(string, tag = "1")]
    pub version: String,
    #[prost(string, tag = "2")]
    pub runtime_name: String,
    #[prost(string, tag = "3")]
    pub runtime_version: String,
    #[prost(string, tag = "4")]
    pub runtime_api_version: String,
}

/// A request, whatever is in it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Asked {}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Sandboxes {
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<Sandbox>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Sandbox {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<SandboxMetadata>,
    /// 0: ready
    #[prost(int32, tag = "3")]
    pub state: i32,
    #[prost(int64, tag = "4")]
    pub created_at: i64,
    #[prost(map = "string, string", tag = "5")]
    pub labels: HashMap<String, String>,
    #[prost(map = "string, string", tag = "6")]
    pub annotations: HashMap<String, String>,
    #[prost(string, tag = "7")]
    pub runtime_handler: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SandboxMetadata {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub uid: String,
    #[prost(string, tag = "3")]
    pub namespace: String,
    #[prost(uint32, tag = "4")]
    pub attempt: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Containers {
    #[prost(message, repeated, tag = "1")]
    pub containers: Vec<Container>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Container {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(string, tag = "2")]
    pub pod_sandbox_id: String,
    #[prost(message, optional, tag = "3")]
    pub metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "4")]
    pub image: Option<Image>,
    #[prost(string, tag = "5")]
    pub image_ref: String,
    /// 0: created, 1: running, 2: exited
    #[prost(int32, tag = "6")]
    pub state: i32,
    #[prost(int64, tag = "7")]
    pub created_at: i64,
    #[prost(map = "string, string", tag = "8")]
    pub labels: HashMap<String, String>,
    #[prost(map = "string, string", tag = "9")]
    pub annotations: HashMap<String, String>,
    #[prost(string, tag = "10")]
    pub image_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ContainerMetadata {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(uint32, tag = "2")]
    pub attempt: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Image {
    #[prost(string, tag = "1")]
    pub image: String,
}

/// The manner in which a runtime answers.
#[derive(Clone, Default)]
pub enum Manner {
    #[default]
    Well,
    /// Takes the call and says nothing.
    Hangs,
    /// Knows the calls of this API version alone.
    Speaks(&'static str),
    /// Fails the lists.
    Fails(Code, &'static str),
}

/// The lists of a runtime and the manner in which it answers.
#[derive(Clone, Default)]
pub struct Script {
    pub manner: Manner,
    pub sandboxes: Vec<Sandbox>,
    pub containers: Vec<Container>,
    /// The calls that came, by method.
    pub calls: Vec<String>,
}

/// A runtime that can be told another thing while it runs.
pub struct Runtime {
    pub script: Arc<Mutex<Script>>,
    serving: JoinHandle<()>,
}

impl Runtime {
    pub fn start(socket: &Path, script: Script) -> Self {
        let script = Arc::new(Mutex::new(script));
        let listener = UnixListener::bind(socket).unwrap();
        let serving = tokio::spawn(serve(listener, Arc::clone(&script)));
        Self { script, serving }
    }

    pub fn calls(&self) -> Vec<String> {
        self.script.lock().unwrap().calls.clone()
    }

    /// Ends it with its connections; the socket stays, as that of a runtime that was killed does.
    pub async fn kill(self) {
        self.serving.abort();
        let _ = self.serving.await;
    }
}

/// Each connection in a task of the set, so that all end with the server.
async fn serve(listener: UnixListener, script: Arc<Mutex<Script>>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let script = Arc::clone(&script);
        let service = service_fn(move |request| answer(Arc::clone(&script), request));
        connections.spawn(async move {
            let _ = http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    script: Arc<Mutex<Script>>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let script = {
        let mut script = script.lock().unwrap();
        script.calls.push(path.clone());
        script.clone()
    };
    let speaks = match script.manner {
        Manner::Hangs => pending().await,
        Manner::Speaks(version) => version,
        _ => "runtime.v1",
    };
    let Some(method) = path.strip_prefix(&format!("/{speaks}.RuntimeService/")) else {
        let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        return Ok(Status::unimplemented(format!("unknown service {service}")).into_http());
    };
    if let (Manner::Fails(code, message), true) = (&script.manner, method != "Version") {
        return Ok(Status::new(*code, *message).into_http());
    }
    Ok(match method {
        "Version" => {
            let version = Version {
                version: "0.1.0".into(),
                runtime_name: "containerd".into(),
                runtime_version: "1.5.13".into(),
                runtime_api_version: "v1".into(),
            };
            unary(request, version).await
        }
        "ListPodSandbox" => unary(request, Sandboxes { items: script.sandboxes }).await,
        "ListContainers" => unary(request, Containers { containers: script.containers }).await,
        _ => Status::unimplemented(format!("unknown method {method}")).into_http(),
    })
}

async fn unary<A>(request: Request<Incoming>, answer: A) -> Response<Body>
where
    A: prost::Message + Clone + Default + Send + Sync + 'static,
{
    let service = tower::service_fn(move |_: tonic::Request<Asked>| {
        ready(Ok::<_, Status>(tonic::Response::new(answer.clone())))
    });
    Grpc::new(ProstCodec::<A, Asked>::default()).unary(service, request).await
}

impl Sandbox {
    /// A pod's sandbox that is ready, with the labels that the kubelet gives it.
    pub fn of(digit: char, namespace: &str, name: &str, uid: &str) -> Self {
        let label = |key: &str, value: &str| (format!("io.kubernetes.pod.{key}"), value.to_owned());
        Self {
            id: digit.to_string().repeat(64),
            metadata: Some(SandboxMetadata {
                name: name.into(),
                uid: uid.into(),
                namespace: namespace.into(),
                attempt: 0,
            }),
            state: 0,
            created_at: 1_795_195_620_000_000_000,
            labels: [label("namespace", namespace), label("name", name), label("uid", uid)].into(),
            annotations: HashMap::new(),
            runtime_handler: String::new(),
        }
    }
}

impl Container {
    /// A container that runs in the sandbox of this digit.
    pub fn of(sandbox: char, id: &str, name: &str, attempt: u32) -> Self {
        Self {
            id: format!("{id:0>64}"),
            pod_sandbox_id: sandbox.to_string().repeat(64),
            metadata: Some(ContainerMetadata { name: name.into(), attempt }),
            image: Some(Image { image: format!("registry.example.com/{name}:1") }),
            image_ref: "sha256:8522d622".into(),
            state: 1,
            created_at: 1_795_195_621_000_000_000 + i64::from(attempt),
            labels: [("io.kubernetes.container.name".into(), name.into())].into(),
            annotations: [("io.kubernetes.container.hash".into(), "b7a2f1c0".into())].into(),
            image_id: "sha256:8522d622".into(),
        }
    }
}
