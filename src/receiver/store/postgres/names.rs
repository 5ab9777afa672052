//! Names as the database takes them.

use std::borrow::Cow;

use ring::digest::{SHA256, digest};

use crate::receiver::store::port::{
    Change, Document, EntityQuery, NodePush, PodPush, SpecQuery, StorePost, UnitPush,
};

/// The longest name that is kept as it is. Two of them fit into a row of an index.
const NAME_BYTES_MAX: usize = 800;

/// The bytes of a longer one that are kept, before its hash.
const PREFIX_BYTES: usize = 700;

/// A name without NUL, which no text of the database can have, and of bounded length.
pub(super) fn stored(name: &str) -> Cow<'_, str> {
    if name.len() > NAME_BYTES_MAX {
        let mut end = PREFIX_BYTES;
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        let hash = digest(&SHA256, name.as_bytes());
        let hash = hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}"));
        let hash: String = hash.collect();
        let prefix = name.get(..end).unwrap_or_default().replace('\0', "\u{fffd}");
        return Cow::Owned(format!("{prefix}~{hash}"));
    }
    if name.contains('\0') {
        return Cow::Owned(name.replace('\0', "\u{fffd}"));
    }
    Cow::Borrowed(name)
}

fn store(name: &mut String) {
    if let Cow::Owned(other) = stored(name) {
        *name = other;
    }
}

/// Replaces the names of a post by those that are stored.
pub(super) fn store_names(post: &mut StorePost) {
    store(&mut post.sender);
    match &mut post.change {
        Change::Usage(pushes) => {
            for NodePush { name, .. } in &mut pushes.nodes {
                store(name);
            }
            for PodPush { namespace, name, post } in &mut pushes.pods {
                store(namespace);
                store(name);
                store(&mut post.node_name);
                post.extras.deployment_name.as_mut().into_iter().for_each(store);
            }
            for UnitPush { node, name, .. } in &mut pushes.units {
                store(node);
                store(name);
            }
            for Document { namespace, name, .. } in &mut pushes.documents {
                store(namespace);
                store(name);
            }
        }
        Change::Spec { post, only_on } => {
            let row = &mut post.row;
            for name in [&mut row.pod_name, &mut row.pod_ip, &mut row.node_name] {
                store(name);
            }
            row.pod_namespace.as_mut().into_iter().chain(only_on).for_each(store);
        }
        Change::MarkDead { post, only_on } => {
            store(&mut post.pod_name);
            post.pod_ip.as_mut().into_iter().chain(only_on).for_each(store);
        }
    }
}

/// Replaces the names of a query by those that are stored.
pub(super) fn store_query(wanted: &mut EntityQuery) {
    let EntityQuery { since: _, namespace, name, node, deployment } = wanted;
    [namespace, name, node, deployment].into_iter().flatten().for_each(store);
}

/// The same of a query of the life-cycle API.
pub(super) fn store_spec_query(wanted: &mut SpecQuery) {
    match wanted {
        SpecQuery::Named(name) | SpecQuery::WithIp(name) | SpecQuery::LiveOn(name) => store(name),
        SpecQuery::All => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_or_have_a_hash_that_tells_them_apart() {
        assert_eq!(stored("web-0"), "web-0");
        assert_eq!(stored("a\0b"), "a\u{fffd}b");
        let long = |end: &str| format!("{}{end}", "ä".repeat(500));
        let (one, other) = (stored(&long("x")).into_owned(), stored(&long("y")).into_owned());
        assert!(one.len() <= NAME_BYTES_MAX && one != other, "{one} {other}");
    }
}
