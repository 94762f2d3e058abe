//! Label matchers that every selector gets: a Prometheus may have the series of several clusters.
//!
//! Invariant: what was parsed can stand between the braces of any selector.

use std::{fmt, str::FromStr};

/// Matchers such as `cluster="eu-1",env!="test"`; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(String);

/// A text that is no list of matchers.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no label matcher; write NAME=\"VALUE\", also with !=, =~ and !~, several separated by commas"
)]
pub struct Invalid {
    /// Where the text stops being one.
    pub text: String,
}

impl Selector {
    /// The matchers behind others: with a comma before them, or nothing.
    #[must_use]
    pub fn appended(&self) -> String {
        if self.0.is_empty() {
            String::new()
        } else {
            format!(",{}", self.0)
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Selector {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Selector, Invalid> {
        let whole = text.trim();
        let inner = whole
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
            .unwrap_or(whole);
        let mut matchers = Vec::new();
        let mut rest = inner.trim();
        while !rest.is_empty() {
            let (matcher, after) = matcher(rest).ok_or_else(|| Invalid {
                text: rest.to_owned(),
            })?;
            matchers.push(matcher);
            rest = match after.trim_start() {
                "" => "",
                more => more
                    .strip_prefix(',')
                    .ok_or_else(|| Invalid {
                        text: more.to_owned(),
                    })?
                    .trim_start(),
            };
        }
        Ok(Selector(matchers.join(",")))
    }
}

/// The first matcher of `text`, and what follows.
fn matcher(text: &str) -> Option<(String, &str)> {
    let fit = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name = &text[..text.find(|c| !fit(c))?];
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let rest = text[name.len()..].trim_start();
    let operator = ["=~", "!~", "!=", "="]
        .into_iter()
        .find(|op| rest.starts_with(op))?;
    let rest = rest[operator.len()..].trim_start();
    let end = string(rest)?;
    Some((format!("{name}{operator}{}", &rest[..end]), &rest[end..]))
}

/// Where the string literal ends that `text` begins with, quotes included.
fn string(text: &str) -> Option<usize> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut escaped = false;
    for (place, c) in text.char_indices().skip(1) {
        match c {
            '\n' => return None,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(place + c.len_utf8()),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_are_taken_with_or_without_braces_and_blanks() {
        let table = [
            ("", ""),
            ("cluster=\"eu-1\"", ",cluster=\"eu-1\""),
            (
                "{ cluster = \"eu-1\" , env!~'t.*' ,}",
                ",cluster=\"eu-1\",env!~'t.*'",
            ),
            (r#"a=~"x\"y,z}",b!="c""#, r#",a=~"x\"y,z}",b!="c""#),
        ];
        for (text, appended) in table {
            assert_eq!(text.parse::<Selector>().unwrap().appended(), appended, "{text}");
        }
    }

    #[test]
    fn what_would_break_out_of_a_selector_is_refused() {
        for text in [
            "cluster=eu-1",
            "cluster",
            "cluster=\"eu-1",
            "cluster=\"eu-1\"} or up{a=\"b\"",
            "cluster=\"eu-1\" env=\"x\"",
            "1a=\"b\"",
            "=\"b\"",
            "a==\"b\"",
            "a=\"b\",,c=\"d\"",
            "a=\"b\\\"",
            "{a=\"b\"",
        ] {
            let error = text.parse::<Selector>().unwrap_err().to_string();
            assert!(error.contains("write NAME=\"VALUE\""), "{text}: {error}");
        }
    }
}
