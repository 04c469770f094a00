//! The FUSE file system in front of the store: one file, `disk`, and one empty directory, `ext4`.
//!
//! The directory is where the ext4 on the disk is mounted. Nothing can be made in it, so whoever
//! goes on writing by path after a cut finds an error below the mount point and not a real disk.
//! Every operation is answered while the store is locked, so a cut, which takes the same lock, is
//! one instant: what was answered before it happened before it, and nothing is answered well after.
//! A file handle is the disk's life in which the file was opened; it is good for that life alone.

use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, WriteFlags,
};

use crate::store::{SECTOR_BYTES, Store};

/// The name of the file that is the disk.
pub(crate) const FILE_NAME: &str = "disk";

/// The name of the directory that the disk's ext4 is mounted on.
pub(crate) const MOUNT_NAME: &str = "ext4";

const FILE_INODE: INodeNo = INodeNo(2);
const MOUNT_INODE: INodeNo = INodeNo(3);
/// Nothing about the file changes behind the kernel's back, so it may remember what it asked.
const TTL: Duration = Duration::from_secs(3600);
const TRANSFER_BYTES_MAX: u32 = 1 << 20;
const REQUESTS_IN_FLIGHT_MAX: u16 = 64;
const O_DSYNC: i32 = rustix::fs::OFlags::DSYNC.bits() as i32;

/// The store and the state of its power.
pub(crate) struct Powered {
    pub(crate) store: Store,
    /// Counts the times that power came on.
    pub(crate) life: u64,
    pub(crate) power_on: bool,
    /// Flushes still to be failed.
    pub(crate) flushes_to_fail: u64,
    /// The next flush that has something to make durable finds the power cut.
    pub(crate) cut_at_flush: bool,
}

impl Powered {
    /// Whether an operation through this handle may be served.
    fn serves(&self, handle: FileHandle) -> Result<(), Errno> {
        if self.power_on && handle.0 == self.life { Ok(()) } else { Err(Errno::EIO) }
    }

    fn flush(&mut self) -> Result<(), Errno> {
        if self.cut_at_flush && self.store.has_pending() {
            self.power_on = false;
            return Err(Errno::EIO);
        }
        if self.flushes_to_fail > 0 {
            self.flushes_to_fail -= 1;
            self.store.fail_flush();
            return Err(Errno::EIO);
        }
        self.store.flush();
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8], flags: OpenFlags) -> Result<(), Errno> {
        let range = self.range(offset, data.len())?;
        if !range.start.is_multiple_of(SECTOR_BYTES) || !data.len().is_multiple_of(SECTOR_BYTES) {
            return Err(Errno::EINVAL);
        }
        self.store.write(range.start, data);
        if flags.0 & O_DSYNC != 0 {
            self.flush()?;
        }
        Ok(())
    }

    fn range(&self, offset: u64, len: usize) -> Result<Range<usize>, Errno> {
        let start = usize::try_from(offset).map_err(|_| Errno::EINVAL)?;
        let end = start.checked_add(len).ok_or(Errno::EINVAL)?;
        if end > self.store.bytes() {
            return Err(Errno::ENOSPC);
        }
        Ok(start..end)
    }
}

/// The disk as its FUSE threads and its owner share it.
pub(crate) struct Shared {
    disk: Mutex<Powered>,
    power_went: Condvar,
}

impl Shared {
    pub(crate) fn new(store: Store) -> Shared {
        Shared {
            disk: Mutex::new(Powered { store, life: 1, power_on: true, flushes_to_fail: 0, cut_at_flush: false }),
            power_went: Condvar::new(),
        }
    }

    /// A lock on the disk, also after a panic elsewhere: the store stays whole between operations.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Powered> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Turns the power off as the next flush arrives that has something to make durable or, where
    /// none comes in time, at the end of the wait. Returns the disk, and whether it was a flush.
    pub(crate) fn power_off(&self, wait: Duration) -> (MutexGuard<'_, Powered>, bool) {
        let mut disk = self.lock();
        disk.cut_at_flush = true;
        let (mut disk, waited) = self
            .power_went
            .wait_timeout_while(disk, wait, |disk| disk.power_on)
            .unwrap_or_else(PoisonError::into_inner);
        disk.cut_at_flush = false;
        disk.power_on = false;
        (disk, !waited.timed_out())
    }
}

/// The file system that serves the disk.
pub(crate) struct DiskFile {
    shared: Arc<Shared>,
    born: SystemTime,
    bytes: u64,
}

impl DiskFile {
    pub(crate) fn new(shared: Arc<Shared>) -> DiskFile {
        let bytes = shared.lock().store.bytes() as u64;
        DiskFile { shared, born: SystemTime::now(), bytes }
    }

    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let (kind, perm, bytes) = if inode == FILE_INODE {
            (FileType::RegularFile, 0o600, self.bytes)
        } else {
            (FileType::Directory, 0o700, 0)
        };
        FileAttr {
            ino: inode,
            size: bytes,
            blocks: bytes.div_ceil(SECTOR_BYTES as u64),
            atime: self.born,
            mtime: self.born,
            ctime: self.born,
            crtime: self.born,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for DiskFile {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let refused = |what: &str| io::Error::other(format!("the kernel's FUSE refuses {what}"));
        config.add_capabilities(InitFlags::FUSE_ASYNC_DIO).map_err(|_| refused("asynchronous direct I/O"))?;
        config.set_max_write(TRANSFER_BYTES_MAX).map_err(|_| refused("large writes"))?;
        config.set_max_background(REQUESTS_IN_FLIGHT_MAX).map_err(|_| refused("many requests in flight"))?;
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let inode = match name.to_str() {
            Some(FILE_NAME) if parent == INodeNo::ROOT => FILE_INODE,
            Some(MOUNT_NAME) if parent == INodeNo::ROOT => MOUNT_INODE,
            _ => return reply.error(Errno::ENOENT),
        };
        reply.entry(&TTL, &self.attributes(inode), Generation(0));
    }

    fn getattr(&self, _request: &Request, inode: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &self.attributes(inode));
    }

    fn open(&self, _request: &Request, inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let disk = self.shared.lock();
        if inode != FILE_INODE || !disk.power_on {
            reply.error(Errno::EIO);
            return;
        }
        // Without the kernel's page cache, and without a lock that would let one write in at a time.
        let flags = FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES;
        reply.opened(FileHandle(disk.life), flags);
    }

    fn read(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        bytes: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut disk = self.shared.lock();
        let range = disk.serves(handle).and_then(|()| disk.range(offset, bytes as usize));
        match range {
            Ok(range) => reply.data(disk.store.read(range)),
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut disk = self.shared.lock();
        let written = disk.serves(handle).and_then(|()| disk.write(offset, data, flags));
        match written {
            Ok(()) => reply.written(data.len() as u32),
            Err(errno) => {
                self.shared.power_went.notify_all();
                reply.error(errno);
            }
        }
    }

    fn fsync(&self, _request: &Request, _inode: INodeNo, handle: FileHandle, _data_only: bool, reply: ReplyEmpty) {
        let mut disk = self.shared.lock();
        match disk.serves(handle).and_then(|()| disk.flush()) {
            Ok(()) => reply.ok(),
            Err(errno) => {
                self.shared.power_went.notify_all();
                reply.error(errno);
            }
        }
    }

    /// Called when a descriptor is closed. Says nothing about durability.
    fn flush(&self, _request: &Request, _inode: INodeNo, _handle: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    /// Neither discard nor zeroing by range: the kernel then writes zeroes itself.
    fn fallocate(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _offset: u64,
        _bytes: u64,
        _mode: i32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EOPNOTSUPP);
    }
}
