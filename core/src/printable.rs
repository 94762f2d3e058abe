//! What people typed, as others may see it: in a terminal, in a log, in a message of their chat.
//!
//! Control characters move a terminal's cursor and begin new lines of a log; bidirectional ones let a text look like another.

use std::borrow::Cow;

use serde_json::Value;

/// Whether a character shows what it is, and nothing else.
#[must_use]
pub fn is_printable(c: char) -> bool {
    let changes_direction =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let ends_line = matches!(c, '\u{2028}' | '\u{2029}');
    !(c.is_control() || changes_direction || ends_line)
}

/// The text with a space for each line end or tab, and `\u{fffd}` for every other character that is not printable.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_printable) {
        return Cow::Borrowed(text);
    }
    let shown = text.chars().map(|c| match c {
        c if is_printable(c) => c,
        c if c.is_whitespace() => ' ',
        _ => char::REPLACEMENT_CHARACTER,
    });
    Cow::Owned(shown.collect())
}

/// The same of every text in an object, names of fields included.
#[must_use]
pub fn printable_json(json: &Value) -> Cow<'_, Value> {
    if is_printable_json(json) {
        return Cow::Borrowed(json);
    }
    Cow::Owned(match json {
        Value::String(text) => Value::String(printable(text).into_owned()),
        Value::Array(items) => items
            .iter()
            .map(|item| printable_json(item).into_owned())
            .collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (printable(name).into_owned(), printable_json(value).into_owned()))
            .collect(),
        other => other.clone(),
    })
}

fn is_printable_json(json: &Value) -> bool {
    match json {
        Value::String(text) => text.chars().all(is_printable),
        Value::Array(items) => items.iter().all(is_printable_json),
        Value::Object(fields) => fields
            .iter()
            .all(|(name, value)| name.chars().all(is_printable) && is_printable_json(value)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_that_is_shown_is_an_escape_sequence_or_another_line() {
        for (typed, shown) in [
            ("because of größe ✓ 日本", "because of größe ✓ 日本"),
            ("red \u{1b}[31m", "red \u{fffd}[31m"),
            ("one\nlevel=error two\r\n\tthree", "one level=error two   three"),
            ("\u{9b}2J", "\u{fffd}2J"),
            ("a\u{202e}b\u{2066}c\u{200f}", "a\u{fffd}b\u{fffd}c\u{fffd}"),
            ("a\u{2028}b\u{7f}", "a b\u{fffd}"),
        ] {
            assert_eq!(printable(typed), shown);
        }
        assert!(matches!(printable("plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn every_text_of_an_object_is_meant() {
        let object = json!({"a\u{1b}": ["b\n", {"c": "d\u{202e}"}], "n": 1});
        assert_eq!(
            *printable_json(&object),
            json!({"a\u{fffd}": ["b ", {"c": "d\u{fffd}"}], "n": 1})
        );
        assert!(matches!(printable_json(&json!({"a": ["b"]})), Cow::Borrowed(_)));
    }
}
