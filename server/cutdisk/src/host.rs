//! The machine's side: loop devices, mkfs, mounts, and the sweep of what a killed process left.
//!
//! No state is kept here. Everything is done through system calls or the tools of the system
//! (`losetup`, `mkfs.ext4`), so that this crate needs no unsafe code.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, UnmountFlags};

use crate::disk::Fault;
use crate::missing::Missing;

/// The prefix of a disk's mount point; the process id follows.
const MOUNT_POINT_PREFIX: &str = "cutdisk-";

/// Checks what can be checked without touching anything.
pub(crate) fn check() -> Result<(), Missing> {
    if !rustix::process::geteuid().is_root() {
        return Err(Missing::Root);
    }
    for path in ["/dev/fuse", "/dev/loop-control"] {
        fs::File::options().read(true).write(true).open(path).map_err(|cause| Missing::Device { path, cause })?;
    }
    for (name, package) in [("losetup", "util-linux"), ("mkfs.ext4", "e2fsprogs")] {
        let there = Command::new(name).arg("-V").output();
        if there.is_err() {
            return Err(Missing::Program { name, package });
        }
    }
    Ok(())
}

/// Makes a directory that no other disk uses.
pub(crate) fn make_mount_point(dir: &Path, number: u64) -> Result<PathBuf, Missing> {
    let path = dir.join(format!("{MOUNT_POINT_PREFIX}{}-{number}", std::process::id()));
    fs::create_dir_all(&path).and_then(|()| path.canonicalize()).map_err(|cause| Missing::Scratch { path, cause })
}

/// Attaches a free loop device to the file and returns its path.
pub(crate) fn attach(file: &Path) -> Result<PathBuf, Missing> {
    let said = Command::new("losetup")
        .args(["--find", "--show", "--direct-io=on"])
        .arg(file)
        .output()
        .map_err(|cause| Missing::LoopDevice(cause.to_string()))?;
    if !said.status.success() {
        return Err(Missing::LoopDevice(one_line(&said.stderr)));
    }
    let device = PathBuf::from(one_line(&said.stdout));
    match check_features(&device) {
        Ok(()) => Ok(device),
        Err(missing) => {
            // The missing feature is the news; a device that cannot be detached is not.
            let _ = detach(&device);
            Err(missing)
        }
    }
}

/// Without direct I/O a page cache would lie between ext4 and the disk; without a write-back
/// cache announced no flush would be sent.
fn check_features(device: &Path) -> Result<(), Missing> {
    let name = device.file_name().unwrap_or_default().to_string_lossy();
    for (attribute, wanted) in [("loop/dio", "1"), ("queue/write_cache", "write back")] {
        let attribute = format!("/sys/block/{name}/{attribute}");
        let value = fs::read_to_string(&attribute).unwrap_or_else(|cause| cause.to_string());
        let value = value.trim().to_owned();
        if value != wanted {
            return Err(Missing::LoopFeature { attribute, value });
        }
    }
    Ok(())
}

/// Detaches the loop device now, or as soon as its last user is gone.
pub(crate) fn detach(device: &Path) -> Result<(), Fault> {
    run("losetup", &["--detach".as_ref(), device.as_os_str()])
}

/// Makes an ext4 whose tables and journal are written at once, so that nothing is done later in
/// the background, and whose journal is small, so that replaying it is quick.
pub(crate) fn mkfs(device: &Path) -> Result<(), Fault> {
    let options = ["-q", "-F", "-b4096", "-m0", "-Jsize=8", "-Enodiscard,lazy_itable_init=0,lazy_journal_init=0"];
    let arguments: Vec<_> = options.iter().map(AsRef::as_ref).chain([device.as_os_str()]).collect();
    run("mkfs.ext4", &arguments)
}

/// Mounts the ext4 on the device; the kernel replays its journal if there is something to replay.
pub(crate) fn mount_ext4(device: &Path, at: &Path) -> Result<(), Fault> {
    rustix::mount::mount(device, at, "ext4", MountFlags::NOATIME, c"").map_err(|errno| Fault::Mount {
        device: device.to_owned(),
        at: at.to_owned(),
        cause: errno.into(),
    })
}

/// Unmounts. Where files are still open the mount point is freed at once and the rest goes when
/// the last of them is closed.
pub(crate) fn unmount(at: &Path) -> Result<(), Fault> {
    let quick = rustix::mount::unmount(at, UnmountFlags::empty());
    quick
        .or_else(|_| rustix::mount::unmount(at, UnmountFlags::DETACH))
        .map_err(|errno| Fault::Unmount { at: at.to_owned(), cause: errno.into() })
}

/// The number of a mounted FUSE in the kernel.
pub(crate) fn fuse_connection(at: &Path) -> Option<u32> {
    fs::metadata(at).ok().map(|mounted| rustix::fs::minor(mounted.dev()))
}

/// Ends a FUSE: whatever is asked of it fails from here on, also what was asked and not answered.
pub(crate) fn abort_fuse(connection: u32, scratch: &Path) -> Result<(), Fault> {
    let at = scratch.with_extension("control");
    let failed = |cause| Fault::Mount { device: PathBuf::from("fusectl"), at: at.clone(), cause };
    fs::create_dir(&at).map_err(failed)?;
    let aborted = rustix::mount::mount("none", &at, "fusectl", MountFlags::empty(), c"").map_err(Into::into);
    // One that has ended by itself is not there.
    let aborted = aborted.map(|()| fs::write(at.join(connection.to_string()).join("abort"), "1").unwrap_or_default());
    let unmounted = unmount(&at);
    let removed = fs::remove_dir(&at);
    aborted.map_err(failed)?;
    unmounted?;
    removed.map_err(failed)
}

/// Unmounts what processes that are gone left mounted below `dir`.
pub(crate) fn sweep(dir: &Path) {
    let Ok(dir) = dir.canonicalize() else { return };
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for line in mounts.lines() {
        let at = Path::new(line.split(' ').nth(1).unwrap_or_default());
        if at.parent() == Some(&dir) && owner_is_gone(at) {
            // Takes the ext4 within along. What cannot be unmounted harms nobody else.
            let _ = rustix::mount::unmount(at, UnmountFlags::DETACH);
            let _ = fs::remove_dir(at);
        }
    }
}

fn owner_is_gone(mount_point: &Path) -> bool {
    let name = mount_point.file_name().unwrap_or_default().to_string_lossy();
    let owner = name
        .strip_prefix(MOUNT_POINT_PREFIX)
        .and_then(|rest| rest.split('-').next())
        .and_then(|pid| pid.parse::<u32>().ok());
    owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}

fn run(program: &'static str, arguments: &[&std::ffi::OsStr]) -> Result<(), Fault> {
    let said = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|cause| Fault::Program { program, said: cause.to_string() })?;
    if said.status.success() {
        return Ok(());
    }
    Err(Fault::Program { program, said: one_line(&said.stderr) })
}

fn one_line(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    text.lines().collect::<Vec<_>>().join("; ").trim().to_owned()
}
