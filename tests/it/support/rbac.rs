//! The rules by which an API server decides whether a role allows a request. The scripted server
//! checks the manifests' roles with them.
//!
//! A request's attributes are derived as the API server does (Kubernetes: "Determine the request
//! verb" in the reference of authorization; k8s.io/apiserver's RequestInfo), a role is applied as
//! its RBAC authorizer does. Roles that are aggregated from others are not followed.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};

/// One request as it stands in its first line: `GET`, `/api/v1/pods?watch=true`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    pub method: String,
    /// As sent: percent-encoded, with the query.
    pub target: String,
}

impl Request {
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned() }
    }

    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }
}

/// The attributes of a request, in the terms of RBAC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attributes {
    Resource {
        verb: String,
        /// Empty: the core group.
        api_group: String,
        resource: String,
        subresource: Option<String>,
        namespace: Option<String>,
        name: Option<String>,
    },
    /// A path that is no resource's, such as /version; its verb is the method in small letters.
    NonResource { verb: String, path: String },
}

/// Why a request is let through, or that it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    ByRole,
    /// By system:discovery and system:public-info-viewer, which a cluster gives to everybody who
    /// has logged in.
    ToEverybody,
    Forbidden,
}

/// One thing that a role allows: a rule with several verbs and resources is as many rights.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    Resource {
        verb: String,
        api_group: String,
        /// With its subresource, as roles write it: `nodes/proxy`.
        resource: String,
        /// `None`: of any name.
        name: Option<String>,
    },
    NonResource {
        verb: String,
        url: String,
    },
}

/// The paths that two default roles of every cluster open to every user.
const OPEN_TO_EVERYBODY: [&str; 11] = [
    "/api",
    "/api/*",
    "/apis",
    "/apis/*",
    "/healthz",
    "/livez",
    "/openapi",
    "/openapi/*",
    "/readyz",
    "/version",
    "/version/",
];

/// The attributes of a request.
pub fn attributes(request: &Request) -> Attributes {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let decoded: Vec<String> =
        path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
    let mut parts: &[String] = &decoded;
    let non_resource = || Attributes::NonResource {
        verb: request.method.to_ascii_lowercase(),
        path: decode(path),
    };

    // /api/v1/… and /apis/GROUP/VERSION/…; with nothing behind them they are discovery.
    let api_group = match parts {
        [api, _version, rest @ ..] if api == "api" && !rest.is_empty() => {
            parts = rest;
            String::new()
        }
        [apis, group, _version, rest @ ..] if apis == "apis" && !rest.is_empty() => {
            parts = rest;
            group.clone()
        }
        _ => return non_resource(),
    };

    let mut verb = match request.method.as_str() {
        "POST" => "create",
        "GET" | "HEAD" => "get",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    };
    // The old spelling of a watch, /api/v1/watch/pods.
    if let [first, rest @ ..] = parts
        && first == "watch"
        && !rest.is_empty()
    {
        verb = "watch";
        parts = rest;
    }

    let mut namespace = None;
    if let [first, name, rest @ ..] = parts
        && first == "namespaces"
    {
        namespace = Some(name.clone());
        // /namespaces/x and its own status are the namespace, everything else is within it.
        if rest.first().is_some_and(|part| part != "status" && part != "finalize") {
            parts = rest;
        }
    }
    let resource = parts.first().cloned().unwrap_or_default();
    let mut name = parts.get(1).cloned();
    let subresource = parts.get(2).cloned();

    if name.is_none() {
        if verb == "get" {
            verb = if asks_to_watch(query) { "watch" } else { "list" };
        } else if verb == "delete" {
            verb = "deletecollection";
        }
        // A list or a watch of one object is one that may be allowed by its name.
        if verb == "list" || verb == "watch" {
            name = name_selected(query);
        }
    }
    Attributes::Resource {
        verb: verb.to_owned(),
        api_group,
        resource,
        subresource,
        namespace,
        name,
    }
}

/// The parameters of a query, decoded.
fn parameters(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(&key.replace('+', " ")), decode(&value.replace('+', " ")))
    })
}

/// The first `watch` counts, and everything but 0 and false is a yes, nothing at all included.
fn asks_to_watch(query: &str) -> bool {
    let value = parameters(query).find(|(key, _)| key == "watch").map(|(_, value)| value);
    value.is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
}

/// The name in `fieldSelector=metadata.name=NAME`.
fn name_selected(query: &str) -> Option<String> {
    let (_, selector) = parameters(query).find(|(key, _)| key == "fieldSelector")?;
    selector.split(',').find_map(|requirement| {
        let (field, value) = requirement.split_once('=')?;
        let value = value.strip_prefix('=').unwrap_or(value);
        (field == "metadata.name" && !value.is_empty()).then(|| value.to_owned())
    })
}

fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The verdict on `request` from a user who holds `role` and the default roles only.
pub fn verdict(role: &ClusterRole, request: &Request) -> Verdict {
    let asked = attributes(request);
    if role.rules.iter().flatten().any(|rule| allows(rule, &asked)) {
        return Verdict::ByRole;
    }
    if is_open_to_everybody(&asked) { Verdict::ToEverybody } else { Verdict::Forbidden }
}

fn is_open_to_everybody(asked: &Attributes) -> bool {
    matches!(asked, Attributes::NonResource { verb, path }
        if verb == "get" && OPEN_TO_EVERYBODY.iter().any(|url| url_matches(url, path)))
}

fn allows(rule: &PolicyRule, asked: &Attributes) -> bool {
    rights_of(rule).iter().any(|right| covers(right, asked))
}

/// A star as the last step stands for everything behind it.
fn url_matches(url: &str, path: &str) -> bool {
    url == "*" || url == path || url.strip_suffix('*').is_some_and(|head| path.starts_with(head))
}

fn word_matches(word: &str, asked: &str) -> bool {
    word == "*" || word == asked
}

fn covers(right: &Right, asked: &Attributes) -> bool {
    match (right, asked) {
        (
            Right::Resource { verb, api_group, resource, name },
            Attributes::Resource {
                verb: asked_verb,
                api_group: asked_group,
                resource: asked_resource,
                subresource,
                name: asked_name,
                ..
            },
        ) => {
            let whole = match subresource {
                Some(subresource) => format!("{asked_resource}/{subresource}"),
                None => asked_resource.clone(),
            };
            let any_resources = subresource.as_ref().map(|subresource| format!("*/{subresource}"));
            word_matches(verb, asked_verb)
                && word_matches(api_group, asked_group)
                && (word_matches(resource, &whole) || any_resources.as_ref() == Some(resource))
                && (name.is_none() || name == asked_name)
        }
        (Right::NonResource { verb, url }, Attributes::NonResource { verb: asked_verb, path }) => {
            word_matches(verb, asked_verb) && url_matches(url, path)
        }
        _ => false,
    }
}

fn rights_of(rule: &PolicyRule) -> Vec<Right> {
    let mut rights = Vec::new();
    let names: Vec<Option<String>> = match rule.resource_names.as_deref() {
        None | Some([]) => vec![None],
        Some(names) => names.iter().cloned().map(Some).collect(),
    };
    for verb in &rule.verbs {
        for api_group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                rights.extend(names.iter().map(|name| Right::Resource {
                    verb: verb.clone(),
                    api_group: api_group.clone(),
                    resource: resource.clone(),
                    name: name.clone(),
                }));
            }
        }
        rights.extend(
            rule.non_resource_urls
                .iter()
                .flatten()
                .map(|url| Right::NonResource { verb: verb.clone(), url: url.clone() }),
        );
    }
    rights
}

/// Everything that a role allows, one by one.
pub fn rights(role: &ClusterRole) -> BTreeSet<Right> {
    role.rules.iter().flatten().flat_map(rights_of).collect()
}

/// The rights that none of the requests has a use for. A right with a star in it always is one: it
/// gives more than any requests can use. So is one for what is everybody's anyway.
pub fn rules_not_used(role: &ClusterRole, requests: &[Request]) -> Vec<Right> {
    let asked: Vec<Attributes> =
        requests.iter().map(attributes).filter(|asked| !is_open_to_everybody(asked)).collect();
    let is_exact = |right: &Right| match right {
        Right::Resource { verb, api_group, resource, .. } => {
            ![verb, api_group, resource].iter().any(|word| word.contains('*'))
        }
        Right::NonResource { verb, url } => !verb.contains('*') && !url.contains('*'),
    };
    rights(role)
        .into_iter()
        .filter(|right| !is_exact(right) || !asked.iter().any(|asked| covers(right, asked)))
        .collect()
}

/// The requests that the role does not allow, each once.
pub fn requests_forbidden<'a>(
    role: &ClusterRole,
    requests: &'a [Request],
) -> BTreeSet<&'a Request> {
    requests.iter().filter(|request| verdict(role, request) == Verdict::Forbidden).collect()
}

mod tests {
    use super::{
        Attributes, ClusterRole, PolicyRule, Request, Right, Verdict, attributes,
        requests_forbidden, rules_not_used, verdict,
    };

    /// `verb group/resource[/subresource] namespace name`, with `-` for what is not there.
    fn words(method: &str, target: &str) -> String {
        match attributes(&Request::new(method, target)) {
            Attributes::Resource { verb, api_group, resource, subresource, namespace, name } => {
                let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
                let below = subresource.map(|text| format!("/{text}")).unwrap_or_default();
                let (namespace, name) = (or_dash(namespace), or_dash(name));
                format!("{verb} {api_group}:{resource}{below} {namespace} {name}")
            }
            Attributes::NonResource { verb, path } => format!("{verb} {path}"),
        }
    }

    #[test]
    fn a_request_is_read_as_an_api_server_reads_it() {
        for (method, target, expected) in [
            ("GET", "/api/v1/pods", "list :pods - -"),
            ("GET", "/api/v1/pods/", "list :pods - -"),
            ("GET", "/api/v1/pods?limit=500&continue=abc", "list :pods - -"),
            ("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1&watch=true", "watch :pods - -"),
            ("GET", "/api/v1/pods?watch=1", "watch :pods - -"),
            ("GET", "/api/v1/pods?watch", "watch :pods - -"),
            ("GET", "/api/v1/pods?watch=", "watch :pods - -"),
            ("GET", "/api/v1/pods?watch=False", "list :pods - -"),
            ("GET", "/api/v1/pods?watch=0", "list :pods - -"),
            ("GET", "/api/v1/pods?watch=false&watch=true", "list :pods - -"),
            ("GET", "/api/v1/pods?labelSelector=watch%3Dtrue", "list :pods - -"),
            ("GET", "/api/v1/watch/pods", "watch :pods - -"),
            ("GET", "/api/v1/watch/namespaces/a/pods/b", "watch :pods a b"),
            ("GET", "/api/v1/namespaces/a/pods/b", "get :pods a b"),
            ("HEAD", "/api/v1/namespaces/a/pods/b", "get :pods a b"),
            ("GET", "/api/v1/namespaces/a/pods/b?watch=true", "get :pods a b"),
            ("GET", "/api/v1/namespaces/a/pods/b/log?follow=true", "get :pods/log a b"),
            ("GET", "/api/v1/namespaces", "list :namespaces - -"),
            ("GET", "/api/v1/namespaces/a", "get :namespaces a a"),
            ("PUT", "/api/v1/namespaces/a/status", "update :namespaces/status a a"),
            ("GET", "/api/v1/nodes/n1", "get :nodes - n1"),
            ("GET", "/api/v1/nodes?fieldSelector=metadata.name%3Dn1", "list :nodes - n1"),
            (
                "GET",
                "/api/v1/nodes?watch=true&fieldSelector=spec.x%3Dy%2Cmetadata.name%3D%3Dn1",
                "watch :nodes - n1",
            ),
            ("GET", "/api/v1/nodes/n1/proxy/pods", "get :nodes/proxy - n1"),
            (
                "GET",
                "/apis/apps/v1/namespaces/a/replicasets/web-5d",
                "get apps:replicasets a web-5d",
            ),
            ("GET", "/apis/batch/v1/namespaces/a/jobs/b%2Ec", "get batch:jobs a b.c"),
            ("POST", "/api/v1/namespaces/a/pods", "create :pods a -"),
            ("DELETE", "/api/v1/namespaces/a/pods", "deletecollection :pods a -"),
            ("DELETE", "/api/v1/namespaces/a/pods/b", "delete :pods a b"),
            ("PATCH", "/api/v1/nodes/n1", "patch :nodes - n1"),
            ("GET", "/version", "get /version"),
            ("GET", "/api", "get /api"),
            ("GET", "/api/v1", "get /api/v1"),
            ("GET", "/apis/apps/v1", "get /apis/apps/v1"),
            ("GET", "/apis/apps", "get /apis/apps"),
            ("POST", "/logs", "post /logs"),
            ("GET", "/", "get /"),
        ] {
            assert_eq!(words(method, target), expected, "{method} {target}");
        }
    }

    fn rule(groups: &[&str], resources: &[&str], names: &[&str], verbs: &[&str]) -> PolicyRule {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        PolicyRule {
            api_groups: Some(owned(groups)),
            resources: Some(owned(resources)),
            resource_names: (!names.is_empty()).then(|| owned(names)),
            non_resource_urls: None,
            verbs: owned(verbs),
        }
    }

    fn urls(urls: &[&str], verbs: &[&str]) -> PolicyRule {
        PolicyRule {
            non_resource_urls: Some(urls.iter().map(|url| (*url).to_owned()).collect()),
            ..rule(&[], &[], &[], verbs)
        }
    }

    fn role(rules: Vec<PolicyRule>) -> ClusterRole {
        ClusterRole { rules: Some(rules), ..ClusterRole::default() }
    }

    #[track_caller]
    fn assert_verdict(rule: PolicyRule, target: &str, expected: Verdict) {
        assert_eq!(verdict(&role(vec![rule]), &Request::get(target)), expected, "{target}");
    }

    #[test]
    fn a_rule_allows_its_verbs_groups_and_resources_and_no_others() {
        use Verdict::{ByRole, Forbidden};
        let pods = || rule(&[""], &["pods"], &[], &["list", "watch"]);
        assert_verdict(pods(), "/api/v1/pods", ByRole);
        assert_verdict(pods(), "/api/v1/namespaces/a/pods", ByRole);
        assert_verdict(pods(), "/api/v1/pods?watch=true", ByRole);
        assert_verdict(pods(), "/api/v1/namespaces/a/pods/b", Forbidden);
        assert_verdict(pods(), "/api/v1/nodes", Forbidden);
        assert_verdict(pods(), "/apis/metrics.k8s.io/v1beta1/pods", Forbidden);
        // The same words in another rule each do not come together.
        let apart = role(vec![pods(), rule(&["apps"], &["replicasets"], &[], &["get"])]);
        let replicaset = Request::get("/apis/apps/v1/namespaces/a/replicasets/b");
        assert_eq!(verdict(&apart, &replicaset), ByRole);
        let get_pod = Request::get("/api/v1/namespaces/a/pods/b");
        let list_apps = Request::get("/apis/apps/v1/replicasets");
        for request in [&get_pod, &list_apps] {
            assert_eq!(verdict(&apart, request), Forbidden, "{request:?}");
        }
        let all = [replicaset, get_pod.clone(), list_apps.clone(), get_pod.clone()];
        let forbidden: Vec<&Request> = requests_forbidden(&apart, &all).into_iter().collect();
        assert_eq!(forbidden, [&get_pod, &list_apps]);
        assert_eq!(verdict(&ClusterRole::default(), &all[0]), Forbidden);
    }

    #[test]
    fn a_resource_is_not_its_subresource() {
        use Verdict::{ByRole, Forbidden};
        let proxy = "/api/v1/nodes/n1/proxy/pods";
        assert_verdict(rule(&[""], &["nodes"], &[], &["get"]), proxy, Forbidden);
        assert_verdict(rule(&[""], &["nodes/proxy"], &[], &["get"]), proxy, ByRole);
        assert_verdict(rule(&[""], &["*/proxy"], &[], &["get"]), proxy, ByRole);
        assert_verdict(rule(&[""], &["nodes/*"], &[], &["get"]), proxy, Forbidden);
        assert_verdict(rule(&["*"], &["*"], &[], &["*"]), proxy, ByRole);
        assert_verdict(rule(&[""], &["nodes/proxy"], &[], &["get"]), "/api/v1/nodes/n1", Forbidden);
    }

    #[test]
    fn a_rule_for_names_allows_a_list_of_that_name_alone() {
        use Verdict::{ByRole, Forbidden};
        let own = || rule(&[""], &["nodes"], &["n1"], &["get", "list"]);
        assert_verdict(own(), "/api/v1/nodes/n1", ByRole);
        assert_verdict(own(), "/api/v1/nodes?fieldSelector=metadata.name%3Dn1", ByRole);
        assert_verdict(own(), "/api/v1/nodes/n2", Forbidden);
        assert_verdict(own(), "/api/v1/nodes", Forbidden);
    }

    #[test]
    fn discovery_is_everybodys_and_other_paths_are_by_rule() {
        use Verdict::{ByRole, Forbidden, ToEverybody};
        let pods = || rule(&[""], &["pods"], &[], &["list"]);
        for open in ["/version", "/api", "/api/v1", "/apis/apps/v1", "/openapi/v3", "/livez"] {
            assert_verdict(pods(), open, ToEverybody);
        }
        assert_verdict(pods(), "/metrics", Forbidden);
        assert_verdict(pods(), "/livez/etcd", Forbidden);
        assert_verdict(urls(&["/metrics"], &["get"]), "/metrics", ByRole);
        assert_verdict(urls(&["/livez/*"], &["get"]), "/livez/etcd", ByRole);
        let post = Request::new("POST", "/version");
        assert_eq!(verdict(&role(vec![pods()]), &post), Forbidden);
    }

    #[test]
    fn what_no_request_used_is_named_right_by_right() {
        let requests = [
            Request::get("/version"),
            Request::get("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1"),
            Request::get("/api/v1/nodes/n1"),
        ];
        let unused = |rules| rules_not_used(&role(rules), &requests);
        let right = |verb: &str, resource: &str| Right::Resource {
            verb: verb.to_owned(),
            api_group: String::new(),
            resource: resource.to_owned(),
            name: None,
        };
        let exact = || rule(&[""], &["nodes"], &[], &["get"]);
        assert_eq!(unused(vec![rule(&[""], &["pods"], &[], &["list"]), exact()]), []);
        let more = rule(&[""], &["pods", "nodes"], &[], &["get", "list"]);
        assert_eq!(unused(vec![more]), [right("get", "pods"), right("list", "nodes")]);
        // Everything it is asked for it allows, and a good deal more.
        assert_eq!(unused(vec![rule(&[""], &["*"], &[], &["get"])]), [right("get", "*")]);
        let version = Right::NonResource { verb: "get".to_owned(), url: "/version".to_owned() };
        assert_eq!(unused(vec![exact(), urls(&["/version"], &["get"])]), [version]);
    }
}
