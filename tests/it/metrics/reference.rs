//! The reference of metrics in the documentation.

use std::fmt::Write as _;

use nodetally::metrics::entity::{AttributeName, EntityClass};
use nodetally::metrics::metric::Metric;
use nodetally::metrics::table;

/// The values of a row's column, each once.
fn joined<'a>(all: impl Iterator<Item = &'a str>, between: &str) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for one in all {
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    seen.join(between)
}

/// The labels of the metrics of one name, with their values.
fn labels(metrics: &[Metric]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in metrics.iter().flat_map(|metric| metric.attributes) {
        if !names.contains(name) {
            names.push(name);
        }
    }
    let label = |name: &&str| {
        let pairs = metrics.iter().flat_map(|metric| metric.attributes);
        let values = pairs.filter(|(other, _)| other == name).map(|(_, value)| *value);
        let label = Metric::prometheus_label(name);
        let otel = if label == *name { String::new() } else { format!(" (`{name}`)") };
        format!("`{label}`{otel}: {}", joined(values, ", "))
    };
    names.iter().map(label).collect::<Vec<_>>().join("; ")
}

fn row(metrics: &[Metric]) -> String {
    let metric = &metrics[0];
    let total = if metric.instrument.is_monotonic() { "_total" } else { "" };
    let kind = if metric.instrument.is_monotonic() { "counter" } else { "gauge" };
    let instrument = metric.instrument.as_str();
    let kind = if kind == instrument { kind.to_owned() } else { format!("{kind} ({instrument})") };
    format!(
        "| `{}` | `{}{total}` | {} | {} | {kind} | {} | {} |\n",
        metric.name,
        metric.prometheus_name(),
        labels(metrics),
        metric.unit.ucum,
        metric.help.trim_end_matches('.'),
        joined(metrics.iter().map(|metric| metric.source), "; ").replace('<', "\\<"),
    )
}

fn reference() -> String {
    let mut text = String::from(
        "`kind` is that of Prometheus, and that of OpenTelemetry where it is another one. Units are those \
         of UCUM; a share is of 1.\n",
    );
    for class in EntityClass::ALL {
        let head = "| OpenTelemetry | Prometheus | labels | unit | kind | meaning | source |";
        let _ =
            writeln!(text, "\n### `{}`\n\n{head}\n|---|---|---|---|---|---|---|", class.as_str());
        let same_name = |a: &Metric, b: &Metric| a.name == b.name;
        table::of(class).chunk_by(same_name).for_each(|metrics| text.push_str(&row(metrics)));
    }
    text.push_str("\n### Attributes of entities\n\n| OpenTelemetry | label |\n|---|---|\n");
    for name in AttributeName::ALL {
        let label = name.label.map_or("none".to_owned(), |label| format!("`{label}`"));
        let _ = writeln!(text, "| `{}` | {label} |", name.otel);
    }
    text
}

/// `UPDATE_DOCS=1` rewrites the reference instead.
#[test]
fn the_documentation_has_every_metric_as_it_is_declared() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let document = std::fs::read_to_string(path).unwrap();
    let head = "\n## Reference\n\n";
    let (before, _) = document.split_once(head).unwrap();
    let expected = format!("{before}{head}{}", reference());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &expected).unwrap();
    } else {
        assert!(
            document == expected,
            "the reference is out of date: UPDATE_DOCS=1 cargo test --test it documentation"
        );
    }
}
