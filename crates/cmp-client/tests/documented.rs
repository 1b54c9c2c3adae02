//! `docs/errors.md` has a row for each error.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

const TABLES: &str = include_str!("../../../docs/errors.md");

/// Where each enum of errors is defined.
const ENUMS: &[(&str, &str)] = &[
    ("Failure", include_str!("../src/failure.rs")),
    ("RequestError", include_str!("../src/failure.rs")),
    ("StateError", include_str!("../src/failure.rs")),
    ("ResponseError", include_str!("../src/response_error.rs")),
    ("Refusal", include_str!("../src/issued.rs")),
    ("RootUpdateError", include_str!("../src/root_update.rs")),
    ("TemplateError", include_str!("../src/template.rs")),
    (
        "ValidationError",
        include_str!("../../cmp-message/src/validate.rs"),
    ),
    ("PathFailure", include_str!("../../cmp-message/src/path.rs")),
    ("MacError", include_str!("../../cmp-message/src/mac.rs")),
    ("CrlError", include_str!("../../cmp-message/src/crl.rs")),
    (
        "CertificateError",
        include_str!("../../cmp-message/src/certificate.rs"),
    ),
    (
        "EnvelopeError",
        include_str!("../../cmp-message/src/envelope/error.rs"),
    ),
    ("CryptoError", include_str!("../../cmp-message/src/crypto/mod.rs")),
    (
        "UnacceptableKey",
        include_str!("../../cmp-message/src/crypto/public_key.rs"),
    ),
];

/// The variants of an enum, as the formatter lays them out: four spaces, and a name that begins with a capital.
fn variants(name: &str, source: &str) -> Vec<String> {
    let (_, behind) = source
        .split_once(&format!("pub enum {name} {{\n"))
        .unwrap_or_else(|| panic!("where is {name}?"));
    let (inside, _) = behind.split_once("\n}").unwrap();
    let lines = inside.lines().filter_map(|line| line.strip_prefix("    "));
    let variants = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    variants
        .map(|line| {
            line.split(|c: char| !c.is_ascii_alphanumeric())
                .next()
                .unwrap()
                .to_owned()
        })
        .collect()
}

#[test]
fn every_error_has_exactly_one_row_with_cause_and_cure_and_no_row_is_without_an_error() {
    let rows: Vec<&str> = TABLES.lines().filter(|line| line.starts_with("| `")).collect();
    let mut expected = Vec::new();
    for (name, source) in ENUMS {
        let variants = variants(name, source);
        assert!(!variants.is_empty(), "{name}");
        expected.extend(variants.iter().map(|variant| format!("{name}::{variant}")));
    }
    let mut documented = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 3, "{row}");
        assert!(cells.iter().all(|cell| !cell.is_empty()), "{row}");
        documented.push(cells[0].trim_matches('`').to_owned());
    }
    expected.sort();
    documented.sort();
    let missing: Vec<_> = expected
        .iter()
        .filter(|error| !documented.contains(error))
        .collect();
    assert!(missing.is_empty(), "without a row in docs/errors.md: {missing:?}");
    assert_eq!(
        documented, expected,
        "rows that are there twice, or without an error"
    );
}
