//! Level 6. Who we are inside a user namespace of our own: root, and outside still ourselves.

use core::ffi::CStr;

use crate::buf::Line;
use crate::error::{Fault, On};
use crate::sys;

/// The contents of uid_map and gid_map: one id each.
pub struct IdMaps {
    uid: Line<32>,
    gid: Line<32>,
}

impl IdMaps {
    /// Inside 0, outside the caller's own.
    #[inline(never)] // smaller alone than among its caller's variables
    pub fn root_is(uid: u32, gid: u32) -> IdMaps {
        let mut maps = IdMaps { uid: Line::new(), gid: Line::new() };
        maps.uid.push("0 ").push_decimal(uid.into()).push(" 1\n");
        maps.gid.push("0 ").push_decimal(gid.into()).push(" 1\n");
        maps
    }

    /// Becomes root: [user_namespaces(7)](https://man7.org/linux/man-pages/man7/user_namespaces.7.html).
    /// Without privilege a gid map is accepted only after setgroups(2) was given up for good:
    /// else a process could drop a group that denies it something (CVE-2014-8989).
    pub fn write(&self) -> Result<(), Fault<'static>> {
        put(c"/proc/self/setgroups", b"deny")?;
        put(c"/proc/self/uid_map", self.uid.as_bytes())?;
        put(c"/proc/self/gid_map", self.gid.as_bytes())
    }
}

/// The kernel takes a map in a single write, or not at all.
fn put(file: &'static CStr, content: &[u8]) -> Result<(), Fault<'static>> {
    sys::write_file(sys::AT_FDCWD, file, content).on(file)
}
