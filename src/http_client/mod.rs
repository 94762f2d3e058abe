//! What all HTTP clients of ours share: Prometheus, Jenkins, sinks, issuers of tokens, the hook API.

mod address; // which addresses are fit for a secret
mod authorities; // whom to trust
pub mod bounded; // bodies of answers up to a limit
mod error; // what went wrong, in the words that help

pub use address::in_the_clear;
pub use authorities::authorities;
pub use error::cause;
