//! The accounts and catalogs made by hand, as observations of this room.

use std::collections::BTreeMap;

use super::entities::Observation;
use crate::directory::Catalog;
use crate::identity::PodUid;
use crate::ledger::Account;
pub use crate::metrics::samples::{
    account, any_account, any_catalog, any_pod, catalog, container, container_id, labels, owner,
    pod, uid, usage, used, used_by_container, used_by_unit,
};

static NO_FILESYSTEMS: BTreeMap<PodUid, crate::disk_usage::usage::PodFilesystem> = BTreeMap::new();

pub fn view<'a>(account: &'a Account, catalog: &'a Catalog) -> Observation<'a> {
    Observation {
        account,
        catalog,
        filesystems: &NO_FILESYSTEMS,
        node_filesystem: None,
        metrics: None,
    }
}
