//! The one piece of memory that tinyctr asks the kernel for:
//!
//! ```text
//! lowest  guard page | child's stack ............ | strings and arrays of the plan  highest
//! ```
//!
//! The child's stack grows down, towards the guard: an overflow ends it with SIGSEGV, where it
//! would otherwise write over whatever lies below.

use core::mem::{align_of, size_of};
use core::slice;
use syscalls::{Errno, Sysno};

use super::{NULL, call, enter, raw};
use crate::arch::{self, ThinCStr};
use crate::flags::{Map, Prot};
use crate::packed::{Opinions, Texts};

/// Pages are made when they are touched, so this is the limit, not the cost.
const STACK_SIZE: usize = 64 * 1024;

/// Of the arena's start, and so of the stack's top: enough for both.
const ALIGNMENT: usize = 16;

/// The memory for one child to run on. It is given away to `clone`, and never reused.
pub struct Stack {
    top: *mut u8,
}

impl Stack {
    /// The upper end: where a stack begins that grows down.
    pub(super) fn top(self) -> *mut u8 {
        self.top
    }
}

/// Memory that is handed out from the front and never taken back.
pub struct Arena {
    next: *mut u8,
    left: usize,
}

impl Arena {
    /// `count` zero bytes; `None` where the arena is used up.
    pub fn bytes(&mut self, count: usize) -> Option<&'static mut [u8]> {
        let start = self.take(count, 1)?;
        // SAFETY: fresh anonymous memory is zero, lives as long as the process, and no other
        // slice overlaps: `take` has moved on.
        Some(unsafe { slice::from_raw_parts_mut(start, count) })
    }

    /// An array of `count` NULLs, for an `argv` or `envp`; `None` where the arena is used up.
    pub fn strings(&mut self, count: usize) -> Option<&'static mut [Option<ThinCStr<'static>>]> {
        type Element = Option<ThinCStr<'static>>;
        let start = self.take(count.checked_mul(size_of::<Element>())?, align_of::<Element>())?;
        // SAFETY: as in `bytes`; it is aligned, and all zero is `None`.
        Some(unsafe { slice::from_raw_parts_mut(start.cast(), count) })
    }

    fn take(&mut self, size: usize, align: usize) -> Option<*mut u8> {
        let padding = self.next.align_offset(align);
        let used = padding.checked_add(size)?;
        self.left = self.left.checked_sub(used)?;
        // SAFETY: `used` bytes were left, so both stay inside the mapping or at its end.
        unsafe {
            let start = self.next.add(padding);
            self.next = self.next.add(used);
            Some(start)
        }
    }
}

/// Maps guard page, stack and an arena of `arena` bytes:
/// `mmap(NULL, length, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)` and
/// `mprotect(guard, page, PROT_NONE)`,
/// [mmap(2)](https://man7.org/linux/man-pages/man2/mmap.2.html),
/// [mprotect(2)](https://man7.org/linux/man-pages/man2/mprotect.2.html).
pub fn map_memory(page_size: usize, arena: usize) -> Result<(Stack, Arena), Errno> {
    let arena = arena.checked_next_multiple_of(ALIGNMENT).ok_or(Errno::ENOMEM)?;
    let wanted = arena.checked_add(page_size + STACK_SIZE).ok_or(Errno::ENOMEM)?;
    let length = wanted.checked_next_multiple_of(page_size).ok_or(Errno::ENOMEM)?;
    let base = map(length)?;
    let guard = call!(Open, mprotect, Address(base), Unsigned(page_size), Prot(Prot::empty()));
    // SAFETY: the page is part of the fresh mapping, and no reference into it exists yet.
    unsafe { enter(guard) }?;
    // The arena ends where the mapping ends, so that a small one shares a page with the stack.
    // SAFETY: inside the mapping, or at its end where the arena is empty: `wanted` has counted it.
    let top = unsafe { (base as *mut u8).add(length - arena) };
    Ok((Stack { top }, Arena { next: top, left: arena }))
}

fn map(length: usize) -> Result<usize, Errno> {
    let (protection, flags) =
        (Prot::READ | Prot::WRITE, Map::PRIVATE | Map::ANONYMOUS | Map::NORESERVE);
    let call = call!(
        Open,
        mmap,
        Address(NULL),
        Unsigned(length),
        Prot(protection),
        Map(flags),
        Fd(-1),
        Unsigned(0),
    );
    // SAFETY: without MAP_FIXED the kernel picks an address where nothing is mapped.
    unsafe { enter(call) }
}

/// The texts, for who has something to say, in memory of their own:
/// [mmap(2)](https://man7.org/linux/man-pages/man2/mmap.2.html).
pub fn texts() -> Result<&'static Texts, Errno> {
    let memory = map(size_of::<(Texts, Opinions)>())? as *mut (Texts, Opinions);
    // SAFETY: fresh memory, aligned to a page, ours alone and for good; both are arrays of numbers,
    // for which zero will do.
    let (texts, opinions) = unsafe { &mut *memory };
    texts.unpack(opinions);
    Ok(texts)
}

/// Memory of the watcher's, behind the doorway's back. It is never given back.
///
/// # Safety
/// All zero is a valid `T`.
pub(super) unsafe fn zeroed<T>() -> Result<&'static mut T, Errno> {
    let protection = (Prot::READ | Prot::WRITE).bits() as usize;
    let flags = (Map::PRIVATE | Map::ANONYMOUS).bits() as usize;
    let args = [NULL, size_of::<T>(), protection, flags, usize::MAX, 0];
    // SAFETY: without MAP_FIXED the kernel picks an address where nothing is mapped.
    let address = unsafe { raw(Sysno::mmap, args) }?;
    // SAFETY: fresh memory, aligned to a page, ours alone and for good; the caller's contract.
    Ok(unsafe { &mut *(address as *mut T) })
}

/// What of this program need not be in memory while it waits: all of its code and constants but the
/// wait itself. Two ranges, before and behind, each of address and length.
///
/// A page of the file that was used once stays resident, and the kernel maps fifteen of its
/// neighbours along with it (fault-around). So they are given back, and come from the file again
/// when they are needed. The wait's own page is not: it would come back at once, with its
/// neighbours.
pub(super) fn not_waiting() -> [[usize; 2]; 2] {
    unsafe extern "C" {
        // Given by the linker: the ELF header, which is where the file is mapped, and the end
        // of the code. What is between them is never written to.
        static __ehdr_start: u8;
        static etext: u8;
    }
    let wait = arch::wait4_after_madvise as *const () as usize;
    let [wait, wait_length] = pages(wait, wait + arch::WAIT_LENGTH);
    let [image, length] = pages(&raw const __ehdr_start as usize, &raw const etext as usize);
    let behind = wait + wait_length;
    [[image, wait - image], [behind, image + length - behind]]
}

/// The whole pages that `start..end` lies in. 4 KiB is right for x86_64, and for a machine with
/// larger pages madvise says EINVAL.
fn pages(start: usize, end: usize) -> [usize; 2] {
    const PAGE: usize = 4096;
    let start = start / PAGE * PAGE;
    [start, end.next_multiple_of(PAGE) - start]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arena_hands_out_no_byte_twice_and_stops_at_its_end() {
        let (_stack, mut arena) = map_memory(4096, 64).expect("memory");
        let first = arena.bytes(3).expect("3 of 64 bytes");
        first.fill(0xff);
        let strings = arena.strings(2).expect("16 of 61 bytes, aligned");
        assert!(strings.iter().all(Option::is_none));
        assert_eq!(strings.as_ptr() as usize % align_of::<usize>(), 0);
        assert!(arena.bytes(41).is_none(), "8 + 16 are used, 40 are left");
        assert_eq!(arena.bytes(40).expect("the rest").iter().max(), Some(&0));
    }

    #[test]
    fn an_arena_of_any_size_begins_aligned() {
        for size in 1..64 {
            let (stack, mut arena) = map_memory(4096, size).expect("memory");
            let start = arena.bytes(size).expect("all of it").as_ptr() as usize;
            assert_eq!(start % ALIGNMENT, 0);
            assert_eq!(start, stack.top() as usize);
        }
    }

    #[test]
    fn a_size_beyond_the_address_space_is_an_error() {
        assert_eq!(map_memory(4096, usize::MAX).err(), Some(Errno::ENOMEM));
        assert_eq!(map_memory(4096, usize::MAX / 2).err(), Some(Errno::ENOMEM));
    }

    #[test]
    fn the_page_below_the_stack_is_a_guard() {
        let (stack, _arena) = map_memory(4096, 0).expect("memory");
        let guard = stack.top() as usize - STACK_SIZE - 4096;
        let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
        let line = maps.lines().find(|line| line.starts_with(&format!("{guard:x}-")));
        assert!(line.expect("the guard is a mapping of its own").contains(" ---p "));
    }
}
