//! How the C library's allocator treats what is given back.

/// Bytes free at the end of a heap that stay the process's. One heap serves each thread, or few of them.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES: libc::c_int = 8 << 20;

/// Has it give back the pages of what is free, wherever they lie. Takes milliseconds, in which others may wait for memory.
pub fn give_back_free_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it changes nothing that anybody holds, and locks what it looks at. Whether it gave anything back does not matter.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Has it keep some of what is free: bodies of requests take half a megabyte each, and to be given the same pages again, cleared,
/// for every one costs more than to read it. Other allocators do as they do.
pub fn keep_free_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for what in [libc::M_TRIM_THRESHOLD, libc::M_MMAP_THRESHOLD] {
        // SAFETY: it sets a number of the allocator's, under the allocator's lock. It tells whether it did, and nothing rests on it.
        unsafe { libc::mallopt(what, KEPT_BYTES) };
    }
}
