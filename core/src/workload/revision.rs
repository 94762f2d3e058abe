//! The revision of a pod template: what tells one release from the next.

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
    let mut text = String::new();
    canonical(template, &mut text);
    Sha256::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// JSON with sorted keys and no spaces, whatever the map type of the JSON library keeps.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.keys().collect();
            keys.sort();
            out.push('{');
            for key in keys {
                out.push_str(&Value::String(key.clone()).to_string());
                out.push(':');
                canonical(&map[key], out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                canonical(item, out);
                out.push(',');
            }
            out.push(']');
        }
        _ => out.push_str(&value.to_string()),
    }
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
