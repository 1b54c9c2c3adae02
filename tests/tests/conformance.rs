//! `docs/conformance.md` names tests that exist.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use std::fs;
use std::path::PathBuf;

use system_tests::here;

/// Where the files of the second and of the third column are.
const FOLDERS: [&str; 2] = ["crates/cmp-client/tests", "crates/lab-ra/tests"];

/// The code in a text: what is between two backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// What is wrong with a reference `FILE: NAME; NAME` whose file is in this folder unless it begins with `/`.
fn missing(reference: &str, folder: &str) -> Vec<String> {
    let (file, names) = reference.split_once(": ").expect(reference);
    let file = file
        .strip_prefix('/')
        .map_or_else(|| format!("{folder}/{file}.rs"), |file| format!("{file}.rs"));
    let path: PathBuf = here().join("..").join(&file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    let is_there = |name: &str| {
        let row = format!("\"{name}\"");
        text.contains(&row) || text.contains(&format!("fn {name}("))
    };
    let names = names.split("; ").filter(|name| !is_there(name));
    names.map(|name| format!("{file}: {name}")).collect()
}

#[test]
fn every_test_that_the_table_of_conformance_names_is_there() {
    let table = fs::read_to_string(here().join("../docs/conformance.md")).unwrap();
    let mut lines = 0;
    let mut wrong = Vec::new();
    for row in table.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 3, "{row}");
        if matches!(cells[0], "line" | "RFC 9483") {
            continue;
        }
        lines += 1;
        let named = cells[1..].iter().flat_map(|cell| code(cell)).count();
        assert!(named > 0, "no test: {row}");
        for (cell, folder) in cells[1..].iter().zip(FOLDERS) {
            assert!(*cell == "–" || code(cell).count() > 0, "{row}");
            wrong.extend(code(cell).flat_map(|reference| missing(reference, folder)));
        }
    }
    assert!(lines > 80, "{lines} lines");
    assert!(wrong.is_empty(), "named and not there: {wrong:#?}");
}
