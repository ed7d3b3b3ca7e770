//! Level 6. From the word IMAGE to a directory.
//!
//! A path is not looked at here: mounting it is the look. A bare name is tried at each place
//! where images are kept, without leaving a descriptor behind: one that names a directory of the
//! host would be a way out of the container (CVE-2024-21626).

use core::ffi::CStr;
use syscalls::Errno;

use crate::arch::Process;
use crate::buf::{Buffer, Line, has, take_until};
use crate::error::{Error, On, Refusal};
use crate::steps::Step;
use crate::sys::{self, step};

/// PATH_MAX, the NUL included.
pub type Path = Line<4096>;

/// What IMAGE means, by its spelling alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `/`, however it is written: the host's own root.
    Host,
    /// The working directory: `.`, however it is written.
    Here,
    /// With a slash in it: a path.
    Path,
    /// A name to look up.
    Name,
}

pub fn kind(image: &CStr) -> Kind {
    let bytes = image.to_bytes();
    let (mut names, mut climbs) = (false, false);
    let mut rest = bytes;
    while !rest.is_empty() {
        match take_until(&mut rest, b'/') {
            b"" | b"." => {}
            b".." => climbs = true,
            _ => names = true,
        }
    }
    match (has(bytes, b'/'), names) {
        (true, false) if bytes.starts_with(b"/") => Kind::Host, // at the root, `..` is the root
        (_, false) if !climbs => Kind::Here,
        (false, true) => Kind::Name,
        _ => Kind::Path,
    }
}

/// The image's name: the last part of its path; nothing where it has none (`/`, `..`).
pub fn name(image: &CStr) -> &[u8] {
    let mut parts = image.to_bytes().rsplit(|&byte| byte == b'/');
    let name = parts.find(|part| !part.is_empty()).unwrap_or(b"");
    if matches!(name, b"." | b"..") { b"" } else { name }
}

/// What is tried at each place: the directory, and after it the kinds of single-file images.
static SUFFIXES: [&str; 5] = [DIRECTORY, ".squashfs", ".erofs", ".ext4", ".img"];
const DIRECTORY: &str = "/";

/// The path of the working directory. `.` itself would not do as an image: once something is
/// mounted there, looking `.` up still finds what is beneath.
#[inline(never)] // a large frame, and not on the way to the wait
pub fn here<'a>(image: &'a CStr, found: &mut Path) -> Result<(), Error<'a>> {
    let mut path = [0; 4096];
    let path = sys::getcwd(&mut path).on(image)?;
    found.push(path).push("\0");
    Ok(())
}

/// Looks `name` up. What was found is in `found`, with its NUL.
pub fn find<'a>(name: &'a CStr, process: &Process, found: &mut Path) -> Result<(), Error<'a>> {
    let mut worst = Errno::ENOENT;
    let mut single_file = false;
    let mut try_place = |place: &mut Path| {
        let length = place.as_bytes().len();
        for &suffix in &SUFFIXES {
            place.truncate(length);
            place.push(suffix).push("\0");
            match place.as_cstr().ok_or(Errno::ENAMETOOLONG).and_then(sys::exists) {
                Ok(()) => {
                    single_file = suffix != DIRECTORY;
                    return true;
                }
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(errno) => worst = errno, // a place that can't be searched is worth a word
            }
        }
        false
    };
    let done = step(Step::Image, || Ok(each_place(name, process, found, &mut try_place)))?;
    match (done, single_file) {
        (true, false) => Ok(()),
        (true, true) => Err(Error::refused(Step::Image, name, Refusal::ImageIsFile)),
        (false, _) => Err(Error::errno(Step::Image, name, worst)),
    }
}

/// The places where `name` was looked for, for the message that it is nowhere.
pub fn list_places(name: &CStr, process: &Process, line: &mut Buffer) {
    let mut path = Path::new();
    let mut separator = "";
    each_place(name, process, &mut path, &mut |place| {
        line.push(separator).push_visible(place.as_bytes());
        separator = ", ";
        false
    });
}

/// Puts each place into `path` in turn, in the order of the manual, until `visit` says true.
/// Returns whether it did.
#[inline(never)] // a large frame, and not on the way to the wait
fn each_place(
    name: &CStr,
    process: &Process,
    path: &mut Path,
    visit: &mut dyn FnMut(&mut Path) -> bool,
) -> bool {
    let mut at = |directory: &[u8], below: &[u8]| {
        path.clear();
        path.push(directory).push(below).push(name.to_bytes());
        visit(path)
    };
    let mut listed = process.variable(b"TINYCTR_PATH").map_or(&[][..], CStr::to_bytes);
    while !listed.is_empty() {
        let directory = take_until(&mut listed, b':');
        if !directory.is_empty() && at(directory, b"/") {
            return true;
        }
    }
    let mut buffer = [0; 4096];
    at(b"./rootfs/", b"")
        || at(own_directory(process, &mut buffer), b"rootfs/")
        || at(b"/var/lib/tinyctr/", b"")
        || at(b"/var/lib/machines/", b"")
        || at(b"/rootfs-", b"")
}

/// The directory of our own executable, with its final slash.
fn own_directory<'a>(process: &Process, buffer: &'a mut [u8]) -> &'a [u8] {
    // Without /proc there is still the path that we were started by.
    let path: &[u8] = match sys::readlinkat(c"/proc/self/exe", buffer) {
        Ok(path) => path,
        Err(_) => process.executable.map_or(b"", |path| path.to_cstr().to_bytes()),
    };
    let end = path.iter().rposition(|&byte| byte == b'/');
    end.and_then(|end| path.get(..=end)).unwrap_or(b"./")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_makes_a_path_and_only_dots_and_slashes_the_root() {
        for image in [c"/", c"//", c"/.", c"/../.", c"/./"] {
            assert_eq!(kind(image), Kind::Host, "{image:?}");
        }
        for image in [c".", c"./", c"././/."] {
            assert_eq!(kind(image), Kind::Here, "{image:?}");
        }
        for image in [c"./trusty", c"/srv/x", c"./..", c"..", c"../..", c"x/", c"/..."] {
            assert_eq!(kind(image), Kind::Path, "{image:?}");
        }
        for image in [c"trusty", c"...", c"a.b"] {
            assert_eq!(kind(image), Kind::Name, "{image:?}");
        }
    }

    #[test]
    fn the_name_is_the_last_part() {
        assert_eq!(name(c"trusty"), b"trusty");
        assert_eq!(name(c"/srv/images/trusty//"), b"trusty");
        for image in [c"/", c"..", c"/srv/..", c"."] {
            assert_eq!(name(image), b"", "{image:?}");
        }
    }
}
