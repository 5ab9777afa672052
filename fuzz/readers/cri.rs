//! A container runtime's answers as they come over its socket: the bytes of the first list (u16, the
//! lower first), `ListPodSandboxResponse`, `ListContainersResponse`. Each input is a version too.

use nodetally::directory::cri::messages::{
    ListContainersResponse, ListPodSandboxResponse, VersionResponse,
};
use nodetally::directory::cri::pods;
use prost::Message as _;

/// Reads one input.
pub fn run(bytes: &[u8]) {
    if let Ok(version) = VersionResponse::decode(bytes) {
        assert_eq!(VersionResponse::decode(&*version.encode_to_vec()), Ok(version));
    }
    let Some((length, rest)) = bytes.split_first_chunk() else { return };
    let at = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    let (sandboxes, containers) = rest.split_at(at);
    let Ok(sandboxes) = ListPodSandboxResponse::decode(sandboxes) else { return };
    let Ok(containers) = ListContainersResponse::decode(containers) else { return };
    let again = ListPodSandboxResponse::decode(&*sandboxes.encode_to_vec());
    assert_eq!(again.as_ref(), Ok(&sandboxes));
    let again = ListContainersResponse::decode(&*containers.encode_to_vec());
    assert_eq!(again.as_ref(), Ok(&containers));

    let (listed, contained) = (sandboxes.items.len(), containers.containers.len());
    let pods = pods(sandboxes.items, containers.containers, 64);
    assert!(pods.len() <= listed);
    assert!(pods.iter().map(|pod| pod.containers.len()).sum::<usize>() <= contained);
    let mut uids: Vec<_> = pods.iter().map(|pod| pod.uid).collect();
    uids.sort_unstable();
    uids.dedup();
    assert_eq!(uids.len(), pods.len(), "a pod stands there twice");
    for pod in &pods {
        assert!(!pod.name.is_empty() && !pod.name.contains('\n'));
        assert!(pod.annotations.iter().all(|(_, value)| value.len() <= 64));
        let mut names: Vec<_> = pod.containers.iter().map(|container| &container.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), pod.containers.len(), "a container stands there twice");
    }
}
