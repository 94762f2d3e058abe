//! Names made of keys: the same wish twice is the same object, because the API server creates a name only once.

use sha2::{Digest, Sha256};

fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        // No part may run into the next.
        hash.update([0]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Name of the Promotion of `canary` with this idempotency key.
#[must_use]
pub fn promotion(namespace: &str, canary: &str, key: &str) -> String {
    format!("p-{}", &digest(&[namespace, canary, key])[..20])
}

/// Name of the Command that orders `verb` with `action` about `subject` (a Promotion or a revision of a Canary).
#[must_use]
pub fn command(namespace: &str, subject: &[&str], verb: &str) -> String {
    let mut parts = vec![namespace, verb];
    parts.extend(subject);
    format!("c-{}", &digest(&parts)[..20])
}

/// Name of the Approval with which `subject` (a Promotion or a revision of a Canary, a gate, and who) is decided on.
#[must_use]
pub fn approval(namespace: &str, subject: &[&str], decision: &str) -> String {
    let mut parts = vec![namespace, decision];
    parts.extend(subject);
    format!("a-{}", &digest(&parts)[..20])
}

/// Digest of a request, to tell the same from another.
#[must_use]
pub fn request(body: &str) -> String {
    digest(&[body])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(promotion("a", "bc", "k"), promotion("ab", "c", "k"));
        assert_eq!(promotion("a", "b", "k"), promotion("a", "b", "k"));
        assert_eq!(promotion("a", "b", "k").len(), 22);
    }
}
