//! Names made of keys: the same promotion twice is the same object, because the API server creates a name only once.

use sha2::{Digest, Sha256};

use crate::api::{ApprovalSpec, CommandSpec};

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

/// Name of the Command that carries `spec`: the same order of the same user with the same key is one. `life` is the UID of
/// the Promotion that is meant, where it is known: another one may have its name later.
#[must_use]
pub fn command(namespace: &str, spec: &CommandSpec, life: Option<&str>, key: &str) -> String {
    let verb = format!("{:?}", spec.verb);
    let action = format!("{:?}", spec.action);
    let parts = [
        namespace,
        &verb,
        &action,
        &spec.canary_ref.name,
        spec.promotion.as_deref().unwrap_or_default(),
        spec.revision.as_deref().unwrap_or_default(),
        life.unwrap_or_default(),
        &spec.requested_by,
        key,
    ];
    format!("c-{}", &digest(&parts)[..20])
}

/// Name of the Approval that carries `spec`, as [`command`].
#[must_use]
pub fn approval(namespace: &str, spec: &ApprovalSpec, life: Option<&str>, key: &str) -> String {
    let decision = format!("{:?}", spec.decision);
    let parts = [
        namespace,
        &decision,
        &spec.gate,
        &spec.canary_ref.name,
        spec.promotion.as_deref().unwrap_or_default(),
        spec.revision.as_deref().unwrap_or_default(),
        life.unwrap_or_default(),
        &spec.approved_by,
        key,
    ];
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
