//! `clone` onto a stack that we allocated ourselves, and a wait that needs no other code: the only
//! assembly of the library.

use core::arch::naked_asm;
use core::ffi::c_void;
use syscalls::Sysno;

/// `clone(flags, stack_top, NULL, NULL, 0)`; the child begins in `entry(argument)` on the new
/// stack, [clone(2)](https://man7.org/linux/man-pages/man2/clone.2.html).
/// It can't be an ordinary function: the child would return into a frame that its stack lacks.
///
/// Returns the child's pid, or a negative errno.
///
/// # Safety
/// `stack_top` is the upper end of writable memory that nobody else uses while the child runs;
/// `entry` is sound to run in a process with these `flags` (with `CLONE_VM`: in our memory).
#[unsafe(naked)]
pub unsafe extern "C" fn clone(
    flags: usize,
    stack_top: *mut u8,
    entry: extern "C" fn(*const c_void) -> !,
    argument: *const c_void,
) -> isize {
    naked_asm!(
        "and rsi, -16",       // the ABI wants a stack aligned to 16 at a call
        "mov [rsi - 16], rdx", // the child will pop entry ...
        "mov [rsi - 8], rcx", // ... and then its argument
        "sub rsi, 16",        // second argument of the call: the child's stack pointer
        "xor edx, edx",       // third: parent_tid, none
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

/// Twice `madvise(start, length, MADV_DONTNEED)`, and `wait4(pid, status, 0, NULL)`, with nothing
/// between them: what was given back is not touched again until the wait is over. Returns what
/// wait4 did; what madvise can't give back just stays.
///
/// # Safety
/// `status` is ours to write; in the two ranges, of start and length, lie only pages of a file,
/// unchanged.
#[unsafe(naked)]
pub unsafe extern "C" fn wait4_after_madvise(
    pid: usize,
    status: *mut i32,
    ranges: &[[usize; 2]; 2],
) -> isize {
    naked_asm!(
        "mov r8, rdi",          // kept where no call looks for them: pid, ...
        "mov r9, rsi",          // ... status, ...
        "mov r10, rdx",         // ... ranges
        "mov rdi, [rdx]",       // the first: start
        "mov rsi, [rdx + 8]",   // length
        "mov edx, {dontneed}",
        "mov eax, {madvise}",
        "syscall",
        "mov rdi, [r10 + 16]",  // the second
        "mov rsi, [r10 + 24]",
        "mov eax, {madvise}",
        "syscall",
        "mov rdi, r8",
        "mov rsi, r9",
        "xor edx, edx",         // no options
        "xor r10d, r10d",       // no rusage
        "mov eax, {wait4}",
        "syscall",
        "ret",
        dontneed = const libc::MADV_DONTNEED,
        madvise = const Sysno::madvise as usize,
        wait4 = const Sysno::wait4 as usize,
    )
}

/// More bytes than `wait4_after_madvise` is long.
pub const WAIT_LENGTH: usize = 80;
