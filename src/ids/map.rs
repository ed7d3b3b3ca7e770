//! Who is who in a user namespace of our own
//! ([user_namespaces(7)](https://man7.org/linux/man-pages/man7/user_namespaces.7.html)): root, who
//! outside is still ourselves; or a whole range of ids, as far as somebody gave us one.

use core::ffi::CStr;
use syscalls::Errno;

use super::words::{LONGEST, each_word, number};
use crate::arch::Process;
use crate::buf::Line;
use crate::error::{Fault, On};
use crate::flags::O;
use crate::sys;

/// How the ids of the container come to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// There is no user namespace: they are the caller's.
    Callers,
    /// One id each, which the child maps by itself.
    One { uid: u32, gid: u32 },
    /// A range each, mapped by the helper.
    Range,
}

/// The contents of uid_map or gid_map.
pub struct Map {
    text: Line<176>,
    /// The first id outside, and how many there are.
    start: u32,
    count: u32,
}

/// A program and its arguments, each with NUL behind it.
pub type Program = Line<224>;

pub struct Maps {
    pub uid: Map,
    pub gid: Map,
    /// newuidmap(1) and newgidmap(1), where it is them who may do it.
    pub programs: Option<[Program; 2]>,
}

/// How many ids a range of root's has: enough for every image.
const RANGE: u32 = 65536;

/// Where root's range is looked for, if nobody has written down one: from here on, beyond what
/// people and other containers usually have, and below the half that some programs take for negative.
const FIRST: u32 = 0x7000_0000;
const LAST: u32 = 0x7fff_0000;

/// Extents for one map: kernels before 4.15 take five.
const EXTENTS: usize = 5;

const SUBORDINATE: [&CStr; 2] = [c"/etc/subuid", c"/etc/subgid"];

/// Becomes root: one id. Without privilege a gid map is accepted only after setgroups(2) was given
/// up for good: else a process could drop a group that denies it something (CVE-2014-8989).
pub fn write_one(uid: u32, gid: u32) -> Result<(), Fault<'static>> {
    put(c"/proc/self/setgroups", b"deny")?;
    put(c"/proc/self/uid_map", Map::of_one(uid).as_bytes())?;
    put(c"/proc/self/gid_map", Map::of_one(gid).as_bytes())
}

/// Becomes somebody who is mapped.
pub fn take(uid: u32, gid: u32, groups: &[u32]) -> Result<(), Fault<'static>> {
    sys::setgroups(groups).on(c"groups")?;
    sys::setgid(gid).on(c"group")?;
    sys::setuid(uid).on(c"user")
}

/// The kernel takes a map in a single write, or not at all.
fn put(file: &'static CStr, content: &[u8]) -> Result<(), Fault<'static>> {
    sys::write_file(sys::AT_FDCWD, file, content).on(file)
}

impl Map {
    const fn new() -> Map {
        Map { text: Line::new(), start: 0, count: 0 }
    }

    /// Inside 0, outside `id`.
    fn of_one(id: u32) -> Map {
        let mut map = Map::new();
        map.push(id, 1);
        map
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// Appends `count` ids that outside begin with `start`.
    fn push(&mut self, start: u32, count: u32) {
        for (id, end) in [(self.count, " "), (start, " "), (count, "\n")] {
            self.text.push_decimal(id.into()).push(end);
        }
        self.start = if self.count == 0 { start } else { self.start };
        self.count += count;
    }
}

impl Maps {
    /// A range for the caller's container, where there is one for him.
    #[inline(never)] // a large frame, and not on the way to the wait
    pub fn of_caller(process: &Process) -> Result<Option<Maps>, Fault<'static>> {
        let mut maps = Maps { uid: Map::new(), gid: Map::new(), programs: None };
        if process.euid == 0 {
            for (map, file) in [&mut maps.uid, &mut maps.gid].into_iter().zip(SUBORDINATE) {
                map.push(range_of_root(file)?, RANGE);
            }
            let (uid, gid) = (maps.uid.start, maps.gid.start);
            // In somebody else's user namespace there may be nobody but us.
            let ours = is_mapped(OURS[0], uid, RANGE) && is_mapped(OURS[1], gid, RANGE);
            return Ok(ours.then_some(maps));
        }
        let Some(mut programs) = find_programs() else { return Ok(None) };
        let (name, id) = names_of(process.euid);
        let names = [name.as_bytes(), id.as_bytes()];
        let ids = [process.euid, process.egid];
        for (at, map) in [&mut maps.uid, &mut maps.gid].into_iter().enumerate() {
            map.push(ids[at], 1);
            map.push_ranges(at, ids[at], names);
            if map.count == 1 {
                return Ok(None);
            }
            let program = &mut programs[at];
            program.push("\0").push(map.as_bytes()); // an empty word: the PID's place
            program.replace(b' ', 0);
            program.replace(b'\n', 0);
        }
        maps.programs = Some(programs);
        Ok(Some(maps))
    }
}

impl Map {
    /// Appends the ranges that somebody gave to one of `names`. Who can't read that has none.
    fn push_ranges(&mut self, at: usize, id: u32, names: [&[u8]; 2]) {
        let mut left = EXTENTS - 1;
        let _none = each_range(SUBORDINATE[at], &mut |name, start, count| {
            let is_own = start <= id && id - start < count;
            let fits = self.count.checked_add(count).is_some();
            if names.contains(&name) && fits && !is_own && left > 0 {
                if is_mapped(OURS[at], start, count) {
                    left -= 1;
                    self.push(start, count);
                }
            }
        });
    }
}

/// Gives each range of subuid(5): whose it is, its first id, and how many they are.
fn each_range(file: &CStr, take: &mut dyn FnMut(&[u8], u32, u32)) -> Result<(), Errno> {
    let (mut name, mut start) = (Line::<LONGEST>::new(), None);
    each_word(file, &mut |column, word, ends| match column {
        0 => {
            name.clear();
            name.push(word);
            start = None;
        }
        1 if !ends => start = number(word),
        2 => {
            if let (true, Some(start), Some(count @ 1..)) = (ends, start, number(word))
                && start.checked_add(count).is_some()
            {
                take(name.as_bytes(), start, count);
            }
        }
        _ => {}
    })
}

/// What `file` gives to root, or to containers; else the first range in which nobody is.
fn range_of_root(file: &CStr) -> Result<u32, Fault<'static>> {
    let mut found = None;
    let _none = each_range(file, &mut |name, start, count| {
        let ours = [&b"root"[..], b"0", b"tinyctr", b"containers"].contains(&name);
        if ours && start >= RANGE && count >= RANGE {
            found = found.or(Some(start));
        }
    });
    let mut start = found.unwrap_or(FIRST);
    while found.is_none() && start <= LAST {
        if !is_taken(start).on(c"ids of this host")? {
            found = Some(start);
        } else {
            start += RANGE;
        }
    }
    found.ok_or(Errno::EDQUOT).on(c"ids of this host")
}

/// Whether somebody of this host is in the range that begins with `start`.
fn is_taken(start: u32) -> Result<bool, Errno> {
    let mut taken = false;
    let mut there = |first: u32, count: u32| {
        taken |= first < start + RANGE && start - first.min(start) < count;
    };
    for file in SUBORDINATE {
        where_there(each_range(file, &mut |_, first, count| there(first, count)))?;
    }
    for file in [c"/etc/passwd", c"/etc/group"] {
        where_there(each_word(file, &mut |column, word, _| {
            if let (2 | 3, Some(id)) = (column, number(word)) {
                there(id, 1);
            }
        }))?;
    }
    Ok(taken)
}

fn where_there(read: Result<(), Errno>) -> Result<(), Errno> {
    if read == Err(Errno::ENOENT) { Ok(()) } else { read }
}

/// What there is in our own user namespace.
const OURS: [&CStr; 2] = [c"/proc/self/uid_map", c"/proc/self/gid_map"];

fn is_mapped(file: &CStr, start: u32, count: u32) -> bool {
    let mut text = [0; 4096];
    let Ok(fd) = sys::openat(sys::AT_FDCWD, file, O::CLOEXEC) else { return false };
    let read = sys::read(fd, &mut text);
    let _closed = sys::close(fd);
    read.unwrap_or(b"").split(|&byte| byte == b'\n').any(|line| {
        let words = line.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
        let mut numbers = words.map(|word| {
            word.iter().fold(0_u64, |number, byte| number * 10 + u64::from(byte & 15))
        });
        let first = numbers.next().unwrap_or(0);
        let length = numbers.nth(1).unwrap_or(0);
        first <= start.into() && u64::from(start) + u64::from(count) <= first + length
    })
}

/// The name of a user of this host, where he has one, and his number.
fn names_of(user: u32) -> (Line<LONGEST>, Line<12>) {
    let (mut found, mut name, mut id) = (Line::new(), Line::<LONGEST>::new(), Line::new());
    id.push_decimal(user.into());
    let _nameless = each_word(c"/etc/passwd", &mut |column, word, _| {
        if column == 0 {
            name.clear();
            name.push(word);
        }
        if column == 2 && number(word) == Some(user) && found.as_bytes().is_empty() {
            found.push(name.as_bytes());
        }
    });
    (found, id)
}

/// newuidmap(1) and newgidmap(1), by their paths, where they are and could help: who can't gain
/// privileges by execve can't by theirs.
fn find_programs() -> Option<[Program; 2]> {
    let mut programs = [Line::new(), Line::new()];
    for directory in ["/usr/bin/", "/usr/local/bin/", "/run/wrappers/bin/"] {
        for (program, name) in programs.iter_mut().zip(["newuidmap\0", "newgidmap\0"]) {
            program.clear();
            program.push(directory).push(name);
        }
        let there = |program: &Program| sys::exists(program.as_cstr().unwrap_or(c"")).is_ok();
        if programs.iter().all(there) {
            return (!sys::prctl_get_no_new_privs()).then_some(programs);
        }
    }
    None
}
