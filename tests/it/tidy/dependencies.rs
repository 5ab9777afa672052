//! The rules of deny.toml over the crates that this host builds: licences, sources, several versions of one
//! crate, and crates that stay out. `cargo deny` holds the same and looks for advisories too, but takes minutes to
//! install.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

const PUBLIC_INDEX: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// A crate that is built, with what its manifest says of it.
#[derive(Clone)]
struct Built {
    name: String,
    version: String,
    /// An SPDX expression; absent where the manifest names none.
    licence: Option<String>,
    /// Absent for this package itself.
    source: Option<String>,
    /// It is in the program, or builds it; else it is in tests alone.
    released: bool,
}

/// The rules of deny.toml.
#[derive(Clone)]
struct Rules {
    licences: Vec<String>,
    banned: Vec<String>,
    /// `name@version` of what may stand beside another version.
    skipped: Vec<String>,
}

fn strings(list: &toml::Value, key: Option<&str>) -> Vec<String> {
    let rows = list.as_array().unwrap().iter();
    rows.map(|row| key.map_or(row, |key| &row[key]).as_str().unwrap().to_owned()).collect()
}

fn rules() -> Rules {
    let text = std::fs::read_to_string("deny.toml").unwrap();
    let deny: toml::Value = toml::from_str(&text).unwrap();
    Rules {
        licences: strings(&deny["licenses"]["allow"], None),
        banned: strings(&deny["bans"]["deny"], Some("crate")),
        skipped: strings(&deny["bans"]["skip"], Some("crate")),
    }
}

/// The crates of Cargo.lock that are built for this host, tests included.
fn built() -> Vec<Built> {
    let version = Command::new(env!("CARGO")).arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    // Offline: the tests were built of these crates, so all are here.
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline", "--all-features"])
        .args(["--filter-platform", host])
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let nodes: BTreeMap<&str, &Value> =
        nodes.iter().map(|node| (node["id"].as_str().unwrap(), node)).collect();
    let root = metadata["resolve"]["root"].as_str().unwrap();
    let (released, all) = (reachable(&nodes, root, false), reachable(&nodes, root, true));
    let text = |package: &Value, key: &str| package[key].as_str().map(str::to_owned);
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .filter(|package| all.contains(package["id"].as_str().unwrap()))
        .map(|package| Built {
            name: text(package, "name").unwrap(),
            version: text(package, "version").unwrap(),
            licence: text(package, "license"),
            source: text(package, "source"),
            released: released.contains(package["id"].as_str().unwrap()),
        })
        .collect()
}

/// The ids of the crates that `root` needs, with those of its tests or without.
fn reachable<'a>(
    nodes: &BTreeMap<&str, &'a Value>,
    root: &'a str,
    with_tests: bool,
) -> BTreeSet<&'a str> {
    let (mut found, mut left) = (BTreeSet::from([root]), vec![root]);
    while let Some(id) = left.pop() {
        for edge in nodes[id]["deps"].as_array().unwrap() {
            let mut kinds = edge["dep_kinds"].as_array().unwrap().iter();
            let needed = with_tests || kinds.any(|kind| kind["kind"] != "dev");
            let to = edge["pkg"].as_str().unwrap();
            if needed && found.insert(to) {
                left.push(to);
            }
        }
    }
    found
}

fn violations(built: &[Built], rules: &Rules) -> Vec<String> {
    let mut found = Vec::new();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut used = BTreeSet::new();
    for Built { name, version, licence, source, released } in built {
        if *released {
            versions.entry(name).or_default().push(version);
        }
        if source.as_deref().is_some_and(|source| source != PUBLIC_INDEX) {
            found.push(format!("{name} {version} is not from crates.io"));
        }
        if rules.banned.contains(name) {
            found.push(format!("{name} is to stay out; deny.toml has the reason"));
        }
        // Older manifests have a stroke for OR.
        let parsed =
            licence.as_deref().map(|text| spdx::Expression::parse_mode(text, spdx::ParseMode::LAX));
        let Some(Ok(parsed)) = parsed else {
            found.push(format!("{name} {version} has no licence that can be read: {licence:?}"));
            continue;
        };
        let allowed = |one: &spdx::LicenseReq| rules.licences.contains(&one.to_string());
        if !parsed.evaluate(allowed) {
            found.push(format!(
                "{name} {version} has a licence that deny.toml does not allow: {parsed}"
            ));
        }
        used.extend(parsed.requirements().map(|one| one.req.to_string()));
    }
    for (name, versions) in &versions {
        let named: Vec<_> = versions.iter().map(|version| format!("{name}@{version}")).collect();
        let kept = named.iter().filter(|one| !rules.skipped.contains(one)).count();
        if kept > 1 {
            found.push(format!("several versions of one crate: {}", named.join(", ")));
        }
    }
    for one in &rules.skipped {
        let (name, version) = one.split_once('@').unwrap();
        if !versions.get(name).is_some_and(|all| all.len() > 1 && all.contains(&version)) {
            found.push(format!("deny.toml skips {one}, which stands beside no other version"));
        }
    }
    for licence in rules.licences.iter().filter(|licence| !used.contains(*licence)) {
        found.push(format!("deny.toml allows {licence}, which no crate has"));
    }
    found
}

#[test]
fn crates_are_those_that_deny_toml_allows() {
    let found = violations(&built(), &rules());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn each_rule_over_crates_has_a_case_that_breaks_it() {
    let of = |name: &str, version: &str, licence: Option<&str>, source: &str| Built {
        name: name.to_owned(),
        version: version.to_owned(),
        licence: licence.map(str::to_owned),
        source: Some(source.to_owned()),
        released: true,
    };
    let rules = Rules {
        licences: vec!["MIT".to_owned()],
        banned: vec!["openssl-sys".to_owned()],
        skipped: vec!["old@1.0.0".to_owned()],
    };
    let good = [
        of("a", "1.0.0", Some("GPL-3.0/MIT"), PUBLIC_INDEX),
        of("old", "1.0.0", Some("MIT"), PUBLIC_INDEX),
        of("old", "2.0.0", Some("(MIT OR ISC) AND MIT"), PUBLIC_INDEX),
    ];
    assert_eq!(violations(&good, &rules), Vec::<String>::new());
    let of_tests = Built { released: false, ..of("a", "0.9.0", Some("MIT"), PUBLIC_INDEX) };
    assert_eq!(violations(&[&good[..], &[of_tests]].concat(), &rules), Vec::<String>::new());
    for (bad, said) in [
        (of("b", "1.0.0", Some("GPL-3.0-only"), PUBLIC_INDEX), "does not allow"),
        (of("b", "1.0.0", Some("MIT AND ISC"), PUBLIC_INDEX), "does not allow"),
        (of("b", "1.0.0", None, PUBLIC_INDEX), "no licence that can be read"),
        (of("b", "1.0.0", Some("as you like"), PUBLIC_INDEX), "no licence that can be read"),
        (of("b", "1.0.0", Some("MIT"), "git+https://example.com/b"), "not from crates.io"),
        (of("openssl-sys", "1.0.0", Some("MIT"), PUBLIC_INDEX), "is to stay out"),
        (
            of("a", "2.0.0", Some("MIT"), PUBLIC_INDEX),
            "several versions of one crate: a@1.0.0, a@2.0.0",
        ),
        (of("old", "3.0.0", Some("MIT"), PUBLIC_INDEX), "several versions of one crate"),
    ] {
        let found = violations(&[&good[..], &[bad]].concat(), &rules);
        assert!(found.len() == 1 && found[0].contains(said), "{said}: {found:?}");
    }
    let unused = Rules {
        licences: vec!["MIT".to_owned(), "ISC".to_owned(), "Zlib".to_owned()],
        ..rules.clone()
    };
    assert_eq!(violations(&good, &unused), ["deny.toml allows Zlib, which no crate has"]);
    let unused = violations(&good[..2], &rules);
    assert_eq!(unused, ["deny.toml skips old@1.0.0, which stands beside no other version"]);
}
