//! What the program of the suite says before a cluster is there.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

/// A folder with these programs and no other, for a machine that lacks the rest.
fn machine_with(name: &str, programs: &[&str]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    for program in programs {
        let here = env::split_paths(&env::var_os("PATH").unwrap())
            .map(|path| path.join(program))
            .find(|path| path.exists());
        let link = folder.join(program);
        if !link.exists() {
            std::os::unix::fs::symlink(here.unwrap(), link).unwrap();
        }
    }
    folder
}

fn suite(arguments: &[&str], machine: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bellwether-e2e"))
        .args(arguments)
        .env("PATH", machine)
        // No folder can be made here, so nothing is built or fetched.
        .env("BELLWETHER_CACHE", "/dev/null")
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    assert!(!output.status.success(), "it went well: {output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_the_build_of_the_cluster_says_is_shown() {
    let machine = machine_with("build", &["bash", "dirname", "mkdir"]);
    let said = stderr(&suite(&["tools"], &machine));
    assert!(said.contains("mkdir"), "{said}");
    assert!(said.contains("the cluster's parts could not be built"), "{said}");
}

#[test]
fn story_that_needs_java_says_so_before_anything_is_built() {
    let machine = machine_with("java", &["bash", "dirname"]);
    let said = stderr(&suite(&["test", "jenkins-library"], &machine));
    assert!(said.contains("the Jenkins library need java"), "{said}");
    assert!(!said.contains("the cluster's parts"), "{said}");
}

#[test]
fn names_and_numbers_that_cannot_be_used_are_refused_before_anything_is_built() {
    let machine = machine_with("names", &[]);
    for (arguments, named) in [
        (&["test", "good-release", "god-release"][..], "\"god-release\""),
        (&["test", "--quick", "good-release"], "--quick"),
        (&["test", "--jobs", "0"], "--jobs"),
        (&["test", "--quikc"], "--quikc"),
    ] {
        let said = stderr(&suite(arguments, &machine));
        assert!(said.contains(named), "{arguments:?}: {said}");
    }
}

#[test]
fn list_tells_why_a_story_is_played() {
    let listed = suite(&["test", "--list", "--quick"], &machine_with("list", &[]));
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.lines().all(|line| line.contains("every run")), "{listed}");
    assert!(listed.contains("good-release"), "{listed}");
    assert!(!listed.contains("jenkins-library"), "{listed}");
}
