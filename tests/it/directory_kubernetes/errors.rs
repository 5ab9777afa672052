//! Error texts of the source `kubernetes`: one clear line each.

use std::cell::RefCell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nodetally::directory::kubernetes::{ApiAccess, ServiceAccount, probe};
use tokio::net::TcpListener;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{self, Layer, SubscriberExt as _};

use crate::directory_kubernetes::access::kubeconfig;
use crate::directory_kubernetes::{PATIENCE, Setup, Source, in_cluster, options};
use crate::support::api_server::{Answer, ApiServer, Pki, Route};
use crate::support::log_lines::hear_all;

#[tokio::test]
async fn no_right_to_list_names_verb_and_resource() {
    let setup = Setup::new().await;
    setup.server.script(Route::List, (0..50).map(|_| Answer::recorded("403-pods")));
    let source = setup.source();
    let error = source.error("may not").await;
    assert_eq!(
        &*error.text,
        "the service account (system:serviceaccount:monitoring:nobody) may not list pods: the \
         ClusterRole lacks verb `list` on resource `pods`"
    );
    // The node is known all the same.
    let known = source.until("the node", |catalog| catalog.node.is_some()).await;
    assert_eq!(known.sources[0].current_at, None);
    assert!(known.sources[0].last_error.is_some());
}

#[tokio::test]
async fn no_right_to_watch_names_it_too() {
    let setup = Setup::new().await;
    setup.server.script(Route::Watch, [Answer::recorded("403-watch")]);
    let source = setup.source();
    let error = source.error("may not").await;
    assert!(error.text.ends_with("lacks verb `watch` on resource `pods`"), "{}", error.text);
    source.well().await;
}

#[tokio::test]
async fn without_the_right_to_watch_the_pods_are_listed_again_at_each_backoff() {
    let setup = Setup::new().await;
    setup.server.script(Route::Watch, ["403-watch"; 5].map(Answer::recorded));
    setup.server.script(
        Route::List,
        [Answer::recorded("pods-of-node"), Answer::recorded("pods-of-absent-node")],
    );
    let mut options = setup.options();
    options.backoff_max = Duration::from_secs(60);
    let began = Instant::now();
    let source = Source::start(options);
    source.error("verb `watch`").await;
    let mut changes = source.directory.changes();
    // At each list the trouble stands, also while the list itself is well.
    for (what, pods) in [("the second list", 0), ("the third", 8)] {
        let listed = changes.wait_for(|catalog| catalog.pods().len() == pods);
        let catalog = tokio::time::timeout(PATIENCE, listed).await.expect(what).unwrap().clone();
        let error = catalog.sources[0].last_error.as_ref().expect(what);
        assert!(error.text.ends_with("lacks verb `watch` on resource `pods`"), "{error:?}");
    }
    source.until("the fourth", |_| setup.server.requests_for(Route::List).len() > 3).await;
    // After the first list two waits, then one each: at least 10, 20, 40 and 80 ms.
    let lists = u32::try_from(setup.server.requests_for(Route::List).len()).unwrap();
    let least = Duration::from_millis(10) * (2_u32.pow(lists) - 1);
    assert!(least <= began.elapsed(), "{lists} lists in {:?}", began.elapsed());

    // Once it may, all is well.
    source.well().await;
}

#[tokio::test]
async fn a_node_that_the_cluster_does_not_have_is_a_wrong_name() {
    let setup = Setup::new().await;
    let mut options = setup.options();
    options.node_name = "absent".to_owned();
    let source = Source::start(options);
    let error = source.error("has no node").await;
    assert!(error.text.contains("`absent`") && error.text.contains("NODE_NAME"));
}

#[tokio::test]
async fn a_token_that_is_not_accepted_names_its_file() {
    let setup = Setup::new().await;
    setup.server.accept_tokens(&["another"]);
    let source = setup.source();
    let error = source.error("401").await;
    let file = setup.folder.path().join("token");
    assert_eq!(
        &*error.text,
        format!(
            "the API server does not accept the token in {} (401 Unauthorized)",
            file.display()
        )
    );
}

#[tokio::test]
async fn files_of_the_service_account_that_are_missing_are_named() {
    let setup = Setup::new().await;
    std::fs::remove_file(setup.folder.path().join("token")).unwrap();
    let source = setup.source();
    let error = source.error("cannot be read").await;
    assert!(error.text.contains("/token cannot be read: No such file"), "{}", error.text);
    setup.pki.service_account(setup.folder.path(), "the-token");
    source.well().await;
    drop(source);
    std::fs::remove_file(setup.folder.path().join("ca.crt")).unwrap();
    let source = setup.source();
    let error = source.error("ca.crt").await;
    assert!(error.text.contains("/ca.crt cannot be read: No such file"), "{}", error.text);
}

#[tokio::test]
async fn a_certificate_of_another_ca_names_ours() {
    let setup = Setup::new().await;
    let other = tempfile::tempdir().unwrap();
    Pki::new("another-ca").service_account(other.path(), "the-token");
    let source = Source::start(options(in_cluster(other.path(), &setup.server)));
    let error = source.error("certificate").await;
    let ca = other.path().join("ca.crt");
    assert_eq!(
        &*error.text,
        format!("the API server's certificate is not signed by the CA in {}", ca.display())
    );
}

#[tokio::test]
async fn certificates_for_another_name_or_time_have_different_errors() {
    let pki = Pki::new("cluster-ca");
    let folder = tempfile::tempdir().unwrap();
    pki.service_account(folder.path(), "the-token");
    let server = ApiServer::start_with(Some(pki.acceptor(&["kube.example.org"]))).await;
    let source = Source::start(options(in_cluster(folder.path(), &server)));
    let error = source.error("is not for the name").await;
    assert!(error.text.contains(&server.address.to_string()), "{}", error.text);
    drop(source);

    let expired = pki.acceptor_with(pki.expired_certificate(&["127.0.0.1"]));
    let server = ApiServer::start_with(Some(expired)).await;
    let source = Source::start(options(in_cluster(folder.path(), &server)));
    source.error("certificate has expired, or this host's clock is wrong").await;
}

#[tokio::test]
async fn a_port_without_tls_is_reported() {
    let setup = Setup::new().await;
    let plain = ApiServer::start_with(None).await;
    let source = Source::start(options(in_cluster(setup.folder.path(), &plain)));
    source.error("does not speak TLS").await;
}

#[tokio::test]
async fn plain_http_to_a_tls_port_is_reported() {
    let setup = Setup::new().await;
    // In the words of a real one, which answers so below its TLS.
    let words = "Client sent an HTTP request to an HTTPS server.\n";
    let plain = ApiServer::start_with(None).await;
    plain.script(Route::List, (0..9).map(|_| Answer::json(words).status(400)));
    let path = kubeconfig(setup.folder.path(), &plain, &setup.pki.ca_pem(), "    token: t");
    let https = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, https.replace("https://", "http://")).unwrap();
    let source = Source::start(options(ApiAccess::Kubeconfig(path)));
    source.error("speaks TLS, not plain HTTP").await;
}

#[tokio::test]
async fn a_closed_port_and_an_unknown_name_are_reported() {
    let setup = Setup::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let at = |host: &str, port| {
        let server = Some((host.to_owned(), port));
        ApiAccess::InCluster(ServiceAccount { folder: setup.folder.path().to_owned(), server })
    };
    let source = Source::start(options(at("127.0.0.1", port)));
    source.error("refuses the connection").await;
    drop(source);
    let source = Source::start(options(at("no-such-host.invalid", 443)));
    let error = source.error("name is not known").await;
    assert!(error.text.contains("no-such-host.invalid:443"), "{}", error.text);
}

#[tokio::test]
async fn a_busy_server_is_left_alone_for_as_long_as_it_asks() {
    for (name, as_date) in [
        ("429-max-in-flight", false),
        ("429-priority-and-fairness", true),
        ("504-resource-version-too-large", false),
    ] {
        let setup = Setup::new().await;
        // A date has no parts of a second.
        let mut least = Duration::from_millis(980);
        let mut busy = Answer::recorded(name);
        if as_date {
            let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3));
            busy = busy.header("Retry-After", &date);
            least = Duration::from_millis(1900);
        }
        setup.server.script(Route::List, [busy]);
        let began = Instant::now();
        let source = setup.source();
        let error = source.error("the API server").await;
        let code = name.split('-').next().unwrap();
        assert!(error.text.contains(code), "{name}: {}", error.text);
        source.well().await;
        assert!(began.elapsed() >= least, "{name}: {:?}", began.elapsed());
        assert_eq!(setup.server.requests_for(Route::List).len(), 2, "{name}");
    }
}

#[tokio::test]
async fn a_good_answer_may_ask_for_a_rest_too() {
    let setup = Setup::new().await;
    let reset = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3;
    let last = Answer::recorded("pods-page-1")
        .header("X-RateLimit-Limit", "100")
        .header("X-RateLimit-Remaining", "0")
        .header("X-RateLimit-Reset", &reset.to_string());
    setup.server.script(Route::List, [last, Answer::recorded("pods-page-5")]);
    let began = Instant::now();
    let catalog = setup.source().well().await;
    assert_eq!(catalog.pods().len(), 2);
    assert!(began.elapsed() >= Duration::from_millis(1900), "{:?}", began.elapsed());
}

thread_local! {
    /// The lines that this test's thread logged at `info` and above: target, level, message.
    static LINES: RefCell<Vec<(String, Level, String)>> = const { RefCell::new(Vec::new()) };
}

struct IntoLines;

impl<S: Subscriber> Layer<S> for IntoLines {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        let metadata = event.metadata();
        if *metadata.level() <= Level::INFO {
            let line = (metadata.target().to_owned(), *metadata.level(), message.0);
            LINES.with_borrow_mut(|lines| lines.push(line));
        }
    }
}

#[tokio::test]
async fn an_error_is_one_line_when_it_begins_and_one_when_it_ends() {
    hear_all();
    let subscriber = tracing_subscriber::registry().with(IntoLines);
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut setup = Setup::new().await;
    let source = setup.source();
    setup.server.next_watch().await;
    setup.server.kill().await;
    source.error("refuses the connection").await;
    // Some more tries in vain.
    let mut changes = source.directory.changes();
    for _ in 0..10 {
        changes.mark_unchanged();
        changes.changed().await.unwrap();
    }
    setup.server.restart().await;
    source.well().await;
    setup.server.next_watch().await;
    let lines = LINES.take();
    let said: Vec<_> = lines.iter().map(|(_, level, message)| (*level, &**message)).collect();
    let text = format!(
        "identity source kubernetes: the API server at {} refuses the connection: nothing listens there; \
         its last answer stays in use, retry follows",
        setup.server.address
    );
    assert_eq!(
        said,
        [(Level::WARN, &*text), (Level::INFO, "identity source kubernetes answers again")],
        "{lines:?}"
    );
}

#[tokio::test]
async fn check_reports_each_request() {
    let setup = Setup::new().await;
    // A watch of one second, which the server ends.
    let (watch, pen) = Answer::written();
    drop(pen);
    setup.server.script(Route::Watch, [watch]);
    setup.server.script(Route::Job, [Answer::recorded("403-pods")]);
    let answers = probe(setup.options()).await;
    let names: Vec<&str> = answers.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        ["version", "list pods", "watch pods", "get node", "get replicasets", "get jobs"]
    );
    assert_eq!(answers[0].1.as_deref(), Ok("v1.20.2"));
    assert_eq!(answers[1].1.as_deref(), Ok("one on node `worker-1`"));
    assert_eq!(answers[2].1.as_deref(), Ok("allowed"));
    assert_eq!(answers[3].1.as_deref(), Ok("worker-1, kubelet v1.20.2"));
    assert_eq!(answers[4].1.as_deref(), Ok("allowed"));
    let jobs = answers[5].1.as_ref().unwrap_err().to_string();
    assert!(jobs.contains("lacks verb `get` on resource `jobs` of API group `batch`"), "{jobs}");

    let other = tempfile::tempdir().unwrap();
    Pki::new("another-ca").service_account(other.path(), "the-token");
    let answers = probe(options(in_cluster(other.path(), &setup.server))).await;
    let [("connection", Err(text))] = answers.as_slice() else { panic!("{answers:?}") };
    assert!(text.to_string().contains("is not signed by the CA in"), "{text}");
}
