//! Level 6. The network, where it is not simply the host's; and the files that go with the host's.

use core::ffi::CStr;
use syscalls::Errno;

use crate::arch::ThinCStr;
use crate::buf::{Line, has};
use crate::error::{Error, On};
use crate::flags::{Clone, MountAttr, Ms, O};
use crate::steps::Step;
use crate::sys::{self, step};

/// Enters a network namespace, by its path, or without a slash by the name that
/// [ip-netns(8)](https://man7.org/linux/man-pages/man8/ip-netns.8.html) gave it.
#[inline(never)] // packed
pub fn join(name: &CStr) -> Result<(), Error<'_>> {
    step(Step::Network, || {
        let mut path = Line::<1024>::new();
        path.push(if has(name.to_bytes(), b'/') { "" } else { "/run/netns/" });
        let path = path.push(name.to_bytes_with_nul()).as_cstr();
        let path = path.ok_or(Errno::ENAMETOOLONG).on(name)?;
        // A FIFO is not waited for, and then refused as all that is no namespace.
        let namespace = sys::openat(sys::AT_FDCWD, path, O::NONBLOCK | O::CLOEXEC).on(name)?;
        sys::setns(namespace, Clone::NEWNET).on(name)?;
        sys::close(namespace).on(name)
    })
}

/// What tells the names of the network, and where an image has it below its `/etc`. The first is
/// what sethostname(2) sets, in the namespace of whoever reads.
pub const FILES: &[[ThinCStr; 2]; 4] = &[
    pair(c"/proc/sys/kernel/hostname", c"hostname"),
    pair(c"/etc/hosts", c"hosts"),
    pair(c"/etc/resolv.conf", c"resolv.conf"),
    // Where systemd-resolved(8) is, the one above may name its own 127.0.0.53.
    pair(c"/run/systemd/resolve/resolv.conf", c"resolv.conf"),
];
/// So many of them, where that address is the host's too.
pub const HOSTS_FILES: usize = 3;

const fn pair(file: &'static CStr, name: &'static CStr) -> [ThinCStr<'static>; 2] {
    [ThinCStr::new(file), ThinCStr::new(name)]
}

/// Mounts the first `count` of them, read-only, onto those of the image's directory `etc`. Each
/// becomes a mount of its own where the host has it, which is then moved: onto a link too, without
/// following it, so that one that leads nowhere is as good a place as a file.
#[inline(never)] // alone it is smaller
pub fn share_files(etc: i32, count: usize) -> Result<(), Error<'static>> {
    for [file, name] in FILES.iter().take(count) {
        let (file, name) = (file.to_cstr(), name.to_cstr());
        match sys::mount_bind(file, file, Ms::empty()) {
            Err(Errno::ENOENT) => continue, // the host has none
            bound => bound.on(file)?,
        }
        if !file.to_bytes().starts_with(b"/p") {
            make_inert(file).on(file)?; // as /proc/sys is already, where it has to be
        }
        match place(file, etc, name) {
            // The image has none and can get none; a directory is there; before Linux 5.2, or under
            // a filter that knows nothing of it. Then the image's is what it was.
            Err(Errno::EROFS | Errno::EACCES | Errno::ENOSPC | Errno::EDQUOT) => {}
            Err(Errno::EINVAL | Errno::ENOSYS | Errno::EPERM) => {}
            placed => placed.on(name)?,
        }
    }
    Ok(())
}

/// Where the image has none, an empty file is made for the mount to be on, and stays.
fn place(file: &CStr, etc: i32, name: &CStr) -> Result<(), Errno> {
    match sys::move_mount_at_link(file, etc, name) {
        Err(Errno::ENOENT) => {
            sys::make_file(etc, name, 0o644)?;
            sys::move_mount_at_link(file, etc, name)
        }
        moved => moved,
    }
}

fn make_inert(file: &CStr) -> Result<(), Errno> {
    let inert = MountAttr::RDONLY | MountAttr::NOSUID | MountAttr::NODEV | MountAttr::NOEXEC;
    match sys::mount_setattr(file, inert) {
        Err(Errno::ENOSYS) => {
            sys::mount_flags(file, Ms::RDONLY | Ms::NOSUID | Ms::NODEV | Ms::NOEXEC)
        }
        answer => answer,
    }
}
