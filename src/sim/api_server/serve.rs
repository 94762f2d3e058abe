//! The server as a tower service: what `kube::Client` is made of.

use std::{convert::Infallible, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    ApiServer, Fault,
    list::Ask,
    refusal::Refusal,
    request::{self, Request},
    store::Key,
    watch,
    write::By,
};

/// How long a client waits for an answer that is lost.
const LOST: Duration = Duration::from_secs(10);

/// The connection of one client.
#[derive(Clone)]
pub struct Connection {
    server: ApiServer,
    actor: &'static str,
    /// Cancelled when a fault kills whoever asks.
    dead: CancellationToken,
}

type Reply = http::Response<UnsyncBoxBody<Bytes, Infallible>>;

impl ApiServer {
    /// A client of this server; `dead` is cancelled when a fault kills it.
    #[must_use]
    pub fn client(&self, actor: &'static str, dead: CancellationToken) -> kube::Client {
        let connection = Connection {
            server: self.clone(),
            actor,
            dead,
        };
        kube::Client::new(connection, "default")
    }
}

impl tower_service::Service<http::Request<kube::client::Body>> for Connection {
    type Response = Reply;
    type Error = std::io::Error;
    type Future = BoxFuture<'static, Result<Reply, std::io::Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<kube::client::Body>) -> Self::Future {
        self.clone().answer(request).boxed()
    }
}

impl Connection {
    async fn answer(self, request: http::Request<kube::client::Body>) -> Result<Reply, std::io::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        let request = match request::read(&head, &body) {
            Ok(request) => request,
            Err(refusal) => return Ok(refused(&refusal)),
        };
        if self.server.stopped() {
            return Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        }
        // Before anything can go wrong with it: a kind that is not there takes no part in a play.
        if !self.server.read(|store| store.serves(request.kind())) {
            return Ok(refused(&Refusal::not_served()));
        }
        let (fault, latency) = self.server.strike(self.actor, &request);
        pause(latency / 2).await;
        match fault {
            Fault::Refuse(code) => {
                pause(latency / 2).await;
                return Ok(refused(&injected(code)));
            }
            Fault::LoseRequest => return lost().await,
            Fault::Late(delay) => {
                let late = self.clone();
                tokio::spawn(async move {
                    pause(delay).await;
                    late.carry_out(request);
                });
                return lost().await;
            }
            Fault::DieBefore => return self.die().await,
            Fault::None | Fault::LoseAnswer | Fault::DieAfter => {}
        }
        let reply = self.carry_out(request);
        match fault {
            Fault::LoseAnswer => return lost().await,
            Fault::DieAfter => return self.die().await,
            _ => {}
        }
        pause(latency / 2).await;
        Ok(reply)
    }

    async fn die(&self) -> Result<Reply, std::io::Error> {
        self.dead.cancel();
        std::future::pending().await
    }

    fn carry_out(&self, request: Request) -> Reply {
        let kind = request.kind();
        if !self.server.read(|store| store.serves(kind)) {
            return refused(&Refusal::not_served());
        }
        if let Request::Replace(key, ..) | Request::Patch(key, ..) = &request
            && self.server.lock().denied.contains(key)
        {
            return refused(&Refusal::denied(key.kind, &key.name));
        }
        if let Request::Patch(key, _, patch, _) = &request
            && patch.is_of_spec()
            && self.server.lock().broken.contains(key)
        {
            return refused(&injected(500));
        }
        if let Request::Create(kind, namespace, object, _) = &request
            && self.server.lock().full.contains(&(*kind, namespace.clone()))
        {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            return refused(&Refusal::over_quota(*kind, name));
        }
        match request {
            Request::Get(key) => self.answer_one(&key),
            Request::List(ask) => self.answer_list(&ask),
            Request::Watch {
                kind,
                namespace,
                selector,
                bookmarks,
                version,
                seconds,
            } => {
                let wanted = watch::Wanted {
                    actor: self.actor,
                    kind,
                    namespace,
                    selector,
                    bookmarks,
                };
                streamed(watch::follow(&self.server, wanted, version, seconds).boxed())
            }
            Request::Create(kind, namespace, object, manager) => self.write(&manager, 201, |writer, by| {
                writer.create(by, kind, &namespace, object)
            }),
            Request::Replace(key, status, object, manager) => self.write(&manager, 200, |writer, by| {
                writer.replace(by, &key, status, object)
            }),
            Request::Patch(key, status, patch, manager) => {
                self.write(&manager, 200, |writer, by| writer.patch(by, &key, status, patch))
            }
            Request::Delete(key, deletion) => {
                self.write("unknown", 200, |writer, by| writer.delete(by, &key, &deletion))
            }
        }
    }

    fn write(
        &self,
        manager: &str,
        code: u16,
        write: impl FnOnce(&mut super::write::Writer, By<'_>) -> Result<Arc<Value>, Refusal>,
    ) -> Reply {
        let written = self
            .server
            .write(self.actor, |writer, by| write(writer, By { manager, ..by }));
        match written {
            Ok(object) => answered(code, &object),
            Err(refusal) => refused(&refusal),
        }
    }

    fn answer_one(&self, key: &Key) -> Reply {
        match self.server.read(|store| store.get(key).cloned()) {
            Some(object) => answered(200, &object),
            None => refused(&Refusal::not_found(key.kind, &key.name)),
        }
    }

    fn answer_list(&self, ask: &Ask) -> Reply {
        let mut inner = self.server.lock();
        let inner = &mut *inner;
        match inner.pages.answer(&inner.writer.store, ask) {
            Ok(list) => answered(200, &list),
            Err(refusal) => refused(&refusal),
        }
    }
}

async fn pause(span: Duration) {
    tokio::time::sleep_until(Instant::now() + span).await;
}

async fn lost() -> Result<Reply, std::io::Error> {
    pause(LOST).await;
    Err(std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        "no answer in time",
    ))
}

fn injected(code: u16) -> Refusal {
    let (reason, message) = match code {
        403 => ("Forbidden", "exceeded quota: nothing more may be written here"),
        409 => ("Conflict", "the object has been modified"),
        429 => ("TooManyRequests", "too many requests, please try again later"),
        503 => (
            "ServiceUnavailable",
            "the server is currently unable to handle the request",
        ),
        504 => (
            "Timeout",
            "the server was unable to return a response in the time allotted",
        ),
        _ => (
            "InternalError",
            "an error on the server has prevented the request from succeeding",
        ),
    };
    Refusal {
        code,
        reason,
        message: message.to_owned(),
    }
}

fn answered(code: u16, object: &Value) -> Reply {
    reply(code, Full::new(Bytes::from(object.to_string())).boxed_unsync())
}

fn refused(refusal: &Refusal) -> Reply {
    let status = refusal.status().to_string();
    reply(refusal.code, Full::new(Bytes::from(status)).boxed_unsync())
}

fn streamed(lines: BoxStream<'static, Bytes>) -> Reply {
    let frames = lines.map(|line| Ok::<_, Infallible>(Frame::data(line)));
    reply(200, StreamBody::new(frames).boxed_unsync())
}

fn reply(code: u16, body: UnsyncBoxBody<Bytes, Infallible>) -> Reply {
    let mut reply = http::Response::new(body);
    *reply.status_mut() = http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    reply.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    reply
}
