//! The hook API under load, for who asks for it: `make bench-hook` measures how soon a thousand clients that wait are told,
//! `make fuzz-hook` serves the API to a fuzzer. Clients are a process of their own, so that figures are those of the server
//! alone.
//!
//!   hook_load measure
//!   hook_load clients ADDRESS PROMOTIONS
//!   hook_load serve FILE

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "it ends where its preparation fails, and says what it has to say"
)]

#[expect(dead_code, reason = "other test binaries need more of it")]
#[path = "../shared/mod.rs"]
mod shared;

use std::{
    process::{ExitCode, Stdio},
    time::{Duration, SystemTime},
};

use bellwether::{hook_api::Limits, reconcile::kinds};
use tokio::io::{AsyncBufReadExt, BufReader};

use shared::{
    shop::NS,
    site::{Client, Site, poll, run},
};

const CLIENTS: usize = 1000;
const ROUNDS: i64 = 30;
/// How long the fuzzer is served: nobody leaves a server behind for ever.
const SERVED: Duration = Duration::from_secs(3600);

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let given: Vec<&str> = given.iter().map(String::as_str).collect();
    match given[..] {
        ["measure"] => measure(),
        ["clients", address, promotions] => clients(address, promotions.parse().unwrap()),
        ["serve", file] => serve(file),
        _ => {
            eprintln!("hook_load measure | clients ADDRESS PROMOTIONS | serve FILE");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

#[expect(
    clippy::disallowed_methods,
    reason = "two processes have only this clock in common"
)]
fn micros() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_micros()).unwrap()
}

/// Memory of this process in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// The promotion that a client waits for, of so many.
fn promotion(client: usize, promotions: usize) -> String {
    format!("p-{}", client % promotions)
}

fn measure() {
    for (name, promotions) in [("all for one promotion", 1), ("each for its own", CLIENTS)] {
        run(bench(name, promotions));
    }
}

async fn bench(name: &str, promotions: usize) {
    let site = Site::serve(Limits::default()).await;
    let ctx = site.ctx();
    let ids: Vec<String> = (0..promotions).map(|nth| promotion(nth, promotions)).collect();
    for id in &ids {
        site.tell(id, 0, "");
    }
    let before = resident();
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["clients", &site.address.to_string(), &promotions.to_string()])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut most = 0;
    for round in 1..=ROUNDS {
        while ids
            .iter()
            .map(|id| ctx.cache.followers(kinds::Kind::Promotion, NS, id))
            .sum::<usize>()
            < CLIENTS
        {
            assert!(child.try_wait().unwrap().is_none(), "the clients went");
            tokio::task::yield_now().await;
        }
        most = most.max(resident());
        for id in &ids {
            site.tell(id, round, &micros().to_string());
            // As from a watch, one after the other, while answers are on their way.
            tokio::task::yield_now().await;
        }
    }
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut figures = None;
    while let Some(line) = lines.next_line().await.unwrap() {
        if let Some((_, text)) = line.split_once("micros ") {
            figures = Some(
                text.split(' ')
                    .map(|text| text.parse::<f64>().unwrap() / 1000.0)
                    .collect::<Vec<_>>(),
            );
        }
    }
    most = most.max(resident());
    assert!(child.wait().await.unwrap().success(), "the clients failed");
    let figures = figures.unwrap();
    let more = most.saturating_sub(before) as f64 / 1e6;
    eprintln!(
        "{CLIENTS} clients, {name:<21} | {ROUNDS} events each | p50 {:6.1} ms | p99 {:6.1} ms | max {:6.1} ms | server +{more:.0} MB",
        figures[0], figures[1], figures[2]
    );
    assert!(figures[1] < 100.0, "p99 is {} ms", figures[1]);
    assert!(more < 100.0, "{more} MB");
}

fn clients(address: &str, promotions: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let clients = (0..CLIENTS).map(async |client| {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut client, id) = (Client(stream), promotion(client, promotions));
        let mut told = Vec::new();
        let mut seq = 0;
        while seq < ROUNDS {
            let answer = client.ask(&poll(&id, 20, seq)).await.unwrap();
            let now = micros();
            let came = answer.body["seq"].as_i64().unwrap();
            assert_eq!((answer.status, came), (200, seq + 1), "no event is missed");
            told.push(now - answer.body["message"].as_str().unwrap().parse::<u64>().unwrap());
            seq = came;
        }
        told
    });
    let told = runtime.block_on(futures::future::join_all(clients));
    let mut told: Vec<u64> = told.into_iter().flatten().collect();
    told.sort_unstable();
    let share = |percent: usize| told[(told.len() - 1) * percent / 100];
    eprintln!("answers {}", told.len());
    println!("micros {} {} {}", share(50), share(99), share(100));
}

fn serve(file: &str) {
    run(async {
        let site = Site::serve(Limits::default()).await;
        std::fs::write(file, site.address.to_string()).unwrap();
        // Whoever started it ends it.
        let ended = tokio::time::timeout(SERVED, site.end).await;
        assert!(ended.is_err(), "the server ended: {ended:?}");
    });
}
