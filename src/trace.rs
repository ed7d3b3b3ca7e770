//! Level 1. The arguments of a system call, as things that can be both passed and printed.
//!
//! Every wrapper in `sys.rs` describes its call with these, so whoever wants to show a call finds
//! the string or the flag names in it, not just six numbers.

use core::ffi::CStr;

use crate::arch::Strings;

/// One argument. `raw` is the number that goes into the register.
#[derive(Clone, Copy)]
pub enum Arg<'a> {
    /// A NUL-terminated string that the kernel reads.
    Str(&'a CStr),
    /// Memory that the kernel reads; its length is another argument.
    Bytes(&'a [u8]),
    /// Memory that the kernel writes.
    Out(usize),
    /// An `argv` or `envp`, with its final NULL.
    Strings(Strings<'a>),
    /// A pointer that may be left out, and is.
    Null,
    /// A file descriptor, `AT_FDCWD` included.
    Fd(i32),
    /// A flag word and the table of its names.
    Flags(u64, &'static [(&'static str, u64)]),
    /// A constant that is not a flag word: the kernel's name for it.
    Named(u64, &'static str),
    Signed(isize),
    Unsigned(usize),
    Octal(u32),
}

impl Arg<'_> {
    pub fn raw(self) -> usize {
        match self {
            Arg::Str(string) => string.as_ptr() as usize,
            Arg::Bytes(bytes) => bytes.as_ptr() as usize,
            Arg::Strings(strings) => strings.as_ptr() as usize,
            Arg::Out(address) => address,
            Arg::Null => 0,
            Arg::Fd(fd) => fd as isize as usize,
            Arg::Flags(bits, _) | Arg::Named(bits, _) => bits as usize,
            Arg::Signed(number) => number as usize,
            Arg::Unsigned(number) => number,
            Arg::Octal(mode) => mode as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_descriptor_keeps_its_sign_in_the_register() {
        assert_eq!(Arg::Fd(libc::AT_FDCWD).raw() as isize, -100);
    }
}
