/* Makes a disk fail, for the process that loads this before libc (LD_PRELOAD) and those that it starts.

   FAILING_DISK names a control file: one word, `fsync`, `write`, `read` or `none`, that may change at any time. From
   then on such calls on files below FAILING_FOLDER fail with EIO, all others go on as ever. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static int fails(int descriptor, const char *what)
{
    const char *control = getenv("FAILING_DISK"), *folder = getenv("FAILING_FOLDER");
    char link[64], path[4096], word[16] = {0};
    ssize_t length;
    int file, error = errno;

    if (control == NULL || folder == NULL)
        return 0;
    file = (int)syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    length = (ssize_t)syscall(SYS_read, file, word, sizeof word - 1);
    syscall(SYS_close, file);
    errno = error;
    if (length <= 0 || strncmp(word, what, strlen(what)) != 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    length = readlink(link, path, sizeof path - 1);
    errno = error;
    if (length <= 0)
        return 0;
    path[length] = 0;
    if (strncmp(path, folder, strlen(folder)) != 0)
        return 0;
    errno = EIO;
    return 1;
}

#define REAL(name) static __typeof__(&name) real; if (real == NULL) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

int fsync(int fd) { REAL(fsync); return fails(fd, "fsync") ? -1 : real(fd); }
int fdatasync(int fd) { REAL(fdatasync); return fails(fd, "fsync") ? -1 : real(fd); }

ssize_t write(int fd, const void *from, size_t size)
{
    REAL(write);
    return fails(fd, "write") ? -1 : real(fd, from, size);
}

ssize_t pwrite(int fd, const void *from, size_t size, off_t at)
{
    REAL(pwrite);
    return fails(fd, "write") ? -1 : real(fd, from, size, at);
}

ssize_t pwrite64(int fd, const void *from, size_t size, off64_t at)
{
    REAL(pwrite64);
    return fails(fd, "write") ? -1 : real(fd, from, size, at);
}

ssize_t read(int fd, void *to, size_t size)
{
    REAL(read);
    return fails(fd, "read") ? -1 : real(fd, to, size);
}

ssize_t pread(int fd, void *to, size_t size, off_t at)
{
    REAL(pread);
    return fails(fd, "read") ? -1 : real(fd, to, size, at);
}

ssize_t pread64(int fd, void *to, size_t size, off64_t at)
{
    REAL(pread64);
    return fails(fd, "read") ? -1 : real(fd, to, size, at);
}
