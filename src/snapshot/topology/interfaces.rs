//! The kinds of interfaces and how they are stacked.
//!
//! Without it the same bytes count twice: /proc/net/dev has a row for a bond and for each of its
//! ports.

use std::ffi::{CStr, CString};

use crate::snapshot::roots::Roots;
use crate::source::proc::net_dev::{InterfaceName, InterfaceRow};
use crate::source::proc::net_route;
use crate::source::root::{Buffer, Dir};

/// The role of an interface in the node's totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InterfaceKind {
    /// Counted: hardware, or the namespace's uplink if there is no hardware.
    Counted,
    /// Left out: loopback, bridges and their ports, bonds, VLANs, tunnels and other interfaces
    /// whose traffic shows on a counted one.
    LeftOut,
}

/// The kind of each interface of the host, so that each transfer counts once.
///
/// Hardware has a `device` link; bonds, VLANs, bridges, veths and tunnels have none. Where no
/// interface has one (a container or virtual machine whose uplink is a veth) the interfaces of the
/// default routes count, and where there is no default route, all that no bridge holds.
#[must_use]
pub fn classify_host(roots: &Roots, rows: &[InterfaceRow]) -> Vec<(InterfaceName, InterfaceKind)> {
    let class = Dir::open(&roots.sysfs.join("class/net")).ok();
    let has = |name: InterfaceName, file: &[u8]| {
        let path = join(&[name.as_bytes(), b"/", file]);
        class.as_ref().zip(path).is_some_and(|(class, path)| class.has(&path))
    };
    let kinds = |counted: &dyn Fn(InterfaceName) -> bool| {
        let kind =
            |name| if counted(name) { InterfaceKind::Counted } else { InterfaceKind::LeftOut };
        rows.iter().map(|row| (row.name, kind(row.name))).collect::<Vec<_>>()
    };
    if rows.iter().any(|row| has(row.name, b"device")) {
        // A virtual function below a paravirtual interface (netvsc, net_failover) is hardware below
        // hardware, and the upper one counts its traffic too. A bond above a port is no hardware.
        let below_hardware = |name: InterfaceName| {
            let link = join(&[name.as_bytes(), b"/master"]);
            let above = class.as_ref().zip(link).and_then(|(class, link)| {
                let last =
                    |target: &[u8]| InterfaceName::new(target.rsplit(|byte| *byte == b'/').next()?);
                class.with_link(&link, last).ok().flatten()
            });
            above.is_some_and(|above| has(above, b"device"))
        };
        return kinds(&|name| has(name, b"device") && !below_hardware(name));
    }
    let uplinks = default_routes(roots);
    if rows.iter().any(|row| uplinks.contains(&row.name)) {
        return kinds(&|name| uplinks.contains(&name));
    }
    kinds(&|name| {
        let virtual_names: [&[u8]; 11] = [
            b"dummy", b"ifb", b"docker", b"cni", b"cali", b"veth", b"sit", b"tunl", b"ip6tnl",
            b"gre", b"flannel",
        ];
        name.as_bytes() != b"lo"
            && !virtual_names.iter().any(|prefix| name.as_bytes().starts_with(prefix))
            && !["bridge", "brport", "master", "bonding"]
                .iter()
                .any(|file| has(name, file.as_bytes()))
    })
}

fn default_routes(roots: &Roots) -> Vec<InterfaceName> {
    let mut buffer = Buffer::default();
    let Ok(procfs) = Dir::open(&roots.procfs) else { return Vec::new() };
    let names: [&CStr; 2] = [c"1/net/route", c"net/route"];
    names
        .iter()
        .find_map(|name| net_route::parse(procfs.read_records(name, &mut buffer).ok()?).ok())
        .unwrap_or_default()
}

/// True if an interface of another namespace is left out of that namespace's sum: loopback, a
/// bridge, or an interface of a bridge. `class` is that namespace's /sys/class/net, reached through
/// a process's root directory. Where it cannot be reached, the near ends of containers and bridges
/// are known by their names, as long as the namespace (`rows`) has another way out: a node that
/// runs as a container holds the veths of its pods beside its own interface, while a pod's own
/// interface may be called as it likes.
#[must_use]
pub fn left_out_inside(class: Option<&Dir>, name: InterfaceName, rows: &[InterfaceRow]) -> bool {
    if name.as_bytes() == b"lo" {
        return true;
    }
    let Some(class) = class else {
        let is_way_out =
            |row: &InterfaceRow| row.name.as_bytes() != b"lo" && !leads_inside(row.name);
        return leads_inside(name) && rows.iter().any(is_way_out);
    };
    [&b"/bridge"[..], b"/brport", b"/master"]
        .iter()
        .any(|file| join(&[name.as_bytes(), file]).is_some_and(|path| class.has(&path)))
}

/// Names that container runtimes and network plugins give to bridges and to the near ends of pods.
fn leads_inside(name: InterfaceName) -> bool {
    let prefixes: [&[u8]; 8] =
        [b"veth", b"cali", b"cni", b"docker", b"br-", b"virbr", b"flannel", b"lxc"];
    prefixes.iter().any(|prefix| name.as_bytes().starts_with(prefix))
}

fn join(parts: &[&[u8]]) -> Option<CString> {
    CString::new(parts.concat()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::roots::Units;

    #[test]
    fn without_sysfs_pods_ends_are_left_out_only_beside_another_way_out() {
        let text = |names: &[&str]| {
            let rows: String = names
                .iter()
                .map(|name| format!("{name}: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n"))
                .collect();
            format!("a|b\nc|d\n{rows}")
        };
        let counted = |names: &[&str]| {
            let mut rows = Vec::new();
            crate::source::proc::net_dev::parse(text(names).as_bytes(), &mut rows).unwrap();
            let counted = rows.iter().filter(|row| !left_out_inside(None, row.name, &rows));
            counted.map(|row| row.name.as_bytes().to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(counted(&["lo", "eth0", "veth7f3a", "cni0", "br-5c1d"]), [b"eth0"]);
        // Here the veth is the way out.
        assert_eq!(counted(&["lo", "veth0"]), [b"veth0"]);
        assert_eq!(counted(&["lo", "cali1", "veth0"]), [&b"cali1"[..], b"veth0"]);
        assert_eq!(counted(&["bridge0", "eth0"]), [&b"bridge0"[..], b"eth0"]);
    }

    #[test]
    fn a_virtual_function_below_its_interface_counts_once_and_the_ports_of_a_bond_each() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let class = dir.path().join("class/net");
        let hardware = ["eth0", "enP1", "eno1", "eno2"];
        for name in hardware.iter().chain(&["bond0"]) {
            std::fs::create_dir_all(class.join(name)).unwrap();
        }
        for name in hardware {
            symlink("../../../0000:00:03.0", class.join(name).join("device")).unwrap();
        }
        symlink("../eth0", class.join("enP1/master")).unwrap();
        symlink("../bond0", class.join("eno1/master")).unwrap();
        symlink("../bond0", class.join("eno2/master")).unwrap();
        let line = |name| format!("{name}: 1 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0\n");
        let names = ["lo", "eth0", "enP1", "bond0", "eno1", "eno2"];
        let text: String =
            ["a|b\n".to_owned(), "a|b\n".to_owned()].into_iter().chain(names.map(line)).collect();
        let mut rows = Vec::new();
        crate::source::proc::net_dev::parse(text.as_bytes(), &mut rows).unwrap();
        let roots = Roots {
            procfs: dir.path().into(),
            sysfs: dir.path().into(),
            cgroupfs: None,
            rootfs: dir.path().into(),
            units: Units { ticks_per_second: 100, page_size_bytes: 4096 },
            captured: None,
        };
        let counted: Vec<_> = classify_host(&roots, &rows)
            .into_iter()
            .filter(|(_, kind)| *kind == InterfaceKind::Counted)
            .map(|(name, _)| String::from_utf8_lossy(name.as_bytes()).into_owned())
            .collect();
        assert_eq!(counted, ["eth0", "eno1", "eno2"]);
    }
}
