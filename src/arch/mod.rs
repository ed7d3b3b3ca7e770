//! Level 0. What differs from machine to machine, and what the kernel lays out in memory before
//! the first instruction of ours: the assembly of the project, and the reader of the first stack.

use core::ffi::{CStr, c_char};
use core::fmt;
use core::marker::PhantomData;
use core::mem::size_of;
use core::ptr::NonNull;

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub use x86_64::{WAIT_LENGTH, call_after_madvise, clone};

#[cfg(not(target_arch = "x86_64"))]
compile_error!("src/arch has `clone` and `_start` for x86_64 only; a new machine needs these two");

/// A C string as C passes it: one pointer, the length found by looking for NUL.
///
/// A `&CStr` is two words, so an array of them is not what `execve` takes. An array of
/// `Option<ThinCStr>` is: NULL is `None`.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct ThinCStr<'a>(NonNull<c_char>, PhantomData<&'a CStr>);

const _: () = assert!(size_of::<Option<ThinCStr>>() == size_of::<*const c_char>());

impl<'a> ThinCStr<'a> {
    pub const fn new(string: &'a CStr) -> Self {
        // SAFETY: a reference is never NULL.
        ThinCStr(unsafe { NonNull::new_unchecked(string.as_ptr().cast_mut()) }, PhantomData)
    }

    pub fn address(self) -> usize {
        self.0.as_ptr() as usize
    }

    /// `None` for NULL.
    ///
    /// # Safety
    /// Else there is a C string, which lives as long as `'a`.
    pub unsafe fn from_address(address: usize) -> Option<ThinCStr<'a>> {
        NonNull::new(address as *mut c_char).map(|pointer| ThinCStr(pointer, PhantomData))
    }

    pub fn to_cstr(self) -> &'a CStr {
        // SAFETY: the pointer came from a `&'a CStr`, or from the first stack, where the kernel
        // ends each string with NUL (fs/exec.c, copy_strings) and nobody of ours writes.
        unsafe { CStr::from_ptr(self.0.as_ptr()) }
    }
}

impl fmt::Debug for ThinCStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.to_cstr().fmt(f)
    }
}

/// `argv` or `envp` without its final NULL: every element is `Some`.
pub type Strings<'a> = &'a [Option<ThinCStr<'a>>];

/// What the kernel left on the first stack, lowest address first: argc, argv, NULL, envp, NULL,
/// and the auxiliary vector ([getauxval(3)](https://man7.org/linux/man-pages/man3/getauxval.3.html)).
#[derive(Clone, Copy)]
pub struct Process {
    /// The arguments, our own name first, and the final NULL.
    argv: Strings<'static>,
    pub environment: Strings<'static>,
    pub page_size: usize,
    pub euid: u32,
    pub egid: u32,
    /// The path that was given to execve to start us.
    pub executable: Option<ThinCStr<'static>>,
}

impl Process {
    /// # Safety
    /// `stack` is the stack pointer as it was at `_start`, and nobody else reads this memory
    /// through a mutable reference afterwards.
    pub unsafe fn from_stack(stack: *const usize) -> Process {
        // SAFETY: the layout is fixed by the ABI (System V, "Initial Process Stack"); each read
        // stays below the terminator that the kernel wrote: argc, NULL, NULL, AT_NULL.
        unsafe {
            let argc = *stack;
            let argv = stack.add(1).cast::<Option<ThinCStr>>();
            let envp = argv.add(argc + 1);
            let mut envc = 0;
            while (*envp.add(envc)).is_some() {
                envc += 1;
            }
            let mut process = Process {
                argv: core::slice::from_raw_parts(argv, argc + 1),
                environment: core::slice::from_raw_parts(envp, envc),
                page_size: 4096,
                euid: u32::MAX,
                egid: u32::MAX,
                executable: None,
            };
            let mut aux = envp.add(envc + 1).cast::<usize>();
            loop {
                let (key, value) = (*aux, *aux.add(1));
                match key as u64 {
                    libc::AT_NULL => return process,
                    libc::AT_PAGESZ => process.page_size = value,
                    libc::AT_EUID => process.euid = value as u32,
                    libc::AT_EGID => process.egid = value as u32,
                    libc::AT_EXECFN => process.executable = *aux.add(1).cast(),
                    _ => {}
                }
                aux = aux.add(2);
            }
        }
    }

    /// The arguments after our own name, and the NULL that ends them, so that a tail of this is
    /// an `argv`.
    pub fn arguments(&self) -> Strings<'static> {
        // execve with an empty argv was possible before Linux 5.18: then there is only the NULL.
        self.argv.get(usize::from(self.argv.len() > 1)..).unwrap_or(&[])
    }

    /// The value of `name` in our environment, as getenv(3).
    pub fn variable(&self, name: &[u8]) -> Option<&'static CStr> {
        self.environment.iter().flatten().find_map(|entry| value_of(entry.to_cstr(), name))
    }
}

/// The value in `entry`, where it is `name=value`.
pub fn value_of<'a>(entry: &'a CStr, name: &[u8]) -> Option<&'a CStr> {
    let value = entry.to_bytes().strip_prefix(name)?.strip_prefix(b"=")?;
    Some(tail(entry, entry.count_bytes() - value.len()))
}

/// The string from byte `start` on. Past its end there is nothing.
pub fn tail(string: &CStr, start: usize) -> &CStr {
    let rest = string.to_bytes_with_nul().get(start..).unwrap_or(b"\0");
    // SAFETY: what is left of a C string ends with its NUL, and lives as long.
    unsafe { CStr::from_ptr(rest.as_ptr().cast()) }
}

/// The C string that `bytes` begins with; `None` where no NUL ends it.
#[inline(never)]
pub fn until_nul(bytes: &[u8]) -> Option<&CStr> {
    bytes.iter().position(|byte| *byte == 0)?;
    // SAFETY: there is a NUL among these bytes, which are borrowed as long.
    Some(unsafe { CStr::from_ptr(bytes.as_ptr().cast()) })
}
