//! What goes into a register, by the kind of the argument (`trace::Kind`). Each kind is made of one
//! type: what will be shown as a string is one.

#![allow(non_snake_case, reason = "they are named as the kinds are")]

use core::ffi::CStr;

use crate::arch::Strings;
use crate::flags;

macro_rules! registers {
    ($($kind:ident)|+: |$value:ident: $type:ty| $register:expr) => {
        $(#[inline(always)]
        pub fn $kind($value: $type) -> usize {
            $register
        })+
    };
}

/// As `registers`, for a pointer to `T`.
macro_rules! pointers {
    ($($kind:ident)|+: $type:ty) => {
        $(#[inline(always)]
        pub fn $kind<T: ?Sized>(pointer: $type) -> usize {
            pointer.cast::<u8>() as usize
        })+
    };
}

registers!(Fd | Signal | Signed: |number: i32| number as usize); // with its sign
registers!(Named | Octal | Umask | Mode | Capability: |number: u32| number as usize);
registers!(Unsigned | Address | ChildStack | Hex: |number: usize| number);
registers!(Device: |numbers: [u8; 2]| u16::from_be_bytes(numbers).into());
registers!(CloneFlags: |flags: u64| flags as usize);
registers!(OpenFlags | O: |flags: flags::O| flags.bits() as usize);
registers!(Ms: |flags: flags::Ms| flags.bits() as usize);
registers!(Mnt: |flags: flags::Mnt| flags.bits() as usize);
registers!(Prot: |flags: flags::Prot| flags.bits() as usize);
registers!(Namespaces: |flags: flags::Clone| flags.bits() as usize);
registers!(Lock: |flags: flags::Lock| flags.bits() as usize);
registers!(Sock: |flags: flags::Sock| flags.bits() as usize);
registers!(Map: |flags: flags::Map| flags.bits() as usize);
registers!(Bytes: |bytes: &[u8]| bytes.as_ptr() as usize);
registers!(Argv | Envp: |strings: Strings| strings.as_ptr() as usize);

registers!(Groups: |groups: &[u32]| groups.as_ptr() as usize);

/// A string, or `None`: NULL.
#[inline(always)]
pub fn Str<'a>(string: impl Into<Option<&'a CStr>>) -> usize {
    string.into().map_or(0, |string| string.as_ptr() as usize)
}

pub use self::Str as Data;

// What the kernel reads, and what it writes.
pointers!(DefaultAction | Time | LimitOfOne | CapabilityHeader | Signals | Timer: *const T);
pointers!(LoopbackUp | OpenHow: *const T);
pointers!(MountAttr | Filter | Sets: *const T);
pointers!(SetsOut | Text | Path | Entries | Status | Struct | Pipe | Polls: *mut T);
