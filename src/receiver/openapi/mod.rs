//! The OpenAPI 3.1 document of this server, at `/openapi.json`.
//!
//! A table has the operations, and `components.json` the forms of bodies and answers. The tests hold
//! the table against the routes, and schemathesis holds the whole document against a running server.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Map, Value, json};

use super::answer::{HandlerResult, json as json_answer};
use super::state::ReceiverState;

/// The path of the document.
const PATH: &str = "/openapi.json";

/// Parameters, responses and schemas, all of which operations refer to by name.
const COMPONENTS: &str = include_str!("components.json");

pub(super) fn router() -> Router<ReceiverState> {
    Router::new().route(PATH, get(document))
}

async fn document(State(state): State<ReceiverState>) -> HandlerResult {
    let retention = state.bounds().retention.as_secs();
    Ok(json_answer(StatusCode::OK, &document_of(retention)))
}

/// The document of a server that keeps samples for that many seconds.
fn document_of(retention_seconds: u64) -> Value {
    let mut components: Value = serde_json::from_str(COMPONENTS).unwrap_or_default();
    for parameter in ["window", "step"] {
        components["parameters"][parameter]["schema"]["maximum"] = json!(retention_seconds);
    }
    let mut paths = Map::new();
    for api in APIS {
        for operation in api.operations {
            let path = paths.entry(operation.path).or_insert_with(|| path_item(operation));
            path[operation.method] = operation.object(api);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "nodetally receiver",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Usage of nodes, pods and host units, as nodetally and others push it."
        },
        "security": [{}, { "bearer": [] }, { "apiKey": [] }],
        "paths": paths,
        "components": components
    })
}

/// A path with its parameters, which are the names in braces. A read of a name that nothing can have
/// finds nothing; a post of one is refused.
fn path_item(operation: &Operation) -> Value {
    let schema = match operation.body {
        Some(_) => json!({ "$ref": "#/components/schemas/Name" }),
        None => json!({ "type": "string", "minLength": 1 }),
    };
    let segments = operation.path.split('/');
    let names = segments.filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let parameters = names.map(
        |name| json!({ "name": name, "in": "path", "required": true, "schema": schema.clone() }),
    );
    json!({ "parameters": parameters.collect::<Vec<_>>() })
}

/// Operations that refuse requests in one form.
struct ApiDescription {
    name: &'static str,
    /// The response that has the form.
    refusal: &'static str,
    operations: &'static [Operation],
}

/// One method of a path.
struct Operation {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    /// Names of parameters.
    query: &'static [&'static str],
    /// The schema of the body; `None`: it has none.
    body: Option<&'static str>,
    answer: AnswerForm,
}

/// The schema of a successful answer.
enum AnswerForm {
    /// Status 200, one of it.
    One(&'static str),
    /// Status 200, a list of it.
    Many(&'static str),
    /// Status 200, one of it, or a list where the request asks for a time series.
    OneOrMany(&'static str),
    /// Status 201, one of it.
    Created(&'static str),
}

impl Operation {
    const fn get(
        path: &'static str,
        summary: &'static str,
        query: &'static [&'static str],
        answer: AnswerForm,
    ) -> Self {
        Self { method: "get", path, summary, query, body: None, answer }
    }

    const fn post(
        path: &'static str,
        summary: &'static str,
        body: &'static str,
        answer: AnswerForm,
    ) -> Self {
        Self { method: "post", path, summary, query: &[], body: Some(body), answer }
    }

    /// The Operation Object of OpenAPI.
    fn object(&self, api: &ApiDescription) -> Value {
        let reference =
            |kind: &str, name: &str| json!({ "$ref": format!("#/components/{kind}/{name}") });
        let schema = |name: &str| reference("schemas", name);
        let list = |name: &str| json!({ "type": "array", "items": schema(name) });
        let (status, form) = match self.answer {
            AnswerForm::One(name) => ("200", schema(name)),
            AnswerForm::Many(name) => ("200", list(name)),
            AnswerForm::OneOrMany(name) => ("200", json!({ "anyOf": [schema(name), list(name)] })),
            AnswerForm::Created(name) => ("201", schema(name)),
        };
        let mut responses = json!({
            status: {
                "description": "Done.",
                "content": { "application/json": { "schema": form } }
            }
        });
        let refusals: &[_] = match self.body {
            None => &READ_REFUSALS,
            Some(_) => &POST_REFUSALS,
        };
        for status in refusals {
            responses[*status] = reference("responses", api.refusal);
        }
        let mut parameters: Vec<Value> =
            self.query.iter().map(|name| reference("parameters", name)).collect();
        if self.body.is_some() {
            parameters.push(reference("parameters", "Idempotency-Key"));
        }
        let mut operation = json!({
            "tags": [api.name], "summary": self.summary,
            "parameters": parameters, "responses": responses
        });
        if let Some(body) = self.body {
            operation["requestBody"] = json!({
                "required": true,
                "content": { "application/json": { "schema": schema(body) } }
            });
        }
        operation
    }
}

const READ_REFUSALS: [&str; 6] = ["400", "401", "403", "404", "405", "503"];
const POST_REFUSALS: [&str; 10] =
    ["400", "401", "403", "405", "408", "413", "415", "422", "503", "507"];

const SPAN: &[&str] = &["window", "from", "to", "step"];
const SPAN_AND_NAMESPACE: &[&str] = &["window", "from", "to", "step", "namespace"];
const SELECTORS: &[&str] = &["labelSelector", "fieldSelector", "limit", "continue"];

use AnswerForm::{Created, Many, One, OneOrMany};

const APIS: &[ApiDescription] = &[
    ApiDescription {
        name: "nodes and pods",
        refusal: "ErrorBody",
        operations: &[
            Operation::get("/api/nodes", "All nodes.", SPAN, Many("NodeRecord")),
            Operation::get(
                "/api/nodes/timeseries",
                "All nodes over time.",
                SPAN,
                Many("NodeRecord"),
            ),
            Operation::get("/api/nodes/{node}", "A node.", SPAN, OneOrMany("NodeRecord")),
            Operation::get(
                "/api/nodes/{node}/timeseries",
                "A node over time.",
                SPAN,
                Many("NodeRecord"),
            ),
            Operation::post(
                "/api/nodes/{node}/metrics",
                "Stores usage of a node.",
                "NodePost",
                Created("Message"),
            ),
            Operation::get("/api/nodes/{node}/pods", "The pods of a node.", &[], Many("PodRecord")),
            Operation::get("/api/pods", "All pods.", SPAN_AND_NAMESPACE, Many("PodRecord")),
            Operation::get(
                "/api/pods/timeseries",
                "All pods over time.",
                SPAN_AND_NAMESPACE,
                Many("PodRecord"),
            ),
            Operation::get(
                "/api/pods/{pod}",
                "The pods of a name.",
                SPAN_AND_NAMESPACE,
                Many("PodRecord"),
            ),
            Operation::get(
                "/api/pods/{pod}/timeseries",
                "The pods of a name over time.",
                SPAN_AND_NAMESPACE,
                Many("PodRecord"),
            ),
            Operation::get("/api/namespaces", "All namespaces.", SPAN, Many("NamespaceRecord")),
            Operation::get(
                "/api/namespaces/timeseries",
                "All namespaces over time.",
                SPAN,
                Many("NamespaceRecord"),
            ),
            Operation::get(
                "/api/namespaces/{namespace}",
                "A namespace; over time also a deployment.",
                SPAN,
                OneOrMany("Usage"),
            ),
            Operation::get(
                "/api/namespaces/{namespace}/timeseries",
                "A namespace or deployment over time.",
                SPAN,
                Many("Usage"),
            ),
            Operation::get(
                "/api/namespaces/{namespace}/pods",
                "The pods of a namespace.",
                &[],
                Many("PodRecord"),
            ),
            Operation::post(
                "/api/namespaces/{namespace}/pods/{pod}/metrics",
                "Stores usage of a pod.",
                "PodPost",
                Created("Message"),
            ),
            Operation::get(
                "/api/namespaces/{namespace}/deployments",
                "The deployments of a namespace.",
                &[],
                Many("DeploymentRecord"),
            ),
            Operation::get(
                "/api/namespaces/{namespace}/deployments/{deployment}",
                "A deployment.",
                SPAN,
                OneOrMany("DeploymentRecord"),
            ),
            Operation::get(
                "/api/namespaces/{namespace}/deployments/{deployment}/timeseries",
                "A deployment over time.",
                SPAN,
                Many("DeploymentRecord"),
            ),
            Operation::get(
                "/api/namespaces/{namespace}/deployments/{deployment}/pods",
                "The pods of a deployment.",
                &[],
                Many("PodRecord"),
            ),
            Operation::get(
                "/api/deployments",
                "All deployments.",
                SPAN_AND_NAMESPACE,
                Many("DeploymentRecord"),
            ),
            Operation::get(
                "/api/deployments/timeseries",
                "All deployments over time.",
                SPAN_AND_NAMESPACE,
                Many("DeploymentRecord"),
            ),
            Operation::get(
                "/api/deployments/{deployment}",
                "The deployments of a name.",
                SPAN_AND_NAMESPACE,
                Many("DeploymentRecord"),
            ),
            Operation::get(
                "/api/deployments/{deployment}/timeseries",
                "The deployments of a name over time.",
                SPAN_AND_NAMESPACE,
                Many("DeploymentRecord"),
            ),
        ],
    },
    ApiDescription {
        name: "samples",
        refusal: "ErrorBody",
        operations: &[
            Operation::post(
                "/api/samples",
                "Stores a sample of a node.",
                "SamplePost",
                Created("Message"),
            ),
            Operation::get(
                "/api/nodes/{node}/sample",
                "The last sample of a node.",
                &[],
                One("SampleRecord"),
            ),
            Operation::get(
                "/api/nodes/{node}/units",
                "The host units of a node.",
                SPAN,
                Many("UnitRecord"),
            ),
            Operation::get(
                "/api/nodes/{node}/units/timeseries",
                "The host units of a node over time.",
                SPAN,
                Many("UnitRecord"),
            ),
            Operation::get(
                "/api/nodes/{node}/processes",
                "The largest processes of a node.",
                &[],
                Many("ProcessRecord"),
            ),
            Operation::get(
                "/api/nodes/{node}/balance",
                "The parts of a node's usage, and the remainder.",
                &[],
                One("BalanceRecord"),
            ),
        ],
    },
    ApiDescription {
        name: "pod batches",
        refusal: "BatchErrorBody",
        operations: &[
            Operation::get(
                "/api/v1/metrics/pods",
                "The pods of the last batches.",
                &[],
                One("BatchList"),
            ),
            Operation::post("/api/v1/metrics/pods", "Stores pods.", "PodBatch", One("BatchAnswer")),
            Operation::get(
                "/api/v1/metrics/nodes",
                "The nodes of the last batches.",
                &[],
                One("BatchList"),
            ),
            Operation::post(
                "/api/v1/metrics/nodes",
                "Stores nodes.",
                "NodeBatch",
                One("BatchAnswer"),
            ),
        ],
    },
    ApiDescription {
        name: "pod life cycle",
        refusal: "Text",
        operations: &[
            Operation::post(
                "/pod/spec",
                "Stores the specification of a pod.",
                "PodSpecPost",
                One("PodSpecRow"),
            ),
            Operation::post(
                "/pod/mark_dead",
                "Marks a pod as dead.",
                "MarkDeadPost",
                One("MarkedRows"),
            ),
            Operation::get("/pod/info", "All rows.", &[], Many("PodSpecRow")),
            Operation::get("/pod/name/{pod}", "The row of a name.", &[], One("PodSpecRow")),
            Operation::get("/pod/ip/{ip}", "The row of an address.", &[], One("PodSpecRow")),
            Operation::get("/pod/list/{node}", "The live rows of a node.", &[], Many("PodSpecRow")),
        ],
    },
    ApiDescription {
        name: "Kubernetes metrics",
        refusal: "Status",
        operations: &[
            Operation::get("/api", "Versions of the core API.", &[], One("KubernetesObject")),
            Operation::get("/api/v1", "Resources of the core API.", &[], One("KubernetesObject")),
            Operation::get(
                "/api/v1/nodes",
                "Nodes with capacity and allocatable amounts.",
                SELECTORS,
                One("KubernetesList"),
            ),
            Operation::get("/api/v1/nodes/{node}", "A node.", &[], One("KubernetesObject")),
            Operation::get("/api/v1/pods", "Running pods.", SELECTORS, One("KubernetesList")),
            Operation::get(
                "/api/v1/namespaces/{namespace}/pods",
                "Running pods of a namespace.",
                SELECTORS,
                One("KubernetesList"),
            ),
            Operation::get(
                "/api/v1/namespaces/{namespace}/pods/{pod}",
                "A running pod.",
                &[],
                One("KubernetesObject"),
            ),
            Operation::get("/apis", "API groups.", &[], One("KubernetesObject")),
            Operation::get(
                "/apis/metrics.k8s.io",
                "The group metrics.k8s.io.",
                &[],
                One("KubernetesObject"),
            ),
            Operation::get(
                "/apis/metrics.k8s.io/v1beta1",
                "Its resources.",
                &[],
                One("KubernetesObject"),
            ),
            Operation::get(
                "/apis/metrics.k8s.io/v1beta1/nodes",
                "NodeMetrics.",
                SELECTORS,
                One("KubernetesList"),
            ),
            Operation::get(
                "/apis/metrics.k8s.io/v1beta1/nodes/{node}",
                "NodeMetrics of a node.",
                &[],
                One("KubernetesObject"),
            ),
            Operation::get(
                "/apis/metrics.k8s.io/v1beta1/pods",
                "PodMetrics.",
                SELECTORS,
                One("KubernetesList"),
            ),
            Operation::get(
                "/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods",
                "PodMetrics of a namespace.",
                SELECTORS,
                One("KubernetesList"),
            ),
            Operation::get(
                "/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods/{pod}",
                "PodMetrics of a pod.",
                &[],
                One("KubernetesObject"),
            ),
        ],
    },
];
