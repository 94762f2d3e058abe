//! An issuer and a gate: a real server for keys, keys made here, and a clock that is set by hand.

use std::{
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use axum::{Json, Router, http::StatusCode, routing::get};
use bellwether::{
    clock::Clock,
    config_file::Reloaded,
    hook_api::{
        Problem, Tokens,
        auth::{Gatekeeper, Permission, Reviewer, User},
        oidc::{IssuerConfig, Oidc},
    },
};
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rsa::{RsaPrivateKey, pkcs1::EncodeRsaPrivateKey, rand_core::OsRng, traits::PublicKeyParts};
use serde_json::{Value, json};

pub const READ: Permission = Permission {
    verb: "get",
    resource: "promotions",
    subresource: None,
};
/// What the hand-set clock shows at first.
pub const BEGIN: i64 = 1_800_000_000;

/// Keys take seconds to make.
pub static RSA: LazyLock<[RsaPrivateKey; 2]> =
    LazyLock::new(|| [(); 2].map(|()| RsaPrivateKey::new(&mut OsRng, 2048).unwrap()));

pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            text.push(DIGITS[(bits >> (18 - 6 * place) & 63) as usize] as char);
        }
    }
    text
}

/// A key pair as issuer and builds have it.
pub struct Pair {
    pub id: &'static str,
    pub algorithm: Algorithm,
    pub signs: EncodingKey,
    pub public: Value,
}

pub fn rsa_pair(id: &'static str, which: usize) -> Pair {
    let key = &RSA[which];
    Pair {
        id,
        algorithm: Algorithm::RS256,
        signs: EncodingKey::from_rsa_der(key.to_pkcs1_der().unwrap().as_bytes()),
        public: json!({
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": id,
            "n": base64(&key.n().to_bytes_be()), "e": base64(&key.e().to_bytes_be()),
        }),
    }
}

pub fn ec_pair(id: &'static str) -> Pair {
    let key = rcgen::KeyPair::generate().unwrap();
    let point = key.public_key_raw();
    Pair {
        id,
        algorithm: Algorithm::ES256,
        signs: EncodingKey::from_ec_der(&key.serialize_der()),
        public: json!({
            "kty": "EC", "crv": "P-256", "kid": id, "x": base64(&point[1..33]), "y": base64(&point[33..65]),
        }),
    }
}

pub fn sign(pair: &Pair, claims: &Value) -> String {
    let mut header = Header::new(pair.algorithm);
    header.kid = Some(pair.id.to_owned());
    jsonwebtoken::encode(&header, claims, &pair.signs).unwrap()
}

pub struct HandClock(AtomicI64);

impl HandClock {
    pub fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds, SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(BEGIN + self.0.load(SeqCst), 0).unwrap()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.load(SeqCst).unsigned_abs())
    }
}

/// What the issuer's server does.
#[derive(Default)]
pub struct Site {
    pub url: String,
    pub keys: Mutex<Vec<Value>>,
    pub down: AtomicBool,
    pub fetches: AtomicUsize,
    pub under_way: AtomicUsize,
    pub most_under_way: AtomicUsize,
}

impl Site {
    pub async fn serve(keys: &[&Pair]) -> Arc<Site> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let site = Arc::new(Site {
            url: format!("http://{}/jenkins/oidc", listener.local_addr().unwrap()),
            ..Site::default()
        });
        site.publish(keys);
        let (discovery, jwks) = (site.clone(), site.clone());
        let router = Router::new()
            .route(
                "/jenkins/oidc/.well-known/openid-configuration",
                get(move || async move {
                    discovery.answer(
                        json!({"issuer": discovery.url, "jwks_uri": format!("{}/jwks", discovery.url)}),
                    )
                }),
            )
            .route(
                "/jenkins/oidc/jwks",
                get(move || async move {
                    let at_once = jwks.under_way.fetch_add(1, SeqCst) + 1;
                    jwks.most_under_way.fetch_max(at_once, SeqCst);
                    jwks.fetches.fetch_add(1, SeqCst);
                    tokio::task::yield_now().await;
                    jwks.under_way.fetch_sub(1, SeqCst);
                    let keys = jwks.keys.lock().unwrap().clone();
                    jwks.answer(json!({"keys": keys}))
                }),
            );
        tokio::spawn(async move { axum::serve(listener, router).await });
        site
    }

    fn answer(&self, json: Value) -> Result<Json<Value>, StatusCode> {
        if self.down.load(SeqCst) {
            return Err(StatusCode::BAD_GATEWAY);
        }
        Ok(Json(json))
    }

    pub fn publish(&self, pairs: &[&Pair]) {
        *self.keys.lock().unwrap() = pairs.iter().map(|pair| pair.public.clone()).collect();
    }

    pub fn fetches(&self) -> usize {
        self.fetches.load(SeqCst)
    }

    pub fn claims(&self) -> Value {
        let root = self.url.strip_suffix("/oidc").unwrap();
        json!({
            "iss": self.url, "aud": "bellwether", "sub": format!("{root}/job/shop/job/web/job/main/"),
            "iat": BEGIN, "nbf": BEGIN, "exp": BEGIN + 600,
        })
    }

    pub fn claims_with(&self, with: &Value) -> Value {
        let mut claims = self.claims();
        claims
            .as_object_mut()
            .unwrap()
            .extend(with.as_object().unwrap().clone());
        claims
    }
}

/// Knows no Kubernetes token, and lets everybody; writes down who came.
#[derive(Default)]
pub struct Book {
    pub tokens: Mutex<Vec<String>>,
    pub users: Mutex<Vec<User>>,
}

#[async_trait]
impl Reviewer for Book {
    async fn whose(&self, token: &str) -> Result<Option<User>, Problem> {
        self.tokens.lock().unwrap().push(token.to_owned());
        Ok(None)
    }

    async fn may(&self, user: &User, _: Permission, _: &str, _: &str) -> Result<bool, Problem> {
        self.users.lock().unwrap().push(user.clone());
        Ok(true)
    }
}

pub struct Gate {
    pub clock: Arc<HandClock>,
    pub book: Arc<Book>,
    keeper: Arc<Gatekeeper>,
}

impl Gate {
    pub fn of(site: &Site) -> Gate {
        Gate::with(IssuerConfig {
            name: "ci".to_owned(),
            issuer: site.url.clone(),
            audience: "bellwether".to_owned(),
            jwks_uri: None,
            ca_file: None,
            user_claim: "sub".to_owned(),
            jenkins_url: None,
            required_claims: Default::default(),
            actor_claims: vec!["actor".to_owned()],
        })
    }

    pub fn with(config: IssuerConfig) -> Gate {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let clock = Arc::new(HandClock(AtomicI64::new(0)));
        let book = Arc::new(Book::default());
        let oidc = {
            let clock: Arc<dyn Clock> = clock.clone();
            Oidc::new(vec![config], &clock).unwrap()
        };
        let keeper =
            Gatekeeper::new(book.clone(), Tokens::none(), clock.clone()).with_oidc(Reloaded::fixed(oidc));
        Gate {
            clock,
            book,
            keeper: Arc::new(keeper),
        }
    }

    pub async fn admit(&self, token: &str) -> Result<User, Problem> {
        let header = format!("Bearer {token}");
        self.keeper.admit(Some(&header), READ, "shop", "p-1").await
    }

    /// The status when nothing keeps the issuer from being asked for its keys. Before that a token that nobody can judge is
    /// not refused for good.
    pub async fn refusal(&self, token: &str) -> u16 {
        let before = self.status(token).await;
        assert!([401, 503].contains(&before), "{before}");
        self.clock.pass(11);
        self.status(token).await
    }

    pub async fn status(&self, token: &str) -> u16 {
        match self.admit(token).await {
            Ok(_) => 200,
            Err(problem) => {
                let signature = token.rsplit('.').next().unwrap();
                let told = signature.len() > 20 && problem.detail.contains(signature);
                assert!(!told, "{}", problem.detail);
                problem.status
            }
        }
    }
}

pub async fn until(condition: impl Fn() -> bool) {
    let met = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), met).await.unwrap();
}
