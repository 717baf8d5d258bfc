/* Preloaded into a process, it lets the disk fail at the n-th call, or from there on: with ENOSPC the calls that write to
 * a file or make room in it, with EIO those that bring it to the disk. Armed by `disk_shim_arm`. Linux. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

struct shared {
    pid_t armed;
    int error;
    int is_for_good;
    long fails_at; /* 0: never, only count */
    long calls;
};

static struct shared *shared;

__attribute__((constructor)) static void map_shared(void) {
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

void disk_shim_arm(long fails_at, int error, int is_for_good) {
    shared->calls = 0;
    shared->error = error;
    shared->is_for_good = is_for_good;
    shared->fails_at = fails_at;
    shared->armed = getpid();
}

long disk_shim_calls(void) { return shared->calls; }

static int is_file(int fd) {
    struct stat found;
    return fd > STDERR_FILENO && fstat(fd, &found) == 0 && S_ISREG(found.st_mode);
}

/* Whether this call is to fail; `of` is the error that calls of its kind can have. */
static int fails(int fd, int of) {
    if (shared == MAP_FAILED || shared->armed != getpid() || shared->error != of || !is_file(fd)) return 0;
    long number = __sync_add_and_fetch(&shared->calls, 1);
    return shared->fails_at && (number == shared->fails_at || (shared->is_for_good && number > shared->fails_at));
}

#define CALL(type, name, parameters, arguments, of)              \
    type name parameters {                                       \
        static __typeof__(&name) real;                           \
        if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name); \
        if (fails(fd, of)) {                                     \
            errno = of;                                          \
            return -1;                                           \
        }                                                        \
        return real arguments;                                   \
    }

CALL(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size), ENOSPC)
CALL(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at), ENOSPC)
CALL(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at), ENOSPC)
CALL(ssize_t, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count), ENOSPC)
CALL(int, fsync, (int fd), (fd), EIO)
CALL(int, fdatasync, (int fd), (fd), EIO)

/* Gives the error back instead of setting errno. */
static int room(int fd, off64_t at, off64_t size) {
    static int (*real)(int, off64_t, off64_t);
    if (!real) real = (int (*)(int, off64_t, off64_t))dlsym(RTLD_NEXT, "posix_fallocate64");
    return fails(fd, ENOSPC) ? ENOSPC : real(fd, at, size);
}

int posix_fallocate64(int fd, off64_t at, off64_t size) { return room(fd, at, size); }
int posix_fallocate(int fd, off_t at, off_t size) { return room(fd, at, size); }
