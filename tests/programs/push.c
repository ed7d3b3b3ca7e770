/* Tries to type into every terminal that it can reach: push
 *
 * By TIOCSTI, a character at a time, and by TIOCLINUX, which pastes what is selected on a console.
 * Prints for each whether it worked.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void push(const char *name, int fd)
{
	char text[] = "pushed\n";
	char paste = 3;
	int pushed = 0;
	for (char *c = text; *c; c++)
		pushed += ioctl(fd, TIOCSTI, c) == 0;
	printf("%s: TIOCSTI %d, ", name, pushed);
	printf("TIOCLINUX %s\n", ioctl(fd, TIOCLINUX, &paste) == 0 ? "works" : strerror(errno));
}

int main(void)
{
	push("stdin", 0);
	push("stdout", 1);
	push("stderr", 2);
	push("/dev/tty", open("/dev/tty", O_RDWR));
	push("/dev/console", open("/dev/console", O_RDWR | O_NOCTTY));
	return 0;
}
