//! What a person sees of a wait, in a terminal.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    os::fd::OwnedFd,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    extract::Request,
    http::Uri,
    response::{IntoResponse, Response},
};
use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use serde_json::json;
use tokio::sync::watch;

use super::{hooked, serve};
use crate::shared::shop::NS;

const CLEAR: &str = "\r\x1b[K";
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";

/// Both ends of a pseudo-terminal: what shows it, and what programs write to.
fn pseudo_terminal() -> (File, OwnedFd) {
    let shown = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&shown).unwrap();
    unlockpt(&shown).unwrap();
    let name = ptsname(&shown, Vec::new()).unwrap();
    let written = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    (File::from(shown), written)
}

/// All that comes until nobody writes to the terminal any more, which Linux tells by an error. How often the last line was
/// drawn is told meanwhile.
fn all_of(mut shown: File, drawn: &watch::Sender<usize>) -> String {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match shown.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => {
                bytes.extend_from_slice(&piece[..length]);
                let times = String::from_utf8_lossy(&bytes).matches(WRAP).count();
                drawn.send_replace(times);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
                break;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// A promotion that is at 10 %, then at 30 %, then over: each is seen twice before the next comes.
async fn promotion(asked: &AtomicUsize, mut drawn: watch::Receiver<usize>, uri: &Uri) -> Response {
    if uri.path().ends_with("/log") {
        return match uri.query() {
            Some("start=0") => ([("x-text-size", "6")], "first\n").into_response(),
            _ => ([("x-text-size", "13")], "second\n").into_response(),
        };
    }
    let (weight, phase) = match asked.fetch_add(1, Ordering::Relaxed) {
        0 => (10, "Running"),
        1 => (30, "Running"),
        _ => (0, "Promoted"),
    };
    let (seq, finished) = (asked.load(Ordering::Relaxed), phase == "Promoted");
    drawn.wait_for(|times| *times >= 2 * (seq - 1)).await.unwrap();
    axum::Json(
        json!({"id": "p-1", "namespace": NS, "canary": "shop", "seq": seq, "phase": phase, "weight": weight,
        "step": 1, "steps": 3, "finished": finished, "exitCode": finished.then_some(0),
        "logBytes": if finished { 13 } else { 6 }}),
    )
    .into_response()
}

#[test]
fn terminal_has_whole_lines_and_one_line_below_them_that_goes_in_the_end() {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let asked: &'static AtomicUsize = Box::leak(Box::default());
        let (told, drawn) = watch::channel(0);
        let answer = move |request: Request| {
            let drawn = drawn.clone();
            async move { promotion(asked, drawn, request.uri()).await }
        };
        let url = serve(Router::new().fallback(answer)).await;
        let (shown, written) = pseudo_terminal();
        let mut wait = hooked(&url, &["wait", "p-1", "--timeout", "60"]);
        wait.env("TERM", "xterm")
            .stdout(written.try_clone().unwrap())
            .stderr(written);
        let mut waiting = wait.spawn().unwrap();
        // Only the process has the terminal now.
        drop(wait);
        let seen = tokio::task::spawn_blocking(move || all_of(shown, &told))
            .await
            .unwrap();
        assert_eq!(waiting.wait().unwrap().code(), Some(0), "{seen:?}");

        let mut lines = String::new();
        let mut drawn = Vec::new();
        for piece in seen.split(CLEAR) {
            let (text, line) = piece.split_once(NO_WRAP).unwrap_or((piece, ""));
            lines.push_str(text);
            if !line.is_empty() {
                let line = line.strip_suffix(WRAP);
                drawn.push(line.unwrap_or_else(|| panic!("lines do not wrap any more: {seen:?}")));
            }
        }
        assert_eq!(lines, "first\r\nsecond\r\n", "{seen:?}");
        let at = |weight: &str| drawn.iter().filter(|line| line.contains(weight)).count();
        assert!(at(" 10 %") >= 2 && at(" 30 %") >= 2, "{drawn:#?}");
        assert!(
            drawn[0].contains("Running") && drawn[0].contains("step 1 of 3"),
            "{drawn:#?}"
        );
        assert!(seen.ends_with(CLEAR), "nothing of it stays: {seen:?}");
    });
}
