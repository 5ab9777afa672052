//! The mechanism that denies what capabilities would allow: AppArmor, SELinux or a user namespace.

use std::path::Path;

use crate::source::root::{Buffer, Dir};

/// The mechanism that confines this process, in words with the remedy.
pub(super) fn words() -> String {
    // Always its own procfs: the configured one may be another host's.
    let Ok(procfs) = Dir::open(Path::new("/proc")) else { return described(None, None) };
    let mut buffer = Buffer::default();
    let mut read = |name| {
        let text = procfs.read_records(name, &mut buffer).ok()?;
        Some(String::from_utf8_lossy(text).trim_end_matches(['\0', '\n']).to_owned())
    };
    let label = read(c"self/attr/apparmor/current").or_else(|| read(c"self/attr/current"));
    described(label.as_deref(), read(c"self/uid_map").as_deref())
}

/// `label`: what the security module calls the process. `uid_map`: the mapping of its user namespace.
fn described(label: Option<&str>, uid_map: Option<&str>) -> String {
    // cri-containerd.apparmor.d (enforce)
    if let Some((profile, mode)) = label.and_then(|label| label.rsplit_once(" (")) {
        if mode == "enforce)" {
            return format!(
                "AppArmor's profile {} forbids it: run unconfined (components/unconfined in \
                 Kubernetes, --security-opt apparmor=unconfined in Docker and Podman)",
                profile.escape_debug()
            );
        }
    // system_u:system_r:container_t:s0:c1,c2
    } else if let Some(kind) = label.and_then(|label| label.split(':').nth(2))
        && !kind.starts_with("unconfined")
        && kind != "spc_t"
    {
        return format!(
            "SELinux's type {} forbids it: run as spc_t (components/unconfined in Kubernetes, \
             --security-opt label=disable in Docker and Podman)",
            kind.escape_debug()
        );
    }
    // The first user namespace maps all 2^32 - 1 ids to themselves.
    let is_first = |map: &str| map.split_whitespace().eq(["0", "0", "4294967295"]);
    if uid_map.is_some_and(|map| !is_first(map)) {
        return "a user namespace: its root is not the host's; run in the host's (userns=host)"
            .to_owned();
    }
    "not a capability: a security module or a user namespace forbids it".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "         0          0 4294967295";

    #[test]
    fn what_confines_is_named_with_its_remedy() {
        for (label, uid_map, expected) in [
            (
                Some("cri-containerd.apparmor.d (enforce)"),
                HOST,
                "AppArmor's profile cri-containerd",
            ),
            (Some("docker-default (enforce)"), HOST, "apparmor=unconfined"),
            (Some("docker-default (complain)"), HOST, "not a capability"),
            (Some("unconfined"), HOST, "not a capability"),
            (Some("system_u:system_r:container_t:s0:c1,c2"), HOST, "SELinux's type container_t"),
            (Some("system_u:system_r:spc_t:s0"), HOST, "not a capability"),
            (Some("unconfined_u:unconfined_r:unconfined_t:s0"), HOST, "not a capability"),
            (Some("unconfined"), "0 100000 65536", "user namespace"),
            (None, "0 1000 1\n1 100000 65536", "user namespace"),
            (None, HOST, "not a capability"),
        ] {
            let words = described(label, Some(uid_map));
            assert!(words.contains(expected), "{label:?}: {words}");
        }
    }
}
