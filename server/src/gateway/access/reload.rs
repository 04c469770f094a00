//! Takes the keys of a file that has changed, once it stays as it is: whoever writes it may not have done. One that is of no use
//! leaves those that there are.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::credentials::Credentials;
use crate::gateway::Common;

/// The file is looked at so often.
const EVERY: Duration = Duration::from_millis(500);

/// What is not the same of two states of a file.
type Stamp = Option<(u64, u64, u64, i64, i64, i64, i64)>;

/// Looks after the file, if there is one, until the server ends.
pub(crate) async fn reload(common: Arc<Common>) {
    let Some((file, keys)) = &common.access.keys else { return };
    // It may have changed since it was read, so it is read again once.
    let (mut seen, mut last): (Option<Stamp>, Option<Stamp>) = (None, None);
    loop {
        let (path, own, before, previous) = (file.path.clone(), common.access.own.clone(), seen, last);
        let look = move || {
            // Before it is read: what changes meanwhile is seen the next time.
            let now = stamp(&path).ok();
            let is_settled = previous == Some(now);
            (now, (is_settled && before != Some(now)).then(|| Credentials::read(&path, &own)))
        };
        // It ends without an answer only where the server does.
        let Ok((now, read)) = tokio::task::spawn_blocking(look).await else { return };
        last = Some(now);
        if let Some(read) = read {
            match read {
                Ok(read) => {
                    if seen.is_some() {
                        tracing::info!(file = %file.path.display(), keys = read.count(), "the credentials file has changed: its keys hold");
                    }
                    *keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(read);
                }
                Err(error) => tracing::warn!(%error, "the keys stay as they were"),
            }
            seen = Some(now);
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn stamp(path: &Path) -> io::Result<(u64, u64, u64, i64, i64, i64, i64)> {
    let told = path.metadata()?;
    Ok((told.dev(), told.ino(), told.size(), told.mtime(), told.mtime_nsec(), told.ctime(), told.ctime_nsec()))
}
