//! The image: its parts, and that it is the one the DaemonSet names.

use std::{env, fs};

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
    let [base, pinned_by, scratch] =
        [instruction("ARG")[0], instruction("FROM")[0], instruction("FROM")[1]];
    // Docker and buildah each complete a short name in their own way.
    let base = base.strip_prefix("RUST_IMAGE=docker.io/library/rust:").unwrap();
    assert_eq!(base.split('-').next().unwrap(), env!("CARGO_PKG_RUST_VERSION"));
    assert_eq!(pinned_by, "${RUST_IMAGE} AS build");
    assert_eq!(scratch, "scratch");
    assert_eq!(instruction("ENTRYPOINT"), [r#"["/nodetally"]"#]);
    assert_eq!(instruction("CMD"), [r#"["run", "--config", "/etc/nodetally/config.toml"]"#]);
    assert_eq!(instruction("USER"), ["0"]);
    assert!(file.contains(&image), "{image}");
    for (label, value) in [
        ("title", env!("CARGO_PKG_NAME")),
        ("version", tag),
        ("licenses", env!("CARGO_PKG_LICENSE")),
        ("vendor", env!("CARGO_PKG_AUTHORS")),
        ("revision", "${BUILD_COMMIT}"),
    ] {
        let label = format!("org.opencontainers.image.{label}=\"{value}\"");
        assert!(file.contains(&label), "{label}");
    }
    assert!(file.contains("org.opencontainers.image.description=\""));
}

/// Cargo gets only what .dockerignore lets through, so that must be all that it needs.
#[test]
fn the_image_is_built_from_the_files_that_cargo_needs() {
    let ignored = text(".dockerignore");
    let mut lines = ignored.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.next(), Some("*"));
    let let_through: Vec<&str> = lines.map(|line| line.strip_prefix('!').unwrap()).collect();
    for path in &let_through {
        assert!(tree(path).exists(), "{path}");
    }

    // The compiler's own lists of what it read for the library, beside the test binaries.
    let beside = env::current_exe().unwrap().with_file_name("");
    let lists = fs::read_dir(beside).unwrap().map(|entry| entry.unwrap().path()).filter(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("nodetally-") && name.ends_with(".d")
    });
    // Those of unit tests, which make no `.rlib`, name fixtures too. A list of an older build may name
    // a file that is gone.
    let mut files: Vec<String> = lists
        .map(|path| fs::read_to_string(path).unwrap())
        .filter_map(|list| {
            let (_, read) = list.lines().find_map(|line| line.split_once(".rlib: "))?;
            Some(read.split_whitespace().map(String::from).collect::<Vec<_>>())
        })
        .flatten()
        .filter(|path| tree(path).exists())
        .collect();
    files.sort();
    files.dedup();
    assert!(files.len() > 300, "{}", files.len());
    let root = tree("").canonicalize().unwrap();
    let configured = [".cargo/config.toml", "Cargo.toml", "Cargo.lock", "build.rs"];
    let manifest: toml::Table = text("Cargo.toml").parse().unwrap();
    let benches = manifest["bench"].as_array().unwrap().iter().map(|bench| {
        let name = bench["name"].as_str().unwrap();
        let file = tree(&format!("benches/{name}.rs"));
        if file.exists() { file } else { tree(&format!("benches/{name}/main.rs")) }
    });
    for path in files.iter().map(|path| tree(path)).chain(configured.map(tree)).chain(benches) {
        let path = path.canonicalize().unwrap();
        let inside = path.strip_prefix(&root).unwrap_or_else(|_| panic!("{path:?} is elsewhere"));
        assert!(let_through.iter().any(|part| inside.starts_with(part)), "{inside:?}");
    }
}
