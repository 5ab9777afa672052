//! The system's allocator, counting what each thread asks of it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    CALLS.set(CALLS.get() + 1);
    let held = HELD.get() + bytes;
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

#[expect(clippy::cast_possible_wrap, reason = "no allocation here has half of the address space")]
const fn signed(bytes: usize) -> isize {
    bytes as isize
}

// SAFETY: every call is handed on unchanged to the system's allocator, whose promises these are.
// No thread-local allocates: each starts from a constant and needs no destructor.
#[allow(unsafe_code, reason = "an allocator cannot be written without; in these tests only")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(signed(layout.size()));
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(signed(layout.size()));
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(signed(size) - signed(layout.size()));
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // It counts as a call: memory that is given back was taken in some tick.
        count(-signed(layout.size()));
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The number of times that this thread took or gave back memory in `work`.
pub fn allocations_in(work: impl FnOnce()) -> u64 {
    let before = CALLS.get();
    work();
    CALLS.get() - before
}

/// The bytes that this thread has allocated and not given back. Negative where it frees what others
/// allocated.
pub fn held() -> isize {
    HELD.get()
}

/// The most that [`held`] was since `work` began, and what `work` answers.
pub fn peak_in<T>(work: impl FnOnce() -> T) -> (isize, T) {
    PEAK.set(HELD.get());
    let answer = work();
    (PEAK.get(), answer)
}
