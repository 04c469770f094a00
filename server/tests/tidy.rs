//! Rules of the workspace that no lint knows: who depends on whom, what no crate names, how files begin and how long they get.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, what helps it too")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{Metadata, MetadataCommand, TargetKind};

/// Lines of a file without its tests; past it a file is split by verb.
const LINES_MAX: usize = 500;

/// Of the workspace's crates, those that each may depend on, for its tests too.
const MAY_DEPEND_ON: [(&str, &[&str]); 14] = [
    ("frame", &[]),
    ("io", &[]),
    ("engine", &["frame", "io"]),
    ("sim", &["frame", "io", "engine"]),
    ("fuzz", &["frame", "io", "engine", "sim", "wire"]),
    ("cutdisk", &[]),
    ("devices", &[]),
    ("wire", &[]),
    ("client", &["frame"]),
    ("server", &["frame", "io", "engine", "wire", "devices", "cutdisk", "client"]),
    ("loadgen", &["frame", "devices"]),
    ("benches", &["frame", "io", "engine", "wire"]),
    ("limit", &[]),
    ("pairs", &["frame", "devices"]),
];

/// What the source of a crate never names, outside of comments.
const NEVER_NAMES: [(&str, &[&str]); 3] = [
    // Bodies are written to what is `std::io::Write`.
    ("server/wire/src", &["std::net", "std::fs", "std::thread", "std::time"]),
    ("engine/frame/src", &["std::net", "std::fs", "std::io", "std::thread", "std::time"]),
    (
        "engine/src",
        &["std::net", "std::fs", "std::thread", "std::time", "std::env", "http", "json", "kinesis", "aws", "arn:"],
    ),
];

/// The only places of `unsafe`.
const UNSAFE_IN: [&str; 2] = ["engine/io/", "benches/limit/"];

fn metadata() -> Metadata {
    MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Workspaces of their own, so that what they depend on stays out of every other build: the coverage-guided fuzzer's glue,
/// and the service's own SDK.
const OWN_WORKSPACES: [&str; 2] = ["engine/fuzz/libfuzzer", "server/sdk"];

/// All files below the root with one of these endings, by their path from there.
fn files(endings: &[&str]) -> Vec<String> {
    let (mut found, mut folders) = (Vec::new(), vec![root()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !path.is_symlink() {
                let own =
                    path.strip_prefix(root()).is_ok_and(|path| OWN_WORKSPACES.iter().any(|own| path == Path::new(own)));
                if name != "target" && name != ".git" && !own {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path.strip_prefix(root()).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    assert!(!found.is_empty(), "no files that end in {endings:?}");
    found.sort();
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Lines of code with their numbers, without those that are comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Whether a file holds nothing but tests.
fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("tests.rs")
}

#[track_caller]
fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn dependencies_point_one_way() {
    let metadata = metadata();
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let Some((_, allowed)) = MAY_DEPEND_ON.iter().find(|(name, _)| *name == package.name.as_str()) else {
            wrong.push(format!("crate {} is not in the table of who may depend on whom: add it", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            if ours.contains(dependency.name.as_str()) && !allowed.contains(&dependency.name.as_str()) {
                wrong.push(format!("{} may not depend on {}", package.name, dependency.name));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn no_crate_names_what_is_not_its_business() {
    let mut wrong = Vec::new();
    for path in files(&[".rs"]).iter().filter(|path| !is_test(path)) {
        for (folder, words) in NEVER_NAMES.iter().filter(|(folder, _)| path.starts_with(&format!("{folder}/"))) {
            let text = read(path);
            for (number, line) in code(&text) {
                let line = line.to_ascii_lowercase();
                let named = words.iter().filter(|word| line.contains(*word));
                wrong.extend(named.map(|word| format!("{path}:{number} names `{word}`, which {folder} never does")));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = files(&[".rs"]).into_iter().filter(|path| !read(path).starts_with("//! "));
    let wrong: Vec<String> =
        silent.map(|path| format!("{path} does not begin with `//! ` and what it is for")).collect();
    assert_none(&wrong);
}

#[test]
fn no_file_grows_past_its_limit() {
    let mut wrong = Vec::new();
    for path in files(&[".rs"]).iter().filter(|path| !is_test(path)) {
        let text = read(path);
        let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
        if lines > LINES_MAX {
            wrong.push(format!("{path} has {lines} lines, {LINES_MAX} is the most: split it by verb"));
        }
    }
    assert_none(&wrong);
}

#[test]
fn lints_are_expected_with_reasons_and_apply_everywhere() {
    let mut wrong = Vec::new();
    for path in files(&[".rs"]) {
        let text = read(&path);
        // In two pieces, so that this very line is not one.
        let allow = [concat!("#[", "allow("), concat!("#![", "allow(")];
        let found = code(&text).filter(|(_, line)| allow.iter().any(|allow| line.contains(allow)));
        wrong.extend(found.map(|(number, _)| format!("{path}:{number}: write #[expect(lint, reason = \"...\")]")));
        let outside = !UNSAFE_IN.iter().any(|folder| path.starts_with(folder));
        let blocks = [concat!("unsafe", " {"), concat!("unsafe", " fn"), concat!("unsafe", " impl")];
        let found = code(&text).filter(|(_, line)| outside && blocks.iter().any(|block| line.contains(block)));
        wrong.extend(found.map(|(number, _)| format!("{path}:{number}: unsafe is for {UNSAFE_IN:?} alone")));
    }
    for path in files(&["Cargo.toml"]).iter().filter(|path| path.contains('/')) {
        if !read(path).contains("[lints]\nworkspace = true") {
            wrong.push(format!("{path} does not take the workspace's lints"));
        }
    }
    assert_none(&wrong);
}

#[test]
fn every_file_is_part_of_a_crate() {
    let metadata = metadata();
    let mut reached = BTreeSet::new();
    for target in metadata.packages.iter().flat_map(|package| &package.targets) {
        walk(target.src_path.as_std_path(), true, &mut reached);
    }
    let dead = files(&[".rs"]).into_iter().filter(|path| !reached.contains(&root().join(path)));
    let wrong: Vec<String> =
        dead.map(|path| format!("{path} is not part of any crate: delete it, or name its module")).collect();
    assert_none(&wrong);
}

/// Follows `mod name;` from a file to those that it names.
fn walk(file: &Path, is_root: bool, reached: &mut BTreeSet<PathBuf>) {
    if !reached.insert(file.to_owned()) {
        return;
    }
    let beside = file.parent().unwrap();
    let inside = if is_root || file.ends_with("mod.rs") { beside.to_owned() } else { file.with_extension("") };
    let mut path = None;
    let text = fs::read_to_string(file).unwrap();
    for line in text.lines().map(str::trim) {
        if let Some(quoted) = line.strip_prefix("#[path = \"") {
            path = quoted.strip_suffix("\"]").map(|path| beside.join(path));
            continue;
        }
        let public =
            line.strip_prefix("pub(crate) ").or(line.strip_prefix("pub(super) ")).or(line.strip_prefix("pub "));
        let name = public.unwrap_or(line).strip_prefix("mod ").and_then(|name| name.strip_suffix(';'));
        if let Some(name) = name {
            let usual = [inside.join(format!("{name}.rs")), inside.join(name).join("mod.rs")];
            let named = path.take().into_iter().chain(usual).find(|file| file.exists());
            let named = named.unwrap_or_else(|| panic!("{} names a module {name} that has no file", file.display()));
            walk(&normal(&named), false, reached);
        }
    }
}

/// Without `..`, so that equal files are equal.
fn normal(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap()
}

#[test]
fn benchmarks_run_under_test_and_nothing_is_left_out() {
    let mut wrong = Vec::new();
    for target in metadata().packages.iter().flat_map(|package| &package.targets) {
        if target.kind.contains(&TargetKind::Bench) && !target.test {
            wrong.push(format!("bench {} does not run under cargo test: set test = true", target.name));
        }
    }
    if read("Cargo.toml").contains("default-members") {
        wrong.push("the workspace has default-members: then cargo test leaves crates out".to_owned());
    }
    for pinned in files(&[".toml", "rust-toolchain"]).iter().filter(|path| path.contains("rust-toolchain")) {
        wrong.push(format!("{pinned} pins a toolchain: rust-version says what is needed"));
    }
    assert_none(&wrong);
}

#[test]
fn documents_link_to_what_is_there() {
    let mut wrong = Vec::new();
    for document in files(&[".md"]) {
        // What programs have in brackets is no link.
        let text: String = read(&document).split("```").step_by(2).collect();
        let folder = root().join(&document).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let outside = link.contains("://") || link.is_empty();
            if !outside && !folder.join(link).exists() {
                wrong.push(format!("{document} links to {link}, which is not there"));
            }
        }
    }
    let architecture = read("ARCHITECTURE.md");
    for name in architecture.split('`').skip(1).step_by(2) {
        let is_file = name.contains('/') && [".rs", ".md", ".toml"].iter().any(|ending| name.ends_with(ending));
        if is_file && !name.contains(['*', ' ']) && !root().join(name).exists() {
            wrong.push(format!("ARCHITECTURE.md names {name}, which is not there"));
        }
    }
    assert_none(&wrong);
}
