use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use tokio::net::TcpListener;

use super::*;

fn source(address: &str) -> Prometheus {
    // Fails when another test was first, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Prometheus::new(address).unwrap()
}

/// Asks a server that answers every query with `answer`.
async fn ask(
    answer: impl IntoResponse + Clone + Send + Sync + 'static,
) -> Result<Vec<(WorkloadKey, f64)>, SourceError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/prefix", listener.local_addr().unwrap());
    let app = Router::new().route("/prefix/api/v1/query", post(move || async move { answer }));
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let got = source(&address).vector("up", DateTime::UNIX_EPOCH).await;
    server.abort();
    got
}

fn json(
    status: StatusCode,
    body: &'static str,
) -> (StatusCode, [(header::HeaderName, &'static str); 1], &'static str) {
    (status, [(header::CONTENT_TYPE, "application/json")], body)
}

fn vector(series: &str) -> String {
    format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{series}]}}}}"#)
}

const A: &str =
    r#"{"metric":{"destination_workload_namespace":"n","destination_workload":"a"},"value":[1,"1.5"]}"#;

#[tokio::test]
async fn a_vector_is_read_by_workload() {
    let body: &'static str = vector(&format!(
        "{A},{}",
        A.replace("\"a\"", "\"b\"").replace("1.5", "NaN")
    ))
    .leak();
    let got = ask(json(StatusCode::OK, body)).await.unwrap();
    let key = |workload: &str| WorkloadKey {
        namespace: "n".into(),
        workload: workload.into(),
    };
    assert_eq!(got[0], (key("a"), 1.5));
    assert!(got[1].0 == key("b") && got[1].1.is_nan());
    assert_eq!(ask(json(StatusCode::OK, vector("").leak())).await, Ok(vec![]));
}

#[tokio::test]
async fn two_series_for_one_workload_are_refused() {
    let error = ask(json(StatusCode::OK, vector(&format!("{A},{A}")).leak()))
        .await
        .unwrap_err();
    assert_eq!(
        error,
        SourceError::Malformed("more than one series for workload n/a".into())
    );
}

#[tokio::test]
async fn answers_that_are_no_vector_of_workloads_are_malformed() {
    let bodies = [
        r#"{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}"#.to_owned(),
        r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#.to_owned(),
        r#"{"status":"success"}"#.to_owned(),
        vector(r#"{"metric":{},"value":[1,"1"]}"#),
        "<html>hello</html>".to_owned(),
        String::new(),
    ];
    for body in bodies {
        let error = ask(json(StatusCode::OK, body.clone().leak())).await.unwrap_err();
        assert_eq!(error.reason(), "MetricsMalformed", "{body}: {error}");
    }
}

#[tokio::test]
async fn a_refusal_shows_its_status_and_text() {
    let body = r#"{"status":"error","errorType":"bad_data","error":"parse error: x"}"#;
    let error = ask(json(StatusCode::BAD_REQUEST, body)).await.unwrap_err();
    assert_eq!(
        error,
        SourceError::Status {
            code: 400,
            body: "parse error: x".into()
        }
    );
    let html = (
        StatusCode::BAD_GATEWAY,
        [(header::CONTENT_TYPE, "text/html")],
        "<html>\n <b>Bad Gateway</b></html>",
    );
    let error = ask(html).await.unwrap_err();
    assert_eq!(
        error,
        SourceError::Status {
            code: 502,
            body: "<html> <b>Bad Gateway</b></html>".into()
        }
    );
    let error = ask((StatusCode::INTERNAL_SERVER_ERROR, "x".repeat(9999)))
        .await
        .unwrap_err();
    assert_eq!(
        error,
        SourceError::Status {
            code: 500,
            body: "x".repeat(200)
        }
    );
    let error = ask((StatusCode::FOUND, [(header::LOCATION, "/elsewhere")], ""))
        .await
        .unwrap_err();
    assert_eq!(
        error,
        SourceError::Status {
            code: 302,
            body: String::new()
        },
        "redirects are not followed"
    );
}

#[tokio::test]
async fn an_endless_answer_is_cut() {
    let body: &'static str = " ".repeat(MAX_ANSWER + 1).leak();
    let error = ask(json(StatusCode::OK, body)).await.unwrap_err();
    assert_eq!(error, SourceError::TooLarge { limit: MAX_ANSWER });
}

#[tokio::test]
async fn a_closed_port_and_a_silent_server_are_told_apart() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let error = source(&address)
        .vector("up", DateTime::UNIX_EPOCH)
        .await
        .unwrap_err();
    let SourceError::Unreachable(text) = error else {
        panic!("{error}")
    };
    assert!(text.contains("refused"), "{text}");

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let timeouts = Timeouts {
        connect: Duration::from_millis(50),
        total: Duration::from_millis(50),
    };
    let source = Prometheus::with_timeouts(&address, timeouts).unwrap();
    assert_eq!(
        source.vector("up", DateTime::UNIX_EPOCH).await.unwrap_err(),
        SourceError::Timeout
    );
}

#[tokio::test]
async fn the_query_is_posted_and_evaluated_at_the_servers_own_time() {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().route(
        "/api/v1/query",
        post(move |body: String| async move {
            sender.send(body).unwrap();
            Response::new(vector(""))
        }),
    );
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let at = DateTime::from_timestamp(1_800_000_015, 0).unwrap();
    assert_eq!(source(&address).vector("a{b=\"c\"}", at).await, Ok(vec![]));
    server.abort();
    assert_eq!(
        receiver.recv().await.unwrap(),
        "query=a%7Bb%3D%22c%22%7D&timeout=5000ms"
    );
}

#[test]
fn what_is_no_url_is_refused() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    for url in ["", "prometheus:9090", "ftp://x", "http://"] {
        let error = Prometheus::new(url).err().unwrap();
        assert_eq!(error.reason(), "MetricsSetup", "{url}");
    }
}
