//! The .deb and the .rpm: made with a stand-in for the binary, installed into a copy of this system's root that
//! goes with the test, and looked at.
//!
//! What needs a boot is the guest's scenario `package`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{text, tree};
use crate::support::skip::skip;

/// The installed files but man pages: path, mode, and whether an administrator's changes are kept.
const INSTALLED: [(&str, u32, bool); 6] = [
    ("/usr/bin/nodetally", 0o755, false),
    ("/usr/lib/systemd/system/nodetally.service", 0o644, false),
    ("/usr/share/bash-completion/completions/nodetally", 0o644, false),
    ("/usr/share/fish/vendor_completions.d/nodetally.fish", 0o644, false),
    ("/etc/nodetally/config.toml", 0o644, true),
    ("/etc/default/nodetally", 0o644, true),
];

const PAGES: [&str; 11] = [
    "nodetally",
    "nodetally-check",
    "nodetally-completions",
    "nodetally-config",
    "nodetally-dump",
    "nodetally-help",
    "nodetally-man",
    "nodetally-receive",
    "nodetally-run",
    "nodetally-status",
    "nodetally-top",
];

fn has(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    found.is_ok_and(|output| output.status.success())
}

/// The standard output of a program that has to succeed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

/// `target/package`, as packaging/stage makes it.
fn stage() {
    run(Command::new(tree("packaging/stage"))
        .arg(env!("CARGO_BIN_EXE_nodetally"))
        .arg(tree("target/package"))
        .env("SOURCE_DATE_EPOCH", "1790000000"));
}

/// A folder for `--target-dir`, with something in place of the release binary.
fn stand_in() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let binary = folder.path().join("release/nodetally");
    fs::create_dir(folder.path().join("release")).unwrap();
    // A program of the machine, since rpmlint wants one in a package for an architecture.
    fs::copy("/bin/true", &binary).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// Fails where the checker of packages, if it is there, finds an error.
fn lint(checker: &str, arguments: &[&str], package: &Path) {
    if !has(checker) {
        return skip(format!("no {checker}: whether it finds an error in the package"));
    }
    run(Command::new(checker).args(arguments).arg(package).current_dir(tree("")));
}

#[test]
fn packages_hold_what_a_service_needs() {
    if let Some(missing) = ["python3", "gzip", "cargo"].iter().find(|name| !has(name)) {
        return skip(format!("no {missing}: packages"));
    }
    stage();
    the_unit_differs_in_the_path_of_the_binary_alone();
    the_debian_package();
    the_rpm_package();
}

fn the_unit_differs_in_the_path_of_the_binary_alone() {
    let (ours, packaged) =
        (text("systemd/nodetally.service"), text("target/package/systemd/nodetally.service"));
    let changed: Vec<_> =
        ours.lines().zip(packaged.lines()).filter(|(ours, its)| ours != its).collect();
    assert_eq!(ours.lines().count(), packaged.lines().count());
    for (ours, its) in &changed {
        assert!(ours.starts_with("Exec"), "{ours}");
        assert_eq!(ours.replace("/usr/local/bin/", "/usr/bin/"), **its);
    }
    assert!(!changed.is_empty());
    assert!(ours.contains("\nEnvironmentFile=-/etc/default/nodetally\n"));
    // Why packages bring neither sysusers.d nor tmpfiles.d.
    for made in ["DynamicUser=yes", "RuntimeDirectory=nodetally", "StateDirectory=nodetally"] {
        assert!(ours.contains(&format!("\n{made}\n")), "{made}");
    }
    assert!(text("packaging/default").lines().all(|line| line.is_empty() || line.starts_with('#')));
}

fn the_debian_package() {
    if let Some(missing) = ["cargo-deb", "dpkg", "unshare"].iter().find(|name| !has(name)) {
        return skip(format!("no {missing}: the .deb"));
    }
    let make = || {
        let built = stand_in();
        let package = built.path().join("nodetally.deb");
        run(Command::new("cargo")
            .args(["deb", "--no-build", "--no-strip", "--fast", "--quiet", "-o"])
            .arg(&package)
            .env("CARGO_TARGET_DIR", built.path())
            .env("SOURCE_DATE_EPOCH", "1790000000")
            .current_dir(tree("")));
        (built, package)
    };
    let (_built, package) = make();
    has_the_same_bytes_a_second_later(&package, &make);
    lint("lintian", &["--allow-root", "--fail-on", "error"], &package);

    let listed = run(Command::new("dpkg-deb").arg("-c").arg(&package));
    // -rw-r--r-- root/root 123 2026-11-30 12:00 ./etc/default/nodetally
    let files: BTreeSet<(String, String)> = listed
        .lines()
        .filter(|line| line.starts_with('-'))
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            // Numbers where the archive has no names.
            assert!(["0/0", "root/root"].contains(&words[1]), "{line}");
            (words[5].trim_start_matches('.').to_owned(), words[0].to_owned())
        })
        .collect();
    let mut wanted: BTreeSet<(String, String)> = INSTALLED
        .iter()
        .map(|(path, mode, _)| {
            let shown = if *mode == 0o755 { "-rwxr-xr-x" } else { "-rw-r--r--" };
            ((*path).to_owned(), shown.to_owned())
        })
        .collect();
    let more = [
        "/usr/share/zsh/vendor-completions/_nodetally",
        "/usr/share/lintian/overrides/nodetally",
        "/usr/share/doc/nodetally/LICENSE-APACHE",
        "/usr/share/doc/nodetally/LICENSE-MIT",
        "/usr/share/doc/nodetally/changelog.Debian.gz",
        "/usr/share/doc/nodetally/changelog.gz",
        "/usr/share/doc/nodetally/copyright",
        "/usr/share/doc/nodetally/third-party-licences.txt.gz",
        "/usr/share/doc/nodetally/README.md",
    ]
    .map(str::to_owned);
    let documents = ["docs", "docs/images", "docs/wire"].into_iter().flat_map(|folder| {
        let entries = fs::read_dir(tree(folder)).unwrap().map(|entry| entry.unwrap().path());
        let files = entries.filter(|path| path.is_file());
        files.map(move |path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            format!("/usr/share/doc/nodetally/{folder}/{name}")
        })
    });
    wanted.extend(documents.map(|path| (path, "-rw-r--r--".to_owned())));
    let pages = PAGES.map(|page| format!("/usr/share/man/man1/{page}.1.gz"));
    wanted.extend(more.into_iter().chain(pages).map(|path| (path, "-rw-r--r--".to_owned())));
    assert_eq!(files, wanted);

    let kept = run(Command::new("dpkg-deb").arg("-I").arg(&package).arg("conffiles"));
    let kept: BTreeSet<&str> = kept.lines().collect();
    let conffiles = INSTALLED.iter().filter(|row| row.2).map(|row| row.0);
    assert_eq!(kept, conffiles.collect());
    let depends = run(Command::new("dpkg-deb").arg("-f").arg(&package).arg("Depends"));
    assert_eq!(depends.trim(), "", "a static binary needs nothing");

    install_and_remove(&package);
}

/// Neither the time of the build nor the place gets into a package.
fn has_the_same_bytes_a_second_later(
    first: &Path,
    make: &dyn Fn() -> (tempfile::TempDir, PathBuf),
) {
    // Dates in packages are whole seconds.
    std::thread::sleep(Duration::from_millis(1100));
    stage();
    let (_built, second) = make();
    assert!(fs::read(first).unwrap() == fs::read(&second).unwrap(), "{}", second.display());
}

/// Runs a script in a copy of the root, of which the machine's own files are the lower layer, with the package at
/// /package. The output, or `None` where that cannot be tried, which is recorded as `what`.
fn in_copy_of_root(package: &Path, script: &str, what: &str) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        skip(format!("no root: {what}"));
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let outside = r#"
        set -eu
        mount -t tmpfs none "$1"
        mkdir "$1/upper" "$1/work" "$1/root"
        mount -t overlay none -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root" || exit 77
        cp "$2" "$1/root/package"
        exec chroot "$1/root" sh -euc "$3"
    "#;
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", outside, "sh"])
        .args([folder.path(), package])
        .arg(script)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let failed = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(77) || failed.contains("unshare failed") {
        skip(format!("no overlay of /: {what}"));
        return None;
    }
    assert!(output.status.success(), "{said}{failed}");
    Some(said)
}

/// The maintainer scripts run as on a machine without systemd at work.
fn install_and_remove(package: &Path) {
    let script = r##"
            export DEBIAN_FRONTEND=noninteractive
            wants=/etc/systemd/system/multi-user.target.wants/nodetally.service
            rm -rf /etc/nodetally /etc/default/nodetally /var/lib/nodetally
            # No service is to be started here.
            test ! -d /run/systemd/system
            dpkg -i /package
            echo "installed $(dpkg-query -W -f "\${db:Status-Status}" nodetally)"
            if command -v deb-systemd-helper >/dev/null; then echo "enabled $(readlink $wants)"; fi
            echo "# mine" >>/etc/nodetally/config.toml
            dpkg -i /package
            echo "changes kept $(grep -c "# mine" /etc/nodetally/config.toml)"
            mkdir -p /var/lib/private/nodetally/spool /run/private/nodetally
            ln -s private/nodetally /var/lib/nodetally
            ln -s private/nodetally /run/nodetally
            dpkg -r nodetally
            test ! -e /usr/bin/nodetally && test -e /etc/nodetally/config.toml && test -d /var/lib/nodetally/spool
            echo removed
            dpkg -P nodetally
            for path in /etc/nodetally /etc/default/nodetally /var/lib/nodetally /var/lib/private/nodetally \
                /run/nodetally /run/private/nodetally /usr/share/doc/nodetally $wants; do
                if test -e $path || test -h $path; then echo "left: $path"; fi
            done
            test -d /var/lib/private
            echo purged
    "##;
    let what = "whether the .deb is installed, kept and purged";
    let Some(said) = in_copy_of_root(package, script, what) else { return };
    for line in ["installed installed", "changes kept 1", "removed", "purged"] {
        assert!(said.lines().any(|said| said == line), "{line}: {said}");
    }
    assert!(!said.contains("left: "), "{said}");
    if let Some(enabled) = said.lines().find_map(|line| line.strip_prefix("enabled ")) {
        assert!(enabled.ends_with("/systemd/system/nodetally.service"), "{enabled}");
    }
}

/// Installed, changed, installed once more, removed: what an administrator changed stays, and nothing else.
fn install_and_erase(package: &Path) {
    let script = r##"
            rm -rf /etc/nodetally /etc/default/nodetally /usr/share/doc/nodetally /usr/share/licenses/nodetally
            # No service is to be started here.
            test ! -d /run/systemd/system
            rpm --initdb
            # It requires systemd, which is no package of rpm here.
            rpm -i --nodeps /package
            echo "installed $(rpm -q --qf "%{NAME}" nodetally)"
            test -x /usr/bin/nodetally
            echo "# mine" >>/etc/nodetally/config.toml
            rpm -U --nodeps --replacepkgs /package
            echo "changes kept $(grep -c "# mine" /etc/nodetally/config.toml)"
            rpm -e nodetally
            for path in /usr/bin/nodetally /usr/lib/systemd/system/nodetally.service /usr/share/doc/nodetally \
                /usr/share/licenses/nodetally /usr/share/man/man1/nodetally.1.gz; do
                if test -e $path; then echo "left: $path"; fi
            done
            echo "saved $(ls /etc/nodetally)"
    "##;
    let what = "whether the .rpm is installed and removed";
    let Some(said) = in_copy_of_root(package, script, what) else { return };
    for line in ["installed nodetally", "changes kept 1", "saved config.toml.rpmsave"] {
        assert!(said.lines().any(|said| said == line), "{line}: {said}");
    }
    assert!(!said.contains("left: "), "{said}");
}

fn the_rpm_package() {
    if let Some(missing) = ["cargo-generate-rpm", "rpm"].iter().find(|name| !has(name)) {
        return skip(format!("no {missing}: the .rpm"));
    }
    let make = || {
        let built = stand_in();
        let package = built.path().join("nodetally.rpm");
        run(Command::new("cargo")
            .args(["generate-rpm", "--payload-compress", "gzip", "--target-dir"])
            .arg(built.path())
            .arg("-o")
            .arg(&package)
            .env("SOURCE_DATE_EPOCH", "1790000000")
            .current_dir(tree("")));
        (built, package)
    };
    let (_built, package) = make();
    has_the_same_bytes_a_second_later(&package, &make);
    lint("rpmlint", &["--config", "packaging/rpm/rpmlint.toml"], &package);
    install_and_erase(&package);
    let query = |what: &[&str]| run(Command::new("rpm").arg("-qp").args(what).arg(&package));
    let listed = query(&["--qf", "[%{FILENAMES} %{FILEMODES:octal} %{FILEUSERNAME}\\n]"]);
    for (path, mode, _) in INSTALLED {
        let line = format!("{path} {:o} root", 0o100_000 | mode);
        assert!(listed.lines().any(|listed| listed == line), "{line}: {listed}");
    }
    for page in PAGES {
        assert!(listed.contains(&format!("/usr/share/man/man1/{page}.1.gz ")), "{page}: {listed}");
    }
    let kept = query(&["-c"]);
    let kept: BTreeSet<&str> = kept.lines().collect();
    assert_eq!(kept, INSTALLED.iter().filter(|row| row.2).map(|row| row.0).collect());
    let scripts = query(&["--scripts"]);
    for part in [
        "preset nodetally.service",
        "disable --now nodetally.service",
        "try-restart nodetally.service",
    ] {
        assert!(scripts.contains(part), "{part}: {scripts}");
    }
}

#[test]
fn the_changelogs_section_of_this_version_is_cut_out() {
    let version = env!("CARGO_PKG_VERSION");
    let section = run(Command::new(tree("packaging/changelog-section")).arg(version));
    let whole = text("CHANGELOG.md");
    let start = whole.find(&format!("\n## [{version}]")).unwrap();
    assert!(whole.split_at(start).1.contains(section.trim()), "{section}");
    assert!(section.starts_with("### ") && !section.contains("\n## "), "{section}");
    let absent = Command::new(tree("packaging/changelog-section")).arg("99.0.0").output().unwrap();
    assert!(!absent.status.success() && absent.stdout.is_empty());
    assert!(String::from_utf8_lossy(&absent.stderr).contains("99.0.0"));
}
