//! Tokens of OIDC issuers at the gate.

mod keys; // how keys are fetched, renewed and kept
mod site; // an issuer and a gate
mod tokens; // which tokens are good, and whom they name
