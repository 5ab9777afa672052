//! Tokens of service accounts, of which the receiver asks a Kubernetes API server whose they are.

use std::collections::VecDeque;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::Request;
use axum::routing::post;
use nodetally::receiver::{
    AUDIENCE, ReceiverAccess, ReceiverBounds, ReviewedUser, TokenReviews, TokensFile,
};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::access::{Files, https_address, put, token_of};
use super::command::receive;
use super::{Server, json_body, node_body};
use crate::support::agent::Agent;

const NODE: &str = "/api/nodes/node-1/metrics";

/// A line of the tokens file for each role, and one for a token.
fn lines() -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, token_of("root").as_bytes());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "root admin sha256:{hash}\nagents ingest serviceaccount:nodetally/nodetally\n\
         daemons ingest-own-node serviceaccount:nodetally/daemons\n\
         grafana read serviceaccount:monitoring/grafana\n"
    )
}

/// The answers of the API server: `account.NAMESPACE.NAME` is the token of an account, in the form that
/// tokens have, and `on_NODE.NAMESPACE.NAME` that of a pod on a node.
fn answer(token: &str, is_away: bool) -> Result<Option<ReviewedUser>, String> {
    if is_away {
        return Err("the API server at 10.0.0.1:443 refuses the connection".to_owned());
    }
    let Some((kind, account)) = token.split_once('.') else { return Ok(None) };
    let node_name = kind.strip_prefix("on_").map(str::to_owned);
    if kind != "account" && node_name.is_none() {
        return Ok(None);
    }
    let name = format!("system:serviceaccount:{}", account.replace('.', ":"));
    Ok(Some(ReviewedUser { name, node_name }))
}

struct Reviewed {
    server: Server,
    questions: Arc<AtomicUsize>,
    _dir: tempfile::TempDir,
}

impl Reviewed {
    async fn start(is_away: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tokens = dir.path().join("tokens");
        put(&tokens, &lines());
        let questions = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&questions);
        let reviews = TokenReviews::new(Arc::new(move |token| {
            counted.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move { answer(&token, is_away) })
        }));
        let access = ReceiverAccess {
            tokens: Some(TokensFile::open(&tokens).unwrap()),
            token_reviews: Some(reviews),
            ..ReceiverAccess::default()
        };
        let bounds = ReceiverBounds::for_interval(Duration::from_secs(15));
        let server = Server::start_with_access(bounds, access).await;
        Self { server, questions, _dir: dir }
    }

    fn get(&self, path: &str, token: &str) -> RequestBuilder {
        self.server.client.get(format!("{}{path}", self.server.base)).bearer_auth(token)
    }

    fn post(&self, token: &str) -> RequestBuilder {
        json_body(self.server.post(NODE), &node_body(1)).bearer_auth(token)
    }

    fn questions(&self) -> usize {
        self.questions.load(Ordering::Relaxed)
    }
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn an_account_has_the_role_of_its_line() {
    let receiver = Reviewed::start(false).await;
    for (token, posts, reads) in [
        ("account.nodetally.nodetally", 201, 403),
        ("account.monitoring.grafana", 403, 200),
        ("account.nodetally.other", 401, 401),
        ("other.kind.user", 401, 401),
        ("opaque", 401, 401),
    ] {
        assert_eq!(status(receiver.post(token)).await, posts, "{token}");
        assert_eq!(status(receiver.get("/api/nodes", token)).await, reads, "{token}");
    }
    assert_eq!(receiver.questions(), 4, "each signed token once");
    let other = receiver.get("/api/nodes", "account.nodetally.other").send().await.unwrap();
    assert!(other.text().await.unwrap().contains("in no line of receiver.tokens_file"));
    assert_eq!(status(receiver.get("/api/nodes", &token_of("root"))).await, 200);
    assert_eq!(status(receiver.get("/version", "account.a.b")).await, 200);
    assert_eq!(
        receiver.questions(),
        4,
        "neither a token of the file nor a path for all is asked for"
    );
    receiver.server.advance(61);
    assert_eq!(status(receiver.post("account.nodetally.nodetally")).await, 201);
    assert_eq!(receiver.questions(), 5, "a minute later again");
}

/// The API server names the node of the pod, and the token is for that node alone.
#[tokio::test]
async fn a_token_of_a_pod_is_for_its_node() {
    let receiver = Reviewed::start(false).await;
    for (token, posts) in [
        ("on_node-1.nodetally.daemons", 201),
        ("on_node-2.nodetally.daemons", 403),
        ("account.nodetally.daemons", 401),
        ("on_node-2.nodetally.nodetally", 201),
    ] {
        assert_eq!(status(receiver.post(token)).await, posts, "{token}");
    }
    let text = receiver.post("on_node-2.nodetally.daemons").send().await.unwrap();
    let text = text.text().await.unwrap();
    assert!(text.contains("the token daemons@node-2 with the role ingest:node-2"), "{text}");
    let text = receiver.post("account.nodetally.daemons").send().await.unwrap();
    assert!(text.text().await.unwrap().contains("does not name its node"));
}

#[tokio::test]
async fn without_an_answer_a_request_is_to_be_repeated() {
    let receiver = Reviewed::start(true).await;
    for path in ["/api/nodes", "/api/v1/nodes", "/apis/metrics.k8s.io/v1beta1/nodes", "/pod/info"] {
        let answer = receiver.get(path, "account.monitoring.grafana").send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 503, "{path}");
        assert!(answer.headers().contains_key("retry-after"), "{path}");
        let text = answer.text().await.unwrap();
        assert!(text.contains("cannot be checked now") && !text.contains("10.0.0.1"), "{text}");
    }
    assert_eq!(status(receiver.get("/api/nodes", &token_of("root"))).await, 200);
    assert_eq!(status(receiver.get("/api/nodes", "opaque")).await, 401);
    assert_eq!(status(receiver.get("/livez", "account.a.b")).await, 200);
}

/// The requests of the scripted API server: the header and the body of each.
type Asked = Arc<Mutex<VecDeque<(Option<String>, Value)>>>;

async fn api_server(asked: Asked) -> String {
    let review = async move |request: Request| {
        let authorization = request.headers().get("authorization");
        let authorization = authorization.map(|it| it.to_str().unwrap().to_owned());
        let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
        let review: Value = serde_json::from_slice(&body).unwrap();
        let token = review["spec"]["token"].as_str().unwrap().to_owned();
        asked.lock().unwrap().push_back((authorization, review));
        let status = match &*token {
            "not.for.us" => json!({
                "authenticated": true,
                "user": {"username": "system:serviceaccount:nodetally:nodetally"}
            }),
            "not.valid.now" => json!({"error": "expired"}),
            _ => json!({
                "authenticated": true,
                "audiences": ["nodetally"],
                "user": {
                    "username": "system:serviceaccount:nodetally:daemons", "groups": [],
                    "extra": {"authentication.kubernetes.io/node-name": ["node-1"]}
                }
            }),
        };
        let answer = json!({
            "kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status
        });
        (axum::http::StatusCode::CREATED, axum::Json(answer))
    };
    let router =
        axum::Router::new().route("/apis/authentication.k8s.io/v1/tokenreviews", post(review));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

/// The program asks the API server of its kubeconfig, with the credentials there.
#[tokio::test]
async fn the_api_server_of_the_settings_is_asked() {
    let asked = Asked::default();
    let server = api_server(Arc::clone(&asked)).await;
    let files = Files::new();
    put(&files.path("tokens"), &lines());
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "own-token"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]
    });
    fs::write(files.path("kubeconfig"), kubeconfig.to_string()).unwrap();
    let mut command = receive(&["--listen", "127.0.0.1:0"]);
    files.configure(&mut command, true, true);
    command.env("NODETALLY_RECEIVER_TOKEN_REVIEW", "true");
    command.env("NODETALLY_DIRECTORY_KUBECONFIG", files.path("kubeconfig"));
    let mut receiver = Agent::start(command);
    let address = https_address(&mut receiver);
    let client = files.client();
    let post = |token: &str| {
        let request = client.post(format!("https://{address}{NODE}"));
        json_body(request, &node_body(1)).bearer_auth(token)
    };
    for (token, expected) in [
        ("a.signed.token", 201),
        ("a.signed.token", 201),
        ("not.for.us", 401),
        ("not.valid.now", 401),
    ] {
        assert_eq!(status(post(token)).await, expected, "{token}");
    }
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 3);
    let (authorization, review) = &asked[0];
    assert_eq!(authorization.as_deref(), Some("Bearer own-token"));
    assert_eq!(
        review,
        &json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": {"token": "a.signed.token", "audiences": [AUDIENCE]}
        })
    );
}
