//! The names of a kubelet that are left out, with the reason. docs/kubelet-paths.md has the same list.

/// Of the texts.
pub const FAMILIES: &[(&str, &str)] = &[
    ("container_cpu_load_average_10s", "a kubelet writes 0: its load reader is off"),
    (
        "container_file_descriptors",
        "Linux 6.2 and later count them in 5 µs of CPU for each process, earlier ones list them: 5 ms a \
         sample for 1000 processes, where one of 110 pods takes 8 ms",
    ),
    (
        "container_sockets",
        "needs the link of each descriptor, 5 µs of CPU each: 300 ms a sample for 1000 processes with 60 \
         each",
    ),
    ("container_tasks_state", "a kubelet writes 0: the kernel answers for cgroup v1 only"),
    ("machine_nvm_avg_power_budget_watts", "the kernel does not say; a kubelet writes 0"),
    ("machine_nvm_capacity", "the kernel does not say; a kubelet writes 0"),
];

/// Of the summary; a star stands for everything below.
pub const PATHS: &[(&str, &str)] = &[
    ("node.runtime.imageFs.*", "the size of images is known to the runtime only"),
    ("pods[].containers[].logs.*", "files are counted by pod: see `ephemeral-storage`"),
    ("pods[].containers[].rootfs.*", "files are counted by pod: see `ephemeral-storage`"),
    ("pods[].ephemeral-storage.inodes", "that of the filesystem: see `node.fs`"),
    ("pods[].ephemeral-storage.inodesFree", "that of the filesystem: see `node.fs`"),
    ("pods[].volume[].*", "files are counted by pod, and never on network filesystems"),
];

/// True if a path is left out.
pub fn has_path(path: &str) -> bool {
    PATHS.iter().any(|(left_out, _)| match left_out.strip_suffix('*') {
        Some(above) => path.starts_with(above),
        None => path == *left_out,
    })
}

#[test]
fn the_document_lists_the_same_names_with_the_same_reasons() {
    let document = include_str!("../../../docs/kubelet-paths.md");
    let rows = |section: &str| {
        let (_, rest) = document.split_once(section).unwrap();
        let rest = rest.split("\n## ").next().unwrap();
        let rows = rest.lines().filter_map(|line| {
            let (name, reason) = line.strip_prefix("| `")?.split_once("` | ")?;
            Some((name.to_owned(), reason.trim_end_matches(" |").to_owned()))
        });
        rows.collect::<Vec<_>>()
    };
    let own = |all: &[(&str, &str)]| {
        all.iter().map(|(name, why)| ((*name).to_owned(), (*why).to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(rows("\n## Left out of /metrics/cadvisor"), own(FAMILIES));
    assert_eq!(rows("\n## Left out of /stats/summary"), own(PATHS));
}
