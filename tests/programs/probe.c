/* One attempt to get out of a container, or to harm what is around it: probe NAME [ARG...]
 *
 * Prints one line and says the same by its exit status:
 *     held: ...   0  the attempt was refused, or led nowhere
 *     open: ...   1  it worked, or got as far as is needed to see that it would
 *     n/a: ...    2  this machine can't tell: the kernel lacks what is attempted
 *
 * It is run with the protection lifted too, as root, on a machine that is in use. So no attempt
 * does what it tries to show possible: a file is opened for writing and nothing is written, a
 * signal is number 0, a call that would end the machine gets arguments that can't be right and is
 * judged by the error. What is mounted is mounted in the container's own namespace.
 *
 * What it has to know about the host comes as arguments. The table of attempts is at the end.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

/* The same on every architecture; older headers don't have them. */
enum { NR_open_tree = 428, NR_fsopen = 430, NR_pidfd_open = 434, NR_clone3 = 435 };
enum { PROC_MAGIC = 0x9fa0, SYSFS_MAGIC = 0x62656572, DEVPTS_MAGIC = 0x1cd1 };

enum { HELD, OPEN, NA };

static int say(int verdict, const char *format, ...)
{
	static const char *const words[] = { "held", "open", "n/a" };
	va_list args;

	printf("%s: ", words[verdict]);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
	return verdict;
}

static int is_refusal(int error)
{
	return error == EPERM || error == EACCES || error == EROFS;
}

/* Of a call that succeeds where it may. */
static int works(const char *what, long result)
{
	if (result >= 0)
		return say(OPEN, "%s works", what);
	return say(is_refusal(errno) ? HELD : NA, "%s: %s", what, strerror(errno));
}

/* Of a call that can't succeed: any error but a refusal shows that nothing stood in its way. */
static int reaches(const char *what, long result)
{
	if (result >= 0)
		return say(OPEN, "%s works", what);
	if (errno == ENOSYS)
		return say(NA, "%s: the kernel has no such call", what);
	if (is_refusal(errno))
		return say(HELD, "%s: %s", what, strerror(errno));
	return say(OPEN, "%s reaches the kernel: %s", what, strerror(errno));
}

/* Whether the file that only the host has is found at WHERE/FILE. */
static int sees(const char *where, const char *file)
{
	char path[8192], text[64] = "";
	snprintf(path, sizeof path, "%s%s", where, file);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t length = read(fd, text, sizeof text - 1);
	close(fd);
	return length > 0 && strncmp(text, "only the host has this", 22) == 0;
}

/* --- namespaces and processes ---------------------------------------------------------------- */

/* ARG is a link as the host reads it: uts:[4026531838] */
static int namespace(char **args)
{
	char path[64], own[64] = "";
	int length = strcspn(args[0], ":");

	snprintf(path, sizeof path, "/proc/self/ns/%.*s", length, args[0]);
	if (readlink(path, own, sizeof own - 1) < 0)
		return say(NA, "%s: %s", path, strerror(errno));
	return say(strcmp(own, args[0]) ? HELD : OPEN, "it is %s, the host's is %s", own, args[0]);
}

static int count(const char *directory, int only_numbers)
{
	DIR *list = opendir(directory);
	int number = 0;

	if (!list)
		return -1;
	for (struct dirent *entry; (entry = readdir(list));) {
		int is_number = entry->d_name[0] >= '0' && entry->d_name[0] <= '9';
		number += only_numbers ? is_number : entry->d_name[0] != '.';
	}
	closedir(list);
	return number;
}

static int processes(char **args)
{
	(void)args;
	int number = count("/proc", 1);
	if (number < 1)
		return say(NA, "/proc shows nothing");
	/* Ours, and where there is one, the init above it. */
	return say(number <= 2 ? HELD : OPEN, "/proc shows %d", number);
}

static int send_signal(char **args)
{
	if (kill(atoi(args[0]), 0) == 0 || errno == EPERM)
		return say(OPEN, "the host's process can be named");
	return say(HELD, "kill: %s", strerror(errno));
}

static int trace_process(char **args)
{
	/* SEIZE stops nobody, and our end detaches. */
	if (ptrace(PTRACE_SEIZE, atoi(args[0]), 0, 0) == 0)
		return say(OPEN, "the host's process can be traced");
	return say(HELD, "ptrace: %s", strerror(errno));
}

static int read_memory(char **args)
{
	char byte;
	struct iovec here = { &byte, 1 }, there = { NULL, 1 }; /* nothing is mapped at 0 */
	process_vm_readv(atoi(args[0]), &here, 1, &there, 1, 0);
	if (errno == EFAULT)
		return say(OPEN, "the host's process can be read");
	return say(HELD, "process_vm_readv: %s", strerror(errno));
}

static int abstract_socket(char **args)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	socklen_t length = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(args[0]);

	snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "%s", args[0]);
	if (connect(fd, (struct sockaddr *)&address, length) == 0)
		return say(OPEN, "the host's socket answers");
	return say(HELD, "connect: %s", strerror(errno));
}

/* --- the root and the mounts ----------------------------------------------------------------- */

/* Climbs from a working directory that lies outside the root; where it ends is the root then. */
static int climb(const char *file)
{
	for (int i = 0; i < 1024; i++)
		if (chdir(".."))
			return say(HELD, "chdir: %s", strerror(errno));
	if (chroot("."))
		return say(HELD, "chroot: %s", strerror(errno));
	return sees("", file) ? say(OPEN, "the climb ends in the host")
			      : say(HELD, "the climb ends in the image");
}

static int escape_by_chroot(char **args)
{
	mkdir("/trapdoor", 0700);
	if (chdir("/") || chroot("/trapdoor"))
		return works("chroot", -1);
	return climb(args[0]);
}

static int escape_by_descriptor(char **args)
{
	int fd = open("/", O_RDONLY | O_DIRECTORY);

	mkdir("/trapdoor", 0700);
	if (chroot("/trapdoor") || chdir("/"))
		return works("chroot", -1);
	if (fchdir(fd))
		return works("fchdir", -1);
	return climb(args[0]);
}

/* The directory that somebody works in is moved out of his root. */
static int escape_by_rename(char **args)
{
	int moved[2], status;

	mkdir("/trapdoor", 0700);
	mkdir("/trapdoor/below", 0700);
	rmdir("/beside");
	if (pipe(moved))
		return say(NA, "pipe: %s", strerror(errno));
	pid_t child = fork();
	if (child == 0) {
		char byte;
		if (chroot("/trapdoor") || chdir("/below"))
			_exit(works("chroot", -1));
		close(moved[1]);
		if (read(moved[0], &byte, 1) != 1)
			_exit(say(NA, "rename: %s", strerror(errno)));
		_exit(climb(args[0]));
	}
	usleep(50000); /* until the child works below */
	if (rename("/trapdoor/below", "/beside") == 0 && write(moved[1], "x", 1) != 1)
		return say(NA, "write: %s", strerror(errno));
	close(moved[1]);
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : NA;
}

/* Entering the namespace that one is in resets the root to the namespace's. */
static int escape_by_setns(char **args)
{
	int fd = syscall(NR_pidfd_open, getpid(), 0);

	if (fd < 0)
		return say(NA, "pidfd_open: %s", strerror(errno));
	if (syscall(SYS_setns, fd, CLONE_NEWNS))
		return works("setns", -1);
	return sees("", args[0]) ? say(OPEN, "the namespace's root is the host's")
				 : say(HELD, "the namespace's root is the image");
}

/* ARGS: the host's file, and a process of the host, where its number means one. */
static int links(char **args)
{
	static const char *const ways[] = { "/proc/1/root", "/proc/1/cwd", "/proc/self/root/..",
		"/proc/self/cwd/..", "/proc/self/task/1/root", "/..", "" };
	char way[64];

	for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++)
		if (sees(ways[i], args[0]))
			return say(OPEN, "%s leads to the host", ways[i]);
	snprintf(way, sizeof way, "/proc/%.16s/root", args[1]);
	if (sees(way, args[0]))
		return say(OPEN, "%s leads to the host", way);
	for (int fd = 0; fd < 256; fd++) {
		snprintf(way, sizeof way, "/proc/1/fd/%d", fd);
		if (sees(way, args[0]))
			return say(OPEN, "%s leads to the host", way);
	}
	return say(HELD, "no link leads to the host");
}

/* Whether a process runs the same program as we do, another one, or can't be looked at (-1). */
static int runs_another(const char *process)
{
	struct stat own, other;
	char path[64];

	snprintf(path, sizeof path, "/proc/%.16s/exe", process);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || stat("/proc/self/exe", &own) || fstat(fd, &other))
		return -1;
	return own.st_dev != other.st_dev || own.st_ino != other.st_ino;
}

/* The program that PID 1 runs: ours, or one that the host runs too? (CVE-2019-5736) */
static int first_program(char **args)
{
	int status;

	if (access("/proc/self/exe", F_OK))
		return say(NA, "there is no /proc");
	pid_t child = fork();
	if (child == 0) {
		if (runs_another("1") == 1)
			_exit(say(OPEN, "PID 1 runs another program, which is open to us"));
		if (runs_another(args[0]) == 1)
			_exit(say(OPEN, "the host's program is open to us"));
		_exit(say(HELD, runs_another("1") ? "PID 1 can't be looked at"
						  : "PID 1 runs the command's own program"));
	}
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : NA;
}

/* Whether one of the links in a directory leads to the file that ARGS number. */
static int leads_to(const char *directory, char **args)
{
	struct stat found;
	DIR *list = opendir(directory);
	int is_found = 0;

	if (!list)
		return 0;
	for (struct dirent *entry; !is_found && (entry = readdir(list));) {
		int fd = entry->d_name[0] == '.' ? -1 :
			 openat(dirfd(list), entry->d_name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		is_found = fd >= 0 && !fstat(fd, &found) &&
			   found.st_dev == strtoull(args[0], NULL, 10) &&
			   found.st_ino == strtoull(args[1], NULL, 10);
		if (fd >= 0)
			close(fd);
	}
	closedir(list);
	return is_found;
}

/* A file of the host that runs, or is mapped, where we see it (CVE-2019-5736). */
static int find_file(char **args)
{
	static const char *const places[] = { "", "/fd", "/map_files" };
	char path[64];
	DIR *list = opendir("/proc");

	if (!list)
		return say(NA, "there is no /proc");
	for (struct dirent *entry; (entry = readdir(list));) {
		if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
			continue;
		for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
			snprintf(path, sizeof path, "/proc/%.16s%s", entry->d_name, places[i]);
			if (leads_to(path, args))
				return say(OPEN, "a link in %s leads to it", path);
		}
	}
	closedir(list);
	return say(HELD, "no process of %d leads to it", count("/proc", 1));
}

static int starts_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

static int mounts(char **args)
{
	char line[4096], point[4096];
	FILE *table = fopen("/proc/self/mountinfo", "r");

	(void)args;
	if (!table)
		return say(NA, "/proc/self/mountinfo: %s", strerror(errno));
	for (int number = 0; fgets(line, sizeof line, table); number++) {
		/* 36 35 98:0 /root /point options [optional...] - type source options */
		sscanf(line, "%*s %*s %*s %*s %4095s", point);
		char *tail = strstr(line, " - ");
		if (tail)
			*tail = 0;
		if (strstr(line, " shared:") || strstr(line, " master:"))
			return say(OPEN, "%s has peers", point);
		if (number && !starts_with(point, "/proc") && !starts_with(point, "/dev") &&
		    !starts_with(point, "/sys"))
			return say(OPEN, "the table names %s", point);
	}
	return say(HELD, "the table names nothing of the host's");
}

static int working_directory(char **args)
{
	char path[4096];
	struct stat here, there;

	(void)args;
	if (syscall(SYS_getcwd, path, sizeof path) < 0)
		return say(OPEN, "getcwd: %s", strerror(errno));
	if (path[0] != '/')
		return say(OPEN, "it is %s", path);
	if (stat(".", &here) || stat(path, &there) || here.st_ino != there.st_ino)
		return say(OPEN, "it is not what it is called, %s", path);
	return say(HELD, "it is %s", path);
}

static int by_handle(char **args)
{
	struct {
		struct file_handle handle;
		char bytes[MAX_HANDLE_SZ];
	} file = { .handle.handle_bytes = MAX_HANDLE_SZ };
	int id, root = open("/", O_RDONLY | O_DIRECTORY);

	(void)args;
	if (name_to_handle_at(AT_FDCWD, "/", &file.handle, &id, 0) && errno == EOPNOTSUPP)
		return say(NA, "this file system has no handles");
	return works("open_by_handle_at",
		     open_by_handle_at(root, &file.handle, O_PATH | O_DIRECTORY));
}

static int mount_something(char **args)
{
	mkdir("/there", 0700);
	return works(args[0], mount(args[0], "/there", args[0], 0, NULL));
}

static int new_mount_calls(char **args)
{
	(void)args;
	if (syscall(NR_open_tree, AT_FDCWD, "/", 1 /* OPEN_TREE_CLONE */) >= 0)
		return say(OPEN, "open_tree clones mounts");
	return reaches("fsopen", syscall(NR_fsopen, "tmpfs", 0));
}

/* An existing hierarchy where there is one: a new one would be seen outside. */
static int cgroup_v1(char **args)
{
	static const char *const hierarchies[] = { "memory", "pids", "cpu", "none,name=tinyctr-probe" };

	(void)args;
	mkdir("/there", 0700);
	for (unsigned i = 0; i < sizeof hierarchies / sizeof *hierarchies; i++) {
		if (mount("cgroup", "/there", "cgroup", 0, hierarchies[i]))
			continue;
		int agent = open("/there/release_agent", O_WRONLY | O_CLOEXEC);
		umount2("/there", MNT_DETACH);
		return say(OPEN, "%s is mounted%s", hierarchies[i],
			   agent < 0 ? "" : ", and its release_agent can be written");
	}
	return works("mount cgroup", -1);
}

static int unmount(char **args)
{
	if (access(args[0], F_OK))
		return say(NA, "%s: %s", args[0], strerror(errno));
	return works("umount2", umount2(args[0], MNT_DETACH));
}

static int remount(char **args)
{
	if (access(args[0], F_OK))
		return say(NA, "%s: %s", args[0], strerror(errno));
	return works("mount", mount(NULL, args[0], NULL, MS_REMOUNT | MS_BIND, NULL));
}

/* --- descriptors and what else is inherited -------------------------------------------------- */

static int descriptors(char **args)
{
	(void)args;
	for (int fd = 3; fd < 1024; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			return say(OPEN, "%d is open", fd);
	return say(HELD, "none above 2 is open");
}

/* ARGS: a descriptor, and the host's file. */
static int through_descriptor(char **args)
{
	if (fchdir(atoi(args[0])))
		return say(HELD, "fchdir: %s", strerror(errno));
	return climb(args[1]);
}

static int core_size(char **args)
{
	struct rlimit limit;

	(void)args;
	getrlimit(RLIMIT_CORE, &limit);
	return say(limit.rlim_max <= 1 ? HELD : OPEN, "it is %lld of %lld",
		   (long long)limit.rlim_cur, (long long)limit.rlim_max);
}

static int file_mask(char **args)
{
	unsigned mask = umask(022);

	(void)args;
	return say(mask == 022 ? HELD : OPEN, "it is %03o", mask);
}

static int out_of_memory(char **args)
{
	int score = 0;
	FILE *file = fopen("/proc/self/oom_score_adj", "r");

	(void)args;
	if (!file || fscanf(file, "%d", &score) != 1)
		return say(NA, "there is no /proc/self/oom_score_adj");
	return say(score >= 0 ? HELD : OPEN, "it is %d", score);
}

static int keyring(char **args)
{
	(void)args;
	long key = syscall(SYS_keyctl, 10 /* SEARCH */, -3 /* the session's */, "user",
			   "tinyctr-canary", 0);
	return key >= 0 ? say(OPEN, "the caller's key is found") : say(HELD, "%s", strerror(errno));
}

/* Runs outside: the rest of the arguments, in a session that has a key. */
static int with_key(char **args)
{
	if (syscall(SYS_keyctl, 1 /* JOIN_SESSION_KEYRING */, NULL) < 0 ||
	    syscall(SYS_add_key, "user", "tinyctr-canary", "x", 1, -3) < 0)
		return say(NA, "no key can be made: %s", strerror(errno));
	execvp(args[0], args);
	return say(NA, "%s: %s", args[0], strerror(errno));
}

/* --- privileges ------------------------------------------------------------------------------ */

/* ARGS: the name of a set, and what it may hold at most. */
static int capabilities(char **args)
{
	char line[256], own[32] = "";
	FILE *status = fopen("/proc/self/status", "r");

	while (status && fgets(line, sizeof line, status))
		if (starts_with(line, args[0]) && line[strlen(args[0])] == ':')
			sscanf(strchr(line, ':') + 1, "%31s", own);
	if (!own[0])
		return say(NA, "/proc/self/status does not tell");
	int is_more = strtoull(own, NULL, 16) & ~strtoull(args[1], NULL, 16) ? 1 : 0;
	return say(is_more ? OPEN : HELD, "%s is %s", args[0], own);
}

static int no_new_privs(char **args)
{
	(void)args;
	int set = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
	return say(set == 1 ? HELD : OPEN, "no_new_privs is %d", set);
}

static int filter(char **args)
{
	(void)args;
	int mode = prctl(PR_GET_SECCOMP, 0, 0, 0, 0);
	return say(mode == 2 ? HELD : OPEN, "the mode is %d", mode);
}

static int copy_self(const char *to, mode_t mode)
{
	char block[65536];
	ssize_t length;
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	unlink(to);
	int copy = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
	if (from < 0 || copy < 0)
		return -1;
	while ((length = read(from, block, sizeof block)) > 0)
		if (write(copy, block, length) != length)
			return -1;
	int failed = fchmod(copy, mode);
	return close(copy) || failed ? -1 : 0;
}

static struct __user_cap_header_struct caps_of_self = { _LINUX_CAPABILITY_VERSION_3, 0 };

/* Becomes nobody, or where there is no other user, somebody without capabilities. */
static void drop_privileges(void)
{
	struct __user_cap_data_struct none[2] = { 0 };

	if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
		syscall(SYS_capset, &caps_of_self, none);
}

static int gain_by(const char *program)
{
	drop_privileges();
	execl(program, program, "gained", (char *)NULL);
	return say(is_refusal(errno) ? HELD : NA, "%s: %s", program, strerror(errno));
}

static int set_user_id(char **args)
{
	(void)args;
	if (copy_self("/set-user-id", 04755))
		return say(NA, "no program can be made: %s", strerror(errno));
	return gain_by("/set-user-id");
}

static int file_capabilities(char **args)
{
	/* Version 2, effective; CAP_CHOWN, which is in every bounding set that we know. */
	static const unsigned char chown_only[20] = { 1, 0, 0, 2, 1 };

	(void)args;
	if (copy_self("/with-capability", 0755))
		return say(NA, "no program can be made: %s", strerror(errno));
	if (setxattr("/with-capability", "security.capability", chown_only, sizeof chown_only, 0))
		return works("setxattr", -1);
	return gain_by("/with-capability");
}

/* What the two above execute. */
static int gained(char **args)
{
	struct __user_cap_data_struct own[2] = { 0 };

	(void)args;
	syscall(SYS_capget, &caps_of_self, own);
	if ((geteuid() == 0 && getuid() != 0) || own[0].effective || own[1].effective)
		return say(OPEN, "uid %d became %d, with capabilities %x", getuid(), geteuid(),
			   own[0].effective);
	return say(HELD, "uid %d, capabilities none", geteuid());
}

/* --- system calls ---------------------------------------------------------------------------- */

static int after_clone(const char *what, long child)
{
	if (child == 0)
		_exit(0);
	if (child > 0)
		waitpid(child, NULL, 0);
	if (child < 0 && errno == ENOSYS)
		return say(HELD, "%s: %s", what, strerror(errno));
	return works(what, child);
}

/* The flags lie in memory, where no filter sees them. */
static int clone_by_3(char **args)
{
	struct {
		unsigned long long flags, pidfd, child_tid, parent_tid, exit_signal, stack,
			stack_size, tls;
	} how = { .flags = CLONE_NEWUSER, .exit_signal = SIGCHLD };

	(void)args;
	return after_clone("clone3(CLONE_NEWUSER)", syscall(NR_clone3, &how, sizeof how));
}

static int clone_user(char **args)
{
	unsigned long high = strtoul(args[0], NULL, 16) << 32; /* the kernel drops these */
	unsigned long flags = CLONE_NEWUSER | SIGCHLD | high;
	return after_clone("clone(CLONE_NEWUSER)", syscall(SYS_clone, flags, 0, 0, 0, 0));
}

static int unshare_user(char **args)
{
	(void)args;
	return works("unshare(CLONE_NEWUSER)", unshare(CLONE_NEWUSER));
}

static int unshare_uts(char **args)
{
	(void)args;
	return works("unshare(CLONE_NEWUTS)", unshare(CLONE_NEWUTS));
}

static int enter_namespace(char **args)
{
	int fd = syscall(NR_pidfd_open, getpid(), 0);

	(void)args;
	if (fd < 0)
		return say(NA, "pidfd_open: %s", strerror(errno));
	return works("setns", syscall(SYS_setns, fd, CLONE_NEWUTS));
}

static sigjmp_buf interrupted;

static void interrupt(int signal)
{
	siglongjmp(interrupted, signal);
}

static int foreign(const char *what, long result, long own)
{
	if (result == own)
		return say(OPEN, "%s answers", what);
	if (result == -EPERM || result == -ENOSYS)
		return say(HELD, "%s: %s", what, strerror(-result));
	return say(NA, "%s answers %ld", what, result);
}

static int i386(char **args)
{
	(void)args;
#ifdef __x86_64__
	long result = 20; /* getpid, there */
	signal(SIGSYS, interrupt);
	signal(SIGSEGV, interrupt);
	switch (sigsetjmp(interrupted, 1)) {
	case SIGSYS:
		return say(HELD, "int $0x80: SIGSYS");
	case SIGSEGV:
		return say(NA, "the kernel has no i386 calls");
	}
	__asm__ volatile("int $0x80" : "+a"(result) : : "r8", "r9", "r10", "r11", "memory");
	return foreign("int $0x80", (int)result, getpid());
#else
	return say(NA, "there is no other ABI to call");
#endif
}

static int x32(char **args)
{
	(void)args;
#ifdef __x86_64__
	signal(SIGSYS, interrupt);
	if (sigsetjmp(interrupted, 1))
		return say(HELD, "x32: SIGSYS");
	long result = syscall(0x40000000 | SYS_getpid);
	return foreign("x32", result < 0 ? -errno : result, getpid());
#else
	return say(NA, "there is no other ABI to call");
#endif
}

/* On a terminal that we made, and that is ours: ARG is a request, its high bits included. */
static int terminal(char **args)
{
	int unlocked = 0;
	int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (master < 0 || ioctl(master, TIOCSPTLCK, &unlocked))
		return say(NA, "/dev/ptmx: %s", strerror(errno));
	int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	pid_t child = fork();
	if (child == 0) {
		char byte = 6; /* for TIOCLINUX: what it would tell, it only reads */
		setsid();
		if (slave < 0 || ioctl(slave, TIOCSCTTY, 0))
			_exit(say(NA, "the terminal: %s", strerror(errno)));
		long result = syscall(SYS_ioctl, slave, strtoul(args[0], NULL, 16), &byte);
		if (result < 0 && errno == EIO)
			_exit(say(NA, "the kernel itself refuses it: %s", strerror(errno)));
		_exit(reaches("the request", result));
	}
	int status;
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : say(NA, "signal %d", WTERMSIG(status));
}

static int make_socket(char **args)
{
	long result = socket(atoi(args[0]), atoi(args[1]), 0);
	return reaches("socket", result);
}

static int io_uring(char **args)
{
	(void)args;
	return reaches("io_uring_setup", syscall(425, 1, NULL));
}

static int make_bpf_map(char **args)
{
	union bpf_attr map = { .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4,
			       .max_entries = 1 };
	(void)args;
	return works("bpf(BPF_MAP_CREATE)", syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof map));
}

static int perf(char **args)
{
	struct perf_event_attr clock = { .type = PERF_TYPE_SOFTWARE, .size = sizeof clock,
					 .config = PERF_COUNT_SW_TASK_CLOCK, .exclude_kernel = 1,
					 .disabled = 1 };
	(void)args;
	return reaches("perf_event_open", syscall(SYS_perf_event_open, &clock, 0, -1, -1, 0));
}

static int user_faults(char **args)
{
	(void)args;
	return reaches("userfaultfd", syscall(SYS_userfaultfd, 1 /* USER_MODE_ONLY */));
}

static int keys(char **args)
{
	(void)args;
	return reaches("keyctl", syscall(SYS_keyctl, 0 /* GET_KEYRING_ID */, -3, 0));
}

static int new_key(char **args)
{
	(void)args;
	/* To no keyring at all. */
	return reaches("add_key", syscall(SYS_add_key, "user", "tinyctr-probe", "x", 1, 0));
}

/* --- what belongs to the machine ------------------------------------------------------------- */

static int load_module(char **args)
{
	(void)args;
	return reaches("init_module", syscall(SYS_init_module, NULL, 0, ""));
}

static int load_module_file(char **args)
{
	(void)args;
	return reaches("finit_module", syscall(SYS_finit_module, -1, "", 0));
}

static int unload_module(char **args)
{
	(void)args;
	return reaches("delete_module", syscall(SYS_delete_module, "tinyctr_no_such", O_NONBLOCK));
}

static int load_kernel(char **args)
{
	(void)args;
	return reaches("kexec_load", syscall(SYS_kexec_load, 0, 0, NULL, 0xffff));
}

static int restart(char **args)
{
	(void)args;
	/* The rights are looked at before the magic numbers, which are none. */
	return reaches("reboot", syscall(SYS_reboot, 0, 0, 0, NULL));
}

static int set_clock(char **args)
{
	struct timex never = { .modes = ADJ_TICK, .tick = 0 }; /* more than 10% off: EINVAL */

	(void)args;
	return reaches("adjtimex", syscall(SYS_adjtimex, &never));
}

static int kernel_log(char **args)
{
	char text[64];
	(void)args;
	return reaches("syslog", syscall(SYS_syslog, 3 /* READ_ALL */, text, sizeof text));
}

static int ports(char **args)
{
	(void)args;
#ifdef SYS_iopl
	return reaches("iopl", syscall(SYS_iopl, 3)); /* for us alone, and we end here */
#else
	return say(NA, "this machine has no ports");
#endif
}

static int accounting(char **args)
{
	(void)args;
	return reaches("acct", acct("/no-such-file"));
}

static int swap(char **args)
{
	(void)args;
	return reaches("swapon", swapon("/no-such-file", 0));
}

static int priority(char **args)
{
	(void)args;
	return works("setpriority", setpriority(PRIO_PROCESS, 0, -1));
}

static int network(char **args)
{
	int size = 4096, fd = socket(AF_INET, SOCK_DGRAM, 0);

	(void)args;
	return works("SO_RCVBUFFORCE",
		     setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size));
}

/* --- devices, /proc, /sys -------------------------------------------------------------------- */

/* ARGS are the numbers of a disk of the host. It is opened for reading, and not read. */
static int make_device(char **args)
{
	static const char *const places[] = { "", "/dev", "/dev/shm", "/dev/mqueue", "/dev/pts",
					      "/tmp", "/run", "/proc", "/sys" };
	dev_t disk = makedev(atoi(args[0]), atoi(args[1]));
	char path[64];
	int made = 0;

	for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
		snprintf(path, sizeof path, "%s/probe-disk", places[i]);
		if (mknod(path, S_IFBLK | 0600, disk))
			continue;
		made++;
		int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		int error = errno;
		unlink(path);
		if (fd >= 0)
			return say(OPEN, "in %s/ the host's disk can be opened", places[i]);
		if (!is_refusal(error))
			return say(NA, "%s: %s", path, strerror(error));
	}
	return say(HELD, made ? "it can be made, not opened" : "it can't be made");
}

static int has_device(const char *name, unsigned big, unsigned small)
{
	struct stat own;
	char path[64];

	snprintf(path, sizeof path, "/dev/%s", name);
	return !lstat(path, &own) && S_ISCHR(own.st_mode) && own.st_rdev == makedev(big, small);
}

static int device_list(char **args)
{
	static const char *const known[] = { "null", "zero", "full", "random", "urandom", "tty",
		"ptmx", "pts", "shm", "mqueue", "fd", "stdin", "stdout", "stderr", "console" };
	const unsigned number = sizeof known / sizeof *known;
	unsigned expected = 0, i;
	DIR *list = opendir("/dev");

	(void)args;
	if (!list)
		return say(NA, "there is no /dev");
	for (struct dirent *entry; (entry = readdir(list));) {
		if (entry->d_name[0] == '.')
			continue;
		for (i = 0; i < number && strcmp(known[i], entry->d_name); i++)
			;
		if (i == number)
			return say(OPEN, "there is %s", entry->d_name);
		expected += i < number - 1; /* a console only where there is a terminal */
	}
	closedir(list);
	if (expected != number - 1)
		return say(OPEN, "%u are missing", number - 1 - expected);
	if (!has_device("null", 1, 3) || !has_device("zero", 1, 5) || !has_device("full", 1, 7) ||
	    !has_device("random", 1, 8) || !has_device("urandom", 1, 9) || !has_device("tty", 5, 0))
		return say(OPEN, "one of them is another device");
	return say(HELD, "exactly the usual ones");
}

static int terminals(char **args)
{
	struct statfs fs;

	(void)args;
	if (statfs("/dev/pts", &fs) || fs.f_type != DEVPTS_MAGIC)
		return say(NA, "there is no /dev/pts");
	int number = count("/dev/pts", 1);
	return say(number ? OPEN : HELD, "/dev/pts shows %d terminals", number);
}

/* ARG is the file system that the host's nodes lie on. A node is given the mode that it has: where
 * that works another one would. */
static int host_nodes(char **args)
{
	static const char *const nodes[] = { "/dev/null", "/dev/zero", "/dev/full", "/dev/random",
		"/dev/urandom", "/dev/tty", "/proc/keys", "/proc/timer_list", "/proc/kcore" };
	struct stat own;
	int seen = 0, of_host = 0;

	for (unsigned i = 0; i < sizeof nodes / sizeof *nodes; i++) {
		if (stat(nodes[i], &own) || !S_ISCHR(own.st_mode))
			continue;
		seen++;
		if (own.st_dev != strtoull(args[0], NULL, 10))
			continue;
		of_host++;
		if (chmod(nodes[i], own.st_mode & 07777) == 0)
			return say(OPEN, "%s is the host's, and can be changed", nodes[i]);
	}
	return seen ? say(HELD, "%d of %d are the host's, and can't be changed", of_host, seen)
		    : say(NA, "there is none");
}

/* Opened, never written to. */
static int open_to_write(char **args)
{
	if (access(args[0], F_OK))
		return say(NA, "%s: %s", args[0], strerror(errno));
	return works("opening it to write", open(args[0], O_WRONLY | O_NOCTTY | O_CLOEXEC));
}

/* The first file below PATH that could be written. */
static int find_writable(char *path, int depth)
{
	size_t length = strlen(path);
	DIR *list = opendir(path);
	int found = 0;

	if (!list)
		return 0;
	for (struct dirent *entry; !found && (entry = readdir(list));) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (snprintf(path + length, 4096 - length, "/%s", entry->d_name) < 0)
			continue;
		if (entry->d_type == DT_DIR && depth > 0)
			found = find_writable(path, depth - 1);
		else if (entry->d_type == DT_REG)
			found = access(path, W_OK) == 0;
		if (!found)
			path[length] = 0;
	}
	closedir(list);
	return found;
}

static int writable(char **args)
{
	char path[4096];

	snprintf(path, sizeof path, "%s", args[0]);
	if (count(path, 0) < 1)
		return say(NA, "there is nothing in %s", path);
	return find_writable(path, 4) ? say(OPEN, "%s can be written", path)
				      : say(HELD, "nothing there can be written");
}

/* Whether PATH is still what the kernel shows there. */
static int masked(char **args)
{
	struct stat own;
	struct statfs fs;
	char byte;

	if (stat(args[0], &own) || statfs(args[0], &fs))
		return say(NA, "%s: %s", args[0], strerror(errno));
	if (fs.f_type != PROC_MAGIC && fs.f_type != SYSFS_MAGIC) {
		int fd = open(args[0], O_RDONLY | O_CLOEXEC);
		int is_empty = S_ISDIR(own.st_mode) ? count(args[0], 0) < 1
						    : read(fd, &byte, 1) < 1;
		return say(is_empty ? HELD : OPEN, "it is covered%s", is_empty ? "" : " by something");
	}
	if (S_ISDIR(own.st_mode))
		return say(OPEN, "it shows %d entries", count(args[0], 0));
	return works("reading it", open(args[0], O_RDONLY | O_CLOEXEC));
}

/* --- the table ------------------------------------------------------------------------------- */

static const struct attempt {
	const char *name;
	int arguments;
	int (*make)(char **args);
} attempts[] = {
	{ "abstract-socket", 1, abstract_socket },
	{ "accounting", 0, accounting },
	{ "bpf", 0, make_bpf_map },
	{ "by-handle", 0, by_handle },
	{ "capabilities", 2, capabilities },
	{ "cgroup-v1", 0, cgroup_v1 },
	{ "clock", 0, set_clock },
	{ "clone-user", 1, clone_user },
	{ "clone3", 0, clone_by_3 },
	{ "core-size", 0, core_size },
	{ "descriptors", 0, descriptors },
	{ "device-list", 0, device_list },
	{ "enter-namespace", 0, enter_namespace },
	{ "escape-by-chroot", 1, escape_by_chroot },
	{ "escape-by-descriptor", 1, escape_by_descriptor },
	{ "escape-by-rename", 1, escape_by_rename },
	{ "escape-by-setns", 1, escape_by_setns },
	{ "file-capabilities", 0, file_capabilities },
	{ "file-mask", 0, file_mask },
	{ "filter", 0, filter },
	{ "find-file", 2, find_file },
	{ "first-program", 1, first_program },
	{ "gained", 0, gained },
	{ "host-nodes", 1, host_nodes },
	{ "i386", 0, i386 },
	{ "io_uring", 0, io_uring },
	{ "kernel-log", 0, kernel_log },
	{ "keyring", 0, keyring },
	{ "keys", 0, keys },
	{ "links", 2, links },
	{ "load-kernel", 0, load_kernel },
	{ "load-module", 0, load_module },
	{ "load-module-file", 0, load_module_file },
	{ "make-device", 2, make_device },
	{ "masked", 1, masked },
	{ "mount", 1, mount_something },
	{ "mounts", 0, mounts },
	{ "namespace", 1, namespace },
	{ "network", 0, network },
	{ "new-key", 0, new_key },
	{ "new-mount-calls", 0, new_mount_calls },
	{ "no-new-privs", 0, no_new_privs },
	{ "open-to-write", 1, open_to_write },
	{ "out-of-memory", 0, out_of_memory },
	{ "perf", 0, perf },
	{ "ports", 0, ports },
	{ "priority", 0, priority },
	{ "processes", 0, processes },
	{ "read-memory", 1, read_memory },
	{ "remount", 1, remount },
	{ "restart", 0, restart },
	{ "send-signal", 1, send_signal },
	{ "set-user-id", 0, set_user_id },
	{ "socket", 2, make_socket },
	{ "swap", 0, swap },
	{ "terminal", 1, terminal },
	{ "terminals", 0, terminals },
	{ "through-descriptor", 2, through_descriptor },
	{ "trace-process", 1, trace_process },
	{ "unload-module", 0, unload_module },
	{ "unmount", 1, unmount },
	{ "unshare-user", 0, unshare_user },
	{ "unshare-uts", 0, unshare_uts },
	{ "user-faults", 0, user_faults },
	{ "with-key", 2, with_key },
	{ "working-directory", 0, working_directory },
	{ "writable", 1, writable },
	{ "x32", 0, x32 },
};

int main(int argc, char **argv)
{
	for (unsigned i = 0; argc > 1 && i < sizeof attempts / sizeof *attempts; i++)
		if (!strcmp(attempts[i].name, argv[1]) && argc - 2 >= attempts[i].arguments)
			return attempts[i].make(argv + 2);
	fprintf(stderr, "usage: probe NAME [ARG...]\n");
	return 125;
}
