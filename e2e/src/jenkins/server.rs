//! The socket, and what goes wrong between it and the world.

use std::sync::Arc;

use anyhow::{Result, bail};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request as HttpRequest, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::page::{Page, Request};
use super::{Fault, Shared, answer};

pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((connection, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            _ = connection.set_nodelay(true);
            let respond = service_fn(|request| respond(&shared, request));
            // A fault is an error of the service, which breaks the connection.
            _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(connection), respond)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn respond(shared: &Shared, request: HttpRequest<Incoming>) -> Result<Response<Full<Bytes>>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let pairs =
        |text: &[u8]| -> Vec<(String, String)> { form_urlencoded::parse(text).into_owned().collect() };
    let headers = parts.headers.iter();
    let headers: Vec<(String, String)> = headers
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect();
    let kind = headers.iter().find(|(name, _)| name == "content-type");
    let is_form = kind.is_none_or(|(_, kind)| kind.contains("form-urlencoded"));
    let request = Request {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: pairs(parts.uri.query().unwrap_or_default().as_bytes()),
        form: if is_form { pairs(&body) } else { Vec::new() },
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let Some(page) = decide(shared, &request)? else {
        return std::future::pending().await;
    };
    let mut response = Response::builder().status(page.code);
    for (name, value) in page.headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::from(page.body))?)
}

/// The answer, or none for ever.
fn decide(shared: &Shared, request: &Request) -> Result<Option<Page>> {
    let mut world = shared.world();
    let number = world.log.len();
    let line = format!("{} {}", request.method, request.path);
    if world.dead {
        bail!("it is dead");
    }
    let fault = world.faults.remove(&number);
    let page = match &fault {
        None | Some(Fault::LoseAnswer | Fault::DieAfter | Fault::Hang) => {
            let page = answer::answer(&mut world, request);
            world.play();
            Some(page)
        }
        Some(Fault::Answer(code, text)) => Some(Page::html(*code, text)),
        Some(Fault::Late(by)) => {
            let at = world.now + *by;
            world.late.push((at, request.clone()));
            None
        }
        Some(Fault::LoseRequest | Fault::DieBefore) => None,
    };
    let code = page.as_ref().map_or(0, |page| page.code);
    world.log.push(format!("{line} {code}"));
    if matches!(fault, Some(Fault::DieBefore | Fault::DieAfter)) {
        world.dead = true;
        shared.died.notify_one();
    }
    match (page, fault) {
        (Some(page), None | Some(Fault::Answer(..))) => Ok(Some(page)),
        (_, Some(Fault::Hang)) => Ok(None),
        (_, fault) => bail!("a fault: {fault:?}"),
    }
}
