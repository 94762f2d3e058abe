//! The hook API on a real socket over the simulated cluster, in real time.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use bellwether::{
    clock::Clock,
    hook_api::{Hook, Limits, Listen, Tokens, auth::Gatekeeper},
    reconcile::{Context, kinds},
    sim::cluster::SimCluster,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{
    people::People,
    shop::{NS, under_canary},
};

/// What is expected at all is expected within this time.
pub const SOON: Duration = Duration::from_secs(20);

/// Runs `story`, whose preparation may take virtual time.
pub fn run<T>(story: impl Future<Output = T>) -> T {
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(story)
}

/// A served hook API. From its start on time is real.
pub struct Site {
    pub address: SocketAddr,
    pub cluster: SimCluster,
    pub stop: CancellationToken,
    pub end: JoinHandle<std::io::Result<()>>,
}

impl Site {
    pub async fn serve(limits: Limits) -> Site {
        Site::serve_with(limits, None, Duration::from_millis(5)).await
    }

    pub async fn serve_with(limits: Limits, tls: Option<(PathBuf, PathBuf)>, look: Duration) -> Site {
        let cluster = under_canary(77).await;
        tokio::time::resume();
        let ctx = cluster.context_of(0).unwrap();
        let clock: Arc<dyn Clock> = ctx.clock.clone();
        let gatekeeper = Gatekeeper::new(Arc::new(People), Tokens::none(), clock);
        let hook = Hook::with_limits(ctx, gatekeeper, limits);
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let listen = Listen {
            look,
            ..Listen::new(address, tls)
        };
        let bound = listen.bind().await.unwrap();
        let address = bound.address().unwrap();
        let stop = CancellationToken::new();
        let end = tokio::spawn(bound.serve(hook, stop.clone()));
        Site {
            address,
            cluster,
            stop,
            end,
        }
    }

    pub fn ctx(&self) -> Arc<Context> {
        self.cluster.context_of(0).unwrap()
    }

    /// A promotion as a watch would tell it.
    pub fn tell(&self, id: &str, seq: i64, message: &str) {
        tell(&self.ctx(), id, seq, message);
    }

    pub async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    /// A client that waits for news of promotion `id`, which the server has begun to follow.
    pub async fn waiting(&self, id: &str) -> Client {
        let mut client = self.connect().await;
        client.send(&poll(id, 20, 1_000_000)).await;
        client
    }

    /// Until the server holds exactly so many requests that wait.
    pub async fn until_waiting(&self, id: &str, clients: usize) {
        let ctx = self.ctx();
        let met = async {
            while ctx.cache.followers(kinds::Kind::Promotion, NS, id) != clients {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, met).await.unwrap();
    }
}

pub fn tell(ctx: &Context, id: &str, seq: i64, message: &str) {
    let promotion = json!({
        "apiVersion": "bellwether.dev/v1beta1", "kind": "Promotion",
        "metadata": {
            "name": id, "namespace": NS, "resourceVersion": (1_000_000_000 + seq).to_string(),
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"canaryRef": {"name": "other"}, "image": "shop:good-2"},
        "status": {"phase": "Running", "seq": seq, "message": message},
    });
    assert!(ctx.cache.put(kinds::Kind::Promotion, promotion));
}

/// A long poll, as it stands on the wire.
pub fn poll(id: &str, seconds: u64, after: i64) -> String {
    request(
        "GET",
        &format!("/v1/namespaces/{NS}/promotions/{id}?waitSeconds={seconds}&afterSeq={after}"),
        "",
    )
}

pub fn request(method: &str, path: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: hook\r\nAuthorization: Bearer good\r\n{more}\r\n")
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Value,
}

/// A client that does only what it is told.
pub struct Client(pub TcpStream);

impl Client {
    pub async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// The next answer; nothing if the server closes without one.
    pub async fn answer(&mut self) -> Option<Answer> {
        tokio::time::timeout(SOON, self.read_answer()).await.unwrap()
    }

    async fn read_answer(&mut self) -> Option<Answer> {
        let mut bytes = Vec::new();
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            // A reset is an end as well.
            if self.0.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                assert!(bytes.is_empty(), "half an answer");
                return None;
            }
        };
        let text = String::from_utf8(bytes[..head].to_vec())
            .unwrap()
            .to_ascii_lowercase();
        let length = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse().unwrap());
        while bytes.len() < head + length {
            assert!(self.0.read_buf(&mut bytes).await.unwrap() > 0, "half an answer");
        }
        let body = String::from_utf8(bytes[head..head + length].to_vec()).unwrap();
        Some(Answer {
            status: text.split(' ').nth(1).unwrap().parse().unwrap(),
            head: text,
            body: serde_json::from_str(&body).unwrap_or(Value::String(body)),
        })
    }

    pub async fn ask(&mut self, text: &str) -> Option<Answer> {
        self.send(text).await;
        self.answer().await
    }
}
