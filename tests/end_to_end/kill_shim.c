/* Preloaded into a process, it counts the calls that change files or send bytes, and kills the process at a chosen one:
 * before it, in the middle of it (half of the bytes), or after it. Armed by `kill_shim_arm` in the process that is to
 * die; their names are in shared memory, so that the parent can read them afterwards. Linux. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum moment { NOT_NOW = -1, BEFORE = 0, HALFWAY = 1, AFTER = 2 };
enum { MOST_NAMES = 100000 };

struct shared {
    pid_t armed;
    int moment;
    long kill_at;
    long calls;
    const char *names[MOST_NAMES]; /* literals, which lie at the same place in the parent */
};

static struct shared *shared;

__attribute__((constructor)) static void map_shared(void) {
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

void kill_shim_arm(long kill_at, int moment) {
    shared->calls = 0;
    shared->kill_at = kill_at;
    shared->moment = moment;
    shared->armed = getpid();
}

long kill_shim_calls(void) { return shared->calls; }

const char *kill_shim_name(long number) { return number <= MOST_NAMES ? shared->names[number - 1] : ""; }

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static int moment_of(const char *call) {
    if (shared == MAP_FAILED || shared->armed != getpid()) return NOT_NOW;
    long number = __sync_add_and_fetch(&shared->calls, 1);
    if (number <= MOST_NAMES) shared->names[number - 1] = call;
    if (number != shared->kill_at) return NOT_NOW;
    if (shared->moment == BEFORE) die();
    return shared->moment;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define TRANSFER(name, parameters, whole, half)          \
    ssize_t name parameters {                            \
        static __typeof__(&name) real;                   \
        if (!real) real = REAL(name);                    \
        int moment = moment_of(#name);                   \
        if (moment == HALFWAY) {                         \
            half;                                        \
            die();                                       \
        }                                                \
        ssize_t done = whole;                            \
        if (moment == AFTER) die();                      \
        return done;                                     \
    }

#define STEP(name, parameters, arguments)                \
    int name parameters {                                \
        static __typeof__(&name) real;                   \
        if (!real) real = REAL(name);                    \
        int moment = moment_of(#name);                   \
        if (moment == HALFWAY) die();                    \
        int done = real arguments;                       \
        if (moment == AFTER) die();                      \
        return done;                                     \
    }

TRANSFER(write, (int fd, const void *data, size_t size), real(fd, data, size), real(fd, data, size / 2))
TRANSFER(pwrite, (int fd, const void *data, size_t size, off_t at), real(fd, data, size, at), real(fd, data, size / 2, at))
TRANSFER(pwrite64, (int fd, const void *data, size_t size, off64_t at), real(fd, data, size, at),
         real(fd, data, size / 2, at))
TRANSFER(writev, (int fd, const struct iovec *parts, int count), real(fd, parts, count), real(fd, parts, count / 2))
TRANSFER(send, (int fd, const void *data, size_t size, int flags), real(fd, data, size, flags),
         real(fd, data, size / 2, flags))
TRANSFER(sendto, (int fd, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t length),
         real(fd, data, size, flags, to, length), real(fd, data, size / 2, flags, to, length))
TRANSFER(sendmsg, (int fd, const struct msghdr *message, int flags), real(fd, message, flags), (void)0)

STEP(fsync, (int fd), (fd))
STEP(fdatasync, (int fd), (fd))
STEP(ftruncate64, (int fd, off64_t size), (fd, size))
STEP(rename, (const char *from, const char *to), (from, to))
STEP(renameat, (int a, const char *from, int b, const char *to), (a, from, b, to))
STEP(unlink, (const char *path), (path))
