//! Requests, read from HTTP.

use crate::pointer::At;
use http::{Method, header};
use serde_json::Value;

use super::{
    list::Ask,
    refusal::Refusal,
    resources::Kind,
    selector::Selector,
    store::Key,
    write::{Deletion, Patch, Propagation},
};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Read one object.
    Get,
    /// Read many.
    List,
    /// Follow changes.
    Watch,
    /// Make an object.
    Create,
    /// Replace an object.
    Replace,
    /// Change an object.
    Patch,
    /// Delete an object.
    Delete,
}

impl Verb {
    /// Whether it changes anything.
    #[must_use]
    pub fn writes(self) -> bool {
        matches!(self, Verb::Create | Verb::Replace | Verb::Patch | Verb::Delete)
    }
}

/// A request.
#[derive(Clone, Debug)]
pub enum Request {
    /// Read one object.
    Get(Key),
    /// Read many.
    List(Ask),
    /// Follow changes.
    Watch {
        /// The kind.
        kind: Kind,
        /// The namespace; all if absent.
        namespace: Option<String>,
        /// Of which of them.
        selector: Selector,
        /// Whether it wants to be told of versions without changes.
        bookmarks: bool,
        /// The version after which changes are wanted.
        version: u64,
        /// How long, in seconds.
        seconds: u64,
    },
    /// Make an object.
    Create(Kind, String, Value, String),
    /// Replace an object or its status.
    Replace(Key, bool, Value, String),
    /// Change an object or its status.
    Patch(Key, bool, Patch, String),
    /// Delete an object.
    Delete(Key, Deletion),
}

impl Request {
    /// What is asked.
    #[must_use]
    pub fn verb(&self) -> Verb {
        match self {
            Request::Get(_) => Verb::Get,
            Request::List(_) => Verb::List,
            Request::Watch { .. } => Verb::Watch,
            Request::Create(..) => Verb::Create,
            Request::Replace(..) => Verb::Replace,
            Request::Patch(..) => Verb::Patch,
            Request::Delete(..) => Verb::Delete,
        }
    }

    /// Of which kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Request::Get(key)
            | Request::Replace(key, ..)
            | Request::Patch(key, ..)
            | Request::Delete(key, _) => key.kind,
            Request::List(ask) => ask.kind,
            Request::Watch { kind, .. } | Request::Create(kind, ..) => *kind,
        }
    }
}

struct Query(Vec<(String, String)>);

impl Query {
    fn of(uri: &http::Uri) -> Query {
        let text = uri.query().unwrap_or_default().as_bytes();
        Query(form_urlencoded::parse(text).into_owned().collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }
}

struct Place {
    kind: Kind,
    namespace: Option<String>,
    name: Option<String>,
    status: bool,
}

fn place(path: &str) -> Option<Place> {
    let mut parts = path.trim_matches('/').split('/');
    let (group, version) = match parts.next()? {
        "api" => ("", parts.next()?),
        "apis" => (parts.next()?, parts.next()?),
        _ => return None,
    };
    let mut next = parts.next()?;
    let mut namespace = None;
    if next == "namespaces" {
        namespace = Some(parts.next()?.to_owned());
        next = parts.next()?;
    }
    let kind = Kind::at(group, version, next)?;
    let name = parts.next().map(str::to_owned);
    let status = match parts.next() {
        None => false,
        Some("status") => true,
        Some(_) => return None,
    };
    Some(Place {
        kind,
        namespace,
        name,
        status,
    })
}

/// Reads a request.
///
/// # Errors
/// If the path is not served or the body cannot be read.
pub fn read(head: &http::request::Parts, body: &[u8]) -> Result<Request, Refusal> {
    let place = place(head.uri.path()).ok_or_else(Refusal::not_served)?;
    let query = Query::of(&head.uri);
    let manager = query.get("fieldManager").unwrap_or("unknown").to_owned();
    let namespace = place.namespace.clone();
    let key = place
        .name
        .map(|name| Key::new(place.kind, namespace.as_deref().unwrap_or_default(), &name));
    match (&head.method, key) {
        (&Method::GET, Some(key)) => Ok(Request::Get(key)),
        (&Method::GET, None) if query.get("watch") == Some("true") => Ok(Request::Watch {
            kind: place.kind,
            namespace,
            selector: Selector::read(query.get("labelSelector"), query.get("fieldSelector"))?,
            bookmarks: query.get("allowWatchBookmarks") == Some("true"),
            version: query
                .get("resourceVersion")
                .and_then(|v| v.parse().ok())
                .unwrap_or_default(),
            seconds: query
                .get("timeoutSeconds")
                .and_then(|v| v.parse().ok())
                .unwrap_or(290),
        }),
        (&Method::GET, None) => Ok(Request::List(Ask {
            kind: place.kind,
            namespace,
            selector: Selector::read(query.get("labelSelector"), query.get("fieldSelector"))?,
            limit: query.get("limit").and_then(|v| v.parse().ok()).filter(|n| *n > 0),
            after: query.get("continue").map(str::to_owned),
        })),
        (&Method::POST, None) => Ok(Request::Create(
            place.kind,
            namespace.unwrap_or_default(),
            json(body)?,
            manager,
        )),
        (&Method::PUT, Some(key)) => Ok(Request::Replace(key, place.status, json(body)?, manager)),
        (&Method::PATCH, Some(key)) => {
            let patch = patch(head, &query, body)?;
            Ok(Request::Patch(key, place.status, patch, manager))
        }
        (&Method::DELETE, Some(key)) => Ok(Request::Delete(key, deletion(body)?)),
        _ => Err(Refusal::not_served()),
    }
}

fn json(body: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::bad_request(error.to_string()))
}

fn patch(head: &http::request::Parts, query: &Query, body: &[u8]) -> Result<Patch, Refusal> {
    let kind = head
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok());
    match kind.unwrap_or_default() {
        "application/json-patch+json" => {
            let ops =
                serde_json::from_slice(body).map_err(|error| Refusal::bad_request(error.to_string()))?;
            Ok(Patch::Json(ops))
        }
        "application/merge-patch+json" => Ok(Patch::Merge(json(body)?)),
        "application/apply-patch+yaml" => Ok(Patch::Apply(json(body)?, query.get("force") == Some("true"))),
        other => Err(Refusal {
            code: 415,
            reason: "UnsupportedMediaType",
            message: format!("the body of the request was in an unknown format - {other}"),
        }),
    }
}

fn deletion(body: &[u8]) -> Result<Deletion, Refusal> {
    if body.is_empty() {
        return Ok(Deletion::default());
    }
    let options = json(body)?;
    let text = |pointer: &str| options.at(pointer).and_then(Value::as_str).map(str::to_owned);
    Ok(Deletion {
        uid: text("/preconditions/uid"),
        resource_version: text("/preconditions/resourceVersion"),
        propagation: match text("/propagationPolicy").as_deref() {
            Some("Foreground") => Propagation::Foreground,
            Some("Orphan") => Propagation::Orphan,
            _ => Propagation::Background,
        },
    })
}
