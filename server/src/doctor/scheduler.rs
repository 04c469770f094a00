//! The kernel's I/O scheduler that a disk's requests pass through, and whether it lets them.

use std::fs;

use devices::Disk;

use super::Finding;

const WHAT: &str = "scheduler";

/// Those that pass requests on as they come, or nearly so.
const GOOD: [&str; 2] = ["none", "mq-deadline"];

/// What is there, and what would be better.
pub(super) fn finding(disk: &Disk) -> Finding {
    let Disk { name, rotates, folder } = disk;
    let text = match fs::read_to_string(folder.join("queue/scheduler")) {
        Ok(text) => text,
        Err(error) => return Finding::untold(WHAT, format!("{name}: it can't be read: {error}")),
    };
    let Some(current) = current(&text) else {
        return Finding::untold(WHAT, format!("{name}: the kernel says {:?}, which names none", text.trim()));
    };
    if GOOD.contains(&current) {
        return Finding::good(WHAT, format!("{name}: {current}"));
    }
    let reason = match current {
        "bfq" => "it shares the disk out among processes, for CPU time at every request",
        "kyber" => "it holds writes back, so that reads are quick",
        _ => "it is not known to pass requests on as they come",
    };
    // A head that moves is worth sorting for, by whoever moves it: of a virtual disk that is its host.
    let is_hosted = folder.iter().any(|part| part.to_string_lossy().starts_with("virt"));
    let better = if *rotates == Some(true) && !is_hosted { "mq-deadline" } else { "none" };
    let advice = format!(
        "{reason}; as root: echo {better} > /sys/block/{name}/queue/scheduler, and for the next boot a udev rule: \
         ACTION==\"add|change\", KERNEL==\"{name}\", ATTR{{queue/scheduler}}=\"{better}\""
    );
    Finding::fair(WHAT, format!("{name}: {current}"), &advice)
}

/// The one in brackets, or the only one.
pub(super) fn current(text: &str) -> Option<&str> {
    let bracketed = text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    bracketed.or_else(|| match text.split_whitespace().collect::<Vec<_>>()[..] {
        [only] => Some(only),
        _ => None,
    })
}
