//! The file of names, while it changes.

use std::path::Path;
use std::time::Duration;

use nodetally::directory::SourceKind;
use nodetally::directory::static_file::{self, StaticFileOptions};

use super::{clock, directory_of, last_error, until, until_error};

fn entry(pattern: &str, name: &str) -> String {
    format!("[[cgroup]]\npattern = \"{pattern}\"\nnamespace = \"web\"\nname = \"{name}\"\n")
}

fn options(path: &Path) -> StaticFileOptions {
    let mut options = StaticFileOptions::new(path.to_owned(), 7, clock);
    options.interval = Duration::from_millis(20);
    options
}

/// Replaces the file in one step, as editors do.
fn write(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

#[tokio::test]
async fn a_change_is_taken_and_what_is_bad_leaves_the_names_of_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("names.toml");
    let (directory, publisher) = directory_of(SourceKind::File);
    let running = tokio::spawn(static_file::run(options(&path), publisher));
    until_error(&directory, "names.toml: cannot be read: No such file").await;

    write(&path, &(entry("/system.slice/nginx*.service", "nginx") + &entry("/*/*", "rest")));
    let catalog = until(&directory, "names", |catalog| catalog.sources[0].known == 2).await;
    let name = |path: &[u8]| catalog.cgroup(path).map(|named| named.name.clone());
    assert_eq!(name(b"/system.slice/nginx-2.service").as_deref(), Some("nginx"));
    assert_eq!(name(b"/system.slice/sshd.service").as_deref(), Some("rest"));
    assert_eq!(name(b"/user.slice"), None);
    assert_eq!(last_error(&catalog.sources[0]), "");

    write(&path, &(entry("/a", "a") + "nane = 1\n"));
    let catalog = until_error(&directory, "names.toml:5: nane: unknown key, did you mean").await;
    let kept = catalog.cgroup(b"/system.slice/nginx.service").unwrap();
    assert_eq!(&*kept.name, "nginx");

    write(&path, &entry("/a", "a"));
    let catalog =
        until(&directory, "the new name", |catalog| catalog.cgroup(b"/a").is_some()).await;
    assert!(catalog.cgroup(b"/system.slice/nginx.service").is_none());
    assert_eq!(last_error(&catalog.sources[0]), "");

    std::fs::remove_file(&path).unwrap();
    let catalog = until_error(&directory, "cannot be read").await;
    assert!(catalog.cgroup(b"/a").is_some(), "what it told before stays");
    running.abort();
}

#[tokio::test]
async fn a_file_that_stays_is_current_and_not_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("names.toml");
    write(&path, &entry("/a", "a"));
    let (directory, publisher) = directory_of(SourceKind::File);
    let running = tokio::spawn(static_file::run(options(&path), publisher));
    let first = until(&directory, "a name", |catalog| catalog.sources[0].known == 1).await;
    let at = first.sources[0].current_at.unwrap();
    let later = until(&directory, "a later look", |catalog| {
        catalog.sources[0].current_at.is_some_and(|now| now > at)
    })
    .await;
    let (one, other) = (first.cgroup(b"/a").unwrap(), later.cgroup(b"/a").unwrap());
    assert!(std::ptr::eq(one, other), "the names are those that were read first");
    running.abort();
}

#[tokio::test]
async fn a_probe_says_how_many_names_there_are_or_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("names.toml");
    write(&path, &entry("/a", "a"));
    let said = static_file::probe(&options(&path)).await.unwrap();
    assert!(said.ends_with("names.toml: 1 names of cgroups"), "{said}");
    write(&path, &entry("a", "a"));
    let error = static_file::probe(&options(&path)).await.unwrap_err().to_string();
    assert!(error.contains("names.toml:2: cgroup.pattern = \"a\" does not begin"), "{error}");
}
