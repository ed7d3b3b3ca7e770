//! Level 6. Who is who: the ids of a user namespace, and the user that the command runs as.

mod blame;
mod map;
mod user;
mod words;

pub use blame::{WANTED, blamed};
pub use map::Maps;
pub use user::{Identity, ROOM, User, VARIABLES};
