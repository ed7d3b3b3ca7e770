//! Level 3. Entering the root. There is more than one way, and one result: absolute paths name
//! the image, the working directory is its root, and no path leads back to the host.
//!
//! Hazards:
//! 1. After `pivot_root(".", ".")` the old root lies on top of the new one. An absolute path
//!    starts below it, in the image; but `..` from `/` climbs onto it, into the host. So until
//!    `leave_host` only single names are looked up, and no link of the image is followed.
//! 2. A plain chroot can be left again by whoever may call chroot: the file system above it is
//!    still there. That is why the root must be a mount of its own, and why `chroot_only` exists
//!    for `--bare` without a mount namespace, and for nothing else.
//! 3. In a user namespace proc can be mounted only where another one is visible in full
//!    (fs/namespace.c, mount_too_revealing): so before `leave_host`, not after.

use core::ffi::CStr;
use syscalls::Errno;

use crate::error::{At, Error, Step};
use crate::flags::{Mnt, Ms, O};
use crate::sys;

/// Where the host's root is, once we have entered ours.
#[must_use]
pub enum HostRoot {
    /// On top of our root, until it is detached.
    Above,
    /// Beneath our root, where no path leads.
    Beneath,
}

/// Makes `image` a mount of its own and the root of this mount namespace.
/// pivot_root wants a mount point, which a directory becomes by being bound to itself.
pub fn enter(image: &CStr) -> Result<HostRoot, Error<'_>> {
    sys::mount_bind(image, image, Ms::REC).at(Step::BindRoot, image)?;
    sys::chdir(image).at(Step::EnterRoot, image)?; // looked up again: now it is the new mount
    match sys::pivot_root(c".", c".") {
        Ok(()) => Ok(HostRoot::Above),
        // The root is the initramfs, which nothing can be moved away from: cover it instead.
        Err(Errno::EINVAL) => {
            sys::mount_move(c".", c"/").at(Step::MoveRoot, image)?;
            sys::chroot(c".").at(Step::Chroot, image)?;
            Ok(HostRoot::Beneath)
        }
        Err(errno) => Err(Error::errno(Step::PivotRoot, image.to_bytes(), errno)),
    }
}

/// Mounts proc on the image's own `/proc`. A link there could name a directory of the host, so
/// it is opened without following it, and the mount goes onto what was opened.
pub fn mount_proc() -> Result<(), Error<'static>> {
    let proc = open_proc().at(Step::Proc, c"/proc")?;
    sys::fchdir(proc).at(Step::Proc, c"/proc")?;
    sys::mount_new(c"proc", c".", Ms::NOSUID | Ms::NODEV | Ms::NOEXEC).at(Step::Proc, c"/proc")?;
    sys::chdir(c"/").at(Step::Proc, c"/")
}

/// The image's `/proc`, made where it is missing.
fn open_proc() -> Result<i32, Errno> {
    let flags = O::PATH | O::DIRECTORY | O::NOFOLLOW | O::CLOEXEC;
    match sys::openat(c"proc", flags) {
        Err(Errno::ENOENT) => {
            sys::mkdirat(c"proc", 0o555)?;
            sys::openat(c"proc", flags)
        }
        opened => opened,
    }
}

/// Cuts the way back.
pub fn leave_host(host: HostRoot) -> Result<(), Error<'static>> {
    match host {
        HostRoot::Beneath => Ok(()),
        HostRoot::Above => {
            sys::umount2(c".", Mnt::DETACH).at(Step::LeaveHost, c"/")?;
            // pivot_root(2) says that it may or may not change the caller's own root.
            sys::chroot(c".").at(Step::Chroot, c"/")
        }
    }
}

/// The first demo's root, where there is no mount namespace to mount anything in.
pub fn chroot_only(image: &CStr) -> Result<(), Error<'_>> {
    sys::chroot(image).at(Step::Chroot, image)?;
    sys::chdir(c"/").at(Step::Chroot, c"/") // chroot(2) leaves the working directory outside
}
