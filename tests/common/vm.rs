//! A virtual machine that boots from an initramfs of the test's own, without a disk, and says on
//! its serial console what happened.
//!
//! `TINYCTR_VM` names a directory with `qemu` (a program that takes the options of
//! qemu-system-x86_64), `vmlinuz`, and `systemd` (a tree with it and what it needs);
//! `tests/get-vm` makes one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{binary, copy, finish, run, tempdir};

pub const NO_VM: &str = "needs TINYCTR_VM, which tests/get-vm makes";
pub const NO_BUSYBOX: &str = "needs busybox (static)";

/// The processor is one that a program plays.
const DEADLINE: Duration = Duration::from_secs(240);

/// Where qemu and the kernel are.
pub fn directory() -> Option<PathBuf> {
    std::env::var_os("TINYCTR_VM").map(PathBuf::from)
}

/// What it is to boot from.
pub struct Initramfs {
    directory: tempfile::TempDir,
}

impl Initramfs {
    /// `init` is what runs in it; tinyctr and busybox are copied to `bin`.
    pub fn new(init: &str, bin: &str) -> Initramfs {
        let initramfs = Initramfs { directory: tempdir() };
        fs::create_dir_all(initramfs.root().join(bin)).expect("a place");
        initramfs.write("init", init);
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(initramfs.root().join("init"), executable).expect("ours");
        let busybox = run(Command::new("sh").args(["-c", "command -v busybox"])).stdout;
        copy(Path::new(busybox.trim()), &initramfs.root().join(bin).join("busybox"));
        copy(binary(), &initramfs.root().join(bin).join("tinyctr"));
        initramfs
    }

    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    pub fn make_directory(&self, path: &str) {
        fs::create_dir_all(self.root().join(path)).expect("a place");
    }

    pub fn write(&self, path: &str, text: &str) {
        fs::write(self.root().join(path), text).expect("it can be written");
    }

    /// Boots with so many megabytes of memory, and with `parameters` for the kernel. The machine
    /// is to switch itself off. What it said.
    pub fn boot(&self, vm: &Path, memory: &str, parameters: &str) -> Console {
        let initramfs = self.directory.path().join("initramfs");
        let pack = r#"cd "$1" && find . | busybox cpio -o -H newc 2>/dev/null > "$2""#;
        let mut sh = Command::new("sh");
        let packed = run(sh.args(["-c", pack, "sh"]).args([&self.root(), &initramfs]));
        assert_eq!(packed.code, Some(0), "{}", packed.stderr);
        let mut qemu = Command::new(vm.join("qemu"));
        qemu.args(["-accel", "tcg", "-m", memory, "-nographic", "-no-reboot", "-kernel"]);
        qemu.arg(vm.join("vmlinuz")).arg("-initrd").arg(&initramfs).arg("-append");
        qemu.arg(format!("console=ttyS0 quiet panic=-1 {parameters}"));
        qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let said = finish(qemu.spawn().expect("qemu starts"), "the machine", DEADLINE);
        Console(String::from_utf8_lossy(&said.stdout).replace('\r', ""))
    }
}

/// What a machine has said. Each answer stands between lines that name it: `<name>` and `</>`.
pub struct Console(pub String);

impl Console {
    /// The lines of the answer `name`.
    #[track_caller]
    pub fn said(&self, name: &str) -> &str {
        let Console(all) = self;
        let (_, rest) = all.split_once(&format!("<{name}>\n")).unwrap_or_else(|| panic!("{all}"));
        rest.split_once("</>").unwrap_or_else(|| panic!("{all}")).0
    }
}
