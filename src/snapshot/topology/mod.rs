//! The layers of devices: which rows of the kernel's files repeat the traffic of others.

mod below_file;
mod block;
mod interfaces;
mod link;
mod path_buffer;
mod whole_device;

pub use block::{BlockDevice, BlockKind, BlockSources, BlockTopology};
pub use interfaces::{InterfaceFacts, InterfaceKind, host_facts, inner_facts};
pub use link::{Link, LinkFiles};
pub(super) use path_buffer::PathBuffer;
