//! Who forbids user namespaces. Asked only once one could not be had.

use core::ffi::CStr;
use syscalls::Errno;

use super::lines::each_line;
use crate::error::{Cause, Error, Refusal};
use crate::steps::Step;

/// What an error of the clone is about, where a user namespace was asked for.
pub const WANTED: &CStr = c"user namespace";

const MOUNTS: &CStr = c"/proc/self/mountinfo";

/// What may forbid them: its file, a line of that where it does, and what it is called.
const SUSPECTS: [(&CStr, &[u8], &CStr, Refusal); 4] = [
    (
        c"/proc/sys/user/max_user_namespaces",
        b"0",
        c"user.max_user_namespaces",
        Refusal::ForbiddenByLimit,
    ),
    (
        c"/proc/sys/kernel/unprivileged_userns_clone",
        b"0",
        c"kernel.unprivileged_userns_clone",
        Refusal::ForbiddenToUsers,
    ),
    (
        c"/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        b"1",
        c"kernel.apparmor_restrict_unprivileged_userns",
        Refusal::ForbiddenByAppArmor,
    ),
    (c"/proc/self/status", b"Seccomp:\t2", c"seccomp", Refusal::ForbiddenByFilter),
];

/// The same error, about who is to blame for it.
#[inline(never)] // packed
pub fn blamed<'a>(error: &Error<'a>) -> Error<'a> {
    let (step, object) = (error.step(), error.object.to_cstr());
    let Cause::Errno(Errno::EPERM | Errno::EACCES | Errno::ENOSPC) = error.cause() else {
        return *error;
    };
    if !(step == Step::Clone && object == WANTED || step == Step::MapIds) {
        return *error;
    }
    // In a chroot the root is no mount: none is at `/`, which is the fifth word.
    let mut rooted = false;
    let read = each_line(MOUNTS, &mut |line| {
        rooted |= line.split(|&byte| byte == b' ').nth(4) == Some(b"/");
    });
    if read.is_ok() && !rooted {
        return Error::refused(step, c"chroot", Refusal::ForbiddenByChroot);
    }
    // A limit has an answer of its own, which others have too.
    let is_limit = error.cause() == Cause::Errno(Errno::ENOSPC);
    for (file, no, name, why) in SUSPECTS.into_iter().take(if is_limit { 1 } else { 4 }) {
        let mut forbids = false;
        let _not_there = each_line(file, &mut |line| forbids |= line == no);
        if forbids {
            return Error::refused(step, name, why);
        }
    }
    *error
}
