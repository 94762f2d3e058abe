//! One test binary: what must hold of the whole crate.

mod architecture;
mod crd;
