//! Who forbids user namespaces. Asked only once one could not be had.

use core::ffi::CStr;
use syscalls::Errno;

use super::words::says;
use crate::error::{Cause, Error};
use crate::steps::Step;

/// What an error of the clone is about, where a user namespace was asked for.
pub const WANTED: &CStr = c"user namespace";

const MOUNTS: &CStr = c"/proc/self/mountinfo";

/// A setting of the host: its file, what that says where it forbids them, and its name.
const SETTINGS: [(&CStr, &[u8], &CStr); 4] = [
    (c"/proc/sys/user/max_user_namespaces", b"\n0\n", c"user.max_user_namespaces"),
    (c"/proc/sys/kernel/unprivileged_userns_clone", b"\n0\n", c"kernel.unprivileged_userns_clone"),
    (
        c"/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        b"\n1\n",
        c"kernel.apparmor_restrict_unprivileged_userns",
    ),
    (c"/proc/self/status", b"Seccomp:\t2", c"seccomp"),
];

/// The same error, about who is to blame for it.
#[inline(never)] // seldom
pub fn blamed<'a>(error: &Error<'a>) -> Error<'a> {
    let (step, object) = (error.step(), error.object.to_cstr());
    let Cause::Errno(errno @ (Errno::EPERM | Errno::EACCES | Errno::ENOSPC)) = error.cause() else {
        return *error;
    };
    if !(step == Step::Clone && object == WANTED || step == Step::MapIds) {
        return *error;
    }
    // In a chroot the root is no mount: none is at `/`.
    if says(MOUNTS, b" - ") && !says(MOUNTS, b" / r") {
        return Error::errno(step, c"chroot", errno);
    }
    for (file, no, name) in SETTINGS {
        if says(file, no) {
            return Error::errno(step, name, errno);
        }
    }
    *error
}
