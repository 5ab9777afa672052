//! Requests that a Kubernetes API server passes on: its certificate, and the user in `X-Remote-User`.

use std::fs;
use std::net::SocketAddr;

use nix::sys::signal::Signal;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use reqwest::{Certificate, Client, Identity, Method, RequestBuilder};
use serde_json::Value;

use super::access::{Files, https_address, put, token_of};
use super::command::receive;
use super::{json_body, node_body};
use crate::support::agent::Agent;

const NODES: &str = "/apis/metrics.k8s.io/v1beta1/nodes";

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca() -> Ca {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "front-proxy-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate with its key, as PEM.
fn identity(ca: &Ca, change: impl FnOnce(&mut CertificateParams)) -> Identity {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "front-proxy-client");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, ca).unwrap();
    Identity::from_pem((certificate.pem() + &key.serialize_pem()).as_bytes()).unwrap()
}

fn named(name: &'static str) -> impl FnOnce(&mut CertificateParams) {
    move |params| {
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
    }
}

/// A chain that costs the receiver memory and time.
#[tokio::test]
async fn a_long_chain_is_refused_in_the_handshake() {
    let ca = ca();
    let scene = Scene::start(&ca, "front-proxy-client").await;
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "front-proxy-client");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let own = params.signed_by(&key, &ca).unwrap().pem();
    let chain = |others: usize| {
        let pem = own.clone() + &ca.pem().repeat(others) + &key.serialize_pem();
        scene.client(Identity::from_pem(pem.as_bytes()).unwrap())
    };
    assert_eq!(status(scene.get(&chain(4), NODES)).await, 200);
    assert!(scene.get(&chain(5), NODES).send().await.is_err());
}

struct Scene {
    files: Files,
    receiver: Agent,
    address: SocketAddr,
}

impl Scene {
    /// A receiver with one node, whose front proxy has this CA and these names.
    async fn start(ca: &Ca, allowed_names: &str) -> Self {
        let files = Files::new();
        put(&files.path("front-proxy-ca.pem"), &ca.pem());
        let mut command = receive(&["--listen", "127.0.0.1:0"]);
        files.configure(&mut command, true, true);
        let ca_file = files.path("front-proxy-ca.pem");
        command.env("NODETALLY_RECEIVER_REQUESTHEADER_CLIENT_CA_FILE", ca_file);
        command.env("NODETALLY_RECEIVER_REQUESTHEADER_ALLOWED_NAMES", allowed_names);
        let mut receiver = Agent::start(command);
        let address = https_address(&mut receiver);
        let scene = Self { files, receiver, address };
        let url = scene.url("/api/nodes/node-1/metrics");
        let post = json_body(scene.files.client().post(url), &node_body(1));
        assert_eq!(status(post.bearer_auth(token_of("worker-1"))).await, 201);
        scene
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// A client that shows this certificate.
    fn client(&self, identity: Identity) -> Client {
        let trusted = fs::read(self.files.path("cert.pem")).unwrap();
        let trusted = Certificate::from_pem(&trusted).unwrap();
        let client = Client::builder().no_proxy().tls_certs_only([trusted]);
        client.identity(identity).build().unwrap()
    }

    /// A request as an API server passes it on.
    fn get(&self, client: &Client, path: &str) -> RequestBuilder {
        let request = client.get(self.url(path)).header("X-Remote-User", "alice");
        request.header("X-Remote-Group", "system:authenticated")
    }
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn the_api_server_reads_for_the_users_whom_it_names() {
    let ca = ca();
    let scene = Scene::start(&ca, "aggregator,front-proxy-client").await;
    let client = scene.client(identity(&ca, |_| {}));
    let answer = scene.get(&client, NODES).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    let list: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(list["kind"], "NodeMetricsList");
    assert_eq!(list["items"][0]["metadata"]["name"], "node-1");
    for path in ["/apis/metrics.k8s.io/v1beta1", "/apis", "/openapi/v2", "/openapi/v3", "/livez"] {
        assert_eq!(status(scene.get(&client, path)).await, 200, "{path}");
    }
    // What it passes on belongs to one group; the rest is for tokens.
    for path in ["/api/nodes", "/api/v1/nodes", "/api/v1/metrics/pods", "/pod/info"] {
        let answer = scene.get(&client, path).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 403, "{path}");
        assert!(answer.text().await.unwrap().contains("alice"), "{path}");
    }
    let post = client.request(Method::POST, scene.url("/api/nodes/node-1/metrics"));
    let post = json_body(post, &node_body(2)).header("X-Remote-User", "alice");
    assert_eq!(status(post).await, 403);
    // Two answers for a user who is not known are none.
    for users in [vec![], vec![""], vec![" "], vec!["alice", "bob"]] {
        let mut request = client.get(scene.url(NODES));
        for user in &users {
            request = request.header("X-Remote-User", *user);
        }
        assert_eq!(status(request).await, 401, "{users:?}");
    }
}

#[tokio::test]
async fn other_certificates_and_names_give_no_right() {
    let (ca, other) = (ca(), ca());
    let scene = Scene::start(&ca, "front-proxy-client").await;
    for (what, identity) in [
        ("another name", identity(&ca, named("alice"))),
        ("no name", identity(&ca, |params| params.distinguished_name = Default::default())),
        ("another CA of the same name", identity(&other, |_| {})),
        (
            "not for clients",
            identity(&ca, |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            }),
        ),
        ("expired", identity(&ca, |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1))),
        ("not yet", identity(&ca, |params| params.not_before = rcgen::date_time_ymd(3000, 1, 1))),
    ] {
        let client = scene.client(identity);
        let refused = scene.get(&client, NODES).send().await.unwrap();
        assert_eq!(refused.status().as_u16(), 401, "{what}");
        let message = refused.text().await.unwrap();
        let key = if what.contains("name") && !what.contains("CA") {
            "allowed_names"
        } else {
            "client_ca_file"
        };
        assert!(message.contains(&format!("receiver.requestheader_{key}")), "{what}: {message}");
        // It is a client like any other, with and without a token.
        assert_eq!(status(client.get(scene.url("/version"))).await, 200, "{what}");
        let with_token = scene.get(&client, NODES).bearer_auth(token_of("eyes"));
        assert_eq!(status(with_token).await, 200, "{what}");
    }
    let none = scene.files.client();
    let refused = scene.get(&none, NODES).send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 401, "headers alone");
    assert!(refused.text().await.unwrap().contains("the client shows no certificate"));
    assert_eq!(status(scene.get(&none, NODES).bearer_auth(token_of("eyes"))).await, 200);
    // The user's token does not widen the rights of what is passed on, and a wrong one takes none away.
    let proxy = scene.client(identity(&ca, |_| {}));
    for token in ["root", "stranger"] {
        assert_eq!(status(scene.get(&proxy, NODES).bearer_auth(token_of(token))).await, 200);
        let beyond = scene.get(&proxy, "/api/nodes").bearer_auth(token_of(token));
        assert_eq!(status(beyond).await, 403, "{token}");
    }
    // An agent may have a certificate of this CA and a token.
    let agent = proxy.get(scene.url("/api/nodes")).bearer_auth(token_of("eyes"));
    assert_eq!(status(agent).await, 200);
}

#[tokio::test]
async fn with_no_names_every_certificate_of_the_ca_counts() {
    let (ca, other) = (ca(), ca());
    let scene = Scene::start(&ca, "").await;
    let any = scene.client(identity(&ca, named("any")));
    assert_eq!(status(scene.get(&any, NODES)).await, 200);
    let stranger = scene.client(identity(&other, named("any")));
    assert_eq!(status(scene.get(&stranger, NODES)).await, 401);
}

/// A connection that was opened before counts by the file as it is.
#[tokio::test]
async fn the_ca_is_rotated_without_a_restart() {
    let (first, second) = (ca(), ca());
    let scene = Scene::start(&first, "front-proxy-client").await;
    let ca_file = scene.files.path("front-proxy-ca.pem");
    let of_first = scene.client(identity(&first, |_| {}));
    let of_second = scene.client(identity(&second, |_| {}));
    let both = async || {
        let of_first = status(scene.get(&of_first, NODES)).await;
        (of_first, status(scene.get(&of_second, NODES)).await)
    };
    assert_eq!(both().await, (200, 401));
    put(&ca_file, &(first.pem() + &second.pem()));
    assert_eq!(both().await, (200, 200));
    put(&ca_file, &second.pem());
    assert_eq!(both().await, (401, 200));
    put(&ca_file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert_eq!(both().await, (401, 200), "the last good one");
    fs::remove_file(&ca_file).unwrap();
    assert_eq!(both().await, (401, 200));
    scene.receiver.signal(Signal::SIGTERM);
    let (status, log) = scene.receiver.end();
    assert!(status.success(), "{log}");
    assert_eq!(log.matches("the last CA stays in use").count(), 1, "{log}");
    assert_eq!(log.matches("front-proxy-ca.pem is read again").count(), 2, "{log}");
}

#[test]
fn a_ca_file_that_cannot_be_used_is_named_at_the_start() {
    for (text, part) in [("", "holds no certificate"), ("none", "holds no certificate")] {
        let files = Files::new();
        put(&files.path("front-proxy-ca.pem"), text);
        let mut command = receive(&["--listen", "127.0.0.1:0"]);
        files.configure(&mut command, true, true);
        let ca_file = files.path("front-proxy-ca.pem");
        command.env("NODETALLY_RECEIVER_REQUESTHEADER_CLIENT_CA_FILE", ca_file);
        let output = command.output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success());
        assert!(error.contains("receiver.requestheader_client_ca_file: "), "{error}");
        assert!(error.contains(part), "{error}");
    }
}
