//! The lists of what an API server has: versions, groups and resources, each in the form of one request
//! for each, and in the form of one request for all (`apidiscovery.k8s.io`).

use serde_json::{Value, json};

use super::API_VERSION;

pub(super) const GROUP: &str = "metrics.k8s.io";

/// A resource of an API.
#[derive(Debug)]
pub(super) struct ApiResource {
    /// The name in paths: `nodes`.
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) is_namespaced: bool,
    singular: &'static str,
    short: &'static [&'static str],
}

/// The resources of `v1`, which `kubectl top` and `kubectl get` ask for.
pub(super) const CORE: [ApiResource; 2] = [
    ApiResource {
        name: "nodes",
        kind: "Node",
        is_namespaced: false,
        singular: "node",
        short: &["no"],
    },
    ApiResource { name: "pods", kind: "Pod", is_namespaced: true, singular: "pod", short: &["po"] },
];

/// The resources of `metrics.k8s.io/v1beta1`. As with metrics-server they have no short names: `no` and
/// `po` are those of `v1`.
pub(super) const METRICS: [ApiResource; 2] = [
    ApiResource {
        name: "nodes",
        kind: "NodeMetrics",
        is_namespaced: false,
        singular: "",
        short: &[],
    },
    ApiResource { name: "pods", kind: "PodMetrics", is_namespaced: true, singular: "", short: &[] },
];

const VERBS: [&str; 2] = ["get", "list"];

/// The versions of Kubernetes whose clients the answers are made for: those one minor version around
/// this one print no warning.
const KUBERNETES: (&str, &str) = ("1", "36");

/// The answer to `GET /version`.
#[must_use]
pub fn version() -> Value {
    let (major, minor) = KUBERNETES;
    // Kubernetes has names of its own for architectures.
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    json!({
        "major": major,
        "minor": minor,
        "gitVersion": format!("v{major}.{minor}.0+nodetally-{}", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "",
        "goVersion": "",
        "compiler": "",
        "platform": format!("linux/{architecture}")
    })
}

/// The answer to `GET /api`.
#[must_use]
pub fn core_versions() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// The answer to `GET /api/v1`.
#[must_use]
pub fn core_resources() -> Value {
    resource_list("v1", &CORE)
}

/// The answer to `GET /apis`.
#[must_use]
pub fn groups() -> Value {
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [group_body()]})
}

/// The answer to `GET /apis/metrics.k8s.io`.
#[must_use]
pub fn group() -> Value {
    let mut group = group_body();
    group["kind"] = json!("APIGroup");
    group["apiVersion"] = json!("v1");
    group
}

fn group_body() -> Value {
    let version = json!({"groupVersion": API_VERSION, "version": "v1beta1"});
    json!({"name": GROUP, "versions": [version], "preferredVersion": version})
}

/// The answer to `GET /apis/metrics.k8s.io/v1beta1`.
#[must_use]
pub fn resources() -> Value {
    resource_list(API_VERSION, &METRICS)
}

fn resource_list(group_version: &str, resources: &[ApiResource]) -> Value {
    let resources: Vec<Value> = resources
        .iter()
        .map(|one| {
            let mut resource = json!({
                "name": one.name, "singularName": one.singular, "namespaced": one.is_namespaced,
                "kind": one.kind, "verbs": VERBS
            });
            if !one.short.is_empty() {
                resource["shortNames"] = json!(one.short);
            }
            resource
        })
        .collect();
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version,
        "resources": resources
    })
}

/// A form of the list that has everything in one answer. `v2beta1` is that of Kubernetes 1.26 to 1.29.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AggregatedDiscovery {
    V2,
    V2beta1,
}

impl AggregatedDiscovery {
    const fn version(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V2beta1 => "v2beta1",
        }
    }

    /// The form that the `Accept` header puts first; `None`: the form of one request for each.
    #[must_use]
    pub fn of_accept(accept: &str) -> Option<Self> {
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let (media_type, parameters): (_, Vec<&str>) = (parts.next(), parts.collect());
            if !matches!(media_type, Some("application/json" | "*/*" | "application/*")) {
                continue;
            }
            if !parameters.iter().any(|parameter| parameter.starts_with("as=")) {
                return None;
            }
            let has = |parameter: &str| parameters.contains(&parameter);
            if has("g=apidiscovery.k8s.io") && has("as=APIGroupDiscoveryList") {
                let known = [Self::V2, Self::V2beta1].into_iter();
                let mut wanted = known.filter(|form| has(&format!("v={}", form.version())));
                if let Some(form) = wanted.next() {
                    return Some(form);
                }
            }
        }
        None
    }

    /// The media type of the answer.
    #[must_use]
    pub fn content_type(self) -> String {
        let version = self.version();
        format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList")
    }

    /// The answer to `GET /api`.
    #[must_use]
    pub fn core(self) -> Value {
        self.list(&json!({"creationTimestamp": null}), "v1", &CORE)
    }

    /// The answer to `GET /apis`.
    #[must_use]
    pub fn groups(self) -> Value {
        let metadata = json!({"name": GROUP, "creationTimestamp": null});
        self.list(&metadata, "v1beta1", &METRICS)
    }

    fn list(self, metadata: &Value, version: &str, resources: &[ApiResource]) -> Value {
        let resources: Vec<Value> = resources.iter().map(aggregated_resource).collect();
        json!({
            "kind": "APIGroupDiscoveryList",
            "apiVersion": format!("apidiscovery.k8s.io/{}", self.version()),
            "metadata": {},
            "items": [{
                "metadata": metadata,
                "versions": [
                    {"version": version, "resources": resources, "freshness": "Current"}
                ]
            }]
        })
    }
}

fn aggregated_resource(resource: &ApiResource) -> Value {
    let mut aggregated = json!({
        "resource": resource.name,
        // Empty: those of the list.
        "responseKind": {"group": "", "version": "", "kind": resource.kind},
        "scope": if resource.is_namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": VERBS
    });
    if !resource.short.is_empty() {
        aggregated["shortNames"] = json!(resource.short);
    }
    aggregated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_form_that_is_known_is_taken() {
        const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let v2beta1 = V2.replace("v=v2;", "v=v2beta1;");
        let v9 = V2.replace("v=v2;", "v=v9;");
        for (accept, form) in [
            (String::new(), None),
            ("application/json".to_owned(), None),
            ("*/*".to_owned(), None),
            ("application/json, ".to_owned() + V2, None),
            (format!("{V2},application/json"), Some(AggregatedDiscovery::V2)),
            (format!("{v2beta1}, {V2}"), Some(AggregatedDiscovery::V2beta1)),
            (format!("{v9},{v2beta1},application/json"), Some(AggregatedDiscovery::V2beta1)),
            (format!("{v9},application/json,{V2}"), None),
            (format!("application/vnd.kubernetes.protobuf,{V2}"), Some(AggregatedDiscovery::V2)),
            ("application/json;as=Table;g=meta.k8s.io;v=v1".to_owned(), None),
        ] {
            assert_eq!(AggregatedDiscovery::of_accept(&accept), form, "{accept}");
        }
    }
}
