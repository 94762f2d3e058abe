//! No module of the core imports its siblings in a circle, so that each can be read after those it stands on.
//!
//! What a module names of another one counts for the two siblings that they are, or are inside of. A module and those
//! inside of it may name each other. A re-export counts for the module that has what is re-exported.

#![allow(clippy::unwrap_used, reason = "a test ends where its preparation fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Code by name of the module, such as `crate::rollout::decide`.
type Modules = BTreeMap<String, String>;
/// What each of some siblings imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// Reads the modules of `folder`, without tests and comments.
fn read(folder: &Path, outer: &str, found: &mut Modules) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let inner = match path.file_stem().unwrap().to_str().unwrap() {
            "tests" | "world" => continue,
            "lib" | "mod" => outer.to_owned(),
            name => format!("{outer}::{name}"),
        };
        if path.is_dir() {
            read(&path, &inner, found);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let lines = code.lines().map(|line| line.split("//").next().unwrap());
        found.insert(inner, lines.collect::<Vec<_>>().join("\n"));
    }
}

/// The paths in `code`, those in a list with what stands before it; and whether each of them is imported.
fn paths(code: &str) -> Vec<(String, bool)> {
    let (mut found, mut before, mut imported) = (Vec::new(), Vec::<String>::new(), false);
    let ends = |c: char| !c.is_alphanumeric() && c != '_' && c != ':';
    for part in code.split_inclusive(ends) {
        let path = part.trim_end_matches(ends);
        let whole = before.last().cloned().unwrap_or_default() + path;
        imported |= path == "use";
        if !path.is_empty() && !path.ends_with("::") {
            found.push((whole.trim_end_matches("::self").to_owned(), imported));
        }
        match part.chars().last() {
            Some('{') if path.ends_with("::") => before.push(whole),
            Some('{') => before.push(String::new()),
            Some('}') => drop(before.pop()),
            Some(';') => imported = false,
            _ => {}
        }
    }
    found
}

/// What `path` means in `module`, if it begins with `crate`, `super` or a module inside of it.
fn absolute(path: &str, module: &str, all: &Modules) -> Option<String> {
    let (mut base, mut rest) = (module, path);
    while let Some(inner) = rest.strip_prefix("super::") {
        (base, rest) = (base.rsplit_once("::")?.0, inner);
    }
    let child = format!("{base}::{}", rest.split("::").next()?);
    let ours = rest != path || all.contains_key(&child);
    let crates = rest.starts_with("crate::").then(|| rest.to_owned());
    crates.or_else(|| ours.then(|| format!("{base}::{rest}")))
}

/// By the name of each module: what those that are right inside of it import of each other.
fn siblings(all: &Modules) -> BTreeMap<String, Imports> {
    let (mut named, mut exports) = (Vec::new(), BTreeMap::new());
    for (module, code) in all {
        for (path, imported) in paths(code) {
            let Some(path) = absolute(&path, module, all) else {
                continue;
            };
            let export = format!("{module}::{}", path.rsplit("::").next().unwrap());
            if imported && export != path {
                exports.insert(export, path.clone());
            }
            named.push((module, path));
        }
    }
    let mut found: BTreeMap<String, Imports> = BTreeMap::new();
    for (module, path) in &named {
        let mut home = path.as_str();
        while !all.contains_key(home) {
            let outer = || home.rsplit_once("::").unwrap().0;
            home = exports.get(home).map_or_else(outer, String::as_str);
        }
        let both = module.split("::").zip(home.split("::"));
        let outer: Vec<&str> = both.map_while(|(a, b)| (a == b).then_some(a)).collect();
        let inside = |name: &str| name.split("::").nth(outer.len()).map(str::to_owned);
        if let (Some(one), Some(other)) = (inside(module), inside(home)) {
            let imports = found.entry(outer.join("::")).or_default();
            imports.entry(one).or_default().insert(other);
        }
    }
    found
}

/// What is left without those that import none of the others, and those that none of the others imports.
fn circles(mut imports: Imports) -> Imports {
    loop {
        let before = imports.clone();
        imports.retain(|one, others| {
            others.retain(|other| before.contains_key(other));
            !others.is_empty() && before.values().any(|others| others.contains(one))
        });
        if imports == before {
            return imports;
        }
    }
}

#[test]
fn siblings_do_not_import_each_other_in_circles() {
    let mut all = Modules::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    read(folder.as_ref(), "crate", &mut all);
    assert!(all.len() > 80, "only {} modules were read", all.len());
    for (outer, imports) in siblings(&all) {
        assert_eq!(circles(imports), Imports::new(), "inside of {outer}");
    }
}

#[test]
fn circle_is_found_through_lists_and_re_exports() {
    let code = [
        ("crate", "mod apex; pub use apex::Thing;"),
        (
            "crate::apex",
            "use crate::{last::X, other::{self, Part as Piece}};",
        ),
        ("crate::first", "use crate::apex;"),
        ("crate::last", ""),
        ("crate::other", "fn f() { super::Thing::new() }"),
    ];
    let all = code.map(|(name, text)| (name.to_owned(), text.to_owned()));
    let found = circles(siblings(&all.into()).remove("crate").unwrap());
    assert_eq!(found.into_keys().collect::<Vec<_>>(), ["apex", "other"]);
}
