//! The file of HTTP sinks: YAML or JSON, a list. Parsed strictly, since a typing error must not silence a sink.
//!
//! Invariant: nothing that may be secret gets into an error or a log.

use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use reqwest::{Certificate, Url};
use serde::Deserialize;

use super::{
    KUBERNETES_EVENTS,
    cloud_event::{Format, Mode},
};
use crate::{
    config_file::{self, Error},
    http_client::{self, in_the_clear},
};

/// Longest name of a sink.
const NAME_LIMIT: usize = 63;

/// One sink, as the file names it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    name: String,
    url: String,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    ca_file: Option<PathBuf>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    token_file: Option<PathBuf>,
    #[serde(default)]
    namespaces: Option<Vec<String>>,
}

/// An HTTP sink.
#[derive(Clone)]
pub struct SinkConfig {
    /// What logs and metrics call it.
    pub name: String,
    /// Where events are posted to.
    pub url: Url,
    /// Where the attributes of an event go.
    pub mode: Mode,
    /// How its data are put.
    pub format: Format,
    /// The authorities that its certificate may come from; the machine's if absent.
    pub authorities: Option<Vec<Certificate>>,
    /// Headers of every request; they may be secret.
    pub headers: HeaderMap,
    /// File of a bearer token, read for every request: it may be changed at any time.
    pub token_file: Option<PathBuf>,
    /// The namespaces whose facts it wants; all if absent.
    pub namespaces: Option<HashSet<String>>,
}

impl SinkConfig {
    /// Whether credentials would travel in the clear, to another machine as far as can be seen.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        let secret = self.token_file.is_some() || !self.headers.is_empty();
        secret && in_the_clear(&self.url)
    }
}

/// The sinks of a file.
///
/// # Errors
/// If it or a file that it names cannot be read, or it is not what it must be.
pub fn read(path: &Path) -> Result<Vec<SinkConfig>, Error> {
    sinks(config_file::read(path)?)
}

/// The sinks that a text names.
///
/// # Errors
/// As [`read`].
pub fn parse(text: &str) -> Result<Vec<SinkConfig>, Error> {
    sinks(config_file::parse(text)?)
}

fn sinks(entries: Vec<Entry>) -> Result<Vec<SinkConfig>, Error> {
    let mut names = HashSet::new();
    let mut sinks = Vec::new();
    for (n, entry) in entries.into_iter().enumerate() {
        let sink = check(n, entry)?;
        if !names.insert(sink.name.clone()) {
            return Err(Error::malformed(
                format!("[{n}].name"),
                format!("{} is there twice", sink.name),
            ));
        }
        sinks.push(sink);
    }
    Ok(sinks)
}

fn check(n: usize, entry: Entry) -> Result<SinkConfig, Error> {
    let field = |name: &str| format!("[{n}].{name}");
    let fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if entry.name.is_empty() || entry.name.len() > NAME_LIMIT || !entry.name.chars().all(fit) {
        let problem = "must have 1 to 63 small letters, digits and hyphens";
        return Err(Error::malformed(field("name"), problem));
    }
    if entry.name == KUBERNETES_EVENTS {
        return Err(Error::malformed(
            field("name"),
            "is what Kubernetes Events are called",
        ));
    }
    let headers = headers(&entry.headers, &field("headers"))?;
    if entry.token_file.is_some() && headers.contains_key(header::AUTHORIZATION) {
        return Err(Error::malformed(
            field("tokenFile"),
            "headers have an Authorization already",
        ));
    }
    if entry.namespaces.as_ref().is_some_and(Vec::is_empty) {
        return Err(Error::malformed(
            field("namespaces"),
            "must name one at least; leave it out for all",
        ));
    }
    Ok(SinkConfig {
        url: url(&entry.url).map_err(|problem| Error::malformed(field("url"), problem))?,
        authorities: entry
            .ca_file
            .as_deref()
            .map(|path| authorities(path, &field("caFile")))
            .transpose()?,
        name: entry.name,
        mode: entry.mode,
        format: entry.format,
        headers,
        token_file: entry.token_file,
        namespaces: entry.namespaces.map(|names| names.into_iter().collect()),
    })
}

fn authorities(path: &Path, field: &str) -> Result<Vec<Certificate>, Error> {
    let pem = config_file::bytes(path)?;
    http_client::authorities(&pem).map_err(|problem| Error::malformed(field, problem))
}

fn url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
        return Err("must be an http or https address".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold credentials; use tokenFile or headers".to_owned());
    }
    Ok(url)
}

fn headers(entries: &BTreeMap<String, String>, field: &str) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for (name, value) in entries {
        let field = format!("{field}.{name}");
        let name =
            HeaderName::try_from(name).map_err(|_| Error::malformed(&field, "is no name of a header"))?;
        let ours = ["content-type", "content-length", "host", "transfer-encoding"];
        if ours.contains(&name.as_str()) || name.as_str().starts_with("ce-") {
            return Err(Error::malformed(&field, "is set by the controller"));
        }
        let mut value =
            HeaderValue::try_from(value).map_err(|_| Error::malformed(&field, "cannot be a header"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        match parse(text) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("accepted: {text}"),
        }
    }

    #[test]
    fn plain_sink_gets_everything_as_structured_cdevents() {
        let sinks = parse("- {name: pipeline, url: 'https://events.example/in'}").unwrap();
        let [sink] = &sinks[..] else { panic!() };
        assert_eq!(sink.url.as_str(), "https://events.example/in");
        assert_eq!((sink.mode, sink.format), (Mode::Structured, Format::CdEvents));
        assert!(sink.namespaces.is_none() && sink.headers.is_empty() && sink.token_file.is_none());
    }

    #[test]
    fn every_field_is_heeded() {
        let sinks = parse(
            "- name: bus-2\n  url: http://127.0.0.1:1/in\n  mode: binary\n  format: cloudevents\n  \
             tokenFile: /token\n  headers: {X-Key: abc}\n  namespaces: [shop, pay]\n",
        )
        .unwrap();
        let [sink] = &sinks[..] else { panic!() };
        assert_eq!((sink.mode, sink.format), (Mode::Binary, Format::CloudEvents));
        assert_eq!(sink.headers["x-key"], "abc");
        assert!(sink.headers["x-key"].is_sensitive());
        assert_eq!(sink.token_file.as_deref(), Some(Path::new("/token")));
        assert_eq!(sink.namespaces.as_ref().map(HashSet::len), Some(2));
        assert!(parse("[]").unwrap().is_empty());
    }

    #[test]
    fn credentials_in_the_clear_are_noticed() {
        for (url, more, exposed) in [
            ("http://a/", "headers: {X-Key: abc}", true),
            ("http://a/", "tokenFile: /token", true),
            ("https://a/", "tokenFile: /token", false),
            ("http://[::1]:80/", "tokenFile: /token", false),
            ("http://a/", "mode: binary", false),
        ] {
            let sinks = parse(&format!("[{{name: a, url: '{url}', {more}}}]")).unwrap();
            assert_eq!(sinks[0].is_exposed(), exposed, "{url} {more}");
        }
    }

    #[test]
    fn nonsense_is_refused_and_named() {
        let with = |more: &str| format!("[{{name: a, url: 'http://a/', {more}}}]");
        for (text, field) in [
            ("- {name: a}".to_owned(), "url"),
            ("- {name: A, url: 'http://a/'}".to_owned(), "[0].name"),
            (
                "- {name: kubernetes-events, url: 'http://a/'}".to_owned(),
                "[0].name",
            ),
            (
                "[{name: a, url: 'http://a/'}, {name: a, url: 'http://b/'}]".to_owned(),
                "[1].name",
            ),
            ("- {name: a, url: 'ftp://a/'}".to_owned(), "[0].url"),
            ("- {name: a, url: a}".to_owned(), "[0].url"),
            ("- {name: a, url: 'http://me:secret@a/'}".to_owned(), "[0].url"),
            (with("mode: both"), "[0].mode"),
            (with("format: xml"), "[0].format"),
            (with("cafile: a"), "cafile"),
            (with("caFile: /nowhere/at-all"), "/nowhere/at-all"),
            (with("namespaces: shop"), "[0].namespaces"),
            (with("namespaces: []"), "[0].namespaces"),
            (with("headers: {ce-id: a}"), "[0].headers.ce-id"),
            (with("headers: {'a b': a}"), "[0].headers.a b"),
            (
                with("tokenFile: /a, headers: {authorization: secret}"),
                "[0].tokenFile",
            ),
            ("name: a".to_owned(), "must be a sequence"),
        ] {
            let problem = problem(&text);
            assert!(problem.contains(field), "{text}: {problem}");
            assert!(!problem.contains("secret"), "{text}: {problem}");
        }
    }

    #[test]
    fn file_of_authorities_without_a_certificate_is_refused_at_the_start() {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::default()
            .self_signed(&key)
            .unwrap()
            .pem();
        let key = key.serialize_pem();
        let path = std::env::temp_dir().join(format!("bellwether-authorities-{}", std::process::id()));
        let text = format!("[{{name: a, url: 'https://a/', caFile: '{}'}}]", path.display());
        let broken = certificate.replace("CERTIFICATE-----\nMII", "CERTIFICATE-----\n***");
        assert_ne!(broken, certificate);
        for useless in ["", "no PEM", &key, &broken] {
            std::fs::write(&path, useless).unwrap();
            assert_eq!(problem(&text), "[0].caFile: there is no certificate in it");
        }
        std::fs::write(&path, format!("{certificate}{key}{certificate}")).unwrap();
        let sinks = parse(&text).unwrap();
        assert_eq!(sinks[0].authorities.as_ref().map(Vec::len), Some(2));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn no_error_quotes_a_secret() {
        for text in [
            "[{name: a, url: 'http://a/', headers: {Authorization: 5ec7e7}}",
            "[{name: a, url: 'http://a/', headers: {Authorization: [5ec7e7]}}]",
            "[{name: a, url: 'http://a/', headers: Bearer 5ec7e7}]",
            "[{name: a, url: 'http://a/', headers: {Authorization: \"5ec7e7\\n\"}}]",
        ] {
            let problem = problem(text);
            assert!(!problem.contains("5ec7e7"), "{problem}");
        }
    }
}
