//! JSON pointers into objects of the API server.

use serde_json::Value;

/// A value that parts can be read of.
pub trait At {
    /// What is at `pointer` (RFC 6901), if it is there. As [`Value::pointer`], which allocates two strings for each part of the
    /// pointer: a tenth of the time of a reconciliation went there.
    fn at(&self, pointer: &str) -> Option<&Value>;
}

impl At for Value {
    fn at(&self, pointer: &str) -> Option<&Value> {
        if pointer.is_empty() || pointer.contains('~') {
            return self.pointer(pointer);
        }
        let mut parts = pointer.strip_prefix('/')?.split('/');
        parts.try_fold(self, |value, part| match value {
            Value::Object(fields) => fields.get(part),
            Value::Array(items) => items.get(index(part)?),
            _ => None,
        })
    }
}

/// The index that `part` names: digits without a sign or leading zeros.
fn index(part: &str) -> Option<usize> {
    let plain = part == "0" || !part.starts_with(['0', '+']);
    part.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_are_those_that_serde_json_finds() {
        let value = json!({"a": {"b": [{"c": 1}, 2, {"01": 3}], "": {"": 4}, "x/y~": 5}, "0": [6]});
        for pointer in [
            "",
            "/",
            "a",
            "/a",
            "/a/b",
            "/a/b/0",
            "/a/b/0/c",
            "/a/b/1",
            "/a/b/01",
            "/a/b/+1",
            "/a/b/-",
            "/a/b/3",
            "/a/b/2/01",
            "/a/",
            "/a//",
            "/a/x~1y~0",
            "/0",
            "/0/0",
            "/a/b/1/c",
            "/a/b/",
        ] {
            assert_eq!(value.at(pointer), value.pointer(pointer), "{pointer}");
        }
    }
}
