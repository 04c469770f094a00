//! The page of a result, in Markdown: what was to be reached, what was, and every pair.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::Value;

use super::Report;
use crate::measure::Bound;
use crate::pair::{Pair, Part, Taken};
use crate::sweep::Sweep;
use crate::units::show;

/// Points of a sweep that the page lists; the JSON has all.
const POINTS_SHOWN: usize = 8;

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let mut page = format!("# {}: {}\n\n{}\n\n", report.target, report.verdict.text(report.quick), report.goal);
    page.push_str("| measure | to reach | median | worst | by the median | by every pair |\n");
    page.push_str("| --- | --- | --- | --- | --- | --- |\n");
    let outcome = |bound: Bound, reached| match bound.outcome(reached) {
        "missed" => "**missed**",
        other => other,
    };
    for part in &report.parts {
        for measured in &part.measures {
            let _ = writeln!(
                page,
                "| {}: {} | {} | {} | {} | {} | {} |",
                part.title,
                measured.measure.title,
                measured.measure.bound.text(),
                show(measured.median),
                show(measured.worst),
                outcome(measured.measure.bound, measured.reached),
                outcome(measured.measure.bound, measured.worst_reached),
            );
        }
    }
    page.push('\n');
    for note in &report.notes {
        let _ = writeln!(page, "- {note}");
    }
    for part in &report.parts {
        page.push_str(&pairs(part));
    }
    for sweep in &report.sweeps {
        page.push_str(&points(sweep));
    }
    page.push_str(&origin(report));
    page
}

fn pairs(part: &Part) -> String {
    let mut text = format!("\n## {}: every pair\n\n", part.title);
    if let Some(why) = &part.stopped {
        let _ = writeln!(text, "**Ended early: {}**\n", why.lines().next().unwrap_or_default());
    }
    let figures = |side: fn(&Pair) -> &Taken| -> BTreeSet<&'static str> {
        part.pairs.iter().flat_map(|pair| side(pair).side.figures.keys().copied()).collect()
    };
    let (of_a, of_b) = (figures(|pair| &pair.a), figures(|pair| &pair.b));
    let mut heads = vec!["pair".to_owned(), "order".to_owned(), "steady".to_owned(), "load average".to_owned()];
    heads.extend(part.measures.iter().map(|measured| measured.measure.title.to_owned()));
    heads.extend(of_a.iter().map(|name| format!("{} {name}", part.name_a)));
    heads.extend(of_b.iter().map(|name| format!("{} {name}", part.name_b)));
    text.push_str(&row(&heads));
    text.push_str(&row(&vec!["---".to_owned(); heads.len()]));
    for (number, pair) in part.pairs.iter().enumerate() {
        let loads = format!("{}, {}", show(pair.a.before.load_average), show(pair.b.before.load_average));
        let steady = if pair.is_steady() { "yes" } else { "no" };
        let mut cells = vec![(number + 1).to_string(), pair.order.to_owned(), steady.to_owned(), loads];
        cells.extend(part.measures.iter().map(|measured| format!("**{}**", show(measured.values[number]))));
        cells.extend(of_a.iter().map(|name| show(pair.a.side.figure(name))));
        cells.extend(of_b.iter().map(|name| show(pair.b.side.figure(name))));
        text.push_str(&row(&cells));
    }
    for (number, pair) in part.pairs.iter().enumerate() {
        for (name, taken) in [(part.name_a, &pair.a), (part.name_b, &pair.b)] {
            for mark in &taken.side.marks {
                let _ = writeln!(text, "\nPair {}, {name}: {mark}", number + 1);
            }
        }
    }
    for measured in &part.measures {
        let _ = writeln!(text, "\n![{}]({}.svg)", measured.measure.title, measured.measure.slug);
    }
    if let Some(pair) = part.pairs.first() {
        let _ = writeln!(text, "\n```\n{}\n{}\n```", pair.a.side.command, pair.b.side.command);
    }
    text
}

fn points(sweep: &Sweep) -> String {
    let tried = sweep.tried.len();
    let mut text = format!("\n## Sweep: {}\n\nBest of {tried}: {}\n\n", sweep.side, sweep.best);
    text.push_str("| point | MB/s |\n| --- | --- |\n");
    let mut sorted: Vec<_> = sweep.tried.iter().collect();
    sorted.sort_by(|a, b| b.mb_per_s[0].total_cmp(&a.mb_per_s[0]));
    for tried in sorted.into_iter().take(POINTS_SHOWN) {
        let rates = tried.mb_per_s.iter().map(|rate| show(*rate)).collect::<Vec<_>>().join(", then ");
        text.push_str(&row(&[tried.point.clone(), rates]));
    }
    text
}

fn origin(report: &Report) -> String {
    let text = |path: &str| report.machine.pointer(path).and_then(Value::as_str).unwrap_or("unknown").to_owned();
    let number = |path: &str| report.machine.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    format!(
        "\n## Where and how\n\n```\n$ {}\ncommit   {}\nmachine  {}, {} cores, {} MiB, Linux {}\ndisk     {} on {}, write cache: {}\ntime     {} to {}\n```\n",
        report.command,
        text("/commit"),
        text("/cpu"),
        number("/cores"),
        number("/memory_bytes") >> 20,
        text("/kernel"),
        text("/disk/file_system"),
        text("/disk/device"),
        text("/disk/write_cache"),
        report.started,
        report.ended,
    )
}

fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}
