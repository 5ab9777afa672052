//! The index page, as HTML for browsers and as plain text for other clients.

use std::fmt::{self, Write as _};

use super::store::{NodeRow, PodRow, SumRow};
use crate::payload::resource_api::{UsageValues, segment};
use crate::payload::size::size;
use crate::payload::stamp::Rfc3339Seconds;
use crate::quantity::{Bytes, WallTime};

/// The most rows of one table.
const ROWS_MAX: usize = 500;

/// The index as plain text.
pub(super) const TEXT: &str = "\
nodetally receiver

GET  /api/nodes
GET  /api/nodes/<node>                                             ?window=<seconds>
GET  /api/nodes/<node>/pods
GET  /api/pods                                                     ?namespace=
GET  /api/pods/<pod>                                               ?window=<seconds> &namespace=
GET  /api/namespaces
GET  /api/namespaces/<namespace>                                   ?window=<seconds>
GET  /api/namespaces/<namespace>/pods
GET  /api/namespaces/<namespace>/deployments
GET  /api/namespaces/<namespace>/deployments/<deployment>          ?window=<seconds>
GET  /api/namespaces/<namespace>/deployments/<deployment>/pods
GET  /api/deployments                                              ?namespace=
GET  /api/deployments/<deployment>                                 ?window=<seconds> &namespace=
POST /api/nodes/<node>/metrics
POST /api/namespaces/<namespace>/pods/<pod>/metrics

Time series also at .../timeseries?window=<seconds>.

Kubernetes metrics (kubectl top --server=<this address>)
GET  /apis/metrics.k8s.io/v1beta1/nodes                            ?labelSelector=
GET  /apis/metrics.k8s.io/v1beta1/nodes/<node>
GET  /apis/metrics.k8s.io/v1beta1/pods                             ?labelSelector=
GET  /apis/metrics.k8s.io/v1beta1/namespaces/<namespace>/pods      ?labelSelector=
GET  /apis/metrics.k8s.io/v1beta1/namespaces/<namespace>/pods/<pod>

Pod batches
GET  /api/v1/metrics/pods
GET  /api/v1/metrics/nodes
POST /api/v1/metrics/pods
POST /api/v1/metrics/nodes

Pod specifications and life cycle
GET  /pod/info
GET  /pod/name/<pod>
GET  /pod/ip/<ip>
GET  /pod/list/<node>
POST /pod/spec
POST /pod/mark_dead
";

const HEAD: &str = "<!doctype html>
<html lang=\"en\"><head><meta charset=\"utf-8\"><title>nodetally receiver</title>
<meta name=\"viewport\" content=\"width=device-width\">
<meta http-equiv=\"refresh\" content=\"15\">
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 92em; margin: 2em auto; padding: 0 1em; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .25em .7em; text-align: left; white-space: nowrap; }
th, td { border-bottom: 1px solid #8884; }
.n { text-align: right; font-variant-numeric: tabular-nums; }
.stale { opacity: .55; }
pre { overflow-x: auto; }
</style></head><body><h1>nodetally receiver</h1>
";

pub(super) fn html(
    nodes: &[NodeRow],
    deployments: &[SumRow],
    pods: &[PodRow],
    live_since: WallTime,
) -> String {
    let mut page = String::from(HEAD);
    // Writing into a String cannot fail.
    let _ = write_page(&mut page, nodes, deployments, pods, live_since);
    page
}

fn write_page(
    page: &mut String,
    nodes: &[NodeRow],
    deployments: &[SumRow],
    pods: &[PodRow],
    live_since: WallTime,
) -> fmt::Result {
    node_table(page, nodes, live_since)?;
    if !deployments.is_empty() {
        deployment_table(page, deployments)?;
    }
    pod_table(page, pods)?;
    writeln!(page, "<h2>Endpoints</h2><pre>{}</pre></body></html>", Escaped(TEXT))
}

fn node_table(page: &mut String, nodes: &[NodeRow], live_since: WallTime) -> fmt::Result {
    writeln!(page, "<h2>Nodes</h2>")?;
    if nodes.is_empty() {
        writeln!(page, "<p>None has been pushed yet.</p>")?;
    } else {
        head(page, &["Node"])?;
        for node in nodes.iter().take(ROWS_MAX) {
            let (name, link) = (Escaped(&node.name), segment(&node.name));
            let class = if node.at < live_since { " class=\"stale\"" } else { "" };
            write!(page, "<tr{class}><td><a href=\"/api/nodes/{link}\">{name}</a> ")?;
            write!(page, "(<a href=\"/api/nodes/{link}/pods\">pods</a>, ")?;
            write!(page, "<a href=\"/api/nodes/{link}?window=600\">last 10 min</a>)</td>")?;
            row_end(page, &node.usage, &Rfc3339Seconds(node.at))?;
        }
        tail(page, nodes.len())?;
    }
    Ok(())
}

fn deployment_table(page: &mut String, deployments: &[SumRow]) -> fmt::Result {
    writeln!(page, "<h2>Deployments</h2>")?;
    head(page, &["Namespace", "Deployment"])?;
    for deployment in deployments.iter().take(ROWS_MAX) {
        let (ns, ns_link) = (Escaped(&deployment.of.namespace), segment(&deployment.of.namespace));
        let name = deployment.of.deployment.as_deref().unwrap_or_default();
        let (name, link) = (Escaped(name), segment(name));
        let path = format!("/api/namespaces/{ns_link}/deployments/{link}");
        write!(page, "<tr><td><a href=\"/api/namespaces/{ns_link}\">{ns}</a></td>")?;
        write!(page, "<td><a href=\"{path}\">{name}</a> (<a href=\"{path}/pods\">pods</a>, ")?;
        write!(page, "<a href=\"{path}?window=600\">last 10 min</a>)</td>")?;
        row_end(page, &deployment.usage, &Rfc3339Seconds(deployment.at))?;
    }
    tail(page, deployments.len())
}

fn pod_table(page: &mut String, pods: &[PodRow]) -> fmt::Result {
    writeln!(page, "<h2>Pods</h2>")?;
    if pods.is_empty() {
        writeln!(page, "<p>None is live.</p>")?;
    } else {
        head(page, &["Namespace", "Pod", "Deployment", "Node"])?;
        for pod in pods.iter().take(ROWS_MAX) {
            let (ns, ns_link) = (Escaped(&pod.namespace), segment(&pod.namespace));
            let (name, link) = (Escaped(&pod.name), segment(&pod.name));
            let node = Escaped(&pod.node_name);
            write!(page, "<tr><td><a href=\"/api/namespaces/{ns_link}\">{ns}</a></td>")?;
            write!(page, "<td><a href=\"/api/pods/{link}?namespace={ns_link}\">{name}</a> (")?;
            write!(page, "<a href=\"/api/pods/{link}?window=600&amp;namespace={ns_link}\">")?;
            write!(page, "last 10 min</a>)</td>")?;
            match pod.extras.deployment_name.as_deref() {
                Some(deployment) => write!(
                    page,
                    "<td><a href=\"/api/namespaces/{ns_link}/deployments/{}\">{}</a></td>",
                    segment(deployment),
                    Escaped(deployment)
                )?,
                None => write!(page, "<td></td>")?,
            }
            write!(page, "<td>{node}</td>")?;
            row_end(page, &pod.usage, &Rfc3339Seconds(pod.at))?;
        }
        tail(page, pods.len())?;
    }
    Ok(())
}

fn head(page: &mut String, names: &[&str]) -> fmt::Result {
    write!(page, "<div class=\"wide\"><table><tr>")?;
    for name in names {
        write!(page, "<th>{name}</th>")?;
    }
    for figure in ["CPU", "Memory", "Disk read", "Written", "Net sent", "Received", "As of"] {
        write!(page, "<th class=\"n\">{figure}</th>")?;
    }
    writeln!(page, "</tr>")
}

fn row_end(page: &mut String, usage: &UsageValues, stamp: &impl fmt::Display) -> fmt::Result {
    write!(page, "<td class=\"n\">{}m</td>", usage.cpu_millicores)?;
    for bytes in [
        usage.memory_bytes,
        usage.read_bytes,
        usage.write_bytes,
        usage.sent_bytes,
        usage.recv_bytes,
    ] {
        write!(page, "<td class=\"n\">{}</td>", size(Bytes::from_bytes(bytes)))?;
    }
    writeln!(page, "<td class=\"n\">{stamp}</td></tr>")
}

fn tail(page: &mut String, count: usize) -> fmt::Result {
    writeln!(page, "</table></div>")?;
    if count > ROWS_MAX {
        writeln!(page, "<p>… and {} more.</p>", count - ROWS_MAX)?;
    }
    Ok(())
}

struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                _ => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::resource_api::{NodeEcho, PodEcho};
    use crate::receiver::store::SumKey;

    #[test]
    fn a_name_that_is_markup_stays_text() {
        let at = WallTime::from_unix_millis(0);
        let evil = "<script>alert(\"1\")</script>'&";
        let usage = UsageValues::default();
        let deployment_name = Some(evil.to_owned());
        let pod = PodRow {
            namespace: evil.to_owned(),
            name: evil.to_owned(),
            node_name: evil.to_owned(),
            at,
            usage,
            extras: PodEcho { deployment_name: deployment_name.clone(), ..PodEcho::default() },
        };
        let node = NodeRow {
            name: evil.to_owned(),
            at,
            usage,
            extras: NodeEcho::default(),
            amounts: None,
        };
        let of = SumKey { namespace: evil.to_owned(), deployment: deployment_name };
        let page = html(&[node], &[SumRow { of, at, usage }], &[pod], at);
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39;&amp;"));
        assert!(page.contains("/api/nodes/%3Cscript%3E"));
    }
}
