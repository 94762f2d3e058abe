//! Commands by the hook API.

use bellwether::sim::{api_server::Kind, cluster::SimCluster};
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{
    await_gate, await_weight, bellwether, cluster::kubeconfig, hooked, log_of, ran, run, under_hook,
};
use crate::shared::shop::{NS, await_phase, key};

#[test]
fn promotion_over_the_hook_api_ends_with_its_code_and_every_line_once() {
    run(async {
        let (cluster, url) = under_hook(31).await;
        let promote = |image, key| {
            let flags = ["promote", "shop", "--image", image, "--wait", "--key", key];
            hooked(&url, &flags)
        };
        let good = ran(promote("shop:good-2", "build-1")).await.expect(0);
        let (first, log) = good.out.split_once('\n').unwrap();
        let id = first.split(' ').nth(1).unwrap();
        assert_eq!(log, log_of(&cluster, id));
        assert!(log.contains("weight 50 %") && log.contains("Promoted"), "{log}");

        let again = ran(promote("shop:good-2", "build-1")).await.expect(0);
        assert_eq!(again.out, good.out, "the same key is the same promotion");
        let waited = ran(hooked(&url, &["wait", id, "-o", "json"])).await.expect(0);
        assert_eq!(waited.json()["id"], id);
        let reused = ran(promote("shop:good-3", "build-1")).await.expect(2);
        assert!(
            reused.out.is_empty() && reused.err.contains("Idempotency-Key"),
            "{reused:#?}"
        );

        let mut bad = promote("shop:errors60-1", "build-2");
        bad.args(["--output", "json"]);
        let state = ran(bad).await.expect(3).json();
        assert_eq!(
            (&state["result"], &state["exitCode"]),
            (&json!("RolledBack"), &json!(3))
        );
        let shown = ran(hooked(&url, &["get", "shop", "-o", "json"])).await.expect(3);
        assert_eq!(shown.json()["phase"], "Failed");
        let shown = ran(hooked(&url, &["get", "shop", "-o", "wide"])).await.expect(3);
        assert!(
            shown.out.contains("Failed") && shown.out.contains("REVISION"),
            "{shown:#?}"
        );
    });
}

#[test]
fn aborted_promotion_ends_with_5_and_says_who_and_why() {
    run(async {
        let (cluster, url) = under_hook(32).await;
        let promote = ["promote", "shop", "--image", "shop:good-2", "--wait"];
        let waiting = tokio::spawn(ran(hooked(&url, &promote)));
        await_weight(&cluster, 10).await;
        let other = ["promote", "shop", "--image", "shop:good-3"];
        let refused = ran(hooked(&url, &other)).await.expect(8);
        assert!(refused.err.contains("not over"), "{refused:#?}");
        let pause = ran(hooked(&url, &["pause", "shop", "-o", "json"]))
            .await
            .expect(0)
            .json();
        assert_eq!(
            (&pause["verb"], &pause["outcome"]),
            (&json!("Pause"), &json!("done"))
        );
        ran(hooked(&url, &["resume", "shop"])).await.expect(0);
        let other = ["abort", "shop", "--revision", "deadbeef00"];
        let meant = ran(hooked(&url, &other)).await.expect(2);
        assert!(meant.err.contains("by now"), "{meant:#?}");
        let abort = ran(hooked(&url, &["abort", "shop", "--reason", "wrong branch"])).await;
        let told = abort.expect(0).out;
        assert!(
            told.starts_with("Abort of promotion p-") && told.ends_with(": done\n"),
            "{told}"
        );
        let ended = waiting.await.unwrap().expect(5);
        assert!(ended.out.contains("wrong branch"), "{ended:#?}");
        let nothing = ran(hooked(&url, &["abort", "shop"])).await.expect(1);
        assert!(nothing.err.contains("no promotion"), "{nothing:#?}");
    });
}

#[test]
fn undo_and_retry_over_the_hook_api_name_the_revision_that_is_meant() {
    run(async {
        let (cluster, url) = under_hook(33).await;
        let promote = ["promote", "shop", "--image", "shop:good-2", "--wait"];
        ran(hooked(&url, &promote)).await.expect(0);
        ran(hooked(&url, &["undo", "shop", "--reason", "customers complain"]))
            .await
            .expect(0);
        await_phase(&cluster, "Failed", 120).await;
        ran(hooked(&url, &["retry", "shop"])).await.expect(0);
        await_phase(&cluster, "Succeeded", 300).await;
        let past = ran(hooked(&url, &["history", "shop", "-o", "json"]))
            .await
            .expect(0)
            .json();
        let outcomes: Vec<_> = past
            .as_array()
            .unwrap()
            .iter()
            .map(|past| &past["outcome"])
            .collect();
        assert_eq!(outcomes, [&json!("Promoted"), &json!("Promoted")]);
    });
}

#[test]
fn what_cannot_be_is_told_on_standard_error_with_its_code() {
    run(async {
        let (_cluster, url) = under_hook(34).await;
        let mut stranger = hooked(&url, &["get", "shop"]);
        stranger.env("BELLWETHER_TOKEN", "stranger");
        let mut nobody = hooked(&url, &["get", "shop"]);
        nobody.env_remove("BELLWETHER_TOKEN");
        let mut lost = hooked(&url, &["get", "shop", "--token-file", "/none/such"]);
        lost.env_remove("BELLWETHER_TOKEN");
        let mut nowhere = bellwether(&["get", "shop"]);
        nowhere
            .env("BELLWETHER_URL", &url)
            .env("BELLWETHER_TOKEN", "good");
        let mut reader = hooked(&url, &["promote", "shop", "--image", "shop:good-2"]);
        reader.env("BELLWETHER_TOKEN", "reader");
        let cases = [
            (stranger, 1, "nobody is known"),
            (nobody, 2, "BELLWETHER_TOKEN"),
            (lost, 2, "/none/such"),
            (nowhere, 2, "--namespace"),
            (reader, 1, "may not"),
            (hooked(&url, &["get"]), 2, "name it"),
            (hooked(&url, &["get", "none"]), 1, "no Canary"),
            (hooked(&url, &["wait", "p-none"]), 1, "no promotion"),
            (
                hooked(&url, &["promote", "shop", "--image", "a=b:1", "--image", "c:1"]),
                2,
                "name its container",
            ),
            (
                hooked(&url, &["get", "--hook", "ftp://x", "shop"]),
                2,
                "https://HOST",
            ),
            (
                hooked(&url, &["get", "--hook", "https://mia:pw@x", "shop"]),
                2,
                "--hook",
            ),
            (
                hooked(&url, &["get", "--hook", "http://x", "--context", "y"]),
                2,
                "--context",
            ),
            (hooked(&url, &["unknown"]), 2, "Usage"),
        ];
        for (command, code, named) in cases {
            let shown = format!("{command:?}");
            let ran = ran(command).await.expect(code);
            assert!(ran.out.is_empty() && ran.err.contains(named), "{shown}: {ran:#?}");
        }
    });
}

#[test]
fn order_that_is_refused_says_why_and_ends_with_2() {
    run(async {
        let (cluster, url) = under_hook(42).await;
        let gates = json!([{"name": "end", "at": "pre-rollout", "approval": {"notByRequester": true}}]);
        let gates = json!({"spec": {"analysis": {"gates": gates}}});
        cluster.merge(&key(Kind::CANARY), gates).unwrap();
        let promote = ["promote", "shop", "--image", "shop:good-2"];
        ran(hooked(&url, &promote)).await.expect(0);
        await_gate(&cluster, "end").await;
        let approve = ["approve", "shop", "--gate", "end"];
        let own = ran(hooked(&url, &approve)).await.expect(2);
        let told = own.out.strip_prefix("Approve of promotion p-").unwrap();
        assert!(
            told.contains(": refused: good asked for this release"),
            "{own:#?}"
        );
        let undo = ran(hooked(&url, &["undo", "shop", "-o", "json"])).await.expect(2);
        let outcome = undo.json()["outcome"].as_str().unwrap().to_owned();
        assert!(
            outcome.starts_with("refused: a release is under way"),
            "{outcome}"
        );

        let mut blind = hooked(&url, &[&approve[..], &["--promotion", &id_of(&cluster)]].concat());
        blind.env("BELLWETHER_TOKEN", "orderer");
        let blind = ran(blind).await.expect(1);
        assert!(
            blind.out.is_empty()
                && blind.err.contains("its answer cannot be seen")
                && blind.err.contains("may not get approvals"),
            "{blind:#?}"
        );
    });
}

/// Name of the only Promotion.
fn id_of(cluster: &SimCluster) -> String {
    cluster.server.read(|store| {
        let mut all = store.all().filter(|(key, _)| key.kind == Kind::PROMOTION);
        all.next().unwrap().0.name.clone()
    })
}

#[test]
fn order_that_names_no_promotion_is_never_about_one_that_does_not_run() {
    run(async {
        let (_cluster, url) = under_hook(40).await;
        let promote = [
            "promote",
            "shop",
            "--image",
            "shop:good-2",
            "--await",
            "-o",
            "json",
        ];
        let made = ran(hooked(&url, &promote)).await.expect(0).json();
        let id = made["id"].as_str().unwrap();
        let none = ran(hooked(&url, &["abort", "shop"])).await.expect(1);
        let told = none.err.contains(id) && none.err.contains("--promotion");
        assert!(none.out.is_empty() && told, "{none:#?}");
        let named = ["abort", "shop", "--promotion", id];
        ran(hooked(&url, &named)).await.expect(0);
        ran(hooked(&url, &["wait", id])).await.expect(5);
    });
}

#[test]
fn gate_of_a_release_that_no_promotion_started_is_decided_over_the_hook_api() {
    run(async {
        let (cluster, url) = under_hook(41).await;
        let gates = json!([
            {"name": "smoke", "at": "pre-rollout", "approval": {}},
            {"name": "end", "at": "confirm-promotion", "approval": {}},
        ]);
        let gates = json!({"spec": {"analysis": {"gates": gates}}});
        cluster.merge(&key(Kind::CANARY), gates).unwrap();
        cluster.ship(NS, "shop", "shop:good-2").unwrap();
        await_gate(&cluster, "smoke").await;
        let other = ["approve", "shop", "--gate", "smoke", "--revision", "deadbeef00"];
        let meant = ran(hooked(&url, &other)).await.expect(2);
        assert!(meant.err.contains("by now"), "{meant:#?}");
        let approve = ["approve", "shop", "--gate", "smoke", "-o", "json"];
        let approved = ran(hooked(&url, &approve)).await.expect(0).json();
        let revision = cluster.get(&key(Kind::CANARY)).unwrap()["status"]["revision"]["current"].clone();
        assert_eq!(
            (
                &approved["outcome"],
                &approved["revision"],
                &approved["promotion"]
            ),
            (&json!("done"), &revision, &Value::Null)
        );
        await_gate(&cluster, "end").await;
        let reject = ["reject", "shop", "--gate", "end", "--reason", "ugly"];
        ran(hooked(&url, &reject)).await.expect(0);
        await_phase(&cluster, "Failed", 120).await;
        let canary = cluster.get(&key(Kind::CANARY)).unwrap();
        assert!(
            canary["status"]
                .to_string()
                .contains("gate end was not passed by good: ugly"),
            "{canary:#}"
        );
    });
}

/// A text without what stands in parentheses: there are the durations, and each command has a clock of its own.
fn lasting(text: &str) -> String {
    let parts = text.split('(').enumerate();
    parts
        .map(|(n, part)| match part.split_once(')') {
            Some((_, rest)) if n > 0 => rest,
            _ => part,
        })
        .collect()
}

#[test]
fn explanation_over_the_hook_api_is_that_of_the_cluster() {
    run(async {
        let (cluster, url) = under_hook(42).await;
        let mia = kubeconfig(&cluster, Some("oidc:mia")).await;
        cluster.ship(NS, "shop", "shop:good-2").unwrap();
        await_weight(&cluster, 30).await;
        mia.run(&["pause", "shop", "--reason", "lunch"]).await.expect(0);
        // Nothing of it changes any more.
        let suspend = json!({"spec": {"suspend": true}});
        cluster.merge(&key(Kind::CANARY), suspend).unwrap();
        let held = |canary: &Value| canary["status"]["hold"]["reason"] == "Suspended";
        let canary = key(Kind::CANARY);
        assert!(cluster.wait(&canary, TimeDelta::seconds(60), held).await);
        for form in ["json", "yaml", "text", "wide"] {
            let explain = ["explain", "shop", "-o", form];
            let here = mia.run(&explain).await.expect(4).out;
            let there = ran(hooked(&url, &explain)).await.expect(4).out;
            assert!(
                here.contains("lunch") && here.contains("request-success-rate"),
                "{here}"
            );
            if ["json", "yaml"].contains(&form) {
                assert_eq!(there, here);
            } else {
                assert!(lasting(&here).contains("held       Suspended since"), "{here}");
                assert_eq!(lasting(&there), lasting(&here));
            }
        }
        let none = ["explain", "none"];
        for ran in [mia.run(&none).await, ran(hooked(&url, &none)).await] {
            let ran = ran.expect(1);
            assert!(
                ran.out.is_empty() && ran.err.contains("no Canary shop/none"),
                "{ran:#?}"
            );
        }
        let go_on = json!({"spec": {"suspend": false}});
        cluster.merge(&canary, go_on).unwrap();
        mia.run(&["abort", "shop"]).await.expect(0);
        await_phase(&cluster, "Failed", 120).await;
        let told = ran(hooked(&url, &["explain", "shop"])).await.expect(3);
        assert!(told.out.contains("bellwether retry shop"), "{told:#?}");
    });
}
