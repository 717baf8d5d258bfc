/* Preloaded into processes that share the file CLOCK_SHIM_FILE, it gives them a time of their own: the real one and an
 * offset, which is in the file. A process that is armed does not sleep: its sleeps move the offset, so that a day costs
 * nothing, and all the others see the same day pass. Its own clock may differ from the others' by a skew. Linux. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

static long long *offset_ns;
static long long skew_ns;
static pid_t armed;

__attribute__((constructor)) static void map_offset(void) {
    const char *path = getenv("CLOCK_SHIM_FILE");
    int fd = path ? open(path, O_RDWR) : -1;
    if (fd < 0) return;
    void *mapped = mmap(NULL, sizeof *offset_ns, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED) offset_ns = mapped;
}

void clock_shim_arm(double skew_s) {
    skew_ns = (long long)(skew_s * SECOND);
    armed = getpid();
}

void clock_shim_advance(double seconds) {
    if (offset_ns) __sync_add_and_fetch(offset_ns, (long long)(seconds * SECOND));
}

static int real_clock_gettime(clockid_t id, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    return real(id, time);
}

int clock_gettime(clockid_t id, struct timespec *time) {
    int done = real_clock_gettime(id, time);
    if (done == 0 && id == CLOCK_REALTIME && offset_ns) {
        long long moment = time->tv_sec * SECOND + time->tv_nsec + *offset_ns + skew_ns;
        time->tv_sec = moment / SECOND;
        time->tv_nsec = moment % SECOND;
    }
    return done;
}

int clock_nanosleep(clockid_t id, int flags, const struct timespec *wanted, struct timespec *left) {
    static int (*real)(clockid_t, int, const struct timespec *, struct timespec *);
    if (!real) real = (int (*)(clockid_t, int, const struct timespec *, struct timespec *))dlsym(RTLD_NEXT, "clock_nanosleep");
    if (!offset_ns || armed != getpid()) return real(id, flags, wanted, left);
    long long span = wanted->tv_sec * SECOND + wanted->tv_nsec;
    if (flags & TIMER_ABSTIME) {
        struct timespec now;
        clock_gettime(id, &now);
        span -= now.tv_sec * SECOND + now.tv_nsec;
    }
    if (span > 0) __sync_add_and_fetch(offset_ns, span);
    return 0;
}
