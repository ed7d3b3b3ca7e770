//! Level 6. Entering the root. There is more than one way, and one result: absolute paths name
//! the image, the working directory is its root, and no path leads back to the host.
//!
//! Hazards:
//! 1. Until `enter` an absolute path names the host, and afterwards, until `leave_host`, `..` from
//!    `/` climbs onto the old root, which lies on top of the new one. So all that is done to the
//!    image is done before, by single names beneath `Tree`, and no link of the image is followed.
//! 2. A plain chroot can be left again by whoever may call chroot: the file system above it is
//!    still there. That is why the root must be a mount of its own, and why `chroot_only` exists
//!    for `--bare` without a mount namespace, and for nothing else.
//! 3. In a user namespace proc can be mounted only where another one is visible in full
//!    (fs/namespace.c, mount_too_revealing): so before `leave_host`, not after.
//! 4. In a tree that `attach` has put there no flag is locked, as it is in a copy made for another
//!    user namespace: who has CAP_SYS_ADMIN can take MS_NODEV away.
//! 5. What MS_MOVE covers is still there. With CAP_SYS_ADMIN the cover can be unmounted, and
//!    setns(2) into the same namespace looks its root up anew: the host's. No path does that, only
//!    the capability, which a command has with `--bare`, `--privileged` or `--cap-add` alone.

use core::ffi::CStr;
use syscalls::Errno;

use crate::arch::tail;
use crate::error::{Error, On};
use crate::flags::{Mnt, MountAttr, Ms, O};
use crate::steps::Step;
use crate::sys::{self, skippable, step};

/// The image as a mount of its own, held open: what is done to it needs no path. The descriptor
/// leads nowhere that the container could not go by itself, and is closed by execve.
#[derive(Clone, Copy)]
pub struct Tree<'a> {
    descriptor: i32,
    image: &'a CStr,
    /// It covers the host's root already.
    covers: bool,
}

/// Where the host's root is, once we have entered ours.
#[must_use]
pub enum HostRoot {
    /// On top of our root, until it is detached.
    Above,
    /// Beneath our root, where no path leads (hazard 5).
    Beneath,
    /// Around our root, which is only a chroot: for study (`--skip pivot`).
    Around,
}

const DIRECTORY: O = O::PATH.with(O::DIRECTORY).with(O::CLOEXEC);

/// Makes `image` a mount of its own. pivot_root wants a mount point, which a directory becomes by
/// being bound to itself.
pub fn bind(image: &CStr) -> Result<(), Error<'_>> {
    step(Step::BindRoot, || sys::mount_bind(image, image, Ms::REC).on(image))
}

/// No device of the image's works, in none of its mounts.
pub fn without_devices(image: &CStr) -> Result<(), Error<'_>> {
    skippable(Step::NoDevices, || match sys::mount_setattr(image, MountAttr::NODEV) {
        Err(Errno::ENOSYS) => {
            sys::rare().on(image)?;
            one_without_devices(image).on(image)
        }
        answer => answer.on(image),
    })
}

/// Before Linux 5.12 a flag is for one mount alone: so let there be but one. In a user namespace
/// the kernel refuses to tear it from those below it, and we go no further.
#[inline(never)] // packed
fn one_without_devices(image: &CStr) -> Result<(), Errno> {
    sys::mount_bind(image, image, Ms::empty())?;
    let flags = sys::mount_flags_of(image)?;
    sys::mount_flags(image, flags | Ms::NODEV)
}

/// Opens what was bound.
pub fn open(image: &CStr) -> Result<Tree<'_>, Error<'_>> {
    step(Step::OpenRoot, || {
        // Looked up again: it is the mount now.
        let descriptor = sys::openat(sys::AT_FDCWD, image, DIRECTORY).on(image)?;
        Ok(Tree { descriptor, image, covers: false })
    })
}

/// Puts a tree of mounts that is nowhere yet over the host's root: nothing is looked up for that,
/// where we may have lost the right to. Absolute paths still begin beneath it. Its devices would be
/// root's, who inside is somebody else: so they are refused in any case.
#[inline(never)] // packed
pub fn attach(tree: i32, image: &CStr) -> Result<Tree<'_>, Error<'_>> {
    step(Step::BindRoot, || sys::move_tree(tree, sys::AT_FDCWD, c"/").on(image))?;
    let flags = MountAttr::NODEV;
    skippable(Step::NoDevices, || sys::mount_setattr_of(tree, flags, 0).on(image))?;
    Ok(Tree { descriptor: tree, image, covers: true })
}

impl<'a> Tree<'a> {
    /// Goes to the directory `name` of the image's root, which is made where it is missing. A link
    /// there could name a directory of the host: it is not followed.
    fn stand_in(self, name: &CStr) -> Result<(), Errno> {
        let directory = match self.directory(name) {
            Err(Errno::ENOENT) => {
                sys::mkdirat(self.descriptor, name, 0o755)?;
                self.directory(name)?
            }
            opened => opened?,
        };
        sys::fchdir(directory)
    }

    /// Opens the directory `name` of the image's root. `ENOTDIR` for a link.
    pub fn directory(self, name: &CStr) -> Result<i32, Errno> {
        sys::openat(self.descriptor, name, DIRECTORY | O::NOFOLLOW)
    }

    /// Moves what is mounted at `from` onto the directory of that name in the image.
    pub fn place(self, from: &'static CStr) -> Result<(), Error<'static>> {
        match sys::move_mount(from, self.descriptor, single_name(from)) {
            // Before Linux 5.2, or under a filter that doesn't know it; nothing there yet; a link
            // or the like, which the look-up names.
            Err(Errno::ENOSYS | Errno::EPERM | Errno::ENOENT | Errno::EINVAL) => {
                sys::rare().on(from)?;
                self.place_otherwise(from)
            }
            answer => answer.on(from),
        }
    }

    #[inline(never)] // packed
    fn place_otherwise(self, from: &'static CStr) -> Result<(), Error<'static>> {
        self.stand_in(single_name(from)).on(from)?;
        match sys::mount_move(from, c".") {
            Err(Errno::ENOENT) => Ok(()), // `make_sys` had no place for it
            answer => answer.on(from),
        }
    }

    /// Mounts a proc of our own in the image.
    pub fn mount_proc(self) -> Result<(), Error<'static>> {
        skippable(Step::Proc, || {
            let proc = c"/proc";
            self.stand_in(single_name(proc)).on(proc)?;
            sys::mount_new(c"proc", c".", Ms::NOSUID | Ms::NODEV | Ms::NOEXEC).on(proc)
        })
    }

    /// Makes it the root of this mount namespace.
    pub fn enter(self) -> Result<HostRoot, Error<'a>> {
        let image = self.image;
        step(Step::EnterRoot, || sys::fchdir(self.descriptor).on(image))?;
        if pivot(image)? {
            return Ok(HostRoot::Above);
        }
        step(Step::Chroot, || sys::rare().on(image))?;
        self.enter_otherwise()
    }

    /// Where the root is the initramfs, which nothing can be moved away from, it is covered. Where
    /// nothing was to be moved (`--skip`) it stays around us.
    #[inline(never)] // packed
    fn enter_otherwise(self) -> Result<HostRoot, Error<'a>> {
        let image = self.image;
        let skipped = sys::skips(Step::PivotRoot);
        if !self.covers && !skipped {
            step(Step::MoveRoot, || sys::mount_move(c".", c"/").on(image))?;
        }
        step(Step::Chroot, || sys::chroot(c".").on(image))?;
        Ok(if skipped { HostRoot::Around } else { HostRoot::Beneath })
    }
}

/// `proc` of `/proc`.
fn single_name(path: &'static CStr) -> &'static CStr {
    tail(path, "/".len())
}

/// Whether it was done: `--skip` may leave it out, and the kernel refuse it.
fn pivot(image: &CStr) -> Result<bool, Error<'_>> {
    if sys::skips(Step::PivotRoot) {
        return Ok(false);
    }
    step(Step::PivotRoot, || match sys::pivot_root(c".", c".") {
        Err(Errno::EINVAL) => Ok(false),
        answer => answer.map(|()| true).on(image),
    })
}

/// Cuts the way back. Our own root is the image already: pivot_root(2) has changed it for whoever
/// had the old one (chroot_fs_refs in fs/fs_struct.c).
pub fn leave_host(host: HostRoot) -> Result<(), Error<'static>> {
    match host {
        HostRoot::Beneath | HostRoot::Around => Ok(()),
        HostRoot::Above => skippable(Step::LeaveHost, || sys::umount2(c".", Mnt::DETACH).on(c"/")),
    }
}

/// The first demo's root, where there is no mount namespace to mount anything in.
#[inline(never)] // packed
pub fn chroot_only(image: &CStr) -> Result<(), Error<'_>> {
    step(Step::Chroot, || {
        sys::chroot(image).on(image)?;
        sys::chdir(c"/").on(c"/") // chroot(2) leaves the working directory outside
    })
}
