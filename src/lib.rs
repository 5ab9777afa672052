//! nodetally: a node agent that gives every CPU second and every byte of a Linux node to somebody,
//! or shows what is left over. ARCHITECTURE.md describes the street these modules stand along.

#![forbid(unsafe_code)]

pub mod attribution;
pub mod delivery;
pub mod identity;
pub mod payload;
pub mod quantity;
pub mod receiver;
