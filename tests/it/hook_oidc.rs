//! Tokens of OIDC issuers at the gate: a real server for keys, keys made here, and a clock that is set by hand.

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
    hook_api::{
        Problem, Tokens,
        auth::{Deed, Gatekeeper, Reviewer, User},
        oidc::{IssuerConfig, Oidc},
    },
};
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rsa::{
    RsaPrivateKey,
    pkcs1::{EncodeRsaPrivateKey, EncodeRsaPublicKey},
    rand_core::OsRng,
    traits::PublicKeyParts,
};
use serde_json::{Value, json};

const READ: Deed = Deed {
    verb: "get",
    resource: "promotions",
    subresource: None,
};
/// What the hand-set clock shows at first.
const BEGIN: i64 = 1_800_000_000;

/// Keys take seconds to make.
static RSA: LazyLock<[RsaPrivateKey; 2]> =
    LazyLock::new(|| [(); 2].map(|()| RsaPrivateKey::new(&mut OsRng, 2048).unwrap()));

fn base64(bytes: &[u8]) -> String {
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
struct Pair {
    id: &'static str,
    algorithm: Algorithm,
    signs: EncodingKey,
    public: Value,
}

fn rsa_pair(id: &'static str, which: usize) -> Pair {
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

fn ec_pair(id: &'static str) -> Pair {
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

fn sign(pair: &Pair, claims: &Value) -> String {
    let mut header = Header::new(pair.algorithm);
    header.kid = Some(pair.id.to_owned());
    jsonwebtoken::encode(&header, claims, &pair.signs).unwrap()
}

struct HandClock(AtomicI64);

impl HandClock {
    fn pass(&self, seconds: i64) {
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
struct Site {
    url: String,
    keys: Mutex<Vec<Value>>,
    down: AtomicBool,
    fetches: AtomicUsize,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
}

impl Site {
    async fn serve(keys: &[&Pair]) -> Arc<Site> {
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

    fn publish(&self, pairs: &[&Pair]) {
        *self.keys.lock().unwrap() = pairs.iter().map(|pair| pair.public.clone()).collect();
    }

    fn fetches(&self) -> usize {
        self.fetches.load(SeqCst)
    }

    fn claims(&self) -> Value {
        let root = self.url.strip_suffix("/oidc").unwrap();
        json!({
            "iss": self.url, "aud": "bellwether", "sub": format!("{root}/job/shop/job/web/job/main/"),
            "iat": BEGIN, "nbf": BEGIN, "exp": BEGIN + 600,
        })
    }

    fn claims_with(&self, with: &Value) -> Value {
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
struct Book {
    tokens: Mutex<Vec<String>>,
    users: Mutex<Vec<User>>,
}

#[async_trait]
impl Reviewer for Book {
    async fn whose(&self, token: &str) -> Result<Option<User>, Problem> {
        self.tokens.lock().unwrap().push(token.to_owned());
        Ok(None)
    }

    async fn may(&self, user: &User, _: Deed, _: &str, _: &str) -> Result<bool, Problem> {
        self.users.lock().unwrap().push(user.clone());
        Ok(true)
    }
}

struct Gate {
    clock: Arc<HandClock>,
    book: Arc<Book>,
    keeper: Arc<Gatekeeper>,
}

impl Gate {
    fn of(site: &Site) -> Gate {
        Gate::with(IssuerConfig {
            name: "ci".to_owned(),
            issuer: site.url.clone(),
            audience: "bellwether".to_owned(),
            jwks_uri: None,
            ca_file: None,
            user_claim: "sub".to_owned(),
            jenkins_url: None,
        })
    }

    fn with(config: IssuerConfig) -> Gate {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let clock = Arc::new(HandClock(AtomicI64::new(0)));
        let book = Arc::new(Book::default());
        let oidc = Oidc::new(vec![config], clock.clone()).unwrap();
        let keeper =
            Gatekeeper::new(book.clone(), Tokens::none(clock.clone()), clock.clone()).with_oidc(oidc);
        Gate {
            clock,
            book,
            keeper: Arc::new(keeper),
        }
    }

    async fn admit(&self, token: &str) -> Result<User, Problem> {
        let header = format!("Bearer {token}");
        self.keeper.admit(Some(&header), READ, "shop", "p-1").await
    }

    async fn status(&self, token: &str) -> u16 {
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

async fn until(condition: impl Fn() -> bool) {
    let met = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), met).await.unwrap();
}

#[tokio::test]
async fn build_is_known_by_its_job_and_its_folders_reach_the_access_review() {
    for pair in [rsa_pair("k", 0), ec_pair("k")] {
        let site = Site::serve(&[&pair]).await;
        let gate = Gate::of(&site);
        let token = sign(&pair, &site.claims());
        let user = gate.admit(&token).await.unwrap();
        assert_eq!(user.name, "ci:shop/web/main");
        let users = gate.book.users.lock().unwrap().clone();
        assert_eq!(users[0].groups, ["ci:folder:shop", "ci:folder:shop/web"]);
        assert!(
            gate.book.tokens.lock().unwrap().is_empty(),
            "no other way saw the token"
        );
        gate.admit(&token).await.unwrap();
        assert_eq!(site.fetches(), 1, "keys are kept");
    }
}

#[tokio::test]
async fn gitlab_and_github_are_known_by_a_path() {
    let pair = rsa_pair("k", 0);
    let site = Site::serve(&[&pair]).await;
    let gate = Gate::with(IssuerConfig {
        name: "gitlab".to_owned(),
        issuer: site.url.clone(),
        audience: "bellwether".to_owned(),
        jwks_uri: Some(format!("{}/jwks", site.url)),
        ca_file: None,
        user_claim: "project_path".to_owned(),
        jenkins_url: None,
    });
    let claims =
        site.claims_with(&json!({"project_path": "shop/backend/web", "aud": ["other", "bellwether"]}));
    let user = gate.admit(&sign(&pair, &claims)).await.unwrap();
    assert_eq!(user.name, "gitlab:shop/backend/web");
    assert_eq!(user.groups, ["gitlab:folder:shop", "gitlab:folder:shop/backend"]);
    assert_eq!(
        gate.status(&sign(&pair, &site.claims())).await,
        401,
        "the claim is missing"
    );
}

#[tokio::test]
async fn token_that_is_not_as_it_must_be_is_refused() {
    let (pair, ec) = (rsa_pair("k", 0), ec_pair("e"));
    let site = Site::serve(&[&pair, &ec]).await;
    let gate = Gate::of(&site);
    for (with, named) in [
        (json!({"aud": "kubernetes"}), "audience"),
        (json!({"aud": []}), "audience"),
        (json!({"aud": null}), "missing"),
        (json!({"exp": BEGIN - 60}), "expired"),
        (json!({"exp": null}), "missing"),
        (json!({"exp": "tomorrow"}), "missing"),
        (json!({"nbf": BEGIN + 61}), "not valid yet"),
        (json!({"nbf": "soon"}), "nbf"),
        (json!({"sub": null}), "names nobody"),
        (json!({"sub": ""}), "names nobody"),
        (json!({"sub": 7}), "names nobody"),
        (json!({"sub": "a\nb"}), "names nobody"),
    ] {
        let problem = gate
            .admit(&sign(&pair, &site.claims_with(&with)))
            .await
            .unwrap_err();
        assert_eq!(problem.status, 401, "{with}");
        assert!(problem.detail.contains(named), "{with}: {}", problem.detail);
    }
    for with in [
        json!({"exp": BEGIN - 59}),
        json!({"nbf": BEGIN + 60}),
        json!({"exp": BEGIN as f64 + 0.5}),
    ] {
        assert_eq!(
            gate.status(&sign(&pair, &site.claims_with(&with))).await,
            200,
            "{with}: clocks differ"
        );
    }
    assert!(gate.book.tokens.lock().unwrap().is_empty());
}

#[tokio::test]
async fn forged_signature_is_refused_however_it_is_made() {
    let (pair, ec, stranger) = (rsa_pair("k", 0), ec_pair("e"), rsa_pair("k", 1));
    let site = Site::serve(&[&pair, &ec]).await;
    let gate = Gate::of(&site);
    let claims = site.claims();
    let good = sign(&pair, &claims);
    assert_eq!(
        gate.status(&sign(&stranger, &claims)).await,
        401,
        "the key of somebody else"
    );

    let (head, body) = (
        json!({"alg": "none", "typ": "JWT", "kid": "k"}),
        base64(claims.to_string().as_bytes()),
    );
    for head in [head, json!({"alg": "None", "kid": "k"}), json!({"kid": "k"})] {
        let head = base64(head.to_string().as_bytes());
        assert_eq!(gate.status(&format!("{head}.{body}.")).await, 401, "unsigned");
        let signature = good.rsplit('.').next().unwrap();
        assert_eq!(gate.status(&format!("{head}.{body}.{signature}")).await, 401);
    }

    // The public key taken for a shared secret, in every form that it is published in.
    let der = RSA[0].to_public_key().to_pkcs1_der().unwrap();
    let modulus = pair.public["n"].as_str().unwrap().as_bytes();
    for secret in [der.as_bytes(), modulus, pair.public.to_string().as_bytes()] {
        let forged = Pair {
            algorithm: Algorithm::HS256,
            signs: EncodingKey::from_secret(secret),
            public: Value::Null,
            id: "k",
        };
        assert_eq!(gate.status(&sign(&forged, &claims)).await, 401);
    }

    let pss = Pair {
        algorithm: Algorithm::PS256,
        ..rsa_pair("k", 0)
    };
    assert_eq!(
        gate.status(&sign(&pss, &claims)).await,
        401,
        "the issuer's key is for RS256"
    );
    let swapped = Pair {
        id: "e",
        ..rsa_pair("k", 0)
    };
    assert_eq!(
        gate.status(&sign(&swapped, &claims)).await,
        401,
        "the name of another key"
    );
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let other = base64(site.claims_with(&json!({"sub": "root"})).to_string().as_bytes());
    let header = signed.split('.').next().unwrap();
    assert_eq!(
        gate.status(&format!("{header}.{other}.{signature}")).await,
        401,
        "other claims"
    );
    let mut critical = Header::new(Algorithm::RS256);
    critical.kid = Some("k".to_owned());
    critical.crit = Some(vec!["b64".to_owned()]);
    let critical = jsonwebtoken::encode(&critical, &claims, &pair.signs).unwrap();
    assert_eq!(gate.status(&critical).await, 401);
    assert!(
        gate.book.tokens.lock().unwrap().is_empty(),
        "no other way saw one of them"
    );
    assert!(gate.book.users.lock().unwrap().is_empty());
    assert_eq!(gate.status(&good).await, 200);
}

#[tokio::test]
async fn token_of_an_issuer_that_is_not_listed_goes_the_other_ways() {
    let pair = rsa_pair("k", 0);
    let site = Site::serve(&[&pair]).await;
    let gate = Gate::of(&site);
    for iss in [
        json!("https://evil.example"),
        json!([site.url]),
        json!(format!("{}/", site.url)),
    ] {
        let token = sign(&pair, &site.claims_with(&json!({"iss": iss})));
        assert_eq!(gate.status(&token).await, 401);
        assert_eq!(gate.book.tokens.lock().unwrap().pop().unwrap(), token);
    }
    assert_eq!(gate.status("a.b.c").await, 401);
    assert_eq!(site.fetches(), 0, "nothing is fetched for strangers");
}

#[tokio::test]
async fn unknown_key_makes_one_fetch_in_half_a_minute_however_many_ask() {
    let (old, new, never) = (rsa_pair("old", 0), rsa_pair("new", 1), ec_pair("never"));
    let site = Site::serve(&[&old]).await;
    let gate = Gate::of(&site);
    let tokens = async |pair| {
        let token = sign(pair, &site.claims());
        futures::future::join_all((0..50).map(|_| gate.status(&token))).await
    };
    assert_eq!(tokens(&old).await, [200; 50]);
    assert_eq!((site.fetches(), site.most_under_way.load(SeqCst)), (1, 1));

    assert_eq!(tokens(&never).await, [401; 50]);
    assert_eq!(site.fetches(), 1, "it was asked a moment ago");
    gate.clock.pass(30);
    site.publish(&[&old, &new]);
    assert_eq!(tokens(&never).await, [401; 50]);
    assert_eq!(site.fetches(), 2);
    assert_eq!(tokens(&new).await, [200; 50], "the fetch for another brought it");
    assert_eq!(site.fetches(), 2);

    gate.clock.pass(61);
    site.publish(&[&new]);
    assert_eq!(tokens(&never).await, [401; 50]);
    assert_eq!(site.fetches(), 3);
    assert_eq!(
        tokens(&old).await,
        [401; 50],
        "what the issuer withdrew is not known any more"
    );
    assert_eq!(site.most_under_way.load(SeqCst), 1);
}

#[tokio::test]
async fn rotated_key_is_known_at_its_first_use() {
    let (old, new) = (rsa_pair("old", 0), rsa_pair("new", 1));
    let site = Site::serve(&[&old]).await;
    let gate = Gate::of(&site);
    assert_eq!(gate.status(&sign(&old, &site.claims())).await, 200);
    gate.clock.pass(31);
    site.publish(&[&new]);
    assert_eq!(gate.status(&sign(&new, &site.claims())).await, 200);
    assert_eq!(site.fetches(), 2);
}

#[tokio::test]
async fn known_keys_serve_while_the_issuer_is_down() {
    let (pair, never) = (rsa_pair("k", 0), ec_pair("never"));
    let site = Site::serve(&[&pair]).await;
    let gate = Gate::of(&site);
    let token = || {
        sign(
            &pair,
            &site.claims_with(&json!({"exp": BEGIN + 1_000_000, "jti": gate.clock.now().to_string()})),
        )
    };
    assert_eq!(gate.status(&token()).await, 200);
    site.down.store(true, SeqCst);
    for age in [600, 3600, 7200, 86400] {
        gate.clock.pass(age);
        assert_eq!(gate.status(&token()).await, 200, "{age} s later");
    }
    gate.clock.pass(61);
    assert_eq!(
        gate.status(&sign(&never, &site.claims())).await,
        503,
        "nobody knows whether the key is good"
    );
    site.down.store(false, SeqCst);
    gate.clock.pass(31);
    let claims = site.claims_with(&json!({"exp": BEGIN + 1_000_000}));
    assert_eq!(gate.status(&sign(&never, &claims)).await, 401);
}

#[tokio::test]
async fn issuer_that_was_never_reached_is_no_reason_to_refuse_for_good() {
    let pair = rsa_pair("k", 0);
    let site = Site::serve(&[&pair]).await;
    let gate = Gate::of(&site);
    let token = sign(&pair, &site.claims());
    site.down.store(true, SeqCst);
    assert_eq!(gate.status(&token).await, 503);
    site.down.store(false, SeqCst);
    assert_eq!(gate.status(&token).await, 503, "it was asked a moment ago");
    gate.clock.pass(5);
    assert_eq!(gate.status(&token).await, 200);

    let closed = Site {
        url: "http://127.0.0.1:1/oidc".to_owned(),
        ..Site::default()
    };
    assert_eq!(
        Gate::of(&closed).status(&sign(&pair, &closed.claims())).await,
        503
    );
}

#[tokio::test]
async fn keys_are_renewed_behind_the_back_of_who_uses_them() {
    let (pair, other) = (rsa_pair("k", 0), ec_pair("other"));
    let site = Site::serve(&[&pair]).await;
    let gate = Gate::of(&site);
    let claims = |jti: &str| site.claims_with(&json!({"exp": BEGIN + 1_000_000, "jti": jti}));
    assert_eq!(gate.status(&sign(&pair, &claims("a"))).await, 200);
    gate.clock.pass(3600);
    assert_eq!(gate.status(&sign(&pair, &claims("b"))).await, 200);
    until(|| site.fetches() == 2).await;
    // After a long rest a key that was withdrawn must not serve once more.
    gate.clock.pass(7200);
    site.publish(&[&other]);
    assert_eq!(gate.status(&sign(&pair, &claims("c"))).await, 401);
}

#[tokio::test]
async fn yes_is_remembered_for_a_minute_but_never_beyond_the_token() {
    let pair = rsa_pair("k", 0);
    let site = Site::serve(&[&pair]).await;
    let gate = Gate::of(&site);
    let (long, short) = (
        sign(&pair, &site.claims()),
        sign(&pair, &site.claims_with(&json!({"exp": BEGIN + 10}))),
    );
    assert_eq!((gate.status(&long).await, gate.status(&short).await), (200, 200));
    site.publish(&[&ec_pair("other")]);
    gate.clock.pass(59);
    // Any unknown key makes the keys new.
    assert_eq!(gate.status(&sign(&rsa_pair("x", 1), &site.claims())).await, 401);
    assert_eq!(gate.status(&long).await, 200, "remembered");
    assert_eq!(gate.status(&short).await, 401, "it ended while it was remembered");
    gate.clock.pass(1);
    assert_eq!(gate.status(&long).await, 401);
}

#[tokio::test]
async fn issuer_that_answers_nonsense_or_leads_elsewhere_is_not_followed() {
    let pair = rsa_pair("k", 0);
    let elsewhere = Site::serve(&[&pair]).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (moved, lies) = (elsewhere.url.clone(), elsewhere.url.clone());
    let plain = url.clone();
    let discovery = "/.well-known/openid-configuration";
    let router = Router::new()
        .route(
            &format!("/moved{discovery}"),
            get(move || async move { axum::response::Redirect::temporary(&format!("{moved}{discovery}")) }),
        )
        .route(
            &format!("/lies{discovery}"),
            get(move || async move { Json(json!({"issuer": lies, "jwks_uri": format!("{lies}/jwks")})) }),
        )
        .route(
            &format!("/plain{discovery}"),
            get(move || async move {
                Json(json!({"issuer": format!("{plain}/plain"), "jwks_uri": "http://192.0.2.1/jwks"}))
            }),
        )
        .route(
            &format!("/long{discovery}"),
            get(|| async { " ".repeat(2 * 1024 * 1024) }),
        )
        .route(
            &format!("/html{discovery}"),
            get(|| async { "<html>log in</html>" }),
        );
    tokio::spawn(async move { axum::serve(listener, router).await });
    for way in ["moved", "lies", "plain", "long", "html", "absent"] {
        let site = Site {
            url: format!("{url}/{way}"),
            ..Site::default()
        };
        let gate = Gate::of(&site);
        let mut claims = elsewhere.claims();
        claims["iss"] = json!(site.url);
        assert_eq!(gate.status(&sign(&pair, &claims)).await, 503, "{way}");
    }
    assert_eq!(elsewhere.fetches(), 0);
}
