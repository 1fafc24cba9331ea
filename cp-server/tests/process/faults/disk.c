/*
 * A disk that can fail, laid over libc for a server that runs on it.
 *
 * While the file $DISK/no-fsync exists, fsync fails with EIO, and what was written since the last good
 * one never reaches the disk: Linux marks such pages as clean, and the next fsync has no more of them
 * to write. While $DISK/read-only exists, writes fail as on a file system that was remounted
 * read-only after an error. While the file $DISK/slow exists, each fsync takes 5 ms longer.
 *
 * The files named as in $DISK/after-a-power-cut/ are what the disk has: only what a good fsync has
 * brought there.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct written { ino_t file; off_t at; size_t length; } written[1 << 16];
static size_t count;

static int has_fault(const char *fault) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("DISK"), fault);
    return syscall(SYS_access, path, F_OK) == 0;
}

static ino_t file_of(int fd) {
    struct stat found;
    return fstat(fd, &found) == 0 ? found.st_ino : 0;
}

/* The file as the disk has it. */
static int on_disk(int fd) {
    char link[64], path[4096], copy[8192];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return -1;
    path[length] = 0;
    snprintf(copy, sizeof copy, "%s/after-a-power-cut/%s", getenv("DISK"), strrchr(path, '/') + 1);
    return open(copy, O_RDWR | O_CREAT, 0600);
}

/* What was written to a file is not waiting any more: it reaches the disk, or it never will. */
static void settle(int fd, int reaches) {
    int disk = reaches ? on_disk(fd) : -1;
    ino_t file = file_of(fd);
    size_t kept = 0;
    for (size_t n = 0; n < count; n++) {
        if (written[n].file != file) {
            written[kept++] = written[n];
        } else if (disk >= 0) {
            char *bytes = malloc(written[n].length);
            ssize_t length = pread(fd, bytes, written[n].length, written[n].at);
            if (length > 0) syscall(SYS_pwrite64, disk, bytes, length, written[n].at);
            free(bytes);
        }
    }
    count = kept;
    if (disk >= 0) close(disk);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t at) {
    if (has_fault("read-only")) return errno = EROFS, -1;
    pthread_mutex_lock(&lock);
    if (count == sizeof written / sizeof *written) abort();
    written[count++] = (struct written){file_of(fd), at, length};
    pthread_mutex_unlock(&lock);
    return syscall(SYS_pwrite64, fd, bytes, length, at);
}

int fsync(int fd) {
    int fails = has_fault("no-fsync");
    if (has_fault("slow")) nanosleep(&(struct timespec){0, 5000000}, NULL);
    pthread_mutex_lock(&lock);
    settle(fd, !fails);
    pthread_mutex_unlock(&lock);
    if (fails) return errno = EIO, -1;
    return syscall(SYS_fsync, fd);
}

/* File systems write down at once how long a file is. */
int ftruncate64(int fd, off_t length) {
    if (has_fault("read-only")) return errno = EROFS, -1;
    int disk = on_disk(fd);
    if (disk >= 0) {
        syscall(SYS_ftruncate, disk, length);
        close(disk);
    }
    return syscall(SYS_ftruncate, fd, length);
}
