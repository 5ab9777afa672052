//! The merged data of all sources at one moment.

use std::sync::Arc;

use super::node::Node;
use super::pod::{Labels, Pod};
use super::source_status::SourceStatus;
use crate::identity::{ContainerId, PodUid};

/// The names known at one moment. A catalog never changes; the directory replaces it.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// By uid.
    pub(super) pods: Vec<Arc<Pod>>,
    /// By id.
    pub(super) containers: Vec<(ContainerId, Arc<EntityName>)>,
    /// By uid; none of them is in `pods`.
    pub(super) departed: Vec<Arc<Pod>>,
    /// In the order of the file.
    pub(super) cgroups: Arc<[CgroupNameRule]>,
    /// `None` until a source that knows it has answered.
    pub node: Option<Arc<Node>>,
    /// A source was asked for the Node object and has not answered yet.
    pub expects_node: bool,
    /// The API server's `gitVersion`; `None` until the server has answered.
    pub server_version: Option<Arc<str>>,
    /// In the configured order.
    pub sources: Vec<SourceStatus>,
}

/// The name of a container or cgroup outside Kubernetes, which is sent as a pod of that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityName {
    pub namespace: Box<str>,
    pub name: Box<str>,
    pub labels: Labels,
}

/// A name for all cgroups whose path matches a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupNameRule {
    pub pattern: CgroupPattern,
    pub entity: EntityName,
    /// A matching cgroup is an owner, with everything below it but pods.
    pub makes_owner: bool,
}

/// A path below the cgroup2 mount in which `*` stands for any run of characters but `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupPattern(Box<str>);

/// Errors of a text as a pattern of cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("does not begin with `/`")]
    NotFromRoot,
    #[error("is the root, which belongs to no service")]
    Root,
    #[error("has nothing between two slashes or behind the last, which no path has")]
    EmptyComponent,
    #[error("is longer than {PATTERN_BYTES_MAX} bytes")]
    TooLong,
}

/// The longest pattern, in bytes; matching costs the product of the two lengths.
pub const PATTERN_BYTES_MAX: usize = 1024;

impl CgroupPattern {
    /// Checks a pattern.
    ///
    /// # Errors
    /// No path below the cgroup2 mount can match, or the text is too long.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLong);
        }
        let below = text.strip_prefix('/').ok_or(PatternError::NotFromRoot)?;
        if below.is_empty() {
            return Err(PatternError::Root);
        }
        if below.split('/').any(str::is_empty) {
            return Err(PatternError::EmptyComponent);
        }
        Ok(Self(text.into()))
    }

    /// `true` if the pattern matches the whole `path`.
    #[must_use]
    pub fn fits(&self, path: &[u8]) -> bool {
        // The pattern and path behind the last star: the only place to go back to, since an earlier
        // star could only match less than that one gives back.
        let mut back: Option<(&[u8], &[u8])> = None;
        let (mut pattern, mut path) = (self.0.as_bytes(), path);
        loop {
            match (pattern.split_first(), path.split_first()) {
                (Some((b'*', rest)), _) => {
                    back = Some((rest, path));
                    pattern = rest;
                }
                (Some((wanted, next)), Some((found, left))) if wanted == found => {
                    (pattern, path) = (next, left);
                }
                (None, None) => return true,
                _ => match back.take() {
                    Some((rest, [byte, left @ ..])) if *byte != b'/' => {
                        back = Some((rest, left));
                        (pattern, path) = (rest, left);
                    }
                    _ => return false,
                },
            }
        }
    }
}

impl Catalog {
    /// The pod whose cgroup carries this uid.
    #[must_use]
    pub fn pod(&self, uid: PodUid) -> Option<&Arc<Pod>> {
        let at = self.pods.binary_search_by_key(&uid, |pod| pod.uid).ok()?;
        self.pods.get(at)
    }

    /// All known pods, by uid.
    #[must_use]
    pub fn pods(&self) -> &[Arc<Pod>] {
        &self.pods
    }

    /// A pod that its source has dropped, as the source knew it last. Its cgroups may be there still:
    /// a pod that was deleted by force runs on for its grace period.
    #[must_use]
    pub fn departed(&self, uid: PodUid) -> Option<&Arc<Pod>> {
        let at = self.departed.binary_search_by_key(&uid, |pod| pod.uid).ok()?;
        self.departed.get(at)
    }

    /// The rules of the file of names, in its order.
    #[must_use]
    pub fn cgroup_rules(&self) -> &Arc<[CgroupNameRule]> {
        &self.cgroups
    }

    /// The name of a cgroup in the static file; the first entry that matches counts.
    #[must_use]
    pub fn cgroup(&self, path: &[u8]) -> Option<&EntityName> {
        self.cgroups.iter().find(|rule| rule.pattern.fits(path)).map(|rule| &rule.entity)
    }

    /// The name of a container outside Kubernetes.
    #[must_use]
    pub fn container(&self, id: ContainerId) -> Option<&EntityName> {
        let at = self.containers.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.containers.get(at).map(|(_, named)| &**named)
    }
}

#[cfg(test)]
mod tests {
    use super::{CgroupPattern, PatternError};

    #[test]
    fn a_pattern_fits_whole_paths_and_a_star_stays_in_its_component() {
        let fits = |pattern: &str, path: &str| CgroupPattern(pattern.into()).fits(path.as_bytes());
        assert!(fits("/system.slice/nginx.service", "/system.slice/nginx.service"));
        assert!(!fits("/system.slice/nginx.service", "/system.slice/nginx.service/sub"));
        assert!(fits("/system.slice/*.service", "/system.slice/nginx.service"));
        assert!(!fits("/system.slice/*", "/system.slice/a/b"));
        assert!(fits("/*/*", "/a/b"));
        assert!(fits("/a*b*c", "/axbxbyc"));
        assert!(!fits("/a*b*c", "/axbxby"));
        assert!(fits("/app-*", "/app-"));
        assert!(fits("/*-*/x", "/a-b-c/x"));
        assert!(!fits("", "/a"));
    }
    #[test]
    fn a_pattern_that_fits_nothing_is_none() {
        for (text, error) in [
            ("", PatternError::NotFromRoot),
            ("nginx.service", PatternError::NotFromRoot),
            ("/", PatternError::Root),
            ("/a/", PatternError::EmptyComponent),
            ("//a", PatternError::EmptyComponent),
            (&format!("/{}", "a".repeat(1024)), PatternError::TooLong),
        ] {
            assert_eq!(CgroupPattern::new(text), Err(error), "{text}");
        }
        assert!(CgroupPattern::new("/a/b*").unwrap().fits(b"/a/bc"));
    }
}
