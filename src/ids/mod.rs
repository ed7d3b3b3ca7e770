//! Level 6. Who is who: the ids of a user namespace, and the user that the command runs as.

mod blame;
mod lines;
mod map;
mod user;

pub use blame::{WANTED, blamed};
pub use map::{Maps, One, groups_are_denied};
pub use user::{Identity, ROOM, User, VARIABLES};
