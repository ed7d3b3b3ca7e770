//! Who we are, and whose the files of a mount are.

use core::ffi::CStr;
use core::mem::size_of_val;
use syscalls::Errno;

use super::{AT_FDCWD, act, call, enter};
use crate::flags::MountAttr;

/// `prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)`, [PR_GET_NO_NEW_PRIVS(2const)](
/// https://man7.org/linux/man-pages/man2/PR_GET_NO_NEW_PRIVS.2const.html).
pub fn prctl_get_no_new_privs() -> Result<bool, Errno> {
    let option = libc::PR_GET_NO_NEW_PRIVS as u32;
    let call =
        call!(Open, prctl, Named(option), Unsigned(0), Unsigned(0), Unsigned(0), Unsigned(0));
    // SAFETY: the call touches no memory of ours.
    unsafe { enter(call) }.map(|answer| answer == 1)
}

/// `open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE)`,
/// [open_tree(2)](https://man7.org/linux/man-pages/man2/open_tree.2.html), since Linux 5.2: a copy
/// of a mount and all that is mounted below it, which goes with its descriptor.
pub fn open_tree(path: &CStr) -> Result<i32, Errno> {
    const OPEN_TREE_CLONE: u32 = 1; // include/uapi/linux/mount.h
    let flags = OPEN_TREE_CLONE | (libc::O_CLOEXEC | libc::AT_RECURSIVE) as u32;
    // SAFETY: the kernel copies the path and keeps no pointer.
    unsafe { enter(call!(Shut, open_tree, Fd(AT_FDCWD), Str(path), Named(flags))) }
        .map(|fd| fd as i32)
}

/// `move_mount(tree, "", directory, name, MOVE_MOUNT_F_EMPTY_PATH)`,
/// [move_mount(2)](https://man7.org/linux/man-pages/man2/move_mount.2.html): puts there what
/// `open_tree` has copied. A link in the place of `name` is covered, and not followed.
pub fn move_tree(tree: i32, directory: i32, name: &CStr) -> Result<(), Errno> {
    const MOVE_MOUNT_F_EMPTY_PATH: u32 = 4; // include/uapi/linux/mount.h
    let flags = MOVE_MOUNT_F_EMPTY_PATH;
    let call = call!(Shut, move_mount, Fd(tree), Str(c""), Fd(directory), Str(name), Named(flags));
    // SAFETY: as in `openat`.
    unsafe { act(call) }
}

/// `mount_setattr(tree, "", AT_EMPTY_PATH|AT_RECURSIVE, {attr_set, userns_fd}, 32)`,
/// [mount_setattr(2)](https://man7.org/linux/man-pages/man2/mount_setattr.2.html): the same, of a
/// tree of mounts that is nowhere yet; owners of files are mapped as that user namespace says.
pub fn mount_setattr_of(tree: i32, flags: MountAttr, namespace: i32) -> Result<(), Errno> {
    let attr = [flags.bits(), 0, 0, namespace as u64];
    let (at, size) = ((libc::AT_RECURSIVE | libc::AT_EMPTY_PATH) as u32, size_of_val(&attr));
    let call = call!(
        Shut,
        mount_setattr,
        Fd(tree),
        Str(c""),
        Named(at),
        MountAttr(&raw const attr),
        Unsigned(size),
    );
    // SAFETY: as in `mount_setattr`.
    unsafe { act(call) }
}

/// `setgroups(size, list)`, [setgroups(2)](https://man7.org/linux/man-pages/man2/setgroups.2.html).
pub fn setgroups(groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: the kernel reads as many numbers as there are, and keeps no pointer.
    unsafe { act(call!(Shut, setgroups, Unsigned(groups.len()), Groups(groups))) }
}

/// `setgid(gid)`, [setgid(2)](https://man7.org/linux/man-pages/man2/setgid.2.html): for who may,
/// all of a process's group ids.
pub fn setgid(gid: u32) -> Result<(), Errno> {
    // SAFETY: the call touches no memory of ours.
    unsafe { act(call!(Shut, setgid, Unsigned(gid as usize))) }
}

/// `setuid(uid)`, [setuid(2)](https://man7.org/linux/man-pages/man2/setuid.2.html): for who may,
/// all of a process's user ids; and whoever was root has no capability afterwards.
pub fn setuid(uid: u32) -> Result<(), Errno> {
    // SAFETY: the call touches no memory of ours.
    unsafe { act(call!(Shut, setuid, Unsigned(uid as usize))) }
}
