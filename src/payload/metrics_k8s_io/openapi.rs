//! OpenAPI documents of these APIs, for `kubectl explain` and for the API server that takes them over:
//! version 3 with a document for each API, version 2 with one for all.

use serde_json::{Map, Value, json};

use super::discovery::{ApiResource, CORE, GROUP, METRICS};

/// An API with a document of its own.
#[derive(Debug)]
struct DescribedApi {
    group: &'static str,
    version: &'static str,
    /// The path without the first slash.
    path: &'static str,
    resources: &'static [ApiResource],
    schemas: fn() -> Vec<(&'static str, Value)>,
}

const CORE_V1: DescribedApi = DescribedApi {
    group: "",
    version: "v1",
    path: "api/v1",
    resources: &CORE,
    schemas: core_schemas,
};

const METRICS_V1BETA1: DescribedApi = DescribedApi {
    group: GROUP,
    version: "v1beta1",
    path: "apis/metrics.k8s.io/v1beta1",
    resources: &METRICS,
    schemas: metrics_schemas,
};

/// The answer to `GET /openapi/v3`: where the documents are.
#[must_use]
pub fn index() -> Value {
    let paths: Map<String, Value> = [CORE_V1, METRICS_V1BETA1]
        .iter()
        .map(|api| {
            // Clients keep a document under this address, so another one has another address.
            let hash = env!("CARGO_PKG_VERSION");
            let url = format!("/openapi/v3/{}?hash={hash}", api.path);
            (api.path.to_owned(), json!({"serverRelativeURL": url}))
        })
        .collect();
    json!({"paths": paths})
}

/// The answer to `GET /openapi/v3/api/v1`.
#[must_use]
pub fn core_v3() -> Value {
    CORE_V1.document_v3()
}

/// The answer to `GET /openapi/v3/apis/metrics.k8s.io/v1beta1`.
#[must_use]
pub fn metrics_v3() -> Value {
    METRICS_V1BETA1.document_v3()
}

/// The answer to `GET /openapi/v2`.
#[must_use]
pub fn v2() -> Value {
    let (mut paths, mut definitions) = (Map::new(), Map::new());
    for api in [CORE_V1, METRICS_V1BETA1] {
        paths.extend(api.paths(SpecVersion::V2));
        definitions.extend(api.schemas(SpecVersion::V2));
    }
    json!({
        "swagger": "2.0",
        "info": info(),
        "paths": paths,
        "definitions": definitions
    })
}

fn info() -> Value {
    json!({"title": "nodetally receiver", "version": env!("CARGO_PKG_VERSION")})
}

/// A version of the specification; versions differ in where a schema is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SpecVersion {
    V2,
    V3,
}

impl SpecVersion {
    fn reference(self, schema: &str) -> Value {
        let place = match self {
            Self::V2 => "#/definitions",
            Self::V3 => "#/components/schemas",
        };
        json!({"$ref": format!("{place}/{schema}")})
    }

    fn answer(self, schema: &str) -> Value {
        let schema = self.reference(schema);
        match self {
            Self::V2 => json!({"description": "OK", "schema": schema}),
            Self::V3 => {
                json!({"description": "OK", "content": {"application/json": {"schema": schema}}})
            }
        }
    }

    fn parameter(self, name: &str, place: &str, kind: &str, description: &str) -> Value {
        let mut parameter = json!({"name": name, "in": place, "description": description});
        if place == "path" {
            parameter["required"] = json!(true);
        }
        match self {
            Self::V2 => parameter["type"] = json!(kind),
            Self::V3 => parameter["schema"] = json!({"type": kind}),
        }
        parameter
    }
}

impl DescribedApi {
    fn document_v3(&self) -> Value {
        json!({
            "openapi": "3.0.0",
            "info": info(),
            "paths": self.paths(SpecVersion::V3),
            "components": {"schemas": self.schemas(SpecVersion::V3)}
        })
    }

    /// The name of a schema, which no other API has.
    fn schema_name(&self, kind: &str) -> String {
        let group = if self.group.is_empty() { "core" } else { "metrics" };
        format!("nodetally.{group}.{}.{kind}", self.version)
    }

    fn kind(&self, kind: &str) -> Value {
        json!({"group": self.group, "version": self.version, "kind": kind})
    }

    fn paths(&self, spec: SpecVersion) -> Map<String, Value> {
        let mut paths = Map::new();
        for resource in self.resources {
            let (base, name, kind) = (self.path, resource.name, resource.kind);
            let mut add = |path: String, is_list: bool, is_in_namespace: bool| {
                let namespaced = if is_in_namespace { "Namespaced" } else { "" };
                let verb = if is_list { "list" } else { "get" };
                let id = format!("{verb}{}{}{namespaced}{kind}", self.version, self.group);
                let operation = self.operation(spec, resource, is_list, is_in_namespace, &id);
                paths.insert(path, json!({"get": operation}));
            };
            add(format!("/{base}/{name}"), true, false);
            if resource.is_namespaced {
                add(format!("/{base}/namespaces/{{namespace}}/{name}"), true, true);
                add(format!("/{base}/namespaces/{{namespace}}/{name}/{{name}}"), false, true);
            } else {
                add(format!("/{base}/{name}/{{name}}"), false, false);
            }
        }
        paths
    }

    fn operation(
        &self,
        spec: SpecVersion,
        resource: &ApiResource,
        is_list: bool,
        is_in_namespace: bool,
        id: &str,
    ) -> Value {
        let kind = resource.kind;
        let answered = if is_list { format!("{kind}List") } else { kind.to_owned() };
        let mut parameters = Vec::new();
        if is_in_namespace {
            parameters.push(spec.parameter("namespace", "path", "string", "A namespace."));
        }
        if is_list {
            for (name, kind, description) in LIST_PARAMETERS {
                parameters.push(spec.parameter(name, "query", kind, description));
            }
        } else {
            parameters.push(spec.parameter("name", "path", "string", "The name of the object."));
        }
        let mut operation = json!({
            "description": if is_list { "Lists the objects." } else { "Reads one object." },
            "operationId": id.replace('.', "_"),
            "parameters": parameters,
            "responses": {"200": spec.answer(&self.schema_name(&answered))},
            "x-kubernetes-action": if is_list { "list" } else { "get" },
            "x-kubernetes-group-version-kind": self.kind(kind)
        });
        if spec == SpecVersion::V2 {
            operation["produces"] = json!(["application/json"]);
        }
        operation
    }

    fn schemas(&self, spec: SpecVersion) -> Map<String, Value> {
        let mut schemas = Map::new();
        for (kind, mut schema) in (self.schemas)() {
            // Of the objects, whose parts have no kind.
            if self.resources.iter().any(|resource| resource.kind == kind) {
                add_type(&mut schema);
                schema["x-kubernetes-group-version-kind"] = json!([self.kind(kind)]);
                schemas.insert(self.schema_name(&format!("{kind}List")), self.list_of(spec, kind));
            }
            schemas.insert(self.schema_name(kind), schema);
        }
        schemas
    }

    fn list_of(&self, spec: SpecVersion, kind: &str) -> Value {
        let mut list = object(
            &format!("A list of {kind} objects."),
            json!({
                "metadata": object("Metadata of the list.", json!({
                    "continue": text("The token with which the rest of the list is asked for."),
                    "resourceVersion": text("Nothing here has versions.")
                })),
                "items": {
                    "description": "The objects.",
                    "type": "array",
                    "items": spec.reference(&self.schema_name(kind))
                }
            }),
        );
        add_type(&mut list);
        list["required"] = json!(["items"]);
        list["x-kubernetes-group-version-kind"] = json!([self.kind(&format!("{kind}List"))]);
        list
    }
}

const LIST_PARAMETERS: [(&str, &str, &str); 4] = [
    ("labelSelector", "string", "Selects objects by their labels."),
    ("fieldSelector", "string", "Selects objects by metadata.name and metadata.namespace."),
    ("limit", "integer", "The most objects of an answer; 0 for all."),
    ("continue", "string", "The token of an answer, which asks for those behind it."),
];

/// Adds the fields that say what an object is.
fn add_type(schema: &mut Value) {
    schema["properties"]["apiVersion"] = text("The version of this form of the object.");
    schema["properties"]["kind"] = text("The kind of the object.");
}

fn text(description: &str) -> Value {
    json!({"description": description, "type": "string"})
}

fn object(description: &str, properties: Value) -> Value {
    json!({"description": description, "type": "object", "properties": properties})
}

fn metadata(is_namespaced: bool, others: &[(&str, Value)]) -> Value {
    let mut metadata = object(
        "Name and labels.",
        json!({
            "name": text("The name."),
            "labels": {
                "description": "The labels, so far as the agent reported them.",
                "type": "object",
                "additionalProperties": {"type": "string"}
            }
        }),
    );
    if is_namespaced {
        metadata["properties"]["namespace"] = text("The namespace.");
    }
    for (name, schema) in others {
        metadata["properties"][*name] = schema.clone();
    }
    metadata
}

fn amounts(description: &str) -> Value {
    json!({
        "description": description,
        "type": "object",
        "additionalProperties": {"type": "string"}
    })
}

fn time(description: &str) -> Value {
    json!({"description": description, "type": "string", "format": "date-time"})
}

fn metrics_schemas() -> Vec<(&'static str, Value)> {
    let usage = || {
        amounts(
            "The CPU and memory in use, as quantities: cpu in CPUs, memory in bytes (working set).",
        )
    };
    let of = |is_namespaced| {
        let created = ("creationTimestamp", time("The end of the interval."));
        json!({
            "metadata": metadata(is_namespaced, &[created]),
            "timestamp": time("The end of the interval that the usage is of."),
            "window": text("The length of that interval, as a duration: \"15s\".")
        })
    };
    let mut node = object("The usage of a node.", of(false));
    node["properties"]["usage"] = usage();
    node["required"] = json!(["timestamp", "window", "usage"]);
    let container = object(
        "The usage of a container.",
        json!({"name": text("The name of the container."), "usage": usage()}),
    );
    let mut pod = object("The usage of a pod, by container.", of(true));
    pod["properties"]["containers"] = json!({
        "description": "The usage of the containers that ran in the interval.",
        "type": "array",
        "items": container
    });
    pod["required"] = json!(["timestamp", "window", "containers"]);
    vec![("NodeMetrics", node), ("PodMetrics", pod)]
}

fn core_schemas() -> Vec<(&'static str, Value)> {
    let node = object(
        "A node, so far as its agent reported it.",
        json!({
            "metadata": metadata(false, &[]),
            "status": object("What the node has.", json!({
                "capacity": amounts("The resources of the node."),
                "allocatable": amounts("The resources of the node that pods may use.")
            }))
        }),
    );
    let uid = ("uid", text("The uid of the pod."));
    let pod = object(
        "A pod, so far as its agent reported it.",
        json!({
            "metadata": metadata(true, &[uid]),
            "spec": object("Where the pod runs.", json!({
                "nodeName": text("The node of the pod."),
                "containers": {
                    "description": "Always empty.", "type": "array", "items": {"type": "object"}
                }
            })),
            "status": object("The state of the pod.", json!({
                "phase": text("Always Running: others are not reported.")
            }))
        }),
    );
    vec![("Node", node), ("Pod", pod)]
}
