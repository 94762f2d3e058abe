//! An OIDC issuer as a CI server is one: it signs tokens of builds and publishes its key, which it may exchange.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The name of every key: it stays when the key is exchanged, as with Jenkins' plugin.
const KEY: &str = "jenkins";

struct Pair {
    signs: EncodingKey,
    public: Value,
}

impl Pair {
    fn make() -> Result<Self> {
        let key = rcgen::KeyPair::generate()?;
        let point = key.public_key_raw();
        let (x, y) = (point.get(1..33), point.get(33..65));
        let part = |part: Option<&[u8]>| Ok::<_, anyhow::Error>(base64(part.context("no point")?));
        Ok(Self {
            signs: EncodingKey::from_ec_der(&key.serialize_der()),
            public: json!({"kty": "EC", "crv": "P-256", "kid": KEY, "x": part(x)?, "y": part(y)?}),
        })
    }
}

/// An issuer that listens.
pub struct Issuer {
    url: String,
    pair: Arc<Mutex<Pair>>,
    serving: JoinHandle<()>,
}

impl Issuer {
    /// Listens at `address`, a loopback one.
    pub async fn serve(address: &str) -> Result<Self> {
        let url = format!("http://{address}");
        let pair = Arc::new(Mutex::new(Pair::make()?));
        let listener = TcpListener::bind(address).await?;
        let (root, published) = (url.clone(), pair.clone());
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let key = published
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .public
                    .clone();
                let _client = tokio::spawn(answer(stream, root.clone(), key));
            }
        });
        Ok(Self { url, pair, serving })
    }

    /// What its tokens have as `iss`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Exchanges the key; its name stays.
    pub fn rotate(&self) -> Result<()> {
        *self.pair.lock().unwrap_or_else(PoisonError::into_inner) = Pair::make()?;
        Ok(())
    }

    /// A token of `subject` that lives for so many seconds, with further claims.
    pub fn token(&self, subject: &str, seconds: i64, with: &Value) -> Result<String> {
        let now = chrono::Utc::now().timestamp();
        let mut claims =
            json!({"iss": self.url, "aud": "bellwether", "sub": subject, "iat": now, "exp": now + seconds});
        let more = with.as_object().cloned().unwrap_or_default();
        claims.as_object_mut().context("no claims")?.extend(more);
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(KEY.into());
        let pair = self.pair.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(jsonwebtoken::encode(&header, &claims, &pair.signs)?)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(mut stream: TcpStream, root: String, key: Value) {
    let mut head = [0; 4096];
    let Ok(read) = stream.read(&mut head).await else {
        return;
    };
    let head = String::from_utf8_lossy(head.get(..read).unwrap_or_default()).into_owned();
    let body = if head.contains("/.well-known/openid-configuration") {
        json!({"issuer": root, "jwks_uri": format!("{root}/jwks")})
    } else {
        json!({"keys": [key]})
    };
    let body = body.to_string();
    let length = body.len();
    let text = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    // A client that went needs no answer.
    let _gone = stream.write_all(text.as_bytes()).await;
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            let digit = (bits >> (18 - 6 * place) & 63) as usize;
            text.push(DIGITS.get(digit).copied().map_or('=', char::from));
        }
    }
    text
}
