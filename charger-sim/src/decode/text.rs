//! Indented text for a terminal.

use std::fmt::Display;

/// The longest value that is printed, in characters.
const MAX_VALUE_CHARS: usize = 600;
const NAME_WIDTH: usize = 16;

/// `text` without what could steer a terminal or reorder what a person reads: control characters, and the format
/// characters of bidirectional text, become `\u{…}`.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_steering(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

const fn is_steering(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// Lines of a name and a value, indented below headings. Every value is made [`printable`] here.
#[derive(Debug, Default)]
pub struct Text {
    out: String,
    depth: usize,
}

impl Text {
    /// A line `name  value`.
    pub fn line(&mut self, name: &str, value: impl Display) {
        self.begin();
        let value = value.to_string();
        if value.is_empty() {
            self.out.push_str(&printable(name));
        } else {
            self.out.push_str(&format!("{:NAME_WIDTH$} ", printable(name)));
            let cropped: String = value.chars().take(MAX_VALUE_CHARS).collect();
            self.out.push_str(&printable(&cropped));
            if cropped.len() < value.len() {
                self.out.push_str(" …");
            }
        }
        self.out.push('\n');
    }

    /// A line without a value.
    pub fn heading(&mut self, heading: impl Display) {
        self.line(&heading.to_string(), "");
    }

    /// A line, if there is a value.
    pub fn maybe(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.line(name, value);
        }
    }

    /// What `inner` writes, one step further in.
    pub fn indented(&mut self, inner: impl FnOnce(&mut Self)) {
        self.depth += 1;
        inner(self);
        self.depth -= 1;
    }

    /// The text.
    #[must_use]
    pub fn into_string(self) -> String {
        self.out
    }

    fn begin(&mut self) {
        for _ in 0..self.depth {
            self.out.push_str("  ");
        }
    }
}

/// Bytes in hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_is_printed() {
        let mut text = Text::default();
        text.line("a\u{1b}[2J", "x\u{9b}31m\r\n\u{202e}y\u{7}");
        assert_eq!(
            text.into_string(),
            "a\\u{1b}[2J       x\\u{9b}31m\\u{d}\\u{a}\\u{202e}y\\u{7}\n"
        );
    }

    #[test]
    fn long_values_are_cropped() {
        let mut text = Text::default();
        text.line("a", "ä".repeat(5_000));
        assert!(text.into_string().chars().count() < 640);
    }
}
