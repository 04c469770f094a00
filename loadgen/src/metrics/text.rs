//! Prometheus text: a name, labels in braces, a value on each line.

use super::Figures;

/// The figures by their names with labels; lines that are none are passed over.
pub(super) fn parse(text: &str) -> Figures {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<(String, f64)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let name_end = match line.find('{') {
        Some(open) => open + labels_bytes(&line[open..])?,
        None => line.find(char::is_whitespace)?,
    };
    let (name, rest) = line.split_at(name_end);
    let value: f64 = rest.split_whitespace().next()?.parse().ok()?;
    value.is_finite().then(|| (name.trim().to_owned(), value))
}

/// How long labels are with their braces: a quoted value may hold any character.
fn labels_bytes(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = quoted,
            '"' => quoted = !quoted,
            '}' if !quoted => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// A name without its labels.
pub(super) fn family(name: &str) -> &str {
    name.split('{').next().unwrap_or(name)
}
