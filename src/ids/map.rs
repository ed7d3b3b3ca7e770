//! Who is who in a user namespace of our own
//! ([user_namespaces(7)](https://man7.org/linux/man-pages/man7/user_namespaces.7.html)): root, who
//! outside is still ourselves; or a whole range of ids, as far as somebody gave us one.

use core::ffi::CStr;
use syscalls::Errno;

use super::lines::{each_line, number, word};
use crate::arch::Process;
use crate::buf::{Buffer, Line, take_until};
use crate::error::{Error, On};
use crate::flags::{Ms, O};
use crate::sys;

/// The content of a map; or, where newuidmap(1) and newgidmap(1) have to write it, the words of
/// that program's command line, each with NUL behind it, an empty one for the PID.
type Map = Line<224>;

/// Of users, and of groups: a range.
pub struct Maps {
    pub uid: Map,
    pub gid: Map,
}

/// The same, of one id each.
pub struct One {
    uid: Line<32>,
    gid: Line<32>,
}

/// How many ids a range of root's has: enough for every image.
const RANGE: u32 = 65536;

/// Where root's range is, if nobody has given him one: from here on, beyond what people and other
/// containers usually have, and below the half that some programs take for negative.
const FIRST: u32 = 0x7000_0000;
const LAST: u32 = 0x7fff_0000;

/// Ranges beside our own id: kernels before 4.15 take five lines.
const RANGES: u32 = 4;

/// Whose ranges we look for, and how they become a map.
struct Search<'a> {
    names: [&'a [u8]; 2],
    /// We may write maps by ourselves.
    is_root: bool,
}

impl One {
    /// Inside 0, outside the caller's own.
    pub fn of_caller(process: &Process) -> One {
        let mut maps = One { uid: Line::new(), gid: Line::new() };
        extent(&mut maps.uid, b" ", [0, process.euid, 1]);
        extent(&mut maps.gid, b" ", [0, process.egid, 1]);
        maps
    }

    /// By the child: it becomes root. Without privilege a gid map is accepted only after
    /// setgroups(2) was given up for good: else a process could drop a group that denies it
    /// something (CVE-2014-8989).
    pub fn write(&self) -> Result<(), Error<'static>> {
        put(c"/proc/self/setgroups", b"deny")?;
        put(c"/proc/self/uid_map", self.uid.as_bytes())?;
        put(c"/proc/self/gid_map", self.gid.as_bytes())
    }
}

impl Maps {
    pub const fn none() -> Maps {
        Maps { uid: Map::new(), gid: Map::new() }
    }

    /// Whether it is worth to look for a range, which takes what has to be unpacked: who can't gain
    /// privileges by execve can't by that of the programs that map one. Root needs none.
    pub fn may_be_ours(process: &Process) -> Result<bool, Error<'static>> {
        let program = c"/usr/bin/newuidmap";
        let may = process.euid == 0
            || is_there(sys::exists(program)).on(program)?
                && may_have_range(process.euid)?
                && !sys::prctl_get_no_new_privs().on(c"no_new_privs")?;
        Ok(may)
    }

    /// Looks for a range for the caller's container. False where there is none for him.
    #[inline(never)] // packed
    pub fn search(&mut self, process: &Process) -> Result<bool, Error<'static>> {
        let (mut name, mut id) = (Line::<64>::new(), Line::<12>::new());
        let mut search = Search { names: [b"root", b"containers"], is_root: process.euid == 0 };
        // In somebody else's user namespace there may be nobody but us.
        let mut all = false;
        let map = c"/proc/self/uid_map";
        each_line(map, &mut |line| all |= line.ends_with(b" 4294967295")).on(map)?;
        if !all || !search.is_root && !can_be_helped()? {
            return Ok(false);
        }
        if !search.is_root {
            id.push_decimal(process.euid.into());
            // Of who is not in his own group just now newuidmap(1) says that he is another.
            let mut is_himself = true;
            let read = each_line(c"/etc/passwd", &mut |line| {
                let mut rest = line;
                let user = word(&mut rest);
                word(&mut rest);
                if number(&mut rest) == Some(process.euid) && name.as_bytes().is_empty() {
                    name.push(user);
                    is_himself = number(&mut rest) == Some(process.egid);
                }
            });
            is_there(read).on(c"/etc/passwd")?;
            if !is_himself {
                return Ok(false);
            }
            if name.as_bytes().is_empty() {
                name.set(id.as_bytes());
            }
            search.names = [name.as_bytes(), id.as_bytes()];
        }
        Ok(search.fill(&mut self.uid, c"/etc/subuid", "/usr/bin/newuidmap\0\0", process.euid)?
            && search.fill(
                &mut self.gid,
                c"/etc/subgid",
                "/usr/bin/newgidmap\0\0",
                process.egid,
            )?)
    }
}

/// Whether the programs that map a range are both there, and get the rights that they need for it.
fn can_be_helped() -> Result<bool, Error<'static>> {
    for program in [c"/usr/bin/newuidmap", c"/usr/bin/newgidmap"] {
        if !is_there(sys::exists(program)).on(program)?
            || sys::mount_flags_of(program).on(program)?.contains(Ms::NOSUID)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether setgroups(2) was given up where we are (user_namespaces(7)): by the maps of an ordinary
/// user.
#[inline(never)] // packed
pub fn groups_are_denied() -> bool {
    let mut denied = false;
    let _not_there = each_line(c"/proc/self/setgroups", &mut |line| denied |= line == b"deny");
    denied
}

/// A first look at the files: false where they certainly give this user no range.
#[inline(never)] // a large frame
fn may_have_range(uid: u32) -> Result<bool, Error<'static>> {
    let (mut users, mut ranges) = ([0; 8192], [0; 4096]);
    let users = all_of(c"/etc/passwd", &mut users)?;
    let (Some(users), Some(ranges)) = (users, all_of(c"/etc/subuid", &mut ranges)?) else {
        return Ok(true);
    };
    let mut id = Line::<12>::new();
    let id = id.push_decimal(uid.into()).as_bytes();
    let gives = |name| first_where(ranges, 0, name).is_some();
    Ok(gives(id) || first_where(users, 2, id).is_some_and(gives))
}

/// The first word of the line of which this word is that.
#[inline(never)]
fn first_where<'a>(mut lines: &'a [u8], number: usize, wanted: &[u8]) -> Option<&'a [u8]> {
    while !lines.is_empty() {
        let mut rest = take_until(&mut lines, b'\n');
        let first = take_until(&mut rest, b':');
        let mut this = first;
        for _ in 0..number {
            this = take_until(&mut rest, b':');
        }
        if this == wanted {
            return Some(first);
        }
    }
    None
}

/// A file, if it is as short as that; nothing where it isn't there for us.
#[inline(never)]
fn all_of<'a>(file: &'static CStr, room: &'a mut [u8]) -> Result<Option<&'a [u8]>, Error<'static>> {
    let size = room.len();
    let fd = match sys::openat(sys::AT_FDCWD, file, O::NONBLOCK | O::NOCTTY | O::CLOEXEC) {
        Err(Errno::ENOENT | Errno::EACCES) => return Ok(Some(&[])),
        opened => opened.on(file)?,
    };
    let read = sys::read(fd, room).on(file)?;
    sys::close(fd).on(file)?;
    Ok((read.len() < size).then_some(read))
}

/// The kernel takes a map in a single write, or not at all.
fn put(file: &'static CStr, content: &[u8]) -> Result<(), Error<'static>> {
    sys::write_file(sys::AT_FDCWD, file, content).on(file)
}

/// Appends a line of a map: the first id inside, the first outside, and how many.
#[inline(never)]
fn extent(map: &mut Buffer, between: &[u8], numbers: [u32; 3]) {
    for number in numbers {
        map.push_decimal(number.into()).push(between);
    }
}

impl Search<'_> {
    /// What `file` gives to who is looked for; where it gives root nothing, the first range beyond
    /// everybody. False where there is nothing.
    #[inline(never)]
    fn fill(
        &self,
        map: &mut Buffer,
        file: &'static CStr,
        program: &str,
        own: u32,
    ) -> Result<bool, Error<'static>> {
        let (mut count, mut left) = (1, RANGES);
        let mut taken = [[0; 2]; RANGES as usize];
        if !self.is_root {
            map.push(program);
            extent(map, b"\0", [0, own, 1]);
        }
        let read = each_range(file, true, &mut |name, start, length| {
            if !self.names.contains(&name) || left == 0 {
            } else if self.is_root {
                if start >= RANGE && length >= RANGE {
                    left = 0;
                    extent(map, b" ", [0, start, RANGE]);
                }
            } else if own.wrapping_sub(start) >= length
                && length < u32::MAX - count
                && !taken.iter().any(|[from, to]| start < *to && *from < start + length)
            {
                left -= 1;
                if let Some(place) = taken.get_mut(left as usize) {
                    *place = [start, start + length];
                }
                extent(map, b"\0", [count, start, length]);
                count += length;
            }
        });
        is_there(read).on(file)?;
        if self.is_root && left != 0 {
            extent(map, b" ", [0, beyond_everybody()?, RANGE]);
            return Ok(true);
        }
        Ok(left < RANGES)
    }
}

/// Who may not read who has what has nothing.
fn is_there(read: Result<(), Errno>) -> Result<bool, Errno> {
    match read {
        Err(Errno::ENOENT | Errno::EACCES) => Ok(false),
        answer => answer.map(|()| true),
    }
}

/// The first range from `FIRST` on beyond all users, groups and ranges of this host.
fn beyond_everybody() -> Result<u32, Error<'static>> {
    let mut start = FIRST;
    for (file, ranges) in [
        (c"/etc/passwd", false),
        (c"/etc/group", false),
        (c"/etc/subuid", true),
        (c"/etc/subgid", true),
    ] {
        let read = each_range(file, ranges, &mut |_, first, count| {
            if first < LAST + RANGE {
                let next = (first + count).checked_next_multiple_of(RANGE);
                start = start.max(next.unwrap_or(u32::MAX));
            }
        });
        is_there(read).on(file)?;
    }
    if start <= LAST { Ok(start) } else { Err(Errno::EDQUOT).on(c"/etc/subuid") }
}

/// Gives each range of subuid(5), or else each user of passwd(5) or group of group(5): the name,
/// the first id, and how many.
#[inline(never)]
fn each_range(
    file: &CStr,
    ranges: bool,
    take: &mut dyn FnMut(&[u8], u32, u32),
) -> Result<(), Errno> {
    each_line(file, &mut |line| {
        let mut rest = line;
        let name = word(&mut rest);
        let (start, count) = if ranges {
            (number(&mut rest), number(&mut rest))
        } else {
            word(&mut rest);
            (number(&mut rest), Some(1))
        };
        if let (Some(start), Some(count @ 1..)) = (start, count)
            && start.checked_add(count).is_some()
        {
            take(name, start, count);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Cause;

    const USERS: &[u8] =
        b"root:x:0:0:root:/root:/bin/sh\n\nann:x:1000:100::/home/ann:\n+::::::\nbob";

    #[test]
    fn the_first_word_is_that_of_the_line_with_the_other() {
        assert_eq!(first_where(USERS, 2, b"1000"), Some(&b"ann"[..]));
        assert_eq!(first_where(USERS, 2, b"0"), Some(&b"root"[..]));
        assert_eq!(first_where(USERS, 0, b"bob"), Some(&b"bob"[..]), "without a newline");
        assert_eq!(first_where(USERS, 2, b"100"), None, "a group's number, and half of another");
        assert_eq!(first_where(USERS, 2, b"x"), None);
        assert_eq!(first_where(b"", 0, b"x"), None);
    }

    #[test]
    fn only_a_short_file_is_looked_through() {
        assert_eq!(all_of(c"/proc/self/mountinfo", &mut [0; 8]).expect("it is there"), None);
        for nothing in [c"/no/such/file", c"/dev/null"] {
            assert_eq!(all_of(nothing, &mut [0; 8]).expect("nothing"), Some(&b""[..]));
        }
        let error = all_of(c"/proc/self", &mut [0; 8]).expect_err("a directory can't be read");
        assert_eq!(error.cause(), Cause::Errno(Errno::EISDIR));
    }
}
