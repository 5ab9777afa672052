//! Rules of the table.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::metrics::entity::AttributeName;
use crate::metrics::sample::METRICS_MAX;

/// The registry of the conventions: instrument and unit by name.
fn registry() -> BTreeMap<&'static str, (&'static str, &'static str)> {
    let text = include_str!("../../../fixtures/semconv/metrics-1.44.0.tsv");
    let row = |line: &'static str| {
        let mut columns = line.split('\t');
        Some((columns.next()?, (columns.next()?, columns.next()?)))
    };
    text.lines().skip(1).filter_map(row).collect()
}

/// Names outside the project's own are those of the registry, with its unit and instrument.
#[test]
fn standard_names_are_those_of_the_conventions() {
    let registry = registry();
    assert!(registry.len() > 150, "{}", registry.len());
    let own = |metric: &&Metric| metric.name.starts_with("nodetally.");
    for metric in all().filter(|metric| !own(metric)) {
        let Some((instrument, unit)) = registry.get(metric.name) else {
            panic!("{}: no name of the conventions", metric.name);
        };
        assert_eq!(metric.unit.ucum, *unit, "{}", metric.name);
        assert_eq!(metric.instrument.as_str(), *instrument, "{}", metric.name);
    }
    // None of the project's own names hides one that the conventions have.
    for metric in all().filter(own) {
        let rest = metric.name.trim_start_matches("nodetally.");
        let standard = if rest.starts_with("pod.") || rest.starts_with("node.") {
            format!("k8s.{rest}")
        } else {
            rest.to_owned()
        };
        let is_double = metric.class == EntityClass::Node;
        assert!(is_double || !registry.contains_key(&*standard), "{}: use {standard}", metric.name);
    }
}

/// The attributes of the registry by name: type, and the values of those that have a list.
fn known_attributes() -> BTreeMap<&'static str, (&'static str, Vec<&'static str>)> {
    let text = include_str!("../../../fixtures/semconv/attributes-1.44.0.tsv");
    let row = |line: &'static str| {
        let mut columns = line.split('\t');
        let (name, kind, values) = (columns.next()?, columns.next()?, columns.next()?);
        Some((name, (kind, values.split(',').filter(|value| !value.is_empty()).collect())))
    };
    text.lines().skip(1).filter_map(row).collect()
}

/// Values that the registry does not have, each with its reason: attribute, value, reason.
const OTHER_VALUES: &[(&str, &str, &str)] = &[
    ("cpu.mode", "softirq", "the kernel counts it apart from interrupts, and the list is open"),
    (
        "process.state",
        "blocked",
        "the kernel counts tasks that wait for I/O, and the list, which is open, has no word for them",
    ),
];

/// Attributes that the registry does not have at that metric, with the reason: metric, attribute, reason.
const OTHER_PLACES: &[(&str, &str, &str)] = &[];

#[test]
fn attributes_are_those_of_the_conventions() {
    let known = known_attributes();
    assert!(known.len() > 150, "{}", known.len());
    let metrics = include_str!("../../../fixtures/semconv/metrics-1.44.0.tsv");
    let places: BTreeSet<(&str, &str)> = metrics
        .lines()
        .filter_map(|line| Some((line.split('\t').next()?, line.split('\t').nth(3)?)))
        .flat_map(|(name, all)| all.split(',').map(move |attribute| (name, attribute)))
        .collect();
    let is_own = |name: &str| name.starts_with("nodetally.");
    let (mut values, mut others) = (BTreeSet::new(), BTreeSet::new());
    for metric in all() {
        for (name, value) in metric.attributes.iter().filter(|(name, _)| !is_own(name)) {
            let Some((kind, allowed)) = known.get(name) else {
                panic!("{}: {name}: no attribute of the conventions", metric.name)
            };
            assert_eq!(*kind, "enum", "{}: {name}", metric.name);
            if !allowed.contains(value) {
                values.insert((*name, *value));
            }
            if !is_own(metric.name) && !places.contains(&(metric.name, name)) {
                others.insert((metric.name, *name));
            }
        }
    }
    let listed = |list: &[(&'static str, &'static str, &str)]| -> BTreeSet<_> {
        assert!(list.iter().all(|(_, _, reason)| reason.len() > 20));
        list.iter().map(|(a, b, _)| (*a, *b)).collect()
    };
    assert_eq!(values, listed(OTHER_VALUES));
    assert_eq!(others, listed(OTHER_PLACES));
    for attribute in AttributeName::ALL.iter().filter(|attribute| !is_own(attribute.otel)) {
        let known = known.get(attribute.otel).map(|(kind, _)| *kind);
        let expected = match attribute.otel {
            "process.pid" => "int",
            // Of an open list, which has six of the kernel's dozens of filesystems.
            "system.filesystem.type" => "enum",
            _ => "string",
        };
        assert_eq!(known, Some(expected), "{}", attribute.otel);
    }
}

#[test]
fn figures_of_one_name_stand_together_and_differ_by_attributes() {
    let mut names: BTreeMap<&str, EntityClass> = BTreeMap::new();
    for class in EntityClass::ALL {
        let metrics = of(class);
        assert!(
            !metrics.is_empty() && metrics.len() <= METRICS_MAX,
            "{class:?}: {}",
            metrics.len()
        );
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for (at, metric) in metrics.iter().enumerate() {
            assert_eq!(metric.class, class, "{}", metric.name);
            let before = at.checked_sub(1).and_then(|at| metrics.get(at));
            match before.filter(|before| before.name == metric.name) {
                Some(before) => {
                    assert_eq!(before.help, metric.help, "{}", metric.name);
                    assert_eq!(before.unit, metric.unit, "{}", metric.name);
                    assert_eq!(before.instrument, metric.instrument, "{}", metric.name);
                }
                None => assert!(seen.insert(metric.name), "{} stands in two places", metric.name),
            }
            let same = metrics
                .iter()
                .filter(|other| other.name == metric.name && other.attributes == metric.attributes);
            assert_eq!(same.count(), 1, "{} {:?}", metric.name, metric.attributes);
            assert!(metric.help.ends_with('.') && !metric.source.is_empty(), "{}", metric.name);
        }
        for name in seen {
            assert_eq!(names.insert(name, class), None, "{name} is in two classes");
        }
    }
}

/// Two names may not become one.
#[test]
fn names_differ_in_prometheus_too() {
    let mut names: BTreeMap<String, &str> = BTreeMap::new();
    for metric in all() {
        let name = metric.prometheus_name();
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{name}");
        assert!(!name.ends_with("_total"), "{name}");
        assert!(metric.instrument.is_monotonic() || !name.ends_with("_count"), "{name}");
        let before = names.insert(name.clone(), metric.name);
        assert!(before.is_none_or(|before| before == metric.name), "{name}");
    }
}
