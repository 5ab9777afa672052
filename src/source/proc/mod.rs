//! Files of /proc (Documentation/filesystems/proc.rst).

pub mod diskstats;
pub mod loadavg;
pub mod meminfo;
pub mod mountinfo;
pub mod net_dev;
pub mod net_index;
pub mod net_ipv6_route;
pub mod net_route;
pub mod net_snmp;
pub mod pid_cgroup;
pub mod pid_io;
pub mod pid_stat;
pub mod pid_status;
pub mod stat;
pub mod uptime;
pub mod zfs_arcstats;
pub mod zoneinfo;
