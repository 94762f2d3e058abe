//! Requests and answers as plain data.

use serde_json::Value;

use super::tree;

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// Encoded, with the context path.
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    /// `None` if the body is no form.
    pub(super) form: Vec<(String, String)>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        all.next().map(|(_, value)| value.as_str())
    }

    pub(super) fn queried(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// A parameter, from the form or the query.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        let all = self.form.iter().chain(&self.query);
        all.filter(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
            .next()
    }

    pub(super) fn is_post(&self) -> bool {
        self.method == "POST"
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) code: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
}

impl Page {
    pub(super) fn empty(code: u16) -> Page {
        Page {
            code,
            headers: Vec::new(),
            body: String::new(),
        }
    }

    /// A page for people.
    pub(super) fn html(code: u16, text: &str) -> Page {
        Page {
            body: format!("<html><head><title>{text}</title></head><body>{text}</body></html>"),
            ..Page::empty(code).with("Content-Type", "text/html;charset=utf-8")
        }
    }

    pub(super) fn text(kind: &str, body: &str) -> Page {
        Page {
            body: body.to_owned(),
            ..Page::empty(200).with("Content-Type", kind)
        }
    }

    /// What was asked for of `value`.
    pub(super) fn json(value: &Value, request: &Request) -> Page {
        let body = match request.queried("tree") {
            Some(wanted) => tree::pruned(value, wanted).to_string(),
            None => value.to_string(),
        };
        Page::text("application/json;charset=utf-8", &body)
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Page {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn to(code: u16, location: impl Into<String>) -> Page {
        Page::empty(code).with("Location", location)
    }

    pub(super) fn not_found() -> Page {
        Page::html(404, "Not Found")
    }

    /// For a GET of what has an effect.
    pub(super) fn only_post() -> Page {
        Page::html(405, "Method Not Allowed").with("Allow", "POST")
    }

    /// An error of a form, whose reason is in a header.
    pub(super) fn error(text: &str) -> Page {
        Page::html(400, text).with("X-Error", text)
    }
}
