//! Whom the command runs as: looked up in the image's own files, once its root is ours, so that no
//! link of theirs leads to the host's.

use core::cell::Cell;
use core::ffi::CStr;
use syscalls::Errno;

use super::lines::{each_line, number, word};
use crate::arch::{ThinCStr, until_nul};
use crate::buf::Line;
use crate::error::{Error, On, Refusal};
use crate::steps::Step;
use crate::sys::step;

/// What `-u` says.
pub struct Identity {
    pub user: &'static [u8],
    /// Empty: those of the user.
    pub group: &'static [u8],
    /// As it was given.
    pub given: &'static CStr,
    /// Where the variables go that name the user.
    pub room: Cell<&'static mut [u8]>,
}

/// Of a user: useradd(8) takes 32 bytes.
const NAME: usize = 255;

/// Enough for the four variables: a line of passwd(5), and its name twice.
pub const ROOM: usize = 5120;

/// How many they are.
pub const VARIABLES: usize = 4;

/// Who is in more groups is refused: the list is on the child's stack.
const GROUPS: usize = 128;

/// Somebody, in numbers.
pub struct User {
    pub uid: u32,
    pub gid: u32,
    groups: [u32; GROUPS],
    count: usize,
}

/// The strings of an environment, NULLs at its end.
type Environment = [Option<ThinCStr<'static>>];

const PASSWD: &CStr = c"/etc/passwd";
const GROUP: &CStr = c"/etc/group";

impl Identity {
    /// Finds him, and fills in the variables that name him, where there is none of the name.
    #[inline(never)] // packed
    pub fn find(&self, environment: &mut Environment) -> Result<User, Error<'static>> {
        let mut user = User { uid: 0, gid: 0, groups: [0; _], count: 0 };
        match step(Step::FindUser, || self.find_user(&mut user, environment))? {
            None => Ok(user),
            Some(why) => Err(Error::refused(Step::FindUser, self.given, why)),
        }
    }

    /// Or why not.
    fn find_user(
        &self,
        user: &mut User,
        environment: &mut Environment,
    ) -> Result<Option<Refusal>, Error<'static>> {
        let (mut name, mut room) = (Line::<NAME>::new(), self.room.take());
        let mut set = |variable: &str, value: &[u8]| add(environment, &mut room, variable, value);
        let wanted = number(&mut &*self.user);
        let mut found = false;
        let read = each_line(PASSWD, &mut |line| {
            let mut rest = line;
            let its = word(&mut rest);
            word(&mut rest);
            let ids = (number(&mut rest), number(&mut rest));
            let fits = if wanted.is_some() { ids.0 == wanted } else { its == self.user };
            let (false, true, (Some(uid), Some(gid))) = (found, fits, ids) else { return };
            found = true;
            (user.uid, user.gid) = (uid, gid);
            name.push(its);
            word(&mut rest);
            set("HOME=", word(&mut rest));
            set("SHELL=", rest);
        });
        where_needed(read, wanted.is_none()).on(PASSWD)?;
        if !found {
            let Some(uid) = wanted else { return Ok(Some(Refusal::NoSuchUser)) };
            user.uid = uid;
        }
        set("HOME=", b"/");
        set("USER=", name.as_bytes());
        set("LOGNAME=", name.as_bytes());
        self.find_groups(user, name.as_bytes())
    }

    /// The group that was given; else those that the user is a member of.
    #[inline(never)]
    fn find_groups(&self, user: &mut User, name: &[u8]) -> Result<Option<Refusal>, Error<'static>> {
        let own = self.group.is_empty();
        let wanted = number(&mut &*self.group);
        let mut found = if own { Some(user.gid) } else { wanted };
        let read = each_line(GROUP, &mut |line| {
            let mut rest = line;
            let its = word(&mut rest);
            word(&mut rest);
            let Some(id) = number(&mut rest) else { return };
            if found.is_none() && its == self.group {
                found = Some(id);
            }
            if own && !name.is_empty() && rest.split(|&byte| byte == b',').any(|it| it == name) {
                if let Some(place) = user.groups.get_mut(user.count) {
                    *place = id;
                }
                user.count += 1;
            }
        });
        where_needed(read, found.is_none()).on(GROUP)?;
        let Some(gid) = found else { return Ok(Some(Refusal::NoSuchGroup)) };
        user.gid = gid;
        Ok((user.count > GROUPS).then_some(Refusal::TooManyGroups))
    }
}

/// Sets a variable that nobody has set; not to nothing.
#[inline(never)]
fn add(environment: &mut Environment, room: &mut &'static mut [u8], variable: &str, value: &[u8]) {
    let named = |entry: &ThinCStr| entry.to_cstr().to_bytes().starts_with(variable.as_bytes());
    if value.is_empty() || environment.iter().flatten().any(named) {
        return;
    }
    // There is a slot for each, and room, of zeros.
    let length = variable.len() + value.len() + 1;
    let Some((place, rest)) = core::mem::take(room).split_at_mut_checked(length) else { return };
    *room = rest;
    for (place, byte) in place.iter_mut().zip(variable.as_bytes().iter().chain(value)) {
        *place = *byte;
    }
    if let Some(slot) = environment.iter_mut().find(|slot| slot.is_none()) {
        *slot = until_nul(place).map(ThinCStr::new);
    }
}

/// Who is given as a number needs no file: what it would add is names, and groups.
fn where_needed(read: Result<(), Errno>, needed: bool) -> Result<(), Errno> {
    if needed { read } else { Ok(()) }
}

impl User {
    pub fn groups(&self) -> &[u32] {
        self.groups.get(..self.count).unwrap_or(&[])
    }
}
