//! One heap for all threads of the process, whose free pages go back to the system.

use std::thread;
use std::time::Duration;

/// Between two times that free pages are given back. One takes about as long as the system
/// needs for the pages, so once a minute is nothing, and what is taken in between is small.
const EVERY: Duration = Duration::from_secs(60);

/// Call before any other thread is there.
///
/// glibc gives each thread a heap of its own, and what one thread takes and another gives back
/// leaves holes in both. One heap for all has fewer holes (what a station allocates is too
/// little for its threads to wait for each other), and once a minute the pages that are holes
/// from end to end are given back. `bench/RESULTS.md` has what both are worth.
pub(crate) fn keep_small() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        #[expect(unsafe_code, reason = "the C library has no other way to ask for it")]
        // SAFETY: mallopt only stores a number, and no other thread is there to read it.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, 1);
        }
        // Without the thread the process only holds more than it needs.
        drop(thread::Builder::new().name("heap".into()).spawn(give_back));
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn give_back() {
    loop {
        thread::sleep(EVERY);
        #[expect(unsafe_code, reason = "the C library has no other way to ask for it")]
        // SAFETY: malloc_trim takes the heap's own lock and touches only what is free.
        unsafe {
            libc::malloc_trim(0);
        }
    }
}
