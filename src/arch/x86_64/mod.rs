//! `clone` onto a stack that we allocated ourselves, and a wait that needs no other code: the only
//! assembly of the library.

use core::arch::naked_asm;
use core::ffi::c_void;
use syscalls::Sysno;

/// `clone(flags, stack_top, parent_tid, NULL, 0)`; the child begins in `entry(argument)` on the new
/// stack, [clone(2)](https://man7.org/linux/man-pages/man2/clone.2.html).
/// It can't be an ordinary function: the child would return into a frame that its stack lacks.
///
/// Returns the child's pid, or a negative errno.
///
/// # Safety
/// `stack_top` is the upper end of writable memory that nobody else uses while the child runs;
/// `entry` is sound to run in a process with these `flags` (with `CLONE_VM`: in our memory);
/// `parent_tid` is writable, where the flags have the kernel write there.
#[unsafe(naked)]
pub unsafe extern "C" fn clone(
    flags: usize,
    stack_top: *mut u8,
    entry: extern "C" fn(*const c_void) -> !,
    argument: *const c_void,
    parent_tid: *mut i32,
) -> isize {
    naked_asm!(
        "and rsi, -16",       // the ABI wants a stack aligned to 16 at a call
        "mov [rsi - 16], rdx", // the child will pop entry ...
        "mov [rsi - 8], rcx", // ... and then its argument
        "sub rsi, 16",        // second argument of the call: the child's stack pointer
        "mov rdx, r8",        // third: parent_tid
        "xor r10d, r10d",     // fourth: child_tid, none
        "xor r8d, r8d",       // fifth: tls, none
        "mov eax, {clone}",   // flags are in rdi already, as the first
        "syscall",            // from here on there are two of us
        "test rax, rax",      // 0 in the child, the pid or a negative errno in the parent
        "jnz 2f",
        "xor ebp, ebp",       // child: no frame above this one
        "pop rax",            // entry
        "pop rdi",            // its argument; the stack is empty and aligned again
        "call rax",           // never returns
        "ud2",                // and if it did, we would stop here
        "2: ret",             // parent: on its own stack, as if nothing had happened
        clone = const Sysno::clone as usize,
    )
}

/// `madvise(start, length, MADV_DONTNEED)` and a call that waits, with nothing between them: what
/// was given back is not touched again until the wait is over. Returns what that call did; what
/// madvise can't give back just stays.
///
/// # Safety
/// The call is sound with these registers; between `start` and its end lie only pages of a file,
/// unchanged.
#[unsafe(naked)]
pub unsafe extern "C" fn call_after_madvise(
    start: usize,
    length: usize,
    number: usize,
    registers: &[usize; 6],
) -> usize {
    naked_asm!(
        "mov r8, rdx",          // number and registers, kept where no call of three looks for them
        "mov r9, rcx",
        "mov edx, {dontneed}",  // start and length are where madvise looks for them
        "mov eax, {madvise}",
        "syscall",              // this page included: it comes back by itself, alone
        "mov rax, r8",
        "mov rdi, [r9]",        // the registers are on our stack, which stays
        "mov rsi, [r9 + 8]",
        "mov rdx, [r9 + 16]",
        "mov r10, [r9 + 24]",
        "mov r8, [r9 + 32]",
        "mov r9, [r9 + 40]",
        "syscall",
        "ret",
        dontneed = const libc::MADV_DONTNEED,
        madvise = const Sysno::madvise as usize,
    )
}

/// More bytes than `call_after_madvise` is long.
pub const WAIT_LENGTH: usize = 64;
