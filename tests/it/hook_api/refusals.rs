//! Who may, and what is refused.

use super::*;

fn unusual(method: &'static str, path: &str) -> Call {
    Call { method, ..get(path) }
}

#[test]
fn nobody_unknown_writes_and_nobody_does_what_they_may_not() {
    run(async {
        let cluster = under_canary(8).await;
        let api = api(&cluster);
        for (token, expected) in [
            (None, StatusCode::UNAUTHORIZED),
            (Some("stranger"), StatusCode::UNAUTHORIZED),
            (Some("reader"), StatusCode::FORBIDDEN),
        ] {
            let call = Call {
                token,
                ..promote("key", "shop:good-2")
            };
            let (status, problem) = send(&api, call).await;
            assert_eq!(status, expected, "{token:?}: {problem}");
        }
        let call = Call {
            path: "/v1/namespaces/other/canaries/shop".to_owned(),
            ..get("")
        };
        assert_eq!(send(&api, call).await.0, StatusCode::FORBIDDEN);
        let call = Call {
            token: Some("reader"),
            ..get("canaries/shop")
        };
        assert_eq!(send(&api, call).await.0, StatusCode::OK);
        let promotions = cluster
            .server
            .read(|store| store.all().filter(|(key, _)| key.kind == Kind::PROMOTION).count());
        assert_eq!(promotions, 0);
    });
}

#[test]
fn nonsense_is_refused_and_says_what_would_be_right() {
    run(async {
        let cluster = under_canary(9).await;
        let api = api(&cluster);
        let with = |body: Value| Call {
            body: body.to_string(),
            ..promote("nonsense", "")
        };
        let cases = [
            (with(json!({"imgae": "shop:good-2"})), 400, "imgae"),
            (with(json!({})), 400, "exactly one of image"),
            (
                with(json!({"image": "a", "images": {"app": "b"}})),
                400,
                "exactly one of image",
            ),
            (with(json!({"image": 7})), 400, "image"),
            (
                with(json!({"image": "a", "policy": {"conflict": "maybe"}})),
                400,
                "maybe",
            ),
            (
                with(json!({"image": "a", "policy": {"deadlineSeconds": 1}})),
                400,
                "deadlineSeconds",
            ),
            (
                with(json!({"image": "a", "requester": {"authenticatedAs": "root"}})),
                400,
                "authenticatedAs",
            ),
            (
                Call {
                    key: None,
                    ..promote("", "shop:good-2")
                },
                400,
                "Idempotency-Key",
            ),
            (promote(&"k".repeat(201), "shop:good-2"), 400, "Idempotency-Key"),
            (
                Call {
                    body: "x".repeat(300 * 1024),
                    ..promote("long", "")
                },
                413,
                "bytes",
            ),
            (
                Call {
                    key: Some("k".to_owned()),
                    ..post("canaries/none/promotions", &json!({"image": "a"}))
                },
                404,
                "no Canary",
            ),
            (get("promotions/p-none"), 404, "no promotion"),
            (get("promotions/p-none?waitSeconds=26"), 400, "waitSeconds"),
            (get("promotions/p-none?waitseconds=2"), 400, "waitseconds"),
            (get("promotions/p-none/log?start=-1"), 400, "start"),
            (get("commands/c-none?waitSeconds=1"), 404, "no command"),
            (get("approvals/a-none"), 404, "no approval"),
            (get("commands/c-none?waitSeconds=26"), 400, "waitSeconds"),
            (get("commands/c-none?afterSeq=2"), 400, "afterSeq"),
            (get("approvals/..%2f..%2fx"), 404, "no approval"),
            (get("promotions/..%2f..%2fx"), 404, "no promotion"),
            (get("elsewhere"), 404, "openapi"),
            (
                post("canaries/shop/undo", &json!({"revision": "0000000"})),
                400,
                "revision",
            ),
            (
                post("canaries/shop/retry", &json!({"revision": "0".repeat(65)})),
                400,
                "revision",
            ),
            (get("promotions/%FF"), 400, "path"),
            (get("promotions/%FF/log"), 400, "path"),
            (post("canaries/%ff%fe/promotions", &json!({})), 400, "path"),
            (get("promotions/%zz"), 404, "no promotion"),
            (get("promotions/p-none?waitSeconds=%FF"), 400, "waitSeconds"),
            (get("promotions/p-none?waitSeconds=-1"), 400, "waitSeconds"),
            (get("promotions/p-none/"), 404, "openapi"),
            (unusual("DELETE", "promotions/p-none"), 405, "method"),
            (unusual("OPTIONS", "promotions/p-none"), 405, "method"),
            (unusual("TRACE", "canaries/shop/undo"), 405, "method"),
            (unusual("BREW", "canaries/shop/undo"), 405, "method"),
            (unusual("HEAD", "canaries/shop/undo"), 405, ""),
            (unusual("HEAD", "elsewhere"), 404, ""),
            (post("canaries/shop", &json!({})), 405, "method"),
        ];
        for (call, expected, named) in cases {
            let (method, path) = (call.method, call.path.clone());
            let response = respond(&api, call).await;
            let status = response.status().as_u16();
            let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
            let text = text(response).await;
            assert_eq!(status, expected, "{method} {path}: {text}");
            assert_eq!(kind, "application/problem+json; charset=utf-8", "{method} {path}");
            assert!(text.contains(named), "{method} {path}: {named} is not in {text}");
        }
        let promotions = cluster
            .server
            .read(|store| store.all().filter(|(key, _)| key.kind == Kind::PROMOTION).count());
        assert_eq!(promotions, 0);
    });
}
