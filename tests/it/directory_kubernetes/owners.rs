use serde_json::Value;

use crate::directory_kubernetes::{Setup, Source, named};
use crate::support::api_server::{Answer, Route, recorded_file};

/// The recorded list, with the Job's pod made one of a CronJob's Job, and a second pod of `web`.
fn list_with_a_cron_job() -> Answer {
    let mut list: Value = serde_json::from_slice(&recorded_file("api/pods-of-node.body")).unwrap();
    let items = list["items"].as_array_mut().unwrap();
    items[0]["metadata"]["ownerReferences"][0]["name"] = Value::from("tidy-1795194900");
    let mut second = items[7].clone();
    second["metadata"]["name"] = Value::from("web-66c5cb679f-other");
    second["metadata"]["uid"] = Value::from("b5414059-c9cf-4897-8988-d4c813352d05");
    items.push(second);
    Answer::json(list.to_string())
}

#[tokio::test]
async fn pods_are_walked_to_what_people_deployed_with_one_request_for_each_owner() {
    let mut setup = Setup::new().await;
    setup.server.script(Route::List, [list_with_a_cron_job(), list_with_a_cron_job()]);
    let source = setup.source();
    let catalog = source
        .until("all owners", |catalog| {
            let walked = catalog.pods().iter().filter(|pod| pod.workload.is_some());
            walked.count() == 3
        })
        .await;
    let workload = |name| named(&catalog, name).unwrap().workload();
    assert_eq!(workload("web-66c5cb679f-dccp2"), Some(("Deployment", "web")));
    assert_eq!(workload("web-66c5cb679f-other"), Some(("Deployment", "web")));
    assert_eq!(workload("import-57q8w"), Some(("CronJob", "tidy")));
    assert_eq!(workload("db-1"), Some(("StatefulSet", "db")));
    assert_eq!(workload("log-shipper-rd78g"), Some(("DaemonSet", "log-shipper")));
    assert_eq!(workload("shell"), None);

    // Another list asks for nothing that is known.
    let watch = setup.server.next_watch().await;
    watch.pen.write(recorded_file("api/410-watch-too-old.body")).await;
    setup.server.next_watch().await;
    assert_eq!(
        setup.server.requests_for(Route::ReplicaSet),
        ["/apis/apps/v1/namespaces/shop/replicasets/web-66c5cb679f"]
    );
    assert_eq!(
        setup.server.requests_for(Route::Job),
        ["/apis/batch/v1/namespaces/batch/jobs/tidy-1795194900"]
    );
    let metadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    for (path, accept) in [("/apis/batch/", metadata), ("/apis/apps/", "application/json")] {
        let log = setup.server.log();
        let logged = log.iter().find(|log| log.path_and_query.starts_with(path)).unwrap();
        assert_eq!(logged.accept.as_deref(), Some(accept));
    }
}

/// Two releases of one chart: their pods have one name label, their Deployments two selectors.
#[tokio::test]
async fn the_selector_of_a_deployment_is_known_by_its_replica_set() {
    let setup = Setup::new().await;
    let mut replica_set: Value =
        serde_json::from_slice(&recorded_file("api/replicaset-metadata-only.body")).unwrap();
    replica_set["kind"] = "ReplicaSet".into();
    replica_set["spec"] = serde_json::json!({
        "replicas": 1,
        "selector": {"matchLabels": {
            "app": "web", "app.kubernetes.io/instance": "blue", "pod-template-hash": "66c5cb679f",
        }},
        "template": {"spec": {"containers": []}},
    });
    setup.server.script(Route::ReplicaSet, [Answer::json(replica_set.to_string())]);
    let source = setup.source();
    let catalog = source
        .until("the Deployment", |catalog| {
            named(catalog, "web-66c5cb679f-dccp2").is_some_and(|pod| pod.workload.is_some())
        })
        .await;
    let workload = named(&catalog, "web-66c5cb679f-dccp2").unwrap().workload.clone().unwrap();
    assert_eq!((&*workload.kind, &*workload.name), ("Deployment", "web"));
    let labels: Vec<(&str, &str)> =
        workload.match_labels.iter().map(|(key, value)| (&**key, &**value)).collect();
    assert_eq!(labels, [("app", "web"), ("app.kubernetes.io/instance", "blue")]);
}

#[tokio::test]
async fn an_owner_that_was_removed_is_no_error() {
    let setup = Setup::new().await;
    setup.server.script(Route::ReplicaSet, [Answer::recorded("404-pod")]);
    let source = setup.source();
    let catalog = source
        .until("the Job's own name", |catalog| {
            named(catalog, "import-57q8w").is_some_and(|pod| pod.workload.is_some())
        })
        .await;
    // By the hash in its name.
    let web = named(&catalog, "web-66c5cb679f-dccp2").unwrap();
    assert_eq!(web.workload(), Some(("Deployment", "web")));
    assert_eq!(named(&catalog, "import-57q8w").unwrap().workload(), Some(("Job", "import")));
    source.well().await;
}

#[tokio::test]
async fn the_node_and_the_version_are_asked_for_now_and_then() {
    let setup = Setup::new().await;
    let mut options = setup.options();
    options.refresh = std::time::Duration::from_millis(200);
    let source = Source::start(options);
    let catalog = source
        .until("node and version", |catalog| {
            catalog.node.is_some() && catalog.server_version.is_some()
        })
        .await;
    let node = catalog.node.as_ref().unwrap();
    assert_eq!(node.provider_id.as_deref(), Some("aws:///eu-west-1a/i-013029f9e83d15b3d"));
    assert_eq!(catalog.server_version.as_deref(), Some("v1.20.2"));

    let mut later: Value =
        serde_json::from_slice(&recorded_file("api/node-worker-1.body")).unwrap();
    later["metadata"]["labels"]["example.org/later"] = Value::from("yes");
    setup.server.script(Route::Node, [Answer::json(later.to_string())]);
    source
        .until("the node's new label", |catalog| {
            catalog.node.as_ref().is_some_and(|node| node.labels.len() == 10)
        })
        .await;
}

#[tokio::test]
async fn a_role_without_replicasets_is_logged_and_the_pods_are_kept() {
    let mut setup = Setup::new().await;
    let message = "replicasets.apps \"web-66c5cb679f\" is forbidden: User \
        \"system:serviceaccount:monitoring:node-agent\" cannot get resource \"replicasets\" in \
        API group \"apps\" in the namespace \"shop\"";
    let denied = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": "Forbidden",
        "details": {"name": "web-66c5cb679f", "group": "apps", "kind": "replicasets"}, "code": 403,
    });
    setup.server.script(Route::ReplicaSet, [Answer::json(denied.to_string()).status(403)]);
    let source = setup.source();
    let error = source.error("replicasets").await;
    assert_eq!(
        &*error.text,
        "the service account (system:serviceaccount:monitoring:node-agent) may not get \
         replicasets: the ClusterRole lacks verb `get` on resource `replicasets` of API group \
         `apps`"
    );
    // It stands while the pods are told as ever.
    let watch = setup.server.next_watch().await;
    let events = recorded_file("api/watch-pods.body");
    watch.pen.write(&events[..=events.iter().position(|byte| *byte == b'\n').unwrap()]).await;
    let catalog = source.until("the event", |catalog| named(catalog, "fleeting").is_some()).await;
    assert_eq!(catalog.sources[0].last_error.as_ref(), Some(&error));
    let web = named(&catalog, "web-66c5cb679f-dccp2").unwrap();
    assert_eq!(web.workload(), Some(("Deployment", "web")));
}
