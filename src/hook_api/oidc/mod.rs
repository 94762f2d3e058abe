//! Tokens of OIDC issuers, such as Jenkins, GitLab or GitHub: a build proves what it is without a secret that it keeps.
//!
//! Invariants: no token chooses its algorithm or key beyond what the issuer published; what a token says counts only once
//! its signature, issuer, audience and times are right; no token stands in a log or an answer.

mod config;
mod keys;
pub mod subject;

use std::{path::Path, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, Validation, dangerous::insecure_decode_claims, errors::ErrorKind};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    auth::User,
    problem::{Code, Problem},
};
use crate::clock::Clock;
use keys::{Key, Keys, Missing};

pub use config::{Error, IssuerConfig};

/// Seconds that clocks may differ.
const SKEW: f64 = 60.0;
/// Signatures that can be verified by who cannot make them.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// An issuer whose tokens are accepted.
pub struct Issuer {
    config: IssuerConfig,
    keys: Arc<Keys>,
}

/// The issuers whose tokens are accepted.
#[derive(Default)]
pub struct Oidc {
    issuers: Vec<Issuer>,
}

impl Oidc {
    /// Those of a file.
    ///
    /// # Errors
    /// If it cannot be used.
    pub fn of_file(path: &Path, clock: &Arc<dyn Clock>) -> Result<Oidc, Error> {
        Oidc::new(config::read(path)?, clock)
    }

    /// These.
    ///
    /// # Errors
    /// If no client can be made for one of them.
    pub fn new(issuers: Vec<IssuerConfig>, clock: &Arc<dyn Clock>) -> Result<Oidc, Error> {
        let issuers = issuers.into_iter().map(|config| {
            let keys = Keys::new(&config, clock.clone())?;
            Ok(Issuer { config, keys })
        });
        Ok(Oidc {
            issuers: issuers.collect::<Result<_, Error>>()?,
        })
    }

    /// The issuer that a token says it has. Nothing is verified by that.
    #[must_use]
    pub fn issuer(&self, token: &str) -> Option<&Issuer> {
        #[derive(Deserialize)]
        struct Claims {
            iss: String,
        }
        if self.issuers.is_empty() || token.matches('.').count() != 2 {
            return None;
        }
        let claims: Claims = insecure_decode_claims(token).ok()?;
        self.issuers
            .iter()
            .find(|issuer| issuer.config.issuer == claims.iss)
    }

    /// Whose token this is at `now`, and for how long yet.
    ///
    /// # Errors
    /// If it is not a good one, or if that cannot be found out.
    pub async fn user(
        &self,
        issuer: &Issuer,
        token: &str,
        now: DateTime<Utc>,
    ) -> Result<(User, Duration), Problem> {
        let config = &issuer.config;
        let refuse = |why: &str| {
            let text = format!("the token of issuer {} is not accepted: {why}", config.issuer);
            Problem::new(Code::Unauthenticated, text)
        };
        let header = jsonwebtoken::decode_header(token).map_err(|_| refuse("its header cannot be used"))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(refuse("its algorithm is not one of public keys"));
        }
        // Whoever signs so means something that we do not understand.
        if header.crit.is_some() {
            return Err(refuse("it has critical headers"));
        }
        // A token that says itself that it ended is not worth a look at the issuer's keys.
        let unverified: Map<String, Value> =
            insecure_decode_claims(token).map_err(|_| refuse("its claims cannot be read"))?;
        if unverified.get("exp").is_some_and(Value::is_number) {
            time_left(&unverified, now).map_err(refuse)?;
        }
        let missing = |missing| match missing {
            Missing::Unknown => refuse("its key is not one of the issuer's"),
            Missing::Unasked => Problem::new(
                Code::Unavailable,
                format!("issuer {} does not tell its keys", config.issuer),
            ),
            Missing::AskedJustNow(pause) => Problem::new(
                Code::Unavailable,
                format!(
                    "the token of issuer {} has a key that is not known yet",
                    config.issuer
                ),
            )
            .retry_after(pause.as_secs() + 1),
        };
        let (id, algorithm) = (header.kid.as_deref(), header.alg);
        let found = issuer.keys.find(id, algorithm).await.map_err(missing)?;
        let mut verified = verify(token, &found.keys, &validation(config, algorithm));
        if matches!(verified, Err(ErrorKind::InvalidSignature)) {
            // The issuer may have exchanged the key and kept its name.
            let newer = issuer
                .keys
                .find_newer(id, algorithm, found.fetch)
                .await
                .map_err(missing)?;
            verified = verify(token, &newer.keys, &validation(config, algorithm));
        }
        let claims = verified.map_err(|kind| refuse(reason(&kind)))?;
        let left = time_left(&claims, now).map_err(refuse)?;
        if let Some(claim) = config
            .required_claims
            .iter()
            .find(|(name, wanted)| !wanted.met_by(claims.get(*name)))
        {
            return Err(refuse(&format!("its claim {} is not {}", claim.0, claim.1)));
        }
        let claim = claims.get(&config.user_claim).and_then(Value::as_str);
        let root = config.jenkins_url.as_deref();
        let root = root.or_else(|| subject::jenkins_root(&config.issuer));
        let user = claim.and_then(|claim| subject::user(&config.name, root, claim));
        let mut user =
            user.ok_or_else(|| refuse(&format!("its claim {} names nobody", config.user_claim)))?;
        let actors = config.actor_claims.iter().filter_map(|name| claims.get(name));
        user.actors = actors
            .flat_map(names)
            .flat_map(|actor| subject::actor(&config.name, &actor))
            .collect();
        Ok((user, left))
    }
}

/// What the token says, if one of `keys` signed it.
fn verify(token: &str, keys: &[Arc<Key>], validation: &Validation) -> Result<Map<String, Value>, ErrorKind> {
    let mut signature_is_wrong = Err(ErrorKind::InvalidSignature);
    for key in keys {
        match jsonwebtoken::decode::<Map<String, Value>>(token, &key.decoding, validation) {
            Ok(decoded) => return Ok(decoded.claims),
            Err(error) if *error.kind() == ErrorKind::InvalidSignature => {}
            // A signature that is right, of a token that is not; or one that this key cannot even look at.
            Err(error) => signature_is_wrong = Err(error.into_kind()),
        }
    }
    signature_is_wrong
}

/// How long the token is good for yet; nothing if it only is because clocks differ.
fn time_left(claims: &Map<String, Value>, now: DateTime<Utc>) -> Result<Duration, &'static str> {
    let now = now.timestamp_millis() as f64 / 1000.0;
    let expires = claims.get("exp").and_then(Value::as_f64);
    let expires = expires.ok_or("it does not say when it ends")?;
    if now >= expires + SKEW {
        return Err("it has expired");
    }
    match claims.get("nbf") {
        None | Some(Value::Null) => {}
        Some(begins) => {
            let begins = begins.as_f64().ok_or("its nbf is no time")?;
            if now < begins - SKEW {
                return Err("it is not valid yet");
            }
        }
    }
    Ok(Duration::try_from_secs_f64(expires - now).unwrap_or_default())
}

/// Times are not looked at here: the library has no clock but the machine's.
fn validation(config: &IssuerConfig, algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.set_issuer(&[&config.issuer]);
    validation.set_audience(&[&config.audience]);
    validation.validate_exp = false;
    validation
}

fn reason(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidSignature => "its signature is wrong",
        ErrorKind::InvalidIssuer => "it is of another issuer",
        ErrorKind::InvalidAudience => "it was made for another audience",
        ErrorKind::MissingRequiredClaim(_) => "exp, iss or aud is missing",
        _ => "it cannot be read",
    }
}

/// The names that a claim has: a text, a number, or a list of these.
fn names(claim: &Value) -> Vec<String> {
    match claim {
        Value::String(text) => vec![text.clone()],
        Value::Number(number) => vec![number.to_string()],
        Value::Array(all) => all.iter().flat_map(names).collect(),
        _ => Vec::new(),
    }
}
