//! The revision of a pod template: what tells one release from the next.

use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::normal::normal;

/// The revision of a pod template: SHA-256 of its normal form in canonical JSON, in hex. Another version of the API server
/// that returns the same template with other defaults does not change it.
#[must_use]
pub fn revision(template: &Value) -> String {
    raw_revision(&normal(template))
}

/// The revision of a pod template as earlier versions of Bellwether recorded it: SHA-256 of its canonical JSON as the API
/// server returned it, in hex. Statuses and primaries of theirs bear it.
#[must_use]
pub fn raw_revision(template: &Value) -> String {
    let mut text = Vec::with_capacity(2048);
    canonical(template, &mut text);
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(&text) {
        // Writing to a string does not fail.
        let _written = write!(hex, "{byte:02x}");
    }
    hex
}

/// JSON with sorted keys and no spaces, whatever the map type of the JSON library keeps.
fn canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<_> = map.iter().collect();
            fields.sort_unstable_by_key(|(key, _)| *key);
            out.push(b'{');
            for (key, field) in fields {
                plain(key, out);
                out.push(b':');
                canonical(field, out);
                out.push(b',');
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for item in items {
                canonical(item, out);
                out.push(b',');
            }
            out.push(b']');
        }
        _ => plain(value, out),
    }
}

/// A scalar as JSON; neither it nor a list of bytes gives it a reason to fail.
fn plain<T: Serialize + ?Sized>(scalar: &T, out: &mut Vec<u8>) {
    let _written = serde_json::to_writer(out, scalar);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// kubernetes/kubernetes#130989: 1.34 leaves `creationTimestamp: null` out, 1.33 does not.
    #[test]
    fn template_of_another_version_of_the_api_server_is_the_same_revision() {
        let old = json!({"metadata": {"creationTimestamp": null, "labels": {"app": "shop"}}, "spec": {}});
        let new = json!({"metadata": {"labels": {"app": "shop"}}, "spec": {}});
        assert_eq!(revision(&old), revision(&new));
        assert_ne!(raw_revision(&old), raw_revision(&new));
    }

    #[test]
    fn other_image_is_another_revision() {
        let template = |image: &str| json!({"spec": {"containers": [{"name": "app", "image": image}]}});
        assert_ne!(revision(&template("shop:1")), revision(&template("shop:2")));
    }
}
