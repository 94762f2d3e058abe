//! How keys are fetched, renewed and kept.

use std::sync::atomic::Ordering::SeqCst;

use axum::{Json, Router, routing::get};
use bellwether::clock::Clock;
use serde_json::json;

use super::site::*;

#[tokio::test]
async fn unknown_key_makes_one_fetch_in_a_while_however_many_ask() {
    let (old, new, never) = (rsa_pair("old", 0), rsa_pair("new", 1), ec_pair("never"));
    let site = Site::serve(&[&old]).await;
    let gate = Gate::of(&site);
    let tokens = async |pair| {
        let token = sign(pair, &site.claims());
        futures::future::join_all((0..50).map(|_| gate.status(&token))).await
    };
    assert_eq!(tokens(&old).await, [200; 50]);
    assert_eq!((site.fetches(), site.most_under_way.load(SeqCst)), (1, 1));

    assert_eq!(tokens(&never).await, [503; 50], "the key may be a new one");
    assert_eq!(site.fetches(), 1, "it was asked a moment ago");
    gate.clock.pass(10);
    site.publish(&[&old, &new]);
    assert_eq!(tokens(&never).await, [401; 50]);
    assert_eq!(site.fetches(), 2);
    assert_eq!(tokens(&new).await, [200; 50], "the fetch for another brought it");
    assert_eq!(site.fetches(), 2);

    gate.clock.pass(61);
    site.publish(&[&new]);
    assert_eq!(tokens(&never).await, [401; 50]);
    assert_eq!(site.fetches(), 3);
    gate.clock.pass(10);
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
    gate.clock.pass(11);
    site.publish(&[&new]);
    assert_eq!(gate.status(&sign(&new, &site.claims())).await, 200);
    assert_eq!(site.fetches(), 2);
}

/// As a Jenkins does that makes a new key: the name stays.
#[tokio::test]
async fn key_that_is_exchanged_under_its_name_locks_nobody_out() {
    let (old, new) = (rsa_pair("k", 0), rsa_pair("k", 1));
    let site = Site::serve(&[&old]).await;
    let gate = Gate::of(&site);
    assert_eq!(gate.status(&sign(&old, &site.claims())).await, 200);
    site.publish(&[&new]);
    let problem = gate.admit(&sign(&new, &site.claims())).await.unwrap_err();
    assert_eq!(
        (problem.status, problem.retry_after),
        (503, Some(11)),
        "it was asked a moment ago"
    );
    gate.clock.pass(10);
    assert_eq!(gate.status(&sign(&new, &site.claims())).await, 200);
    let withdrawn = site.claims_with(&json!({"jti": "another"}));
    assert_eq!(gate.refusal(&sign(&old, &withdrawn)).await, 401);
}

/// A stranger cannot spend the try that a new key needs.
#[tokio::test]
async fn unknown_key_within_the_pause_of_a_strangers_is_not_refused_for_good() {
    let (old, new, stranger) = (rsa_pair("old", 0), rsa_pair("new", 1), ec_pair("never"));
    let site = Site::serve(&[&old]).await;
    let gate = Gate::of(&site);
    assert_eq!(gate.status(&sign(&old, &site.claims())).await, 200);
    gate.clock.pass(11);
    assert_eq!(gate.status(&sign(&stranger, &site.claims())).await, 401);
    site.publish(&[&old, &new]);
    assert_eq!(gate.status(&sign(&new, &site.claims())).await, 503);
    gate.clock.pass(10);
    assert_eq!(gate.status(&sign(&new, &site.claims())).await, 200);
}

#[tokio::test]
async fn tokens_without_a_key_name_and_two_keys_of_one_name_are_verified() {
    let (first, second) = (rsa_pair("k", 0), rsa_pair("k", 1));
    let site = Site::serve(&[&first, &second]).await;
    let gate = Gate::of(&site);
    for pair in [&first, &second] {
        assert_eq!(gate.status(&sign(pair, &site.claims())).await, 200);
        let header = jsonwebtoken::Header::new(pair.algorithm);
        let nameless = jsonwebtoken::encode(&header, &site.claims(), &pair.signs).unwrap();
        assert_eq!(gate.status(&nameless).await, 200);
    }
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
    let claims = site.claims_with(&json!({"exp": BEGIN + 1_000_000}));
    assert_eq!(
        gate.status(&sign(&never, &claims)).await,
        503,
        "nobody knows whether the key is good"
    );
    site.down.store(false, SeqCst);
    gate.clock.pass(31);
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
