//! Connections of the hook API: limits, TLS, and the end of the process, on real sockets.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
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
fn connections_that_come_to_nothing_are_logged_but_fill_no_log() {
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
    run(async {
        let paper = Paper::new("log");
        let log = Log::default();
        let _kept = log.keep();
        let site = serve_tls(&paper).await;
        // Whoever only looks whether somebody listens is not worth a line.
        drop(site.connect().await);
        for _ in 0..50 {
            let mut plain = site.connect().await;
            plain.send(LIVES).await;
            let _ = plain.0.read_to_end(&mut Vec::new()).await;
        }
        assert_eq!(log.lines("handshake"), 1);
        assert_eq!(log.lines("InvalidContentType"), 1);
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

/// A certificate of this host, and its files.
struct Paper {
    folder: PathBuf,
    pem: String,
}

impl Paper {
    fn new(name: &str) -> Paper {
        let folder = std::env::temp_dir().join(format!("bellwether-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut paper = Paper {
            folder,
            pem: String::new(),
        };
        paper.exchange();
        paper
    }

    fn files(&self) -> (PathBuf, PathBuf) {
        (self.folder.join("tls.crt"), self.folder.join("tls.key"))
    }

    fn exchange(&mut self) {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let (certificate, key) = self.files();
        self.pem = made.cert.pem();
        // One after the other, as they may come.
        std::fs::write(certificate, &self.pem).unwrap();
        std::fs::write(key, made.signing_key.serialize_pem()).unwrap();
    }

    fn client(&self, version: Option<reqwest::tls::Version>) -> reqwest::Client {
        let trusted = reqwest::Certificate::from_pem(self.pem.as_bytes()).unwrap();
        let mut builder = reqwest::Client::builder().no_proxy().tls_certs_only([trusted]);
        if let Some(version) = version {
            builder = builder.tls_version_max(version);
        }
        builder.build().unwrap()
    }
}

impl Drop for Paper {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn lives(site: &Site, client: &reqwest::Client) -> bool {
    let answer = client
        .get(format!("https://{}/healthz", site.address))
        .send()
        .await;
    answer.is_ok_and(|answer| answer.status() == 200)
}

async fn serve_tls(paper: &Paper) -> Site {
    let limits = Limits {
        head: SHORT * 20,
        ..Limits::default()
    };
    Site::serve_with(limits, Some(paper.files()), Duration::from_millis(5)).await
}

#[test]
fn certificate_is_exchanged_without_a_restart_and_a_broken_one_is_not_taken() {
    run(async {
        let mut paper = Paper::new("exchange");
        let site = serve_tls(&paper).await;
        let before = paper.client(None);
        assert!(lives(&site, &paper.client(None)).await);
        paper.exchange();
        let taken = async { while !lives(&site, &paper.client(None)).await {} };
        tokio::time::timeout(SOON, taken).await.unwrap();
        assert!(
            !lives(&site, &before).await,
            "who trusts the old one alone does not trust the new one"
        );

        let good = paper.client(None);
        let (certificate, key) = paper.files();
        let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        for (file, text) in [
            (&certificate, other.cert.pem()),
            (&certificate, "nonsense".to_owned()),
            (&certificate, String::new()),
            (&key, "nonsense".to_owned()),
        ] {
            std::fs::write(file, text).unwrap();
            // More than one look.
            tokio::time::timeout(SHORT, std::future::pending::<()>())
                .await
                .unwrap_err();
            assert!(lives(&site, &good).await);
        }
        std::fs::remove_file(&certificate).unwrap();
        tokio::time::timeout(SHORT, std::future::pending::<()>())
            .await
            .unwrap_err();
        assert!(lives(&site, &paper.client(None)).await);
        paper.exchange();
        let taken = async { while !lives(&site, &paper.client(None)).await {} };
        tokio::time::timeout(SOON, taken).await.unwrap();
    });
}

#[test]
fn only_tls_from_1_2_on_gets_an_answer() {
    run(async {
        let paper = Paper::new("versions");
        let site = serve_tls(&paper).await;
        for version in [reqwest::tls::Version::TLS_1_2, reqwest::tls::Version::TLS_1_3] {
            assert!(lives(&site, &paper.client(Some(version))).await, "{version:?}");
        }
        // Plain HTTP is no handshake.
        let mut plain = site.connect().await;
        plain.send(LIVES).await;
        let mut said = Vec::new();
        let read = tokio::time::timeout(SOON, plain.0.read_to_end(&mut said))
            .await
            .unwrap();
        assert!(read.is_err() || !said.starts_with(b"HTTP"), "{said:?}");
        // The hello of TLS 1.1, with suites of its time.
        let hello = {
            let mut body = vec![3, 2];
            body.extend([7; 32]);
            body.extend([0, 0, 4, 0xc0, 0x13, 0xc0, 0x09, 1, 0]);
            body.extend([0, 8, 0, 13, 0, 4, 0, 2, 4, 1]);
            let mut hello = vec![0x16, 3, 1, 0, body.len() as u8 + 4, 1, 0, 0, body.len() as u8];
            hello.extend(body);
            hello
        };
        let mut old = site.connect().await;
        old.0.write_all(&hello).await.unwrap();
        let mut said = Vec::new();
        let _ = tokio::time::timeout(SOON, old.0.read_to_end(&mut said))
            .await
            .unwrap();
        assert_eq!(
            (said.first(), said.last()),
            (Some(&0x15), Some(&70)),
            "protocol_version: {said:?}"
        );
        // One who says nothing at all is not waited for.
        let mut silent = site.connect().await;
        assert!(silent.answer().await.is_none());
        assert!(lives(&site, &paper.client(None)).await);
    });
}

#[test]
fn clients_wait_over_tls() {
    run(async {
        let paper = Paper::new("waits");
        let site = serve_tls(&paper).await;
        site.tell("p-1", 1, "first");
        let poll = format!(
            "https://{}/v1/namespaces/{NS}/promotions/p-1?waitSeconds=20&afterSeq=1",
            site.address
        );
        let asked = paper.client(None).get(poll).bearer_auth("good").send();
        let (answer, ()) = tokio::join!(asked, async {
            site.until_waiting("p-1", 1).await;
            site.tell("p-1", 2, "second");
        });
        let answer = answer.unwrap();
        assert_eq!(answer.version(), reqwest::Version::HTTP_11);
        assert_eq!(
            answer.json::<serde_json::Value>().await.unwrap()["message"],
            "second"
        );
    });
}
