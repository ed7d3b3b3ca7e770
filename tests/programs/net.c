/*
 * What a container can reach: `net loopback` talks to itself over 127.0.0.1, `net tcp ADDRESS PORT`
 * and `net abstract NAME` connect and print the line that they are greeted with.
 */
#include <arpa/inet.h>
#include <err.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static void greeted(int fd)
{
	char line[256];
	ssize_t length = read(fd, line, sizeof line);

	if (length <= 0)
		err(1, "read");
	fwrite(line, 1, length, stdout);
}

static struct sockaddr_in address(const char *host, int port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };

	if (!inet_aton(host, &in.sin_addr))
		errx(2, "%s", host);
	return in;
}

static void loopback(void)
{
	struct sockaddr_in in = address("127.0.0.1", 0);
	socklen_t size = sizeof in;
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(listener, (void *)&in, size) || listen(listener, 1))
		err(1, "listen");
	getsockname(listener, (void *)&in, &size);
	if (connect(fd, (void *)&in, size))
		err(1, "connect");
	if (write(accept(listener, NULL, NULL), "hello\n", 6) != 6)
		err(1, "write");
	greeted(fd);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "loopback")) {
		loopback();
	} else if (argc == 4 && !strcmp(argv[1], "tcp")) {
		struct sockaddr_in in = address(argv[2], atoi(argv[3]));
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		/* Nobody may answer. */
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){ 1 }, sizeof(struct timeval));
		if (connect(fd, (void *)&in, sizeof in))
			err(1, "connect");
		greeted(fd);
	} else if (argc == 3 && !strcmp(argv[1], "abstract")) {
		struct sockaddr_un un = { .sun_family = AF_UNIX };
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		size_t size = strlen(argv[2]);

		memcpy(un.sun_path + 1, argv[2], size);
		if (connect(fd, (void *)&un, offsetof(struct sockaddr_un, sun_path) + 1 + size))
			err(1, "connect");
		greeted(fd);
	} else {
		errx(2, "usage");
	}
	return 0;
}
