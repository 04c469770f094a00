//! The disk as a test owns it: started, formatted, mounted, cut, restored, and always cleaned up.
//!
//! Owned by one thread; whatever writes to the mounted file system runs elsewhere. Order of what is
//! held: FUSE mount, then loop device, then ext4 mount. It is given back in the reverse order.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use fuser::{BackgroundSession, Config, MountOption, Session};

use crate::fuse::{DiskFile, FILE_NAME, MOUNT_NAME, Powered, Shared};
use crate::host;
use crate::missing::Missing;
use crate::store::{CACHE_BYTES_MAX, Counters, Cut, Profile, Store};

const FUSE_THREADS: usize = 2;
/// How long a cut waits for a flush to arrive. Under synchronous load one comes every millisecond.
const FLUSH_WAIT_MAX: Duration = Duration::from_millis(50);

/// What went wrong with a disk that had been set up.
#[derive(Debug)]
pub enum Fault {
    /// A tool of the system failed.
    Program {
        /// Which.
        program: &'static str,
        /// What it said.
        said: String,
    },
    /// The kernel would not mount the file system.
    Mount {
        /// The loop device that carries it.
        device: PathBuf,
        /// Where it was to be mounted.
        at: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// The kernel would not unmount the file system, not even lazily.
    Unmount {
        /// Where it is mounted.
        at: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// No loop device could be attached again.
    Attach(Missing),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Program { program, said } => write!(f, "{program} failed: {said}"),
            Fault::Mount { device, at, cause } => {
                write!(f, "mounting {} at {} failed ({cause}): see the kernel's log", device.display(), at.display())
            }
            Fault::Unmount { at, cause } => {
                write!(f, "unmounting {} failed: {cause}", at.display())
            }
            Fault::Attach(missing) => write!(f, "{missing}"),
        }
    }
}

impl std::error::Error for Fault {}

/// A disk with a volatile write cache, attached to a loop device, whose power can be cut.
pub struct CutDisk {
    shared: Arc<Shared>,
    session: Option<BackgroundSession>,
    /// The session's number in the kernel.
    connection: Option<u32>,
    fuse_dir: PathBuf,
    mount_dir: PathBuf,
    device: Option<PathBuf>,
    mounted: bool,
}

/// A disk that answers nobody.
pub struct Held<'a>(#[expect(dead_code, reason = "it is held, and not looked at")] MutexGuard<'a, Powered>);

impl CutDisk {
    /// Starts an empty disk of `bytes` (rounded down to 4 KiB); its mount points lie below `dir`. It lies in memory, of
    /// which it takes twice what is ever written to it. The seed decides what its cuts keep.
    ///
    /// # Errors
    /// What this machine lacks, see [`require_or_skip`](crate::require_or_skip).
    pub fn start(dir: &Path, bytes: u64, seed: u64) -> Result<CutDisk, Missing> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        host::check()?;
        host::sweep(dir);
        let fuse_dir = host::make_mount_point(dir, NUMBER.fetch_add(1, Ordering::Relaxed))?;
        let bytes = usize::try_from(bytes & !4095).expect("a disk in memory fits its addresses");
        let shared = Arc::new(Shared::new(Store::new(bytes, CACHE_BYTES_MAX, seed)));
        // From here on a failure drops the disk, which takes back what was done so far.
        let mut disk = CutDisk {
            shared,
            session: None,
            connection: None,
            mount_dir: fuse_dir.join(MOUNT_NAME),
            fuse_dir,
            device: None,
            mounted: false,
        };
        disk.session = Some(disk.serve()?);
        disk.connection = host::fuse_connection(&disk.fuse_dir);
        disk.device = Some(host::attach(&disk.file())?);
        Ok(disk)
    }

    /// Makes an ext4 on the disk.
    ///
    /// # Errors
    /// When `mkfs.ext4` fails.
    ///
    /// # Panics
    /// When the disk is mounted or its power is off.
    pub fn mkfs(&mut self) -> Result<(), Fault> {
        assert!(!self.mounted, "a mounted disk cannot be formatted");
        host::mkfs(self.device())
    }

    /// Mounts the disk's ext4 and returns where.
    ///
    /// # Errors
    /// When the kernel refuses the file system.
    ///
    /// # Panics
    /// When the disk is mounted already or its power is off.
    pub fn mount(&mut self) -> Result<&Path, Fault> {
        assert!(!self.mounted, "the disk is mounted already");
        host::mount_ext4(self.device(), &self.mount_dir)?;
        self.mounted = true;
        // From now on the device goes when the mount goes, even if this process is killed.
        host::detach(self.device())?;
        Ok(&self.mount_dir)
    }

    /// Cuts the power, by a profile in turn, half of the times as a flush arrives; unmounts and
    /// detaches what the disk carried.
    ///
    /// # Errors
    /// When the dead file system cannot be unmounted. The power is off all the same.
    ///
    /// # Panics
    /// When the power is off.
    pub fn cut(&mut self) -> Result<Cut, Fault> {
        let (profile, at_flush) = self.shared.lock().store.draw();
        let flush_wait = if at_flush { FLUSH_WAIT_MAX } else { Duration::ZERO };
        self.cut_by(profile, flush_wait)
    }

    /// Cuts the power by the given profile, as the next flush arrives that has something to make durable: the moment
    /// at which the most is at stake. Where none comes within `flush_wait`, and at once where that is zero, it is cut
    /// all the same.
    ///
    /// # Errors
    /// When the dead file system cannot be unmounted. The power is off all the same.
    ///
    /// # Panics
    /// When the power is off.
    pub fn cut_by(&mut self, profile: Profile, flush_wait: Duration) -> Result<Cut, Fault> {
        assert!(self.shared.lock().power_on, "the power is off already");
        let (mut disk, at_flush) = self.shared.power_off(flush_wait);
        disk.flushes_to_fail = 0;
        let cut = Cut { at_flush, ..disk.store.cut(profile) };
        drop(disk);
        self.let_go()?;
        Ok(cut)
    }

    /// Puts the power back on, attaches and mounts: ext4 replays its journal.
    ///
    /// # Errors
    /// When no loop device can be attached or the kernel refuses the file system.
    ///
    /// # Panics
    /// When the power is on.
    pub fn restore(&mut self) -> Result<&Path, Fault> {
        {
            let mut disk = self.shared.lock();
            assert!(!disk.power_on, "the power is on already");
            disk.power_on = true;
            disk.life += 1;
        }
        self.device = Some(host::attach(&self.file()).map_err(Fault::Attach)?);
        self.mount()
    }

    /// Lets the next `count` flushes fail with EIO. What is in the cache when one fails is read
    /// back until the next cut but never becomes durable. A cut ends this.
    pub fn fail_flushes(&self, count: u64) {
        self.shared.lock().flushes_to_fail = count;
    }

    /// The disk answers nobody until what this returns is dropped.
    pub fn hold(&self) -> Held<'_> {
        Held(self.shared.lock())
    }

    /// What the disk has done since it was started.
    pub fn counters(&self) -> Counters {
        self.shared.lock().store.counters
    }

    /// Where the ext4 is mounted while it is.
    pub fn path(&self) -> &Path {
        &self.mount_dir
    }

    fn file(&self) -> PathBuf {
        self.fuse_dir.join(FILE_NAME)
    }

    fn device(&self) -> &Path {
        self.device.as_deref().expect("the power is on")
    }

    fn serve(&self) -> Result<BackgroundSession, Missing> {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("cutdisk".to_owned())];
        config.n_threads = Some(FUSE_THREADS);
        config.clone_fd = true;
        Session::new(DiskFile::new(Arc::clone(&self.shared)), &self.fuse_dir, &config)
            .and_then(Session::spawn)
            .map_err(|cause| Missing::FuseMount { path: self.fuse_dir.clone(), cause })
    }

    /// Unmounts the ext4 and detaches the loop device, whichever of them there is.
    fn let_go(&mut self) -> Result<(), Fault> {
        if std::mem::take(&mut self.mounted) {
            self.device = None;
            return host::unmount(&self.mount_dir);
        }
        match self.device.take() {
            Some(device) => host::detach(&device),
            None => Ok(()),
        }
    }
}

impl Drop for CutDisk {
    /// Gives everything back. Errors are printed: there is nobody to return them to.
    fn drop(&mut self) {
        if let Err(fault) = self.let_go() {
            eprintln!("cutdisk: {fault}");
        }
        // Whoever still has a file open, perhaps because the test panicked, gets EIO from here on.
        self.shared.lock().power_on = false;
        if let Some(session) = self.session.take() {
            // Also once this process is gone: its last thread may be one that serves, and would wait for itself for ever as it
            // closes such a file. Before it is unmounted, as its number may be another's from then on.
            if let Some(Err(fault)) = self.connection.map(|connection| host::abort_fuse(connection, &self.fuse_dir)) {
                eprintln!("cutdisk: {fault}");
            }
            if let Err(fault) = host::unmount(&self.fuse_dir) {
                eprintln!("cutdisk: {fault}");
            }
            drop(session);
        }
        if let Err(cause) = std::fs::remove_dir(&self.fuse_dir) {
            eprintln!("cutdisk: removing {}: {cause}", self.fuse_dir.display());
        }
    }
}
