//! Where io_uring or locked memory is refused. Filters and capabilities are of the test's own thread.

use io::{DataDir, FileOp, IoChoice, IoConfig, IoError, IoKind, Ring, RingError, SystemIo, Threads, probe};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use crate::both::rig::{Rig, directory, skip};

/// Runs `test` on a thread of its own.
fn apart(test: impl FnOnce() + Send + 'static) {
    if let Err(panic) = std::thread::spawn(test).join() {
        std::panic::resume_unwind(panic);
    }
}

/// Makes io_uring_setup fail with `errno` on this thread for good.
fn refuse_io_uring(errno: i32) {
    const fn statement(code: u32, jump_true: u8, jump_false: u8, k: u32) -> libc::sock_filter {
        libc::sock_filter { code: code as u16, jt: jump_true, jf: jump_false, k }
    }
    let mut filter = [
        // The number of the system call is the first field of what a filter sees.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_io_uring_setup as u32),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    rustix::thread::set_no_new_privs(true).unwrap();
    // SAFETY: the program is well-formed, and alive during the call, which copies it.
    let installed = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    assert_eq!(installed, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn a_seccomp_filter_is_named_with_what_to_change() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        apart(move || {
            let directory = directory();
            let data_dir = DataDir::open(directory.path(), false).unwrap();
            refuse_io_uring(errno);
            let error = Ring::start(IoConfig::new(vec![data_dir.clone()])).unwrap_err();
            assert!(matches!(error, IoError::Ring(RingError::Filtered)), "{error:?}");
            let text = error.to_string();
            assert!(text.contains("seccomp") && text.contains("--security-opt") && !text.contains('\n'), "{text}");
            let probe = probe();
            assert!(matches!(probe.refused, Some(RingError::Filtered)), "{probe}");
            let (kind, refused) = IoChoice::Auto.settle();
            assert!(kind == IoKind::Threads && matches!(refused, Some(RingError::Filtered)), "{kind}, {refused:?}");
            Threads::start(IoConfig::new(vec![data_dir])).unwrap();
        });
    }
}

#[test]
fn what_the_kernel_has_is_told() {
    let probe = probe();
    assert!(probe.refused.is_none() && probe.missing.is_empty(), "{probe}");
    assert!(probe.features.contains(&"SINGLE_ISSUER") && probe.features.contains(&"EXT_ARG"), "{probe}");
    assert!(probe.to_string().contains(&probe.kernel), "{probe}");
    assert!(matches!(IoChoice::Auto.settle(), (IoKind::Ring, None)));
}

/// Takes the right to lock any amount of memory from this thread, and puts a limit of at most `bytes` on the process.
/// Others of its threads that may lock any amount are not affected.
fn limit_locked_memory(bytes: u64) -> Result<(), String> {
    let mut sets = capabilities(None).map_err(|errno| errno.to_string())?;
    sets.effective.remove(CapabilitySet::IPC_LOCK);
    set_capabilities(None, sets).map_err(|errno| errno.to_string())?;
    let limit = getrlimit(Resource::Memlock);
    let current = Some(limit.current.map_or(bytes, |current| current.min(bytes)));
    setrlimit(Resource::Memlock, Rlimit { current, ..limit }).map_err(|errno| errno.to_string())
}

#[test]
fn a_pool_that_may_be_locked_is_registered() {
    let sets = capabilities(None).unwrap();
    if !sets.effective.contains(CapabilitySet::IPC_LOCK) {
        return skip("locking any amount of memory needs CAP_IPC_LOCK");
    }
    assert!(Rig::with(|config| config.pool_bytes = 32 << 20).io.buffers_registered());
}

#[test]
fn a_pool_larger_than_may_be_locked_is_used_unregistered() {
    apart(|| {
        if let Err(missing) = limit_locked_memory(8 << 20) {
            return skip(&missing);
        }
        let mut rig = Rig::with(|config| config.pool_bytes = 16 << 20);
        assert!(!rig.io.buffers_registered());
        let file = rig.open("a", true);
        assert_eq!(rig.file(FileOp::Allocate { file, bytes: 1 << 20 }), 0);
        let buf = rig.buffer(65536, 9);
        let expected = buf.to_vec();
        assert_eq!(rig.write(file, 0, buf, true), 65536);
        let (result, read) = rig.read(file, 0, 65536);
        assert_eq!(result, 65536);
        assert!(read[..] == expected[..]);
    });
}
