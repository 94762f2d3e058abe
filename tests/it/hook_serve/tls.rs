//! Connections of the hook API over TLS: which get an answer, and certificates that are exchanged.

use std::{path::PathBuf, time::Duration};

use bellwether::hook_api::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{LIVES, Log, SHORT};
use crate::shared::{
    shop::NS,
    site::{SOON, Site, run},
};

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
fn connections_without_a_handshake_are_logged_but_fill_no_log() {
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
