//! Shared by the tests: an agent, a scripted API server, a generated host, copies of captured ones, what
//! was logged, mounts, rights and a terminal.

pub mod agent;
pub mod api_server;
pub mod figures;
#[allow(dead_code, reason = "tests/allocations and the benches use the rest of it")]
pub mod host_tree;
pub mod log_lines;
pub mod mounts;
pub mod other_servers;
pub mod postgres;
pub mod rbac;
pub mod rounds;
pub mod scratch;
pub mod scripted_agent;
pub mod skip;
pub mod terminal;
pub mod tools;
