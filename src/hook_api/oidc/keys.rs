//! Keys of an issuer: fetched when they are needed, renewed while they are used, kept while the issuer is away.
//!
//! A token can name any key, so that tokens must not make requests. Invariants: one fetch at a time, each bounded in time
//! and length; tokens make no second one within a short pause; whoever leaves does not stop a fetch. What is not known only
//! because of that pause is said to be so: it is no reason to refuse anybody for good.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use reqwest::redirect::Policy;
use serde::{Deserialize, de::DeserializeOwned};

use super::config::{self, Error, IssuerConfig};
use crate::{
    clock::Clock,
    config_file,
    http_client::{authorities, bounded},
};

/// Age from which keys are renewed behind the back of who uses them.
const FRESH: Duration = Duration::from_secs(3600);
/// Age from which they are renewed first: nobody used them for long.
const STALE: Duration = Duration::from_secs(2 * 3600);
/// How long keys count that cannot be fetched again: an issuer may be away for a weekend, and a key that was withdrawn must not
/// count for ever.
const KEPT: Duration = Duration::from_hours(48);
/// Time between fetches that tokens may cause.
const PAUSE: Duration = Duration::from_secs(10);
/// The same as long as there are no keys at all.
const PAUSE_WITHOUT_KEYS: Duration = Duration::from_secs(5);
/// How long a fetch may take, discovery included: less than a request waits for it.
const FETCH_LIMIT: Duration = Duration::from_secs(4);
/// Longest document in bytes.
const LONGEST: usize = 1024 * 1024;
/// Keys that count.
const MOST: usize = 200;
/// Keys that may have signed one token: of one name, or all where it names none.
const TRIED: usize = 20;
/// Base64 digits of an RSA modulus of 2048 bits.
const RSA_DIGITS: usize = 342;

/// A key, and what it may have signed.
pub struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    /// The key itself.
    pub decoding: DecodingKey,
}

/// Why there is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The issuer has none of that name.
    Unknown,
    /// The issuer could not be asked.
    Unasked,
    /// It was asked a moment ago, and may be asked again after so long.
    AskedJustNow(Duration),
}

/// Keys that may have signed a token.
pub struct Found {
    /// The keys.
    pub keys: Vec<Arc<Key>>,
    /// Number of the fetch that brought them.
    pub fetch: u64,
}

#[derive(Default)]
struct State {
    keys: Vec<Arc<Key>>,
    /// Number of the fetch that brought them.
    fetch: u64,
    fetched: Option<Duration>,
    tried: Option<Duration>,
    failed: bool,
}

/// The keys of an issuer.
pub struct Keys {
    issuer: String,
    jwks_uri: Option<String>,
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("{url} answers {status}")]
    Status { url: String, status: u16 },
    #[error("{url} is longer than {LONGEST} bytes")]
    TooLong { url: String },
    #[error("{url} is not what it must be: {source}")]
    Malformed { url: String, source: serde_json::Error },
    #[error("discovery names issuer {0:?}")]
    OtherIssuer(String),
    #[error("discovery names keys at {0:?}, which is no https URL")]
    Unsafe(String),
    #[error("there is no key that could be used")]
    NoKey,
    #[error("it takes longer than {} s", FETCH_LIMIT.as_secs())]
    Slow,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

impl Keys {
    /// Keys of this issuer, none of them fetched yet.
    ///
    /// # Errors
    /// If its certificates cannot be used.
    pub fn new(config: &IssuerConfig, clock: Arc<dyn Clock>) -> Result<Arc<Keys>, Error> {
        let client = |source| Error::Client {
            issuer: config.issuer.clone(),
            source,
        };
        let mut http = reqwest::Client::builder()
            .connect_timeout(FETCH_LIMIT / 2)
            .timeout(FETCH_LIMIT)
            .redirect(Policy::none());
        if let Some(path) = &config.ca_file {
            let pem = config_file::bytes(path)?;
            let trusted = authorities(&pem).map_err(|problem| {
                let field = format!("caFile of issuer {}", config.issuer);
                config_file::Error::malformed(field, problem)
            })?;
            http = http.tls_certs_only(trusted);
        }
        Ok(Arc::new(Keys {
            issuer: config.issuer.clone(),
            jwks_uri: config.jwks_uri.clone(),
            http: http.build().map_err(client)?,
            clock,
            state: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }))
    }

    /// The keys of the name that a token has, or all if it has none.
    ///
    /// # Errors
    /// If there is none.
    pub async fn find(self: &Arc<Self>, id: Option<&str>, algorithm: Algorithm) -> Result<Found, Missing> {
        let (found, age) = self.look(id, algorithm);
        if !found.keys.is_empty() && age < STALE {
            if age >= FRESH {
                drop(self.renew());
            }
            return Ok(found);
        }
        match self.find_newer(id, algorithm, found.fetch).await {
            // The issuer is away, or was asked a moment ago: what was known counts, but not for ever, for a key may have been
            // withdrawn meanwhile.
            Err(Missing::Unasked | Missing::AskedJustNow(_)) if !found.keys.is_empty() && age < KEPT => {
                Ok(found)
            }
            newer => newer,
        }
    }

    /// The same, of a later fetch than `fetch`: a key may have been exchanged under its name.
    ///
    /// # Errors
    /// If there is none.
    pub async fn find_newer(
        self: &Arc<Self>,
        id: Option<&str>,
        algorithm: Algorithm,
        fetch: u64,
    ) -> Result<Found, Missing> {
        let (mut found, _) = self.look(id, algorithm);
        let (mut pause, asked_at) = (None, self.clock.monotonic());
        if found.fetch <= fetch {
            // A task of its own: a client that goes must not end what others wait for.
            pause = self.renew().await.map_err(|_| Missing::Unasked)?;
            found = self.look(id, algorithm).0;
            if found.fetch <= fetch {
                let failed = self.lock().failed;
                return Err(pause
                    .filter(|_| !failed)
                    .map_or(Missing::Unasked, Missing::AskedJustNow));
            }
        }
        if found.keys.is_empty() {
            // A fetch that others began before may have been answered before this key was there.
            let before = self.lock().tried.is_none_or(|tried| tried < asked_at);
            let pause = pause.filter(|_| before);
            return Err(pause.map_or(Missing::Unknown, Missing::AskedJustNow));
        }
        Ok(found)
    }

    fn look(&self, id: Option<&str>, algorithm: Algorithm) -> (Found, Duration) {
        let state = self.lock();
        let fits = |key: &&Arc<Key>| {
            key.algorithms.contains(&algorithm) && id.is_none_or(|id| key.id.as_deref() == Some(id))
        };
        let now = self.clock.monotonic();
        let age = state
            .fetched
            .map_or(Duration::MAX, |then| now.saturating_sub(then));
        let keys = state.keys.iter().filter(fits).take(TRIED).cloned().collect();
        let fetch = state.fetch;
        (Found { keys, fetch }, age)
    }

    /// Fetches the keys, unless that was tried a moment ago; returns when it may be tried again in that case.
    fn renew(self: &Arc<Self>) -> tokio::task::JoinHandle<Option<Duration>> {
        let keys = self.clone();
        tokio::spawn(async move {
            let _turn = keys.turn.lock().await;
            if let Err(pause) = keys.take_try() {
                return Some(pause);
            }
            let fetched = tokio::time::timeout(FETCH_LIMIT, keys.fetch())
                .await
                .unwrap_or(Err(FetchError::Slow));
            keys.keep(fetched);
            None
        })
    }

    /// Takes the right to ask, of which there is one in a while.
    fn take_try(&self) -> Result<(), Duration> {
        let now = self.clock.monotonic();
        let mut state = self.lock();
        let pause = if state.keys.is_empty() {
            PAUSE_WITHOUT_KEYS
        } else {
            PAUSE
        };
        let next = state.tried.map_or(Duration::ZERO, |then| then + pause);
        if now < next {
            return Err(next - now);
        }
        state.tried = Some(now);
        Ok(())
    }

    fn keep(&self, fetched: Result<Vec<Key>, FetchError>) {
        let mut state = self.lock();
        state.failed = fetched.is_err();
        match fetched {
            Ok(keys) => {
                tracing::debug!(
                    issuer = self.issuer,
                    keys = keys.len(),
                    "keys of an issuer are fetched"
                );
                state.keys = keys.into_iter().map(Arc::new).collect();
                state.fetch += 1;
                state.fetched = Some(self.clock.monotonic());
            }
            Err(error) => {
                let kept = state.keys.len();
                tracing::warn!(issuer = self.issuer, %error, kept, "keys of an issuer cannot be fetched");
            }
        }
    }

    async fn fetch(&self) -> Result<Vec<Key>, FetchError> {
        let jwks_uri = match &self.jwks_uri {
            Some(url) => url.clone(),
            None => self.discover().await?,
        };
        let set: KeySet = self.get(&jwks_uri).await?;
        let keys: Vec<Key> = set.keys.into_iter().filter_map(usable).take(MOST).collect();
        // A proxy that answers for the issuer must not take its keys away.
        if keys.is_empty() {
            return Err(FetchError::NoKey);
        }
        Ok(keys)
    }

    async fn discover(&self) -> Result<String, FetchError> {
        let issuer = self.issuer.trim_end_matches('/');
        let found: Discovery = self
            .get(&format!("{issuer}/.well-known/openid-configuration"))
            .await?;
        if found.issuer != self.issuer {
            return Err(FetchError::OtherIssuer(found.issuer));
        }
        if !config::has_safe_keys(&self.issuer, &found.jwks_uri) {
            return Err(FetchError::Unsafe(found.jwks_uri));
        }
        Ok(found.jwks_uri)
    }

    async fn get<T: DeserializeOwned>(&self, url: &str) -> Result<T, FetchError> {
        let response = self
            .http
            .get(url)
            .header("accept", "application/json")
            .send()
            .await?;
        let url = url.to_owned();
        let status = response.status().as_u16();
        if status != 200 {
            return Err(FetchError::Status { url, status });
        }
        let body = bounded::body(response, LONGEST).await;
        let body = body.map_err(|error| match error {
            bounded::Error::TooLong => FetchError::TooLong { url: url.clone() },
            bounded::Error::Broken(error) => error.into(),
        })?;
        serde_json::from_slice(&body).map_err(|source| FetchError::Malformed { url, source })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A public key that may verify. Others of the set, such as those for encryption or of curves of tomorrow, do not matter.
fn usable(json: serde_json::Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(json).ok()?;
    let verifies = match (&jwk.common.public_key_use, &jwk.common.key_operations) {
        (Some(purpose), _) => *purpose == PublicKeyUse::Signature,
        (None, Some(operations)) => operations.contains(&KeyOperations::Verify),
        (None, None) => true,
    };
    let mut algorithms = match &jwk.algorithm {
        AlgorithmParameters::RSA(key) if key.n.len() >= RSA_DIGITS => vec![
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => vec![Algorithm::ES256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => vec![Algorithm::ES384],
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            vec![Algorithm::EdDSA]
        }
        // A shared secret is none once it is published.
        _ => return None,
    };
    if let Some(only) = jwk.common.key_algorithm {
        algorithms.retain(|algorithm| jsonwebtoken::jwk::KeyAlgorithm::from(*algorithm) == only);
    }
    (verifies && !algorithms.is_empty()).then_some(())?;
    Some(Key {
        decoding: DecodingKey::from_jwk(&jwk).ok()?,
        id: jwk.common.key_id,
        algorithms,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_public_keys_that_may_verify_are_used() {
        let long = format!("{}A", "u".repeat(RSA_DIGITS - 1));
        let rsa = |with: serde_json::Value| {
            let mut key = json!({"kty": "RSA", "kid": "a", "n": long, "e": "AQAB"});
            key.as_object_mut()
                .unwrap()
                .extend(with.as_object().unwrap().clone());
            usable(key)
        };
        assert_eq!(rsa(json!({})).unwrap().algorithms.len(), 6);
        assert_eq!(
            rsa(json!({"use": "sig", "alg": "RS256"})).unwrap().algorithms,
            [Algorithm::RS256]
        );
        assert!(rsa(json!({"use": "enc"})).is_none());
        assert!(rsa(json!({"key_ops": ["encrypt"]})).is_none());
        assert!(rsa(json!({"alg": "HS256"})).is_none());
        assert!(rsa(json!({"alg": "RSA-OAEP"})).is_none());
        assert!(rsa(json!({"n": "u".repeat(171)})).is_none(), "1024 bits");
        assert!(usable(json!({"kty": "oct", "kid": "a", "k": "c2VjcmV0"})).is_none());
        assert!(usable(json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"})).is_none());
        assert!(usable(json!("nonsense")).is_none());
    }
}
