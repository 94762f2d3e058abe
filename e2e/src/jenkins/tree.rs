//! The `tree` parameter: which fields of an answer are wanted, as in `builds[number,url]{0,10}`.

use serde_json::{Map, Value};

/// The wanted fields of one object.
struct Field<'a> {
    name: &'a str,
    below: Option<Vec<Field<'a>>>,
    range: Option<(usize, usize)>,
}

/// `value` with the fields that `tree` wants, and the classes, which come unasked.
pub(super) fn pruned(value: &Value, tree: &str) -> Value {
    let mut rest = tree;
    apply(value, &fields(&mut rest))
}

fn fields<'a>(rest: &mut &'a str) -> Vec<Field<'a>> {
    let mut found = Vec::new();
    loop {
        let end = rest.find([',', '[', ']', '{']).unwrap_or(rest.len());
        let name = rest[..end].trim();
        *rest = &rest[end..];
        let mut below = None;
        let mut range = None;
        if let Some(inner) = rest.strip_prefix('[') {
            *rest = inner;
            below = Some(fields(rest));
        }
        if let Some((bounds, after)) = rest.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            *rest = after;
            range = bounds.split_once(',').map(|(from, to)| {
                let bound = |text: &str, otherwise| text.trim().parse().unwrap_or(otherwise);
                (bound(from, 0), bound(to, usize::MAX))
            });
        }
        if !name.is_empty() {
            found.push(Field { name, below, range });
        }
        let ended = rest.starts_with(']') || rest.is_empty();
        *rest = rest.get(1..).unwrap_or_default();
        if ended {
            return found;
        }
    }
}

fn apply(value: &Value, wanted: &[Field<'_>]) -> Value {
    match value {
        Value::Array(all) => all.iter().map(|one| apply(one, wanted)).collect(),
        Value::Object(all) => {
            let mut kept = Map::new();
            if let Some(class) = all.get("_class") {
                kept.insert("_class".to_owned(), class.clone());
            }
            for field in wanted {
                let Some(inner) = all.get(field.name) else {
                    continue;
                };
                let cut = cut(inner, field.range);
                let below = field.below.as_deref().unwrap_or_default();
                kept.insert(field.name.to_owned(), apply(&cut, below));
            }
            Value::Object(kept)
        }
        plain => plain.clone(),
    }
}

fn cut(value: &Value, range: Option<(usize, usize)>) -> Value {
    match (value, range) {
        (Value::Array(all), Some((from, to))) => all.iter().take(to).skip(from).cloned().collect(),
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_is_wanted_is_there_and_the_classes() {
        let all =
            json!({"_class": "c", "a": 1, "b": [{"_class": "d", "x": 1, "y": 2}, {"x": 3}], "e": {"z": 1}});
        assert_eq!(
            pruned(&all, "a,b[x],none"),
            json!({"_class": "c", "a": 1, "b": [{"_class": "d", "x": 1}, {"x": 3}]})
        );
        assert_eq!(
            pruned(&all, "b[x]{1,2},a"),
            json!({"_class": "c", "a": 1, "b": [{"x": 3}]})
        );
        assert_eq!(
            pruned(&all, "e[z],e2[q[r]],a"),
            json!({"_class": "c", "a": 1, "e": {"z": 1}})
        );
        assert_eq!(pruned(&all, "e"), json!({"_class": "c", "e": {}}));
    }
}
