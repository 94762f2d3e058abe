//! The file of issuers: read again when it changes, and told in the log then.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use reqwest::Url;
use serde::Deserialize;
use serde_json::Value;

use super::subject;
use crate::{config_file, http_client::in_the_clear};

/// An issuer, as the file names it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IssuerConfig {
    /// Name of the instance, and prefix of its users and groups.
    pub name: String,
    /// What its tokens have as `iss`, to the letter.
    pub issuer: String,
    /// What a token must have as `aud`, or among it.
    pub audience: String,
    /// Where its keys are; its `/.well-known/openid-configuration` says so if absent.
    #[serde(default)]
    pub jwks_uri: Option<String>,
    /// Certificates to trust instead of the system's, in PEM.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The claim that names the user.
    #[serde(default = "sub")]
    pub user_claim: String,
    /// Address of the Jenkins whose jobs' URLs are the claim, where the issuer does not tell it.
    #[serde(default)]
    pub jenkins_url: Option<String>,
    /// Claims that a token must have, each with a value or several of which one will do: a build of a protected branch, or of an
    /// environment.
    #[serde(default)]
    pub required_claims: BTreeMap<String, Wanted>,
    /// Claims that name the person behind a build: who asked for a release does not approve it.
    #[serde(default = "actors")]
    pub actor_claims: Vec<String>,
}

/// Values of which a claim must have one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "a value, or a list of values")]
pub enum Wanted {
    /// This one.
    One(Scalar),
    /// One of these.
    Several(Vec<Scalar>),
}

/// A value, compared as it is written: some issuers write `true`, others `"true"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "a text, a number, true or false")]
pub enum Scalar {
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Bool(value) => write!(f, "{value}"),
            Scalar::Number(value) => write!(f, "{value}"),
            Scalar::Text(value) => f.write_str(value),
        }
    }
}

impl Wanted {
    fn values(&self) -> &[Scalar] {
        match self {
            Wanted::One(value) => std::slice::from_ref(value),
            Wanted::Several(values) => values,
        }
    }

    /// Whether a claim has one of the values, or is a list in which one is.
    #[must_use]
    pub fn met_by(&self, claim: Option<&Value>) -> bool {
        let is_one = |claim: &Value| {
            let text = match claim {
                Value::String(text) => text.clone(),
                Value::Bool(_) | Value::Number(_) => claim.to_string(),
                _ => return false,
            };
            self.values().iter().any(|value| value.to_string() == text)
        };
        match claim {
            Some(Value::Array(claims)) => claims.iter().any(is_one),
            Some(claim) => is_one(claim),
            None => false,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<String> = self.values().iter().map(ToString::to_string).collect();
        f.write_str(&values.join(" or "))
    }
}

fn actors() -> Vec<String> {
    ["actor", "user_login"].map(str::to_owned).to_vec()
}

fn sub() -> String {
    "sub".to_owned()
}

/// Why a file of issuers cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It, or a file that it names, cannot be used.
    #[error(transparent)]
    File(#[from] config_file::Error),
    /// No client can be made of it.
    #[error("no client for issuer {issuer}: {source}")]
    Client {
        /// The issuer.
        issuer: String,
        /// Why.
        source: reqwest::Error,
    },
}

/// Reads a file: YAML or JSON, a list of issuers.
///
/// # Errors
/// If it cannot be used.
pub fn read(path: &Path) -> Result<Vec<IssuerConfig>, Error> {
    let all: Vec<IssuerConfig> = config_file::read(path)?;
    for (n, issuer) in all.iter().enumerate() {
        let field = format!("[{n}]");
        check(issuer).map_err(|problem| config_file::Error::malformed(&field, problem))?;
        let twice = |other: &IssuerConfig| other.name == issuer.name || other.issuer == issuer.issuer;
        if all[..n].iter().any(twice) {
            return Err(config_file::Error::malformed(field, "name or issuer stands here twice").into());
        }
    }
    Ok(all)
}

fn check(issuer: &IssuerConfig) -> Result<(), String> {
    if !subject::is_instance(&issuer.name) {
        return Err("name: must be small letters, digits and dashes, and nobody else's prefix".to_owned());
    }
    if issuer.audience.is_empty() || issuer.user_claim.is_empty() {
        return Err("audience and userClaim: must not be empty".to_owned());
    }
    let none = |wanted: &Wanted| wanted.values().is_empty();
    if let Some((claim, _)) = issuer.required_claims.iter().find(|(_, wanted)| none(wanted)) {
        return Err(format!("requiredClaims.{claim}: must not be empty"));
    }
    if !is_safe(&issuer.issuer) {
        return Err("issuer: must be an https URL".to_owned());
    }
    if issuer
        .jwks_uri
        .as_ref()
        .is_some_and(|url| !has_safe_keys(&issuer.issuer, url))
    {
        return Err("jwksUri: must be an https URL".to_owned());
    }
    Ok(())
}

/// Whether keys of `issuer` may come from `url`. Whatever listens on this machine speaks for no issuer elsewhere.
#[must_use]
pub fn has_safe_keys(issuer: &str, url: &str) -> bool {
    let is_https = |url: &str| Url::parse(url).is_ok_and(|url| url.scheme() == "https");
    is_safe(url) && (is_https(url) || !is_https(issuer))
}

/// Whether what comes from there can be trusted: nobody on the way can exchange it.
fn is_safe(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else {
        return false;
    };
    let plain_text = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    plain_text && ["http", "https"].contains(&url.scheme()) && !in_the_clear(&url)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    static FILES: AtomicUsize = AtomicUsize::new(0);

    fn parse(text: &str) -> Result<Vec<IssuerConfig>, Error> {
        let (process, file) = (std::process::id(), FILES.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(format!("bellwether-issuers-{process}-{file}.yaml"));
        std::fs::write(&path, text).unwrap();
        let read = read(&path);
        std::fs::remove_file(&path).unwrap();
        read
    }

    #[test]
    fn issuers_are_read_with_their_defaults() {
        let text = "- {name: ci, issuer: 'https://ci.example/oidc', audience: bellwether}\n";
        let all = parse(text).unwrap();
        assert_eq!((all.len(), all[0].user_claim.as_str()), (1, "sub"));
    }

    #[test]
    fn keys_on_this_machine_are_those_of_an_issuer_on_it() {
        let keys = "http://127.0.0.1:7/jwks";
        assert!(has_safe_keys("http://127.0.0.1:8", keys) && has_safe_keys("http://[::1]", keys));
        assert!(!has_safe_keys("https://a.example", keys) && !has_safe_keys("https://127.0.0.1", keys));
        for issuer in ["https://a.example", "http://127.0.0.1:8"] {
            assert!(has_safe_keys(issuer, "https://b.example/jwks"));
            assert!(!has_safe_keys(issuer, "http://b.example/jwks"));
        }
    }

    #[test]
    fn what_cannot_be_trusted_is_no_issuer() {
        let ci = "- {name: ci, issuer: 'https://ci.example/oidc', audience: bellwether}\n";
        let twice = ci.repeat(2);
        for (text, named) in [
            (
                "- {name: system, issuer: 'https://a.example', audience: b}",
                "name",
            ),
            ("- {name: a, issuer: 'http://a.example', audience: b}", "https"),
            (
                "- {name: a, issuer: 'https://me:secret@a.example', audience: b}",
                "https",
            ),
            (
                "- {name: a, issuer: 'http://localhost.evil.example', audience: b}",
                "https",
            ),
            (
                "- {name: a, issuer: 'https://a.example', audience: ''}",
                "audience",
            ),
            ("- {name: a, issuer: 'https://a.example'}", "audience"),
            (
                "- {name: a, issuer: 'https://a.example', audience: b, jwksUri: 'http://b'}",
                "jwksUri",
            ),
            (
                "- {name: a, issuer: 'https://a.example', audience: b, jwksUri: 'http://127.0.0.1/jwks'}",
                "jwksUri",
            ),
            (
                "- {name: a, issuer: 'https://a.example', audience: b, verify: false}",
                "verify",
            ),
            (
                "- {name: a, issuer: 'https://a.example', audience: b, requiredClaims: {ref: []}}",
                "requiredClaims.ref",
            ),
            (&twice, "twice"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
