//! Which tokens are good, and whom they name.

use bellwether::hook_api::oidc::IssuerConfig;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rsa::pkcs1::EncodeRsaPublicKey;
use serde_json::{Value, json};

use super::site::*;

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
        required_claims: Default::default(),
        actor_claims: Vec::new(),
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
async fn build_of_another_branch_or_environment_is_refused_and_its_actor_is_known() {
    let pair = rsa_pair("k", 0);
    let site = Site::serve(&[&pair]).await;
    let wanted = r#"{"ref_protected": true, "environment": ["production", "staging"]}"#;
    let gate = Gate::with(IssuerConfig {
        name: "gitlab".to_owned(),
        issuer: site.url.clone(),
        audience: "bellwether".to_owned(),
        jwks_uri: Some(format!("{}/jwks", site.url)),
        ca_file: None,
        user_claim: "sub".to_owned(),
        jenkins_url: None,
        required_claims: serde_json::from_str(wanted).unwrap(),
        actor_claims: vec!["user_login".to_owned()],
    });
    for (with, named) in [
        (
            json!({"ref_protected": "true"}),
            "environment is not production or staging",
        ),
        (
            json!({"ref_protected": "false", "environment": "production"}),
            "ref_protected is not true",
        ),
        (
            json!({"ref_protected": true, "environment": "test"}),
            "environment",
        ),
        (
            json!({"ref_protected": {"true": true}, "environment": "production"}),
            "ref_protected",
        ),
    ] {
        let problem = gate
            .admit(&sign(&pair, &site.claims_with(&with)))
            .await
            .unwrap_err();
        assert_eq!(problem.status, 401, "{with}");
        assert!(problem.detail.contains(named), "{with}: {}", problem.detail);
    }
    let claims = json!({"ref_protected": "true", "environment": ["x", "staging"], "user_login": "mia"});
    let user = gate
        .admit(&sign(&pair, &site.claims_with(&claims)))
        .await
        .unwrap();
    assert_eq!(user.actors, ["mia", "gitlab:mia"]);
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
        gate.refusal(&sign(&stranger, &claims)).await,
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
        assert_eq!(gate.refusal(&format!("{head}.{body}.{signature}")).await, 401);
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
        assert_eq!(gate.refusal(&sign(&forged, &claims)).await, 401);
    }

    let pss = Pair {
        algorithm: Algorithm::PS256,
        ..rsa_pair("k", 0)
    };
    assert_eq!(
        gate.refusal(&sign(&pss, &claims)).await,
        401,
        "the issuer's key is for RS256"
    );
    let swapped = Pair {
        id: "e",
        ..rsa_pair("k", 0)
    };
    assert_eq!(
        gate.refusal(&sign(&swapped, &claims)).await,
        401,
        "the name of another key"
    );
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let other = base64(site.claims_with(&json!({"sub": "root"})).to_string().as_bytes());
    let header = signed.split('.').next().unwrap();
    assert_eq!(
        gate.refusal(&format!("{header}.{other}.{signature}")).await,
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
async fn long_token_of_a_listed_issuer_goes_no_other_way() {
    let (pair, stranger) = (rsa_pair("k", 0), rsa_pair("k", 1));
    let site = Site::serve(&[&pair]).await;
    let gate = Gate::of(&site);
    let claims = site.claims_with(&json!({"groups": "x".repeat(20_000)}));
    assert_eq!(gate.status(&sign(&pair, &claims)).await, 200);
    assert_eq!(gate.refusal(&sign(&stranger, &claims)).await, 401);
    assert!(gate.book.tokens.lock().unwrap().is_empty());
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
    assert_ne!(gate.status(&short).await, 200, "it ended while it was remembered");
    gate.clock.pass(1);
    assert_eq!(gate.refusal(&long).await, 401);
}
