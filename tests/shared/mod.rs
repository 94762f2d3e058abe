//! What several test binaries stand on.

pub mod people; // those whom the hook API lets in
pub mod shop; // a shop on the simulated cluster, under its Canary
pub mod site; // the hook API on a real socket
