use axum::{
    Router,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use tokio::net::TcpListener;

use super::*;

fn source(address: &str) -> Prometheus {
    // Fails when another test was first, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Prometheus::new(address, Access::default(), None).unwrap()
}

/// What one series has in its label `destination_workload`, and its value.
fn named(row: &Row) -> (&str, f64) {
    (row.labels["destination_workload"].as_str(), row.value)
}

/// Asks a server that answers every query with `answer`.
async fn ask(answer: impl IntoResponse + Clone + Send + Sync + 'static) -> Result<Vec<Row>, SourceError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/prefix", listener.local_addr().unwrap());
    let app = Router::new().route("/prefix/api/v1/query", post(move || async move { answer }));
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let got = source(&address).vector("up").await;
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
async fn a_vector_is_read_with_labels_and_time() {
    let body: &'static str = vector(&format!(
        "{A},{}",
        A.replace("\"a\"", "\"b\"").replace("1.5", "NaN")
    ))
    .leak();
    let got = ask(json(StatusCode::OK, body)).await.unwrap();
    assert_eq!((named(&got[0]), got[0].at), (("a", 1.5), 1.0));
    assert_eq!(named(&got[1]).0, "b");
    assert!(got[1].value.is_nan());
    assert_eq!(ask(json(StatusCode::OK, vector("").leak())).await, Ok(vec![]));
}

#[tokio::test]
async fn series_without_a_workload_are_refused_where_one_is_asked_for() {
    let rows = ask(json(
        StatusCode::OK,
        vector(r#"{"metric":{},"value":[1,"1"]}"#).leak(),
    ))
    .await;
    let error = crate::metrics_source::answer::requests(rows.unwrap()).unwrap_err();
    assert_eq!(
        error,
        SourceError::Malformed(
            "a series lacks the labels destination_workload_namespace and destination_workload".into()
        )
    );
}

/// An answer without series, with this warning.
fn warned(warning: &str) -> Result<Vec<Row>, SourceError> {
    let warning = serde_json::to_string(warning).unwrap();
    let body = format!(
        r#"{{"status":"success","warnings":[{warning}],"infos":["x"],"data":{{"resultType":"vector","result":[]}}}}"#
    );
    read(200, body.as_bytes())
}

#[test]
fn partial_answer_is_not_taken_for_the_whole() {
    let text = "fetch series for {shard=\"1\"} failed: store unavailable";
    let error = warned(text).unwrap_err();
    assert_eq!(
        (error.reason(), &error),
        ("MetricsPartial", &SourceError::Partial(text.into()))
    );
}

/// vmselect of a VictoriaMetrics cluster, one of whose vmstorage nodes is away, answers so.
#[test]
fn partial_answer_of_victoria_metrics_is_no_answer() {
    let answer = |partial: bool| {
        let body = format!(
            r#"{{"status":"success","isPartial":{partial},"data":{{"resultType":"vector","result":[{A}]}}}}"#
        );
        read(200, body.as_bytes())
    };
    assert_eq!(answer(true).unwrap_err().reason(), "MetricsPartial");
    assert_eq!(answer(false).unwrap().len(), 1);
}

#[test]
fn annotations_of_prometheus_itself_take_nothing_away() {
    for text in [
        "PromQL info: metric might not be a counter, name does not end in _total",
        "PromQL warning: bucket label \"le\" is missing or has a malformed value of \"\" (1:2)",
    ] {
        assert_eq!(warned(text), Ok(vec![]), "{text}");
    }
}

#[tokio::test]
async fn answers_that_are_no_vector_of_workloads_are_malformed() {
    let bodies = [
        r#"{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}"#.to_owned(),
        r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#.to_owned(),
        r#"{"status":"success"}"#.to_owned(),
        vector(r#"{"metric":{},"value":[1,"one"]}"#),
        vector(r#"{"metric":{},"value":[1]}"#),
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
    let error = source(&address).vector("up").await.unwrap_err();
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
    let source = Prometheus::with_timeouts(&address, Access::default(), timeouts).unwrap();
    assert_eq!(source.vector("up").await.unwrap_err(), SourceError::Timeout);
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
    assert_eq!(source(&address).vector("a{b=\"c\"}").await, Ok(vec![]));
    server.abort();
    assert_eq!(
        receiver.recv().await.unwrap(),
        "query=a%7Bb%3D%22c%22%7D&timeout=5000ms&nocache=1"
    );
}

#[test]
fn what_is_no_url_is_refused() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    for url in ["", "prometheus:9090", "ftp://x", "http://"] {
        let error = Prometheus::new(url, Access::default(), None).err().unwrap();
        assert_eq!(error.reason(), "MetricsSetup", "{url}");
    }
    let error = Prometheus::new("http://me:s3cret@x", Access::default(), None)
        .err()
        .unwrap();
    let text = error.to_string();
    assert!(
        text.contains("--metrics-basic-auth-file") && !text.contains("s3cret"),
        "{text}"
    );
}

/// A file of this test alone, which goes with it.
struct File(std::path::PathBuf);

impl File {
    fn new(name: &str, content: &str) -> File {
        let path = std::env::temp_dir().join(format!("bellwether-metrics-{name}-{}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        File(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A server that shows the headers of a question as the text of an error.
async fn echo() -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().route(
        "/api/v1/query",
        post(|headers: HeaderMap| async move {
            let shown = ["authorization", "x-scope-orgid"].map(|name| {
                let value = headers.get(name).map(|value| value.to_str().unwrap_or_default());
                format!("{name}={}", value.unwrap_or("-"))
            });
            (StatusCode::FORBIDDEN, shown.join(" "))
        }),
    );
    let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (address, server)
}

#[tokio::test]
async fn credentials_go_with_every_question_are_read_again_and_never_shown() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (address, server) = echo().await;
    let file = File::new("token", "s3cret\n");
    let access = Access {
        bearer_token_file: Some(file.0.clone()),
        headers: vec!["X-Scope-OrgID: t3nant".parse().unwrap()],
        ..Access::default()
    };
    let source = Prometheus::new(&address, access, None).unwrap();
    let asked = async || source.vector("up").await.unwrap_err().to_string();
    let shown = "authorization=Bearer [redacted] x-scope-orgid=[redacted]";
    assert!(asked().await.contains(shown), "{}", asked().await);
    std::fs::write(&file.0, "another").unwrap();
    assert!(
        asked().await.contains(shown),
        "the new token is sent, and cut out: {}",
        asked().await
    );
    std::fs::write(&file.0, "s3cret two").unwrap();
    let text = asked().await;
    assert!(
        text.contains("must be one token") && !text.contains("s3cret"),
        "{text}"
    );
    std::fs::write(&file.0, "again").unwrap();
    assert!(asked().await.contains(shown), "it heals: {}", asked().await);
    server.abort();
}

#[tokio::test]
async fn user_and_password_are_sent_as_basic_authentication() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().route(
        "/api/v1/query",
        post(move |headers: HeaderMap| async move {
            sender.send(headers["authorization"].clone()).unwrap();
            vector("")
        }),
    );
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let file = File::new("basic", "Aladdin:open sesame\n");
    let access = Access {
        basic_auth_file: Some(file.0.clone()),
        ..Access::default()
    };
    let source = Prometheus::new(&address, access, None).unwrap();
    assert_eq!(source.vector("up").await, Ok(vec![]));
    assert_eq!(
        receiver.recv().await.unwrap(),
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    );
    server.abort();
}

#[test]
fn files_that_cannot_be_used_are_named_and_not_shown() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let file = File::new("wrong", "s3cret s3cret");
    let path = || Some(file.0.clone());
    let none = Access::default;
    let table = [
        (
            Access {
                bearer_token_file: path(),
                ..none()
            },
            "must be one token",
        ),
        (
            Access {
                basic_auth_file: path(),
                ..none()
            },
            "USER:PASSWORD",
        ),
        (
            Access {
                ca_file: path(),
                ..none()
            },
            "no certificate",
        ),
        (
            Access {
                ca_file: Some("/nowhere/ca".into()),
                ..none()
            },
            "/nowhere/ca",
        ),
    ];
    for (access, problem) in table {
        let text = Prometheus::new("https://x", access, None)
            .err()
            .unwrap()
            .to_string();
        assert!(text.contains(problem) && !text.contains("s3cret"), "{text}");
    }
}

#[tokio::test]
async fn few_questions_are_asked_at_once() {
    let (now, most) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let seen = most.clone();
    let app = Router::new().route(
        "/api/v1/query",
        post(move || {
            let (now, seen) = (now.clone(), seen.clone());
            async move {
                let asked = {
                    let mut now = now.lock().unwrap();
                    *now += 1;
                    *now
                };
                let highest = asked.max(*seen.lock().unwrap());
                *seen.lock().unwrap() = highest;
                // Others get their turn before this one is answered.
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                *now.lock().unwrap() -= 1;
                vector("")
            }
        }),
    );
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let source = source(&address);
    let answers = futures::future::join_all((0..20).map(|_| source.vector("up"))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    server.abort();
    let most = *most.lock().unwrap();
    assert!((1..=MAX_AT_ONCE).contains(&most), "{most} at once");
}
