//! Level 10. The entry point: from the kernel's first stack to `parent::run`, and out again.

#![no_std]
#![no_main]

use core::panic::PanicInfo;
use tinyctr::arch::Process;
use tinyctr::buf::Line;
use tinyctr::{child, error, parent, sys};

#[cfg_attr(target_arch = "x86_64", path = "arch/x86_64/start.rs")]
mod start;

/// Called by `_start`, with the stack pointer that the kernel gave it.
///
/// # Safety
/// `stack` is that pointer, and this is called once.
unsafe extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: `_start` passes on the first stack as it found it, and nobody has read it before.
    let process = unsafe { Process::from_stack(stack) };
    sys::exit_group(parent::run(&process, child::child))
}

/// A panic is a mistake of ours. It says where, and leaves: there is nothing to unwind to.
#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    let mut line = Line::<256>::new();
    line.push("tinyctr: mistake in tinyctr itself: ");
    if let Some(place) = info.location() {
        line.push(place.file()).push(":").push_decimal(place.line().into());
    }
    let _unheard = sys::write_all(sys::STDERR, line.end());
    sys::exit_group(error::EXIT_FAILURE)
}

/// `core` was compiled to unwind and names this in its tables. Nobody calls it: we abort. The
/// optimiser drops the tables, a debug build keeps them.
#[cfg(debug_assertions)]
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
