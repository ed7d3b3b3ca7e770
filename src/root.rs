//! Level 6. Entering the root. There is more than one way, and one result: absolute paths name
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
//! 4. What MS_MOVE covers is still there. With CAP_SYS_ADMIN the cover can be unmounted, and
//!    setns(2) into the same namespace looks its root up anew: the host's. No path does that, only
//!    the capability; who has an initramfs for a root is not sealed in before it is dropped.

use core::ffi::CStr;
use syscalls::Errno;

use crate::error::{Error, On};
use crate::flags::{Mnt, Ms, O};
use crate::steps::Step;
use crate::sys::{self, skippable, step};

/// Where the host's root is, once we have entered ours.
#[must_use]
pub enum HostRoot {
    /// On top of our root, until it is detached.
    Above,
    /// Beneath our root, where no path leads (hazard 4).
    Beneath,
    /// Around our root, which is only a chroot: for study (`--skip pivot`).
    Around,
}

/// Makes `image` a mount of its own and the root of this mount namespace.
/// pivot_root wants a mount point, which a directory becomes by being bound to itself.
pub fn enter(image: &CStr) -> Result<HostRoot, Error<'_>> {
    step(Step::BindRoot, || sys::mount_bind(image, image, Ms::REC).on(image))?;
    step(Step::EnterRoot, || sys::chdir(image).on(image))?; // looked up again: it is the mount now
    match pivot(image)? {
        Pivot::Done => Ok(HostRoot::Above),
        // The root is the initramfs, which nothing can be moved away from: cover it instead.
        Pivot::Refused => {
            step(Step::MoveRoot, || sys::mount_move(c".", c"/").on(image))?;
            step(Step::Chroot, || sys::chroot(c".").on(image))?;
            Ok(HostRoot::Beneath)
        }
        Pivot::Skipped => {
            step(Step::Chroot, || sys::chroot(c".").on(image))?;
            Ok(HostRoot::Around)
        }
    }
}

enum Pivot {
    Done,
    /// By the kernel.
    Refused,
    /// By `--skip`.
    Skipped,
}

fn pivot(image: &CStr) -> Result<Pivot, Error<'_>> {
    if sys::skips(Step::PivotRoot) {
        return Ok(Pivot::Skipped);
    }
    step(Step::PivotRoot, || match sys::pivot_root(c".", c".") {
        Err(Errno::EINVAL) => Ok(Pivot::Refused),
        answer => answer.map(|()| Pivot::Done).on(image),
    })
}

/// Mounts proc on the image's own `/proc`. A link there could name a directory of the host, so
/// it is opened without following it, and the mount goes onto what was opened.
pub fn mount_proc() -> Result<(), Error<'static>> {
    skippable(Step::Proc, || {
        let proc = open_proc().on(c"/proc")?;
        sys::fchdir(proc).on(c"/proc")?;
        sys::mount_new(c"proc", c".", Ms::NOSUID | Ms::NODEV | Ms::NOEXEC).on(c"/proc")?;
        sys::chdir(c"/").on(c"/")
    })
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
        HostRoot::Beneath | HostRoot::Around => Ok(()),
        HostRoot::Above => {
            skippable(Step::LeaveHost, || sys::umount2(c".", Mnt::DETACH).on(c"/"))?;
            // pivot_root(2) says that it may or may not change the caller's own root.
            step(Step::Chroot, || sys::chroot(c".").on(c"/"))
        }
    }
}

/// The first demo's root, where there is no mount namespace to mount anything in.
pub fn chroot_only(image: &CStr) -> Result<(), Error<'_>> {
    step(Step::Chroot, || {
        sys::chroot(image).on(image)?;
        sys::chdir(c"/").on(c"/") // chroot(2) leaves the working directory outside
    })
}
