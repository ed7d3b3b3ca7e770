//! tinyctr runs a command in a container by making the system calls itself.
//!
//! The modules, in reading order:
//!
//! 1. [`child`]: the story. What happens between clone and execve, from top to bottom.
//! 2. [`root`]: how the image becomes the root directory, and how the host's goes away.
//! 3. [`parent`], [`supervise`]: what comes before and after: the plan, the clone, the wait.
//! 4. [`plan`]: every decision, taken before the clone.
//! 5. [`mounts`], [`network`], [`privileges`]: what the command finds, and what it may do.
//! 6. [`signals`], [`terminal`], [`relay`], [`init`], [`lifetime`]: what a shell needs to feel at
//!    home, and what ends it; [`options`], [`image`], [`descriptors`], [`executable`], [`ids`],
//!    [`helper`], [`cgroup`]: what the plan is made from.
//! 7. [`sys`]: one function a system call, and the one place that makes them.
//! 8. [`steps`], [`trace`], [`script`]: what `--explain`, `--trace` and `--dry-run=sh` say.
//! 9. [`caps`], [`seccomp`]: capabilities by name, and the filter of system calls.
//! 10. [`error`], [`errno`], [`packed`], [`flags`], [`buf`], [`arch`]: the words that all of it is
//!     written in.
//!
//! `docs/architecture.md` has the map and the invariants.

#![cfg_attr(not(test), no_std)]

pub mod arch;
pub mod buf;
pub mod caps;
pub mod cgroup;
pub mod child;
pub mod descriptors;
pub mod errno;
pub mod error;
pub mod executable;
pub mod flags;
pub mod helper;
pub mod ids;
pub mod image;
pub mod init;
pub mod lifetime;
pub mod mounts;
pub mod network;
pub mod options;
pub mod packed;
pub mod parent;
pub mod plan;
pub mod privileges;
pub mod relay;
pub mod root;
pub mod script;
pub mod seccomp;
pub mod signals;
pub mod steps;
pub mod supervise;
pub mod sys;
pub mod terminal;
pub mod trace;
