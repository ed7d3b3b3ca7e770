//! Part of the binary, not of the library (tests have a libc that brings its own): the entry
//! point, and the memory functions that rustc expects of every program.

use core::arch::naked_asm;

/// The first instruction. The kernel jumps here with nothing but a stack pointer.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "xor ebp, ebp",  // the outermost frame has no caller
        "mov rdi, rsp",  // argc, argv, envp and the auxiliary vector are where the stack begins
        "and rsp, -16",  // the ABI wants a stack aligned to 16 at a call
        "call {start}",
        "ud2",           // `start` never returns
        start = sym super::start,
    )
}

/// `memcpy(to, from, length)`: returns `to`.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi", // the result
        "mov rcx, rdx", // the count
        "rep movsb",    // from rsi to rdi, upwards: the ABI keeps the direction flag clear
        "ret",
    )
}

/// `memmove(to, from, length)`: the two may overlap.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "mov rcx, rdx",
        "sub rdi, rsi", // distance, as an unsigned number:
        "cmp rdi, rdx", // below `length` only where `to` lies inside `from`
        "mov rdi, rax", // (mov leaves the flags alone)
        "jb 2f",
        "rep movsb", // upwards
        "ret",
        "2: lea rdi, [rdi + rcx - 1]", // the last byte of each
        "lea rsi, [rsi + rcx - 1]",
        "std", // downwards, so that no byte is overwritten before it is read
        "rep movsb",
        "cld", // the ABI wants it clear
        "ret",
    )
}

/// `memset(to, byte, length)`: returns `to`.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
    naked_asm!(
        "mov r8, rdi",  // kept for the result
        "mov eax, esi", // the byte, in al
        "mov rcx, rdx", // the count
        "rep stosb",
        "mov rax, r8",
        "ret",
    )
}

/// `memcmp(a, b, length)`: the difference of the first two bytes that differ, else 0.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    naked_asm!(
        "xor eax, eax",
        "xor ecx, ecx",
        "mov r8, rdx",
        "2: test r8, r8",
        "jz 3f", // all are equal, or there are none
        "movzx eax, byte ptr [rdi]",
        "movzx ecx, byte ptr [rsi]",
        "inc rdi",
        "inc rsi",
        "dec r8",
        "cmp eax, ecx",
        "je 2b",
        "3: sub eax, ecx",
        "ret",
    )
}

/// `bcmp` is `memcmp` whose sign nobody asks for.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    naked_asm!("jmp {memcmp}", memcmp = sym memcmp)
}

/// `strlen(string)`: what `CStr::from_ptr` calls.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(string: *const u8) -> usize {
    naked_asm!(
        "lea rax, [rdi - 1]",
        "2: inc rax",
        "cmp byte ptr [rax], 0",
        "jne 2b",
        "sub rax, rdi",
        "ret",
    )
}
