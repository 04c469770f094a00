//! A small ext4 of our own on a loop device: a device whose flushes nobody else causes, and which fills up soon.
//!
//! It is mounted in a mount namespace of the test's own thread, which takes it along when it ends.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::rig::{directory, skip};

pub(crate) struct Mounted {
    // Before the directory that the device's image is in.
    _mount: Mount,
    _image: TempDir,
    pub(crate) path: PathBuf,
    statistics: PathBuf,
}

struct Mount(PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        // Later, when whatever still uses it is gone.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

impl Mounted {
    /// Runs `test` on a file system of `bytes`, on a thread of its own, or says why not.
    pub(crate) fn run(bytes: u64, test: impl FnOnce(Mounted) + Send + 'static) {
        let thread = std::thread::spawn(move || match Mounted::new(bytes) {
            Ok(mounted) => test(mounted),
            Err(missing) => skip(&missing),
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }

    fn new(bytes: u64) -> Result<Mounted, String> {
        // SAFETY: only what this thread sees of mounts becomes its own.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }
            .map_err(|errno| format!("a mount namespace of its own needs root: {errno}"))?;
        run(Command::new("mount").args(["--make-rprivate", "/"]))?;
        let image = directory();
        let file = image.path().join("image");
        std::fs::File::create(&file).and_then(|made| made.set_len(bytes)).map_err(|error| error.to_string())?;
        run(Command::new("mkfs.ext4").arg("-q").args(["-m", "0"]).arg(&file))?;
        let path = image.path().join("mounted");
        std::fs::create_dir(&path).map_err(|error| error.to_string())?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&file).arg(&path))?;
        let _mount = Mount(path.clone());
        let device = rustix::fs::stat(&path).map_err(|errno| errno.to_string())?.st_dev;
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let statistics = format!("/sys/dev/block/{major}:{minor}/stat").into();
        Ok(Mounted { _mount, _image: image, path, statistics })
    }

    /// Flushes that the device was asked for so far.
    pub(crate) fn flushes(&self) -> u64 {
        let text = std::fs::read_to_string(&self.statistics).expect("the device is there while it is mounted");
        let field = text.split_ascii_whitespace().nth(15).expect("Linux counts flushes since 5.5");
        field.parse().expect("it is a number")
    }

    pub(crate) fn remount_read_only(&self) {
        run(Command::new("mount").args(["-o", "remount,ro"]).arg(&self.path)).expect("root may");
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{:?}: {}", command.get_program(), String::from_utf8_lossy(&output.stderr).trim()))
}

pub(crate) fn fill(path: &Path) {
    let mut bytes = 1 << 20;
    let mut file = std::fs::File::create(path.join("filler")).expect("there is room for a name");
    while bytes > 0 {
        if std::io::Write::write_all(&mut file, &vec![1; bytes]).and_then(|()| file.sync_all()).is_err() {
            bytes /= 2;
        }
    }
}
