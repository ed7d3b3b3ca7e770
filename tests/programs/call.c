/* Makes one system call, with no help from a C library: call NUMBER [ARGUMENT]
 *
 * Prints what the kernel's answer is: a number, or why not.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	long argument = argc > 2 ? strtol(argv[2], NULL, 0) : 0;
	long answer = syscall(atol(argv[1]), argument, 0);
	if (answer < 0)
		puts(strerror(errno));
	else
		printf("%ld\n", answer);
	return 0;
}
