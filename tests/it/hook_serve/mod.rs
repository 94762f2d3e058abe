//! Connections of the hook API: limits, TLS, and the end of the process, on real sockets.

mod tls; // the same over TLS

use std::{
    sync::{Arc, Mutex, Once},
    time::Duration,
};

use bellwether::{
    hook_api::Limits,
    reconcile::{index::Part, kinds::Kind},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    shared::shop::NS,
    shared::site::{Client, SOON, Site, request, run},
};

const SHORT: Duration = Duration::from_millis(100);
const LIVES: &str = "GET /healthz HTTP/1.1\r\nHost: hook\r\n\r\n";

async fn is_closed(client: &mut Client) {
    assert!(
        client.answer().await.is_none_or(|answer| answer.status == 408),
        "it answers"
    );
}

/// Waits until somebody is served: the places of those who went are free as soon as the server has seen that.
async fn serves_again(site: &Site) {
    let served = async {
        loop {
            let mut client = site.connect().await;
            let _ = client.0.write_all(LIVES.as_bytes()).await;
            if client.answer().await.is_some() {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, served).await.unwrap();
}

#[test]
fn connections_beyond_the_limit_are_closed_and_hurt_nobody_who_waits() {
    run(async {
        let site = Site::serve(Limits {
            connections: 3,
            ..Limits::default()
        })
        .await;
        site.tell("p-1", 1, "first");
        let mut waiting = [
            site.waiting("p-1").await,
            site.waiting("p-1").await,
            site.waiting("p-1").await,
        ];
        site.until_waiting("p-1", 3).await;
        for _ in 0..50 {
            let mut refused = site.connect().await;
            let _ = refused.0.write_all(LIVES.as_bytes()).await;
            assert!(refused.answer().await.is_none());
        }
        site.tell("p-1", 1_000_001, "second");
        for client in &mut waiting {
            let answer = client.answer().await.unwrap();
            assert_eq!((answer.status, &answer.body["message"]), (200, &json!("second")));
        }
        drop(waiting);
        // Their places are free as soon as the server has seen that they went.
        serves_again(&site).await;
    });
}

/// What this thread logs while it is kept.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        std::io::Write::write(&mut *self.0.lock().unwrap(), bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn keep(&self) -> tracing::subscriber::DefaultGuard {
        // Whoever logs at the same line in another thread, where nobody listens, would switch the line off for all: so somebody
        // listens everywhere.
        static LISTENER: Once = Once::new();
        LISTENER.call_once(|| {
            let nowhere = tracing_subscriber::fmt().with_writer(std::io::sink);
            let _set = tracing::subscriber::set_global_default(nowhere.finish());
        });
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || log.clone());
        tracing::subscriber::set_default(subscriber.finish())
    }

    fn lines(&self, text: &str) -> usize {
        let log = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        log.lines().filter(|line| line.contains(text)).count()
    }
}

#[test]
fn connections_beyond_the_limit_are_logged_but_fill_no_log() {
    run(async {
        let log = Log::default();
        let _kept = log.keep();
        let full = Site::serve(Limits {
            connections: 0,
            ..Limits::default()
        })
        .await;
        for _ in 0..50 {
            assert!(full.connect().await.answer().await.is_none());
        }
        assert_eq!(log.lines("no room for another connection"), 1);
    });
}

#[test]
fn client_that_goes_gives_its_place_back() {
    run(async {
        let site = Site::serve(Limits::default()).await;
        site.tell("p-1", 1, "first");
        let waiting = [site.waiting("p-1").await, site.waiting("p-1").await];
        site.until_waiting("p-1", 2).await;
        drop(waiting);
        site.until_waiting("p-1", 0).await;
    });
}

#[test]
fn whoever_waits_for_what_goes_or_ends_is_told() {
    run(async {
        let site = Site::serve(Limits::default()).await;
        let cache = &site.ctx().cache;
        let part = |id: &str| Part {
            kind: Kind::Promotion,
            namespace: NS.to_owned(),
            name: id.to_owned(),
        };
        let mut clients = Vec::new();
        for id in ["p-removed", "p-unlisted", "p-over"] {
            site.tell(id, 1, "first");
            clients.push(site.waiting(id).await);
            site.until_waiting(id, 1).await;
        }
        let of = |id: &str| cache.get(&part(id)).unwrap();
        assert!(cache.remove(Kind::Promotion, &of("p-removed")));
        assert_eq!(clients[0].answer().await.unwrap().status, 404);
        cache.begin_list(Kind::Promotion, Vec::new());
        cache.put(Kind::Promotion, (*of("p-over")).clone());
        assert_eq!(cache.end_list(Kind::Promotion).len(), 1);
        assert_eq!(clients[1].answer().await.unwrap().status, 404);
        // Its number is below the one that is waited for.
        let mut over = (*of("p-over")).clone();
        over["metadata"]["resourceVersion"] = json!("2000000000");
        over["status"] = json!({"phase": "Promoted", "seq": 2});
        cache.put(Kind::Promotion, over);
        let answer = clients[2].answer().await.unwrap();
        assert_eq!((answer.status, &answer.body["result"]), (200, &json!("Promoted")));
    });
}

#[test]
fn head_that_comes_slowly_is_not_waited_for() {
    run(async {
        let site = Site::serve(Limits {
            head: SHORT,
            ..Limits::default()
        })
        .await;
        site.tell("p-1", 1, "first");
        let mut waiting = site.waiting("p-1").await;
        for begun in ["", "GET /healthz HTTP/1.1\r\nHost: hook\r\nX-Slow: "] {
            let mut client = site.connect().await;
            client.send(begun).await;
            is_closed(&mut client).await;
        }
        // A byte now and then does not help.
        let mut client = site.connect().await;
        client.send("GET /healthz HTTP/1.1\r\nX-Slow: ").await;
        let dripped = async {
            while client.0.write_all(b"x").await.is_ok() {
                let read = tokio::time::timeout(SHORT / 10, client.0.read(&mut [0; 512])).await;
                if read.is_ok() {
                    return;
                }
            }
        };
        tokio::time::timeout(SOON, dripped).await.unwrap();
        // Who waits for an answer is not slow.
        site.until_waiting("p-1", 1).await;
        site.tell("p-1", 1_000_001, "second");
        assert_eq!(waiting.answer().await.unwrap().body["message"], "second");
        // Nor may a connection rest for ever between two requests.
        is_closed(&mut waiting).await;
    });
}

#[test]
fn body_that_comes_slowly_is_a_timeout() {
    run(async {
        let site = Site::serve(Limits {
            body: SHORT,
            ..Limits::default()
        })
        .await;
        let path = format!("/v1/namespaces/{NS}/canaries/shop/promotions");
        let mut client = site.connect().await;
        let head = request("POST", &path, "Idempotency-Key: slow\r\nContent-Length: 100\r\n");
        let answer = client.ask(&format!("{head}{{\"image\"")).await.unwrap();
        assert_eq!(
            (answer.status, &answer.body["code"]),
            (408, &json!("request_timeout"))
        );
        assert!(
            answer.head.contains("application/problem+json"),
            "{}",
            answer.head
        );
        assert!(client.answer().await.is_none(), "what comes later is no request");
    });
}

#[test]
fn body_of_whoever_is_not_admitted_is_not_read() {
    run(async {
        // No room for bodies: whoever is asked for one is told so.
        let site = Site::serve(Limits {
            bodies: 0,
            ..Limits::default()
        })
        .await;
        let path = format!("/v1/namespaces/{NS}/canaries/shop/promotions");
        let more = "Idempotency-Key: key\r\nContent-Length: 100\r\nExpect: 100-continue\r\n";
        for (token, expected) in [("stranger", 401), ("reader", 403), ("good", 429)] {
            let head = request("POST", &path, more).replace("Bearer good", &format!("Bearer {token}"));
            let mut client = site.connect().await;
            assert_eq!(client.ask(&head).await.unwrap().status, expected, "{token}");
        }
    });
}

#[test]
fn bodies_beyond_the_limit_are_refused_at_once() {
    run(async {
        let site = Site::serve(Limits {
            bodies: 1,
            ..Limits::default()
        })
        .await;
        let path = format!("/v1/namespaces/{NS}/canaries/shop/promotions");
        let mut first = site.connect().await;
        first
            .send(&request(
                "POST",
                &path,
                "Idempotency-Key: slow\r\nContent-Length: 100\r\nExpect: 100-continue\r\n",
            ))
            .await;
        assert_eq!(first.answer().await.unwrap().status, 100, "it reads");
        let mut second = site.connect().await;
        let answer = second
            .ask(&request(
                "POST",
                &path,
                "Idempotency-Key: fast\r\nContent-Length: 2\r\n",
            ))
            .await
            .unwrap();
        assert_eq!(
            (answer.status, &answer.body["code"]),
            (429, &json!("too_many_requests"))
        );
        assert!(answer.head.contains("retry-after"), "{}", answer.head);
    });
}

#[test]
fn client_that_takes_no_answer_loses_its_place() {
    run(async {
        let limits = Limits {
            connections: 1,
            stall: SHORT,
            ..Limits::default()
        };
        let site = Site::serve(limits).await;
        let mut greedy = site.connect().await;
        let requests = "GET /v1/openapi.json HTTP/1.1\r\nHost: hook\r\n\r\n".repeat(100);
        let sent = async { while greedy.0.write_all(requests.as_bytes()).await.is_ok() {} };
        tokio::time::timeout(SOON, sent).await.unwrap();
        serves_again(&site).await;
    });
}

#[test]
fn head_that_is_too_long_is_refused() {
    run(async {
        let site = Site::serve(Limits::default()).await;
        let long = format!("X-Long: {}\r\n", "x".repeat(80 * 1024));
        let many = "X-Many: x\r\n".repeat(120);
        for more in [long, many] {
            let mut client = site.connect().await;
            let _ = client
                .0
                .write_all(request("GET", "/healthz", &more).as_bytes())
                .await;
            // What is not read any more resets the connection, but not before the answer.
            let refused = client.answer().await;
            let status = refused.map(|answer| answer.status);
            assert_eq!(status, Some(431), "{} bytes", more.len());
            assert!(client.answer().await.is_none(), "the connection ends");
        }
        let mut client = site.connect().await;
        let token = format!("X-Long: {}\r\n", "x".repeat(16 * 1024));
        assert_eq!(
            client
                .ask(&request("GET", "/healthz", &token))
                .await
                .unwrap()
                .status,
            200
        );
    });
}

#[test]
fn those_who_wait_are_answered_when_the_process_ends() {
    run(async {
        let site = Site::serve(Limits::default()).await;
        site.tell("p-1", 7, "as it is");
        let mut waiting = [site.waiting("p-1").await, site.waiting("p-1").await];
        site.until_waiting("p-1", 2).await;
        let mut resting = site.connect().await;
        assert_eq!(resting.ask(LIVES).await.unwrap().status, 200);
        site.stop.cancel();
        for client in &mut waiting {
            let answer = client.answer().await.unwrap();
            assert_eq!((answer.status, &answer.body["seq"]), (200, &json!(7)));
            assert!(
                client.answer().await.is_none(),
                "the connection ends after its answer"
            );
        }
        assert!(resting.answer().await.is_none());
        tokio::time::timeout(SOON, site.end)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert!(
            TcpStream::connect(site.address).await.is_err(),
            "nobody new is let in"
        );
    });
}
