//! The import rules of ARCHITECTURE.md: the pure core names no client, clock, runtime or log.

use std::{fs, path::Path};

fn sources(folder: &str, found: &mut Vec<(String, String)>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        let relative = path
            .strip_prefix(env!("CARGO_MANIFEST_DIR"))
            .unwrap()
            .display()
            .to_string();
        if path.is_dir() {
            sources(&relative, found);
        } else if relative.ends_with(".rs") {
            found.push((relative, fs::read_to_string(&path).unwrap()));
        }
    }
}

fn assert_absent(folders: &[&str], words: &[&str]) {
    let mut found = Vec::new();
    for folder in folders {
        sources(folder, &mut found);
    }
    assert!(found.len() >= folders.len(), "no sources under {folders:?}");
    for (file, text) in found {
        for word in words {
            let hit = text
                .lines()
                .find(|line| !line.trim_start().starts_with("//") && line.contains(word));
            assert!(hit.is_none(), "{file} names {word}: {}", hit.unwrap_or_default());
        }
    }
}

#[test]
fn pure_core_names_no_client_clock_runtime_or_log() {
    let words = [
        "kube::Client",
        "kube::Api",
        "tokio",
        "reqwest",
        "tracing",
        "Utc::now",
        "Instant::now",
        "async fn",
        "rand::",
    ];
    assert_absent(&["core/src"], &words);
}

#[test]
fn what_is_pure_of_the_jenkins_client_names_no_client_clock_runtime_or_log() {
    let words = ["tokio", "reqwest", "tracing", "now()", "async fn", "fastrand"];
    for file in [
        "build", "error", "job", "link", "order", "queue", "track", "trigger",
    ] {
        let path = format!("{}/src/jenkins/{file}.rs", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(&path).unwrap();
        let mut code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let hit = code.find(|line| words.iter().any(|word| line.contains(word)));
        assert_eq!(hit, None, "{path}");
    }
}

#[test]
fn what_is_pure_of_the_outbox_names_no_client_clock_runtime_or_log() {
    let words = [
        "tokio", "reqwest", "tracing", "now()", "async fn", "kube::", "Context",
    ];
    for file in ["cdevent", "cloud_event", "lines", "purl", "verdict"] {
        let path = format!("{}/src/outbox/{file}.rs", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(&path).unwrap();
        let mut code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let hit = code.find(|line| words.iter().any(|word| line.contains(word)));
        assert_eq!(hit, None, "{path}");
    }
}

#[test]
fn core_depends_on_no_client_runtime_or_log() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("core/Cargo.toml")).unwrap();
    let needed = manifest.split("[dev-dependencies]").next().unwrap();
    for word in [
        "tokio",
        "reqwest",
        "tracing",
        "\"client\"",
        "\"runtime\"",
        "\"clock\"",
        "fastrand",
    ] {
        assert!(!needed.contains(word), "core/Cargo.toml names {word}");
    }
}

#[test]
fn only_the_command_line_names_the_simulated_cluster() {
    let mut folders = Vec::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() && name != "sim" && name != "cli" {
            folders.push(format!("src/{name}"));
        }
    }
    let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    assert_absent(&folders, &["sim::"]);
}

#[test]
fn stories_name_nothing_of_the_library_but_the_simulated_cluster_and_how_bars_are_drawn() {
    // The client of Jenkins has no cluster to be tested in: it meets the fake Jenkins, which stands there.
    let client = ["jenkins", "jitter"].map(|room| format!("bellwether::{room}::"));
    let allowed = ["bellwether::sim::", "bellwether::paint::"];
    let mut found = Vec::new();
    sources("e2e/src", &mut found);
    sources("e2e/tests", &mut found);
    assert!(found.len() > 20, "no sources under e2e");
    for (file, text) in found {
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let named = line.match_indices("bellwether::").map(|(at, _)| &line[at..]);
            let about_jenkins = file.starts_with("e2e/tests/jenkins/");
            let foreign = named.filter(|name| {
                let of_client = client.iter().any(|room| name.starts_with(room));
                let known = allowed.iter().any(|room| name.starts_with(room));
                !(known || about_jenkins && of_client)
            });
            assert_eq!(foreign.count(), 0, "{file} names the library: {line}");
        }
    }
}
