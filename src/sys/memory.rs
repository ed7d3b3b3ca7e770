//! The one piece of memory that tinyctr asks the kernel for:
//!
//! ```text
//! lowest  guard page | child's stack ... | strings and arrays of the plan | guard's stack  highest
//! ```
//!
//! The child's stack grows down, towards the guard: an overflow ends it with SIGSEGV, where it
//! would otherwise write over whatever lies below.

use core::mem::{align_of, size_of};
use core::slice;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use libc::Elf64_Ehdr;
use syscalls::{Errno, Sysno};

use super::{NULL, act, call, enter, raw, watch};
use crate::arch::{self, ThinCStr};
use crate::flags::{Map, Prot};
use crate::packed::code::turn_calls;
use crate::packed::{Chances, Opinions, Texts, model};
use crate::seccomp::Program;

/// Pages are made when they are touched, so this is the limit, not the cost.
pub const STACK_SIZE: usize = 64 * 1024;

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

    /// The stack without room for a `T` at its upper end, and that room.
    pub(super) fn with_room_for<T>(self) -> (Stack, *mut T) {
        const { assert!(size_of::<T>() <= STACK_SIZE / 2 && align_of::<T>() <= ALIGNMENT) };
        let size = size_of::<T>().next_multiple_of(ALIGNMENT);
        // SAFETY: less than all of the stack.
        let top = unsafe { self.top.sub(size) };
        (Stack { top }, top.cast())
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

    /// A filter, all of it zero; `None` where the arena is used up.
    pub fn program(&mut self) -> Option<&'static mut Program> {
        let start = self.take(size_of::<Program>(), align_of::<Program>())?;
        // SAFETY: as in `bytes`; it is aligned, and zero is a number.
        Some(unsafe { &mut *start.cast() })
    }

    /// A stack at its end, for who needs little of it; `None` where the arena is used up.
    pub fn stack(&mut self) -> Option<Stack> {
        let rest = self.left.checked_sub(STACK_SIZE)?;
        // SAFETY: the end of the mapping, or of what is left of it.
        let top = unsafe { self.next.add(self.left) };
        self.left = rest;
        Some(Stack { top })
    }

    fn take(&mut self, size: usize, align: usize) -> Option<*mut u8> {
        // `align_offset` would be the program's only panic, and with it come handler and texts.
        let padding = self.next.addr().wrapping_neg() & (align - 1);
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
/// `beside`: somebody beside us has it too, even where the rest of his memory is a copy.
pub fn map_memory(page_size: usize, arena: usize, beside: bool) -> Result<(Stack, Arena), Errno> {
    let arena = arena.checked_next_multiple_of(ALIGNMENT).ok_or(Errno::ENOMEM)?;
    let wanted = arena.checked_add(page_size + STACK_SIZE).ok_or(Errno::ENOMEM)?;
    let length = wanted.checked_next_multiple_of(page_size).ok_or(Errno::ENOMEM)?;
    let base = map(NULL, length, Map::PRIVATE)?;
    if beside {
        watch::share(base, length)?;
    }
    let guard = call!(Open, mprotect, Address(base), Unsigned(page_size), Prot(Prot::empty()));
    // SAFETY: the page is part of the fresh mapping, and no reference into it exists yet.
    unsafe { enter(guard) }?;
    // The arena ends where the mapping ends, so that a small one shares a page with the stack.
    // SAFETY: inside the mapping, or at its end where the arena is empty: `wanted` has counted it.
    let top = unsafe { (base as *mut u8).add(length - arena) };
    Ok((Stack { top }, Arena { next: top, left: arena }))
}

/// At `place`, where `sharing` has MAP_FIXED too: then nobody needs what is there.
fn map(place: usize, length: usize, sharing: Map) -> Result<usize, Errno> {
    let (protection, flags) = (Prot::READ | Prot::WRITE, sharing | Map::ANONYMOUS | Map::NORESERVE);
    let call = call!(
        Open,
        mmap,
        Address(place),
        Unsigned(length),
        Prot(protection),
        Map(flags),
        Fd(-1),
        Unsigned(0),
    );
    // SAFETY: without MAP_FIXED the kernel picks an address where nothing is mapped; with it that
    // is the caller's choice.
    unsafe { enter(call) }
}

/// What unpacking takes, and what it gives.
type Workshop = (Opinions, Chances, Texts);

/// Where a huge page may begin, and the kernel puts nothing by itself. (It gives such a place only
/// to what is as long as a number of them: `thp_get_unmapped_area` in mm/huge_memory.c.)
const HUGE_PLACE: usize = 1 << 30;

/// The texts, for who has something to say; and all code that was packed, for that is what says it.
pub fn texts() -> Result<&'static Texts, Errno> {
    let (opinions, chances, texts) = unpack(SPEAKING)?;
    opinions.fill([0; _]);
    texts.unpack((opinions, chances));
    Ok(texts)
}

/// The code that a plain run does without. Nothing happens where it is there already.
/// To be called before anything of it is. (In the child, which has no time to lose, only for a way
/// round what an old kernel lacks.)
pub fn seldom() -> Result<(), Errno> {
    have(SELDOM)
}

/// The same, and what is needed less often.
pub fn rare() -> Result<(), Errno> {
    have(RARE)
}

// What is unpacked: so many parts of it, from the first on.
const SELDOM: usize = 1;
const RARE: usize = 2;
const SPEAKING: usize = 3;

#[inline(never)]
fn have(parts: usize) -> Result<(), Errno> {
    if UNPACKED.load(Relaxed) >= parts {
        return Ok(());
    }
    let workshop = &raw mut *unpack(parts)?;
    let length = size_of::<Workshop>();
    // SAFETY: nobody has the reference any more.
    unsafe { act(call!(Open, munmap, Address(workshop as usize), Unsigned(length))) }
}

/// How many parts of it are there. (As for `WATCH`: not in .bss.)
#[unsafe(link_section = ".data")]
static UNPACKED: AtomicUsize = AtomicUsize::new(0);

/// Code that was packed (build.rs says which), so many parts of it, to where it was linked to run:
/// `mmap(place, length, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_FIXED|MAP_ANONYMOUS, -1, 0)` and
/// `mprotect(place, length, PROT_READ|PROT_EXEC)`,
/// [mmap(2)](https://man7.org/linux/man-pages/man2/mmap.2.html),
/// [mprotect(2)](https://man7.org/linux/man-pages/man2/mprotect.2.html). What that takes comes in
/// huge pages where there are some: `madvise(workshop, length, MADV_HUGEPAGE)`,
/// [madvise(2)](https://man7.org/linux/man-pages/man2/madvise.2.html).
fn unpack(parts: usize) -> Result<&'static mut Workshop, Errno> {
    let room = size_of::<Workshop>();
    let workshop = map(HUGE_PLACE, room, Map::PRIVATE)?;
    let huge = libc::MADV_HUGEPAGE as u32;
    let advice = call!(Open, madvise, Address(workshop), Unsigned(room), Named(huge));
    // SAFETY: advice about the size of pages: no byte changes.
    let _slower_without = unsafe { enter(advice) };
    let workshop = workshop as *mut Workshop;
    // SAFETY: fresh memory, aligned to a page, ours alone; all are arrays of numbers, for which
    // zero will do.
    let workshop = unsafe { &mut *workshop };
    let length = PACKED.lengths.get(parts).map_or(0, number);
    // Not packed; or there: perhaps it is what is watching us.
    if length == 0 || UNPACKED.load(Relaxed) >= parts {
        return Ok(workshop);
    }
    let (place, size, start) = (number(&PACKED.place), number(&PACKED.size), number(&PACKED.start));
    // SAFETY: examples/pack says so, and nobody writes there.
    let packed = unsafe { slice::from_raw_parts(place as *const u8, size) };
    // Nothing is there: examples/pack has cut the code out of the file. Or fewer parts of it are;
    // whoever called us from there goes on when it is there again.
    UNPACKED.store(0, Relaxed);
    map(start, length, Map::PRIVATE | Map::FIXED)?;
    // SAFETY: fresh memory of that length, ours alone.
    let code = unsafe { slice::from_raw_parts_mut(start as *mut u8, length) };
    let (opinions, chances, _) = workshop;
    model::unpack(packed, code, model::CODE, (opinions, chances));
    turn_calls(code, start, false);
    let run = Prot::READ | Prot::EXEC;
    let call = call!(Open, mprotect, Address(start), Unsigned(length), Prot(run));
    // SAFETY: nobody writes there any more.
    if unsafe { enter(call) }.is_err() {
        map_as_file(code)?;
    }
    UNPACKED.store(parts, Relaxed);
    Ok(workshop)
}

/// The same where memory may not become code (PR_SET_MDWE, systemd's MemoryDenyWriteExecute), but
/// a file may that is nowhere: `memfd_create(name, MFD_CLOEXEC)`, since Linux 3.17, and
/// `mmap(place, length, PROT_READ|PROT_EXEC, MAP_PRIVATE|MAP_FIXED, fd, 0)`,
/// [memfd_create(2)](https://man7.org/linux/man-pages/man2/memfd_create.2.html).
fn map_as_file(code: &[u8]) -> Result<(), Errno> {
    let close_on_exec = libc::MFD_CLOEXEC;
    let call = call!(Open, memfd_create, Str(c"tinyctr"), Named(close_on_exec));
    // SAFETY: the kernel copies the name.
    let file = unsafe { enter(call) }? as i32;
    super::write_all(file, code)?;
    let (run, there) = (Prot::READ | Prot::EXEC, Map::PRIVATE | Map::FIXED);
    let (place, size) = (code.as_ptr() as usize, code.len());
    let call = call!(
        Open,
        mmap,
        Address(place),
        Unsigned(size),
        Prot(run),
        Map(there),
        Fd(file),
        Unsigned(0),
    );
    // SAFETY: the same bytes take the place of `code`.
    unsafe { enter(call) }?;
    super::close(file)
}

/// examples/pack fills it in. It is where memory may be written to: of a constant the compiler
/// would know that it is zero. (And as for `WATCH`: not in .bss.)
#[unsafe(link_section = ".data")]
#[unsafe(export_name = "packed_code")]
static PACKED: PackedCode = PackedCode {
    place: AtomicU32::new(0),
    size: AtomicU32::new(0),
    start: AtomicU32::new(0),
    lengths: [const { AtomicU32::new(0) }; 4],
};

/// Code that was packed: where it is, and where it is to run.
#[repr(C)]
struct PackedCode {
    place: AtomicU32,
    size: AtomicU32,
    start: AtomicU32,
    /// Unpacked: of so many parts.
    lengths: [AtomicU32; 4],
}

fn number(word: &AtomicU32) -> usize {
    word.load(Relaxed) as usize
}

unsafe extern "C" {
    /// Given by the linker: the ELF header, which is where the file is mapped.
    static __ehdr_start: Elf64_Ehdr;
}

/// Memory of the watcher's, behind the doorway's back: all zero, and never given back.
pub(super) fn zeroed<T>() -> Result<*mut T, Errno> {
    let protection = (Prot::READ | Prot::WRITE).bits() as usize;
    let flags = (Map::PRIVATE | Map::ANONYMOUS).bits() as usize;
    let args = [NULL, size_of::<T>(), protection, flags, usize::MAX, 0];
    // SAFETY: without MAP_FIXED the kernel picks an address where nothing is mapped.
    unsafe { raw(Sysno::mmap, args) }.map(|address| address as *mut T)
}

/// What of this program has to be in memory while it waits: nothing but the wait.
///
/// A page of the file that was used once stays resident, and the kernel maps fifteen of its
/// neighbours along with it (fault-around, within one mapping). So the wait's own page is made a
/// mapping of its own, which takes no more than different advice; then all code and constants are
/// given back. They come from the file again when they are needed.
pub(super) struct Resident {
    /// The pages of the wait itself: address and length.
    pub wait: [usize; 2],
    /// Code and constants.
    pub image: [usize; 2],
}

impl Resident {
    pub fn of_this_program() -> Resident {
        let wait = arch::call_after_madvise as *const () as usize;
        let (start, end) = (&raw const __ehdr_start as usize, watch::end_of_code());
        Resident {
            wait: pages(wait, wait + arch::WAIT_LENGTH),
            image: pages(start, end / PAGE * PAGE),
        }
    }
}

const PAGE: usize = 4096;

/// The whole pages that `start..end` lies in. 4 KiB is right for x86_64, and for a machine with
/// larger pages madvise says EINVAL.
fn pages(start: usize, end: usize) -> [usize; 2] {
    let start = start / PAGE * PAGE;
    [start, end.next_multiple_of(PAGE) - start]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arena_hands_out_no_byte_twice_and_stops_at_its_end() {
        let (_stack, mut arena) = map_memory(4096, 64, false).expect("memory");
        let first = arena.bytes(3).expect("3 of 64 bytes");
        first.fill(0xff);
        let strings = arena.strings(2).expect("16 of 61 bytes, aligned");
        assert!(strings.iter().all(Option::is_none));
        assert_eq!(strings.as_ptr() as usize % align_of::<usize>(), 0);
        assert!(arena.bytes(41).is_none(), "8 + 16 are used, 40 are left");
        assert_eq!(arena.bytes(40).expect("the rest").iter().max(), Some(&0));
    }

    #[test]
    fn a_stack_is_taken_from_the_end_and_never_twice() {
        let (_stack, mut arena) = map_memory(4096, STACK_SIZE + 64, true).expect("memory");
        let first = arena.bytes(1).expect("it is empty").as_ptr() as usize;
        let end = first + STACK_SIZE + 64;
        assert_eq!(arena.stack().expect("there is one").top() as usize, end);
        assert!(arena.stack().is_none());
        assert!(arena.bytes(63).is_some() && arena.bytes(1).is_none());
    }

    #[test]
    fn an_arena_of_any_size_begins_aligned() {
        for size in 1..64 {
            let (stack, mut arena) = map_memory(4096, size, false).expect("memory");
            let start = arena.bytes(size).expect("all of it").as_ptr() as usize;
            assert_eq!(start % ALIGNMENT, 0);
            assert_eq!(start, stack.top() as usize);
        }
    }

    #[test]
    fn a_size_beyond_the_address_space_is_an_error() {
        assert_eq!(map_memory(4096, usize::MAX, false).err(), Some(Errno::ENOMEM));
        assert_eq!(map_memory(4096, usize::MAX / 2, false).err(), Some(Errno::ENOMEM));
    }

    #[test]
    fn the_page_below_the_stack_is_a_guard() {
        let (stack, _arena) = map_memory(4096, 0, false).expect("memory");
        let guard = stack.top() as usize - STACK_SIZE - 4096;
        let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
        // A neighbour that can't be touched either may be of one mapping with it.
        let of = |address: usize| {
            let holds = |line: &&str| {
                let (range, _) = line.split_once(' ').expect("a range comes first");
                let ends = range.split('-').map(|end| usize::from_str_radix(end, 16));
                let ends = ends.map(|end| end.expect("hexadecimal")).collect::<Vec<_>>();
                (ends[0]..ends[1]).contains(&address)
            };
            maps.lines().find(holds).expect("it is mapped")
        };
        assert!(of(guard).contains(" ---p "), "{}", of(guard));
        assert!(of(guard + 4096).contains(" rw-p "), "{}", of(guard + 4096));
    }
}
