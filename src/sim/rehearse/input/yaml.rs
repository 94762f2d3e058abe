//! Documents as `kubectl` reads them: YAML 1.1 scalars (`0644` is 420, `yes` is true), several in a file, lists unpacked.

use serde_json::{Number, Value};

use super::Source;

/// Beyond this a float is not every whole number.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The documents of a file; lists of objects are unpacked.
///
/// # Errors
/// Why the text is no YAML, or what is no object; each names the file.
pub(super) fn documents(source: &Source) -> Result<Vec<Value>, Vec<String>> {
    let file = &source.file;
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
    };
    let documents: Result<Vec<Value>, _> = serde_saphyr::from_multiple_with_options(&source.text, options);
    let documents = documents.map_err(|error| {
        let hint = if source.text.contains("{{") {
            "; a Helm template is rendered first: helm template … | bellwether rehearse -"
        } else {
            ""
        };
        vec![format!("{file}: {error}{hint}")]
    })?;
    let (mut objects, mut problems) = (Vec::new(), Vec::new());
    for mut document in documents {
        whole_numbers(&mut document);
        match document {
            Value::Null => {}
            Value::Object(_) if is_list(&document) => match document["items"].take() {
                Value::Array(items) => objects.extend(items),
                Value::Null => {}
                other => problems.push(format!("{file}: List: items: is {other}; must be a list")),
            },
            object @ Value::Object(_) => objects.push(object),
            // A folder may hold other YAML as well, such as a patch.
            _ if source.in_folder => {}
            other => problems.push(format!("{file}: {other} is no object")),
        }
    }
    if problems.is_empty() {
        Ok(objects)
    } else {
        Err(problems)
    }
}

fn is_list(document: &Value) -> bool {
    let kind = document["kind"].as_str().unwrap_or_default();
    kind == "List" || (kind.ends_with("List") && document.get("items").is_some())
}

/// JSON has no other form for `1.0` than `1`, which is what the server gets.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            let float = number.as_f64().unwrap_or_default();
            if float.fract() == 0.0 && float.abs() < EXACT {
                *number = Number::from(float as i64);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Vec<Value>, Vec<String>> {
        documents(&Source {
            file: "a.yaml".to_owned(),
            text: text.to_owned(),
            in_folder: false,
        })
    }

    #[test]
    fn scalars_are_read_as_kubectl_reads_them() {
        let text = "{octal: 0644, old: 0o17, hex: 0x1f, nine: 089, whole: 1.0, half: 0.5, on: yes, off: no, \
                    text: \"0644\", day: 2026-01-02, time: 12:30, none: ~, big: 1_000}";
        assert_eq!(
            read(text).unwrap(),
            [json!({
                "octal": 420, "old": 15, "hex": 31, "nine": 89, "whole": 1, "half": 0.5, "on": true, "off": false,
                "text": "0644", "day": "2026-01-02", "time": "12:30", "none": null, "big": 1000,
            })]
        );
    }

    #[test]
    fn lists_are_unpacked_and_what_is_no_object_is_named() {
        let text = "kind: List\nitems: [{kind: A}]\n---\nkind: DeploymentList\nitems: [{kind: B}]\n---\n---\n{kind: C}";
        assert_eq!(
            read(text).unwrap(),
            [json!({"kind": "A"}), json!({"kind": "B"}), json!({"kind": "C"})]
        );
        assert_eq!(
            read("just text").unwrap_err(),
            ["a.yaml: \"just text\" is no object"]
        );
        let helm = read("a: [1\nb: {{ .Values.x }}").unwrap_err();
        assert!(helm[0].contains("helm template"), "{helm:?}");
    }
}
