//! The image: what it is made of, and that it is the one the DaemonSet names.

use std::fs;
use std::path::{Path, PathBuf};

use super::{container, text, tree};

#[test]
fn the_image_is_of_this_version_and_built_by_this_compiler() {
    let image = container().image.unwrap();
    let (name, tag) = image.rsplit_once(':').unwrap();
    assert_eq!(tag, env!("CARGO_PKG_VERSION"));
    // A name without a host would be looked for in a public registry, where anybody may put it.
    assert_eq!(name, "registry.example.com/nodetally");

    let file = text("packaging/Dockerfile");
    let instruction = |name: &str| -> Vec<&str> {
        file.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).collect()
    };
    let stages = instruction("FROM");
    let compiler = stages[0].strip_prefix("rust:").unwrap().split('-').next().unwrap();
    assert_eq!(compiler, env!("CARGO_PKG_RUST_VERSION"));
    assert_eq!(stages.last(), Some(&"scratch"));
    assert_eq!(instruction("ENTRYPOINT"), [r#"["/nodetally"]"#]);
    assert_eq!(instruction("CMD"), [r#"["run", "--config", "/etc/nodetally/config.toml"]"#]);
    assert_eq!(instruction("USER"), ["0"]);
    let label = format!("image.version=\"{tag}\"");
    assert!(file.contains(&label) && file.contains(&image), "{image}");
}

/// Cargo gets only what .dockerignore lets through, so that must be all that it needs.
#[test]
fn the_image_is_built_from_the_files_that_cargo_needs() {
    let ignored = text(".dockerignore");
    let mut lines = ignored.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.next(), Some("*"));
    let let_through: Vec<&str> = lines.map(|line| line.strip_prefix('!').unwrap()).collect();
    assert_eq!(let_through, ["Cargo.toml", "Cargo.lock", "src", "benches"]);
    let manifest: toml::Table = text("Cargo.toml").parse().unwrap();
    for (section, folder) in [("bin", "src"), ("lib", "src"), ("bench", "benches")] {
        for target in
            manifest.get(section).and_then(|targets| targets.as_array()).into_iter().flatten()
        {
            let path = target.get("path").and_then(|path| path.as_str());
            assert!(path.is_none_or(|path| path.starts_with(folder)), "{section} {path:?}");
        }
    }
    assert!(!manifest["package"].as_table().unwrap().contains_key("build"));
    let mut rust_files = Vec::new();
    collect_files(&tree("src"), &mut rust_files);
    assert!(rust_files.len() > 50, "{}", rust_files.len());
    // What only a test build compiles is none of the image's.
    for path in rust_files.iter().filter(|path| !path.ends_with("tests.rs")) {
        let source = fs::read_to_string(path).unwrap();
        // Tests stand last in a file.
        let built = source.split("#[cfg(test)]\nmod tests").next().unwrap();
        for included in built.split("include_").skip(1) {
            let Some(named) = included
                .split('"')
                .nth(1)
                .filter(|_| included.starts_with("str!(") || included.starts_with("bytes!("))
            else {
                continue;
            };
            let included = path.parent().unwrap().join(named).canonicalize().unwrap();
            assert!(included.starts_with(tree("src").canonicalize().unwrap()), "{included:?}");
        }
    }
}

fn collect_files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { collect_files(&path, into) } else { into.push(path) }
    }
}
