//! Files of a cgroup v2 directory (Documentation/admin-guide/cgroup-v2.rst).

pub mod cpu_max;
pub mod cpu_stat;
pub mod io_stat;
pub mod memory_events;
pub mod memory_stat;
pub mod pressure;
pub mod procs;
pub mod single;
