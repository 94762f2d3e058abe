//! Notes that a client is there.

use super::*;

#[test]
fn client_that_asks_keeps_its_release_and_one_that_falls_silent_loses_it() {
    run(async {
        let cluster = under_canary(11).await;
        let slow = json!({"spec": {"analysis": {"interval": "3m"}}});
        cluster.merge(&key(Kind::CANARY), slow).unwrap();
        let api = api(&cluster);
        let body = json!({"image": "shop:good-2",
            "policy": {"onClientLost": "rollback", "clientLostSeconds": 60}});
        let call = Call {
            key: Some("watched".to_owned()),
            ..post("canaries/shop/promotions", &body)
        };
        let (status, made) = send(&api, call).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        let id = made["id"].as_str().unwrap();
        for _ in 0..6 {
            cluster.pass(TimeDelta::seconds(40)).await;
            let (_, state) = send(&api, get(format!("promotions/{id}"))).await;
            assert_eq!(state["finished"], false, "{state}");
        }
        cluster.pass(TimeDelta::seconds(100)).await;
        let promotion = cluster.get(&Key::new(Kind::PROMOTION, NS, id)).unwrap();
        assert_eq!(promotion["status"]["phase"], "Aborted", "{promotion}");
        let message = promotion["status"]["message"].as_str().unwrap();
        assert!(message.contains("its client is lost"), "{message}");
    });
}

/// Counts what is patched of promotions, whatever becomes of it.
#[derive(Clone, Default)]
struct Patches(Arc<AtomicUsize>);

impl Witness for Patches {
    fn saw(&mut self, _: &Change, _: &Store) {}

    fn asked(&mut self, _: &'static str, verb: Verb, kind: Kind, _: &Store) {
        let patch = verb == Verb::Patch && kind == Kind::PROMOTION;
        self.0.fetch_add(usize::from(patch), Ordering::SeqCst);
    }
}

#[test]
fn clients_of_one_promotion_are_noted_once_and_only_on_what_is_known_of_it() {
    run(async {
        let cluster = under_canary(13).await;
        let api = api(&cluster);
        let body = json!({"image": "shop:good-2", "policy": {"onClientLost": "rollback"}});
        let call = Call {
            key: Some("watched".to_owned()),
            ..post("canaries/shop/promotions", &body)
        };
        let (_, made) = send(&api, call).await;
        let id = made["id"].as_str().unwrap().to_owned();
        let promotion = Key::new(Kind::PROMOTION, NS, &id);
        let seen = |object: &Value| {
            let seen = &object["metadata"]["annotations"]["bellwether.dev/client-seen-at"];
            seen.as_str().map(str::to_owned)
        };
        // Nothing else is written meanwhile.
        cluster
            .merge(
                &key(Kind::CANARY),
                json!({"spec": {"analysis": {"interval": "3m"}}}),
            )
            .unwrap();
        cluster.pass(TimeDelta::seconds(30)).await;
        cluster
            .merge(&promotion, json!({"metadata": {"labels": {"known": "late"}}}))
            .unwrap();
        // The watch has not told it yet.
        send(&api, get(format!("promotions/{id}"))).await;
        cluster.pass(TimeDelta::seconds(4)).await;
        assert_eq!(seen(&cluster.get(&promotion).unwrap()), None);

        cluster.pass(TimeDelta::seconds(2)).await;
        let patches = Patches::default();
        cluster.server.add_witness(Box::new(patches.clone()));
        for _ in 0..50 {
            send(&api, get(format!("promotions/{id}"))).await;
        }
        cluster.pass(TimeDelta::milliseconds(100)).await;
        for _ in 0..50 {
            send(&api, get(format!("promotions/{id}/log"))).await;
        }
        cluster.pass(TimeDelta::seconds(10)).await;
        assert!(seen(&cluster.get(&promotion).unwrap()).is_some());
        assert_eq!(patches.0.load(Ordering::SeqCst), 1);
    });
}
